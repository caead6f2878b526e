"""Guards, the tree of recorded paths, storms: a replay never returns what another path would."""

import random
import warnings

import numpy as np
import pytest

import tapegrad as tg
from tapegrad.trace import INTEGER, TRUTH, VALUE


def kinds(compiled):
    return [g.kind for g in compiled.tape.guards]


def check(function, inputs, recordings=None, **options):
    """Compare with define-by-run, twice in different orders; return the compiled function."""
    c = tg.compile(function, **options)
    for x in [*inputs, *reversed(inputs)]:
        want = function(tg.tensor(x))
        got = c(x)
        want = want.numpy() if isinstance(want, tg.Tensor) else want
        np.testing.assert_allclose(got, want, rtol=1e-13)
    if recordings is not None:
        assert c.stats().recordings == recordings
    assert c.stats().fallbacks == 0
    return c


def test_truth():
    c = check(lambda x: x if x > 0 else -2 * x, [1.0, 2.0, -1.0, 0.0], 2)
    assert kinds(c) == [TRUTH]
    assert c.stats().guard_failures > 0
    check(
        lambda x: x if x.sum() > 0 and x[0] < 5 else -x, [np.array(v) for v in ([1.0, 1], [9, 1], [-3, 1])], 3
    )
    check(lambda x: x if not x else x / x, [0.0, 2.0, float("nan")], 2)


@pytest.mark.filterwarnings("ignore::tapegrad.GuardWarning")
def test_integer():
    c = check(lambda x: x ** int(x), [2.3, 2.7, 3.1, 2.0], 2)
    assert kinds(c) == [INTEGER]
    check(lambda x: sum([x] * range(5)[x.astype(tg.int64)]), [1.5, 3.2, 3.9, 0.0], 3)
    check(
        lambda x: x[x.argmax()] * x[int(x.argmin()) :].sum(),
        [np.array(v) for v in ([1.0, 3], [2.0, 5], [3, 1.0])],
    )
    check(lambda n: [n * k for k in range(n)][-1] if n > 1 else n, [3, 5, 3, 1])
    check(lambda x: x * (int(x) > 10**6), [1e300, 2e300, 1.0, 1e300])  # int() beyond 64 bits: the exact value


@pytest.mark.filterwarnings("ignore::tapegrad.GuardWarning")
def test_values():
    c = check(lambda x: x * float(x), [1.0, 2.0, 1.0], 2)
    assert kinds(c) == [VALUE]
    check(lambda x: x + x.item(), [1.0, -0.0, 0.0, float("nan")], 4)
    check(lambda x: x * x.tolist()[0], [np.array([1.0, 2.0]), np.array([1.0, 3.0])], 2)
    check(lambda x: x * np.asarray(x)[1], [np.array([1.0, 2.0]), np.array([2.0, 2.0])], 2)
    check(lambda x: x * x.numpy().sum(), [np.array([1, 2]), np.array([2, 1])], 2)
    check(lambda x: x[x > 0].sum(), [np.array([1.0, -2]), np.array([3.0, -1]), np.array([-1.0, 1])], 2)
    check(lambda x: x * complex(x).real, [1.0, 2.0], 2)


def test_nan_equals_itself():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        c = tg.compile(lambda x: x if np.isnan(float(x)) else -x)
        for _ in range(3):
            assert np.isnan(c(float("nan")))
    assert c.stats().recordings == 1


@pytest.mark.filterwarnings("ignore::tapegrad.GuardWarning")
def test_int_of_nan_that_is_caught():
    def f(x):
        try:
            return x * int(x)
        except ValueError:
            return tg.tensor(-1.0)

    c = tg.compile(f)
    assert [c(v) for v in (2.5, float("nan"), 2.5, float("nan"))] == [5.0, -1.0, 5.0, -1.0]


def test_a_guard_is_noted_once():
    def f(x):
        n = 0
        while n < int(x):
            n += 1
        return x + n if bool(x > 0) and bool(x > 0) else x

    c = check(f, [3.5], 1)
    assert kinds(c) == [INTEGER, TRUTH, TRUTH]


def test_showing_is_not_looking():
    shown = []

    def f(x):
        y = x * 2
        shown.append(f"{y!r} {y} {y.sum():.2f}")
        return y

    c = tg.compile(f)
    c(np.ones(2))
    c(np.zeros(2))
    assert shown == ["tensor([2., 2.]) tensor([2., 2.]) 4.00"]
    assert not c.tape.guards


def test_constants_are_not_guarded():
    def f(x):
        for k in tg.arange(3).tolist():
            x = x * (k + 1)
        return x + float(tg.tensor([1.0, 2.0]).sum())

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        c = check(f, [1.0, 2.0], 1)
    assert not c.tape.guards


def test_captured_tensors_that_are_looked_at():
    w = tg.tensor(1.0)

    def f(x):
        return x if w > 0 else -x

    c = tg.compile(f)
    assert c(2.0) == 2.0
    w.sub_(5.0)
    assert c(2.0) == -2.0
    w = tg.tensor(3.0)
    assert c(2.0) == 2.0
    assert c.stats().recordings == 2
    k = tg.tensor(2)
    g = tg.compile(lambda x: x ** int(k) + k.item())
    assert g(3.0) == 11.0
    k.add_(1)
    assert g(3.0) == 30.0


def test_exact_values_warn_once_per_line():
    def f(x):
        a = float(x[0])
        return x * a + x[1].item()

    c = tg.compile(f)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for k in range(3):
            c(np.array([k, 1.0]))
    assert len(caught) == 2
    assert all(w.category is tg.GuardWarning for w in caught)
    first = f.__code__.co_firstlineno
    assert sorted(w.lineno - first for w in caught) == [1, 2]
    assert all(w.filename == __file__ for w in caught)
    for part in ("test_guards.py:", "tensor", "tg.where", "static argument"):
        assert part in str(caught[0].message)


@pytest.mark.filterwarnings("error")
def test_branches_do_not_warn():
    check(lambda x: x if x > 0 else x ** int(x * 0 + 2), [1.0, -1.0])
    check(lambda i: [i, i + 1][i.item() % 2], [1, 2, 3])  # an integer


def test_loops():
    def collatz(n):
        steps = tg.zeros(())
        while n > 1:
            n = n / 2 if n % 2 == 0 else 3 * n + 1
            steps = steps + 1
        return steps

    check(collatz, [1.0, 6.0, 7.0, 3.0])

    def newton(x):
        y = x
        for _ in range(50):
            step = (y * y - x) / (2 * y)
            y = y - step
            if abs(step) < 1e-12:
                break
        return y

    check(newton, [2.0, 3.0, 100.0, 1e-3])


def test_index_errors_at_a_replay():
    def f(x, i):
        return x[i] * 2

    c = tg.compile(f)
    x = np.arange(3.0)
    assert c(x, 1) == 2.0
    for _ in range(2):
        with pytest.raises(IndexError, match="out of bounds"):
            c(x, 7)
    assert c(x, 2) == 4.0

    def g(x, i):
        try:
            y = x[i]
            return y if y > 1 else -y
        except IndexError:
            return x.sum()

    c = tg.compile(g)
    assert [c(x, i) for i in (2, 7, 0, 7, 2)] == [2.0, 3.0, 0.0, 3.0, 2.0]
    c = tg.compile(g)
    assert [c(x, i) for i in (7, 2, 7, 0)] == [3.0, 2.0, 3.0, 0.0]


def test_a_storm_falls_back():
    def f(x):
        return x * float(x)

    c = tg.compile(f, max_traces=5)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        out = [c(float(k)) for k in range(20)]
        assert isinstance(c(tg.tensor(3.0)), tg.Tensor)
    assert out == [float(k * k) for k in range(20)]
    assert all(type(v) is float for v in out)
    storms = [w for w in caught if "recorded 5 times" in str(w.message)]
    assert len(storms) == 1
    assert f"test_guards.py:{f.__code__.co_firstlineno + 1}" in str(storms[0].message)
    stats = c.stats()
    assert (stats.recordings, stats.fallbacks, stats.traces) == (5, 16, 0)
    x = tg.tensor(3.0, requires_grad=True)
    c(x).backward()
    assert x.grad.item() == 3.0
    assert c(np.ones(2).sum()) == 4.0
    out = np.empty(())
    c(7.0, out=out)
    assert out == 49.0


def test_many_paths_that_are_used_are_no_storm():
    """More paths than are kept: the least recently used go."""

    def f(x):
        return x * int(x)

    c = tg.compile(f, max_traces=3)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(20):
            for k in (1.0, 2.0, 3.0):
                assert c(k) == k * k
        assert c.stats().recordings == 3
        assert c(4.0) == 16.0
        stats = c.stats()
        assert (stats.recordings, stats.traces, stats.evicted) == (4, 3, 1)
        assert c(2.0) == 4.0  # 1 was the least recently used
        assert c.stats().recordings == 4
        assert c(1.0) == 1.0
        assert c.stats().recordings == 5


def test_fallbacks_convert_as_replays_do():
    def f(tree, name):
        assert isinstance(tree["x"], tg.Tensor)
        s = float(tree["x"].sum())
        return {"a": tree["x"] * s, "b": [s, name, None], "c": tree["n"]}

    c = tg.compile(f, max_traces=1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        outs = [c({"x": np.full(2, k), "n": 3}, "name") for k in (1.0, 2.0, 3.0)]
    assert c.stats().fallbacks == 2
    for k, out in zip((1.0, 2.0, 3.0), outs):
        assert out["a"].tolist() == [2 * k * k] * 2
        assert type(out["a"]) is np.ndarray
        assert out["b"] == [2 * k, "name", None]
        assert out["c"] == 3
        assert type(out["c"]) is int


def test_guards_are_printed():
    c = tg.compile(lambda x: x if x > 0 else -x)
    c(1.0)
    assert "guard" in c.tape.format()


# --- random programs ------------------------------------------------------------------------------

UNARY = ("sin", "cos", "tanh", "exp", "abs", "square", "negative")
BINARY = ("add", "subtract", "multiply", "maximum", "minimum")


def make_program(rng):
    """A random function of an array and a number, with branches, loops and indices that depend on values."""

    def block(depth, names):
        lines = []
        for _ in range(rng.randint(1, 4)):
            kind = rng.random()
            a, b = rng.choice(names), rng.choice(names)
            if kind < 0.3:
                lines.append(f"{rng.choice(names)} = tg.{rng.choice(UNARY)}({a} * 0.5)")
            elif kind < 0.55:
                lines.append(f"{rng.choice(names)} = tg.{rng.choice(BINARY)}({a}, {b}) * 0.7")
            elif kind < 0.62:
                lines.append(f"{rng.choice(names)} = {a} + x[int(abs({b}) * 2) % 3]")
            elif kind < 0.68:
                lines.append(f"x[{rng.randint(0, 2)}] = tg.tanh({a})")
            elif kind < 0.74:
                lines.append(f"{rng.choice(names)} = x[tg.argmax(x)] - {a}")
            elif depth < 3 and kind < 0.9:
                lines.append(f"if {a} > {rng.choice((b, '0.0', '0.3'))}:")
                lines += ["    " + s for s in block(depth + 1, names)]
                if rng.random() < 0.7:
                    lines.append("else:")
                    lines += ["    " + s for s in block(depth + 1, names)]
            elif depth < 3:
                lines.append(f"for _k in range(int(abs({a}) * 3) % 4):")
                lines += ["    " + s for s in block(depth + 1, names)]
                lines.append(f"    if {b} < -0.5: break")
            else:
                lines.append(f"{rng.choice(names)} = {a}.sum() * 1.5")
        return lines

    names = ["u", "v", "w"]
    body = block(0, names)
    text = "def f(x, u):\n    x = x * 1.0\n    v = x.sum() * 0.3\n    w = u * v\n"
    text += "".join(f"    {line}\n" for line in body)
    text += "    return u + 2 * v - w, x.sum()\n"
    scope = {"tg": tg}
    exec(text, scope)
    return scope["f"], text


@pytest.mark.parametrize("chunk", range(10))
def test_random_programs(chunk):
    """1000 random programs with branches: compiled equals define-by-run, in any order of the inputs."""
    replays = failures = 0
    for seed in range(100 * chunk, 100 * (chunk + 1)):
        rng = random.Random(seed)
        f, text = make_program(rng)
        c = tg.compile(f)
        inputs = [(np.array([rng.gauss(0, 1) for _ in range(3)]), rng.gauss(0, 1)) for _ in range(4)]
        for x, u in [*inputs, *inputs[::-1]]:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                want = [v.item() for v in f(tg.tensor(x), tg.tensor(u))]
                got = c(x, u)
            np.testing.assert_allclose(got, want, rtol=1e-9, atol=1e-12, err_msg=text)
        replays += c.stats().replays
        failures += c.stats().guard_failures
        assert c.stats().recordings <= 4
        assert c.stats().fallbacks == 0
    assert replays >= 400
    assert failures > 20
