"""Elementary functions against 45 digits, over their whole range, in both dtypes; and that they vectorise."""

from __future__ import annotations

import platform
import re
from collections.abc import Callable

import numpy as np
import pytest
from digits import COUNT, around, compiled, errors, magnitudes, mp, near, plain

import tapegrad.ops.namespace  # noqa: F401  (fills the table)
from tapegrad import _compile, _jit
from tapegrad.engine.kernel_table import library
from tapegrad.ops.table import ROWS

pytest.importorskip("mpmath")
INF = np.inf
PLAIN = 40
LIMIT = {"power": 4.0, "lgamma": 4.0, "digamma": 4.0, "trigamma": 4.0}  # ulp
DEFAULT_LIMIT = 2.0
DTYPES = ["float64", "float32"]
WEAK = np.lib.NumpyVersion(np.__version__) >= "2.0.0"  # before, Python's literals widen float32 scalars


def near_multiples(rng: np.random.Generator) -> np.ndarray:
    return rng.integers(1, 636000, COUNT) * (np.pi / 2)


def cases(dtype: str) -> dict[str, tuple[Callable, tuple]]:
    """Per function the exact one, and where arguments lie."""
    double = dtype == "float64"
    least, most = (5e-324, 1e308) if double else (1.5e-45, 3e38)
    top, bottom = (709.7, -745.0) if double else (88.7, -103.9)  # of exp
    small, every = magnitudes(least, 1.0), magnitudes(least, most, False)
    angles = (around(-4.0, 4.0), around(-1e6, 1e6), near_multiples, magnitudes(least * 100, most))
    positive = (around(0.0, 4.0), every, near(1.0, 1e-16, 0.3))
    unit = (around(-1.0, 1.0), small, around(0.9, 1.0))
    gamma = (around(0.01, 12.0), magnitudes(least * 1e17, most / 1e8, False), around(1.0, 3.0))
    ln2, ln10, root2 = mp.log(2), mp.log(10), mp.sqrt(2)
    return {
        "exp": (mp.exp, (around(-2.0, 2.0), around(bottom, top), small)),
        "exp2": (lambda x: mp.mpf(2) ** x, (around(-2.0, 2.0), around(bottom / 0.694, top / 0.694), small)),
        "expm1": (mp.expm1, (around(-2.0, 2.0), around(-50.0, top), small)),
        "log": (mp.log, positive),
        "log2": (lambda x: mp.log(x) / ln2, positive),
        "log10": (lambda x: mp.log(x) / ln10, positive),
        "log1p": (mp.log1p, (around(-0.999, 4.0), magnitudes(1e-20, 0.9), magnitudes(1e-3, most, False))),
        "sin": (mp.sin, angles),
        "cos": (mp.cos, angles),
        "tan": (mp.tan, angles),
        "asin": (mp.asin, unit),
        "acos": (mp.acos, unit),
        "atan": (mp.atan, (around(-3.0, 3.0), magnitudes(1.0, most), small)),
        "sinh": (mp.sinh, (around(-2.0, 2.0), around(-top, top), small)),
        "cosh": (mp.cosh, (around(-2.0, 2.0), around(-top, top), small)),
        "tanh": (mp.tanh, (around(-1.0, 1.0), around(-25.0, 25.0), small)),
        "asinh": (mp.asinh, (around(-3.0, 3.0), magnitudes(1.0, most), small)),
        "acosh": (mp.acosh, (around(1.0, 4.0), magnitudes(1.0, most, False), near(1.0, 1e-6, 1.0, False))),
        "atanh": (mp.atanh, (around(-0.9999, 0.9999), small, around(0.9, 0.9999))),
        "erf": (mp.erf, (around(-2.0, 2.0), around(-6.5, 6.5), small)),
        "erfc": (mp.erfc, (around(-6.0, 2.0), around(0.0, 27.2 if double else 10.05), small)),
        "ndtr": (
            lambda x: mp.erfc(-x / root2) / 2,
            (around(-2.0, 8.0), around(-38.4 if double else -14.1, 2.0), small),
        ),
        "sigmoid": (lambda x: 1 / (1 + mp.exp(-x)), (around(-40.0, 40.0), around(bottom + 5, 0.0))),
        "softplus": (lambda x: mp.log1p(mp.exp(x)), (around(-3.0, 3.0), around(bottom + 45, 50.0))),
        "cbrt": (lambda x: mp.sign(x) * mp.cbrt(abs(x)), (around(-8.0, 8.0), magnitudes(least, most))),
        "lgamma": (mp.loggamma, (*gamma, near(1.0, 1e-16, 0.3), near(2.0, 1e-16, 0.4))),
        "trigamma": (lambda x: mp.polygamma(1, x), (around(0.01, 20.0), magnitudes(1e-15, 1e15, False))),
        "digamma": (mp.digamma, (*gamma, near(1.4616321449683622, 1e-16, 0.4))),
    }


def pairs(dtype: str) -> dict[str, tuple[Callable, list]]:
    double = dtype == "float64"
    least, small, most = (5e-324, 1e-300, 1e307) if double else (1.5e-45, 1e-37, 1e37)
    reach = 709.0 if double else 88.0
    rng = np.random.default_rng(9)
    plane = [(around(-3.0, 3.0)(rng), around(-3.0, 3.0)(rng))]
    plane += [(magnitudes(least, 1.0)(rng), magnitudes(least, 1.0)(rng))]
    x = magnitudes(small, most)(rng)
    plane += [(x, x * around(-3.0, 3.0)(rng))]
    powers = [(around(0.0, 10.0)(rng), around(-5.0, 5.0)(rng))]
    for x in (magnitudes(small, most, False)(rng), around(0.5, 2.0)(rng), 1.0 + magnitudes(1e-6, 0.1)(rng)):
        x = x.astype(dtype).astype(float)  # its rounding would be felt in powers near the largest number
        powers.append((x, around(-reach, reach)(rng) / np.log(x)))
    powers += [(around(0.01, 5.0)(rng), np.full(COUNT, y)) for y in (2.0, 3.0, 0.5, -1.0, -2.0, -0.5, 1.7)]
    return {
        "atan2": (mp.atan2, plane),
        "hypot": (lambda x, y: mp.sqrt(x * x + y * y), plane),
        "power": (mp.power, powers),
    }


CASES, PAIRS = cases("float64"), pairs("float64")
EVERY = [*CASES, *PAIRS]


def check(name: str, columns: list[np.ndarray], exact: Callable) -> None:
    limit = LIMIT.get(name, DEFAULT_LIMIT)
    error = errors(compiled(name, *columns), columns, exact)
    worst = error.argmax()
    assert error[worst] <= limit, ([c[worst] for c in columns], error[worst])
    if columns[0].dtype == np.float32 and not WEAK:
        return
    few = [c[:: max(1, len(c) // PLAIN)] for c in columns]
    error = errors(plain(name, *few), few, exact)
    worst = error.argmax()
    assert error[worst] <= limit + 0.5, ("nothing fused", [c[worst] for c in few], error[worst])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", CASES)
def test_accuracy(name: str, dtype: str) -> None:
    exact, draws = cases(dtype)[name]
    rng = np.random.default_rng(7)
    with np.errstate(over="ignore"):
        x = np.concatenate([draw(rng) for draw in draws]).astype(dtype)
    check(name, [x[np.isfinite(x)]], exact)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", PAIRS)
def test_accuracy_of_two_operands(name: str, dtype: str) -> None:
    exact, drawn = pairs(dtype)[name]
    for x, y in drawn:
        check(name, [x.astype(dtype), y.astype(dtype)], exact)


def test_zeta() -> None:
    """Derivatives of digamma, of every order."""
    rng = np.random.default_rng(3)
    for s, tolerance in (
        (2.0, 1e-14),
        (3.0, 1e-13),
        (4.0, 1e-13),
        (12.0, 1e-12),
        (50.0, 1e-12),
        (1.25, 1e-12),
    ):
        x = np.concatenate([rng.uniform(0.01, 20.0, 30), rng.uniform(-6.0, 0.0, 10 if s == int(s) else 0)])
        got = compiled("zeta", np.full(len(x), s), x)
        for value, at in zip(got, x):
            if at > 0:
                true = mp.zeta(s, mp.mpf(at))
            else:
                true = sum(mp.mpf(at + k) ** -int(s) for k in range(8)) + mp.zeta(int(s), mp.mpf(at) + 8)
            assert abs(value - true) <= tolerance * abs(true) + 1e-13 * (at < 0), (s, at, value, true)


# Arguments, and what is exact there.
SPECIAL: list[tuple[str, float, float]] = [
    ("exp", 0.0, 1.0),
    ("exp", -0.0, 1.0),
    ("exp", INF, INF),
    ("exp", -INF, 0.0),
    ("exp", 1e30, INF),
    ("exp", -1e30, 0.0),
    ("exp2", 10.0, 1024.0),
    ("exp2", INF, INF),
    ("exp2", -INF, 0.0),
    ("expm1", -0.0, -0.0),
    ("expm1", -INF, -1.0),
    ("expm1", -1e5, -1.0),
    ("expm1", INF, INF),
    ("log", 1.0, 0.0),
    ("log", 0.0, -INF),
    ("log", -0.0, -INF),
    ("log", INF, INF),
    ("log", -1.0, np.nan),
    ("log", -INF, np.nan),
    ("log2", 8.0, 3.0),
    ("log2", 2.0**-140, -140.0),
    ("log2", 0.0, -INF),
    ("log10", 1000.0, 3.0),
    ("log10", 1e10, 10.0),
    ("log10", 0.0, -INF),
    ("log10", -1.0, np.nan),
    ("log10", INF, INF),
    ("log1p", -1.0, -INF),
    ("log1p", -0.0, -0.0),
    ("log1p", INF, INF),
    ("log1p", -2.0, np.nan),
    ("sin", 0.0, 0.0),
    ("sin", -0.0, -0.0),
    ("sin", INF, np.nan),
    ("cos", -0.0, 1.0),
    ("cos", -INF, np.nan),
    ("tan", -0.0, -0.0),
    ("asin", -0.0, -0.0),
    ("asin", 1.5, np.nan),
    ("asin", INF, np.nan),
    ("acos", 1.0, 0.0),
    ("acos", -2.0, np.nan),
    ("atan", -0.0, -0.0),
    ("sinh", -0.0, -0.0),
    ("sinh", -INF, -INF),
    ("cosh", -INF, INF),
    ("cosh", 0.0, 1.0),
    ("tanh", -0.0, -0.0),
    ("tanh", INF, 1.0),
    ("tanh", -1e30, -1.0),
    ("asinh", -0.0, -0.0),
    ("asinh", -INF, -INF),
    ("acosh", 1.0, 0.0),
    ("acosh", 0.5, np.nan),
    ("acosh", -INF, np.nan),
    ("acosh", INF, INF),
    ("atanh", -0.0, -0.0),
    ("atanh", -1.0, -INF),
    ("atanh", 1.0, INF),
    ("atanh", 1.5, np.nan),
    ("atanh", INF, np.nan),
    ("sigmoid", 0.0, 0.5),
    ("sigmoid", -INF, 0.0),
    ("sigmoid", INF, 1.0),
    ("softplus", -INF, 0.0),
    ("softplus", INF, INF),
    ("softplus", 1000.0, 1000.0),
    ("erf", -0.0, -0.0),
    ("erf", INF, 1.0),
    ("erf", -INF, -1.0),
    ("erfc", 0.0, 1.0),
    ("erfc", INF, 0.0),
    ("erfc", -INF, 2.0),
    ("ndtr", 0.0, 0.5),
    ("ndtr", -INF, 0.0),
    ("ndtr", INF, 1.0),
    ("cbrt", -0.0, -0.0),
    ("cbrt", -27.0, -3.0),
    ("cbrt", -INF, -INF),
    ("lgamma", 1.0, 0.0),
    ("lgamma", 2.0, 0.0),
    ("lgamma", 0.0, INF),
    ("lgamma", -0.0, INF),
    ("lgamma", -3.0, INF),
    ("lgamma", INF, INF),
    ("lgamma", -INF, INF),
    ("digamma", 0.0, -INF),
    ("digamma", -0.0, INF),
    ("digamma", -2.0, np.nan),
    ("digamma", INF, INF),
    ("trigamma", 0.0, INF),
    ("trigamma", -1.0, INF),
    ("trigamma", INF, 0.0),
]
FLOAT64_ONLY = [
    ("exp", 709.782712893384, 1.7976931348622732e308),
    ("exp", 709.7827128933841, INF),
    ("exp", -745.1332191019411, 5e-324),
    ("exp2", -1074.0, 5e-324),
    ("exp2", 1024.0, INF),
    ("expm1", 5e-324, 5e-324),
    ("log2", 2.0**-1074, -1074.0),
    ("log1p", 5e-324, 5e-324),
    ("log1p", 1.7976931348623157e308, 709.782712893384),
    ("sin", 5e-324, 5e-324),
]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("run", [plain, compiled])
def test_special_values(run: Callable, dtype: str) -> None:
    if run is plain and dtype == "float32" and not WEAK:
        pytest.skip("needs literals that are weak")
    table = SPECIAL + (FLOAT64_ONLY if dtype == "float64" else [])
    for name, x, desired in table:
        actual = run(name, np.array([x], dtype))[0]
        same = np.isnan(actual) if np.isnan(desired) else actual == desired
        signed = np.isnan(desired) or np.signbit(actual) == np.signbit(desired)
        assert same and signed, (name, x, actual)
    for name in CASES:
        assert np.isnan(run(name, np.array([np.nan], dtype))[0]), name


@pytest.mark.parametrize("dtype", DTYPES)
def test_special_powers(dtype: str) -> None:
    """C99's special cases, all pairs; and a tile with one exponent gives what a mixed one gives."""
    values = [0.0, 1.0, 2.0, 3.0, 0.5, 1.5, np.inf, 1e30, 1e-30, 2.0**24 - 1, 2.0**53 - 1]
    values = np.array([*values, *np.negative(values), np.nan], dtype)
    x, y = (a.ravel().copy() for a in np.meshgrid(values, values))
    with np.errstate(all="ignore"):
        desired = np.power(x, y)
    for run in (plain, compiled):
        got = run("power", x, y)
        np.testing.assert_allclose(got, desired, rtol=4 * np.finfo(dtype).eps)
        np.testing.assert_array_equal(np.signbit(got) | np.isnan(got), np.signbit(desired) | np.isnan(got))
    for e in values:
        with np.errstate(all="ignore"):
            desired = np.power(values, np.full_like(values, e))  # one number would take short cuts
        got = compiled("power", values, np.full_like(values, e))
        np.testing.assert_allclose(got, desired, rtol=4 * np.finfo(dtype).eps, err_msg=str(e))


@pytest.mark.parametrize("dtype", DTYPES)
def test_tile_and_single_element_agree(dtype: str) -> None:
    """The vector body of a loop and its scalar remainder give the same bits."""
    x = np.random.default_rng(1).uniform(-3.0, 3.0, 67).astype(dtype)
    y = np.random.default_rng(2).uniform(-3.0, 3.0, 67).astype(dtype)
    for name in EVERY:
        columns = [np.abs(x), y] if name in PAIRS else [x]
        whole = compiled(name, *columns)
        single = [compiled(name, *[c[i : i + 1].copy() for c in columns]) for i in range(len(x))]
        np.testing.assert_array_equal(whole, np.concatenate(single), err_msg=name)


# Instructions on several numbers at once, by architecture: the operation, then what says the dtype.
PACKED = {
    "x86_64": (r"\tv?(mul|div|fn?m(add|sub)\d+)", {"float64": r"pd\t", "float32": r"ps\t"}),
    "aarch64": (r"\tf(mul|div|mla|mls)", {"float64": r"(\.|\tv\d+\.)2d", "float32": r"(\.|\tv\d+\.)[24]s"}),
}
PACKED["AMD64"], PACKED["arm64"] = PACKED["x86_64"], PACKED["aarch64"]
RULES = [
    row.name
    for row in ROWS.values()
    if row.name in (*EVERY, "silu", "gelu", "logit", "log_sigmoid", "erfcx", "erfinv", "ndtri", "log_ndtr")
]
IN_FLOAT64 = (
    "power",
    "hypot",
    "lgamma",
    "digamma",
    "trigamma",
    "erfcx",
    "erfinv",
    "ndtri",
    "log_ndtr",
)  # at least in part, whatever the dtype


def assembly(name: str, which: int, dtype: str) -> str:
    asked = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_jit, "kernel", lambda *arguments: asked.append(arguments) or 0)
        library._build(ROWS[name], np.dtype(dtype), which, np.dtype(dtype))
    ((_, function, n_args, names),) = asked
    return _compile.assembly(function, n_args, names())


@pytest.mark.skipif(platform.machine() not in PACKED, reason="does not know this machine's assembly")
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", RULES)
def test_loops_are_vectorised(name: str, dtype: str) -> None:
    """Forward kernels and the rules of first derivatives, of every function."""
    operation, kinds = PACKED[platform.machine()]
    for which in range(1 if name == "trigamma" else 1 + ROWS[name].arity):
        wide = name in IN_FLOAT64 and dtype == "float32"
        pattern = operation + (f"({kinds['float64']}|{kinds['float32']})" if wide else kinds[dtype])
        assert re.search(pattern, assembly(name, which, dtype)), (name, which)
