"""One training step of a very small network: forward, backward, SGD update.

Four inputs, eight hidden units, one output, a batch of 16.  The arithmetic is next to nothing; the step is as
fast as the library's overhead is small.
"""

import sys

import numpy as np

from benchmarks import peers
from benchmarks.harness import main

INPUTS, HIDDEN, BATCH, RATE = 4, 8, 16, 0.05
CHECKED = 20  # steps until parameters are compared


def data():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(BATCH, INPUTS))
    y = np.sin(x.sum(axis=1, keepdims=True))
    parameters = [
        rng.normal(size=(INPUTS, HIDDEN)) / np.sqrt(INPUTS),
        np.zeros(HIDDEN),
        rng.normal(size=(HIDDEN, 1)) / np.sqrt(HIDDEN),
        np.zeros(1),
    ]
    return x, y, parameters


def loss(xp, w1, b1, w2, b2, x, y):
    error = xp.tanh(x @ w1 + b1) @ w2 + b2 - y
    return (error * error).mean()


def by_hand(x, y, parameters):
    """The step in NumPy with its gradient written out: what the answer is."""
    w1, b1, w2, b2 = (p.copy() for p in parameters)

    def step():
        h = np.tanh(x @ w1 + b1)
        error = h @ w2 + b2 - y
        g = 2 / error.size * error
        gh = (g @ w2.T) * (1 - h * h)
        for p, dp in ((w2, h.T @ g), (b2, g.sum(axis=0)), (w1, x.T @ gh), (b1, gh.sum(axis=0))):
            p -= RATE * dp
        return np.mean(error * error), (w1, b1, w2, b2)

    return step


def with_tapegrad(x, y, parameters):
    import tapegrad as tg

    xp = peers.namespace("tapegrad")
    x, y = tg.tensor(x), tg.tensor(y)
    params = [tg.tensor(p, requires_grad=True) for p in parameters]

    def step():
        value = loss(xp, *params, x, y)
        value.backward()
        with tg.no_grad():
            for p in params:
                p -= RATE * p.grad
                p.grad = None
        return value.item(), tuple(params)

    return step


def with_torch(x, y, parameters):
    torch, xp = peers.module("torch"), peers.namespace("torch")
    x, y = torch.tensor(x), torch.tensor(y)
    params = [torch.tensor(p, requires_grad=True) for p in parameters]

    def step():
        value = loss(xp, *params, x, y)
        value.backward()
        with torch.no_grad():
            for p in params:
                p -= RATE * p.grad
                p.grad = None
        return value.item(), tuple(params)

    return step


def with_jax(x, y, parameters):
    jax, xp = peers.module("jax"), peers.namespace("jax")
    x, y = jax.numpy.asarray(x), jax.numpy.asarray(y)
    params = tuple(jax.numpy.asarray(p) for p in parameters)

    @jax.jit
    def update(params, x, y):
        value, grads = jax.value_and_grad(lambda ps: loss(xp, *ps, x, y))(params)
        return value, tuple(p - RATE * g for p, g in zip(params, grads))

    def step():
        nonlocal params
        value, params = jax.block_until_ready(update(params, x, y))
        return float(value), params

    return step


def with_autograd(x, y, parameters):
    autograd, xp = peers.module("autograd"), peers.namespace("autograd")
    params = [p.copy() for p in parameters]
    both = autograd.value_and_grad(lambda ps: loss(xp, *ps, x, y))

    def step():
        value, grads = both(params)
        for p, g in zip(params, grads):
            p -= RATE * g
        return float(value), tuple(params)

    return step


def with_mygrad(x, y, parameters):
    mygrad, xp = peers.module("mygrad"), peers.namespace("mygrad")
    params = [mygrad.tensor(p) for p in parameters]

    def step():
        value = loss(xp, *params, x, y)
        value.backward()
        with mygrad.no_autodiff:
            for p in params:
                p.data -= RATE * p.grad
                p.null_grad()
        return value.item(), tuple(p.data for p in params)

    return step


CONTENDERS = {
    "tapegrad": with_tapegrad,
    "torch": with_torch,
    "jax": with_jax,
    "autograd": with_autograd,
    "mygrad": with_mygrad,
}


def run(session):
    x, y, parameters = data()
    step = by_hand(x, y, parameters)
    for _ in range(CHECKED):
        answer = step()
    reference = (answer[0], tuple(p.copy() for p in answer[1]))
    factories = {n: lambda n=n: CONTENDERS[n](x, y, parameters) for n in session.libraries(*CONTENDERS)}
    factories["by hand"] = lambda: by_hand(x, y, parameters)
    session.contest(f"{INPUTS}x{HIDDEN}, batch {BATCH}", factories, reference, steps=CHECKED)


if __name__ == "__main__":
    sys.exit(main(lambda name: run, ["mlp_step"]))
