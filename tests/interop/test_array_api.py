"""The array API standard, 2024.12: dtypes, rules of operators and conversions, special cases.

Its public test suite decides what is right and is run besides (docs/limits.md lists where we differ); what it
found is pinned here.
"""

import math
import operator

import numpy as np
import pytest

import tapegrad as tg

# --- inspection and devices -----------------------------------------------------------------------


def test_namespace_info():
    info = tg.__array_namespace_info__()
    assert info.capabilities() == {
        "boolean indexing": True,
        "data-dependent shapes": True,
        "max dimensions": 16,
    }
    assert info.default_device() == "cpu" and info.devices() == ["cpu"]
    defaults = info.default_dtypes(device="cpu")
    assert defaults["real floating"] == tg.asarray(0.5).dtype and defaults["integral"] == tg.asarray(1).dtype
    assert defaults["complex floating"] == tg.asarray(1j).dtype
    assert defaults["indexing"] == tg.argmax(tg.ones(2)).dtype
    assert set(info.dtypes(kind=("bool", "unsigned integer"))) == {
        "bool",
        "uint8",
        "uint16",
        "uint32",
        "uint64",
    }
    assert all(getattr(tg, name) == dtype for name, dtype in info.dtypes().items())
    for call in (info.default_dtypes, info.dtypes):
        with pytest.raises(ValueError, match="device"):
            call(device="gpu")


CREATIONS = [
    lambda **k: tg.arange(3, **k),
    lambda **k: tg.asarray([1.0], **k),
    lambda **k: tg.array([1.0], **k),
    lambda **k: tg.empty(2, **k),
    lambda **k: tg.empty_like(tg.ones(2), **k),
    lambda **k: tg.eye(2, **k),
    lambda **k: tg.from_dlpack(np.ones(2), **k),
    lambda **k: tg.full(2, 1.0, **k),
    lambda **k: tg.full_like(tg.ones(2), 1.0, **k),
    lambda **k: tg.identity(2, **k),
    lambda **k: tg.linspace(0, 1, 3, **k),
    lambda **k: tg.ones(2, **k),
    lambda **k: tg.ones_like(tg.ones(2), **k),
    lambda **k: tg.zeros(2, **k),
    lambda **k: tg.zeros_like(tg.ones(2), **k),
    lambda **k: tg.astype(tg.ones(2), tg.float32, **k),
]


@pytest.mark.parametrize("create", CREATIONS)
def test_the_only_device_is_the_cpu(create):
    assert create(device="cpu").device == create(device=None).device == "cpu"
    with pytest.raises(ValueError, match="device 'cuda' is not available"):
        create(device="cuda")


# --- dtypes ---------------------------------------------------------------------------------------

DTYPES = list(tg.__array_namespace_info__().dtypes().values())


@pytest.mark.parametrize("a", DTYPES, ids=str)
@pytest.mark.parametrize("b", DTYPES, ids=str)
def test_promotion(a, b):
    expected = np.promote_types(a, b)
    assert tg.result_type(a, b) == expected
    assert (tg.ones(1, dtype=a) * tg.ones(1, dtype=b)).dtype == expected
    assert tg.can_cast(a, b) == np.can_cast(a, b)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_python_numbers_count_for_their_kind(dtype):
    x = tg.ones(2, dtype=dtype)
    rank = "biufc".index(dtype.kind)
    for number, kind in ((True, 0), (1, 1), (1.0, 3), (1j, 4)):
        expected = (np.ones(2, dtype) * number).dtype
        assert tg.result_type(x, number) == tg.result_type(number, dtype) == expected
        assert (x * number).dtype == (number * x).dtype == tg.multiply(number, x).dtype == expected
        if kind <= max(rank - (rank == 2), 0):
            assert expected == dtype
    with pytest.raises((TypeError, OverflowError)):
        tg.result_type("text", x)


@pytest.mark.parametrize("name", ["float32", "float64", "complex64", "complex128"])
def test_finfo(name):
    dtype = getattr(tg, name)
    for what in (dtype, tg.ones(1, dtype=dtype), name):
        info, expected = tg.finfo(what), np.finfo(dtype)
        for attribute in ("eps", "max", "min", "smallest_normal"):
            value = getattr(info, attribute)
            assert type(value) is float and value == getattr(expected, attribute)
        assert (info.bits, info.dtype) == (expected.bits, expected.dtype)
        assert info.resolution == expected.resolution  # what NumPy has besides
    with pytest.raises(ValueError, match="finfo"):
        tg.finfo(tg.int32)
    with pytest.raises(ValueError, match="iinfo"):
        tg.iinfo(dtype)
    with pytest.raises(AttributeError):
        tg.finfo(dtype)._missing


@pytest.mark.parametrize("dtype", [d for d in DTYPES if d.kind in "iu"], ids=str)
def test_iinfo(dtype):
    info = tg.iinfo(dtype)
    assert (info.bits, info.min, info.max) == (8 * dtype.itemsize, np.iinfo(dtype).min, np.iinfo(dtype).max)
    assert info.dtype == dtype and type(info.max) is int


def test_isdtype():
    kinds = {
        "bool": "b", "signed integer": "i", "unsigned integer": "u", "integral": "iu", "real floating": "f",
        "complex floating": "c", "numeric": "iufc",
    }  # fmt: skip
    for dtype in DTYPES:
        for kind, letters in kinds.items():
            assert tg.isdtype(dtype, kind) is (dtype.kind in letters)
        assert tg.isdtype(dtype, ("bool", dtype)) and not tg.isdtype(dtype, ())


def test_astype_copies_unless_told():
    x = tg.ones(2)
    assert tg.astype(x, tg.float64, copy=False) is x and tg.astype(x, tg.float64) is not x
    assert tg.astype(x, tg.int8, copy=False).dtype == tg.int8


# --- operators and conversions --------------------------------------------------------------------


def test_what_operators_take():
    i, f, b = tg.ones(2, dtype=tg.int32), tg.ones(2), tg.ones(2, dtype=tg.bool)
    for op in (operator.and_, operator.or_, operator.xor):
        assert op(b, True).dtype == tg.bool and op(i, 1).dtype == tg.int32
        with pytest.raises(TypeError):
            op(f, f)
    for op in (operator.lshift, operator.rshift):
        assert op(i, 1).dtype == tg.int32
        with pytest.raises(TypeError):
            op(i, 1.0)
    with pytest.raises(TypeError):
        operator.invert(f)
    with pytest.raises(OverflowError):
        tg.ones(2, dtype=tg.int8) + 1000


@pytest.mark.parametrize("name", ["add", "sub", "mul", "pow", "floordiv", "mod"])
def test_operators_in_place_keep_the_dtype(name):
    for dtype in (tg.int8, tg.float32):
        x = tg.full(2, 3, dtype=dtype)
        y = x
        x = getattr(operator, f"i{name}")(x, 2)
        assert x is y and x.dtype == dtype
    with pytest.raises(RuntimeError, match="can't be cast"):
        z = tg.ones(2, dtype=tg.int32)
        z += 1.5


def test_numbers_of_python():
    one = tg.asarray(1)
    assert (int(one), float(one), complex(one), bool(one), operator.index(one)) == (1, 1.0, 1 + 0j, True, 1)
    assert complex(tg.asarray(1 + 2j)) == 1 + 2j and [10, 20][one] == 20
    for convert in (int, float):
        assert math.isinf(float(tg.asarray(tg.inf))) and convert(tg.asarray(True)) == 1
        with pytest.raises(TypeError):
            convert(tg.asarray(1j))
    for value in (1.0, True):
        with pytest.raises(TypeError):
            operator.index(tg.asarray(value))


BINARY = """
add atan2 copysign divide equal floor_divide greater greater_equal hypot less less_equal logaddexp maximum
minimum multiply nextafter not_equal pow remainder subtract
"""


@pytest.mark.parametrize("name", BINARY.split())
def test_functions_of_two_take_numbers_on_either_side(name):
    function, x = getattr(tg, name), tg.asarray([1.0, 2.0], dtype=tg.float32)
    for args in ((x, 2.0), (2.0, x), (x, 2)):
        out = function(*args)
        assert out.dtype in (tg.float32, tg.bool) and out.shape == (2,)
        reference = {"pow": "power", "atan2": "arctan2"}.get(name, name)
        plain = [np.asarray(a) if isinstance(a, tg.Tensor) else a for a in args]
        np.testing.assert_allclose(out.numpy(), getattr(np, reference)(*plain), rtol=1e-6)


# --- functions: what the suite found --------------------------------------------------------------


def test_products_keep_small_integers():
    x = tg.ones((2, 2), dtype=tg.uint8)
    for out in (tg.vecdot(x, x), x @ x, x[0] @ x[0], tg.tensordot(x, x), tg.inner(x, x), tg.dot(x[0], x[0])):
        assert out.dtype == tg.uint8
    assert tg.vecdot(x > 0, x > 0).dtype == tg.bool


def test_lists_and_named_tuples():
    arrays = tg.broadcast_arrays(tg.ones((2, 1)), tg.ones(3))
    assert type(arrays) is list and [a.shape for a in arrays] == [(2, 3), (2, 3)]
    assert tg.broadcast_arrays() == []
    found = tg.unique_all(tg.asarray([[3.0, 1.0], [3.0, tg.nan]]))
    assert found._fields == ("values", "indices", "inverse_indices", "counts")
    assert found.indices.tolist() == [1, 0, 3] and found.inverse_indices.tolist() == [[1, 0], [1, 2]]
    assert found.counts.tolist() == [1, 2, 1] and found.counts.dtype == tg.int64
    assert tg.unique_values(tg.asarray([tg.nan, tg.nan])).size == 2
    assert tg.unique(tg.asarray([tg.nan, tg.nan])).size == 1
    assert tg.unique_counts(tg.asarray([0.0, -0.0])).counts.tolist() == [2]
    assert tg.unique_inverse(tg.asarray(5)).inverse_indices.shape == ()


def test_spellings_beside_the_standards():
    x = tg.ones((2, 3))
    assert (
        tg.reshape(x, 3, 2).shape
        == tg.reshape(x, (3, 2)).shape
        == tg.reshape(x, shape=(3, 2)).shape
        == (3, 2)
    )
    assert tg.permute_dims(x, 1, 0).shape == tg.permute_dims(x, axes=(1, 0)).shape == (3, 2)
    assert tg.flip(x, 0).shape == tg.flip(x, axis=(0, 1)).shape == tg.flip(x, dims=0).shape == (2, 3)
    assert tg.zeros(2, 3).shape == tg.zeros((2, 3)).shape == tg.zeros(shape=(2, 3)).shape == (2, 3)
    assert tg.zeros((2,), tg.int8).dtype == tg.int8
    with pytest.raises(TypeError, match="flip"):
        tg.flip(x, 0, axis=1)
    with pytest.raises(TypeError, match="transpose"):
        tg.transpose(x, (0, 1), axes=(0, 1))
    with pytest.raises(TypeError, match="transpose"):
        x.transpose(dim0=1)


def test_include_initial_and_corrections():
    x = tg.asarray([[1.0, 2.0], [3.0, 5.0]])
    assert tg.cumulative_sum(x, axis=1, include_initial=True).tolist() == [[0.0, 1.0, 3.0], [0.0, 3.0, 8.0]]
    assert tg.cumulative_prod(x, axis=0, include_initial=True).tolist() == [
        [1.0, 1.0],
        [1.0, 2.0],
        [3.0, 10.0],
    ]
    assert tg.var(x, axis=1, correction=1).tolist() == [0.5, 2.0]
    assert tg.sum(tg.ones(3, dtype=tg.uint8)).dtype == tg.uint64
    assert tg.sum(tg.ones(3, dtype=tg.float32)).dtype == tg.float32
    assert tg.sort(x, axis=0, descending=True).tolist() == [[3.0, 5.0], [1.0, 2.0]]
    assert tg.diff(x, axis=0, prepend=tg.zeros((1, 2))).shape == (2, 2)
    assert tg.searchsorted(tg.asarray([1.0, 2.0]), tg.asarray([2.0]), side="right").dtype == tg.int64


SPECIAL = [
    ("add", (math.inf, -math.inf), math.nan),
    ("atan2", (0.0, -0.0), math.pi),
    ("copysign", (math.nan, -1.0), math.nan),
    ("divide", (1.0, -0.0), -math.inf),
    ("exp", (-math.inf,), 0.0),
    ("floor", (-0.0,), -0.0),
    ("hypot", (math.inf, math.nan), math.inf),
    ("log1p", (-1.0,), -math.inf),
    ("logaddexp", (-math.inf, -math.inf), -math.inf),
    ("maximum", (math.nan, 1.0), math.nan),
    ("nextafter", (1.0, 1.0), 1.0),
    ("pow", (1.0, math.nan), 1.0),
    ("pow", (-0.0, -1.0), -math.inf),
    ("reciprocal", (-math.inf,), -0.0),
    ("remainder", (-0.0, 1.0), 0.0),
    ("round", (-0.5,), -0.0),
    ("sign", (math.nan,), math.nan),
    ("sqrt", (-0.0,), -0.0),
    ("trunc", (-0.5,), -0.0),
]


@pytest.mark.parametrize(("name", "args", "expected"), SPECIAL)
def test_special_cases(name, args, expected):
    for dtype in (tg.float32, tg.float64):
        out = getattr(tg, name)(*[tg.asarray(a, dtype=dtype) for a in args]).item()
        if math.isnan(expected):
            assert math.isnan(out)
        else:
            assert out == pytest.approx(expected, rel=1e-6)
            assert math.copysign(1.0, out) == math.copysign(1.0, expected)


NAN, INF = math.nan, math.inf
COMPLEX = [
    ("acos", complex(0.0, NAN), complex(math.pi / 2, NAN)),
    ("asinh", complex(NAN, 0.0), complex(NAN, 0.0)),
    ("atanh", complex(0.0, NAN), complex(0.0, NAN)),
    ("atanh", complex(INF, NAN), complex(0.0, NAN)),
    ("cosh", complex(INF, INF), complex(INF, NAN)),
    ("cosh", complex(INF, NAN), complex(INF, NAN)),
    ("expm1", complex(-0.0, 0.0), complex(0.0, 0.0)),
    ("sign", complex(-0.0, -0.0), complex(0.0, 0.0)),
    ("sinh", complex(INF, INF), complex(INF, NAN)),
    ("sinh", complex(INF, NAN), complex(INF, NAN)),
    ("tanh", complex(0.0, INF), complex(0.0, NAN)),
    ("tanh", complex(0.0, NAN), complex(0.0, NAN)),
    ("tanh", complex(30.0, INF), complex(NAN, NAN)),
    ("tanh", complex(NAN, 0.0), complex(NAN, 0.0)),
]


@pytest.mark.parametrize(("name", "z", "expected"), COMPLEX)
def test_special_cases_of_complex_numbers(name, z, expected):
    for dtype in (tg.complex64, tg.complex128):
        out = getattr(tg, name)(tg.asarray(z, dtype=dtype)).item()
        for a, b in ((out.real, expected.real), (out.imag, expected.imag)):
            assert math.isnan(a) if math.isnan(b) else a == pytest.approx(b, rel=1e-6)
            assert math.isnan(b) or math.copysign(1.0, a) == math.copysign(1.0, b)


def test_floor_division_is_pythons():
    """Where the standard differs from Python and NumPy, we are with these: docs/limits.md."""
    for a, b in [(math.inf, 2.0), (-math.inf, 2.0), (5.0, -math.inf), (-5.0, math.inf), (0.0, -math.inf)]:
        np.testing.assert_equal((tg.asarray(a) // tg.asarray(b)).item(), a // b)


# --- libraries for any array ----------------------------------------------------------------------


def test_array_api_compat_knows_us():
    compat = pytest.importorskip("array_api_compat")
    x = tg.ones((2, 3), requires_grad=True)
    assert compat.is_array_api_obj(x) and compat.array_namespace(x) is tg
    assert compat.array_namespace(x, 2.0, None) is tg
    assert compat.device(x) == "cpu" and compat.to_device(x, "cpu") is x and compat.size(x) == 6
    assert not compat.is_lazy_array(x)
    with pytest.raises(TypeError, match="Multiple namespaces"):
        compat.array_namespace(x, np.ones(2))


def test_conventions_of_array_api_strict():
    strict = pytest.importorskip("array_api_strict")
    for xp in (tg, strict):
        x = xp.asarray([[4.0, 1.0], [2.0, 3.0]])
        parts = [
            xp.sum(x, axis=0, keepdims=True),
            xp.std(x, correction=1.0),
            xp.argsort(x, axis=1, descending=True),
            xp.take_along_axis(x, xp.asarray([[0], [1]]), axis=1),
            xp.cumulative_sum(x, axis=1),
            xp.repeat(x, 2, axis=0),
            xp.tile(x, (1, 2)),
            xp.unstack(x, axis=1)[1],
            xp.diff(x, axis=1),
            xp.count_nonzero(x, axis=0),
            xp.where(x > 2.0, x, 0.0),
            xp.clip(x, 1.5, 3.5),
            x.mT,
            x[..., xp.newaxis],
        ]
        arrays = [np.asarray(p.numpy() if xp is tg else p) for p in parts]
        if xp is tg:
            ours = arrays
    for a, b in zip(ours, arrays, strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_allclose(a, b, rtol=1e-15)
