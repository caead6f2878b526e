"""Compiled value and gradient of the elementwise chain: what one call costs, and how it grows with the size.

NumPy arrays go in and come out; JAX has its arrays on the device and leaves the results there, and a second
line shows it from NumPy to NumPy.
"""

import sys

from benchmarks import peers
from benchmarks.chain import chain, inputs, reference
from benchmarks.harness import US, main
from benchmarks.programs import BOUND

JAX_TARGET = 1 / 3  # of its time with arrays on the device, at sizes where the cost of a call decides
SMALL = 100


def run(session):
    jax = session.libraries("jax")
    for size in session.pick((1, 100, 10_000, 1_000_000), (1, 100)):
        (x,) = inputs(size)
        value, (g,) = reference(x)
        names = [US, *jax, *(f"{name}, NumPy in and out" for name in jax)]
        factories = {n: lambda n=n, x=x: peers.compiled(n, chain, x) for n in names}
        factories[BOUND] = lambda x=x: peers.compiled(BOUND, chain, x)
        targets = {"jax": round(JAX_TARGET, 3)} if size <= SMALL else None
        session.contest(f"size {size}", factories, (value, g), targets=targets)


if __name__ == "__main__":
    sys.exit(main(lambda name: run, ["compiled"]))
