"""The checker is checked: wrong derivatives must fail, and say where."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tapegrad as tg
from tapegrad.kernels import scalar as f
from tapegrad.ops.table import ROWS, Domain
from tapegrad.sweeps.store import Store, _stores
from tapegrad.testing import (
    GradientError,
    arrays,
    broadcastable_shapes,
    check_grads,
    check_table,
    draw,
    gradcheck,
    gradgradcheck,
    numeric_jacobian,
    tensors,
)
from tapegrad.testing.table import interval

X = np.array([0.3, -0.7, 1.1])


def scaled_gradient(x, factor):
    """``x`` with a gradient that is wrong by ``factor``."""
    return x * factor - (x * (factor - 1)).detach()


# --- what must pass -------------------------------------------------------------------------------


def test_right_derivatives_pass_to_third_order():
    check_grads(lambda x, y: tg.sin(x) * y / (1 + x * x), [X, 2.0], order=3)


def test_several_outputs():
    check_grads(lambda x: (tg.sin(x), x.sum(), x > 0), [X])


def test_constant_and_linear_functions():
    check_grads(lambda x: x * 2.0, [X], order=3)
    check_grads(lambda x: tg.floor(x), [X], order=2)
    check_grads(lambda x: tg.tensor([1.0]), [X], order=2)


def test_other_arguments_are_passed_on():
    check_grads(lambda x, k, n: x[k] * n, [X, np.array([0, 0, 2]), 3])
    with pytest.raises(ValueError, match="floating"):
        check_grads(lambda n: n, [3])
    with pytest.raises(ValueError, match="sideways"):
        check_grads(tg.sin, [X], modes=("sideways",))


def test_large_operands_and_float32():
    rng = np.random.default_rng(0)
    check_grads(lambda x: tg.tanh(x).sum(1), [rng.uniform(-1, 1, (40, 30))])
    check_grads(lambda x, y: tg.exp(x) * y, [X.astype(np.float32), X.astype(np.float32)])


def test_large_values_are_not_mistaken_for_errors():
    check_grads(lambda x: tg.exp(x * 20.0), [X], order=1)


# --- what must fail -------------------------------------------------------------------------------


def test_rule_wrong_by_a_thousandth():
    with pytest.raises(GradientError, match=r"order 1 with respect to operand 0") as caught:
        check_grads(lambda x: scaled_gradient(tg.sin(x), 1.001), [X])
    assert caught.value.order == 1
    assert caught.value.analytic == pytest.approx(1.001 * caught.value.numeric, rel=1e-5)


def test_rule_wrong_by_a_thousandth_in_float32():
    with pytest.raises(GradientError):
        check_grads(lambda x: scaled_gradient(tg.sin(x), 1.001), [X.astype(np.float32)])


def test_rule_in_the_table_wrong_by_a_thousandth(monkeypatch):
    """The second order records the table's rule, while the first uses what was compiled from it."""
    monkeypatch.setattr(_stores, "store", Store())  # rules are traced once
    monkeypatch.setattr(ROWS["sin"], "rules", (lambda g, out, x: g * f.cos(x) * 1.001,))
    with pytest.raises(GradientError, match="create_graph=True gives"):
        check_grads(tg.sin, [X], order=2)


def test_wrong_second_operand_only():
    with pytest.raises(GradientError, match="operand 1"):
        check_grads(lambda x, y: x * scaled_gradient(y, 1.001), [X, X + 2])


def test_missing_accumulation():
    """``f(x, x)`` with one of the two contributions dropped."""
    with pytest.raises(GradientError, match="operand 0"):
        check_grads(lambda x: x * x.detach(), [X])


def test_dropped_un_broadcast():
    """The cotangent of one row instead of the sum over rows."""

    def wrong(x):
        y = x.detach() + tg.zeros((2, 3))
        return tg.concatenate([(x * 1.0)[None], y[1:]], axis=0)

    with pytest.raises(GradientError, match="operand 0"):
        check_grads(wrong, [X])


def test_missing_derivative():
    with pytest.raises(GradientError):
        check_grads(lambda x: tg.sin(x).detach(), [X])


def test_wrong_second_order_is_found_and_named():
    def wrong(x):
        """Right value and slope, wrong curvature."""
        c = x.detach()
        return tg.sin(c) + tg.cos(c) * (x - c)

    check_grads(wrong, [X], order=1)
    with pytest.raises(GradientError, match="order 2"):
        check_grads(wrong, [X], order=2)


def test_position_is_named():
    def wrong(x):
        y = x * x
        return tg.concatenate([y[:2], scaled_gradient(y[2:], 1.01)])

    with pytest.raises(GradientError, match=r"position \(2,\)"):
        check_grads(wrong, [X])


def test_position_in_a_large_operand():
    def wrong(x):
        factor = np.ones(500)
        factor[321] = 1.01
        return scaled_gradient(x * x, tg.tensor(factor))

    with pytest.raises(GradientError, match=r"position \(321,\)"):
        check_grads(wrong, [np.linspace(0.5, 1.5, 500)])


def test_nan_gradient():
    with pytest.raises(GradientError):
        check_grads(lambda x: x * x * scaled_gradient(x, np.nan).detach(), [X])


# --- PyTorch's form -------------------------------------------------------------------------------


def test_gradcheck():
    x = tg.tensor(X, requires_grad=True)
    y = tg.tensor(X + 2)
    assert gradcheck(lambda x, y: (tg.sin(x) * y, x.sum()), (x, y))
    assert tg.autograd.gradcheck(tg.exp, x)
    assert gradgradcheck(lambda x: tg.sin(x) * x, x)
    assert tg.autograd.gradgradcheck(lambda x, y: x * y, [x, tg.tensor(X, requires_grad=True)])


def test_gradcheck_fails():
    x = tg.tensor(X, requires_grad=True)
    with pytest.raises(RuntimeError, match="input 0"):
        gradcheck(lambda x: scaled_gradient(x * x, 1.01), x)
    assert not gradcheck(lambda x: scaled_gradient(x * x, 1.01), x, raise_exception=False)
    c = tg.tensor(X)
    assert not gradgradcheck(lambda x: tg.cos(c) * (x - c) ** 1 * x.detach(), x, raise_exception=False)


def test_gradcheck_inputs():
    with pytest.raises(ValueError, match="at least one input tensor to require gradient"):
        gradcheck(tg.sin, tg.tensor(X))
    with pytest.raises(ValueError, match="float64"):
        gradcheck(tg.sin, tg.tensor(X.astype(np.float32), requires_grad=True))


def test_numeric_jacobian():
    a = np.arange(6.0).reshape(2, 3)
    np.testing.assert_allclose(numeric_jacobian(lambda x: a @ x, [X]), a, atol=1e-8)
    found = numeric_jacobian(lambda x, y: tg.tensor(x) * tg.tensor(y), [X, X], argnum=1)
    np.testing.assert_allclose(found, np.diag(X), atol=1e-8)
    assert numeric_jacobian(lambda x: x.sum(), [np.ones((2, 0))]).shape == (2, 0)


# --- drawing inputs, and the table ----------------------------------------------------------------

DOMAINS = [
    Domain(),
    Domain(0.0),
    Domain(-1.0, 1.0),
    Domain(1.0),
    Domain(-np.inf, 0.0),
    Domain(avoid=(0.0,)),
    Domain(0.0, 0.1),
    Domain(avoid=(-1.0, 0.0, 2.5)),
]


@pytest.mark.parametrize("domain", DOMAINS, ids=str)
def test_draw(domain):
    x = draw(domain, (20, 20), np.random.default_rng(0))
    assert ((x > domain.low) & (x < domain.high)).all()
    assert all(np.abs(x - kink).min() > 0.005 for kink in domain.avoid)
    low, high, _ = interval(domain)
    assert x.min() < low + 0.1 * (high - low) and x.max() > high - 0.1 * (high - low)
    y = draw(Domain(), (50,), np.random.default_rng(0))
    assert np.diff(np.sort(y)).min() > 0, "all different"


@given(arrays(domain=Domain(0.0, avoid=(1.0,))))
def test_arrays_strategy(x):
    assert x.dtype == np.float64
    assert (x > 0).all() and (np.abs(x - 1) > 0.05).all()


@given(broadcastable_shapes(3), st.data())
def test_shapes_and_tensors_strategies(shapes, data):
    np.broadcast_shapes(*shapes)
    x = data.draw(tensors(shapes[0], "float32", requires_grad=True))
    assert x.shape == shapes[0] and x.dtype == np.float32 and x.requires_grad


def test_check_table():
    results = list(check_table(["sin", "multiply", "sum", "equal"]))
    assert {r.name: r.status for r in results} == {
        "sin": "ok",
        "multiply": "ok",
        "sum": "ok",
        "equal": "no derivative",
    }
    assert all(r.checks and not r.failed for r in results)
    with pytest.raises(ValueError, match="nonsense"):
        list(check_table(["nonsense"]))
