"""Machine code answers what the interpreter answers; when it is made, switched to, and given back."""

import gc
import os
import pickle
import subprocess
import sys
import threading
import time
import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tapegrad as tg
from tapegrad.program.lower import code, tier
from tapegrad.program.lower.choose import lowerable
from tapegrad.trace import Trace

SPECIAL = [0.0, -0.0, 1.0, -1.0, 0.5, -2.0, 3.0, 5e-324, -1e-310, 1e308, np.inf, -np.inf, np.nan]
numbers = st.one_of(st.sampled_from(SPECIAL), st.floats(-4.0, 4.0))


def both(f, *args, **options):
    """The function in the two tiers, recorded with the same arguments."""
    made = tg.compile(f, tier="interpret", **options), tg.compile(f, tier="native", **options)
    for g in made:
        with np.errstate(all="ignore"), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            g(*args)
    assert [g.stats().tier for g in made] == ["interpret", "native"]
    return made


def leaves(result):
    return [np.asarray(a) for a in tg.tree.flatten(result)[0]]


def same(x, y):
    """Equal to the last bit, signs of zeros included; any NaN is like any other."""
    for a, b in zip(leaves(x), leaves(y)):
        assert a.dtype == b.dtype and a.shape == b.shape
        nan = np.isnan(a) if a.dtype.kind == "f" else np.zeros(a.shape, bool)
        np.testing.assert_array_equal(a, b)
        if a.dtype.kind == "f":
            np.testing.assert_array_equal(np.signbit(a)[~nan], np.signbit(b)[~nan])


def close(x, y):
    """The same after a few operations that may differ in the last place."""
    for a, b in zip(leaves(x), leaves(y)):
        np.testing.assert_allclose(a, b, rtol=1e-11, atol=1e-300)


# --- the same numbers ---------------------------------------------------------------------------------

UNARY = [
    tg.negative, tg.square, tg.sqrt, tg.reciprocal, tg.abs, lambda x: x * 1.0, lambda x: x * -1.0,
    lambda x: x + 0.0, lambda x: x - 0.0, lambda x: 0.0 * x, lambda x: 2.0 / x, lambda x: 1.0 - x,
    tg.positive,
    lambda x: tg.clip(x, -1.0, 1.5), lambda x: tg.where(tg.isnan(x), 1.0, x),
    lambda x: tg.where(tg.isfinite(x), x, 2.0), lambda x: tg.where(tg.isinf(x), x, 3.0),
]  # fmt: skip
BINARY = [
    tg.add, tg.subtract, tg.multiply, tg.divide, tg.maximum, tg.minimum,
    lambda x, y: x * y + x, lambda x, y: x - x * y, lambda x, y: x * y - y,
    lambda x, y: tg.where(x < y, x, y), lambda x, y: tg.where((x >= y) | (x == 0.0), x * y, y),
    lambda x, y: tg.where(tg.logical_not(x <= y) & (y != 1.0), x, -y),
    lambda x, y: tg.where(tg.logical_xor(x > y, y > 0.0), x, y),
]  # fmt: skip
CALLED = [tg.exp, tg.sin, tg.tanh, tg.log1p, tg.atan, tg.expm1]


@st.composite
def scalar_programs(draw, called=False):
    """A function of three numbers: operations on earlier results, and looks at some of them."""
    steps = []
    for k in range(draw(st.integers(1, 25))):
        x, y = draw(st.integers(0, 2 + k)), draw(st.integers(0, 2 + k))
        kind = draw(st.sampled_from(["unary", "binary", "binary", "branch"] + ["called"] * called))
        table = {"unary": UNARY, "called": CALLED}.get(kind, BINARY)
        steps.append((kind, draw(st.sampled_from(table)), x, y))

    def f(x):
        values = [x[0], x[1], x[2]]
        for kind, operation, i, j in steps:
            if kind in ("unary", "called"):
                values.append(operation(values[i]))
            elif kind == "binary" or values[i] > values[j]:
                values.append(operation(values[i], values[j]))
            else:
                values.append(values[j])
        return values[-1] + values[-1 - len(steps) // 2]

    return f


@given(scalar_programs(), st.lists(st.tuples(numbers, numbers, numbers), min_size=1, max_size=6))
def test_scalar_programs_give_the_same_bits(f, points):
    wanted, found = both(tg.value_and_grad(f), np.array(points[0]))
    for point in points + points:
        same(wanted(np.array(point)), found(np.array(point)))


@given(scalar_programs(called=True), st.lists(st.tuples(numbers, numbers, numbers), min_size=1, max_size=4))
def test_programs_that_call_kernels(f, points):
    wanted, found = both(tg.value_and_grad(f), np.array(points[0]))
    for point in points + points:
        close(wanted(np.array(point)), found(np.array(point)))


ARRAYS = [
    lambda x, y: x + y, lambda x, y: x * y, lambda x, y: x @ y, lambda x, y: x.T @ y, lambda x, y: x @ y.T,
    lambda x, y: x / (y * y + 1.0), lambda x, y: tg.maximum(x, y), lambda x, y: x * y[0],
    lambda x, y: x * y[:, :1], lambda x, y: x.T, lambda x, y: x[::-1] + y, lambda x, y: x - x.sum(axis=0),
    lambda x, y: x * y.sum(), lambda x, y: tg.where(x > y, x, 0.0), lambda x, y: x * (x @ y[0])[:, None],
    lambda x, y: x * (x.T @ y[0]), lambda x, y: tg.concatenate([x[:1], y[1:]]),
    lambda x, y: tg.stack([x[0], *[y[k] for k in range(1, x.shape[0])]]),
    lambda x, y: x.reshape(-1)[: x.size].reshape(x.shape) + y, lambda x, y: x * tg.prod(y, axis=1)[:, None],
    lambda x, y: tg.flip(x, axis=1), lambda x, y: tg.roll(x, 1, axis=0), lambda x, y: tg.diagonal(x) * y,
    lambda x, y: x - tg.sum(x, axis=1)[:, None],
]  # fmt: skip


@st.composite
def array_programs(draw):
    """A function of two square matrices: products, movements and sums of earlier results."""
    n = draw(st.integers(2, 4))
    steps = [
        (draw(st.sampled_from(ARRAYS)), draw(st.integers(0, 1 + k)), draw(st.integers(0, 1 + k)))
        for k in range(draw(st.integers(1, 8)))
    ]

    def f(x, y):
        values = [x, y]
        for operation, i, j in steps:
            values.append(operation(values[i], values[j]))
        return (values[-1] * values[-1 - len(steps) // 2]).sum()

    return n, f


@given(array_programs(), st.data())
def test_programs_of_small_arrays_give_the_same_bits(program, data):
    n, f = program
    draw = st.lists(numbers, min_size=n * n, max_size=n * n).map(lambda v: np.array(v).reshape(n, n))
    points = data.draw(st.lists(st.tuples(draw, draw), min_size=1, max_size=3))
    wanted, found = both(tg.value_and_grad(f, argnums=(0, 1)), *points[0])
    for x, y in points:
        same(wanted(x, y), found(x, y))


@pytest.mark.parametrize("n", [1, 3, 7, 8, 9, 15, 16, 17])
def test_sums_are_added_in_the_same_order(n):
    x = np.random.default_rng(n).normal(size=n) * 10.0 ** np.arange(n)
    f = tg.value_and_grad(lambda x: (x * x).sum() + tg.sum(x.reshape(1, n), axis=1)[0] * 1e-3 + x[0])
    wanted, found = both(f, x)
    same(wanted(x), found(x))
    same(wanted(-0.0 * x), found(-0.0 * x))


def test_all_kinds_of_results_and_arguments():
    captured = np.array([[1.0, 2.0], [3.0, 4.0]])
    constant = tg.tensor([0.0, 1.0])

    def f(x, flag, big):
        positive = x > 0.0
        return (
            x.sum(),
            positive,
            x[0] * constant,
            captured @ x,
            tg.logical_and(flag, positive[1]),
            big[3] * x,
            -big,
        )

    args = np.array([1.0, -2.0]), True, np.arange(5000.0)
    wanted, found = both(f, *args)
    same(wanted(*args), found(*args))
    captured[:] = -1.0  # read again
    same(wanted(*args), found(*args))
    assert found(*args)[3].tolist() == [1.0, 1.0]


def test_machine_code_between_interpreted_rows():
    def f(x):
        norm = (x * x).sum()  # a region
        scale = 1.0 / (norm + 1.0)
        y = scale * x  # a region again
        z = tg.sort(y)[:3] * scale
        return z[0] * z[1] + z[2] * norm, tg.cumulative_sum(y)

    x = np.random.default_rng(0).normal(size=300)
    wanted, found = both(f, x)
    same(wanted(x), found(x))


def test_long_programs_are_cut_and_their_values_carried_over():
    def f(x):
        a, b, total = x[0], x[1], 0.0
        seen = []
        for k in range(700):
            a, b = a - 0.01 * b * a, b + 0.01 * a * b
            seen.append(a)
            total = total + seen[k // 2] * b
        return total

    wanted, found = both(tg.value_and_grad(f), np.array([1.0, 0.5]))
    native = found._last.program.native
    assert len(native.code.addresses) > 5 and len(native.words) < 200
    same(wanted(np.array([0.7, 0.2])), found(np.array([0.7, 0.2])))


def test_guards_are_checked_and_the_first_failure_decides():
    def f(x):
        total = 0.0
        for k in range(4):
            total = total + (x[k] if x[k] > 0.0 else x[k] * x[k])
        return total

    points = [np.array(p) for p in np.ndindex(2, 2, 2, 2)]
    points = [2.0 * p - 1.5 for p in points]
    wanted, found = both(f, points[0])
    for p in points + points:
        same(wanted(p), found(p))
    assert wanted.stats().recordings == found.stats().recordings == 16
    assert found.stats().tier == "native"


def test_looks_that_are_no_truths_stay_guards():
    def f(x):
        n = int(x[0] * 2.0)
        return x[1] * n if x[1] < 3.0 else x[1] + n

    wanted, found = both(f, np.array([1.0, 2.0]))
    for p in ([1.2, 2.0], [1.6, 2.5], [1.6, 3.5], [1.0, 2.0], [-1.0, 2.0]):
        same(wanted(np.array(p)), found(np.array(p)))


def test_out_bind_numba_and_address():
    import ctypes

    import numba

    f = tg.compile(tg.value_and_grad(lambda x: tg.sin(x[0]) * x[1] + x[2] * x[0]), tier="native")
    x = np.array([0.3, 2.0, -1.0])
    value, gradient = f(x)
    out = np.empty(()), np.empty(3)
    f(x, out=out)
    same(out, (value, gradient))
    bound = f.bind(x)
    same(bound(), (value, gradient))
    replay = f.numba

    @numba.njit
    def call(x, g):
        return replay(x, g)

    g = np.empty(3)
    assert call(x, g) == value and g.tolist() == gradient.tolist()
    kind = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_void_p, ctypes.c_void_p)
    packed = np.empty(4)
    assert kind(f.address)(x.ctypes.data, packed.ctypes.data) == 0
    assert packed.tolist() == [value, *gradient]


# --- when ------------------------------------------------------------------------------------------


@pytest.fixture
def eager(monkeypatch):
    """Programs are hot after a few replays."""
    monkeypatch.setattr(tier, "REPLAYS", 20)
    monkeypatch.setattr(tier, "FIXED", 0)


def until(condition, seconds=60.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.002)


def rosenbrock(x):
    total = 0.0
    for k in range(len(x) - 1):
        total = total + 100.0 * (x[k + 1] - x[k] * x[k]) ** 2 + (1.0 - x[k]) ** 2
    return total


def test_a_hot_function_is_lowered_in_the_background(eager):
    f = tg.compile(tg.value_and_grad(rosenbrock))
    x = np.linspace(0.0, 1.0, 8)
    expected = f(x)
    assert f.stats().tier == "interpret"
    for _ in range(25):
        same(f(x), expected)
    until(lambda: f.stats().tier == "native")
    same(f(x), expected)
    assert all(i.program.code is not None for i in f._last.program._pool)


def test_bound_functions_notice_and_switch(eager):
    f = tg.compile(tg.value_and_grad(rosenbrock))
    x = np.linspace(0.0, 1.0, 8)
    bound = f.bind(x)
    expected = f(x)
    handle = next(iter(f._native.values()))
    before = handle.words[5:].tolist()
    for _ in range(25):
        same(bound(), expected)
    until(lambda: f.stats().tier == "native")
    until(lambda: not set(before) & set(handle.words[5:].tolist()))  # handles follow the program
    x[0] = 0.25
    same(bound(), f(x))


def test_functions_for_machine_code_are_lowered_in_the_background():
    import numba

    f = tg.compile(tg.value_and_grad(rosenbrock))
    x, g = np.linspace(0.0, 1.0, 8), np.empty(8)
    value, gradient = f(x)
    replay = f.numba

    @numba.njit
    def call(x, g):
        return replay(x, g)

    assert call(x, g) == value
    until(lambda: f.stats().tier == "native")
    g[:] = 0.0
    assert call(x, g) == value and g.tolist() == gradient.tolist()


def test_what_is_not_hot_is_not_lowered():
    f = tg.compile(tg.value_and_grad(rosenbrock))
    x = np.linspace(0.0, 1.0, 8)
    for _ in range(200):
        f(x)
    assert f.stats().tier == "interpret" and f._last.program.native is None


def test_interpret_never_is_lowered(eager):
    f = tg.compile(rosenbrock, tier="interpret")
    for _ in range(100):
        f(np.ones(3))
    assert f.stats().tier == "interpret" and f._last.program.left == 0
    f.numba
    assert f.stats().tier == "interpret"


def test_nothing_to_lower_is_fine():
    f = tg.compile(lambda x: tg.exp(x), tier="native")
    x = np.linspace(0.0, 1.0, 100)
    np.testing.assert_allclose(f(x), np.exp(x))
    assert f.stats().tier == "interpret"
    same(f(x), f(x))


def test_an_unknown_tier_is_an_error():
    with pytest.raises(ValueError, match="tier must be one of 'auto', 'interpret', 'native', not 'fast'"):
        tg.compile(rosenbrock, tier="fast")


@pytest.mark.parametrize("where", ["prelude", "Code"])
def test_failing_llvm_leaves_the_interpreter(monkeypatch, where):
    if where == "prelude":
        monkeypatch.setattr(code, "prelude", lambda: "this is no module")
    else:
        from tapegrad.program import program

        monkeypatch.setattr(program, "Code", lambda functions: 1 / 0)
    f = tg.compile(tg.value_and_grad(rosenbrock), tier="native")
    x = np.linspace(0.0, 1.0, 8)
    f(x)
    assert f.stats().tier == "interpret"
    same(f(x), tg.compile(tg.value_and_grad(rosenbrock), tier="interpret")(x))


def test_full_code_memory_is_no_error(monkeypatch):
    monkeypatch.setattr(code, "BUDGET", 0)
    f = tg.compile(rosenbrock, tier="native")
    assert f(np.ones(3)) == 0.0 and f.stats().tier == "interpret"
    monkeypatch.undo()
    g = tg.compile(rosenbrock, tier="native")
    assert g(np.ones(3)) == 0.0 and g.stats().tier == "native"


def test_threads_replay_while_the_program_is_switched(eager):
    f = tg.compile(tg.value_and_grad(rosenbrock))
    points = [np.linspace(0.0, 1.0 + k, 8) for k in range(4)]
    wanted = [f(x) for x in points]
    bounds = [f.bind(x) for x in points]
    stop, wrong = threading.Event(), []

    def work(k):
        tg.tape.current.tape = tg.tape.Tape()
        while not stop.is_set():
            for value, gradient in (f(points[k]), bounds[k]()):
                if value != wanted[k][0] or gradient.tolist() != wanted[k][1].tolist():
                    wrong.append(k)

    threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    for t in threads:
        t.start()
    try:
        until(lambda: f.stats().tier == "native")
        time.sleep(0.05)
    finally:
        stop.set()
        for t in threads:
            t.join()
    assert not wrong


# --- memory and processes ------------------------------------------------------------------------------


def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.skipif(not os.path.exists("/proc/self/statm"), reason="needs /proc")
def test_code_is_given_back_with_its_function():
    def one(k):
        f = tg.compile(tg.value_and_grad(lambda x: rosenbrock(x) * float(k)), tier="native")
        f(np.ones(6))
        assert f.stats().tier == "native"

    gc.collect()
    before = code.held()
    for k in range(100):
        one(k)
    gc.collect()
    assert code.held() == before
    start = resident()
    for k in range(300):
        one(k)
    gc.collect()
    assert code.held() == before
    assert resident() - start < 24 << 20  # a leak of one page per function alone would be 1.2 MB; of all, 30


def test_code_lives_while_something_calls_it():
    f = tg.compile(tg.value_and_grad(rosenbrock), tier="native")
    x = np.linspace(0.0, 1.0, 8)
    expected = f(x)
    bound, replay = f.bind(x), f.numba
    before = code.held()
    del f
    gc.collect()
    assert code.held() == before
    same(bound(), expected)
    assert replay is not None


def test_pickled_functions_keep_their_tier():
    f = tg.compile(np_free, tier="native")
    f(np.ones(3))
    again = pickle.loads(pickle.dumps(f))
    assert again._tier == "native" and again(np.ones(3)) == f(np.ones(3))
    assert again.stats().tier == "native"


def np_free(x):
    return x[0] * x[1] + x[2]


def test_loaded_tapes_go_native(tmp_path, eager):
    f = tg.compile(tg.value_and_grad(rosenbrock))
    x = np.linspace(0.0, 1.0, 8)
    expected = f(x)
    f.save(tmp_path / "tape")
    g = tg.load(tmp_path / "tape")
    for _ in range(25):
        same(g(x), expected)
    until(lambda: g.stats().tier == "native")
    same(g(x), expected)


SCRIPT = """
import os, sys, time
import numpy as np
import tapegrad as tg
from tapegrad.program.lower import tier
tier.REPLAYS, tier.FIXED = 5, 0

def f(x):
    a, b = x[0], x[1]
    for _ in range(1000):
        a, b = a - 0.01 * b * a, b + 0.01 * a * b
    return a * b

g = tg.compile(tg.value_and_grad(f))
x = np.array([1.0, 0.5])
expected = g(x)
for _ in range(10):
    g(x)
assert g.stats().tier in ("lowering", "native")
"""


def in_a_process(rest):
    result = subprocess.run(
        [sys.executable, "-c", SCRIPT + rest], capture_output=True, text=True, timeout=300
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_a_process_ends_while_its_thread_compiles():
    in_a_process("")
    in_a_process("time.sleep(0.05)\n")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_forked_child_goes_on_and_lowers_by_itself():
    out = in_a_process("""
pid = os.fork()
value = g(x)
assert value[0] == expected[0]
h = tg.compile(tg.value_and_grad(lambda x: f(x) + x[0]))
for _ in range(20):
    h(x)
end = time.monotonic() + 60
while "native" != g.stats().tier or "native" != h.stats().tier:
    assert time.monotonic() < end, (pid, g.stats(), h.stats())
    time.sleep(0.01)
assert g(x)[0] == expected[0] and g(x)[1].tolist() == expected[1].tolist()
if pid == 0:
    os._exit(0)
print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
""")
    assert out.strip() == "0"


# --- what is chosen ------------------------------------------------------------------------------------


def test_structural_constants_cost_nothing():
    zeros = tg.tensor([[0.0, 1.0], [1.0, 0.0]])
    f = tg.compile(lambda x: (zeros @ x.T).T[0, 1] + tg.tensor([0.0, -0.0])[1], tier="native")
    x = np.array([[1.0, 2.0], [3.0, 4.0]])
    assert f(x) == np.array([[0.0, 1.0], [1.0, 0.0]])[1] @ x[0]


def test_small_rows_are_chosen_and_large_ones_are_not():
    f = tg.compile(lambda x: (x[:4] * 2.0, x * 2.0, (x[:16].reshape(4, 4) @ x[:16].reshape(4, 4))))
    f(np.ones(40))
    trace = f._last.program.trace
    assert isinstance(trace, Trace)
    rows, _, work = lowerable(trace)
    chosen = {(trace.row(i).name, trace.spec(i).shape) for i in np.flatnonzero(rows)}
    assert ("matmul", (4, 4)) in chosen and ("multiply", (4,)) in chosen
    assert ("multiply", (40,)) not in chosen and work > 128
