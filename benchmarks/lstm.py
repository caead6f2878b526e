"""Value and gradient of an LSTM over a sequence of 64 steps: 32 hidden units, a batch of 8.

tapegrad and PyTorch run a Python loop, JAX runs ``lax.scan``; PyTorch's own ``torch.nn.LSTM`` stands beside.
"""

import sys

import numpy as np

from benchmarks import arrays, peers
from benchmarks.harness import main

STEPS, BATCH, INPUTS, HIDDEN = 64, 8, 16, 32
TARGETS = {"torch": 1.0}


def step(xp, w, u, b, h, c, x):
    n = h.shape[1]
    z = x @ w + h @ u + b
    i, f, o = xp.sigmoid(z[:, :n]), xp.sigmoid(z[:, n : 2 * n]), xp.sigmoid(z[:, 3 * n :])
    c = f * c + i * xp.tanh(z[:, 2 * n : 3 * n])
    return o * xp.tanh(c), c


def loss(xp, w, u, b, v, x, y, zero):
    h = c = zero
    for t in range(len(x)):
        h, c = step(xp, w, u, b, h, c, x[t])
    error = h @ v - y
    return (error * error).mean()


def with_scan(xp, w, u, b, v, x, y, zero):
    from jax import lax

    (h, _), _ = lax.scan(lambda s, xt: (step(xp, w, u, b, *s, xt), None), (zero, zero), x)
    error = h @ v - y
    return (error * error).mean()


def inputs(steps, batch, size, hidden):
    rng = np.random.default_rng(0)
    parameters = [
        rng.normal(size=(size, 4 * hidden)) / np.sqrt(size),
        rng.normal(size=(hidden, 4 * hidden)) / np.sqrt(hidden),
        0.1 * rng.normal(size=4 * hidden),
        rng.normal(size=(hidden, 1)) / np.sqrt(hidden),
    ]
    x = rng.normal(size=(steps, batch, size))
    return parameters, [x, np.sin(x.sum(axis=(0, 2)))[:, None], np.zeros((batch, hidden))]


def reference(parameters, fixed):
    """Backpropagation through time, by hand."""
    (w, u, b, v), (x, y, zero) = parameters, fixed
    n, h, c, kept = zero.shape[1], zero, zero, []
    for xt in x:
        z = xt @ w + h @ u + b
        i, f, o = (1 / (1 + np.exp(-z[:, k * n : (k + 1) * n])) for k in (0, 1, 3))
        g = np.tanh(z[:, 2 * n : 3 * n])
        kept.append((xt, h, c, i, f, g, o))
        c = f * c + i * g
        kept[-1] += (np.tanh(c),)
        h = o * kept[-1][-1]
    error = h @ v - y
    ge = 2 / error.size * error
    gv, gh, gc = h.T @ ge, ge @ v.T, zero
    gw, gu, gb = np.zeros_like(w), np.zeros_like(u), np.zeros_like(b)
    for xt, before, c, i, f, g, o, tanh_c in reversed(kept):
        gc = gc + gh * o * (1 - tanh_c**2)
        parts = gc * g * i * (1 - i), gc * c * f * (1 - f), gc * i * (1 - g**2), gh * tanh_c * o * (1 - o)
        gz = np.concatenate(parts, axis=1)
        gw, gu, gb = gw + xt.T @ gz, gu + before.T @ gz, gb + gz.sum(axis=0)
        gh, gc = gz @ u.T, gc * f
    return np.mean(error * error), (gw, gu, gb, gv)


def library_layer(parameters, fixed):
    """PyTorch's own layer, given the same parameters."""
    torch = peers.module("torch")
    w, u, b, v = [torch.tensor(p) for p in parameters]
    x, y, _ = [torch.tensor(a) for a in fixed]
    layer = torch.nn.LSTM(w.shape[0], u.shape[0], dtype=torch.float64)
    with torch.no_grad():
        for target, value in (("weight_ih_l0", w.T), ("weight_hh_l0", u.T), ("bias_ih_l0", b)):
            getattr(layer, target).copy_(value)
        layer.bias_hh_l0.zero_()
    v.requires_grad_()

    def run():
        layer.zero_grad()
        v.grad = None
        error = layer(x)[1][0][0] @ v - y
        value = (error * error).mean()
        value.backward()
        return value.item(), (
            layer.weight_ih_l0.grad.T,
            layer.weight_hh_l0.grad.T,
            layer.bias_ih_l0.grad,
            v.grad,
        )

    return run


def run(session):
    sizes = session.pick((STEPS, BATCH, INPUTS, HIDDEN), (5, 3, 4, 6))
    parameters, fixed = inputs(*sizes)
    arrays.contest(
        session,
        f"{sizes[0]} steps, batch {sizes[1]}, {sizes[3]} hidden units",
        loss,
        parameters,
        fixed,
        reference(parameters, fixed),
        TARGETS,
        {"jax": with_scan},
        more={"torch, nn.LSTM": lambda: library_layer(parameters, fixed)},
    )


if __name__ == "__main__":
    sys.exit(main(lambda name: run, ["lstm"]))
