"""One program, run in different plans, gives the same values and gradients.

How instructions are grouped and when they run depends on what is looked at and when; the numbers must
not.  Each random program is run as it is, with every value looked at as soon as it exists, and with one
instruction per region.
"""

from __future__ import annotations

import random

import numpy as np
import pytest

import tapegrad as tg
from tapegrad.engine import driver

SHAPES = [(), (1,), (3,), (1500,), (3, 1), (1, 1500), (40, 60), (1, 60), (40, 1)]
UNARY = [
    tg.sin,
    tg.tanh,
    tg.negative,
    tg.sigmoid,
    lambda x: x * x,
    lambda x: tg.sqrt(x * x + 1.0),
    lambda x: x * 1.5 + 0.25,
]
BINARY = [
    tg.add,
    tg.subtract,
    tg.maximum,
    lambda x, y: x * y * 0.5,
    lambda x, y: x / (y * y + 1.0),
]


def broadcasts(x, y):
    try:
        return np.prod(np.broadcast_shapes(x.shape, y.shape)) <= 5000
    except ValueError:
        return False


def step(rnd, x, y):
    """One more value, or ``None`` if the draw does not fit."""
    kind = rnd.randrange(9)
    if kind < 3:
        return rnd.choice(UNARY)(x)
    if kind < 6:
        return rnd.choice(BINARY)(x, y) if broadcasts(x, y) else None
    if not x.ndim:
        return None
    if kind == 6:
        return tg.sum(x, axis=rnd.randrange(x.ndim), keepdims=rnd.random() < 0.5) * 0.1
    if kind == 7:
        return x.T
    return x[1:] if x.shape[0] > 2 else None


def run(seed, look):
    """Values and gradients of random program ``seed``."""
    rnd, rng = random.Random(seed), np.random.default_rng(seed)
    leaves = [tg.tensor(rng.normal(size=rnd.choice(SHAPES)), requires_grad=True) for _ in range(3)]
    values, loss = list(leaves), tg.tensor(0.0)
    for _ in range(rnd.randrange(10, 50)):
        x, y = rnd.choice(values), rnd.choice(values)
        value = step(rnd, x, y)
        if value is None:
            continue
        if look:
            value.tolist()
        values.append(value)
        if rnd.random() < 0.15:
            loss = loss + value.sum()
        if len(values) > 8:
            values.pop(rnd.randrange(len(values)))
    loss = loss + values[-1].sum() + sum(v.sum() for v in leaves)
    loss.backward()
    return [v.detach().numpy() for v in [loss, *values]] + [t.grad.numpy() for t in leaves]


@pytest.mark.parametrize("seed", range(60))
def test_plans_agree(seed, monkeypatch):
    expected = run(seed, look=True)
    fused = run(seed, look=False)
    monkeypatch.setattr(driver, "REGION_LIMIT", 1)
    single = run(seed, look=False)
    for a, b, c in zip(expected, fused, single, strict=True):
        scale = 1e-11 * max(1.0, np.abs(a).max(initial=0.0))
        np.testing.assert_allclose(b, a, rtol=1e-10, atol=scale)
        np.testing.assert_allclose(c, a, rtol=1e-10, atol=scale)
