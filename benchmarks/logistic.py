"""Gradient of the logistic loss: a matrix-vector product, ``log1p(exp(z))``, a product with labels."""

import sys

import numpy as np

from benchmarks.harness import main
from benchmarks.peers import COMPILED, value_and_grad

FEATURES = 10


def loss(xp, w, x, y):
    z = x @ w
    return (xp.log1p(xp.exp(z)) - y * z).mean()


def reference(w, x, y):
    z = x @ w
    value = np.mean(np.logaddexp(0.0, z) - y * z)
    return value, (x.T @ (1 / (1 + np.exp(-z)) - y) / len(y),)


def inputs(rows):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(rows, FEATURES))
    w = rng.normal(size=FEATURES)
    y = (rng.random(rows) < 1 / (1 + np.exp(-(x @ w)))).astype(float)
    return 0.5 * w, x, y


def run(session):
    libraries = session.libraries("tapegrad", "torch", "jax", "autograd", "mygrad")
    libraries.insert(1, COMPILED)
    for rows in session.pick((100_000, 1_000_000), (2000,)):
        w, x, y = inputs(rows)
        factories = {n: lambda n=n, w=w, x=x, y=y: value_and_grad(n, loss, [w], [x, y]) for n in libraries}
        session.contest(f"{rows} x {FEATURES}", factories, reference(w, x, y))


if __name__ == "__main__":
    sys.exit(main(lambda name: run, ["logistic"]))
