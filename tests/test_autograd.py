"""PyTorch's semantics, line by line."""

import gc
import re

import numpy as np
import pytest

import tapegrad as tg


def leaf(values):
    return tg.tensor(values, requires_grad=True)


def same(t, expected):
    np.testing.assert_allclose(t.detach().numpy(), expected, rtol=1e-12)


# --- leaves and accumulation ----------------------------------------------------------------------


def test_gradient_of_sum_of_squares():
    x = leaf([2.0, 2.0])
    (x * x).sum().backward()
    same(x.grad, [4.0, 4.0])
    assert not x.grad.requires_grad


def test_backward_accumulates():
    x = leaf([1.0, 2.0])
    for times in (1, 2, 3):
        (3.0 * x).sum().backward()
        same(x.grad, [3.0 * times] * 2)


def test_gradient_of_a_scalar_accumulates():
    x = leaf(2.0)
    for times in (1, 2, 3):
        (x * x).backward()
        same(x.grad, 4.0 * times)
        assert x.grad.shape == () and x.grad.dtype == np.float64


def test_same_graph_twice_with_retain_graph():
    x = leaf([1.0, 2.0])
    y = (x**3).sum()
    y.backward(retain_graph=True)
    y.backward()
    same(x.grad, [6.0, 24.0])


def test_only_leaves_collect():
    x = leaf(2.0)
    y = x * x
    z = y * 3
    z.backward()
    same(x.grad, 12.0)
    assert y.grad is None and z.grad is None


def test_leaf_flags():
    x, c = leaf([1.0]), tg.tensor([1.0])
    y = x * c
    assert x.is_leaf and c.is_leaf and not y.is_leaf
    assert x.requires_grad and not c.requires_grad and y.requires_grad
    assert x.grad_fn is None and c.grad_fn is None and y.grad_fn is not None
    assert not (c * c).requires_grad and (c * c).is_leaf
    (y * c).sum().backward()
    assert c.grad is None


def test_requires_grad_after_creation():
    x = tg.tensor([1.0, 2.0])
    before = x * 2
    assert x.requires_grad_() is x
    after = (x * 3).sum()
    assert not before.requires_grad
    after.backward()
    same(x.grad, [3.0, 3.0])


def test_requires_grad_of_a_result_cannot_be_cleared():
    y = leaf([1.0]) * 2
    with pytest.raises(RuntimeError, match="only change requires_grad flags of leaf variables"):
        y.requires_grad = False


@pytest.mark.parametrize("dtype", ["int64", "int32", "bool", "uint8"])
def test_only_floating_dtypes_require_grad(dtype):
    with pytest.raises(RuntimeError, match="floating point"):
        tg.tensor(np.ones(2, dtype), requires_grad=True)
    with pytest.raises(RuntimeError, match="floating point"):
        tg.tensor(np.ones(2, dtype)).requires_grad_()


def test_integer_results_do_not_require_grad():
    x = leaf([1.0, -2.0])
    assert not (x > 0).requires_grad
    assert not x.astype("int64").requires_grad


def test_float32_leaf_in_float64_expression():
    x = tg.tensor(np.array([1.0, 2.0], np.float32), requires_grad=True)
    y = leaf([3.0, 4.0])
    z = x * y
    assert z.dtype == np.float64
    z.sum().backward()
    assert x.grad.dtype == np.float32 and y.grad.dtype == np.float64
    same(x.grad, [3.0, 4.0])


# --- backward's arguments -------------------------------------------------------------------------


def test_implicit_gradient_needs_one_element():
    x = leaf([1.0, 2.0])
    with pytest.raises(RuntimeError, match="grad can be implicitly created only for scalar outputs"):
        (x * x).backward()
    leaf([[3.0]]).backward()


def test_vector_backward():
    x = leaf([1.0, 2.0, 3.0])
    (x**2).backward(tg.tensor([1.0, 10.0, 100.0]))
    same(x.grad, [2.0, 40.0, 600.0])


def test_vector_backward_takes_arrays():
    x = leaf([1.0, 2.0])
    (x**2).backward(np.array([1.0, 10.0]))
    same(x.grad, [2.0, 40.0])


def test_mismatched_gradient_names_both_shapes():
    x = leaf(np.ones((2, 3)))
    with pytest.raises(RuntimeError) as caught:
        (x * 2).backward(tg.tensor([1.0, 2.0]))
    assert re.search(r"[\[(]2,?[\])]", str(caught.value))
    assert re.search(r"[\[(]2, 3[\])]", str(caught.value))


def test_backward_without_history():
    with pytest.raises(RuntimeError, match="does not require grad and does not have a grad_fn"):
        (tg.tensor([1.0]) * 2).backward()


def test_freed_graph_says_retain_graph():
    x = leaf([1.0, 2.0])
    y = (x * x).sum()
    y.backward()
    with pytest.raises(RuntimeError, match="retain_graph=True"):
        y.backward()
    same(x.grad, [2.0, 4.0])


def test_second_loss_through_freed_part():
    x = leaf([1.0, 2.0])
    shared = tg.exp(x)
    first, second = shared.sum(), (shared * shared).sum()
    first.backward()
    with pytest.raises(RuntimeError, match="retain_graph=True"):
        second.backward()


def test_backward_into_chosen_inputs():
    x, y = leaf([1.0]), leaf([2.0])
    (x * y).sum().backward(inputs=[x])
    same(x.grad, [2.0])
    assert y.grad is None


def test_backward_of_several_tensors():
    x = leaf([1.0, 2.0])
    tg.autograd.backward([(x * 2).sum(), (x * 3).sum()])
    same(x.grad, [5.0, 5.0])


def test_backward_of_a_leaf():
    x = leaf([1.0, 2.0])
    x.backward(tg.tensor([3.0, 4.0]))
    same(x.grad, [3.0, 4.0])


def test_broadcast_is_undone():
    x, y = leaf(np.ones((2, 1))), leaf(np.ones(3))
    (x * y).sum().backward()
    same(x.grad, [[3.0], [3.0]])
    same(y.grad, [2.0, 2.0, 2.0])


# --- autograd.grad --------------------------------------------------------------------------------


def test_grad_returns_and_does_not_accumulate():
    x, y = leaf([1.0, 2.0]), leaf([3.0, 4.0])
    gx, gy = tg.autograd.grad((x * y).sum(), [x, y])
    same(gx, [3.0, 4.0])
    same(gy, [1.0, 2.0])
    assert x.grad is None and y.grad is None


def test_grad_outputs():
    x = leaf([1.0, 2.0])
    (g,) = tg.autograd.grad(x * x, x, grad_outputs=tg.tensor([1.0, 0.5]))
    same(g, [2.0, 2.0])


def test_grad_of_unused_input():
    x, y = leaf([1.0]), leaf([1.0])
    with pytest.raises(RuntimeError, match="allow_unused=True"):
        tg.autograd.grad((x * 2).sum(), [x, y])
    g, none = tg.autograd.grad((x * 2).sum(), [x, y], allow_unused=True)
    same(g, [2.0])
    assert none is None


def test_grad_with_respect_to_a_result():
    x = leaf([1.0, 2.0])
    y = x * 3
    (g,) = tg.autograd.grad((y * y).sum(), [y])
    same(g, [6.0, 12.0])


def test_third_order():
    x = leaf(2.0)
    y = x**4
    values = []
    for _ in range(3):
        (y,) = tg.autograd.grad(y, x, create_graph=True)
        values.append(y.item())
    assert values == pytest.approx([32.0, 48.0, 48.0])
    tg.autograd.grad(y, x)[0].item()


def test_create_graph_in_backward():
    x = leaf([1.0, 2.0])
    (x**3).sum().backward(create_graph=True)
    g = x.grad
    assert g.requires_grad
    x.grad = None
    g.sum().backward()
    same(x.grad, [6.0, 12.0])


def test_gradient_penalty():
    w, x = leaf([0.5, -0.3]), leaf([1.0, 2.0])
    out = tg.tanh((w * x).sum())
    (gx,) = tg.autograd.grad(out, x, create_graph=True)
    (out + (gx * gx).sum()).backward()
    s = np.tanh(-0.1)
    d, norm = 1 - s**2, 0.34
    expected = d * np.array([1.0, 2.0]) + 2 * d * d * np.array([0.5, -0.3])
    expected += norm * 2 * d * (-2 * s * d) * np.array([1.0, 2.0])
    same(w.grad, expected)


# --- many graphs ----------------------------------------------------------------------------------


def test_two_losses_share_parameters():
    w = leaf([1.0, 2.0])
    first, second = (w * w).sum(), tg.sin(w).sum()
    second.backward()
    first.backward()
    same(w.grad, np.cos([1.0, 2.0]) + [2.0, 4.0])


def test_several_live_graphs():
    leaves = [leaf(float(k)) for k in range(5)]
    outs = [x * x * (k + 1) for k, x in enumerate(leaves)]
    for k in (3, 0, 4, 2, 1):
        outs[k].backward()
        same(leaves[k].grad, 2.0 * k * (k + 1))


def test_deep_graph():
    x = leaf(1.0)
    y = x
    for _ in range(20_000):
        y = y * 1.0001
    y.backward()
    assert x.grad.item() == pytest.approx(1.0001**20_000)


def test_interleaved_looking():
    x = leaf([1.0, 2.0])
    y = x * 2
    assert y.tolist() == [2.0, 4.0]
    z = y * x
    assert z.sum().item() == 10.0
    z.sum().backward()
    same(x.grad, [4.0, 8.0])


def test_dropped_intermediates():
    x = leaf(np.linspace(0, 1, 50))
    y = tg.sin(x)
    z = tg.exp(y) * y
    del y
    gc.collect()
    z.sum().backward()
    s, c = np.sin(x.detach().numpy()), np.cos(x.detach().numpy())
    same(x.grad, np.exp(s) * c * (1 + s))


# --- grad modes -----------------------------------------------------------------------------------


def test_no_grad():
    x = leaf([1.0])
    with tg.no_grad():
        assert not tg.is_grad_enabled()
        assert not (x * 2).requires_grad
        with tg.enable_grad():
            assert (x * 2).requires_grad
        assert not tg.is_grad_enabled()
    assert tg.is_grad_enabled()


def test_no_grad_is_left_when_an_error_passes():
    with pytest.raises(KeyError), tg.no_grad():
        raise KeyError
    assert tg.is_grad_enabled()


def test_grad_modes_decorate():
    x = leaf([1.0])

    @tg.no_grad()
    def off():
        return x * 2

    @tg.enable_grad()
    def on():
        return x * 2

    assert not off().requires_grad
    with tg.no_grad():
        assert on().requires_grad
    assert off.__name__ == "off"


def test_set_grad_enabled():
    x = leaf([1.0])
    with tg.set_grad_enabled(False):
        assert not (x * 2).requires_grad
    assert (x * 2).requires_grad
    tg.set_grad_enabled(False)
    try:
        assert not (x * 2).requires_grad
    finally:
        tg.set_grad_enabled(True)
    assert (x * 2).requires_grad


# --- detach, data, Variable -----------------------------------------------------------------------


def test_detach_cuts():
    x = leaf([1.0, 2.0])
    y = x * x
    z = (y.detach() * x).sum()
    z.backward()
    same(x.grad, [1.0, 4.0])
    assert not y.detach().requires_grad and y.detach().is_leaf


def test_data_changes_the_leaf():
    x = leaf([1.0, 2.0])
    x.data = tg.tensor([5.0, 6.0])
    assert x.is_leaf and x.requires_grad
    x.data.sub_(tg.tensor([1.0, 1.0]))
    same(x, [4.0, 5.0])
    (x * x).sum().backward()
    same(x.grad, [8.0, 10.0])


def test_detached_tensor_shares_memory():
    x = tg.tensor([1.0, 2.0])
    y = x.detach()
    x[0] = 7.0
    same(y, [7.0, 2.0])
    y.add_(1.0)
    same(x, [8.0, 3.0])


def test_variable():
    x = tg.autograd.Variable(tg.tensor([2.0, 2.0]), requires_grad=True)
    (x * x).sum().backward()
    same(x.grad, [4.0, 4.0])
    assert not tg.autograd.Variable(tg.tensor([2.0])).requires_grad


def test_grad_can_be_assigned():
    x = leaf([1.0, 2.0])
    x.grad = tg.tensor([1.0, 1.0])
    (x * 2).sum().backward()
    same(x.grad, [3.0, 3.0])
    x.grad.zero_()
    same(x.grad, [0.0, 0.0])
    with pytest.raises(RuntimeError, match="grad"):
        x.grad = tg.tensor([1.0])
    with pytest.raises(TypeError, match="grad"):
        x.grad = 1.0


def test_numpy_refuses_tensors_that_require_grad():
    x = leaf([1.0])
    with pytest.raises(RuntimeError, match=r"detach\(\)"):
        x.numpy()
    with pytest.raises(RuntimeError, match=r"detach\(\)"):
        np.array(x)
    assert not x.detach().numpy().flags.writeable


# --- hooks ----------------------------------------------------------------------------------------


def test_retain_grad():
    x = leaf([1.0, 2.0])
    y = x * 2
    y.retain_grad()
    (y * y).sum().backward()
    same(y.grad, [4.0, 8.0])
    with pytest.raises(RuntimeError, match="retain_grad"):
        tg.tensor([1.0]).retain_grad()


def test_hook_sees_and_replaces():
    x = leaf([1.0, 2.0])
    y = x * 3
    seen = []
    y.register_hook(lambda g: seen.append(g.tolist()))
    handle = y.register_hook(lambda g: g * 10)
    (y * 2).sum().backward()
    assert seen == [[2.0, 2.0]]
    same(x.grad, [60.0, 60.0])
    handle.remove()
    x.grad = None
    y = x * 3
    (y * 2).sum().backward()
    same(x.grad, [6.0, 6.0])


def test_removed_hook_is_not_called():
    x = leaf([1.0])
    y = x * 3
    handle = y.register_hook(lambda g: g * 100)
    handle.remove()
    y.sum().backward()
    same(x.grad, [3.0])


def test_hook_on_a_leaf():
    x = leaf([1.0, 2.0])
    x.register_hook(lambda g: -g)
    for times in (1, 2):
        (x * 2).sum().backward()
        same(x.grad, [-2.0 * times] * 2)


def test_hook_sees_the_complete_gradient():
    x = leaf([1.0])
    y = x * 1.0
    seen = []
    y.register_hook(lambda g: seen.append(g.item()))
    (y * 2 + y * 3 + y * 4).sum().backward()
    assert seen == [9.0]


def test_hook_needs_grad():
    with pytest.raises(RuntimeError, match="hook"):
        tg.tensor([1.0]).register_hook(print)


# --- anomalies and printing -----------------------------------------------------------------------


def test_detect_anomaly_names_instruction_and_line():
    x = leaf([-1.0, 1.0])
    with pytest.raises(RuntimeError, match=r"log.*test_autograd\.py:\d+") as caught, tg.detect_anomaly():
        y = tg.log(x)  # the culprit
        (y * 2).sum().backward()
    line = test_detect_anomaly_names_instruction_and_line.__code__.co_firstlineno + 3
    assert f"test_autograd.py:{line}" in str(caught.value)


def test_detect_anomaly_is_silent_without_one():
    x = leaf([2.0, 1.0])
    with tg.detect_anomaly():
        tg.log(x).sum().backward()
    same(x.grad, [0.5, 1.0])


def test_where_has_no_nan_gradient():
    x = leaf([-1.0, 0.0, 4.0])
    tg.where(x > 0, tg.sqrt(x), 0.0).sum().backward()
    same(x.grad, [0.0, 0.0, 0.25])


def test_repr():
    assert repr(leaf([2.0, 2.0])) == "tensor([2., 2.], requires_grad=True)"
    assert repr(tg.tensor([1, 2])) == "tensor([1, 2])"
    assert re.fullmatch(r"tensor\(6\., grad_fn=<\w+Backward\d?>\)", repr(leaf(2.0) * 3))


def test_an_error_in_backward_does_not_lose_later_gradients():
    """A pass that fails must not leave derivative rules half known."""
    x = leaf([[1.0, 2.0], [3.0, 5.0]])
    freed = (x * x).sum()
    freed.backward()
    x.grad = None
    fresh = tg.cumulative_prod(x, axis=0)  # a rule that nothing has traced yet on this tape
    with pytest.raises(RuntimeError, match="retain_graph=True"):
        (fresh.sum() + freed).backward()
    fresh.sum().backward()
    same(x.grad, [[4.0, 6.0], [1.0, 2.0]])


@pytest.mark.parametrize("create_graph", [False, True])
def test_a_backward_pass_does_not_free_what_it_ended_at(create_graph):
    x = tg.tensor([1.0, 2.0], requires_grad=True)
    z = tg.exp(x)
    tg.autograd.grad((z * z).sum(), z, retain_graph=False, create_graph=create_graph)
    z.sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), np.exp([1.0, 2.0]))
