"""Fourier transforms: values at any length, NumPy's arguments and errors, derivatives, accuracy."""

import itertools

import numpy as np
import pytest

import tapegrad as tg
from tapegrad.ops import fft as plans
from tapegrad.testing import check_grads

RNG = np.random.default_rng(0)
NORMS = ["backward", "ortho", "forward"]
LENGTHS = [
    *range(1, 41), 49, 64, 72, 74, 77, 88, 96, 100, 101, 121, 128, 143, 144, 169, 200, 243, 256, 320, 343,
    448, 500, 512, 576, 600, 625, 640, 997, 1000, 1009, 1024, 2018, 2187, 3125, 4096, 5040,
]  # fmt: skip
LINES = ["fft", "ifft", "rfft", "ihfft"]
HALVES = ["irfft", "hfft"]
SEVERAL = ["fftn", "ifftn", "rfftn", "irfftn", "fft2", "ifft2", "rfft2", "irfft2"]


def drawn(shape, dtype="complex128"):
    x = RNG.standard_normal(shape)
    return (x + 1j * RNG.standard_normal(shape) if np.dtype(dtype).kind == "c" else x).astype(dtype)


def operand(name, shape, dtype="complex128"):
    """What a function takes: real numbers, if it takes nothing else."""
    real = name in ("rfft", "ihfft", "rfftn", "rfft2", "ihfftn", "ihfft2")
    return drawn(shape, {"complex128": "float64", "complex64": "float32"}[dtype] if real else dtype)


def close(got, expected, tolerance=1e-14):
    got = got.detach().numpy() if isinstance(got, tg.Tensor) else got
    assert got.shape == expected.shape and got.dtype == expected.dtype
    size = np.sqrt(np.mean(np.abs(expected) ** 2)) if expected.size else 1.0
    np.testing.assert_allclose(got, expected, rtol=tolerance, atol=10 * tolerance * max(size, 1e-300))


# --- values ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", LENGTHS)
def test_every_length(n):
    """Alone, beside others along the last axis, along the first, and in between."""
    shapes = [((n,), 0), ((11, n), 1), ((n, 3), 0), ((n, 17), 0), ((2, n, 5), 1)]
    for (shape, axis), name in itertools.product(shapes if n < 1200 else shapes[:2], ["fft", "ifft", "rfft"]):
        x = operand(name, shape)
        close(getattr(tg.fft, name)(x, axis=axis), getattr(np.fft, name)(x, axis=axis))
        z = drawn(shape[:axis] + (n // 2 + 1,) + shape[axis + 1 :])
        close(tg.fft.irfft(z, n, axis), np.fft.irfft(z, n, axis))


def test_tables_are_as_large_as_kernels_take_them_to_be():
    for n, real in itertools.product([*LENGTHS, 65536, 30030, 510510, 1000003], (False, True)):
        if n < 10_000:
            table = plans._tables.get(n, real, np.dtype("complex128"))
            assert table.size == plans.table_size(n, real)
        assert 0 <= plans.table_size(n, real) < 9 * n + 200


def test_roots_are_correctly_rounded():
    mpmath = pytest.importorskip("mpmath")
    for n in (1, 2, 3, 7, 12, 360, 1009):
        roots = plans._roots(n).astype(np.complex128)
        with mpmath.workdps(40):
            exact = [mpmath.expjpi(mpmath.mpf(-2 * k) / n) for k in range(n)]
        for got, z in zip(roots, exact, strict=True):
            for a, b in ((got.real, z.real), (got.imag, z.imag)):
                assert abs(mpmath.mpf(float(a)) - b) <= mpmath.mpf(2) ** -53 * abs(b) * 1.01 + 1e-30


@pytest.mark.parametrize("name", LINES + HALVES)
@pytest.mark.parametrize("norm", [None, *NORMS])
@pytest.mark.parametrize("n", [None, 1, 2, 5, 6, 9])
def test_lengths_and_norms(name, norm, n):
    for axis in (0, 1, -1):
        x = operand(name, (4, 6, 3))
        ours, numpys = (getattr(f, name)(x, n=n, axis=axis, norm=norm) for f in (tg.fft, np.fft))
        close(ours, numpys)


@pytest.mark.parametrize("name", LINES + HALVES)
@pytest.mark.parametrize("dtype, tolerance", [("float32", 1e-6), ("complex64", 1e-6), ("int64", 1e-14)])
def test_dtypes(name, dtype, tolerance):
    x = np.arange(-7, 5) if dtype == "int64" else drawn(12, dtype)
    if dtype == "complex64" and name in ("rfft", "ihfft"):
        return
    scipy_fft = pytest.importorskip("scipy.fft")  # before version 2, NumPy has no single precision
    expected = getattr(scipy_fft, name)(x)
    got = getattr(tg.fft, name)(tg.tensor(x))
    assert got.dtype == expected.dtype
    close(got, expected, tolerance)
    assert getattr(tg.fft, name)(tg.tensor(x[:4] > 0) if dtype == "int64" else x).dtype == expected.dtype


@pytest.mark.parametrize("name", [*SEVERAL, "hfftn", "ihfftn", "hfft2", "ihfft2"])
@pytest.mark.parametrize("norm", NORMS)
def test_several_axes(name, norm):
    scipy_fft = pytest.importorskip("scipy.fft")
    library = scipy_fft if name.startswith(("h", "ih")) else np.fft
    cases = [
        {},
        {"axes": (1, 0)},
        {"axes": (-1, 0)},
        {"s": (3, 5), "axes": (0, 2)},
        {"s": (4, 2), "axes": (2, 0)},
    ]
    if name.endswith("n"):
        cases += [{"axes": (0,)}, {"axes": (1, 2, 0)}, {"s": (2, 6, 5), "axes": (0, 1, 2)}]
        if library is np.fft:
            cases += [{"axes": (0, 0)}]
        if library is np.fft and np.lib.NumpyVersion(np.__version__) >= "2.0.0":
            cases += [{"s": (-1, 4), "axes": (0, 1)}, {"s": (4, -1), "axes": (0, 1)}]
    for case in cases:
        x = operand(name, (3, 4, 5))
        close(getattr(tg.fft, name)(x, norm=norm, **case), getattr(library, name)(x, norm=norm, **case))


def test_lengths_without_axes_are_of_the_last_ones():
    x = drawn((3, 4, 5))
    close(tg.fft.fftn(x, (2, 6)), np.fft.fftn(x, (2, 6), axes=(-2, -1)))
    close(tg.fft.rfftn(x.real, [6]), np.fft.rfftn(x.real, [6], axes=(-1,)))


def test_empty_batches():
    for shape in ((0, 4), (4, 0)):
        axis = shape.index(4)
        close(tg.fft.fft(drawn(shape), axis=axis), np.zeros(shape, complex))
        assert tg.fft.irfft(drawn(shape), 6, axis).shape == tuple(6 if n == 4 else n for n in shape)
        assert tg.fft.rfft(np.zeros(shape), axis=axis).shape == tuple(3 if n == 4 else n for n in shape)


@pytest.mark.parametrize("n", [1, 2, 3, 4, 5, 8, 9, 16])
def test_frequencies(n):
    for d in (1.0, 0.1, 3):
        close(tg.fft.fftfreq(n, d), np.fft.fftfreq(n, d), 0)
        close(tg.fft.rfftfreq(n, d=d), np.fft.rfftfreq(n, d), 0)
    assert tg.fft.fftfreq(n, dtype=tg.float32).dtype == np.float32
    assert tg.fft.rfftfreq(n, dtype=tg.float32, device="cpu").dtype == np.float32
    check_grads(lambda d: tg.fft.fftfreq(n, d), [np.array(0.5)], order=2)


def test_shifts():
    x = drawn((4, 5, 3))
    for axes in (None, 0, -1, (0, 2), [1], ()):
        for name in ("fftshift", "ifftshift"):
            expected = getattr(np.fft, name)(x, axes)
            np.testing.assert_array_equal(getattr(tg.fft, name)(x, axes).numpy(), expected)
    assert tg.fft.fftshift(3.0).item() == 3.0


def test_numpys_functions_come_here():
    x = tg.tensor(drawn((4, 6), "float64"), requires_grad=True)
    for name in (*LINES, *HALVES, *SEVERAL, "fftshift", "ifftshift"):
        got = getattr(np.fft, name)(x)
        assert isinstance(got, tg.Tensor) and got.requires_grad
        close(got, getattr(np.fft, name)(x.detach().numpy()))
    close(
        np.fft.rfft(x, axis=0, n=7, norm="ortho"), np.fft.rfft(x.detach().numpy(), axis=0, n=7, norm="ortho")
    )


# --- errors ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("error, match, call", [
    (ValueError, r"fft: invalid number of data points \(0\)", lambda x: tg.fft.fft(x, 0)),
    (ValueError, r"irfft: invalid number of data points \(-1\)", lambda x: tg.fft.irfft(x, n=-1)),
    (ValueError, r"irfft: invalid number of data points \(0\)", lambda x: tg.fft.irfft(x[:1])),
    (ValueError, r"fft: invalid number of data points \(0\)", lambda x: tg.fft.fft(x[:0])),
    (TypeError, "rfft: n must be an integer", lambda x: tg.fft.rfft(x, 2.5)),
    (np.exceptions.AxisError, "fft", lambda x: tg.fft.fft(x, axis=1)),
    (np.exceptions.AxisError, "fft", lambda x: tg.fft.fft(1.0)),
    (np.exceptions.AxisError, "fftn", lambda x: tg.fft.fftn(x, axes=(0, 1))),
    (np.exceptions.AxisError, "fft2", tg.fft.fft2),
    (np.exceptions.AxisError, "fftshift", lambda x: tg.fft.fftshift(x, 1)),
    (ValueError, "ihfft: invalid norm 'unitary'", lambda x: tg.fft.ihfft(x, norm="unitary")),
    (ValueError, "fftn: invalid norm", lambda x: tg.fft.fftn(x, norm="unitary")),
    (TypeError, "^rfft: the operand must be real, not complex", lambda x: tg.fft.rfft(x * 1j)),
    (TypeError, "^ihfft: the operand must be real, not complex", lambda x: tg.fft.ihfft(x * 1j)),
    (TypeError, "^rfftn: the operand must be real, not complex", lambda x: tg.fft.rfftn(x * 1j)),
    (TypeError, "fft: the argument 'out'", lambda x: tg.fft.fft(x, out=np.zeros(4, complex))),
    (TypeError, "'out'", lambda x: np.fft.fft(x, out=np.zeros(4, complex))),
    (ValueError, r"fftn: shape \(2, 3\) and axes \(0,\) have", lambda x: tg.fft.fftn(x, (2, 3), (0,))),
    (ValueError, "rfftn: at least one axis", lambda x: tg.fft.rfftn(x, axes=())),
    (TypeError, "fft: cannot use", lambda x: tg.fft.fft("text")),
    (ValueError, "fftfreq: n should be an integer", lambda x: tg.fft.fftfreq(2.5)),
    (ValueError, "fftfreq: n must be at least 1", lambda x: tg.fft.fftfreq(0)),
    (ValueError, "rfftfreq: device", lambda x: tg.fft.rfftfreq(4, device="gpu")),
    (TypeError, "rfftfreq: dtype", lambda x: tg.fft.rfftfreq(4, dtype=tg.int64)),
])  # fmt: skip
def test_errors(error, match, call):
    with pytest.raises(error, match=match):
        call(tg.tensor([1.0, 2.0, 3.0, 4.0]))


def test_no_axes_at_all():
    x = drawn((2, 3))
    np.testing.assert_array_equal(tg.fft.fftn(x, axes=()).numpy(), x)
    assert tg.fft.fftn(2.0).item() == 2.0


# --- accuracy -------------------------------------------------------------------------------------


def exact(x):
    """The transform in NumPy's longest precision, by the definition for short lengths."""
    n = len(x)
    if n > 2048:
        return np.fft.fft(x.astype(np.clongdouble))
    k = np.arange(n)
    return plans._roots(n)[np.outer(k, k) % n] @ x.astype(np.clongdouble)


@pytest.mark.skipif(np.finfo(np.longdouble).nmant < 60, reason="no precision beyond float64")
@pytest.mark.parametrize(
    "n", [2, 3, 5, 7, 11, 31, 37, 101, 509, 997, 1009, 360, 1000, *(2**k for k in range(3, 17))]
)
def test_accuracy(n):
    """The largest error, in roundings of the root mean square, grows no faster than a logarithm."""
    worst, worst_real = 0.0, 0.0
    for _ in range(3):
        z = drawn(n)
        expected = exact(z)
        size = float(np.sqrt(np.mean(np.abs(expected) ** 2)))
        worst = max(worst, float(np.abs(tg.fft.fft(z).numpy() - expected).max()) / size)
        expected = exact(z.real.copy())[: n // 2 + 1]
        size = float(np.sqrt(np.mean(np.abs(expected) ** 2)))
        worst_real = max(worst_real, float(np.abs(tg.fft.rfft(z.real).numpy() - expected).max()) / size)
    bound = np.finfo(float).eps * (1.0 + np.log2(n))
    assert worst < bound and worst_real < bound


# --- derivatives ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", LINES + HALVES)
@pytest.mark.parametrize("n", [1, 2, 3, 8, 64, 74])
def test_derivatives(name, n):
    """By every way there is, at lengths of every kind of kernel."""
    function = getattr(tg.fft, name)
    x = operand(name, (n // 2 + 1 if name in HALVES else n,))
    check_grads(lambda x: tg.sin(function(x, n)), [x], order=2, modes=("rev", "fwd"))


@pytest.mark.parametrize("name", LINES + HALVES)
@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("n", [None, 4, 5, 8, 9])
def test_gradients_are_those_of_torch(name, norm, n):
    """What stands for two is counted twice; imaginary parts that are taken for zero, not at all."""
    torch = pytest.importorskip("torch")
    for length in (5, 6):
        a = operand(name, (2, length))
        x, t = tg.tensor(a, requires_grad=True), torch.tensor(a, requires_grad=True)
        y, u = getattr(tg.fft, name)(x, n=n, norm=norm), getattr(torch.fft, name)(t, n=n, norm=norm)
        w = drawn(tuple(u.shape), "complex128" if u.is_complex() else "float64")
        y.backward(tg.tensor(w))
        u.backward(torch.tensor(w))
        np.testing.assert_allclose(
            y.detach().numpy(), u.detach().resolve_conj().numpy(), rtol=1e-12, atol=1e-12
        )
        np.testing.assert_allclose(x.grad.numpy(), t.grad.resolve_conj().numpy(), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("name", [*SEVERAL, "hfftn", "ihfftn", "hfft2", "ihfft2"])
@pytest.mark.parametrize("norm", NORMS)
def test_gradients_along_several_axes_are_those_of_torch(name, norm):
    torch = pytest.importorskip("torch")
    for s, axes in ((None, (0, 2)), ((4, 5), (2, 1)), ((5, 4), (1, 0)), ((2, 3), (-1, -2))):
        a = operand(name, (3, 4, 5))
        x, t = tg.tensor(a, requires_grad=True), torch.tensor(a, requires_grad=True)
        y = getattr(tg.fft, name)(x, s=s, axes=axes, norm=norm)
        u = getattr(torch.fft, name)(t, s=s, dim=axes, norm=norm)
        w = drawn(tuple(u.shape), "complex128" if u.is_complex() else "float64")
        y.backward(tg.tensor(w))
        u.backward(torch.tensor(w))
        np.testing.assert_allclose(
            y.detach().numpy(), u.detach().resolve_conj().numpy(), rtol=1e-12, atol=1e-12
        )
        np.testing.assert_allclose(x.grad.numpy(), t.grad.resolve_conj().numpy(), rtol=1e-10, atol=1e-10)


def test_second_derivatives_are_those_of_jax():
    jax = pytest.importorskip("jax")
    jax.config.update("jax_enable_x64", True)

    def loss(np_, fft):
        return lambda x: (
            np_.sum(np_.log1p(np_.abs(fft.rfft(x * x, n=7)) ** 2)) + fft.irfft(x[:3] + 1j, 5)[1] ** 3
        )

    x = drawn(6, "float64")
    expected = jax.hessian(loss(jax.numpy, jax.numpy.fft))(x)
    np.testing.assert_allclose(tg.hessian(loss(tg, tg.fft))(x), expected, rtol=1e-10, atol=1e-10)


def test_jacobian_of_a_real_transform():
    """Unrolled by every transform: each column is the transform of a unit vector."""
    x = drawn(6, "float64")
    for jacobian in (tg.jacfwd, tg.jacrev):
        got = jacobian(lambda x: tg.view_as_real(tg.fft.rfft(x)))(x)
        whole = np.fft.rfft(np.eye(6)).T
        np.testing.assert_allclose(got, np.stack([whole.real, whole.imag], axis=1), atol=1e-14)


@pytest.mark.parametrize("name", LINES + HALVES)
def test_vmap(name):
    function = getattr(tg.fft, name)
    x = operand(name, (3, 4, 6))
    expected = np.stack([getattr(np.fft, name)(a, axis=0) for a in x])
    got = tg.vmap(lambda a: function(a, axis=0))(x)
    close(got, expected)
    rows = tg.vmap(tg.vmap(function))(x)
    close(rows, getattr(np.fft, name)(x))

    def loss(a):
        return tg.sum(tg.abs(function(a, axis=0)) ** 2)

    every = tg.vmap(tg.grad(loss))(x)
    close(every, np.stack([tg.grad(loss)(a) for a in x]), 1e-12)


# --- compiled and saved ---------------------------------------------------------------------------


def whitened(x, w):
    spectrum = tg.fft.rfft(x, axis=0, norm="ortho")
    filtered = tg.fft.irfft(spectrum * tg.exp(-w)[:, None], n=x.shape[0], axis=0)
    return tg.sum(filtered**4) + tg.sum(tg.abs(tg.fft.fft2(x)))


def test_compiled(tmp_path):
    plain = tg.value_and_grad(whitened, argnums=(0, 1))
    fast = tg.compile(plain)
    for _ in range(4):
        x, w = drawn((10, 3), "float64"), drawn(6, "float64")
        (a, (b, c)), (d, (e, f)) = fast(x, w), plain(x, w)
        assert a == pytest.approx(d, rel=1e-13)
        np.testing.assert_allclose(b, e, rtol=1e-11)
        np.testing.assert_allclose(c, f, rtol=1e-11)
    assert fast.stats().replays == 3
    fast.save(tmp_path / "f.tape")
    again = tg.load(tmp_path / "f.tape")
    np.testing.assert_array_equal(again(x, w)[1][0], b)


def test_large_batches_are_shared_by_threads():
    x = drawn((600, 1000))
    z = x.real.copy()
    before = tg.get_num_threads()
    results = []
    try:
        for threads in (1, 3):
            tg.set_num_threads(threads)
            results.append([tg.fft.fft(x).numpy(), tg.fft.rfft(z).numpy(), tg.fft.irfft(x, 900).numpy()])
    finally:
        tg.set_num_threads(before)
    for one, three, expected in zip(
        *results, [np.fft.fft(x), np.fft.rfft(z), np.fft.irfft(x, 900)], strict=True
    ):
        np.testing.assert_array_equal(one, three)
        close(one, expected)


def test_tables_are_forgotten():
    """Ever-changing lengths do not fill the memory."""
    tables = plans._Tables(300_000)
    for n in range(64, 1000, 3):
        tables.get(n, False, np.dtype("complex128"))
        assert tables.used <= 300_000
        assert tables.used == sum(t.nbytes for t in tables.known.values())
    assert len(tables.known) > 2
    for n in (1 << 15, 3 << 14, 5 << 13):
        last = tables.get(n, False, np.dtype("complex128"))
        assert last.nbytes > 300_000 and tables.get(n, False, np.dtype("complex128")) is last
    assert len(tables.known) == 2
