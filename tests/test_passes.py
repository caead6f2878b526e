"""Passes: each leaves values, gradients and second derivatives as they were."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tapegrad as tg
from tapegrad.ops.table import ROWS
from tapegrad.program.passes import ORDER, optimise
from tapegrad.program.program import Program, build
from tapegrad.trace import TRUTH, Guard
from tests.tracing import random_program, trace_of, with_gradient

PASSES = list(dict.fromkeys(ORDER))


def names(trace):
    return [trace.row(i).name for i in range(len(trace))]


def run(trace, arrays):
    trace.check()
    failed, results = Program(trace, optimised=True).run(arrays)
    assert failed == -1
    return results


def agree(a, b):
    for x, y in zip(a, b):
        scale = np.max(np.abs(y), initial=1.0)
        np.testing.assert_allclose(x, y, rtol=1e-11, atol=1e-11 * scale)


@settings(max_examples=12, deadline=None)
@given(st.integers(0, 10**6))
def test_random_programs_keep_value_gradient_and_second_order(seed):
    f, points = random_program(seed)
    plain = trace_of(with_gradient(f, order=2), *points[0])
    optimised = optimise(plain)
    each = [step(plain) for step in PASSES]
    for arrays in points:
        expected = run(plain, arrays)
        agree(run(optimised, arrays), expected)
        for trace in each:
            agree(run(trace, arrays), expected)


def test_dead_rows_go():
    trace = trace_of(lambda x: (tg.sin(x), x * 2.0)[1], np.ones(3))
    assert "sin" in names(trace)
    assert "sin" not in names(optimise(trace))


def test_equal_rows_are_merged_and_operands_may_be_swapped():
    trace = optimise(trace_of(lambda x, y: tg.sin(x * y) + tg.sin(y * x), np.ones(3), np.ones(3)))
    assert names(trace).count("sin") == 1
    assert names(trace).count("multiply") == 1


def test_differences_are_not_merged_with_their_negatives():
    trace = optimise(trace_of(lambda x, y: (x - y, y - x), np.ones(3), np.ones(3)))
    a, b = Program(trace, optimised=True).run([np.full(3, 2.0), np.ones(3)])[1]
    assert (a == 1.0).all() and (b == -1.0).all()


def test_constants_are_folded():
    trace = optimise(trace_of(lambda x: x * tg.sqrt(tg.tensor(4.0)) * tg.exp(tg.zeros(3)), np.ones(3)))
    assert "sqrt" not in names(trace) and "exp" not in names(trace)


@pytest.mark.parametrize(
    "f", [lambda x: x * 1.0, lambda x: 1.0 * x, lambda x: x / 1.0, lambda x: x - 0.0, lambda x: x + (-0.0),
          lambda x: tg.negative(-x), lambda x: +x, lambda x: x**1.0, lambda x: tg.where(True, x, 0.0)],
)  # fmt: skip
def test_identities_vanish(f):
    assert names(optimise(trace_of(f, np.ones(3)))) == ["input"]


@pytest.mark.parametrize(
    "f", [lambda x: x * 0.0, lambda x: x + 0.0, lambda x: x - x, lambda x: x / x, lambda x: 0.0 - x]
)
def test_what_is_not_exact_stays(f):
    special = np.array([np.inf, -np.inf, np.nan, -0.0, 0.0, 1.0])
    trace = optimise(trace_of(f, special))
    assert len(trace) > 1
    with np.errstate(all="ignore"):
        expected = f(special)
    result = Program(trace, optimised=True).run([special])[1][0]
    np.testing.assert_array_equal(result, expected)
    np.testing.assert_array_equal(np.signbit(result), np.signbit(expected))


def test_moved_signs_keep_signed_zeros():
    a, b = np.array([0.0, -0.0, 1.0, -1.0]), np.array([0.0, 0.0, 1.0, 1.0])
    for f in (
        lambda x, y: -x + y,
        lambda x, y: -x - y,
        lambda x, y: x - (-y),
        lambda x, y: (-x) * y + x,
        lambda x, y: -x + -y,
    ):
        result = build(trace_of(f, a, b)).run([a, b])[1][0]
        np.testing.assert_array_equal(np.signbit(result), np.signbit(f(a, b)))


def test_sums_and_products_of_negated_arrays_keep_the_sign_of_zero():
    a = np.array([1.0, -1.0])
    for f in (
        lambda x: 1.0 / (-x).sum(),
        lambda x: 1.0 / ((-x) @ np.ones(2)),
        lambda x: 1.0 / (-x).sum(axis=0),
    ):
        with np.errstate(divide="ignore"):
            assert build(trace_of(f, a)).run([a])[1][0] == f(a) == np.inf


def test_negations_vanish_into_sums():
    trace = optimise(trace_of(lambda x, y: x + (-y) * 3.0, np.ones(3), np.ones(3)))
    assert "negative" not in names(trace) and "subtract" in names(trace)


def test_gradients_of_element_wise_reads_are_added_in_place():
    def f(x):
        return sum((x[k] * x[k] for k in range(6)), tg.tensor(0.0))

    trace = optimise(trace_of(with_gradient(f), np.ones(6)))
    assert names(trace).count("scatter_strided") == 1
    assert names(trace).count("add_strided") == 11


def test_barriers_are_not_merged():
    if "barrier" not in ROWS:
        pytest.skip("no barrier")
    from tapegrad.ops.record import record

    def f(x):
        return tg.sin(record(ROWS["barrier"], (x, x))) + tg.sin(x)

    assert names(optimise(trace_of(f, np.ones(3)))).count("sin") == 2


def test_guards_keep_their_rows():
    from dataclasses import replace

    trace = trace_of(lambda x: (x > 0.0, x * 2.0), np.array(1.0))
    slot = trace.outputs[0]
    trace = replace(trace, outputs=trace.outputs[1:], guards=[Guard(slot, TRUTH, 1)])
    program = build(trace)
    assert program.run([np.array(3.0)]) == (-1, [6.0])
    assert program.run([np.array(-3.0)]) == (0, None)
    assert program.looked(0) == False  # noqa: E712


# --- products -------------------------------------------------------------------------------------

RNG = np.random.default_rng(0)
A, B = RNG.standard_normal((5, 4)), RNG.standard_normal((5, 3))
STACK = RNG.standard_normal((2, 5, 4))


@pytest.mark.parametrize(
    ("f", "arrays"),
    [
        (lambda x, y: x.T @ y, (A, B)),
        (lambda x, y: (y.T @ x).T, (A, B)),
        (lambda x, y: (tg.sin(x.T @ y).T @ x.T).T, (A, B)),
        (lambda x: (x @ x.T).T @ x, (A,)),
        (lambda x: x @ x.mT, (STACK,)),
        (lambda x, y: x.mT @ y, (STACK, B)),
        (lambda x, y: (x.mT @ y).mT, (STACK, B)),
    ],
)
def test_transposes_disappear_into_products(f, arrays):
    plain = trace_of(with_gradient(lambda *xs: tg.sin(f(*xs)).sum()), *arrays)
    trace = optimise(plain)
    assert "permute_dims" not in names(trace)
    for scale in (1.0, -2.0):
        agree(run(trace, [scale * a for a in arrays]), run(plain, [scale * a for a in arrays]))


def test_other_permutations_and_shared_products_stay():
    cube = RNG.standard_normal((2, 3, 4))
    trace = optimise(trace_of(lambda x: tg.permute_dims(x, (1, 0, 2)) @ tg.ones((4, 2)), cube))
    assert "permute_dims" in names(trace)
    trace = optimise(trace_of(lambda x, y: (x.T @ y, (x.T @ y).T), A, B))
    assert names(trace).count("matmul") == 1


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_products_are_added_in_place(dtype):
    def f(w, *xs):
        return sum((tg.tanh(x @ w).sum() for x in xs), tg.tensor(0.0, dtype=dtype))

    arrays = [a.astype(dtype) for a in (RNG.standard_normal((4, 3)), *RNG.standard_normal((5, 6, 4)))]
    plain = trace_of(with_gradient(f), *arrays)
    trace = optimise(plain)
    assert names(trace).count("matmul_add") == 4
    for a, b in zip(run(trace, arrays), run(plain, arrays)):
        np.testing.assert_allclose(a, b, rtol=1e-10 if dtype == "float64" else 1e-4, atol=1e-5)


def test_a_product_that_somebody_else_reads_is_not_added_in_place():
    trace = optimise(trace_of(lambda x, y: ((z := x.T @ y), z + 1.0, z + y[:4])[1:], A, B))
    assert "matmul_add" not in names(trace)
