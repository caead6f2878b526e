"""Compiled functions from machine code: in ``@njit`` functions, by C pointer, bound to arrays."""

import ctypes
import gc
import threading

import numba
import numpy as np
import pytest

import tapegrad as tg


def compiled():
    f = tg.compile(tg.value_and_grad(lambda x: (tg.exp(tg.sin(x)) * x).sum()))
    f(np.ones(5))
    return f


def test_value_and_gradient_in_njit_code():
    f = compiled()
    replay = f.numba

    @numba.njit
    def many(x, n):
        g = np.empty_like(x)
        total = 0.0
        for k in range(n):
            total += replay(x + k, g)
        return total, g

    x = np.linspace(-1, 1, 5)
    total, g = many(x, 3)
    expected = [f(x + k) for k in range(3)]
    np.testing.assert_allclose(total, sum(v for v, _ in expected), rtol=1e-14)
    np.testing.assert_array_equal(g, expected[-1][1])


def test_numbers_and_arrays_as_arguments():
    f = tg.compile(lambda x, a, k: (a * x.sum() + k, x * a))
    f(np.ones(3), 2.0, 4)
    replay = f.numba

    @numba.njit
    def call(x, a, k, out):
        return replay(x, a, k, out)

    out = np.empty(3)
    assert call(np.arange(3.0), 3.0, 7, out) == 16.0
    np.testing.assert_array_equal(out, [0.0, 3.0, 6.0])


def test_wrong_arguments_are_refused():
    replay = compiled().numba

    @numba.njit
    def call(x, g):
        return replay(x, g)

    with pytest.raises(ValueError, match="size"):
        call(np.ones(4), np.ones(5))
    with pytest.raises(ValueError, match="size"):
        call(np.ones(5), np.ones(6))
    with pytest.raises(numba.core.errors.TypingError, match="contiguous"):
        call(np.ones(10)[::2], np.ones(5))
    with pytest.raises(numba.core.errors.TypingError, match="dtype"):
        call(np.ones(5, np.float32), np.ones(5))


def test_branches_in_njit_code():
    @tg.compile
    def f(x):
        return x * x if x > 0 else -x

    f(2.0)
    only = f.numba

    @numba.njit
    def call(x):
        return only(x)

    assert call(3.0) == 9.0
    with pytest.raises(RuntimeError, match="no recorded path"):
        call(-3.0)
    f(-1.0)
    both = f.numba

    @numba.njit
    def total(n):
        s = 0.0
        for k in range(-n, n):
            s += both(float(k))
        return s

    assert total(100) == sum(k * k if k > 0 else -k for k in range(-100, 100))


def test_an_index_out_of_bounds_in_njit_code():
    f = tg.compile(lambda x, i: x[i].sum())
    f(np.ones(3), np.array([0, 1]))
    replay = f.numba

    @numba.njit
    def call(x, i):
        return replay(x, i)

    assert call(np.arange(3.0), np.array([2, -1])) == 4.0
    with pytest.raises(IndexError):
        call(np.arange(3.0), np.array([2, 9]))


def test_nothing_recorded():
    with pytest.raises(RuntimeError, match="nothing is recorded"):
        _ = tg.compile(lambda x: x).numba


def test_captured_arrays_are_read_where_they_lie():
    a = np.ones(3)
    f = tg.compile(lambda x: (a * x).sum())
    f(np.ones(3))
    replay = f.numba

    @numba.njit
    def call(x):
        return replay(x)

    assert call(np.ones(3)) == 3.0
    a[:] = 2.0
    assert call(np.ones(3)) == 6.0


def test_the_function_outlives_what_it_was_made_from():
    replay = compiled().numba
    gc.collect()

    @numba.njit
    def call(x, g):
        return replay(x, g)

    g = np.empty(5)
    assert call(np.zeros(5), g) == 0.0
    np.testing.assert_allclose(g, 1.0)


def test_threads_in_njit_code():
    replay = compiled().numba

    @numba.njit(nogil=True)
    def work(x, n):
        g, s = np.empty_like(x), 0.0
        for _ in range(n):
            s += replay(x, g)
        return s

    points = [np.full(5, 0.1 * k) for k in range(12)]
    expected = [work(x, 1000) for x in points]
    got = [None] * 12
    threads = [
        threading.Thread(target=lambda k: got.__setitem__(k, work(points[k], 1000)), args=(k,))
        for k in range(12)
    ]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert got == expected


def test_user_code_with_it_is_not_cached(tmp_path):
    """Machine code with addresses of this process in it must not be kept for another one."""
    replay = compiled().numba
    source = tmp_path / "cached.py"
    source.write_text(
        "import numba, numpy as np\n@numba.njit(cache=True)\ndef call(x, g):\n    return replay(x, g)\n"
    )
    space = {"replay": replay, "__name__": "cached"}
    exec(compile(source.read_text(), str(source), "exec"), space)
    with pytest.warns(numba.core.errors.NumbaWarning, match="dynamic globals"):
        space["call"](np.ones(5), np.empty(5))


def test_c_pointer_of_a_number():
    from scipy import LowLevelCallable
    from scipy.integrate import nquad

    f = tg.compile(lambda x: tg.exp(-(x * x).sum()))
    f(np.zeros(2))
    assert f.c_signature == "double f(int n, double *x)"
    kind = ctypes.CFUNCTYPE(ctypes.c_double, ctypes.c_int, ctypes.POINTER(ctypes.c_double))
    value, _ = nquad(LowLevelCallable(kind(f.address)), [(-5, 5), (-5, 5)])
    np.testing.assert_allclose(value, np.pi, rtol=1e-8)
    x = (ctypes.c_double * 3)(1.0, 2.0, 3.0)
    assert np.isnan(kind(f.address)(3, x))  # another number of arguments


def test_c_pointer_of_value_and_gradient():
    f = compiled()
    assert f.c_signature == "int64_t f(const double *x, double *out)"
    call = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_void_p, ctypes.c_void_p)(f.address)
    x, out = np.linspace(0, 1, 5), np.empty(6)
    assert call(x.ctypes.data, out.ctypes.data) == 0
    value, g = f(x)
    assert out[0] == value
    np.testing.assert_array_equal(out[1:], g)


def test_c_pointer_needs_float64():
    f = tg.compile(lambda x: x + 1)
    f(np.arange(3))
    with pytest.raises(TypeError, match="float64"):
        _ = f.address


def test_bound_replays_see_new_elements_branches_and_captures():
    scale = np.array([1.0])

    @tg.compile
    def f(x):
        return (scale * x).sum() if x[0] > 0 else -x.sum()

    x, out = np.ones(4), np.empty(())
    replay = f.bind(x, out=out)
    assert replay() is out and out == 4.0
    x[:] = 2.0
    assert replay() == 8.0
    scale[0] = 10.0
    assert replay() == 80.0
    x[0] = -2.0  # a path not recorded yet
    assert replay() == -4.0
    x[0] = 2.0
    assert replay() == 80.0


def test_bound_over_its_own_argument():
    f = tg.compile(lambda x: x[::-1] * 2.0)
    x = np.arange(3.0)
    replay = f.bind(x, out=x)
    x[:] = [1.0, 2.0, 3.0]
    np.testing.assert_array_equal(replay(), [6.0, 4.0, 2.0])


def test_bound_arguments_must_be_arrays():
    with pytest.raises(TypeError, match="bind"):
        tg.compile(lambda x: x).bind(3.0)


def test_bound_from_threads_with_different_shapes():
    f = tg.compile(lambda x: x * 2.0)
    wrong = []

    def work(n):
        for k in range(30):
            x = np.full(n, float(k))
            replay = f.bind(x)
            x[:] = 7.0
            out = replay()
            if out.shape != (n,) or not (out == 14.0).all():
                wrong.append((n, out))

    threads = [threading.Thread(target=work, args=(n,)) for n in (3, 50, 600, 5000)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not wrong


def test_paths_with_results_of_other_sizes_write_nothing_elsewhere():
    f = tg.compile(lambda x: x * 2.0 if x.sum() > 0 else tg.concat([x] * 4))
    x = np.ones(600)
    f(-x)
    f(x)
    replay = f.numba

    @numba.njit
    def call(x, out):
        return replay(x, out)

    memory = np.zeros(2400)
    call(x, memory[:600])
    assert (memory[:600] == 2.0).all() and (memory[600:] == 0.0).all()
    with pytest.raises(RuntimeError, match="no recorded path"):
        call(-x, memory[:600])
    bound = f.bind(x, out=memory[:600])
    x[:] = -1.0
    with pytest.raises(ValueError, match="out has shape"):
        bound()
    assert (memory[600:] == 0.0).all()
    x[:] = 1.0
    assert (bound() == 2.0).all()


def test_thousands_of_arguments():
    f = tg.compile(lambda xs: sum(xs[1:], xs[0]))
    xs = [np.full(1, float(k)) for k in range(4200)]
    replay = f.bind(xs)
    xs[4150][0] = 0.0
    assert replay() == sum(range(4200)) - 4150


def test_what_is_captured_is_up_to_date_when_the_attribute_is_read():
    array, tensor, scale = np.ones(3), tg.tensor(np.ones(3)), 1.0
    f = tg.compile(lambda x: scale * (array * x).sum() + (tensor * x).sum())

    def call(x):
        replay = f.numba
        return numba.njit(lambda x: replay(x))(x)

    assert f(1.0) == call(1.0) == 6.0
    array = np.full(3, 2.0)
    assert call(1.0) == 9.0
    tensor[0] = 4.0
    assert call(1.0) == 12.0
    array = np.full(6, 3.0)[::2]
    assert call(1.0) == 15.0
    array[0] = 0.0
    assert call(1.0) == 12.0
    scale = 2.0
    with pytest.raises(RuntimeError, match="scale has changed"):
        call(1.0)
    assert f(1.0) == call(1.0) == 18.0


def test_the_attribute_is_of_the_signature_called_last():
    f = tg.compile(lambda x: x * 2.0)
    f(np.ones(3))
    f(x=np.ones(5))
    f(np.ones(3))
    replay = f.numba
    out = np.empty(3)
    numba.njit(lambda x, out: replay(x, out))(np.ones(3), out)
    np.testing.assert_array_equal(out, 2.0)
    f(x=np.ones(5))
    f(np.ones(3))
    assert f.numba is replay


def test_bound_paths_that_numpy_computed_with_are_compared():
    w = np.ones(3)
    f = tg.compile(lambda x: (x * 2.0).sum() if x.sum() > 0 else x.sum() + w.sum())
    f(-np.ones(3))
    x = np.ones(3)
    replay = f.bind(x)
    assert replay() == 6.0
    w[:] = 5.0
    x[:] = -1.0
    assert replay() == 12.0


def test_bound_over_a_captured_array():
    w = np.arange(1000.0)
    f = tg.compile(lambda x: tg.cumulative_sum(w * x)[::-1] * 1.0)
    replay = f.bind(np.array(1.0), out=w)
    w[:] = np.arange(1000.0)
    expected = np.cumsum(w)[::-1]
    np.testing.assert_array_equal(replay(), expected)


def test_bound_arrays_that_were_reshaped():
    x = np.ones(6)
    replay = tg.compile(lambda x: x * 2.0).bind(x)
    x.shape = (2, 3)
    with pytest.raises(ValueError, match="bind them again"):
        replay()


def test_bound_inside_a_recording_is_recorded():
    x = np.ones(2)
    replay = tg.compile(lambda x: x * 2.0).bind(x)
    f = tg.compile(lambda y: (replay() * y).sum())
    assert f(1.0) == 4.0
    x[:] = 3.0
    assert f(1.0) == 12.0
