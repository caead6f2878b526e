"""Large loops are shared by threads: the same bits for any number of them, and no way to get stuck."""

import gc
import os
import signal
import subprocess
import sys
import threading
import time
import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numba import njit

import tapegrad as tg
from tapegrad.engine import threads

COUNTS = (1, 2, 3, 8)
LARGE = 150_000  # elements: with a few operations well above the limit


@pytest.fixture(autouse=True)
def settings():
    """Every test gets two threads, and leaves things as they were."""
    before = tg.get_num_threads()
    tg.set_num_threads(2)
    yield
    tg.set_num_threads(before)
    threads.count_as_large()


@pytest.fixture
def all_large(settings):
    """Whatever has more than one tile counts as large."""
    threads.count_as_large(64, 64)


def chain(x):
    return (tg.sin(x) * tg.exp(-x * x) + tg.sqrt(1 + x * x) * tg.tanh(x)).sum()


def numbers(*shape, dtype=np.float64):
    return np.random.default_rng(0).normal(size=shape).astype(dtype)


def same_for_all_counts(run):
    """The results of ``run()``, which must not depend on the number of threads, down to the last bit."""
    found = []
    for n in COUNTS:
        tg.set_num_threads(n)
        found.append([np.array(a, copy=True) for a in run()])
    for other in found[1:]:
        for a, b in zip(found[0], other):
            assert a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()
    return found[0]


def gradients(f, *arrays):
    """Value and gradients of ``f``, define-by-run."""

    def run():
        leaves = [tg.tensor(a, requires_grad=True) for a in arrays]
        value = f(*leaves)
        value.backward()
        return [value.detach().numpy(), *(x.grad.numpy() for x in leaves)]

    return run


# --- results --------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_chain(dtype):
    x = numbers(LARGE, dtype=dtype)
    value, g = same_for_all_counts(gradients(chain, x))
    y = x.astype(np.float64)
    bell, root, t = np.exp(-y * y), np.sqrt(1 + y * y), np.tanh(y)
    rtol = 1e-12 if dtype == np.float64 else 1e-5
    np.testing.assert_allclose(value, np.sum(np.sin(y) * bell + root * t), rtol=rtol)
    slope = (np.cos(y) - 2 * y * np.sin(y)) * bell + y / root * t + root * (1 - t * t)
    np.testing.assert_allclose(g, slope, rtol=rtol, atol=rtol)


def test_compiled_bound_and_machine_code():
    f = tg.compile(tg.value_and_grad(chain))
    x = numbers(LARGE)
    value, g = same_for_all_counts(lambda: f(x))
    bound = f.bind(x)()
    assert bound[0] == value and bound[1].tobytes() == g.tobytes()
    (once, other) = gradients(chain, x)()
    np.testing.assert_allclose(value, once, rtol=1e-13)
    np.testing.assert_allclose(g, other, rtol=1e-12, atol=1e-13)

    @njit
    def call(replay, x, g):
        return replay(x, g)

    into = np.empty_like(g)
    assert call(f.numba, x, into) == value
    assert into.tobytes() == g.tobytes()


@pytest.mark.parametrize(
    "shapes",
    [
        [(400, 500), (500,)],
        [(400, 500), (400, 1)],
        [(400, 500), (1, 1)],
        [(400, 500), ()],
        [(40, 10, 500), (10, 1), (40, 1, 500)],
        [(2, 100_000), (100_000,)],  # the sums of the blocks would be as large as the array itself
        [(200_000, 2), (200_000, 1), (1, 2)],
    ],
    ids=str,
)
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_broadcast_operands(shapes, dtype):
    def f(x, *others):
        y = x
        for z in others:
            y = tg.tanh(y * z + z)
        return (y * x).sum()

    def plain(x, *others):
        y = x
        for z in others:
            y = np.tanh(y * z + z)
        return (y * x).sum()

    arrays = [numbers(*s, dtype=dtype) for s in shapes]
    value, *found = same_for_all_counts(gradients(f, *arrays))
    wide = [a.astype(np.float64) for a in arrays]
    np.testing.assert_allclose(value, plain(*wide), rtol=1e-11 if dtype == np.float64 else 1e-4)
    for k, (g, a) in enumerate(zip(found, arrays)):
        assert g.shape == a.shape
        direction = numbers(*a.shape)
        h = 1e-6
        ends = [[w + s * h * direction if j == k else w for j, w in enumerate(wide)] for s in (1, -1)]
        slope = (plain(*ends[0]) - plain(*ends[1])) / (2 * h)
        scale = np.sqrt(g.size) * np.abs(g).max()
        assert abs((g * direction).sum() - slope) <= (1e-6 if dtype == np.float64 else 1e-4) * scale


def test_sums_are_as_accurate_as_pairwise_ones():
    x = np.full(1_000_000, 0.1, np.float32)
    bias = np.array(0.1, np.float32)
    value, _, g = gradients(lambda x, b: (x * b * 1.1).sum(), x, bias)()
    assert value == pytest.approx(1.1e4, rel=3e-7)
    assert g == pytest.approx(1.1e5, rel=3e-7)


def test_several_regions_and_views(all_large):
    def f(x, w):
        y = tg.sin(x @ w) * x[:, :7]
        z = y[1:] - y[:-1]
        z = tg.exp(-z * z) / (1 + z.mean(axis=1, keepdims=True) ** 2)
        return (z.T * 2 + z.sum() * tg.cos(z.T)).sum()

    arrays = numbers(900, 9), numbers(9, 7)
    same_for_all_counts(gradients(f, *arrays))
    g = tg.compile(tg.value_and_grad(f, argnums=(0, 1)))
    value, found = g(*arrays)
    same_for_all_counts(lambda: (g(*arrays)[0], *g(*arrays)[1]))
    expected, *others = gradients(f, *arrays)()
    np.testing.assert_allclose(value, expected, rtol=1e-12)
    for a, b in zip(found, others):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12)


OVER_AXES = {
    "sum": lambda x: tg.sum(x, axis=1),
    "sum, first axis": lambda x: tg.sum(x, axis=0),
    "max": lambda x: tg.max(x, axis=2),
    "prod": lambda x: tg.prod(x, axis=2),
    "mean": lambda x: tg.mean(x, axis=(1, 2), keepdims=True),
    "cumulative_sum": lambda x: tg.cumulative_sum(x, axis=1),
    "cumulative_prod": lambda x: tg.cumulative_prod(x, axis=2),
    "rows": lambda x: x[ROWS],
    "elements": lambda x: x[:, ROWS % 7, 2],
    "transposed": lambda x: tg.permute_dims(x, (2, 0, 1)) + 0.0,
    "steps": lambda x: x[::2, ::-1] * 1.0,
    "repeated": lambda x: tg.broadcast_to(x[:, None], (31, 3, 7, 11)) * 1.0,
    "vector": lambda x: x.reshape((31 * 7, 11)) @ x[0, 0],
    "vector, transposed": lambda x: x.reshape((31 * 7, 11)).T @ x.reshape(-1)[: 31 * 7],
    "convolution": lambda x: tg.conv2d(x[:, None], x[:2, None, :3, :4], padding=1, stride=(1, 2)),
    "convolution, groups": lambda x: tg.conv1d(x, x[:14, :1, :3], groups=7, dilation=2),
    "convolution, transposed": lambda x: tg.conv_transpose2d(x[:, None], x[:1, :3, None, :4], stride=2),
    "maxima of windows": lambda x: tg.max_pool2d(x, 3, stride=2, padding=1),
    "means of windows": lambda x: tg.avg_pool2d(x, (2, 3), stride=1),
    "integers": lambda x: tg.argmax(x, axis=1) * x[:, 0],
}
ROWS = np.random.default_rng(1).integers(0, 31, size=300)


@pytest.mark.parametrize("name", OVER_AXES)
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_structured_calls(all_large, name, dtype):
    x = numbers(31, 7, 11, dtype=dtype)

    def f(x):
        y = OVER_AXES[name](x)
        return (y * y).sum()

    found = same_for_all_counts(gradients(f, x))
    compiled = tg.compile(tg.value_and_grad(f))
    same_for_all_counts(lambda: compiled(x))
    bound = compiled.bind(x)() if dtype == np.float64 else compiled(x)
    for a, b in zip(compiled(x), bound):
        assert np.asarray(a).tobytes() == np.asarray(b).tobytes()
    threads.count_as_large(1 << 60)
    rtol = 1e-12 if dtype == np.float64 else 1e-4
    for a, b, c in zip(found, gradients(f, x)(), bound):
        np.testing.assert_allclose(a, b, rtol=rtol, atol=rtol * np.abs(b).max())
        np.testing.assert_allclose(c, b, rtol=rtol, atol=rtol * np.abs(b).max())


def test_an_index_out_of_bounds(all_large):
    index = np.zeros(5000, np.int64)
    index[4000] = 7
    for n in COUNTS:
        tg.set_num_threads(n)
        x = tg.tensor(numbers(7), requires_grad=True)
        with pytest.raises(IndexError):
            x[tg.tensor(index)].sum().backward()
        index[4000] = 6
        x[tg.tensor(index)].sum().backward()
        assert x.grad.tolist() == [4999.0, 0, 0, 0, 0, 0, 1.0]
        index[4000] = 7


SHAPES = [(2, 1700), (3400,), (2, 2, 850), (850,), (2, 1), (1700,), ()]
UNARY = ["sin", "tanh", "exp", "negative", "square"]
BINARY = ["add", "subtract", "multiply", "maximum"]


@given(data=st.data())
def test_random_programs(data):
    threads.count_as_large(64, 64)
    dtype = data.draw(st.sampled_from([np.float64, np.float32]))
    shapes = data.draw(st.lists(st.sampled_from(SHAPES), min_size=2, max_size=4))
    steps = data.draw(
        st.lists(
            st.tuples(
                st.sampled_from([*UNARY, *BINARY, "view", "sum"]), st.integers(0, 20), st.integers(0, 20)
            ),
            min_size=3,
            max_size=14,
        )
    )

    def f(*leaves):
        values = [x * 0.5 for x in leaves]
        for name, j, k in steps:
            x, y = values[j % len(values)], values[k % len(values)]
            if name in UNARY:
                values.append(tg.tanh(getattr(tg, name)(x)))
            elif name == "view":
                values.append(x.reshape(-1)[: max(1, x.size // 2)] if k % 2 else x.reshape(-1))
            elif name == "sum":
                values.append(x.sum() * 1e-3 if k % 2 or not x.ndim else x.mean(axis=0))
            else:
                try:
                    np.broadcast_shapes(x.shape, y.shape)
                except ValueError:
                    continue
                values.append(tg.tanh(getattr(tg, name)(x, y)))
        return sum((v * v).sum() for v in values)

    arrays = [numbers(*s, dtype=dtype) for s in shapes]
    found = same_for_all_counts(gradients(f, *arrays))
    threads.count_as_large(1 << 60)
    rtol = 1e-9 if dtype == np.float64 else 2e-3
    for a, b in zip(found, gradients(f, *arrays)()):
        np.testing.assert_allclose(a, b, rtol=rtol, atol=rtol * max(1.0, np.abs(b).max()))
    threads.count_as_large(64, 64)
    compiled = tg.compile(tg.value_and_grad(f, argnums=tuple(range(len(arrays)))))
    same_for_all_counts(lambda: (compiled(*arrays)[0], *compiled(*arrays)[1]))


# --- threads --------------------------------------------------------------------------------------


def test_eight_callers_at_once():
    tg.set_num_threads(3)
    x = numbers(LARGE)
    f = tg.compile(tg.value_and_grad(chain))
    expected, compiled = gradients(chain, x)(), f(x)

    def work(_):
        for _ in range(3):
            for a, b in zip(gradients(chain, x)(), expected):
                assert a.tobytes() == b.tobytes()
            for a, b in zip(f(x), compiled):
                assert np.asarray(a).tobytes() == np.asarray(b).tobytes()
        return True

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(work, range(8)))


def test_setting_the_number_while_others_compute():
    x, stop = numbers(LARGE), threading.Event()
    expected = gradients(chain, x)()

    def change():
        k = 0
        while not stop.is_set():
            tg.set_num_threads(1 + k % 4)
            k += 1
            time.sleep(1e-4)

    thread = threading.Thread(target=change)
    thread.start()
    try:
        for _ in range(30):
            for a, b in zip(gradients(chain, x)(), expected):
                assert a.tobytes() == b.tobytes()
    finally:
        stop.set()
        thread.join()


def test_number_of_threads_is_checked():
    tg.set_num_threads(np.int64(3))
    assert tg.get_num_threads() == 3
    for wrong in (0, -1):
        with pytest.raises(RuntimeError, match="positive integer"):
            tg.set_num_threads(wrong)
    for wrong in (1.5, "2", None, True):
        with pytest.raises(TypeError, match=f"expects an int, but got {type(wrong).__name__}"):
            tg.set_num_threads(wrong)
    assert tg.get_num_threads() == 3


@pytest.mark.parametrize(("value", "expected"), [("3", "3"), ("zero", "warned"), ("0", "warned"), ("", "")])
def test_environment(value, expected):
    code = (
        "import warnings\n"
        "with warnings.catch_warnings(record=True) as seen:\n"
        "    warnings.simplefilter('always')\n"
        "    import tapegrad as tg\n"
        "    n = tg.get_num_threads()\n"
        "assert n >= 1\n"
        "print('warned' if any('TAPEGRAD_NUM_THREADS' in str(w.message) for w in seen) else n)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "TAPEGRAD_NUM_THREADS": value},
        capture_output=True,
        text=True,
        timeout=500,
    )
    assert done.returncode == 0, done.stderr
    if expected:
        assert done.stdout.strip() == expected


# --- errors and interruptions ---------------------------------------------------------------------


def test_a_users_operation_that_raises():
    @njit
    def forward(x):
        if x < 0:
            raise ValueError("below zero")
        return x * x

    def derivative(g, out, x):
        return g * 2 * x

    square = tg.custom_op(forward, derivative, name="careful_square")
    for n in (1, 2, 8):
        tg.set_num_threads(n)
        good = np.linspace(0.0, 1.0, LARGE)
        for bad in (0, LARGE // 3, LARGE - 1):
            a = good.copy()
            a[bad:] = -1.0
            x = tg.tensor(a, requires_grad=True)
            with pytest.raises(RuntimeError, match="below zero"):
                (tg.sin(square(x)) * x + tg.cos(x)).sum().backward()
        x = tg.tensor(good, requires_grad=True)
        (tg.sin(square(x)) * x + tg.cos(x)).sum().backward()
        np.testing.assert_allclose(x.grad.numpy()[1:4], np.cos(0) * 3 * good[1:4] ** 2 - np.sin(good[1:4]))


def test_anomaly_mode():
    x = tg.tensor(np.linspace(-1.0, 1.0, 700_000), requires_grad=True)
    with tg.detect_anomaly(), pytest.raises(RuntimeError, match="sqrt"):
        (tg.sin(x) * tg.sqrt(x)).sum().backward()
    with tg.detect_anomaly():
        (tg.sin(x) * tg.cos(x)).sum().backward()
    assert np.isfinite(x.grad.numpy()).all()


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs signal.setitimer")
def test_interrupted_by_a_signal():
    """What a signal's handler raises while threads are at work arrives, and nothing is broken after it."""

    class Interrupt(Exception):
        pass

    def handler(number, frame):
        raise Interrupt

    x = numbers(2_000_000)
    f = tg.compile(tg.value_and_grad(chain))
    expected, compiled = gradients(chain, x)(), f(x)
    before = signal.signal(signal.SIGALRM, handler)
    arrived = 0
    try:
        for k in range(12):
            try:
                signal.setitimer(signal.ITIMER_REAL, 0.0015 + 0.0004 * k)
                if k % 2:
                    gradients(chain, x)()
                else:
                    f(x)
                signal.setitimer(signal.ITIMER_REAL, 0)
            except Interrupt:
                arrived += 1
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert arrived
    assert not threads._pending
    # (what an interrupted run recorded may still be pending: other regions, other tiles, other roundings)
    for a, b in zip((*gradients(chain, x)(), *f(x)), (*expected, *compiled)):
        np.testing.assert_allclose(a, b, rtol=1e-13, atol=1e-15)
    for run in (gradients(chain, x), lambda: f(x)):
        same_for_all_counts(run)


def test_python_code_that_runs_while_helpers_work(monkeypatch):
    """A handler or a finalizer may compute; it cannot ask for what is being computed."""
    x = numbers(LARGE)
    (once, g), seen = gradients(chain, x)(), []
    waiting = []
    area = threads._Pool.area

    def interposed(pool, nbytes):
        if waiting:
            pending = waiting.pop()
            seen.append(gradients(chain, x)()[1][5])
            with pytest.raises(RuntimeError, match="was running"):
                pending.item()
        return area(pool, nbytes)

    monkeypatch.setattr(threads._Pool, "area", interposed)
    for _ in range(3):
        leaf = tg.tensor(x, requires_grad=True)
        value, pending = chain(leaf), leaf.sum() * 2
        waiting.append(pending)
        value.backward()
        np.testing.assert_allclose(value.item(), once, rtol=1e-13)
        np.testing.assert_allclose(leaf.grad.numpy(), g, rtol=1e-12, atol=1e-14)
        assert pending.item() == pytest.approx(2 * x.sum())
    assert seen == [g[5]] * 3


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
def test_forked_children_make_their_own_helpers():
    x = numbers(LARGE)
    expected = gradients(chain, x)()  # helpers exist from here on
    stop = threading.Event()

    def work():
        while not stop.is_set():
            gradients(chain, x)()

    other = threading.Thread(target=work)
    other.start()
    try:
        for _ in range(4):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DeprecationWarning)
                pid = os.fork()
            if pid == 0:
                gc.disable()
                signal.alarm(60)  # a hang would be for ever
                code = 1
                try:
                    found = gradients(chain, x)()
                    code = 0 if all(a.tobytes() == b.tobytes() for a, b in zip(found, expected)) else 2
                finally:
                    os._exit(code)
            assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    finally:
        stop.set()
        other.join()


@pytest.mark.parametrize("busy", [False, True], ids=["idle", "a daemon computes"])
def test_the_process_ends(busy):
    code = (
        "import threading, time, numpy as np, tapegrad as tg\n"
        "tg.set_num_threads(3)\n"
        "def work():\n"
        "    x = tg.tensor(np.ones(300_000), requires_grad=True)\n"
        "    (tg.sin(x) * tg.exp(x) + tg.cos(x)).sum().backward()\n"
        "work()\n"
    )
    if busy:
        code += (
            "def always():\n"
            "    while True: work()\n"
            "threading.Thread(target=always, daemon=True).start()\n"
            "time.sleep(0.05)\n"
        )
    for _ in range(3):
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=500)
        assert done.returncode == 0, done.stderr
        assert "Exception" not in done.stderr
