"""Linear algebra of complex matrices: values, derivatives, phases, other libraries."""

import numpy as np
import pytest

import tapegrad as tg
from tapegrad.testing import check_grads

close, equal = np.testing.assert_allclose, np.testing.assert_array_equal
RNG = np.random.default_rng(0)


def drawn(*shape, dtype="complex128"):
    return (RNG.standard_normal(shape) + 1j * RNG.standard_normal(shape)).astype(dtype)


def hermitian(n, batch=(), dtype="complex128"):
    a = drawn(*batch, n, n)
    return (a + np.conj(np.swapaxes(a, -1, -2))).astype(dtype)


def turned(x):
    return x.conj().mT if isinstance(x, tg.Tensor) else np.conj(np.swapaxes(x, -1, -2))


def tolerance(dtype):
    return {"rtol": 1e-10, "atol": 1e-11} if dtype == "complex128" else {"rtol": 2e-3, "atol": 2e-3}


# --- values ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["complex128", "complex64"])
@pytest.mark.parametrize("n", [1, 4, 17, 50])
def test_square_matrices(n, dtype):
    a, b = drawn(n, n) / np.sqrt(n) + 2 * np.eye(n), drawn(n, 3)
    a, b, exact = a.astype(dtype), b.astype(dtype), a.astype(dtype).astype("complex128")
    tol = tolerance(dtype)
    close(tg.linalg.solve(a, b).numpy(), np.linalg.solve(exact, b), **tol)
    close(tg.linalg.inv(a).numpy(), np.linalg.inv(exact), **tol)
    close(tg.linalg.det(a).numpy() / np.linalg.det(exact), 1.0, **tol)
    for got, wanted in zip(tg.linalg.slogdet(a), np.linalg.slogdet(exact), strict=True):
        assert got.dtype == np.asarray(wanted).astype(dtype if wanted.dtype.kind == "c" else got.dtype).dtype
        close(got.numpy(), wanted, **tol)
    definite = a @ turned(a) + np.eye(n, dtype=dtype)
    wanted = np.linalg.cholesky(definite.astype("complex128"))
    close(tg.linalg.cholesky(definite).numpy(), wanted, **tol)
    close(tg.linalg.cholesky(definite, upper=True).numpy(), turned(wanted), **tol)
    for lower in (False, True):
        factor = tg.linalg.cho_factor(definite, lower=lower)
        wanted = np.linalg.solve(definite.astype("complex128"), b)
        close(tg.linalg.cho_solve(factor, b).numpy(), wanted, **tol)
    h = hermitian(n, (2,), dtype)
    for uplo in ("L", "U"):
        w, v = tg.linalg.eigh(h, uplo)
        assert w.dtype == np.empty(0, dtype).real.dtype and v.dtype == dtype
        w, v = w.numpy(), v.numpy().astype("complex128")
        close(v * w[:, None] @ turned(v), h, **tol)
        close(tg.linalg.eigvalsh(h, uplo).numpy(), np.linalg.eigvalsh(h.astype("complex128")), **tol)


def test_eigh_reads_one_triangle():
    a = hermitian(5)
    lower = np.tril(a) + np.triu(np.full_like(a, np.nan), 1)
    close(tg.linalg.eigvalsh(lower).numpy(), np.linalg.eigvalsh(a))
    close(tg.linalg.eigvalsh(turned(lower), UPLO="U").numpy(), np.linalg.eigvalsh(a))


@pytest.mark.parametrize("dtype", ["complex128", "complex64"])
@pytest.mark.parametrize("shape", [(4, 4), (5, 3), (3, 5), (1, 4), (40, 20), (20, 40)])
def test_rectangular_matrices(shape, dtype):
    a = drawn(2, *shape, dtype=dtype)
    m, n = shape
    k, exact, tol = min(m, n), a.astype("complex128"), tolerance(dtype)
    for full in (True, False):
        u, s, vh = tg.linalg.svd(a, full_matrices=full)
        assert s.dtype == a.real.dtype
        u, s, vh = u.numpy(), s.numpy(), vh.numpy()
        close(u[..., :k] * s[:, None] @ vh[:, :k], exact, **tol)
        close(turned(u) @ u, np.broadcast_to(np.eye(u.shape[-1]), (2, *[u.shape[-1]] * 2)), **tol)
        close(vh @ turned(vh), np.broadcast_to(np.eye(vh.shape[-2]), (2, *[vh.shape[-2]] * 2)), **tol)
    close(tg.linalg.svdvals(a).numpy(), np.linalg.svd(exact, compute_uv=False), **tol)
    for mode in ("reduced", "complete"):
        for got, wanted in zip(tg.linalg.qr(a, mode=mode), np.linalg.qr(exact, mode), strict=True):
            close(got.numpy(), wanted, **tol)
    close(tg.linalg.pinv(a).numpy(), np.linalg.pinv(exact), **tol)
    b = drawn(m, 2, dtype=dtype)
    for got, wanted in zip(tg.linalg.lstsq(a[0], b), np.linalg.lstsq(exact[0], b, rcond=None), strict=True):
        close(got.numpy(), wanted, **tol)
    for ord in ("fro", "nuc", 1, 2, -2, np.inf):
        close(tg.linalg.norm(a[0], ord).numpy(), np.linalg.norm(exact[0], ord), **tol)


@pytest.mark.parametrize("n", [3, 20])
def test_expm(n):
    import scipy.linalg

    for scale in (0.01, 0.5, 3.0):
        a = drawn(n, n) * scale / np.sqrt(n)
        close(tg.linalg.expm(a).numpy(), scipy.linalg.expm(a), rtol=1e-10, atol=1e-12)
    a = drawn(n, n).astype("complex64") / np.sqrt(n)
    close(tg.linalg.expm(a).numpy(), scipy.linalg.expm(a.astype("complex128")), rtol=1e-4, atol=1e-5)


def test_conjugate_transposed_solves():
    a, b = drawn(4, 4) + 3 * np.eye(4), drawn(4, 2)
    lower = np.tril(a)
    for trans, matrix in ((0, lower), (1, lower.T), ("T", lower.T), (2, turned(lower)), ("C", turned(lower))):
        got = tg.linalg.solve_triangular(a, b, trans=trans, lower=True).numpy()
        close(got, np.linalg.solve(matrix, b), rtol=1e-10)


def test_mixed_operands():
    a, b = drawn(3, 3), RNG.standard_normal(3)
    close(tg.linalg.solve(a, b).numpy(), np.linalg.solve(a, b), rtol=1e-10)
    close(tg.linalg.lstsq(a.real, a[0])[0].numpy(), np.linalg.lstsq(a.real, a[0], rcond=None)[0], rtol=1e-9)


def test_singular_determinants():
    a = np.outer([1.0, 1j], [2.0, 1.0])
    sign, size = tg.linalg.slogdet(a)
    assert sign.item() == 0 and size.item() == -np.inf
    assert tg.linalg.det(a).item() == 0


# --- derivatives ----------------------------------------------------------------------------------


def test_eigh_derivatives():
    def f(x):
        w, v = tg.linalg.eigh(x + turned(x))
        return w, v[..., :, :1] @ turned(v[..., :, :1]), tg.abs(v)

    check_grads(f, [drawn(2, 3, 3)], modes=("rev", "fwd"))
    check_grads(lambda x: tg.linalg.eigvalsh(x + turned(x)), [drawn(4, 4)], modes=("rev", "fwd"))


@pytest.mark.parametrize("full", [True, False])
@pytest.mark.parametrize("shape", [(3, 3), (3, 2), (2, 3), (2, 4, 2), (2, 4)])
def test_svd_derivatives(shape, full):
    def f(x):
        u, s, vh = tg.linalg.svd(x, full_matrices=full)
        k = s.shape[-1]
        pair = u[..., :, :1] @ vh[..., :1, :]  # free of phases only together
        rest = u[..., :, k:] @ turned(u[..., :, k:])
        back = turned(vh[..., k:, :]) @ vh[..., k:, :]
        return s, pair, rest, back, tg.abs(u[..., :, :k])

    check_grads(f, [drawn(*shape)], modes=("rev", "fwd"))


@pytest.mark.parametrize("shape", [(4, 2), (2, 4)])
def test_complete_qr_derivatives(shape):
    def f(x):
        q, r = tg.linalg.qr(x, mode="complete")
        k = min(shape)
        return q[:, :k], r, q[:, k:] @ turned(q[:, k:])

    check_grads(f, [drawn(*shape)], modes=("rev", "fwd"))


def test_large_derivatives():
    a = drawn(20, 20) / 5
    check_grads(lambda x: tg.linalg.cholesky(x @ turned(x) + tg.eye(20)), [a], order=1)
    check_grads(tg.linalg.expm, [a], order=1)
    check_grads(lambda x: tg.linalg.pinv(x[:, :15]), [a], order=1)
    check_grads(lambda x: tg.linalg.slogdet(x + 3 * tg.eye(20)), [a], order=1, modes=("rev", "fwd"))


TORCH = {
    "eigh": lambda t, x: (lambda w, v: (w, abs(v[:, 1]), abs(v[0])))(*t.linalg.eigh(x + x.mT.conj())),
    "svd": lambda t, x: (lambda u, s, v: (u[:, :1] * s[0] @ v[:1], abs(u)))(
        *t.linalg.svd(x, full_matrices=False)
    ),
    "qr": lambda t, x: tuple(t.linalg.qr(x)),
    "pinv": lambda t, x: (t.linalg.pinv(x),),
    "inv": lambda t, x: (t.linalg.inv(x),),
    "det": lambda t, x: (t.linalg.det(x), *t.linalg.slogdet(x)),
    "cholesky": lambda t, x: (t.linalg.cholesky(x @ x.mT.conj() + 1.0 * t.eye(x.shape[0])),),
    "nuc": lambda t, x: (t.linalg.matrix_norm(x, ord="nuc"), t.linalg.matrix_norm(x, ord=2)),
    "expm": lambda t, x: ((getattr(t.linalg, "matrix_exp", None) or t.linalg.expm)(x / 2),),
    "lstsq": lambda t, x: (t.linalg.lstsq(x, x[:, :1] * x[:, -1:])[0],),
}


@pytest.mark.parametrize("name", TORCH)
@pytest.mark.parametrize("shape", [(3, 3), (4, 3)])
def test_against_torch(name, shape):
    torch = pytest.importorskip("torch")
    if shape[0] != shape[1] and name in ("eigh", "inv", "det", "expm", "cholesky"):
        pytest.skip("square matrices only")
    a = drawn(*shape)
    out = []
    for t, x in (
        (tg, tg.tensor(a, requires_grad=True)),
        (torch, torch.tensor(a, requires_grad=True)),
    ):
        results = TORCH[name](t, x)
        loss = sum((abs(r) ** 2).sum() + abs(r - 0.5).sum() for r in results)
        loss.backward()
        out.append((loss.detach().numpy(), x.grad.numpy()))
    close(out[0][0], out[1][0], rtol=1e-10)
    close(out[0][1], out[1][1], rtol=1e-10, atol=1e-10 * np.abs(out[1][1]).max())


# --- matrices that are not symmetric ---------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float64", "float32", "complex128", "complex64"])
@pytest.mark.parametrize("n", [1, 5, 30])
def test_eig_values(n, dtype):
    a = drawn(2, n, n)
    a = (a if np.dtype(dtype).kind == "c" else a.real).astype(dtype)
    w, v = tg.linalg.eig(a)
    assert w.dtype == v.dtype == np.result_type(dtype, np.complex64)
    w, v, tol = (
        w.numpy(),
        v.numpy(),
        tolerance("complex128" if a.itemsize >= 8 and dtype != "complex64" else ""),
    )
    close(a @ v, v * w[:, None], **tol)
    close(np.linalg.norm(v, axis=-2), np.ones((2, n)), **tol)
    close(np.sort_complex(tg.linalg.eigvals(a).numpy()), np.sort_complex(w), **tol)


@pytest.mark.parametrize("real", [False, True])
def test_eig_derivatives(real):
    a = RNG.standard_normal((3, 3)) if real else drawn(3, 3)

    def f(x):
        w, v = tg.linalg.eig(x)
        projection = v[:, :1] @ tg.linalg.inv(v)[:1]
        return w, tg.abs(v), projection, tg.linalg.eigvals(x)

    check_grads(f, [a], modes=("rev", "fwd"))
    rotation = np.array([[0.3, 2.0], [-1.0, 0.5]])  # complex eigenvalues of a real matrix
    check_grads(
        lambda x: (tg.abs(tg.linalg.eig(x)[1]), tg.linalg.eigvals(x)), [rotation], modes=("rev", "fwd")
    )


@pytest.mark.parametrize("real", [False, True])
def test_eig_against_torch(real):
    torch = pytest.importorskip("torch")
    a = RNG.standard_normal((4, 4)) if real else drawn(4, 4)
    x, y = tg.tensor(a, requires_grad=True), torch.tensor(a, requires_grad=True)
    out = []
    for t, z in ((tg, x), (torch, y)):
        w, v = t.linalg.eig(z)
        loss = (abs(v[:2]) ** 3).sum() + (w * w * w).sum().real + (abs(w) ** 2).sum()
        loss.backward()
        out.append((loss.item(), z.grad.numpy()))
    close(out[0][0], out[1][0], rtol=1e-10)
    close(out[0][1], out[1][1], rtol=1e-10, atol=1e-10)


def test_eigenvalues_without_derivatives():
    gradient = tg.grad(lambda x: tg.sum(tg.linalg.eigvals(x) ** 2).real)
    close(gradient(np.eye(3)), 2 * np.eye(3))
    for f in (gradient, tg.compile(gradient)):
        with pytest.raises(np.linalg.LinAlgError, match="basis of eigenvectors"):
            f(np.array([[1.0, 1.0], [0.0, 1.0]]))
    x = tg.tensor(np.eye(2), requires_grad=True)
    with pytest.raises(np.linalg.LinAlgError, match=r"eig: eigenvectors of equal.*test_complex_linalg.py"):
        tg.abs(tg.linalg.eig(x)[1][0, 0]).backward()
    x = tg.tensor(drawn(3, 3), requires_grad=True)
    with pytest.raises(np.linalg.LinAlgError, match=r"eig: .*phases"):
        tg.sum(tg.linalg.eig(x)[1].imag).backward()
    with pytest.raises(np.linalg.LinAlgError, match="not finite"):
        tg.linalg.eigvals(np.full((2, 2), np.nan)).numpy()
    assert tg.linalg.eigvals(np.zeros((0, 0))).shape == (0,)
    assert [t.shape for t in tg.linalg.eig(np.zeros((2, 0, 0)))] == [(2, 0), (2, 0, 0)]


def test_eig_is_compiled_batched_and_dispatched():
    def f(x):
        return tg.sum(tg.abs(tg.linalg.eigvals(x)) ** 3) + tg.sum(tg.abs(tg.linalg.eig(x)[1][0]) ** 3)

    a = RNG.standard_normal((3, 3, 3))
    gradient = tg.grad(f)
    each = np.stack([gradient(m) for m in a])
    close(tg.vmap(gradient)(a), each, rtol=1e-8, atol=1e-10)
    compiled = tg.compile(gradient)
    close(np.stack([compiled(m) for m in a]), each, rtol=1e-8, atol=1e-10)
    for got, wanted in zip(np.linalg.eig(tg.tensor(a[0])), np.linalg.eig(a[0]), strict=True):
        close(got.numpy(), wanted, rtol=1e-10, atol=1e-12)


# --- where there are none -------------------------------------------------------------------------


def test_phases_have_no_derivative():
    x = tg.tensor(hermitian(3), requires_grad=True)
    with pytest.raises(np.linalg.LinAlgError, match=r"eigh: .*phases.*test_complex_linalg.py"):
        tg.sum(tg.linalg.eigh(x)[1].imag).backward()
    x = tg.tensor(drawn(3, 2), requires_grad=True)
    for f in (lambda u, s, vh: tg.sum(u.real + u.imag), lambda u, s, vh: tg.sum(vh.real + vh.imag)):
        with pytest.raises(np.linalg.LinAlgError, match=r"svd: .*phases"):
            f(*tg.linalg.svd(x, False)).backward()
    with pytest.raises(np.linalg.LinAlgError, match=r"complement"):
        tg.abs(tg.linalg.svd(tg.tensor(drawn(4, 2), requires_grad=True))[0][0, 3]).backward()


def test_ties():
    x = tg.tensor(np.eye(2) + 0j, requires_grad=True)
    tg.sum(tg.linalg.eigvalsh(x) ** 3).backward()
    close(x.grad.numpy(), 3 * np.eye(2))
    with pytest.raises(np.linalg.LinAlgError, match="equal"):
        tg.abs(tg.linalg.eigh(x)[1][0, 0]).backward()


@pytest.mark.parametrize("name", ["eigh", "eigvalsh", "svd", "svdvals", "pinv"])
def test_matrices_that_are_not_finite(name):
    a = np.eye(3) + 0j
    a[1, 0] = complex(0.0, np.inf)
    with pytest.raises(np.linalg.LinAlgError, match="not finite"):
        out = getattr(tg.linalg, name)(a)
        (out[0] if isinstance(out, tuple) else out).numpy()


@pytest.mark.parametrize("shape", [(0, 0), (0, 3), (3, 0), (0, 2, 2), (2, 0, 3)])
def test_empty_matrices(shape):
    a = np.zeros(shape, complex)
    for got, wanted in zip(tg.linalg.svd(a, False), np.linalg.svd(a, False), strict=True):
        equal(got.numpy(), wanted)
    for got, wanted in zip(tg.linalg.qr(a, mode="complete"), np.linalg.qr(a, "complete"), strict=True):
        equal(got.numpy(), wanted)
    assert tg.linalg.pinv(a).shape == np.linalg.pinv(a).shape


# --- transforms and replays -----------------------------------------------------------------------


def test_vmap_compile_and_save(tmp_path):
    def f(x):
        w, v = tg.linalg.eigh(x + turned(x))
        s = tg.linalg.svdvals(x)
        inverse = tg.linalg.pinv(x[:, :2])
        return tg.sum(w**3) + tg.sum(tg.abs(v[0]) ** 3) + tg.sum(s) + tg.sum(tg.abs(inverse))

    a = drawn(3, 3, 3)
    gradient = tg.value_and_grad(f)
    each = [gradient(m) for m in a]
    values, grads = tg.vmap(gradient)(a)
    close(values, [v for v, _ in each], rtol=1e-10)
    close(grads, np.stack([g for _, g in each]), rtol=1e-8, atol=1e-10)
    compiled = tg.compile(gradient)
    for m, (value, g) in zip(a, each, strict=True):
        got = compiled(m)
        close(got[0], value, rtol=1e-10)
        close(got[1], g, rtol=1e-8, atol=1e-10)
    assert compiled.stats().recordings == 1
    compiled.save(tmp_path / "f.tape")
    again = tg.load(tmp_path / "f.tape")(a[0])
    close(again[1], each[0][1], rtol=1e-8, atol=1e-10)
