"""Pseudo-inverses, least squares, the exponential: other libraries, deficient ranks, hard matrices."""

import numpy as np
import pytest
import scipy.linalg

import tapegrad as tg
from tapegrad.testing import check_grads

close = np.testing.assert_allclose
RNG = np.random.default_rng(0)


# --- least squares --------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("shape", [(5, 3), (3, 5), (4, 4), (60, 20), (20, 60)])
def test_lstsq_values_and_gradients(shape, dtype):
    a, b = RNG.standard_normal(shape).astype(dtype), RNG.standard_normal((shape[0], 2)).astype(dtype)
    tol = {"rtol": 1e-9, "atol": 1e-10} if dtype == "float64" else {"rtol": 5e-3, "atol": 5e-3}
    exact = a.astype("float64")
    for got, wanted in zip(tg.linalg.lstsq(a, b), np.linalg.lstsq(exact, b, rcond=None), strict=True):
        assert got.shape == np.shape(wanted)
        close(got.numpy(), wanted, **tol)
    x, y = tg.tensor(a, requires_grad=True), tg.tensor(b, requires_grad=True)
    tg.linalg.lstsq(x, y)[0].sum().backward()
    inverse = np.linalg.pinv(exact)
    close(y.grad.numpy(), inverse.T @ np.ones((shape[1], 2)), **tol)
    if dtype == "float64" and shape[0] < 10:
        check_grads(lambda a, b: tg.linalg.lstsq(a, b)[:2], [a, b], modes=("rev", "fwd"))


def test_lstsq_in_batches():
    a, b = RNG.standard_normal((2, 4, 3)), RNG.standard_normal((4, 2))
    x, residuals, rank, s = tg.linalg.lstsq(a, b)
    for k in range(2):
        wanted = np.linalg.lstsq(a[k], b, rcond=None)
        close(x[k].numpy(), wanted[0], rtol=1e-10)
        close(residuals[k].numpy(), wanted[1], rtol=1e-10)
        assert rank[k].item() == wanted[2]
        close(s[k].numpy(), wanted[3], rtol=1e-10)
    check_grads(lambda a, b: tg.linalg.lstsq(a, b)[0], [a, b])
    check_grads(lambda a, b: tg.linalg.lstsq(a, b)[0], [a[0], RNG.standard_normal((2, 4, 1))])
    f = lambda b: tg.linalg.lstsq(a[0], b)[0]
    many = RNG.standard_normal((3, 4))
    close(tg.vmap(f)(many), np.stack([f(v).numpy() for v in many]), rtol=1e-10)
    one = tg.vmap(lambda m: tg.linalg.lstsq(m, RNG.standard_normal((2, 4, 1)))[0])(a)
    assert one.shape == (2, 2, 3, 1)


def test_lstsq_of_ill_conditioned_matrices():
    """As accurate as LAPACK's own routine, which the pseudo-inverse as a matrix would not be."""
    a = np.vander(np.linspace(0.0, 1.0, 30), 11)
    x = np.ones(11)
    b = a @ x
    ours = np.abs(tg.linalg.lstsq(a, b)[0].numpy() - x).max()
    theirs = np.abs(np.linalg.lstsq(a, b, rcond=None)[0] - x).max()
    assert ours < 100 * theirs + 1e-12


def test_deficient_rank():
    u, v = RNG.standard_normal((4, 2)), RNG.standard_normal((2, 3))
    a, b = u @ v, RNG.standard_normal(4)
    for got, wanted in zip(tg.linalg.lstsq(a, b), np.linalg.lstsq(a, b, rcond=None), strict=True):
        if np.size(wanted):
            close(got.numpy(), wanted, rtol=1e-9, atol=1e-9)
    assert tg.linalg.matrix_rank(a).item() == 2
    close(tg.linalg.pinv(a).numpy(), np.linalg.pinv(a), rtol=1e-9, atol=1e-10)
    # along changes that keep the rank the derivative is right
    check_grads(lambda u, v: tg.linalg.pinv(u @ v), [u, v], modes=("rev", "fwd"))
    check_grads(lambda u, v, b: tg.linalg.lstsq(u @ v, b)[0], [u, v, b])


def test_negative_rcond_and_zero():
    a = np.diag([1.0, 1e-15])
    for rcond in (None, -1, 1e-14, 0.0):
        ours, theirs = tg.linalg.lstsq(a, np.ones(2), rcond), np.linalg.lstsq(a, np.ones(2), rcond)
        assert ours.rank.item() == theirs[2]
        close(ours.x.numpy(), theirs[0], rtol=1e-10)
    zero = tg.tensor(np.zeros((3, 2)), requires_grad=True)
    x = tg.linalg.lstsq(zero, np.ones(3))[0]
    assert x.tolist() == [0.0, 0.0]
    x.sum().backward()
    assert np.isfinite(zero.grad.numpy()).all()


@pytest.mark.parametrize("shape", [(4, 2), (2, 4), (3, 3)])
def test_lstsq_against_torch(shape):
    torch = pytest.importorskip("torch")
    a, b = RNG.standard_normal(shape), RNG.standard_normal((shape[0], 2))
    x, y = tg.tensor(a, requires_grad=True), tg.tensor(b, requires_grad=True)
    p, q = torch.tensor(a, requires_grad=True), torch.tensor(b, requires_grad=True)
    (tg.linalg.lstsq(x, y)[0] ** 2).sum().backward()
    (torch.linalg.lstsq(p, q, driver="gelsd")[0] ** 2).sum().backward()
    close(x.grad.numpy(), p.grad.numpy(), rtol=1e-10, atol=1e-10)
    close(y.grad.numpy(), q.grad.numpy(), rtol=1e-10, atol=1e-10)


def test_tolerances():
    a = np.diag([1.0, 1e-3, 1e-6])
    for rtol in (1e-2, 1e-4, None):
        wanted = np.linalg.pinv(a, 1e-15 if rtol is None else rtol)
        close(tg.linalg.pinv(a, rtol=rtol).numpy(), wanted)
        assert tg.linalg.matrix_rank(a, rtol=rtol).item() == np.linalg.matrix_rank(a, rtol=rtol)
    both = tg.linalg.pinv(np.stack([a, a]), rtol=[1e-2, 1e-4]).numpy()
    close(both, [np.linalg.pinv(a, 1e-2), np.linalg.pinv(a, 1e-4)])
    ranks = tg.linalg.matrix_rank(np.stack([a, a]), rtol=np.array([1e-2, 1e-4]))
    assert ranks.tolist() == [1, 2] and ranks.dtype == tg.int64


# --- the exponential ------------------------------------------------------------------------------


def hard():
    """Matrices that are known to be difficult."""
    yield "zero", np.zeros((3, 3))
    yield "tiny", RNG.standard_normal((4, 4)) * 1e-9
    for scale in (0.01, 0.2, 0.9, 2.0, 5.0, 30.0):
        yield f"scale {scale}", RNG.standard_normal((5, 5)) * scale
    yield "negative", -40.0 * np.eye(3) + RNG.standard_normal((3, 3))
    yield "nilpotent", np.triu(RNG.standard_normal((6, 6)), 1) * 1e3
    yield "far from normal", np.array([[1.0, 1e6], [0.0, -1.0]])
    yield "Ward", np.array([[-131.0, 19.0, 18.0], [-390.0, 56.0, 54.0], [-387.0, 57.0, 52.0]])
    yield "rotation", np.array([[0.0, 100.0], [-100.0, 0.0]])
    yield "large", RNG.standard_normal((40, 40)) / 3
    yield "defective", np.array([[2.0, 1.0, 0.0], [0.0, 2.0, 1.0], [0.0, 0.0, 2.0]])


@pytest.mark.parametrize(("name", "a"), list(hard()), ids=[name for name, _ in hard()])
def test_expm_against_many_digits(name, a):
    mpmath = pytest.importorskip("mpmath")
    if len(a) > 10:
        exact = scipy.linalg.expm(a)
    else:
        with mpmath.workdps(60):
            exact = np.array(mpmath.expm(mpmath.matrix(a.tolist())).tolist(), dtype=float)
    ours, theirs = tg.linalg.expm(a).numpy(), scipy.linalg.expm(a)
    size = np.abs(exact).max()
    error = np.abs(ours - exact).max() / size
    assert error <= 10 * np.abs(theirs - exact).max() / size + 2e-14
    # the condition number of the problem is what float32 has to live with
    narrow = tg.linalg.expm(a.astype("float32"))
    assert narrow.dtype == np.float32
    if np.abs(a).max() < 6:
        close(narrow.numpy() / size, exact / size, rtol=1e-4, atol=2e-5)


@pytest.mark.parametrize("scale", [0.0, 1e-3, 0.1, 0.5, 2.0, 10.0])
def test_expm_derivative_against_scipy(scale):
    a, e, g = RNG.standard_normal((3, 5, 5))
    a = a * scale
    expected = scipy.linalg.expm_frechet(a, e, compute_expm=False)
    size = np.abs(expected).max()
    close(tg.jvp(tg.linalg.expm, (a,), (e,))[1] / size, expected / size, rtol=1e-10, atol=1e-11)
    x = tg.tensor(a, requires_grad=True)
    tg.linalg.expm(x).backward(tg.tensor(g))
    expected = scipy.linalg.expm_frechet(a.T, g, compute_expm=False)
    size = np.abs(expected).max()
    close(x.grad.numpy() / size, expected / size, rtol=1e-10, atol=1e-11)


@pytest.mark.parametrize("shape", [(3, 3), (2, 2, 2), (20, 20)])
def test_expm_derivatives(shape):
    a = RNG.standard_normal(shape) / np.sqrt(shape[-1])
    check_grads(tg.linalg.expm, [a], order=2 if shape[-1] < 10 else 1, modes=("rev", "fwd"))


def test_third_derivative_of_expm():
    f = lambda t: tg.linalg.expm(t * np.array([[0.0, 1.0], [-1.0, 0.0]]))[0, 1]
    third = tg.grad(tg.grad(tg.grad(f)))
    close(third(0.7), -np.cos(0.7), rtol=1e-10)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_expm_of_matrices_that_are_not_finite(bad):
    a = np.stack([np.eye(2), np.full((2, 2), bad), np.zeros((2, 2))])
    out = tg.linalg.expm(a).numpy()
    assert np.isnan(out[1]).all()
    close(out[[0, 2]], scipy.linalg.expm(a[[0, 2]]), rtol=1e-14)


def test_expm_of_huge_matrices():
    assert tg.linalg.expm(np.diag([-1e200, 0.0])).tolist() == [[0.0, 0.0], [0.0, 1.0]]
    nilpotent = np.array([[0.0, 1e150], [0.0, 0.0]])
    assert tg.linalg.expm(nilpotent).tolist() == [[1.0, 1e150], [0.0, 1.0]]


# --- products -------------------------------------------------------------------------------------


def test_multi_dot_takes_the_cheapest_order():
    from tapegrad.ops.linalg.products import _cuts

    lengths = [30, 35, 15, 5, 10, 20, 25]  # Cormen et al., figure 15.5
    cuts = _cuts(lengths)
    assert (cuts[0, 5], cuts[0, 2], cuts[3, 5]) == (2, 0, 4)


def test_matrix_power_of_one_is_a_copy():
    x = tg.tensor(np.eye(2))
    y = tg.linalg.matrix_power(x, 1)
    y += 1.0
    assert x.tolist() == [[1.0, 0.0], [0.0, 1.0]]
    assert tg.linalg.matrix_power(tg.tensor([[1, 1], [0, 1]]), 10).tolist() == [[1, 10], [0, 1]]


def test_cho_factor_and_cho_solve():
    a = RNG.standard_normal((4, 4))
    a, b = a @ a.T + np.eye(4), RNG.standard_normal((4, 2))
    for lower in (False, True):
        factor = tg.linalg.cho_factor(a, lower=lower)
        expected = scipy.linalg.cho_factor(a, lower=lower)[0]
        close(factor.c.numpy(), np.tril(expected) if lower else np.triu(expected), rtol=1e-12)
        close(tg.linalg.cho_solve(factor, b).numpy(), np.linalg.solve(a, b), rtol=1e-10)
    check_grads(lambda a, b: tg.linalg.cho_solve(tg.linalg.cho_factor((a + a.mT) / 2), b), [a, b])
