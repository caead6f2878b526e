"""In-place operations and views: PyTorch's semantics."""

import numpy as np
import pytest

import tapegrad as tg


def leaf(values):
    return tg.tensor(values, requires_grad=True)


def same(t, expected):
    np.testing.assert_allclose(t.detach().numpy(), expected, rtol=1e-12)


def test_leaf_refuses_in_place_outside_no_grad():
    x = leaf([1.0, 2.0])
    for change in (lambda: x.add_(1.0), lambda: x.__setitem__(0, 1.0), lambda: x.zero_()):
        with pytest.raises(RuntimeError, match="leaf Variable that requires grad"):
            change()
    with pytest.raises(RuntimeError, match="leaf Variable that requires grad"):
        x += 1.0
    with pytest.raises(RuntimeError, match="view of a leaf Variable that requires grad"):
        x[0:1].add_(1.0)
    same(x, [1.0, 2.0])


def test_leaf_update_under_no_grad():
    x = leaf([1.0, 2.0])
    for _ in range(3):
        x.grad = None
        (x * x).sum().backward()
        with tg.no_grad():
            x -= 0.5 * x.grad
        assert x.is_leaf and x.requires_grad
    same(x, [0.0, 0.0])


def test_in_place_on_a_result():
    x = leaf([1.0, 2.0])
    y = x * 2
    same_object = y
    y += 1
    y.mul_(x)
    assert y is same_object
    same(y, [3.0, 10.0])
    y.sum().backward()
    same(x.grad, [5.0, 9.0])


def test_overwritten_saved_value_is_named():
    x = leaf([1.0, 2.0])
    y = x * 2
    z = y * y  # saves y
    y.add_(1.0)
    with pytest.raises(RuntimeError, match=r"in-?place") as caught:
        z.sum().backward()
    line = test_overwritten_saved_value_is_named.__code__.co_firstlineno + 3
    assert "multiply" in str(caught.value) and f"test_inplace.py:{line}" in str(caught.value)


def test_overwritten_result_that_was_saved():
    x = leaf([1.0, 2.0])
    y = tg.exp(x)  # exp's derivative is its result
    y.mul_(2.0)
    with pytest.raises(RuntimeError, match=r"in-?place"):
        y.sum().backward()


def test_overwriting_what_no_derivative_needs():
    x = leaf([1.0, 2.0])
    y = x * 2
    z = y + y
    y.add_(100.0)
    (z + y).sum().backward()
    same(x.grad, [6.0, 6.0])


def test_overwritten_constant_operand():
    x, c = leaf([1.0, 2.0]), tg.tensor([3.0, 4.0])
    y = x * c
    c.add_(1.0)
    with pytest.raises(RuntimeError, match=r"in-?place"):
        y.sum().backward()


def test_setitem_gradients():
    x, v = leaf([1.0, 2.0, 3.0]), leaf(10.0)
    y = x * 2
    y[1] = v
    y[2:] = x[:1] * 5
    same(y, [2.0, 10.0, 5.0])
    (y * tg.tensor([1.0, 10.0, 100.0])).sum().backward()
    same(x.grad, [502.0, 0.0, 0.0])
    same(v.grad, 10.0)


def test_constant_becomes_differentiable_by_assignment():
    out, x = tg.zeros(3), leaf(2.0)
    out[1] = x * x
    assert out.requires_grad
    out.sum().backward()
    same(x.grad, 4.0)


def test_view_shows_changes_of_its_base_and_the_reverse():
    x = tg.tensor(np.arange(6.0).reshape(2, 3))
    row, flat = x[1], x.reshape(-1)
    x[1, 0] = 30.0
    same(row, [30.0, 4.0, 5.0])
    same(flat, [0.0, 1.0, 2.0, 30.0, 4.0, 5.0])
    row.mul_(2.0)
    same(x, [[0.0, 1.0, 2.0], [60.0, 8.0, 10.0]])
    x.T[0] = -1.0
    same(flat, [-1.0, 1.0, 2.0, -1.0, 8.0, 10.0])


def test_advanced_indexing_copies():
    x = tg.tensor([1.0, 2.0, 3.0])
    y = x[[0, 1]]
    y.add_(10.0)
    same(x, [1.0, 2.0, 3.0])


def test_gradient_through_a_written_view():
    x = leaf([1.0, 2.0, 3.0])
    y = x * 1.0
    view = y[1:]
    view.mul_(view.detach().clone() * 0 + 10.0)
    assert view.requires_grad
    y.sum().backward()
    same(x.grad, [1.0, 10.0, 10.0])


def test_view_of_view():
    x = leaf(np.arange(4.0).reshape(2, 2))
    y = x * 1.0
    corner = y[1][0:1]
    corner += 5.0
    same(y, [[0.0, 1.0], [7.0, 3.0]])
    corner *= 2.0
    y.sum().backward()
    same(x.grad, [[1.0, 1.0], [2.0, 1.0]])


def test_in_place_broadcast_must_fit():
    x = tg.tensor([1.0, 2.0])
    with pytest.raises(RuntimeError, match="doesn't match the broadcast shape"):
        x.add_(tg.tensor(np.ones((3, 2))))
    same(x, [1.0, 2.0])


def test_in_place_result_type_must_fit():
    x = tg.tensor([1, 2])
    with pytest.raises(RuntimeError, match="can't be cast"):
        x.add_(0.5)
    x += 3
    assert x.dtype == np.int64 and x.tolist() == [4, 5]


def test_in_place_methods():
    x = tg.tensor([1.0, -2.0])
    assert x.fill_(3.0) is x and x.tolist() == [3.0, 3.0]
    assert x.copy_(tg.tensor([1.0, 2.0])).tolist() == [1.0, 2.0]
    assert x.sub_(1.0).tolist() == [0.0, 1.0]
    assert x.zero_().tolist() == [0.0, 0.0]


def test_repeated_in_place_accumulation():
    x = leaf(np.ones(3))
    total = tg.zeros(3)
    for k in range(4):
        total += x * k
    total.sum().backward()
    same(x.grad, [6.0, 6.0, 6.0])


def test_overlapping_view_cannot_be_written():
    x = tg.broadcast_to(tg.tensor([1.0]), (3,))
    with pytest.raises(RuntimeError, match="single memory location"):
        x.add_(1.0)


def test_no_grad_change_of_a_result_keeps_history():
    x = leaf([1.0, 2.0])
    y = x * 3
    y.data.mul_(10.0)
    same(y, [30.0, 60.0])
    y.sum().backward()
    same(x.grad, [3.0, 3.0])


def test_reclaiming_when_the_changed_tensor_is_gone():
    """What was computed from the old value lives on; the message no longer knows the line of the change."""
    x = leaf([1.0, 2.0])
    y = x * 1.0
    z = tg.sin(y)
    y += 1.0
    del y
    for _ in range(500):
        (tg.tensor([1.0]) * 2.0).numpy()
    same(z, np.sin([1.0, 2.0]))
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        z.sum().backward()
