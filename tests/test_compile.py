"""`tg.compile`: signatures, arguments and results, modes, methods, threads."""

import dataclasses
import gc
import os
import threading
import weakref
from collections import namedtuple

import numpy as np
import pytest

import tapegrad as tg
from tapegrad.tape import current


def counted(function, **options):
    """A compiled function, and the list that grows whenever Python runs it."""
    runs = []

    def f(*args, **kwargs):
        runs.append(None)
        return function(*args, **kwargs)

    return tg.compile(f, **options), runs


def test_records_once_and_replays():
    f, runs = counted(lambda x: (x * x).sum() + 1.0)
    for k in range(5):
        x = np.arange(3.0) + k
        out = f(x)
        assert type(out) is float
        assert out == (x * x).sum() + 1.0
    assert len(runs) == 1
    stats = f.stats()
    assert (stats.recordings, stats.replays, stats.signatures, stats.traces) == (1, 4, 1, 1)
    assert (stats.guard_failures, stats.fallbacks, stats.evicted) == (0, 0, 0)


def test_a_signature_is_shape_dtype_and_structure():
    f, runs = counted(lambda x: 2 * x)
    calls = [
        np.ones(3),
        np.ones(4),
        np.ones((3, 1)),
        np.ones(3, np.float32),
        np.ones(3, np.int64),
        np.ones(3, bool),
    ]
    for x in calls * 2:
        out = f(x)
        np.testing.assert_array_equal(out, np.asarray(2 * tg.tensor(x).numpy()))
        assert out.shape == x.shape
    assert len(runs) == len(calls)
    assert f.stats().signatures == len(calls)


def test_python_numbers_are_inputs():
    f, runs = counted(lambda x: x + x)
    assert (f(2.0), f(3.0)) == (4.0, 6.0)
    assert (f(2), f(3)) == (4, 6)
    assert type(f(3)) is int
    assert f(np.float32(1.5)) == 3.0
    assert f(np.float64(1.5)) == 3.0  # as a Python float
    assert len(runs) == 3
    g, runs = counted(lambda x: ~x)
    assert g(True) is False
    assert g(False) is True
    assert len(runs) == 1


Pair = namedtuple("Pair", "a b")


@dataclasses.dataclass
class Point:
    x: object
    y: object


def test_nested_containers_in_and_out():
    def f(tree, *, point):
        a, (b, c) = tree["a"], tree["rest"]
        return {
            "sum": a + b.sum(),
            "pair": Pair(c * 2, [a, "text", None, 3]),
            "point": Point(point.y, point.x),
        }

    c = tg.compile(f)
    for k in (1.0, 2.0):
        out = c({"a": k, "rest": (np.ones(2) * k, np.arange(3))}, point=Point(k, np.full(2, k)))
        assert out["sum"] == 3 * k
        assert isinstance(out["pair"], Pair)
        np.testing.assert_array_equal(out["pair"].a, [0, 2, 4])
        assert out["pair"].b == [k, "text", None, 3]
        np.testing.assert_array_equal(out["point"].x, [k, k])
        assert out["point"].y == k
    assert c.stats().recordings == 1


def test_dicts_keep_their_order():
    f = tg.compile(lambda d: {k: v * 2 for k, v in d.items()})
    for d in ({"b": 1.0, "a": 2.0}, {"a": 1.0, "b": 2.0}):
        for _ in range(2):
            assert list(f(d).items()) == [(k, 2 * v) for k, v in d.items()]
    out = {"a": np.empty(()), "b": np.empty(())}
    f({"b": 5.0, "a": 7.0}, out=out)
    assert (out["a"], out["b"]) == (14.0, 10.0)


def test_static_arguments():
    f, runs = counted(lambda x, n, mode="sum": (x**n).sum() if mode == "sum" else x**n, static_argnums=1)
    x = np.array([1.0, 2.0])
    assert f(x, 2) == 5.0
    assert f(x, 3) == 9.0
    assert f(x, 2) == 5.0
    np.testing.assert_array_equal(f(x, 2, mode="none"), [1, 4])  # strings are static by themselves
    assert len(runs) == 3

    def g(x, *, n):
        assert n.__class__ in (int, float)
        return x * n

    h = tg.compile(g, static_argnames="n")
    assert type(h(2, n=2)) is int
    assert type(h(2, n=2.0)) is float  # equal, but not the same
    assert h.stats().recordings == 2


def test_static_argnums_and_names_name_the_same_argument():
    def f(x, n):
        assert n.__class__ is int
        return x * n

    for options in ({"static_argnums": 1}, {"static_argnums": -1}, {"static_argnames": ["n"]}):
        c = tg.compile(f, **options)
        assert (c(2.0, 3), c(2.0, n=3)) == (6.0, 6.0)


def test_static_zeros_of_either_sign_differ():
    f = tg.compile(lambda x, z: tg.copysign(x, z), static_argnums=1)
    assert (f(1.0, 0.0), f(1.0, -0.0), f(1.0, 0.0)) == (1.0, -1.0, 1.0)


def test_bad_statics():
    f = tg.compile(lambda x, n: x, static_argnums=1)
    with pytest.raises(TypeError, match=r"static argument .* list.*hashable"):
        f(1.0, [1])
    with pytest.raises(ValueError, match="static_argnums has 3"):
        tg.compile(lambda x: x, static_argnums=3)
    with pytest.raises(ValueError, match="static_argnames has 'k'"):
        tg.compile(lambda x: x, static_argnames="k")
    with pytest.raises(TypeError, match="expected a function"):
        tg.compile(3)
    with pytest.raises(ValueError, match="max_traces"):
        tg.compile(lambda x: x, max_traces=0)


def test_arguments_that_are_no_data():
    f = tg.compile(lambda x, y=None: x)
    with pytest.raises(TypeError, match=r"is a set, which is neither an array nor hashable"):
        f(1.0, {1})
    with pytest.raises(TypeError, match="float16 is not supported"):
        f(np.ones(2, np.float16))
    assert f(1j) == 1j
    with pytest.raises(TypeError, match="positional argument"):
        f()
    with pytest.raises(TypeError, match="unexpected keyword"):
        f(1.0, z=1)


def test_arrays_of_any_layout():
    f = tg.compile(lambda x: x * 2)
    base = np.arange(12.0).reshape(3, 4)
    unaligned = np.frombuffer(b"\0" + base.tobytes(), np.uint8)[1:].view(np.float64).reshape(3, 4)
    read_only = base.copy()
    read_only.flags.writeable = False
    for x in (
        base.T,
        base[:, ::2],
        base[::-1],
        base.astype(">f8"),
        unaligned,
        read_only,
        np.asfortranarray(base),
    ):
        np.testing.assert_array_equal(f(x), 2 * x)
        np.testing.assert_array_equal(f(x), 2 * x)
    assert f(np.array(3.0)) == 6.0
    assert f(np.zeros((0, 3))).shape == (0, 3)


def test_results_are_fresh():
    x = np.ones(3)
    f = tg.compile(lambda x: (x, x, x[:], x + 0))
    for _ in range(2):
        outs = f(x)
        arrays = [x, *outs]
        for i, a in enumerate(arrays):
            for b in arrays[:i]:
                assert not np.shares_memory(a, b)
        outs[0][:] = 7
        assert x.tolist() == [1, 1, 1] == outs[1].tolist()
    first = tg.compile(lambda x: x * 2)
    a, b = first(x), first(x)
    assert not np.shares_memory(a, b)


def test_arguments_are_not_changed():
    @tg.compile
    def f(x):
        x[0] = 9.0
        x += 1
        return x.sum()

    x = np.zeros(2)
    for _ in range(3):
        assert f(x) == 11.0
        assert x.tolist() == [0, 0]


def test_constant_results():
    f = tg.compile(lambda x: (1, 2.5, "s", None, np.float32(2), x, tg.ones(2), np.arange(2)))
    for k in (1.0, 2.0):
        out = f(k)
        assert out[:5] == (1, 2.5, "s", None, 2)
        assert out[5] == k
        np.testing.assert_array_equal(out[6], [1, 1])
        np.testing.assert_array_equal(out[7], [0, 1])
        assert type(out[6]) is type(out[7]) is np.ndarray


def test_results_that_are_no_data():
    def f(x):
        return lambda: x

    with pytest.raises(TypeError, match=r"compile: .*f \(test_compile.py:\d+\) returned a function"):
        tg.compile(f)(1.0)
    with pytest.raises(TypeError, match="returned a generator"):
        tg.compile(lambda x: (v for v in x))(np.ones(2))


def test_out():
    f = tg.compile(lambda x: (x * 2, x.sum()))
    x = np.arange(3.0)
    a, s = np.empty(3), np.empty(())
    for k in (1.0, 2.0):
        out = f(k * x, out=(a, s))
        assert out[0] is a
        assert out[1] is s
        np.testing.assert_array_equal(a, 2 * k * x)
        assert s == 3 * k
    with pytest.raises(
        ValueError, match=r"out has shape \(2,\) and dtype float64; expected \(3,\) and float64"
    ):
        f(x, out=(np.empty(2), s))
    with pytest.raises(ValueError, match=r"dtype float32; expected \(3,\) and float64"):
        f(x, out=(np.empty(3, np.float32), s))
    with pytest.raises(ValueError, match="structure"):
        f(x, out=a)
    with pytest.raises(TypeError, match="out must hold arrays"):
        f(x, out=(1.0, s))
    g = tg.compile(lambda x: x[::-1] + x)
    np.testing.assert_array_equal(g(x, out=x), [2, 2, 2])
    assert x.tolist() == [2, 2, 2]


def test_out_of_the_function_itself():
    f = tg.compile(lambda x, out: x + out)
    assert f(1.0, out=2.0) == 3.0


def test_tensors_in_tensors_out():
    f, runs = counted(lambda x, y: (x * y, 3))
    x = tg.tensor([1.0, 2.0])
    out, three = f(x, np.array([3.0, 4.0]))
    assert isinstance(out, tg.Tensor)
    assert three == 3
    assert out.tolist() == [3.0, 8.0]
    assert not out.requires_grad
    pending = x * 2
    assert f(pending, np.array([3.0, 4.0]))[0].tolist() == [6.0, 16.0]
    assert len(runs) == 1


def test_gradients_flow_through_tensors():
    f, runs = counted(lambda x: (x * x).sum() if x.sum() > 0 else x.sum())
    x = tg.tensor([1.0, 2.0], requires_grad=True)
    f(x).backward()
    assert x.grad.tolist() == [2.0, 4.0]
    with tg.no_grad():
        out = f(x)
    assert not out.requires_grad
    assert out.item() == 5.0
    assert len(runs) == 2


def test_gradients_flow_to_captured_tensors():
    w = tg.tensor([1.0, 2.0], requires_grad=True)
    f = tg.compile(lambda x: (x * w).sum())
    for k in (1.0, 2.0):
        w.grad = None
        f(tg.tensor([k, k])).backward()
        assert w.grad.tolist() == [k, k]
    assert f(np.ones(2)) == 3.0
    v = tg.tensor([1.0, 2.0])
    g = tg.compile(lambda x: (x * v).sum())
    assert not g(tg.ones(2)).requires_grad
    v.requires_grad_()
    g(tg.ones(2)).backward()
    assert v.grad.tolist() == [1, 1]


def test_derivatives_inside():
    @tg.compile
    def f(x):
        x.requires_grad_()
        y = (x**3).sum()
        (g,) = tg.autograd.grad(y, x, create_graph=True)
        (h,) = tg.autograd.grad(g.sum(), x)
        return y, g, h

    for k in (1.0, 2.0, -3.0):
        x = np.array([k, 2 * k])
        y, g, h = f(x)
        np.testing.assert_allclose([y, *g, *h], [(x**3).sum(), *(3 * x**2), *(6 * x)])
    assert f.stats().recordings == 1


def test_backward_inside():
    @tg.compile
    def f(x):
        x.requires_grad_()
        (tg.sin(x) * x).sum().backward()
        return x.grad, x.detach() * 2

    for k in (1.0, 2.0):
        x = np.array([k, 0.5])
        g, twice = f(x)
        np.testing.assert_allclose(g, np.sin(x) + x * np.cos(x))
        np.testing.assert_array_equal(twice, 2 * x)
    assert f.stats().recordings == 1


def test_compiled_functions_nest():
    inner, _ = counted(lambda x: x * x if x.sum() > 0 else -x)
    outer = tg.compile(lambda x: inner(x) + inner(np.ones(2)))
    for k in (1.0, -2.0, 3.0):
        x = np.array([k, k])
        np.testing.assert_array_equal(outer(x), (x * x if k > 0 else -x) + 1)
    assert outer.stats().recordings == 2
    assert inner.stats().recordings == 0


def test_recursion():
    @tg.compile
    def fact(n):
        return n * fact(n - 1) if n > 1 else n

    assert [fact(float(n)) for n in (1, 3, 5, 3)] == [1, 6, 120, 6]
    assert fact.stats().recordings == 3


def test_methods():
    class Model:
        def __init__(self, scale):
            self.scale = scale

        @tg.compile
        def f(self, x):
            return self.scale * x

        @tg.compile(static_argnums=2)
        def g(self, x, n):
            return x**n

    a, b = Model(2.0), Model(np.array([1.0, 3.0]))
    assert a.f(3.0) == 6.0
    np.testing.assert_array_equal(b.f(3.0), [3, 9])
    assert a.f(4.0) == 8.0
    assert Model(2.0).f(3.0) == 6.0  # the object lives as long as its method
    assert a.f.stats().recordings == 1
    a.scale = 5.0
    assert a.f(4.0) == 20.0
    assert a.g(3.0, 2) == 9.0
    assert Model.f(a, 1.0) == 5.0
    alive = weakref.ref(b)
    del b
    gc.collect()
    assert alive() is None


def test_callables_of_all_kinds():
    import functools

    class Adds:
        def __init__(self, k):
            self.k = k

        def __call__(self, x):
            return x + self.k

    adds = Adds(1.0)
    f = tg.compile(adds)
    assert f(1.0) == 2.0
    adds.k = 2.0
    assert f(1.0) == 3.0
    part = tg.compile(functools.partial(lambda x, k: x * k, k=3.0))
    assert part(2.0) == 6.0
    bound = tg.compile(adds.__call__)
    assert bound(1.0) == 3.0
    adds.k = 7.0
    assert bound(1.0) == 8.0


def test_it_looks_like_the_function():
    @tg.compile
    def f(x):
        """The doc."""
        return x

    assert (f.__name__, f.__doc__, f.__module__) == ("f", "The doc.", __name__)
    assert f.__wrapped__ is f.__tapegrad_compiled__
    assert "f" in repr(f)
    assert f.tape is None
    f(1.0)
    assert "argument 0" in f.tape.format()
    f.clear()
    assert f.stats().recordings == 0
    assert f(2.0) == 2.0


def test_exceptions_pass_and_leave_nothing_behind():
    error = KeyError("mine")

    def f(x):
        y = x * 2
        if y.sum() > 2:
            raise error
        return y

    c = tg.compile(f)
    tape, length = current.tape, len(current.tape)
    with pytest.raises(KeyError) as caught:
        c(np.ones(2))
    assert caught.value is error
    assert current.tape is tape
    assert len(tape) == length
    assert not tape.locked
    assert c(np.zeros(2)).tolist() == [0, 0]
    with pytest.raises(KeyError):
        c(np.ones(2))
    assert c(np.zeros(2)).tolist() == [0, 0]
    assert c.stats().recordings == 1


def test_shape_errors_are_the_operations_own():
    f = tg.compile(lambda x, y: x + y)
    with pytest.raises(ValueError, match=r"add: .*\(2,\) \(3,\)"):
        f(np.ones(2), np.ones(3))


def test_the_callers_tape_is_left_alone():
    x = tg.tensor([1.0, 2.0], requires_grad=True)
    y = x * 2
    f = tg.compile(lambda v: v * y.detach())
    before = len(current.tape)
    np.testing.assert_array_equal(f(np.ones(2)), [2, 4])
    assert len(current.tape) == before
    y.sum().backward()
    assert x.grad.tolist() == [2, 2]


def test_grad_mode_belongs_to_the_signature():
    f = tg.compile(lambda x: x if tg.is_grad_enabled() else -x)
    assert f(1.0) == 1.0
    with tg.no_grad():
        assert f(1.0) == -1.0
    assert f(1.0) == 1.0


def test_signatures_are_bounded():
    from tapegrad.compiled.function import MAX_SIGNATURES

    f = tg.compile(lambda x, k: x + len(k))
    for k in range(MAX_SIGNATURES + 10):
        assert f(1.0, "a" * k) == 1.0 + k
    stats = f.stats()
    assert stats.signatures == MAX_SIGNATURES
    assert stats.evicted == 10
    f(1.0, "a" * (MAX_SIGNATURES + 9))
    assert f.stats().recordings == MAX_SIGNATURES + 10


def test_threads():
    w = np.array([1.0, 2.0])
    f = tg.compile(lambda x: (x * w).sum() if x.sum() > 0 else (x + w).sum())
    errors = []

    def work(seed):
        rng = np.random.default_rng(seed)
        try:
            for _ in range(300):
                x = rng.normal(size=2)
                want = (x * w).sum() if x.sum() > 0 else (x + w).sum()
                assert abs(f(x) - want) < 1e-12
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(k,)) for k in range(6)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not errors
    assert f.stats().recordings == 2


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # forking with threads is what is tested
def test_fork_while_another_thread_records():
    inside, go = threading.Event(), threading.Event()

    def slow(x):
        if threading.current_thread() is not threading.main_thread():
            inside.set()
            go.wait(10)
        return x * 2

    f = tg.compile(slow)
    thread = threading.Thread(target=lambda: f(np.ones(3)))
    thread.start()
    inside.wait(10)
    pid = os.fork()
    if pid == 0:
        os._exit(0 if f(np.ones(2)).tolist() == [2.0, 2.0] else 1)
    _, status = os.waitpid(pid, 0)
    go.set()
    thread.join()
    assert os.waitstatus_to_exitcode(status) == 0


def test_leaked_tensors_keep_their_values():
    leaked = []

    @tg.compile
    def f(x):
        y = x * 2
        x.requires_grad_()
        leaked.extend([y, x, x * 3])
        return y.sum()

    x = np.ones(2)
    assert f(x) == 4.0
    x[:] = 5
    assert f(x) == 20.0
    assert [t.tolist() for t in leaked] == [[2, 2], [1, 1], [3, 3]]
    assert (leaked[0] + 1).tolist() == [3, 3]
    assert not leaked[2].requires_grad
    assert len(leaked) == 3  # side effects happen while recording only


def test_recordings_are_freed():
    alive = []

    def f(x):
        y = x[0] * x[1:]
        alive.append(weakref.ref(y))
        return y.sum() if y.sum() > 0 else y

    c = tg.compile(f)
    c(np.ones(3))
    assert alive[0]() is None


def test_lists_of_numbers_are_containers():
    f, runs = counted(lambda xs: xs[0] * xs[1] + sum(xs))
    assert f([1.0, 2.0]) == 5.0
    assert f([3.0, 4.0]) == 19.0
    assert len(runs) == 1
    assert f([1.0, 2.0, 3.0]) == 8.0
    assert len(runs) == 2


def test_tensors_made_inside():
    @tg.compile
    def f(x):
        y = tg.tensor([x[0], 1.0, x[1]])
        z = tg.tensor(x)
        z[0] = 0.0
        return y, z, tg.asarray(x) * 2, tg.tensor([1.0, 2.0]) + x

    for k in (1.0, 2.0):
        y, z, twice, more = f(np.array([k, 3 * k]))
        assert y.tolist() == [k, 1, 3 * k]
        assert z.tolist() == [0, 3 * k]
        assert twice.tolist() == [2 * k, 6 * k]
        assert more.tolist() == [1 + k, 2 + 3 * k]
    assert f.stats().recordings == 1


def test_the_tape_can_be_printed_and_drawn():
    @tg.compile
    def f(x):
        y = tg.sin(x) * 2.0
        return y if y.sum() > 0 else -y

    f(np.ones(3))
    text = str(f.tape)
    assert "sin %0" in text and "guard truth" in text and "test_compile.py:" in text
    drawing = f.tape.dot()
    assert drawing.startswith("digraph") and drawing.count("->") >= 5 and "peripheries=2" in drawing
    assert drawing.count("{") == drawing.count("}")


def test_large_byte_swapped_arguments():
    f = tg.compile(lambda x: x * 2.0)
    x = np.arange(1000.0).astype(">f8")
    for _ in range(4):
        np.testing.assert_array_equal(f(x), 2.0 * np.arange(1000.0))


def test_arrays_of_out_may_not_overlap():
    f = tg.compile(lambda x: (tg.sin(x), tg.cos(x)))
    x, a, b = np.ones(900), np.empty(900), np.empty(1000)
    with pytest.raises(ValueError, match="share memory"):
        f(x, out=(a, a))
    with pytest.raises(ValueError, match="share memory"):
        f(x, out=(b[:900], b[100:]))
    f(x, out=(a, b[100:]))
    np.testing.assert_array_equal(a, f(x)[0])


def test_out_is_held_to_the_path_that_is_taken():
    f = tg.compile(lambda x: x * 2.0 if x.sum() > 0 else x.sum())
    x, a, b = np.ones(3), np.empty(3), np.empty(())
    for _ in range(3):
        assert f(x, out=a) is a and a[0] == 2.0
        assert f(-x, out=b) is b and b == -3.0
    with pytest.raises(ValueError, match="out has shape"):
        f(x, out=b)
    assert f.stats().recordings == 2
