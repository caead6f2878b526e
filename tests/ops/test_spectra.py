"""Eigenvalues, singular values, QR: shapes, ties, refusals, other libraries, transforms, replays."""

import numpy as np
import pytest

import tapegrad as tg
from tapegrad.testing import check_grads

close, equal = np.testing.assert_allclose, np.testing.assert_array_equal
RNG = np.random.default_rng(0)
SHAPES = [(4, 4), (6, 3), (3, 6), (1, 1), (1, 5), (5, 1)]
LARGE = [(40, 40), (70, 30), (30, 70)]


def symmetric(n, batch=(), dtype="float64"):
    a = RNG.standard_normal((*batch, n, n))
    return (a + np.swapaxes(a, -1, -2)).astype(dtype)


def with_values(values, seed=0):
    """A symmetric matrix with these eigenvalues, exactly so where it is diagonal."""
    q = np.linalg.qr(np.random.default_rng(seed).standard_normal((len(values),) * 2))[0]
    return q @ np.diag(values) @ q.T


def tolerance(dtype):
    return {"rtol": 1e-10, "atol": 1e-11} if dtype == "float64" else {"rtol": 2e-3, "atol": 1e-4}


# --- values ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("n", [1, 5, 17, 60])
def test_eigh_values(n, dtype):
    a = symmetric(n, (2,), dtype)
    for uplo in ("L", "U"):
        w, v = tg.linalg.eigh(a, UPLO=uplo)
        assert w.dtype == v.dtype == a.dtype
        w, v = w.numpy().astype("float64"), v.numpy().astype("float64")
        scale = np.abs(w).max()
        close(v * w[:, None, :] @ np.swapaxes(v, -1, -2) / scale, a / scale, **tolerance(dtype))
        close(np.swapaxes(v, -1, -2) @ v, np.eye(n)[None].repeat(2, 0), **tolerance(dtype))
        close(w / scale, np.linalg.eigvalsh(a.astype("float64")) / scale, **tolerance(dtype))
        close(tg.linalg.eigvalsh(a, uplo).numpy() / scale, w / scale, **tolerance(dtype))


def test_eigh_reads_one_triangle():
    a = symmetric(5)
    lower = np.tril(a) + np.triu(np.full_like(a, np.nan), 1)
    close(tg.linalg.eigvalsh(lower).numpy(), np.linalg.eigvalsh(a))
    close(tg.linalg.eigvalsh(lower.T, UPLO="U").numpy(), np.linalg.eigvalsh(a))


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("shape", SHAPES + LARGE)
def test_svd_and_qr_values(shape, dtype):
    a = RNG.standard_normal((2, *shape)).astype(dtype)
    m, n = shape
    k = min(m, n)
    exact = a.astype("float64")
    for full in (True, False):
        u, s, vh = [t.numpy().astype("float64") for t in tg.linalg.svd(a, full_matrices=full)]
        assert u.shape == (2, m, m if full else k) and vh.shape == (2, n if full else k, n)
        close(u[..., :k] * s[:, None, :] @ vh[:, :k], exact, **tolerance(dtype))
        close(np.swapaxes(u, -1, -2) @ u, np.eye(u.shape[-1])[None].repeat(2, 0), **tolerance(dtype))
        close(vh @ np.swapaxes(vh, -1, -2), np.eye(len(vh[0]))[None].repeat(2, 0), **tolerance(dtype))
        close(s, np.linalg.svd(exact, compute_uv=False), **tolerance(dtype))
    close(tg.linalg.svdvals(a).numpy(), s, **tolerance(dtype))
    for mode in ("reduced", "complete"):
        q, r = [t.numpy().astype("float64") for t in tg.linalg.qr(a, mode=mode)]
        expected = np.linalg.qr(exact, mode)
        close(q, expected[0], **tolerance(dtype))
        close(r, expected[1], **tolerance(dtype))
    close(tg.linalg.qr(a, mode="r").numpy(), np.linalg.qr(exact, "r"), **tolerance(dtype))


@pytest.mark.parametrize("shape", [(0, 0), (0, 3), (3, 0), (0, 2, 2), (2, 0, 3), (2, 3, 0), (2, 0, 0)])
def test_empty_matrices(shape):
    a, x = np.zeros(shape), tg.zeros(shape)
    for full in (True, False):
        for got, wanted in zip(tg.linalg.svd(x, full_matrices=full), np.linalg.svd(a, full), strict=True):
            equal(got.numpy(), wanted)
    for mode in ("reduced", "complete"):
        for got, wanted in zip(tg.linalg.qr(x, mode=mode), np.linalg.qr(a, mode), strict=True):
            equal(got.numpy(), wanted)
    assert tg.linalg.pinv(x).shape == np.linalg.pinv(a).shape
    assert tg.linalg.matrix_rank(x).tolist() == np.zeros(shape[:-2]).tolist()
    for ord in ("fro", "nuc", 1, 2, np.inf):
        wanted = np.zeros(shape[:-2])
        equal(tg.linalg.matrix_norm(x, ord=ord).numpy(), wanted)
    if shape[-1] == shape[-2]:
        for got, wanted in zip(tg.linalg.eigh(x), np.linalg.eigh(a), strict=True):
            equal(got.numpy(), wanted)
        assert tg.linalg.expm(x).shape == shape
    g = tg.grad(lambda x: tg.linalg.svd(x, full_matrices=False)[0].sum() + tg.linalg.pinv(x).sum())(a)
    assert g.shape == shape


# --- derivatives ----------------------------------------------------------------------------------


def invariants(x, full):
    """Functions of singular vectors that do not depend on signs or bases."""
    u, s, vh = tg.linalg.svd(x, full_matrices=full)
    k = s.shape[-1]
    first = u[..., :, :2] @ tg.swapaxes(u[..., :, :2], -1, -2)
    rest = u[..., :, k:] @ tg.swapaxes(u[..., :, k:], -1, -2)
    back = tg.swapaxes(vh[..., k:, :], -1, -2) @ vh[..., k:, :]
    return first * s[..., 0:1, None], rest, back, tg.square(u[..., :, :k]) @ tg.square(vh[..., :k, :])


@pytest.mark.parametrize("full", [True, False])
@pytest.mark.parametrize("shape", [(3, 3), (4, 3), (3, 4), (2, 4, 3), (5, 2), (2, 5)])
def test_svd_derivatives(shape, full):
    check_grads(lambda x: invariants(x, full), [RNG.standard_normal(shape)], modes=("rev", "fwd"))


@pytest.mark.parametrize("shape", [(3, 3), (4, 2), (2, 4), (2, 3, 2)])
def test_qr_derivatives(shape):
    def f(x):
        q, r = tg.linalg.qr(x, mode="complete")
        k = min(shape[-2:])
        rest = q[..., :, k:] @ tg.swapaxes(q[..., :, k:], -1, -2)
        return q[..., :, :k], r, rest, tg.linalg.qr(x, mode="r")

    check_grads(f, [RNG.standard_normal(shape)], modes=("rev", "fwd"))


def test_eigh_derivatives_in_both_modes():
    a = symmetric(4, (2,))
    check_grads(lambda x: tg.linalg.eigh(x + x.mT), [a], modes=("rev", "fwd"))


@pytest.mark.parametrize("n", [17, 40])
def test_large_derivatives(n):
    a = with_values(np.linspace(-1.0, 1.0, n))
    check_grads(lambda x: tg.linalg.eigh(x + x.mT)[1][:, 0] ** 2, [a], order=1, modes=("rev", "fwd"))
    b = np.concatenate([a @ np.diag(np.linspace(1.0, 2.0, n)), a[:3]])
    check_grads(lambda x: tg.linalg.qr(x)[0], [b], order=1, modes=("rev", "fwd"))
    check_grads(
        lambda x: tg.linalg.svd(x, full_matrices=False)[2][0] ** 2, [b], order=1, modes=("rev", "fwd")
    )


def test_the_cotangent_of_a_symmetric_matrix_is_symmetric():
    x = tg.tensor(symmetric(4), requires_grad=True)
    w, v = tg.linalg.eigh(x)
    (w * v[0]).sum().backward()
    close(x.grad.numpy(), x.grad.numpy().T, rtol=1e-12)


# --- other libraries ------------------------------------------------------------------------------


TORCH = {
    "eigh": lambda t, x: (lambda w, v: (w, v[:, 1] * v[:, 1], abs(v)))(*t.linalg.eigh((x + x.mT) / 2)),
    "eigvalsh": lambda t, x: (t.linalg.eigvalsh((x + x.mT) / 2) ** 3,),
    "svd": lambda t, x: (lambda u, s, v: (u[:, :1] * s[0] * v[:1], abs(u), s**2))(
        *t.linalg.svd(x, full_matrices=False)
    ),
    "svdvals": lambda t, x: (t.linalg.svdvals(x) ** 3,),
    "qr": lambda t, x: tuple(t.linalg.qr(x)),
    "pinv": lambda t, x: (t.linalg.pinv(x),),
    "nuc": lambda t, x: (t.linalg.matrix_norm(x, ord="nuc"),),
    "spectral": lambda t, x: (t.linalg.matrix_norm(x, ord=2), t.linalg.matrix_norm(x, ord=-2)),
    "cond": lambda t, x: (t.linalg.cond(x),),
    "expm": lambda t, x: (getattr(t.linalg, "matrix_exp", None) or t.linalg.expm)(x[None] / 2),
    "power": lambda t, x: (t.linalg.matrix_power(x, 5),),
    "inverse": lambda t, x: (t.linalg.matrix_power(x, -3),),
    "det": lambda t, x: (t.linalg.det(x), *t.linalg.slogdet(x)[1:]),
}


@pytest.mark.parametrize("name", TORCH)
@pytest.mark.parametrize("shape", [(4, 4), (5, 3), (3, 5)])
def test_first_and_second_order_against_torch(name, shape):
    torch = pytest.importorskip("torch")
    if shape[0] != shape[1] and name in ("eigh", "eigvalsh", "expm", "power", "inverse", "det"):
        pytest.skip("square matrices only")
    a, direction = np.random.default_rng(3).standard_normal((2, *shape))
    f = TORCH[name]

    def hvp(t, x, v, grad):
        out = sum((o * (o + 0.5)).sum() for o in f(t, x))
        (g,) = grad(out, [x], create_graph=True)
        (h,) = grad((g * v).sum(), [x])
        return [z.detach().numpy() for z in (out, g, h)]

    ours = hvp(tg, tg.tensor(a, requires_grad=True), tg.tensor(direction), tg.autograd.grad)
    theirs = hvp(torch, torch.tensor(a, requires_grad=True), torch.tensor(direction), torch.autograd.grad)
    for got, wanted in zip(ours, theirs, strict=True):
        close(got, wanted, rtol=1e-10, atol=1e-10 * max(1, np.abs(wanted).max()))


def test_hessian_of_eigenvalues_against_jax():
    jax = pytest.importorskip("jax")
    if not jax.config.jax_enable_x64:
        jax.config.update("jax_enable_x64", True)
    a = symmetric(3)
    ours = tg.hessian(lambda x: tg.linalg.eigvalsh((x + x.mT) / 2)[1])(a)
    theirs = jax.hessian(lambda x: jax.numpy.linalg.eigvalsh((x + x.T) / 2, symmetrize_input=False)[1])(a)
    close(ours, theirs, rtol=1e-10, atol=1e-10)


# --- ties -----------------------------------------------------------------------------------------


TIED = [np.eye(3), np.zeros((3, 3)), np.diag([1.0, 1.0, 2.0]), with_values([1.0, 1.0, 2.0, -1.0])]


@pytest.mark.parametrize("a", TIED, ids=["identity", "zero", "diagonal", "rotated"])
def test_eigenvalues_have_a_gradient_at_ties(a):
    """A symmetric function of eigenvalues has one, whichever way it is computed."""
    expected = 3 * a @ a  # of the sum of cubes
    for values in (tg.linalg.eigvalsh, lambda x: tg.linalg.eigh(x).eigenvalues):
        x = tg.tensor(a, requires_grad=True)
        tg.sum(values(x) ** 3).backward()
        close(x.grad.numpy(), expected, rtol=1e-10, atol=1e-12)
        compiled = tg.compile(tg.grad(lambda x, values=values: tg.sum(values(x) ** 3)))
        close(compiled(a), expected, rtol=1e-10, atol=1e-12)
        tangent = tg.jvp(lambda x, values=values: tg.sum(values(x) ** 3), (a,), (np.ones_like(a),))[1]
        close(tangent, expected.sum(), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("a", [np.eye(3), np.eye(3)[:, :2] * 2, with_values([1.0, 1.0, 2.0])])
def test_singular_values_have_a_gradient_at_ties(a):
    expected = 2 * a  # of the sum of squares
    for values in (tg.linalg.svdvals, lambda x: tg.linalg.svd(x).S, lambda x: tg.linalg.svd(x, False)[1]):
        x = tg.tensor(a, requires_grad=True)
        tg.sum(values(x) ** 2).backward()
        close(x.grad.numpy(), expected, rtol=1e-10, atol=1e-12)
    x = tg.tensor(a, requires_grad=True)
    tg.linalg.matrix_norm(x, ord="nuc").backward()
    u, _, vh = np.linalg.svd(a, False)
    close(x.grad.numpy(), u @ vh, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("a", TIED, ids=["identity", "zero", "diagonal", "rotated"])
def test_eigenvectors_of_equal_eigenvalues_have_no_gradient(a):
    x = tg.tensor(a, requires_grad=True)
    y = tg.linalg.eigh(x).eigenvectors[:, 1] @ tg.arange(1.0, len(a) + 1)
    with pytest.raises(np.linalg.LinAlgError, match=r"eigh: eigenvectors of equal.*test_spectra.py"):
        y.backward()
    f = tg.grad(lambda x: tg.linalg.eigh(x).eigenvectors[:, 1] @ tg.arange(1.0, len(a) + 1))
    for g in (f, tg.compile(f), tg.grad(lambda x: f(x).sum())):
        with pytest.raises(np.linalg.LinAlgError, match="equal"):
            g(a)
    # vectors of other eigenvalues have one
    if len(a) == 4:
        check_grads(lambda x: tg.linalg.eigh(x + x.mT).eigenvectors[:, 3] ** 2, [a / 2], order=1)


def test_second_derivatives_at_ties_are_refused():
    with pytest.raises(np.linalg.LinAlgError, match="equal"):
        tg.hessian(lambda x: tg.sum(tg.linalg.eigvalsh(x) ** 3))(np.eye(2))
    with pytest.raises(np.linalg.LinAlgError, match="equal"):
        tg.hessian(lambda x: tg.sum(tg.linalg.svdvals(x) ** 3))(np.eye(2))


def test_singular_vectors_without_derivatives():
    def g(f, a):
        x = tg.tensor(a, requires_grad=True)
        f(*tg.linalg.svd(x)).backward()
        return x.grad.numpy()

    for f in (lambda u, s, vh: u[0, 0] ** 2, lambda u, s, vh: vh[0, 0] ** 2):
        with pytest.raises(np.linalg.LinAlgError, match=r"svd: .*equal.*test_spectra.py"):
            g(f, np.eye(3))
    low = np.outer([1.0, 2.0, 3.0], [1.0, 1.0])  # of rank one
    assert np.isfinite(g(lambda u, s, vh: s[0] * u[0, 0] ** 2, low)).all()
    with pytest.raises(np.linalg.LinAlgError, match="svd"):
        g(lambda u, s, vh: u[0, 1] ** 2, low)
    tall = RNG.standard_normal((4, 2))
    with pytest.raises(np.linalg.LinAlgError, match=r"complement: .*choice of the columns.*test_spectra.py"):
        g(lambda u, s, vh: u[0, 3], tall)


def test_qr_without_derivatives():
    x = tg.tensor(np.ones((3, 2)), requires_grad=True)
    with pytest.raises(np.linalg.LinAlgError, match=r"qr: singular matrix.*test_spectra.py"):
        tg.linalg.qr(x)[0][0, 1].backward()
    x = tg.tensor(RNG.standard_normal((4, 2)), requires_grad=True)
    with pytest.raises(np.linalg.LinAlgError, match="complement"):
        tg.linalg.qr(x, mode="complete").Q[0, 3].backward()


def test_the_tied_matrix_of_a_batch_is_named():
    x = tg.tensor(np.stack([symmetric(2), np.eye(2)]), requires_grad=True)
    with pytest.raises(np.linalg.LinAlgError, match="matrix 1 of the batch"):
        tg.linalg.eigh(x)[1].sum().backward()


# --- refusals -------------------------------------------------------------------------------------


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("name", ["eigh", "eigvalsh", "svd", "svdvals", "pinv", "matrix_rank", "cond"])
def test_matrices_that_are_not_finite(name, bad):
    a = np.eye(3)
    a[1, 0] = a[0, 1] = bad
    with pytest.raises(np.linalg.LinAlgError, match=r"not finite.*test_spectra.py"):
        out = getattr(tg.linalg, name)(tg.tensor(a))
        (out[0] if isinstance(out, tuple) else out).numpy()


@pytest.mark.parametrize(
    ("call", "error", "match"),
    [
        (lambda: tg.linalg.eigh(tg.ones((2, 3))), ValueError, "eigh: .*square"),
        (lambda: tg.linalg.eigh(tg.ones((2, 2)), UPLO="X"), ValueError, "eigh: UPLO"),
        (lambda: tg.linalg.eigvalsh(tg.ones(2)), ValueError, "eigvalsh"),
        (lambda: tg.linalg.svd(tg.ones(2)), ValueError, "svd: at least two axes"),
        (lambda: np.linalg.svd(tg.ones((2, 2)), hermitian=True), TypeError, "svd: .*'hermitian'"),
        (lambda: np.linalg.pinv(tg.ones((2, 2)), hermitian=True), TypeError, "pinv: .*'hermitian'"),
        (
            lambda: np.linalg.matrix_rank(tg.ones((2, 2)), hermitian=True),
            TypeError,
            "matrix_rank: .*'hermitian'",
        ),
        (lambda: np.linalg.qr(tg.ones((2, 2)), mode="raw"), ValueError, "qr: mode 'raw'"),
        (lambda: tg.linalg.pinv(tg.ones((2, 2)), 1e-3, rtol=1e-3), TypeError, "pinv"),
        (lambda: tg.linalg.pinv(tg.ones((2, 2)), rtol=[1e-3, 1e-3]), ValueError, "pinv"),
        (lambda: tg.linalg.matrix_rank(tg.ones((2, 2)), 1e-3, rtol=1e-3), TypeError, "matrix_rank"),
        (lambda: tg.linalg.matrix_norm(tg.ones((2, 2)), ord="max"), ValueError, "matrix_norm"),
        (lambda: tg.linalg.norm(tg.ones((2, 2)), 3), ValueError, "norm"),
        (lambda: tg.linalg.norm(tg.ones((2, 2, 2)), 2), ValueError, "norm"),
        (lambda: tg.linalg.cond(tg.ones((0, 2))), np.linalg.LinAlgError, "cond"),
        (lambda: tg.linalg.cond(tg.ones((3, 2)), 1), ValueError, "cond: .*square"),
        (lambda: tg.linalg.matrix_power(tg.ones((2, 3)), 2), ValueError, "matrix_power"),
        (lambda: tg.linalg.matrix_power(tg.ones((2, 2)), 0.5), TypeError, "matrix_power"),
        (lambda: tg.linalg.multi_dot([tg.ones((2, 2))]), ValueError, "multi_dot"),
        (lambda: tg.linalg.multi_dot([tg.ones((2, 3)), tg.ones((2, 3))]), ValueError, "multi_dot"),
        (lambda: tg.cross(tg.ones(2), tg.ones(2)), ValueError, "cross"),
        (lambda: tg.linalg.lstsq(tg.ones((3, 2)), tg.ones(2)), ValueError, "lstsq"),
        (lambda: tg.linalg.expm(tg.ones((3, 2))), ValueError, "expm"),
        (lambda: tg.linalg.tensorsolve(tg.ones((2, 3)), tg.ones(2)), ValueError, "tensorsolve"),
        (lambda: tg.linalg.tensorinv(tg.ones((2, 3)), 1), ValueError, "tensorinv"),
    ],
)
def test_errors(call, error, match):
    with pytest.raises(error, match=match):
        call()


# --- transforms and replays -----------------------------------------------------------------------


FUNCTIONS = {
    "eigh": lambda a: tg.linalg.eigh(a + a.mT)[1][..., 0] ** 2,
    "eigvalsh": lambda a: tg.linalg.eigvalsh(a + a.mT),
    "svd": lambda a: tg.linalg.svd(a)[0][..., 0] ** 2,
    "svdvals": lambda a: tg.linalg.svdvals(a[..., :2]),
    "qr": lambda a: tg.linalg.qr(a)[1],
    "pinv": lambda a: tg.linalg.pinv(a[..., :2]),
    "lstsq": lambda a: tg.linalg.lstsq(a[..., :2], a[..., 2:])[0],
    "expm": tg.linalg.expm,
    "nuc": lambda a: tg.linalg.matrix_norm(a, ord="nuc"),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_vmap_and_compile(name):
    f = FUNCTIONS[name]
    a = RNG.standard_normal((4, 3, 3))
    expected = np.stack([f(tg.tensor(m)).numpy() for m in a])
    close(tg.vmap(f)(a), expected, rtol=1e-10, atol=1e-12)
    gradient = tg.grad(lambda m: tg.sum(f(m) ** 2))
    each = np.stack([gradient(m) for m in a])
    close(tg.vmap(gradient)(a), each, rtol=1e-8, atol=1e-10)
    compiled = tg.compile(gradient)
    for m, g in zip(a, each, strict=True):
        close(compiled(m), g, rtol=1e-8, atol=1e-10)
    assert compiled.stats().recordings == 1


def test_saved_tapes(tmp_path):
    def f(a):
        w, v = tg.linalg.eigh(a + a.mT)
        return tg.sum(w**3) + tg.sum(v[0] ** 4) + tg.sum(tg.linalg.expm(a)) + tg.sum(tg.linalg.pinv(a[:, :2]))

    compiled = tg.compile(tg.value_and_grad(f))
    a = RNG.standard_normal((3, 3))
    value, g = compiled(a)
    compiled.save(tmp_path / "f.tape")
    again = tg.load(tmp_path / "f.tape")(a)
    assert again[0] == value
    equal(again[1], g)


# --- NumPy's spellings ----------------------------------------------------------------------------


def same(got, expected):
    got = got if isinstance(got, tuple) else (got,)
    expected = expected if isinstance(expected, tuple) else (expected,)
    for g, e in zip(got, expected, strict=True):
        assert isinstance(g, tg.Tensor)
        close(g.numpy(), e, rtol=1e-10, atol=1e-12)


def test_numpy_dispatch():
    a, b = RNG.standard_normal((4, 3)), RNG.standard_normal(4)
    s = symmetric(3)
    x, y = tg.tensor(a), tg.tensor(s)
    same(np.linalg.svd(x, full_matrices=False), tuple(np.linalg.svd(a, full_matrices=False)))
    same(np.linalg.svd(x, compute_uv=False), np.linalg.svd(a, compute_uv=False))
    same(np.linalg.svdvals(x), np.linalg.svdvals(a))
    same(np.linalg.qr(x), tuple(np.linalg.qr(a)))
    same(np.linalg.qr(x, "r"), np.linalg.qr(a, "r"))
    same(np.linalg.eigh(y, UPLO="U"), tuple(np.linalg.eigh(s, UPLO="U")))
    same(np.linalg.eigvalsh(y, "U"), np.linalg.eigvalsh(s, "U"))
    same(np.linalg.pinv(x, rcond=1e-10), np.linalg.pinv(a, rcond=1e-10))
    same(np.linalg.lstsq(x, b, rcond=None), np.linalg.lstsq(a, b, rcond=None))
    same(np.linalg.matrix_rank(x, 1e-3), np.linalg.matrix_rank(a, 1e-3))
    same(np.linalg.matrix_power(y, 3), np.linalg.matrix_power(s, 3))
    same(np.linalg.multi_dot([x, y, a.T]), np.linalg.multi_dot([a, s, a.T]))
    same(np.linalg.cond(x), np.linalg.cond(a))
    same(np.linalg.norm(x, 2), np.linalg.norm(a, 2))
    same(np.linalg.matrix_norm(x, ord="nuc"), np.linalg.matrix_norm(a, ord="nuc"))
    same(np.linalg.cross(y, s[0]), np.linalg.cross(s, s[0]))
    same(np.linalg.trace(y, offset=1), np.linalg.trace(s, offset=1))
    same(np.linalg.diagonal(y, offset=1), np.linalg.diagonal(s, offset=1))
    same(np.linalg.outer(y[0], s[1]), np.linalg.outer(s[0], s[1]))
    same(np.linalg.vecdot(y, s), np.linalg.vecdot(s, s))
    same(np.linalg.matrix_transpose(x), np.linalg.matrix_transpose(a))


def test_named_results():
    x = tg.tensor(symmetric(3))
    assert tg.linalg.eigh(x)._fields == ("eigenvalues", "eigenvectors")
    assert tg.linalg.svd(x)._fields == ("U", "S", "Vh")
    assert tg.linalg.qr(x)._fields == ("Q", "R")
    assert tg.linalg.slogdet(x)._fields == ("sign", "logabsdet")
