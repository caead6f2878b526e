"""Linear algebra: sizes beyond the plain loops, refused matrices, orders of derivative, replay."""

import numpy as np
import pytest
import scipy.linalg

import tapegrad as tg
from tapegrad.testing import check_grads

RNG = np.random.default_rng(0)
SIZES = [1, 3, 16, 17, 48, 49, 130]


def definite(n, batch=(), dtype="float64", seed=0):
    a = np.random.default_rng(seed).standard_normal((*batch, n, n))
    return (a @ np.swapaxes(a, -1, -2) / n + np.eye(n)).astype(dtype)


def tolerance(dtype):
    return {"rtol": 1e-10, "atol": 1e-11} if dtype == "float64" else {"rtol": 2e-3, "atol": 2e-3}


def adjoint_by_solves(factor, g):
    """Murray (2016), equation 10: the symmetric cotangent by solves with whole matrices."""
    p = np.tril(factor.T @ np.tril(g))
    np.fill_diagonal(p, np.diag(p) / 2)
    s = scipy.linalg.solve_triangular(factor, p, trans=1, lower=True)
    s = scipy.linalg.solve_triangular(factor, s.T, trans=1, lower=True).T
    return (s + s.T) / 2


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("n", SIZES)
def test_cholesky_and_its_adjoint(n, dtype):
    a = definite(n, (2,), dtype)
    g = RNG.standard_normal(a.shape).astype(dtype)
    x = tg.tensor(a, requires_grad=True)
    out = tg.linalg.cholesky(x)
    out.backward(tg.tensor(g))
    expected = np.linalg.cholesky(a.astype("float64"))
    np.testing.assert_allclose(out.detach().numpy(), expected, **tolerance(dtype))
    for got, factor, cotangent in zip(x.grad.numpy(), expected, g):
        np.testing.assert_allclose(got, adjoint_by_solves(factor, cotangent), **tolerance(dtype))


def test_cholesky_reads_one_triangle():
    a = definite(20)
    lower, upper = (
        np.tril(a) + np.triu(np.full_like(a, np.nan), 1),
        np.triu(a) + np.tril(np.full_like(a, np.nan), -1),
    )
    np.testing.assert_allclose(tg.linalg.cholesky(lower).numpy(), np.linalg.cholesky(a))
    np.testing.assert_allclose(tg.linalg.cholesky(upper, upper=True).numpy(), np.linalg.cholesky(a).T)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("unit", [False, True])
@pytest.mark.parametrize("trans", [0, 1])
@pytest.mark.parametrize("lower", [False, True])
@pytest.mark.parametrize(("n", "m"), [(5, 1), (5, 7), (40, 1), (40, 3)])
def test_triangular_solves(n, m, lower, trans, unit, dtype):
    a = (0.2 * RNG.standard_normal((n, n)) / np.sqrt(n) + 2 * np.eye(n)).astype(dtype)
    b, g = RNG.standard_normal((2, n, m)).astype(dtype)
    options = {"trans": trans, "lower": lower, "unit_diagonal": unit}
    x, y = tg.tensor(a, requires_grad=True), tg.tensor(b, requires_grad=True)
    out = tg.linalg.solve_triangular(x, y, **options)
    out.backward(tg.tensor(g))
    exact = a.astype("float64")
    expected = scipy.linalg.solve_triangular(exact, b, **options)
    np.testing.assert_allclose(out.detach().numpy(), expected, **tolerance(dtype))
    gb = scipy.linalg.solve_triangular(exact, g, **{**options, "trans": 1 - trans})
    ga = -(expected @ gb.T if trans else gb @ expected.T)
    k = 1 if unit else 0
    np.testing.assert_allclose(y.grad.numpy(), gb, **tolerance(dtype))
    np.testing.assert_allclose(
        x.grad.numpy(), np.tril(ga, -k) if lower else np.triu(ga, k), **tolerance(dtype)
    )


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("n", [1, 4, 16, 17, 60])
def test_solve_inverse_and_determinants(n, dtype):
    # well conditioned, with rows in an order that needs exchanges
    a = 0.3 * RNG.standard_normal((2, n, n)) / np.sqrt(n) + np.eye(n)
    a = a[:, RNG.permutation(n)].astype(dtype)
    b, g = RNG.standard_normal((2, 2, n, 3)).astype(dtype)
    tol = {"rtol": 1e-9, "atol": 1e-9} if dtype == "float64" else {"rtol": 1e-3, "atol": 1e-3}
    x, y = tg.tensor(a, requires_grad=True), tg.tensor(b, requires_grad=True)
    out = tg.linalg.solve(x, y)
    out.backward(tg.tensor(g))
    exact = a.astype("float64")
    expected = np.linalg.solve(exact, b)
    gb = np.linalg.solve(np.swapaxes(exact, -1, -2), g)
    np.testing.assert_allclose(out.detach().numpy(), expected, **tol)
    np.testing.assert_allclose(y.grad.numpy(), gb, **tol)
    np.testing.assert_allclose(x.grad.numpy(), -gb @ np.swapaxes(expected, -1, -2), **tol)
    if dtype == "float64":
        inverse = np.linalg.inv(exact)
        np.testing.assert_allclose(tg.linalg.inv(a).numpy(), inverse, **tol)
        np.testing.assert_allclose(tg.linalg.det(a).numpy(), np.linalg.det(a), rtol=1e-10)
        sign, logarithm = tg.linalg.slogdet(a)
        np.testing.assert_array_equal(sign.numpy(), np.linalg.slogdet(a)[0])
        np.testing.assert_allclose(logarithm.numpy(), np.linalg.slogdet(a)[1], rtol=1e-10)
        gradient = tg.grad(lambda x: tg.linalg.slogdet(x)[1].sum())(a)
        np.testing.assert_allclose(gradient, np.swapaxes(inverse, -1, -2), **tol)


@pytest.mark.parametrize("shape", [(0, 0), (0, 3, 3), (2, 0, 0)])
def test_empty_matrices(shape):
    a = tg.zeros(shape)
    assert tg.linalg.cholesky(a).shape == tg.linalg.inv(a).shape == shape
    assert tg.linalg.det(a).tolist() == np.linalg.det(np.zeros(shape)).tolist()
    assert tg.linalg.solve_triangular(a, tg.zeros((shape[-1], 2))).shape == (*shape[:-1], 2)
    assert tg.linalg.solve(a, tg.zeros((shape[-1], 0))).shape == (*shape[:-1], 0)


# --- refused matrices -----------------------------------------------------------------------------

INDEFINITE = np.array([[1.0, 2.0], [2.0, 1.0]])
SINGULAR = np.array([[1.0, 2.0], [2.0, 4.0]])


def large(a):
    out = np.eye(30)
    out[:2, :2] = a
    return out


@pytest.mark.parametrize("enlarge", [lambda a: a, large], ids=["loops", "library"])
@pytest.mark.parametrize(
    ("function", "a", "message"),
    [
        (tg.linalg.cholesky, INDEFINITE, "cholesky: the matrix is not positive definite"),
        (tg.linalg.cholesky, np.full((2, 2), np.nan), "cholesky: the matrix is not positive definite"),
        (tg.linalg.inv, SINGULAR, "solve: singular matrix"),
        (lambda x: tg.linalg.solve(x, tg.ones(x.shape[0])), SINGULAR, "solve: singular matrix"),
        (
            lambda x: tg.linalg.solve_triangular(x, tg.ones(x.shape[0])),
            np.zeros((2, 2)),
            "solve_triangular: singular matrix",
        ),
    ],
)
def test_refused_matrices(function, a, message, enlarge):
    x = tg.tensor(enlarge(a), requires_grad=True)
    with pytest.raises(np.linalg.LinAlgError, match=message) as caught:
        function(x).detach().numpy()
    assert "test_linalg.py" in str(caught.value), "names the line that recorded it"
    good = enlarge(np.array([[2.0, 1.0], [1.0, 3.0]]))
    x = tg.tensor(good, requires_grad=True)
    function(x).sum().backward()  # the tape is good again
    compiled = tg.compile(tg.value_and_grad(lambda x: function(x).sum()))
    value, g = compiled(good)
    np.testing.assert_allclose(g, x.grad.numpy())
    with pytest.raises(np.linalg.LinAlgError, match=message):
        compiled(enlarge(a))
    assert compiled(good)[0] == value


def test_the_refused_matrix_of_a_batch_is_named():
    a = np.stack([np.eye(2), INDEFINITE, np.eye(2)])
    with pytest.raises(np.linalg.LinAlgError, match=r"matrix 1 of the batch"):
        tg.linalg.cholesky(a).numpy()


def test_singular_determinants():
    x = tg.tensor(SINGULAR, requires_grad=True)
    assert tg.linalg.det(x).item() == 0
    sign, logarithm = tg.linalg.slogdet(x)
    assert sign.item() == 0 and logarithm.item() == -np.inf
    with pytest.raises(np.linalg.LinAlgError, match="det: singular matrix"):
        tg.linalg.det(x).backward()


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda: tg.linalg.cholesky(tg.ones((2, 3))), ValueError),
        (lambda: tg.linalg.inv(tg.ones(3)), ValueError),
        (lambda: tg.linalg.solve(tg.ones((2, 2)), tg.ones(3)), ValueError),
        (lambda: tg.linalg.solve_triangular(tg.ones((2, 2)), tg.ones((3, 2))), ValueError),
        (lambda: tg.linalg.solve_triangular(tg.ones((2, 2)), tg.ones(2), trans="X"), ValueError),
        (lambda: tg.linalg.solve(tg.ones((2, 3, 3)), tg.ones((4, 3, 1))), ValueError),
        (lambda: tg.linalg.matrix_norm(tg.ones((2, 2)), ord=3), ValueError),
    ],
)
def test_errors_of_shape(call, error):
    with pytest.raises(error, match=r"^\w+: "):
        call()


# --- derivatives of higher order, replays ---------------------------------------------------------


def likelihood(x, y):
    factor = tg.linalg.cholesky(x @ x.mT + tg.eye(x.shape[-1]))
    a = tg.linalg.solve_triangular(factor, y, lower=True)
    return (a * a).sum() + tg.log(tg.linalg.diagonal(factor)).sum()


@pytest.mark.parametrize("n", [4, 20])
def test_second_order_against_finite_differences(n):
    x, y = RNG.standard_normal((n, n)) / np.sqrt(n), RNG.standard_normal((n, 2))
    check_grads(likelihood, [x, y], order=2 if n < 10 else 1)
    u = RNG.standard_normal((n, n))
    gradient = tg.grad(lambda x: likelihood(x, y))
    step = 1e-5
    expected = (gradient(x + step * u) - gradient(x - step * u)) / (2 * step)
    np.testing.assert_allclose(tg.hvp(lambda x: likelihood(x, y), x, u), expected, rtol=1e-6, atol=1e-6)


def test_hessian_against_jax():
    jax = pytest.importorskip("jax")
    if not jax.config.jax_enable_x64:
        jax.config.update("jax_enable_x64", True)
    x, y = RNG.standard_normal((3, 3)), RNG.standard_normal((3, 2))

    def theirs(x):
        factor = jax.numpy.linalg.cholesky(x @ x.T + jax.numpy.eye(3))
        a = jax.scipy.linalg.solve_triangular(factor, y, lower=True)
        return (a * a).sum() + jax.numpy.log(jax.numpy.diagonal(factor)).sum()

    np.testing.assert_allclose(tg.hessian(lambda x: likelihood(x, y))(x), jax.hessian(theirs)(x), rtol=1e-9)


@pytest.mark.parametrize("n", [3, 40])
def test_compiled_gives_what_define_by_run_gives(n):
    def f(a, b):
        factor = tg.linalg.cholesky(a)
        x = tg.linalg.solve_triangular(factor, b, lower=True)
        return (x * x).sum() + tg.linalg.slogdet(a)[1] + (tg.linalg.solve(a, b) * b).sum()

    compiled = tg.compile(tg.value_and_grad(f, argnums=(0, 1)))
    for seed in range(3):
        a, b = definite(n, seed=seed), np.random.default_rng(seed).standard_normal((n, 2))
        x, y = tg.tensor(a, requires_grad=True), tg.tensor(b, requires_grad=True)
        f(x, y).backward()
        value, (ga, gb) = compiled(a, b)
        np.testing.assert_allclose(value, f(x, y).item(), rtol=1e-12)
        np.testing.assert_allclose(ga, x.grad.numpy(), rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(gb, y.grad.numpy(), rtol=1e-9, atol=1e-12)
    assert compiled.stats().recordings == 1


def test_batches_of_functions():
    a, b = definite(3, (4,)), RNG.standard_normal((4, 3))
    for function in (tg.linalg.solve, lambda a, b: tg.linalg.solve_triangular(a, b, lower=True)):
        expected = np.stack([function(m, v).numpy() for m, v in zip(a, b)])
        np.testing.assert_allclose(tg.vmap(function)(a, b), expected, rtol=1e-12)
        one = tg.vmap(lambda v, function=function: function(a[0], v))(b)
        np.testing.assert_allclose(one, np.stack([function(a[0], v).numpy() for v in b]), rtol=1e-12)


def test_numpy_dispatch():
    a, b = tg.tensor(definite(3)), np.ones(3)
    np.testing.assert_allclose(np.linalg.solve(a, b).numpy(), np.linalg.solve(a.numpy(), b))
    np.testing.assert_allclose(np.linalg.cholesky(a).numpy(), np.linalg.cholesky(a.numpy()))
    assert isinstance(np.linalg.det(a), tg.Tensor)


def test_cho_solve():
    a, b = definite(5), RNG.standard_normal((5, 2))
    for upper in (False, True):
        factor = tg.linalg.cholesky(a, upper=upper)
        np.testing.assert_allclose(
            tg.linalg.cho_solve((factor, not upper), b).numpy(), np.linalg.solve(a, b), rtol=1e-10
        )


def test_integers_and_mixed_dtypes():
    assert tg.linalg.inv(tg.tensor([[2, 0], [0, 4]])).dtype == np.float64
    out = tg.linalg.solve(np.eye(2, dtype="float32"), np.ones(2))
    assert out.dtype == np.float64
