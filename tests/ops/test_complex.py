"""Complex operands: every row and every public function takes them and is right, or refuses them."""

import cmath
import pickle
from contextlib import nullcontext

import numpy as np
import pytest
from references import OLD, reference_value

import tapegrad as tg
from tapegrad.ops.table import PUBLIC, Domain, Kind, rows
from tapegrad.testing import check_grads, draw, draw_sample, row_function
from tapegrad.testing.table import draw_row

ELEMENTWISE = [row for row in rows if row.kind is Kind.ELEMENTWISE and row.dtype_rule != "bits"]
TAKING = [row for row in ELEMENTWISE if row.complex]
CASES = [
    (entry, sample)
    for entry in PUBLIC.values()
    for sample in entry.samples
    if entry.reference is not None and sample.dtype == "float64"
]
PLAIN = Domain(-1.75, 1.75)


def several(out):
    return [part for o in out for part in several(o)] if isinstance(out, (tuple, list)) else [out]


def by_name(table):
    return pytest.mark.parametrize("row", table, ids=[row.name for row in table])


def complex_operands(row, shape=(2, 3), dtype="complex128"):
    return draw_row(row, [shape] * row.arity, np.random.default_rng(0), dtype)


# --- rows -----------------------------------------------------------------------------------------


@by_name(TAKING)
@pytest.mark.parametrize("dtype", ["complex128", "complex64"])
def test_value(row, dtype):
    if OLD and row.name == "sign":
        pytest.skip("NumPy 1 has another sign of complex numbers")
    operands = complex_operands(row, dtype=dtype)
    got = row_function(row)(*map(tg.tensor, operands)).numpy()
    wide = [a.astype(np.complex128) if a.dtype.kind == "c" else a for a in operands]
    if row.dtype_rule == "cast:complex128" or not row.dtype_rule.startswith("cast"):
        with np.errstate(all="ignore"):
            try:
                expected = np.asarray(row.reference(*wide))
            except TypeError:
                assert row.name == "sigmoid", "SciPy's is for real numbers only"
                expected = 1.0 / (1.0 + np.exp(-wide[0]))
        assert got.dtype.kind == expected.dtype.kind
        if dtype == "complex64" and got.dtype.kind in "fc" and not row.dtype_rule.startswith("cast"):
            assert got.dtype in (np.float32, np.complex64)
        rtol = 1e-14 if dtype == "complex128" else 2e-6
        np.testing.assert_allclose(got, expected, rtol=rtol, atol=rtol)


ROUNDING = ("astype_float32", "astype_complex64")  # their differences are noise
HISTORIES = ("replace_value",)  # whose derivative is not that of its value


@by_name([row for row in TAKING if any(row.rules) and row.name not in (*ROUNDING, *HISTORIES)])
def test_derivatives(row):
    check_grads(row_function(row), complex_operands(row), order=2, modes=("rev", "fwd"))


@by_name([row for row in ELEMENTWISE if not row.complex])
def test_refused(row):
    with pytest.raises(TypeError, match=row.name):
        row_function(row)(*map(tg.tensor, complex_operands(row)))


@pytest.mark.parametrize("name", ["exp", "log", "sqrt", "sinh", "cosh", "tanh", "sin", "cos", "tan"])
@pytest.mark.parametrize("name_of_part", ["real", "imag"])
def test_special_values(name, name_of_part):
    """As Python's cmath and NumPy where the standard leaves no choice: signed zeros and infinities."""
    reference = getattr(np, name)
    numbers = [0.0, -0.0, 1.0, -1.0, np.inf, -np.inf]
    z = np.array([complex(x, y) for x in numbers for y in (0.0, -0.0, 1.5, -1.5)])
    if name in ("sin", "cos", "tan"):
        z = np.array([complex(w.imag, w.real) for w in z])
        z = z[np.isfinite(z.imag)]
    with np.errstate(all="ignore"):
        expected = reference(z)
    got = getattr(tg, name)(tg.tensor(z)).numpy()
    e, g = getattr(expected, name_of_part), getattr(got, name_of_part)
    known = ~np.isnan(e)
    np.testing.assert_allclose(g[known], e[known], rtol=1e-14)
    assert (np.signbit(g[known]) == np.signbit(e[known])).all()


NAN, INF, HALF = float("nan"), float("inf"), np.pi / 2


@pytest.mark.parametrize(
    ("name", "z", "expected"),
    [  # C99, annex G, and the array API standard
        ("acos", (0.0, NAN), (HALF, NAN)),
        ("acos", (-INF, NAN), (NAN, INF)),
        ("acos", (NAN, INF), (NAN, -INF)),
        ("asin", (NAN, -INF), (NAN, -INF)),
        ("asinh", (NAN, 0.0), (NAN, 0.0)),
        ("atanh", (-0.0, NAN), (-0.0, NAN)),
        ("atanh", (INF, NAN), (0.0, NAN)),
        ("atanh", (NAN, -INF), (0.0, -HALF)),
        ("cosh", (INF, INF), (INF, NAN)),
        ("sinh", (-INF, NAN), (-INF, NAN)),
        ("sinh", (0.0, INF), (0.0, NAN)),
        ("tanh", (2.0, INF), (NAN, NAN)),
        ("tanh", (0.0, INF), (0.0, NAN)),
        ("tanh", (-INF, INF), (-1.0, 0.0)),
        ("tanh", (NAN, 0.0), (NAN, 0.0)),
        ("exp", (-INF, NAN), (0.0, 0.0)),
        ("exp", (INF, INF), (INF, NAN)),
        ("expm1", (-0.0, 0.0), (0.0, 0.0)),
        ("sqrt", (-INF, NAN), (NAN, INF)),
        ("sqrt", (NAN, INF), (INF, INF)),
        ("log", (-INF, INF), (INF, 1.5 * HALF)),
        ("log", (-0.0, 0.0), (-INF, 2 * HALF)),
        ("sign", (-0.0, -0.0), (0.0, 0.0)),
    ],
)
def test_numbers_that_are_not_finite(name, z, expected):
    got = getattr(tg, name)(tg.tensor(complex(*z))).item()
    for part, wanted in zip((got.real, got.imag), expected, strict=True):
        assert part == pytest.approx(wanted, nan_ok=True)
        assert wanted != wanted or np.signbit(part) == np.signbit(wanted)


@pytest.mark.parametrize("name", ["asin", "acos", "atan", "asinh", "acosh", "atanh", "log", "sqrt"])
def test_branch_cuts(name):
    """Both sides of every cut, told apart by the sign of zero; the parts each to a few roundings."""
    xs = [-1e200, -30.0, -2.5, -1.0, -0.75, -1e-9, 0.0, 1e-9, 0.75, 1.0 + 1e-9, 2.5, 30.0, 1e200]
    z = [complex(x, y) for x in xs for y in (0.0, -0.0, 1e-12, 0.5, -40.0)]
    if name in ("atan", "asinh"):
        z = [complex(-w.imag, w.real) for w in z]
    got = getattr(tg, name)(tg.tensor(np.array(z))).numpy()
    for w, g in zip(z, got.tolist(), strict=True):
        if w in {"atanh": (1, -1), "atan": (1j, -1j), "log": (0,)}.get(name, ()):
            continue  # poles
        e = getattr(cmath, name)(w)
        assert g.real == pytest.approx(e.real, rel=2e-14, abs=1e-26), w
        assert g.imag == pytest.approx(e.imag, rel=2e-14, abs=1e-26), w


def test_large_and_small_numbers():
    z = np.array([1e300 + 1e300j, 1e-300 - 1e-300j, 710.0 + 1e-3j, 1e308j])
    for name in ("sqrt", "log", "exp"):
        with np.errstate(all="ignore"):
            expected = getattr(np, name)(z)
        got = getattr(tg, name)(tg.tensor(z)).numpy()
        known = np.isfinite(expected)
        np.testing.assert_allclose(got[known], expected[known], rtol=1e-13)
    got = (tg.tensor(z) / tg.tensor(z)).numpy()
    np.testing.assert_allclose(got, 1.0, rtol=1e-14)
    with np.errstate(all="ignore"):
        np.testing.assert_array_equal((tg.tensor([1.0 + 1j]) / 0.0).numpy(), np.array([1.0 + 1j]) / 0.0)


# --- public functions -----------------------------------------------------------------------------


@pytest.mark.parametrize(("entry", "sample"), CASES, ids=[f"{e.name}-{k}" for k, (e, _) in enumerate(CASES)])
def test_public_function(entry, sample):
    """NumPy's value and right derivatives, or a TypeError that says that complex numbers are refused."""
    operands, bind = draw_sample(sample, np.random.default_rng(0), "complex128")
    try:
        out = bind(entry.function)(*map(tg.tensor, operands))
        values = [o.numpy() for o in several(out)]
    except (TypeError, ValueError) as error:
        assert "complex" in str(error), error
        return
    try:
        expected = reference_value(entry, bind, operands)
    except TypeError:  # the reference is for real numbers only; derivatives are checked all the same
        expected = values
    for got, wanted in zip(values, several(expected), strict=True):
        assert got.dtype.kind == np.asarray(wanted).dtype.kind
        np.testing.assert_allclose(got, wanted, rtol=1e-11, atol=1e-11)
    if entry.name in ("linalg.eigh", "linalg.svd"):
        return  # phases of vectors have no derivative: test_complex_linalg.py
    if entry.differentiable and sample.differentiable:
        check_grads(bind(entry.function), operands, order=2, modes=("rev", "fwd"))


# --- dtypes, constants, conversion ----------------------------------------------------------------


@pytest.mark.parametrize("first", ["bool", "int32", "int64", "float32", "float64", "complex64", "complex128"])
@pytest.mark.parametrize("second", ["float32", "complex64", "complex128"])
def test_promotion(first, second):
    x, y = np.ones(2, first), np.ones(2, second)
    assert (tg.tensor(x) * tg.tensor(y)).dtype == (x * y).dtype
    assert tg.result_type(x, y) == np.result_type(x, y)


@pytest.mark.parametrize("dtype", ["bool", "int64", "float32", "float64", "complex64"])
def test_complex_numbers_are_weak(dtype):
    x = np.ones(2, dtype)
    for number in (2j, 1.0 + 0j):
        got, expected = tg.tensor(x) * number, x * number
        assert got.dtype == expected.dtype
        np.testing.assert_array_equal(got.numpy(), expected)
        np.testing.assert_array_equal((number - tg.tensor(x[:1] * 1)).numpy(), number - x[:1] * 1)


@pytest.mark.parametrize("wanted", ["bool", "int16", "uint8", "float32", "float64", "complex64"])
def test_casts(wanted):
    z = np.array([1.75 - 2j, 0j, 3j])
    with np.errstate(all="ignore"):
        expected = z.real.astype(wanted) if wanted != "bool" else z.astype(bool)
        expected = z.astype(wanted) if wanted.startswith("complex") else expected
    quiet = wanted == "bool" or wanted.startswith("complex")
    with nullcontext() if quiet else pytest.warns(np.exceptions.ComplexWarning):
        np.testing.assert_array_equal(tg.astype(tg.tensor(z), wanted).numpy(), expected)
    back = tg.astype(tg.tensor(np.arange(3).astype(wanted)), "complex128")
    np.testing.assert_array_equal(back.numpy(), np.arange(3).astype(wanted).astype(complex))


def test_creation():
    assert tg.tensor([1.0 + 2j, 3]).dtype == np.complex128
    assert tg.zeros(2, dtype=tg.complex64).dtype == np.complex64
    assert tg.full((2,), 1j).dtype == np.complex128
    assert tg.ones_like(tg.tensor([1j])).tolist() == [1.0 + 0j]
    assert tg.tensor(2.5j).item() == 2.5j
    assert complex(tg.tensor(1.0 + 2j)) == 1.0 + 2j
    assert bool(tg.tensor(1j)) and not bool(tg.tensor(0j))
    with pytest.raises(TypeError):
        float(tg.tensor(1j))


def test_real_tensors_take_no_complex_values():
    x = tg.tensor([1.0, 2.0])
    with pytest.raises(TypeError, match="setitem: complex values do not fit"):
        x[0] = 1j
    with pytest.raises(TypeError, match="copy_: complex values"):
        x.copy_(tg.tensor([1j, 2j]))
    with pytest.raises(RuntimeError, match="complex128 can't be cast to the desired output type float64"):
        x += 1j
    z = tg.tensor([1j, 2j])
    z[0] = 5.0
    z *= x
    assert z.tolist() == [5.0, 4j] and x.tolist() == [1.0, 2.0]
    assert x.real is x and x.imag.tolist() == [0.0, 0.0]


def test_printing():
    assert repr(tg.tensor([1.0 + 2j, -0.5 - 1j])) == "tensor([ 1.0000+2.j, -0.5000-1.j])"
    assert "complex64" in repr(tg.tensor([1j], dtype=tg.complex64))


def test_pickle():
    x = tg.tensor([1.0 + 2j], requires_grad=True)
    again = pickle.loads(pickle.dumps(x))
    assert again.tolist() == x.tolist() and again.requires_grad


# --- the convention -------------------------------------------------------------------------------


def test_gradient_is_the_conjugate_wirtinger_derivative():
    """As in PyTorch: for a real loss L(x + iy) it is dL/dx + i dL/dy, the direction of steepest ascent."""
    z = tg.tensor(3.0 - 4j, requires_grad=True)
    tg.square(tg.abs(z)).backward()
    assert z.grad.item() == pytest.approx(6.0 - 8j)
    z.grad = None
    (z * (2.0 + 1j)).real.backward()
    assert z.grad.item() == pytest.approx(2.0 - 1j)
    assert tg.grad(lambda z: (z * (2.0 + 1j)).real)(1j) == pytest.approx(2.0 - 1j)


def test_a_complex_loss_needs_a_cotangent():
    z = tg.tensor([1j], requires_grad=True)
    with pytest.raises(RuntimeError, match="real scalar outputs but got complex128"):
        (z * z).backward()
    (z * z).backward(tg.tensor([1.0 + 0j]))
    assert z.grad.tolist() == [-2j]


def test_hooks_see_gradients():
    seen = []
    z = tg.tensor([1.0 + 2j], requires_grad=True)
    y = z * 1j
    y.register_hook(lambda g: seen.append(g.numpy().copy()))
    z.register_hook(lambda g: g * 2.0)
    for create in (False, True):
        z.grad = None
        (y * (2.0 + 1j)).real.sum().backward(retain_graph=True, create_graph=create)
        np.testing.assert_allclose(seen[-1], [2.0 - 1j])
        np.testing.assert_allclose(z.grad.detach().numpy(), 2.0 * np.conj([(2.0 + 1j) * 1j]))


def test_functions_of_users_see_gradients():
    class Square(tg.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x * x

        @staticmethod
        def backward(ctx, g):
            (x,) = ctx.saved_tensors
            return g * tg.conj(2.0 * x)

    z = np.array([1.0 + 2j, -0.5j])
    w = np.array([0.5 - 1j, 2.0])
    expected = tg.vjp(lambda z: z * z, z)[1](w)[0]
    np.testing.assert_allclose(tg.vjp(Square.apply, z)[1](w)[0], expected)
    np.testing.assert_allclose(tg.jvp(Square.apply, (z,), (w,))[1], 2.0 * z * w)


def test_transforms():
    z, w = draw(PLAIN, (4,), np.random.default_rng(0), "complex128"), np.array([1j, 2.0, -1.0, 0.5 - 1j])

    def f(z):
        return tg.exp(z) * tg.conj(z)

    _, t = tg.jvp(f, (z,), (w,))
    np.testing.assert_allclose(t, np.exp(z) * z.conj() * w + np.exp(z) * w.conj())
    _, vjp = tg.vjp(f, z)
    (g,) = vjp(w)
    # <w, J t> = <J* w, t> in the real inner product
    np.testing.assert_allclose((w.conj() * t).sum().real, (g.conj() * w).sum().real)
    both = tg.vmap(lambda z: tg.sum(f(z)))(np.stack([z, 2 * z]))
    np.testing.assert_allclose(both[1], (np.exp(2 * z) * (2 * z).conj()).sum())
    with pytest.raises(TypeError, match=r"an argument has dtype complex128.*view_as_real"):
        tg.jacobian(f)(z)
    with pytest.raises(TypeError, match="real, imag or abs"):
        tg.grad(lambda z: tg.sum(f(z)))(z)


def test_compiled_functions():
    rng = np.random.default_rng(0)

    def f(z, w):
        u = tg.exp(z) * w + tg.conj(z) / (1.0 + w * w)
        return tg.sum(tg.abs(u @ tg.sin(w[:, None] * 1j))) + (tg.sum(z * w) * 2.0).real

    plain = tg.value_and_grad(f, argnums=(0, 1))
    fast = tg.compile(plain)
    for _ in range(3):
        z, w = (draw(PLAIN, (5,), rng, "complex128") for _ in range(2))
        for got, expected in zip(np.concatenate(fast(z, w)[1]), np.concatenate(plain(z, w)[1]), strict=True):
            assert got == pytest.approx(expected, rel=1e-13)
    assert fast.stats().replays == 2

    scalar = tg.compile(lambda z: tg.abs(z) if z else tg.abs(z) + 5.0)
    assert [scalar(z) for z in (1j, 0j, 2.0 + 0j)] == [1.0, 5.0, 2.0]


def test_saved(tmp_path):
    fast = tg.compile(lambda z: tg.sum(tg.abs(z * (1.0 + 1j))))
    z = np.array([1.0, 1j])
    value = fast(z)
    fast.save(tmp_path / "f.tape")
    assert tg.load(tmp_path / "f.tape")(z) == value


def test_large_arrays_agree_with_numpy():
    rng = np.random.default_rng(0)
    z = rng.normal(size=100_000) + 1j * rng.normal(size=100_000)
    x = tg.tensor(z, requires_grad=True)
    y = tg.sum(tg.exp(x) * x)
    np.testing.assert_allclose(y.item(), (np.exp(z) * z).sum(), rtol=1e-12)
    y.real.backward()
    np.testing.assert_allclose(x.grad.numpy(), np.conj(np.exp(z) * (1 + z)), rtol=1e-13)


@pytest.mark.parametrize("dtype", ["complex64", "complex128"])
def test_unbroadcasting(dtype):
    rng = np.random.default_rng(1)
    a = (rng.normal(size=(300, 40)) + 1j * rng.normal(size=(300, 40))).astype(dtype)
    for shape in ((40,), (300, 1), (1,), ()):
        b = (rng.normal(size=shape) + 1j * rng.normal(size=shape)).astype(dtype)
        y = tg.tensor(b, requires_grad=True)
        (tg.tensor(a) * y).real.sum().backward()
        axes = tuple(k for k in range(2) if len(shape) < 2 - k or shape[k - 2 + len(shape)] == 1)
        expected = a.conj().astype(np.complex128).sum(axis=axes).reshape(shape)
        rtol = 1e-4 if dtype == "complex64" else 1e-12
        np.testing.assert_allclose(y.grad.numpy(), expected, rtol=rtol, atol=10 * rtol)
