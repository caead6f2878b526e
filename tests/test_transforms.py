"""Functional transforms: conventions, containers, nesting, errors; other libraries as references."""

import threading
import tracemalloc
from collections import namedtuple
from dataclasses import dataclass

import numpy as np
import pytest

import tapegrad as tg
from tapegrad.tape import current

Pair = namedtuple("Pair", "a b")
X = np.array([0.3, -0.7, 1.1])
A = np.array([[1.0, 0.5, -0.2], [0.3, -1.0, 0.7]])


@dataclass
class Model:
    w: object
    b: object


def f(x):
    return (tg.sin(x) * x**2).sum()


def df(x):
    return np.cos(x) * x**2 + 2 * x * np.sin(x)


def d2f(x):
    return np.diag(-np.sin(x) * x**2 + 4 * x * np.cos(x) + 2 * np.sin(x))


def g(x):
    return tg.tanh(A @ x) * x[0]


# --- NumPy in, NumPy out --------------------------------------------------------------------------


def test_arrays_give_arrays_and_floats_give_floats():
    value, gradient = tg.value_and_grad(f)(X)
    assert type(value) is float
    assert type(gradient) is np.ndarray
    np.testing.assert_allclose(gradient, df(X), rtol=1e-14)
    slope = tg.grad(lambda x: x**3)(2.0)
    assert type(slope) is float
    assert slope == 12.0
    assert type(tg.grad(lambda x: x**3)(np.float64(2.0))) is float
    assert type(tg.grad(lambda x: x**3)(np.array(2.0))) is float


def test_tensors_give_tensors():
    value, gradient = tg.value_and_grad(f)(tg.tensor(X))
    assert isinstance(value, tg.Tensor)
    assert isinstance(gradient, tg.Tensor)
    assert not value.requires_grad
    assert not gradient.requires_grad
    np.testing.assert_allclose(gradient.numpy(), df(X), rtol=1e-14)


def test_results_are_the_callers_own():
    gradient = tg.grad(f)(X)
    gradient[:] = 0.0
    np.testing.assert_allclose(tg.grad(f)(X), df(X), rtol=1e-14)
    x = X.copy()
    out, pull = tg.vjp(lambda v: v * 2.0, x)
    out[:] = 7.0
    np.testing.assert_array_equal(pull(np.ones(3))[0], 2.0)


def test_float32_stays_float32():
    x = X.astype(np.float32)
    assert tg.grad(f)(x).dtype == np.float32
    assert tg.hessian(f)(x).dtype == np.float32
    assert tg.jvp(g, (x,), (x,))[1].dtype == np.float64  # A is float64
    np.testing.assert_allclose(tg.grad(f)(x), df(X), rtol=1e-5)


def test_strided_and_read_only_arguments():
    x = np.arange(12.0).reshape(3, 4)[:, ::2].T
    x.flags.writeable = False
    np.testing.assert_array_equal(tg.grad(lambda v: (v * v).sum())(x), 2 * x)


def test_argument_is_not_changed_by_in_place_operations():
    def h(x):
        y = x * 3.0
        x *= 2.0
        x[0] = 5.0
        return (x * x).sum() + y.sum()

    x = X.copy()
    value, gradient = tg.value_and_grad(h)(x)
    np.testing.assert_array_equal(x, X)
    assert value == pytest.approx(25.0 + (4 * X[1:] ** 2).sum() + 3 * X.sum())
    np.testing.assert_allclose(gradient, [3.0, *(8 * X[1:] + 3.0)])
    np.testing.assert_allclose(tg.hessian(h)(x), np.diag([0.0, 8.0, 8.0]))


# --- arguments ------------------------------------------------------------------------------------


def test_argnums():
    def h(x, y, z):
        return (x * y).sum() * z

    args = (X, X + 1, 2.0)
    np.testing.assert_allclose(tg.grad(h, 1)(*args), 2.0 * X)
    x, z = tg.grad(h, (0, 2))(*args)
    np.testing.assert_allclose(x, 2 * (X + 1))
    assert z == pytest.approx((X * (X + 1)).sum())
    assert type(tg.grad(h, -1)(*args)) is float
    assert isinstance(tg.grad(h, (1,))(*args), tuple)


def test_has_aux():
    def h(x):
        return f(x), {"half": x / 2.0, "n": 3, "text": "abc"}

    gradient, aux = tg.grad(h, has_aux=True)(X)
    np.testing.assert_allclose(gradient, df(X))
    assert aux["n"] == 3
    assert aux["text"] == "abc"
    assert type(aux["half"]) is np.ndarray
    np.testing.assert_array_equal(aux["half"], X / 2)
    (value, aux), gradient = tg.value_and_grad(h, has_aux=True)(X)
    assert value == pytest.approx(float(f(tg.tensor(X))))
    _, aux = tg.jacobian(lambda x: (x * x, x[0]), has_aux=True)(X)
    assert aux == X[0]
    second, aux = tg.hessian(h, has_aux=True)(X)
    np.testing.assert_allclose(second, d2f(X), rtol=1e-12)
    assert aux["text"] == "abc"


def test_keyword_arguments_pass_through():
    assert tg.grad(lambda x, *, scale: scale * x)(1.0, scale=4.0) == 4.0


@pytest.mark.parametrize("build", [tuple, list, lambda p: Pair(*p), lambda p: {"a": p[0], "b": p[1]}])
def test_containers(build):
    def h(p):
        a, b = p.values() if isinstance(p, dict) else p
        return (a * b).sum() + b.sum()

    gradient = tg.grad(h)(build((X, X + 1)))
    assert type(gradient) is type(build((X, X)))
    a, b = gradient.values() if isinstance(gradient, dict) else gradient
    np.testing.assert_allclose(a, X + 1)
    np.testing.assert_allclose(b, X + 1)


def test_dataclasses_and_nesting():
    def loss(m, x):
        return ((m.w["inner"][0] @ x + m.b) ** 2).sum()

    m = Model({"inner": [A]}, np.array([0.1, 0.2]))
    gradient = tg.grad(loss)(m, X)
    r = 2 * (A @ X + m.b)
    assert isinstance(gradient, Model)
    np.testing.assert_allclose(gradient.w["inner"][0], np.outer(r, X))
    np.testing.assert_allclose(gradient.b, r)
    second = tg.hessian(loss)(m, X)
    np.testing.assert_allclose(second.b.b, 2 * np.eye(2))
    assert second.w["inner"][0].b.shape == (2, 3, 2)


def test_what_the_result_does_not_depend_on_has_derivative_zero():
    gradient = tg.grad(lambda p: (p["a"] ** 2).sum())({"a": X, "b": X})
    np.testing.assert_array_equal(gradient["b"], 0.0)
    assert tg.grad(lambda x: 5.0)(1.0) == 0.0
    assert tg.grad(lambda x: np.array(5.0))(1.0) == 0.0
    assert tg.hessian(lambda x: 3.0 * x)(1.0) == 0.0
    np.testing.assert_array_equal(tg.jacobian(lambda x: np.ones(2))(X), np.zeros((2, 3)))
    np.testing.assert_array_equal(tg.jvp(lambda x: np.ones(2), (X,), (X,))[1], np.zeros(2))
    assert tg.grad(tg.floor)(1.5) == 0.0


def test_containers_without_leaves():
    assert tg.jacfwd(lambda d: tg.tensor(1.0))({}) == {}
    assert tg.jacrev(lambda d: (tg.tensor(1.0), 2.0))(()) == ((), ())
    assert tg.jacobian(lambda x: {})(X) == {}


def test_sequences_of_results_are_stacked():
    def h(x):
        return (tg.asarray([x[0] * x[1], 2.0, x[1] ** 3]) * X).sum()

    np.testing.assert_allclose(tg.grad(h)(X), [X[0] * X[1], X[0] * X[0] + 3 * X[2] * X[1] ** 2, 0.0])


def test_functions_keep_name_and_documentation():
    def model(x):
        """Say what it does."""
        return x

    derived = tg.grad(model)
    assert derived.__name__ == "grad(model)"
    assert derived.__doc__ == "Say what it does."


# --- products with Jacobians ----------------------------------------------------------------------


def test_vjp_is_the_transpose_of_jvp():
    rng = np.random.default_rng(0)
    u, v = rng.normal(size=2), rng.normal(size=3)
    out, pull = tg.vjp(g, X)
    out2, tangent = tg.jvp(g, (X,), (v,))
    np.testing.assert_array_equal(out, out2)
    assert float(u @ tangent) == pytest.approx(float(pull(u)[0] @ v), rel=1e-12)
    np.testing.assert_allclose(pull(u)[0], u @ tg.jacobian(g)(X), rtol=1e-12)
    np.testing.assert_allclose(pull(2 * u)[0], 2 * u @ tg.jacobian(g)(X), rtol=1e-12)


def test_vjp_of_nested_results():
    out, pull, aux = tg.vjp(lambda x, y: ({"p": x * y, "q": [y.sum()]}, "aux"), X, X + 1, has_aux=True)
    assert aux == "aux"
    assert type(out["q"][0]) is float
    x, y = pull({"p": np.ones(3), "q": [10.0]})
    np.testing.assert_allclose(x, X + 1)
    np.testing.assert_allclose(y, X + 10.0)


def test_vjp_function_can_be_differentiated():
    _, pull = tg.vjp(lambda x: x**3, tg.tensor(X))
    j = tg.jacobian(lambda u: pull(u)[0])(tg.tensor(X))
    np.testing.assert_allclose(j.numpy(), np.diag(3 * X**2), rtol=1e-12)


def test_hvp_is_the_hessian_times_a_vector():
    v = np.array([1.0, -2.0, 0.5])
    np.testing.assert_allclose(tg.hvp(f, X, v), d2f(X) @ v, rtol=1e-12)
    at = {"a": X, "b": 2.0}
    found = tg.hvp(lambda p: (p["a"] ** 2).sum() * p["b"], at, {"a": v, "b": 1.0})
    np.testing.assert_allclose(found["a"], 4 * v + 2 * X)
    assert found["b"] == pytest.approx(float(2 * X @ v))


def test_hvp_does_not_form_the_hessian():
    n = 20_000
    x, v = np.linspace(0.0, 1.0, n), np.ones(n)
    np.testing.assert_allclose(tg.hvp(lambda x: (x**3).sum() + x.sum() ** 2, x, v), 6 * x + 2 * n)


def test_elementwise_grad():
    np.testing.assert_allclose(tg.elementwise_grad(tg.tanh)(X), 1 - np.tanh(X) ** 2)
    twice = tg.elementwise_grad(tg.elementwise_grad(tg.sin))
    np.testing.assert_allclose(twice(X), -np.sin(X))


# --- Jacobians and Hessians -----------------------------------------------------------------------


@pytest.mark.parametrize("transform", [tg.jacobian, tg.jacrev, tg.jacfwd])
def test_jacobian_shapes_and_values(transform):
    j = transform(lambda x, y: x[:, None] * y, (0, 1))(X, 2.0)
    np.testing.assert_array_equal(j[0], 2.0 * np.eye(3)[:, None])
    np.testing.assert_array_equal(j[1], X[:, None])
    nested = transform(lambda p: {"u": p[0] * p[1], "v": p[1] ** 2})((X, 3.0))
    np.testing.assert_array_equal(nested["u"][0], 3.0 * np.eye(3))
    np.testing.assert_array_equal(nested["u"][1], X)
    np.testing.assert_array_equal(nested["v"][0], 0.0)
    assert nested["v"][1] == 6.0
    assert transform(lambda x: x * x)(3.0) == 6.0
    assert transform(lambda x: x * 2.0)(np.zeros((0,))).shape == (0, 0)
    assert transform(lambda x: tg.zeros((2, 2)) * x.sum())(np.zeros((0,))).shape == (2, 2, 0)


def test_jacobian_takes_the_cheaper_direction(monkeypatch):
    from tapegrad import sweeps

    calls = []
    push, reverse = sweeps.push, sweeps.Reverse
    monkeypatch.setattr(sweeps, "push", lambda *a: calls.append("forward") or push(*a))
    monkeypatch.setattr(sweeps, "Reverse", lambda *a: calls.append("reverse") or reverse(*a))
    tg.jacobian(lambda x: x.sum() * tg.ones(10))(X)
    tg.jacobian(lambda x: tg.stack([x.sum(), x[0]]))(np.ones(10))
    assert calls == ["forward", "reverse"]


def test_jacobian_evaluates_the_function_once():
    calls = []
    tg.jacobian(lambda x: calls.append(1) or x * 2.0)(np.ones(50))
    assert calls == [1]


@pytest.mark.parametrize(
    "transform",
    [
        tg.hessian,
        lambda h: tg.jacfwd(tg.jacrev(h)),
        lambda h: tg.jacrev(tg.jacfwd(h)),
        lambda h: tg.jacrev(tg.jacrev(h)),
        lambda h: tg.jacfwd(tg.jacfwd(h)),
        lambda h: tg.jacobian(tg.grad(h)),
    ],
)
def test_hessian_by_any_combination(transform):
    np.testing.assert_allclose(transform(f)(X), d2f(X), rtol=1e-12, atol=1e-14)


def test_third_and_fourth_derivatives():
    d = tg.sin
    for expected in (np.cos(0.7), -np.sin(0.7), -np.cos(0.7), np.sin(0.7)):
        d = tg.grad(d)
        assert d(0.7) == pytest.approx(expected, rel=1e-12)
    third = tg.jacfwd(tg.hessian(lambda x: (x**4).sum()))(X)
    np.testing.assert_allclose(third, 24 * np.einsum("i,ij,ik->ijk", X, np.eye(3), np.eye(3)), rtol=1e-12)


# --- nesting --------------------------------------------------------------------------------------


def test_no_perturbation_confusion():
    """d/dx [x * d/dy (x + y)] = 1, not 2."""
    inner = [
        lambda x: tg.grad(lambda y: x + y)(1.0),
        lambda x: tg.jvp(lambda y: x + y, (1.0,), (1.0,))[1],
        lambda x: tg.jacfwd(lambda y: x + y)(1.0),
        lambda x: tg.vjp(lambda y: x + y, 1.0)[1](1.0)[0],
    ]
    outer = [tg.grad, tg.jacfwd, lambda h: lambda x: tg.jvp(h, (x,), (1.0,))[1], tg.elementwise_grad]
    for d in inner:
        for transform in outer:
            assert transform(lambda x, d=d: x * d(x))(3.0) == 1.0


def test_inner_derivative_at_the_outer_variable():
    """d/dx [x * h'(x)] with h = sin."""
    expected = np.cos(0.4) - 0.4 * np.sin(0.4)
    assert tg.grad(lambda x: x * tg.grad(tg.sin)(x))(0.4) == pytest.approx(expected, rel=1e-13)
    assert tg.jvp(lambda x: x * tg.jvp(tg.sin, (x,), (1.0,))[1], (0.4,), (1.0,))[1] == pytest.approx(expected)


def test_inner_level_closes_over_the_outer_variable():
    """d/dx of d/dy (x**2 * y**3) at y = x is 2x * 3x**2 + 6x * x**2."""
    assert tg.grad(lambda x: tg.grad(lambda y: x**2 * y**3)(x))(2.0) == pytest.approx(12 * 2.0**3)


def test_transforms_inside_define_by_run():
    w = tg.tensor(X, requires_grad=True)
    slope = tg.grad(lambda x: (w * x**2).sum())(tg.tensor(X))
    slope.sum().backward()
    np.testing.assert_allclose(w.grad.numpy(), 2 * X)
    x = tg.tensor(X, requires_grad=True)
    tg.grad(f)(x).sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), np.diag(d2f(X)), rtol=1e-12)


def test_define_by_run_inside_transforms():
    def h(x):
        leaf = tg.tensor(2.0, requires_grad=True)
        (leaf**2 * x.sum()).backward(create_graph=True)
        return leaf.grad * x.sum()

    np.testing.assert_allclose(tg.grad(h)(X), 8.0 * X.sum(), rtol=1e-13)

    def gradient(x):
        (d,) = tg.autograd.grad((x**3).sum(), x, create_graph=True)
        return (d**2).sum()

    np.testing.assert_allclose(tg.grad(gradient)(X), 36 * X**3, rtol=1e-12)


def test_results_require_grad_only_if_something_else_does():
    x = tg.tensor(X)
    for found in (
        *tg.value_and_grad(f)(x),
        tg.hessian(f)(x),
        tg.vjp(g, x)[0],
        *tg.jvp(g, (x,), (x,)),
        tg.vmap(tg.grad(tg.sin))(x),
    ):
        assert not found.requires_grad
    w = tg.tensor(1.0, requires_grad=True)
    assert tg.grad(lambda x: w * f(x))(x).requires_grad
    assert tg.grad(f)(tg.tensor(X, requires_grad=True)).requires_grad


def test_grad_modes():
    with tg.no_grad():
        np.testing.assert_allclose(tg.grad(f)(X), df(X))
        assert not tg.grad(f)(tg.tensor(X, requires_grad=True)).requires_grad
        np.testing.assert_allclose(tg.hessian(f)(X), d2f(X), rtol=1e-12)

    def h(x):
        with tg.no_grad():
            c = tg.exp(x)
        return (c * x).sum()

    np.testing.assert_allclose(tg.grad(h)(X), np.exp(X))
    np.testing.assert_allclose(tg.jvp(h, (X,), (np.ones(3),))[1], np.exp(X).sum())
    assert tg.is_grad_enabled()


def test_an_error_in_the_function_leaves_nothing_behind():
    def broken(x):
        raise KeyError("mine")

    tape = current.tape
    for transform in (tg.grad, tg.hessian, tg.jacfwd, tg.vmap, lambda h: lambda x: tg.jvp(h, (x,), (x,))):
        with pytest.raises(KeyError, match="mine"):
            transform(broken)(X)
        with pytest.raises(KeyError, match="mine"):
            tg.grad(lambda x, t=transform: t(broken)(x).sum())(X)
    assert current.tape is tape
    assert (tape.depth, tape.locked, tape.grad_enabled) == (0, 0, True)


def test_control_flow_and_many_operations():
    """Looking at values inside runs and reclaims the tape; slots move under the transforms' feet."""

    def h(x):
        total = x * 0.0
        for k in range(700):
            total = total + tg.sin(x * (k % 7)) / (k + 1.0)
            if k % 50 == 0 and float(total.detach().sum()) > 1e9:
                total = total * 0.0
        return total.sum()

    k = np.arange(700)
    m = k % 7
    first = (np.cos(X[:, None] * m) * m / (k + 1)).sum(1)
    second = (-np.sin(X[:, None] * m) * m**2 / (k + 1)).sum(1)
    np.testing.assert_allclose(tg.grad(h)(X), first, rtol=1e-11)
    np.testing.assert_allclose(tg.jvp(h, (X,), (np.ones(3),))[1], first.sum(), rtol=1e-11)
    np.testing.assert_allclose(tg.hessian(h)(X), np.diag(second), rtol=1e-11, atol=1e-12)


def test_hooks_inside_a_function():
    def h(x):
        y = tg.sin(x)
        y.register_hook(lambda c: c * 3.0)
        return y.sum()

    np.testing.assert_allclose(tg.grad(h)(X), 3 * np.cos(X))


def test_nothing_grows():
    transform = tg.hessian(f)
    for _ in range(3):
        transform(X)
    for _ in range(200):
        transform(X)
        tg.jvp(g, (X,), (X,))
        tg.vmap(tg.grad(f))(X[None])
    assert len(current.tape) < 10_000
    assert len(current.tape.signatures) < 2_000


def test_nothing_grows_where_nobody_looks():
    """Sweeps' own rows must not only be reclaimed by chance."""
    x = tg.tensor(X)
    kept = tg.grad(f)(x)
    for _ in range(400):
        tg.hessian(f)(x)
    assert len(current.tape.tensors) < 4000
    w = tg.tensor(X, requires_grad=True)
    for _ in range(400):
        tg.autograd.grad(f(w), w, create_graph=True)
    assert len(current.tape.tensors) < 4000
    np.testing.assert_allclose(kept.numpy(), df(X), rtol=1e-14)


def test_two_threads():
    results = {}

    def work(k):
        results[k] = tg.hessian(f)(X * k)

    threads = [threading.Thread(target=work, args=(k,)) for k in range(1, 5)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    for k, found in results.items():
        np.testing.assert_allclose(found, d2f(X * k), rtol=1e-11, atol=1e-12)


# --- vmap -----------------------------------------------------------------------------------------


def test_vmap_axes():
    x = np.arange(6.0).reshape(2, 3)
    np.testing.assert_array_equal(tg.vmap(lambda r: r.sum(), in_axes=1)(x), x.sum(0))
    np.testing.assert_array_equal(tg.vmap(lambda r: r * 2.0, in_axes=1, out_axes=1)(x), 2 * x)
    np.testing.assert_array_equal(tg.vmap(lambda r: r * 2.0, in_axes=-1, out_axes=-1)(x), 2 * x)
    found = tg.vmap(
        lambda p, s: {"a": p["u"] * s, "b": s},
        in_axes=({"u": 0, "v": None}, None),
        out_axes={"a": 1, "b": None},
    )
    out = found({"u": x, "v": "text"}, 3.0)
    np.testing.assert_array_equal(out["a"], 3 * x.T)
    assert out["b"] == 3.0
    np.testing.assert_array_equal(tg.vmap(lambda r: 1.0)(x), np.ones(2))


def test_vmap_nested():
    outer = tg.vmap(tg.vmap(lambda a, b: a * b, (None, 0)), (0, None))
    np.testing.assert_array_equal(outer(X, X + 1), np.outer(X, X + 1))


def test_vmap_of_derivatives_and_derivatives_of_vmap():
    xs = np.stack([X, 2 * X, X - 1])
    np.testing.assert_allclose(tg.vmap(tg.grad(f))(xs), df(xs), rtol=1e-13)
    np.testing.assert_allclose(tg.vmap(tg.hessian(f))(xs), [d2f(x) for x in xs], rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(tg.vmap(lambda x, v: tg.hvp(f, x, v))(xs, xs), [d2f(x) @ x for x in xs])
    np.testing.assert_allclose(tg.grad(lambda v: tg.vmap(f)(v).sum())(xs), df(xs), rtol=1e-13)
    j = tg.jacfwd(tg.vmap(f))(xs)
    np.testing.assert_allclose(j[1, 1], df(xs[1]), rtol=1e-13)
    np.testing.assert_array_equal(j[0, 1], 0.0)


def test_vmap_gradients_of_what_is_shared():
    w = tg.tensor(X, requires_grad=True)
    xs = np.arange(6.0).reshape(2, 3)
    tg.vmap(lambda x: (x * w).sum() ** 2)(tg.tensor(xs)).sum().backward()
    np.testing.assert_allclose(w.grad.numpy(), 2 * (xs @ X) @ xs)


def test_vmap_of_functions_that_fill_arrays():
    """Tensors made inside may be changed in place, looked at through views, and returned."""

    def fill(x):
        a = tg.zeros(3)
        before = a.sum()
        a[0] = x
        last = a[1:]
        last += 2.0
        a[2] = before
        return a, a[1]

    full, part = tg.vmap(fill)(X)
    np.testing.assert_array_equal(full, [[x, 2.0, 0.0] for x in X])
    np.testing.assert_array_equal(part, 2.0)


def test_vmap_lets_values_be_looked_at_that_do_not_depend_on_the_batch():
    w = tg.tensor(X, requires_grad=True)

    def h(x):
        s = (w.detach() * 2.0).sum()
        return x * s if float(s) > 0 else x

    np.testing.assert_allclose(tg.vmap(h)(X), X * 2 * X.sum())
    inner = tg.vmap(lambda x: tg.vmap(lambda v: v * (tg.ones(2).sum() * 2.0).item())(tg.ones(2) * x))(X)
    np.testing.assert_allclose(inner, 4.0 * np.stack([X, X], 1))


def test_vmap_of_no_elements():
    assert tg.vmap(lambda x: tg.sin(x) * 2.0)(np.zeros((0, 3))).shape == (0, 3)


def test_vmap_with_functions_that_have_their_own_derivative():
    class Cube(tg.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x * x * x

        @staticmethod
        def backward(ctx, c):
            (x,) = ctx.saved_tensors
            return 3.0 * c * x * x

    def h(x):
        return Cube.apply(x).sum()

    xs = np.stack([X, 2 * X])
    np.testing.assert_allclose(tg.vmap(tg.grad(h))(xs), 3 * xs**2)
    np.testing.assert_allclose(tg.vmap(h)(xs), (xs**3).sum(1))
    np.testing.assert_allclose(tg.jvp(h, (X,), (X,))[1], 3 * (X**3).sum())
    np.testing.assert_allclose(tg.hessian(h)(X), np.diag(6 * X), rtol=1e-12)
    with pytest.raises(NotImplementedError, match=r"vmap: .*Take the gradient inside"):
        tg.grad(lambda v: tg.vmap(h)(v).sum())(xs)


# --- checkpoint -----------------------------------------------------------------------------------


def step(x, w):
    return {"x": tg.exp(tg.sin(x * w["w"])) * 0.5}


def test_checkpoint_has_the_same_derivatives():
    captured = tg.tensor([0.3, 0.2, 0.1], requires_grad=True)

    def chain(x, w, wrap):
        for _ in range(4):
            x = wrap(lambda x, w: step(x + captured, w))(x, w)["x"]
        return x.sum()

    grads = []
    for wrap in (lambda h: h, tg.checkpoint):
        x = tg.tensor(X, requires_grad=True)
        w = {"w": tg.tensor(X + 1, requires_grad=True)}
        captured.grad = None
        chain(x, w, wrap).backward()
        grads.append([t.grad.numpy().copy() for t in (x, w["w"], captured)])
    for plain, again in zip(*grads):
        np.testing.assert_allclose(again, plain, rtol=1e-13)
    plain = tg.hessian(lambda x: chain(x, {"w": X}, lambda h: h))(X)
    np.testing.assert_allclose(tg.hessian(lambda x: chain(x, {"w": X}, tg.checkpoint))(X), plain, rtol=1e-10)
    both = [tg.jvp(lambda x, w=w: chain(x, {"w": X}, w), (X,), (X,))[1] for w in (lambda h: h, tg.checkpoint)]
    assert both[1] == pytest.approx(both[0], rel=1e-12)


def test_checkpoint_runs_the_function_again_and_not_without_need():
    calls = []

    def h(x):
        calls.append(1)
        return tg.exp(x)

    x = tg.tensor(X, requires_grad=True)
    y = tg.checkpoint(h)(x)
    assert len(calls) == 1
    y.sum().backward()
    assert len(calls) == 2
    tg.checkpoint(h)(tg.tensor(X))
    assert len(calls) == 3
    with tg.no_grad():
        assert not tg.checkpoint(h)(x).requires_grad


def test_checkpoint_keeps_one_step_at_a_time():
    x0, w = np.linspace(0.0, 1.0, 20_000), tg.tensor(1.5, requires_grad=True)

    def layer(x):
        for _ in range(6):
            x = tg.cumsum(tg.softmax(tg.sin(x) * w, axis=0))
        return x

    def peak(wrap):
        x = tg.tensor(x0, requires_grad=True)
        tracemalloc.start()
        y = x
        for _ in range(8):
            y = wrap(layer)(y)
        y.sum().backward()
        size = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return size

    peak(lambda h: h)
    assert peak(tg.checkpoint) < 0.5 * peak(lambda h: h)


def test_checkpoint_refuses_what_is_no_tensor():
    with pytest.raises(TypeError, match=r"checkpoint: .*returned a value of type str"):
        tg.checkpoint(lambda x: "text")(tg.tensor(X, requires_grad=True))


# --- what bad input gets --------------------------------------------------------------------------


def bad(message, error=TypeError):
    return pytest.raises(error, match=message)


def test_errors_of_gradients():
    with bad(
        r"grad: test_errors_of_gradients.*test_transforms.py:\d+\) must return a single number, but its "
        r"result has shape \(3,\). Use jacobian .* or elementwise_grad"
    ):
        tg.grad(lambda x: x * 2.0)(X)
    with bad("grad: .* returned None; it must return a tensor"):
        tg.grad(lambda x: None)(X)
    with bad("grad: .* returned a tuple"):
        tg.grad(lambda x: (x, x))(1.0)
    with bad(r"grad: argument 0 has dtype int64; only floating-point arguments can be differentiated"):
        tg.grad(lambda x: x)(3)
    with bad(r"grad: argument 1\['n'\]\[0\] has dtype int64"):
        tg.grad(lambda x, y: x, 1)(3.0, {"n": [np.arange(3)]})
    with bad("grad: argument 0 is of type str"):
        tg.grad(lambda x: x)("text")
    with bad("must return a floating-point number, not bool"):
        tg.grad(lambda x: x > 0)(1.0)
    with bad("argnums=2, but 1 positional arguments were given", ValueError):
        tg.grad(lambda x: x, 2)(1.0)
    with bad("must name different arguments", ValueError):
        tg.grad(lambda x: x, (0, 0))(1.0)
    with bad("argnums must be an integer"):
        tg.grad(lambda x: x, "x")(1.0)
    with bad("the first argument must be a function, not float"):
        tg.grad(3.0)
    with bad(r"with has_aux=True, .* must return a pair \(out, aux\), not Tensor"):
        tg.grad(lambda x: x, has_aux=True)(1.0)


def test_errors_of_products():
    with bad(r"jvp: tangents must be nested like \(\{'a': \*\},\), but are \(\*,\)"):
        tg.jvp(lambda p: p["a"], ({"a": X},), (X,))
    with bad(r"jvp: tangents\[0\] must have shape \(3,\), but have \(2,\)", ValueError):
        tg.jvp(g, (X,), (X[:2],))
    with bad("jvp: tangents must be a tuple or a list, not ndarray"):
        tg.jvp(g, (X,), X)
    with bad(r"vjp_fn: the cotangents must have shape \(2,\), but have \(3,\)", ValueError):
        tg.vjp(g, X)[1](X)
    with bad("jacobian: the result has dtype bool"):
        tg.jacobian(lambda x: x > 0)(X)


def test_errors_of_vmap():
    with bad(r"vmap: .* looked at a value that depends on the batch", RuntimeError):
        tg.vmap(lambda x: x if x > 0 else -x)(X)
    with bad("looked at a value", RuntimeError):
        tg.vmap(lambda x: float(x))(X)
    with bad("looked at a value", RuntimeError):
        tg.grad(lambda x: tg.vmap(lambda v: v * v.item())(x).sum())(X)
    with bad("looked at a value", RuntimeError):
        tg.vmap(lambda x: tg.vmap(lambda v: v * (x * 2.0).item())(tg.ones(2)))(X)
    with bad(r"the batch axes have different lengths, \[2, 3\]", ValueError):
        tg.vmap(lambda x, y: x)(X, X[:2])
    with bad(r"in_axes=0 for argument 1 of shape \(\); use None", ValueError):
        tg.vmap(lambda x, y: x)(X, 2.0)
    with bad("in_axes has 1 entries for 2", ValueError):
        tg.vmap(lambda x, y: x, (0,))(X, X)
    with bad("in_axes must not be None for all", ValueError):
        tg.vmap(lambda x: x, None)(X)
    with bad("nested like", ValueError):
        tg.vmap(lambda x: x, ({"a": 0},))(X)
    with bad("out_axes is None for a result that depends", ValueError):
        tg.vmap(lambda x: x, out_axes=None)(X)
    with bad(r"out_axes=3 for a result of shape \(\)", ValueError):
        tg.vmap(lambda x: x, out_axes=3)(X)
    outside = tg.tensor(X)

    def change(x):
        outside.mul_(x)
        return x

    with bad("changed a tensor from outside in place", RuntimeError):
        tg.vmap(change)(X)
    np.testing.assert_array_equal(outside.numpy(), X)
    assert tg.vmap(lambda x: x * float(outside.sum()))(X)[0] == pytest.approx(X[0] * X.sum())


# --- other libraries ------------------------------------------------------------------------------


def network(xp, p, x):
    h = xp.tanh(x @ p["w1"] + p["b1"])
    return (h @ p["w2"]) ** 2


def parameters():
    rng = np.random.default_rng(1)
    return {"w1": rng.normal(size=(3, 4)), "b1": rng.normal(size=4), "w2": rng.normal(size=(4, 2))}


def test_against_jax():
    jax = pytest.importorskip("jax")
    jax.config.update("jax_enable_x64", True)
    jnp = jax.numpy
    p, x = parameters(), np.random.default_rng(2).normal(size=(5, 3))

    def ours(p, x):
        return network(tg, p, x)

    def theirs(p, x):
        return network(jnp, p, x)

    def compare(a, b):
        flat_a, flat_b = tg.tree.flatten(a)[0], jax.tree_util.tree_leaves(b)
        assert len(flat_a) == len(flat_b)
        for u, v in zip(flat_a, flat_b):
            assert np.shape(u) == np.shape(v)
            np.testing.assert_allclose(u, v, rtol=1e-10, atol=1e-12)

    for name in ("jacrev", "jacfwd"):
        compare(getattr(tg, name)(ours)(p, x), getattr(jax, name)(theirs)(p, x))
        compare(getattr(tg, name)(ours, (0, 1))(p, x[0]), getattr(jax, name)(theirs, (0, 1))(p, x[0]))
    compare(tg.hessian(ours)(p, x[0]), jax.hessian(theirs)(p, x[0]))
    compare(
        tg.vmap(tg.jacobian(ours), (None, 0))(p, x),
        jax.vmap(jax.jacobian(theirs), (None, 0))(p, x),
    )
    compare(tg.jvp(ours, (p, x), (p, x)), jax.jvp(theirs, (p, x), (p, x)))
    u = np.ones((5, 2))
    compare(tg.vjp(ours, p, x)[1](u), jax.vjp(theirs, p, x)[1](u))


def test_against_torch_func():
    torch = pytest.importorskip("torch")
    x = np.random.default_rng(3).normal(size=(4, 3))
    a = torch.tensor(A)

    def theirs(x):
        return (torch.sigmoid(a @ x) ** 2).sum() * torch.exp(-x).prod()

    def ours(x):
        return (tg.sigmoid(A @ x) ** 2).sum() * tg.exp(-x).prod()

    t = torch.tensor(x)
    func = torch.func
    pairs = [
        (tg.vmap(tg.grad(ours))(x), func.vmap(func.grad(theirs))(t)),
        (tg.hessian(ours)(x[0]), func.hessian(theirs)(t[0])),
        (tg.vmap(tg.hessian(ours))(x), func.vmap(func.hessian(theirs))(t)),
        (tg.jvp(ours, (x[0],), (x[1],))[1], func.jvp(theirs, (t[0],), (t[1],))[1]),
        (tg.jacfwd(tg.jacrev(tg.grad(ours)))(x[0]), func.jacfwd(func.jacrev(func.grad(theirs)))(t[0])),
    ]
    for got, wanted in pairs:
        np.testing.assert_allclose(got, wanted.numpy(), rtol=1e-9, atol=1e-11)
