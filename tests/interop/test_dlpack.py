"""DLPack both ways: what is shared, what is copied, what is refused."""

import numpy as np
import pytest

import tapegrad as tg

NEW = np.lib.NumpyVersion(np.__version__) >= "2.1.0"  # marks memory as read-only
needs_new = pytest.mark.skipif(not NEW, reason="NumPy before 2.1 does not export read-only memory")
DTYPES = list(tg.__array_namespace_info__().dtypes().values())


def address(x):
    return x.numpy().__array_interface__["data"][0]


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_round_trip(dtype):
    for shape in ((), (0,), (3,), (2, 3)):
        x = tg.ones(shape, dtype=dtype)
        a = np.from_dlpack(x)
        assert a.dtype == dtype and a.shape == shape and (a == 1).all()
        y = tg.from_dlpack(a)
        assert y.dtype == dtype and y.shape == shape


@needs_new
def test_numpy_shares_and_may_not_write():
    x = tg.tensor([1.0, 2.0])
    a = np.from_dlpack(x)
    assert np.shares_memory(a, x.numpy()) and not a.flags.writeable
    b = np.from_dlpack(x, copy=True)
    b[0] = 9.0
    assert x.tolist() == [1.0, 2.0]
    y = tg.from_dlpack(a)  # read-only, but not down to memory of NumPy's own
    assert y.tolist() == [1.0, 2.0]


def test_a_result_is_computed_first():
    x = tg.tensor([1.0, 2.0])
    assert np.from_dlpack(x * 2 + 1).tolist() == [3.0, 5.0]


def test_arrays_that_can_be_written_to_are_copied():
    a = np.array([1.0, 2.0])
    x = tg.from_dlpack(a)
    a[0] = 9.0
    assert x.tolist() == [1.0, 2.0]
    a.flags.writeable = False
    assert address(tg.from_dlpack(a)) == a.ctypes.data
    assert address(tg.from_dlpack(a, copy=True)) != a.ctypes.data
    assert tg.from_dlpack(a[::-1]).tolist() == [2.0, 9.0]


def test_copy_false_is_a_promise():
    a = np.array([1.0, 2.0])
    assert address(tg.from_dlpack(a, copy=False)) == a.ctypes.data
    with pytest.raises(ValueError, match=r"from_dlpack: .*copy=False"):
        tg.from_dlpack(np.arange(6.0)[::2], copy=False)
    x = tg.tensor([1.0, 2.0])
    assert address(tg.from_dlpack(x, copy=False)) == address(x)


def test_tensors_are_shared():
    x = tg.tensor([1.0, 2.0])
    assert address(tg.from_dlpack(x)) == address(x)
    assert address(tg.from_dlpack(x, copy=True)) != address(x)


def test_what_export_refuses():
    x = tg.tensor([1.0, 2.0])
    for call in (np.from_dlpack, tg.from_dlpack, lambda t: t.__dlpack__()):
        with pytest.raises(BufferError, match=r"require gradient, use tensor\.detach\(\)"):
            call(x.detach().requires_grad_())
    with pytest.raises(ValueError, match=r"__dlpack__: .*stream=1"):
        x.__dlpack__(stream=1)
    with pytest.raises(BufferError, match=r"__dlpack__: device \(2, 0\)"):
        x.__dlpack__(dl_device=(2, 0))
    assert x.__dlpack__(dl_device=(1, 0), max_version=(0, 8), copy=True)
    assert x.__dlpack__(copy=False) and x.__dlpack__(max_version=(1, 0), copy=False)


def test_what_import_refuses():
    with pytest.raises(AttributeError, match="'list' has no __dlpack__"):
        tg.from_dlpack([1.0])
    with pytest.raises(TypeError, match="from_dlpack: dtype float16"):
        tg.from_dlpack(Producer(np.ones(2, np.float16)))
    with pytest.raises(ValueError, match="from_dlpack: device"):
        tg.from_dlpack(np.ones(2), device="cuda")


class Producer:
    """Another library's array."""

    def __init__(self, array):
        self.array = array

    def __dlpack__(self, **kwargs):
        return self.array.__dlpack__(**kwargs)

    def __dlpack_device__(self):
        return self.array.__dlpack_device__()


@needs_new
def test_other_producers():
    a = np.array([1.0, 2.0])
    assert address(tg.from_dlpack(Producer(a))) != a.ctypes.data
    assert address(tg.from_dlpack(Producer(a), copy=False)) == a.ctypes.data
    a.flags.writeable = False
    assert address(tg.from_dlpack(Producer(a))) == a.ctypes.data  # its producer says that it is read-only
    assert tg.from_dlpack(Producer(a), device="cpu").tolist() == [1.0, 2.0]


def test_pytorch():
    torch = pytest.importorskip("torch")
    x = tg.tensor([1.0, 2.0])
    t = torch.from_dlpack(x)
    t[0] = 9.0  # PyTorch writes to what is marked as read-only, so it got a copy
    assert x.tolist() == [1.0, 2.0]
    y = tg.from_dlpack(t)
    t[1] = 7.0
    assert y.tolist() == [9.0, 2.0]
    z = tg.from_dlpack(t, copy=False)
    assert address(z) == t.data_ptr() and z.dtype == tg.float64
    if NEW:
        assert torch.from_dlpack(x, copy=False).data_ptr() == address(x)
    assert tg.from_dlpack(torch.arange(6).reshape(2, 3).T).tolist() == [[0, 3], [1, 4], [2, 5]]
    with pytest.raises((BufferError, RuntimeError), match="gradient"):
        tg.from_dlpack(torch.ones(2, requires_grad=True))
    del t
    assert (z * 2).tolist() == [18.0, 14.0]  # the memory lives as long as the tensor


def test_jax():
    jax = pytest.importorskip("jax")
    a = jax.numpy.arange(3.0)
    x = tg.from_dlpack(a)  # its arrays never change
    assert x.tolist() == [0.0, 1.0, 2.0]
    assert jax.dlpack.from_dlpack(x * 2).tolist() == [0.0, 2.0, 4.0]


def test_gradients_of_what_came_in():
    x = tg.from_dlpack(np.array([1.0, 2.0])).requires_grad_()
    (x * x).sum().backward()
    assert x.grad.tolist() == [2.0, 4.0]
