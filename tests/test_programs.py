"""Programs: every operation replayed, scalars inline and in batches, memory, large arrays, threads."""

import threading
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tapegrad as tg
from tapegrad.ops.table import PUBLIC, ROWS, Kind, rows
from tapegrad.program import vm
from tapegrad.program.program import ProgramError, build
from tapegrad.testing.table import draw_row, draw_sample, row_function
from tests.tracing import random_program, trace_of, with_gradient

ELEMENTWISE = [
    r
    for r in rows
    if r.kind is Kind.ELEMENTWISE and r.dtype_rule != "bits" and not r.name.startswith("custom:")
]


def numbers(row, shape, seed=0):
    return draw_row(row, (shape,) * row.arity, np.random.default_rng(seed))


@pytest.mark.parametrize("row", ELEMENTWISE, ids=lambda r: r.name)
@pytest.mark.parametrize("shape", [(), (5,), (2000,)], ids=str)
def test_elementwise_rows_replay(row, shape):
    program = build(trace_of(row_function(row), *numbers(row, shape)))
    for seed in (1, 2):
        arrays = numbers(row, shape, seed)
        failed, (result,) = program.run(arrays)
        expected = row_function(row)(*map(tg.tensor, arrays)).numpy()
        assert failed == -1 and result.dtype == expected.dtype and result.shape == expected.shape
        np.testing.assert_array_equal(result, expected)


@pytest.mark.parametrize("name", sorted(vm.INLINE))
def test_inline_scalars_are_what_kernels_compute(name):
    row = ROWS[name]
    special = [0.0, -0.0, 1.0, -1.0, 2.5, np.inf, -np.inf, np.nan, 1e-310]
    boolean = name.startswith("logical")
    trace = trace_of(
        row_function(row),
        *[np.array(True if boolean or (k < row.typed_by) else 1.0) for k in range(row.arity)],
    )
    program = build(trace)
    assert vm.CALL not in program.words.tolist()[:1]
    for x in special:
        for y in special[: 1 if row.arity == 1 else None]:
            values = [np.array(v) for v in (x, y, -y)[: row.arity]]
            values = [v > 0 if boolean or k < row.typed_by else v for k, v in enumerate(values)]
            with np.errstate(all="ignore"):
                expected = row_function(row)(*map(tg.tensor, values)).numpy()
            result = program.run(values)[1][0]
            np.testing.assert_array_equal(result, expected)
            if result.dtype.kind == "f" and not np.isnan(expected):
                assert np.signbit(result) == np.signbit(expected)


SAMPLES = [(n, k) for n, p in PUBLIC.items() if not p.looks for k in range(len(p.samples))]


@pytest.mark.parametrize("name, k", SAMPLES, ids=lambda v: str(v))
def test_public_functions_replay(name, k):
    public = PUBLIC[name]
    sample = public.samples[k]
    operands, bind = draw_sample(sample, np.random.default_rng(0))
    again, _ = draw_sample(sample, np.random.default_rng(1))

    def flat(out):
        return tuple([part for o in out for part in flat(o)]) if isinstance(out, (tuple, list)) else (out,)

    def f(*xs):
        return flat(bind(public.function)(*xs))

    program = build(trace_of(f, *operands))
    for arrays in (operands, again):
        failed, results = program.run(arrays)
        assert failed == -1
        for result, expected in zip(results, f(*map(tg.tensor, arrays))):
            assert result.dtype == expected.dtype
            np.testing.assert_allclose(result, expected.numpy(), rtol=1e-13, atol=1e-13)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10**6))
def test_random_programs_with_gradient(seed):
    f, points = random_program(seed, steps=20)
    program = build(trace_of(with_gradient(f), *points[0]))
    for arrays in (*points, points[0]):
        failed, results = program.run(arrays)
        xs = [tg.tensor(a, requires_grad=True) for a in arrays]
        value = f(*xs)
        value.backward()
        expected = [value.item(), *(x.grad.numpy() if x.grad is not None else np.zeros(x.shape) for x in xs)]
        assert failed == -1
        for a, b in zip(results, expected):
            np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-10 * np.max(np.abs(b), initial=1.0))


def test_independent_calls_are_made_together():
    def f(x):
        return tg.stack([tg.sin(x[k]) * tg.tanh(x[k]) for k in range(20)]).sum()

    program = build(trace_of(f, np.ones(20)))
    words = program.words.tolist()
    assert words.count(vm.BATCH) >= 2
    x = np.linspace(-2, 2, 20)
    np.testing.assert_allclose(program.run([x])[1][0], (np.sin(x) * np.tanh(x)).sum(), rtol=1e-14)


def test_memory_is_used_again():
    def f(x):
        for _ in range(2000):
            x = tg.sin(x) * 0.5 + x
        return x

    scalars, arrays = build(trace_of(f, np.array(1.0))), build(trace_of(lambda x: f(x[0]), np.ones((1, 50))))
    assert scalars.memory_bytes < 1000
    assert arrays.memory_bytes < 20_000


def test_replays_allocate_only_their_results():
    program = build(trace_of(with_gradient(lambda x: (tg.exp(tg.sin(x)) * x).sum()), np.ones(300)))
    x, out = np.ones(300), [np.empty(()), np.empty(300)]
    for _ in range(3):
        program.run([x], out)
    tracemalloc.start()
    try:
        for _ in range(100):
            program.run([x], out)
        before = tracemalloc.get_traced_memory()[0]
        tracemalloc.reset_peak()
        for _ in range(1000):
            program.run([x], out)
        after, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert after - before < 500
    assert peak - before < 4000


def test_large_arrays_are_read_and_written_in_place():
    n = 200_000
    program = build(
        trace_of(lambda x, y: (x * y, x[5], x.reshape(2, -1), (x * x).sum()), np.ones(n), np.ones(n))
    )
    assert program.memory_bytes < 10_000
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=n), rng.normal(size=n)
    a, b, c, d = program.run([x, y])[1]
    np.testing.assert_array_equal(a, x * y)
    assert b == x[5] and c.shape == (2, n // 2) and not np.shares_memory(c, x)
    np.testing.assert_allclose(d, x @ x, rtol=1e-13)
    out = [x, np.empty(()), np.empty((2, n // 2)), np.empty(())]  # writes over an argument
    expected = x * y
    program.run([x, y], out)
    np.testing.assert_array_equal(x, expected)


def test_read_only_and_empty_arguments():
    x = np.arange(1000.0)
    x.flags.writeable = False
    program = build(trace_of(lambda x, e: (x * 2.0, e.sum(), tg.concat([e, x])), x, np.zeros(0)))
    a, b, c = program.run([x, np.zeros(0)])[1]
    np.testing.assert_array_equal(a, 2 * x)
    assert b == 0.0
    np.testing.assert_array_equal(c, x)


def test_results_that_are_arguments_or_equal_are_fresh():
    program = build(trace_of(lambda x: (x, x, x * 2.0, x * 2.0), np.ones(4)))
    x = np.ones(4)
    results = program.run([x])[1]
    for k, a in enumerate(results):
        assert not np.shares_memory(a, x)
        assert not any(np.shares_memory(a, b) for b in results[k + 1 :])


def test_an_index_out_of_bounds_is_reported():
    program = build(trace_of(lambda x, i: x[i], np.ones(4), np.array([1, 2])))
    with pytest.raises(ProgramError):
        program.run([np.ones(4), np.array([1, 9])])
    np.testing.assert_array_equal(program.run([np.arange(4.0), np.array([3, -1])])[1][0], [3.0, 3.0])


def test_threads_replay_at_the_same_time():
    program = build(trace_of(with_gradient(lambda x: (tg.exp(tg.sin(x)) * x).sum()), np.ones(3000)))
    points = [np.full(3000, 0.1 * k) for k in range(8)]
    expected = [program.run([x])[1] for x in points]
    wrong = []

    def work(k):
        for _ in range(100):
            value, gradient = program.run([points[k]])[1]
            if value != expected[k][0] or not np.array_equal(gradient, expected[k][1]):
                wrong.append(k)

    threads = [threading.Thread(target=work, args=(k,)) for k in range(8)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not wrong


def test_loss_and_gradient_are_one_region():
    x = np.linspace(0.1, 1, 100)
    program = build(trace_of(with_gradient(lambda x: tg.tanh(tg.exp(tg.sin(x))).sum()), x))
    assert program.words.tolist().count(vm.REGION) == 1 and vm.STRUCTURED not in program.words.tolist()[:1]
