"""Pickling and copying of tensors."""

import copy
import pickle

import numpy as np
import pytest

import tapegrad as tg


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("dtype", [tg.float32, tg.float64, tg.int8, tg.bool, tg.complex128])
def test_pickle(protocol, dtype):
    for shape in ((), (0, 2), (2, 3)):
        x = tg.ones(shape, dtype=dtype)
        y = pickle.loads(pickle.dumps(x, protocol))
        assert y.dtype == dtype and y.shape == shape and y.tolist() == x.tolist()
        assert y.is_leaf and not y.requires_grad


def test_leaves_stay_leaves():
    x = tg.tensor([1.0, 2.0], requires_grad=True)
    (x * x).sum().backward()
    for y in (pickle.loads(pickle.dumps(x)), copy.deepcopy(x)):
        assert y.is_leaf and y.requires_grad and y.tolist() == [1.0, 2.0]
        (y * 3).sum().backward()
    assert x.grad.tolist() == [2.0, 4.0]


def test_deep_copies_take_the_gradient_along_and_pickles_do_not():
    """As PyTorch's."""
    x = tg.tensor([1.0, 2.0], requires_grad=True)
    (x * x).sum().backward()
    y = copy.deepcopy(x)
    assert y.grad.tolist() == [2.0, 4.0] and y.grad is not x.grad
    assert pickle.loads(pickle.dumps(x)).grad is None
    with tg.no_grad():
        y += 1.0
    assert x.tolist() == [1.0, 2.0]


def test_results_are_not_pickled_or_copied_deeply():
    y = tg.tensor([1.0], requires_grad=True) * 2
    with pytest.raises(RuntimeError, match=r"only leaf tensors can be pickled.*detach\(\)"):
        pickle.dumps(y)
    with pytest.raises(RuntimeError, match="graph leaves"):
        copy.deepcopy(y)
    assert pickle.loads(pickle.dumps(y.detach())).tolist() == [2.0]
    plain = tg.ones(2) * 3  # a result that does not require grad is a leaf
    assert copy.deepcopy(plain).tolist() == pickle.loads(pickle.dumps(plain)).tolist() == [3.0, 3.0]


def test_shallow_copies_are_differentiable():
    x = tg.tensor([1.0, 2.0], requires_grad=True)
    y = copy.copy(x)
    assert y is not x
    (y * y).sum().backward()
    assert x.grad.tolist() == [2.0, 4.0]
    z = tg.ones(2)
    w = copy.copy(z)
    w += 1.0
    assert z.tolist() == [1.0, 1.0]


def test_one_tensor_stays_one():
    x = tg.tensor([1.0, 2.0], requires_grad=True)
    for make in (copy.deepcopy, lambda v: pickle.loads(pickle.dumps(v))):
        a, b = make([x, x])
        assert a is b


def test_buffers_out_of_band_are_not_shared():
    x = tg.tensor(np.arange(4.0))
    buffers = []
    data = pickle.dumps(x, 5, buffer_callback=buffers.append)
    memory = [bytearray(b.raw()) for b in buffers]
    y = pickle.loads(data, buffers=memory)
    z = y * 1.0
    for m in memory:
        m[:] = bytes(len(m))
    assert y.tolist() == z.tolist() == [0.0, 1.0, 2.0, 3.0]


def test_pickles_of_older_numpy_byte_orders():
    swapped = tg.tensor(np.arange(3, dtype=">f8"))
    assert pickle.loads(pickle.dumps(swapped)).tolist() == [0.0, 1.0, 2.0]
