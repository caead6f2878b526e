"""Making tensors."""

import numpy as np
import pytest

import tapegrad as tg


def test_tensor_copies():
    a = np.ones(3)
    for make in (tg.tensor, tg.as_tensor, tg.asarray, tg.from_numpy):
        x = make(a)
        y = x * 2.0
        a[:] = 5.0
        assert y.tolist() == [2.0] * 3 and x.tolist() == [1.0] * 3
        a[:] = 1.0


def test_read_only_arrays_are_shared():
    a = np.ones(3)
    a.flags.writeable = False
    assert np.shares_memory(tg.as_tensor(a).numpy(), a)
    assert np.shares_memory(tg.asarray(a, copy=False).numpy(), a)
    assert not np.shares_memory(tg.asarray(a, copy=True).numpy(), a)
    assert not np.shares_memory(tg.tensor(a).numpy(), a)


def test_read_only_views_of_writable_arrays_are_copied():
    a = np.ones(3)
    view = a[:]
    view.flags.writeable = False
    x = tg.as_tensor(view)
    a[:] = 2.0
    assert x.tolist() == [1.0] * 3
    with pytest.raises(ValueError, match="asarray"):
        tg.asarray(view, copy=False)


def test_in_place_does_not_reach_a_shared_array():
    a = np.ones(3)
    a.flags.writeable = False
    x = tg.as_tensor(a)
    x += 1.0
    x[0] = 9.0
    assert x.tolist() == [9.0, 2.0, 2.0] and a.tolist() == [1.0] * 3


def test_asarray_of_a_tensor():
    x = tg.tensor([1.0, 2.0], requires_grad=True)
    assert tg.asarray(x) is x and tg.as_tensor(x) is x
    copy = tg.asarray(x, copy=True)
    copy.sum().backward()
    assert copy is not x and x.grad.tolist() == [1.0, 1.0]
    assert tg.asarray(x, dtype=tg.float32).dtype == tg.float32
    with pytest.raises(ValueError, match="float32"):
        tg.asarray(x, dtype=tg.float32, copy=False)


@pytest.mark.parametrize(
    ("data", "dtype"),
    [(1.0, "float64"), (1, "int64"), (True, "bool"), ([], "float64"), ([1, 2.5], "float64"),
     (np.float32(1), "float32"), (np.arange(3, dtype="int8"), "int8")],
)  # fmt: skip
def test_dtypes_of_data(data, dtype):
    assert tg.tensor(data).dtype == np.dtype(dtype)
    assert tg.asarray(data).dtype == np.dtype(dtype)


def test_shapes_in_every_spelling():
    for make in (tg.zeros, tg.ones, tg.empty):
        assert make(2, 3).shape == make((2, 3)).shape == make([2, 3]).shape == (2, 3)
        assert make(4).shape == (4,) and make(()).shape == make().shape == ()
        assert make((2,), tg.int64).dtype == make(2, dtype="int64").dtype == tg.int64
        assert make(2).dtype == tg.float64 and make(0, 3).size == 0
        with pytest.raises(ValueError, match=f"{make.__name__}.*negative"):
            make(2, -1)
        with pytest.raises(TypeError, match=make.__name__):
            make(2.5)


def test_requires_grad():
    for x in (tg.zeros(2, requires_grad=True), tg.full((2,), 1.5, requires_grad=True),
              tg.eye(2, requires_grad=True), tg.linspace(0, 1, 3, requires_grad=True)):  # fmt: skip
        assert x.requires_grad and x.is_leaf
    with pytest.raises(RuntimeError, match="floating point"):
        tg.arange(3, requires_grad=True)


def test_full():
    assert tg.full(3, 2).dtype == tg.int64 and tg.full(3, True).dtype == tg.bool
    assert tg.full((2, 2), tg.tensor(1.5)).tolist() == [[1.5, 1.5], [1.5, 1.5]]
    assert tg.full(2, np.float32(2)).dtype == tg.float32


@pytest.mark.parametrize(
    "arguments", [(5,), (2, 5), (0.0, 1.0, 0.25), (5, 0, -2), (3, 3), (np.float64(2), 4.5)]
)
def test_arange(arguments):
    expected = np.arange(*arguments)
    out = tg.arange(*arguments)
    np.testing.assert_array_equal(out.numpy(), expected)
    assert out.dtype == expected.dtype


def test_grids():
    np.testing.assert_array_equal(tg.linspace(0, 1, 4, endpoint=False).numpy(), [0, 0.25, 0.5, 0.75])
    np.testing.assert_array_equal(tg.eye(2, 3, k=1).numpy(), np.eye(2, 3, 1))
    with pytest.raises(ValueError, match="linspace"):
        tg.linspace(0, 1, -1)
    with pytest.raises(ValueError, match="arange"):
        tg.arange(0, 1, 0)


@pytest.mark.parametrize("indexing", ["xy", "ij"])
def test_meshgrid(indexing):
    arrays = [np.arange(3.0), np.arange(2.0), np.array([5.0])]
    for n in (1, 2, 3):
        for out, expected in zip(
            tg.meshgrid(*arrays[:n], indexing=indexing),
            np.meshgrid(*arrays[:n], indexing=indexing),
            strict=True,
        ):
            np.testing.assert_array_equal(out.numpy(), expected)
    x = tg.tensor([1.0, 2.0, 3.0], requires_grad=True)
    tg.meshgrid(x, [1.0, 2.0])[0].sum().backward()
    assert x.grad.tolist() == [2.0] * 3
    with pytest.raises(ValueError, match="meshgrid"):
        tg.meshgrid(np.ones((2, 2)))


def test_like():
    x = np.arange(6, dtype="int32").reshape(2, 3)
    for ours, theirs in [(tg.zeros_like, np.zeros_like), (tg.ones_like, np.ones_like)]:
        np.testing.assert_array_equal(ours(x).numpy(), theirs(x))
        assert ours(x).dtype == x.dtype and ours(tg.tensor(x), dtype=tg.float32).dtype == tg.float32
    assert tg.full_like(tg.tensor(x), 4).tolist() == [[4] * 3] * 2
    np.testing.assert_array_equal(np.zeros_like(tg.tensor(x)).numpy(), np.zeros_like(x))


def test_what_is_not_numeric_is_refused():
    for data in ("text", [object()], np.array(["a"]), [1, [2, 3]]):
        with pytest.raises((TypeError, ValueError)):
            tg.tensor(data)
    with pytest.raises(TypeError, match="from_numpy"):
        tg.from_numpy([1.0])
    with pytest.raises(ValueError, match="device"):
        tg.zeros(2, device="cuda")
