"""Gradient of an elementwise chain, and its value alone, 1e2 to 1e6 elements."""

import sys

import numpy as np

from benchmarks.harness import main
from benchmarks.peers import COMPILED, value, value_and_grad


def chain(xp, x):
    return (xp.sin(x) * xp.exp(-x * x) + xp.sqrt(1 + x * x) * xp.tanh(x)).sum()


def reference(x):
    bell, root, t = np.exp(-x * x), np.sqrt(1 + x * x), np.tanh(x)
    g = (np.cos(x) - 2 * x * np.sin(x)) * bell + x / root * t + root * (1 - t * t)
    return np.sum(np.sin(x) * bell + root * t), (g,)


def inputs(size):
    return [np.random.default_rng(0).normal(size=size) + 0.1]


def run(session):
    libraries = session.libraries("tapegrad", "torch", "jax", "autograd", "mygrad")
    libraries.insert(1, COMPILED)
    forward = [COMPILED, *session.libraries("tapegrad", "numpy", "torch", "jax")]
    for size in session.pick((100, 1000, 10_000, 100_000, 1_000_000), (100, 5000)):
        (x,) = inputs(size)
        answer = reference(x)
        factories = {n: lambda n=n, x=x: value_and_grad(n, chain, [x]) for n in libraries}
        session.contest(f"size {size}", factories, answer)
        factories = {n: lambda n=n, x=x: value(n, chain, [x]) for n in forward}
        session.contest(f"value alone, size {size}", factories, answer[0])


if __name__ == "__main__":
    sys.exit(main(lambda name: run, ["chain"]))
