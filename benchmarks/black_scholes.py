"""Greeks of European calls: gradient of the summed price with respect to four arrays."""

import sys

import numpy as np
from scipy.special import ndtr

from benchmarks.harness import main
from benchmarks.peers import COMPILED, value_and_grad

RATE = 0.02


def price(xp, spot, strike, years, sigma):
    spread = sigma * xp.sqrt(years)
    d1 = (xp.log(spot / strike) + (RATE + 0.5 * sigma * sigma) * years) / spread
    d2 = d1 - spread
    half = 0.7071067811865476
    in_money, exercised = 0.5 * (1 + xp.erf(d1 * half)), 0.5 * (1 + xp.erf(d2 * half))
    return (spot * in_money - strike * xp.exp(-RATE * years) * exercised).sum()


def reference(spot, strike, years, sigma):
    """Textbook formulas: delta, the derivative by strike, theta (sign changed), vega."""
    root = np.sqrt(years)
    d1 = (np.log(spot / strike) + (RATE + 0.5 * sigma**2) * years) / (sigma * root)
    d2 = d1 - sigma * root
    discount = np.exp(-RATE * years)
    density = np.exp(-0.5 * d1**2) / np.sqrt(2 * np.pi)
    value = np.sum(spot * ndtr(d1) - strike * discount * ndtr(d2))
    theta = spot * density * sigma / (2 * root) + RATE * strike * discount * ndtr(d2)
    return value, (ndtr(d1), -discount * ndtr(d2), theta, spot * density * root)


def inputs(size):
    rng = np.random.default_rng(0)
    return [
        rng.uniform(80, 120, size),
        rng.uniform(80, 120, size),
        rng.uniform(0.2, 2.0, size),
        rng.uniform(0.1, 0.5, size),
    ]


def run(session):
    libraries = session.libraries("tapegrad", "torch", "jax", "autograd")  # MyGrad has no erf
    libraries.insert(1, COMPILED)
    size = session.pick(1_000_000, 2000)
    arrays = inputs(size)
    factories = {n: lambda n=n: value_and_grad(n, price, arrays) for n in libraries}
    session.contest(f"size {size}", factories, reference(*arrays))


if __name__ == "__main__":
    sys.exit(main(lambda name: run, ["black_scholes"]))
