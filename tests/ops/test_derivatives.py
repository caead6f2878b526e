"""Derivatives of every row and function: at drawn inputs, in both modes, of two orders, in batches."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tapegrad as tg
from tapegrad.ops.table import PUBLIC, Kind, rows
from tapegrad.testing import broadcastable_shapes, check_grads, draw_sample, row_function
from tapegrad.testing.checks import floating
from tapegrad.testing.table import draw_row

ROWS = [row for row in rows if row.kind is Kind.ELEMENTWISE and row.public and any(row.rules)]
CASES = {
    f"{entry.name}-{k}": (entry, sample)
    for entry in PUBLIC.values()
    for k, sample in enumerate(entry.samples)
    if entry.differentiable and sample.differentiable and np.dtype(sample.dtype).kind in "fc"
}
BATCHED = {name: case for name, case in CASES.items() if not case[0].looks}
BOTH = ("rev", "fwd")
FEW = settings(max_examples=max(1, settings.default.max_examples // 4))

by_row = pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
# Function by function: run a thousand times, a test with settings of its own is too deep for Hypothesis.
by_name = pytest.mark.parametrize("name", list(dict.fromkeys(entry.name for entry, _ in CASES.values())))


def rng(seed):
    return np.random.default_rng(seed)


# --- at drawn inputs ------------------------------------------------------------------------------


@by_row
@FEW
@given(seed=st.integers(0, 2**32 - 1), data=st.data())
def test_row(row, seed, data):
    shapes = data.draw(broadcastable_shapes(row.arity, max_dims=2, max_side=3, min_side=1))
    check_grads(row_function(row), draw_row(row, shapes, rng(seed)), order=2, modes=BOTH)


@by_name
@FEW
@given(seed=st.integers(0, 2**32 - 1))
def test_function(name, seed):
    for entry, sample in CASES.values():
        if entry.name == name:
            operands, bind = draw_sample(sample, rng(seed))
            check_grads(bind(entry.function), operands, order=2, modes=BOTH)


# --- in batches -----------------------------------------------------------------------------------


def same_gradients(function, draws):
    """Gradients and tangents of a batch are those of its elements."""
    where = tuple(k for k, a in enumerate(draws[0]) if a.dtype.kind in "fc")

    def loss(*xs):
        return sum(tg.sum(tg.sin(o)) for o in floating(function(*xs)))

    stacked = [np.stack(values) for values in zip(*draws, strict=True)]
    gradient = tg.grad(loss, where)
    wanted = [gradient(*draw) for draw in draws]
    for k, got in enumerate(tg.vmap(gradient)(*stacked)):
        np.testing.assert_allclose(got, np.stack([w[k] for w in wanted]), rtol=1e-11, atol=1e-11)

    def tangent(*xs):
        return tg.jvp(lambda *ys: loss(*[ys[where.index(k)] if k in where else x for k, x in enumerate(xs)]),
                      tuple(xs[k] for k in where), tuple(tg.ones_like(xs[k]) for k in where))[1]  # fmt: skip

    got = tg.vmap(tangent)(*stacked)
    wanted = [tangent(*map(tg.tensor, draw)).item() for draw in draws]
    np.testing.assert_allclose(got, wanted, rtol=1e-11, atol=1e-11)


@by_row
def test_batches_of_row(row):
    r = rng(0)
    for shapes in (((2, 1), (1, 3), (2, 3))[: row.arity], ((),) * row.arity):
        same_gradients(row_function(row), [draw_row(row, shapes, r) for _ in range(3)])


@pytest.mark.parametrize("name", BATCHED)
def test_batches_of_function(name):
    entry, sample = BATCHED[name]
    r = rng(0)
    drawn = [draw_sample(sample, r) for _ in range(3)]
    same_gradients(drawn[0][1](entry.function), [operands for operands, _ in drawn])
