"""The branch-free functions against 40 digits, over their whole range; and that they vectorise."""

from __future__ import annotations

import ctypes
import platform
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tapegrad import _jit
import tapegrad.kernels.scalar as v
from tapegrad.kernels.memory import TO, T, array

mpmath = pytest.importorskip("mpmath")
mp = mpmath.mp.clone()
mp.dps = 40

INF = np.inf
COUNT = 1500
LIMIT = 2.0  # ulp

OP: Callable = abs


def loop(n, out, x):
    o, a = array(out, n, TO), array(x, n, T)
    for i in range(n):
        o[i] = OP(a[i])
    return 0


def compiled(function: Callable, x: np.ndarray) -> np.ndarray:
    names = {"T": np.float64, "TO": np.float64, "OP": _jit._device(function, {})}
    address = _jit.kernel(f"test_vector_math_{function.__name__}", loop, 3, names)
    out = np.empty_like(x)
    ctypes.CFUNCTYPE(ctypes.c_int64, *[ctypes.c_int64] * 3)(address)(len(x), out.ctypes.data, x.ctypes.data)
    return out


def plain(function: Callable, x: np.ndarray) -> np.ndarray:
    with np.errstate(all="ignore"):
        return np.array([function(value) for value in x])


def around(low: float, high: float) -> Callable:
    return lambda rng: rng.uniform(low, high, COUNT)


def magnitudes(low: float, high: float, signed: bool = True) -> Callable:
    """Magnitudes spread evenly on a logarithmic scale."""

    def draw(rng: np.random.Generator) -> np.ndarray:
        x = np.exp(rng.uniform(np.log(low), np.log(high), COUNT))
        return x * rng.choice([-1.0, 1.0], COUNT) if signed else x

    return draw


def near_multiples(rng: np.random.Generator) -> np.ndarray:
    return rng.integers(1, 636000, COUNT) * (np.pi / 2)


def near_one(rng: np.random.Generator) -> np.ndarray:
    return 1.0 + magnitudes(1e-16, 0.3)(rng)


SMALL = magnitudes(5e-324, 1.0)
SMALL_PART = magnitudes(1e-20, 0.9)
TRIG = (around(-4.0, 4.0), around(-1e6, 1e6), near_multiples, magnitudes(1e-300, 1e6))
POSITIVE = (around(0.0, 4.0), magnitudes(5e-324, 1e308, signed=False), near_one)
CASES: dict[str, tuple[Callable, Callable, tuple]] = {
    "exp": (v.exp, mp.exp, (around(-2.0, 2.0), around(-745.0, 709.7), SMALL)),
    "exp2": (v.exp2, lambda x: mp.mpf(2) ** x, (around(-2.0, 2.0), around(-1074.0, 1023.9), SMALL)),
    "expm1": (v.expm1, mp.expm1, (around(-2.0, 2.0), around(-50.0, 709.7), SMALL)),
    "log": (v.log, mp.log, POSITIVE),
    "log2": (v.log2, lambda x: mp.log(x) / mp.log(2), POSITIVE),
    "log1p": (
        v.log1p,
        mp.log1p,
        (around(-0.999, 4.0), magnitudes(1e-20, 0.9), magnitudes(1e-3, 1e308, False)),
    ),
    "tanh": (v.tanh, mp.tanh, (around(-1.0, 1.0), around(-25.0, 25.0), SMALL)),
    "sigmoid": (v.sigmoid, lambda x: 1 / (1 + mp.exp(-x)), (around(-40.0, 40.0), around(-740.0, 0.0))),
    "softplus": (v.softplus, lambda x: mp.log1p(mp.exp(x)), (around(-3.0, 3.0), around(-700.0, 50.0))),
    "sin": (v.sin_near, mp.sin, TRIG),
    "cos": (v.cos_near, mp.cos, TRIG),
    "tan": (v.tan_near, mp.tan, TRIG),
    "sinh": (v.sinh, mp.sinh, (around(-2.0, 2.0), around(-710.4, 710.4), SMALL)),
    "cosh": (v.cosh, mp.cosh, (around(-2.0, 2.0), around(-710.4, 710.4), SMALL)),
    "atan": (v.atan, mp.atan, (around(-3.0, 3.0), magnitudes(1.0, 1e308), SMALL)),
    "erf": (v.erf, mp.erf, (around(-2.0, 2.0), around(-6.5, 6.5), SMALL)),
    "erfc": (v.erfc, mp.erfc, (around(-6.0, 2.0), around(0.0, 27.2), SMALL)),
    "ndtr": (v.ndtr, lambda x: mp.erfc(-x / mp.sqrt(2)) / 2, (around(-2.0, 8.0), around(-38.4, 2.0), SMALL)),
}


def errors(actual: np.ndarray, x: np.ndarray, exact: Callable) -> np.ndarray:
    """Errors in units of the last place, denormals included."""
    out = []
    for value, result in zip(x, actual):
        true = exact(mp.mpf(float(value)))
        out.append(float(abs(mp.mpf(float(result)) - true) / mp.mpf(float(np.spacing(abs(float(true)))))))
    return np.array(out)


@pytest.mark.parametrize("name", CASES)
def test_within_two_ulp(name: str) -> None:
    function, exact, draws = CASES[name]
    rng = np.random.default_rng(7)
    x = np.concatenate([draw(rng) for draw in draws])
    error = errors(compiled(function, x), x, exact)
    assert error.max() <= LIMIT, (float(x[error.argmax()]), float(error.max()))
    few = x[:: len(x) // 200]
    assert errors(plain(function, few), few, exact).max() <= LIMIT + 0.5  # nothing fused


@pytest.mark.parametrize("name", ["atan2", "hypot"])
def test_two_operands_within_two_ulp(name: str) -> None:
    function = getattr(v, name)
    exact = mp.atan2 if name == "atan2" else lambda x, y: mp.sqrt(x * x + y * y)
    rng = np.random.default_rng(9)
    pairs = [(around(-3.0, 3.0)(rng), around(-3.0, 3.0)(rng)), (SMALL(rng), SMALL(rng))]
    x = magnitudes(1e-300, 1e307)(rng)
    pairs += [(x, x * around(-3.0, 3.0)(rng))]
    for xs, ys in pairs:
        for x, y in zip(xs[::3], ys[::3]):
            true = exact(mp.mpf(float(x)), mp.mpf(float(y)))
            out = function(x, y)
            spacing = mp.mpf(float(np.spacing(abs(float(true)))))
            assert abs(mp.mpf(float(out)) - true) <= LIMIT * spacing, (x, y, out)


SPECIAL: list[tuple[Callable, float, float]] = [
    (v.exp, 0.0, 1.0),
    (v.exp, -0.0, 1.0),
    (v.exp, INF, INF),
    (v.exp, -INF, 0.0),
    (v.exp, 709.782712893384, 1.7976931348622732e308),
    (v.exp, 709.7827128933841, INF),
    (v.exp, -745.1332191019411, 5e-324),
    (v.exp, -746.0, 0.0),
    (v.exp, 1e300, INF),
    (v.exp2, 10.0, 1024.0),
    (v.exp2, -1074.0, 5e-324),
    (v.exp2, 1024.0, INF),
    (v.expm1, -0.0, -0.0),
    (v.expm1, 5e-324, 5e-324),
    (v.expm1, -INF, -1.0),
    (v.expm1, -1e5, -1.0),
    (v.expm1, INF, INF),
    (v.log, 1.0, 0.0),
    (v.log, 0.0, -INF),
    (v.log, -0.0, -INF),
    (v.log, INF, INF),
    (v.log, -1.0, np.nan),
    (v.log, -INF, np.nan),
    (v.log2, 2.0**-1074, -1074.0),
    (v.log2, 8.0, 3.0),
    (v.log2, 0.0, -INF),
    (v.log1p, -1.0, -INF),
    (v.log1p, -0.0, -0.0),
    (v.log1p, 5e-324, 5e-324),
    (v.log1p, INF, INF),
    (v.log1p, -2.0, np.nan),
    (v.log1p, 1.7976931348623157e308, 709.782712893384),
    (v.tanh, -0.0, -0.0),
    (v.tanh, INF, 1.0),
    (v.tanh, -INF, -1.0),
    (v.tanh, -1e300, -1.0),
    (v.sigmoid, 0.0, 0.5),
    (v.sigmoid, -INF, 0.0),
    (v.sigmoid, INF, 1.0),
    (v.softplus, -INF, 0.0),
    (v.softplus, INF, INF),
    (v.softplus, 1000.0, 1000.0),
    (v.sin_near, 0.0, 0.0),
    (v.sin_near, -0.0, -0.0),
    (v.sin_near, 5e-324, 5e-324),
    (v.cos_near, -0.0, 1.0),
    (v.tan_near, -0.0, -0.0),
    (v.erf, -0.0, -0.0),
    (v.erf, INF, 1.0),
    (v.erf, -INF, -1.0),
    (v.erfc, 0.0, 1.0),
    (v.erfc, INF, 0.0),
    (v.erfc, -INF, 2.0),
    (v.ndtr, 0.0, 0.5),
    (v.ndtr, -INF, 0.0),
    (v.ndtr, INF, 1.0),
]


@pytest.mark.parametrize("run", [plain, compiled])
def test_special_values(run: Callable) -> None:
    for function, x, desired in SPECIAL:
        actual = run(function, np.array([x]))[0]
        same = np.isnan(actual) if np.isnan(desired) else actual == desired
        assert same and (np.isnan(desired) or np.signbit(actual) == np.signbit(desired)), (
            function,
            x,
            actual,
        )
    for function in {f for f, _, _ in SPECIAL}:
        assert np.isnan(run(function, np.array([np.nan]))[0]), function


def test_tile_and_single_element_agree() -> None:
    """The vector body of a loop and its scalar remainder give the same bits."""
    x = np.random.default_rng(1).uniform(-3.0, 3.0, 67)
    for function, _, _ in CASES.values():
        whole = compiled(function, x)
        single = np.concatenate([compiled(function, x[i : i + 1].copy()) for i in range(len(x))])
        np.testing.assert_array_equal(whole, single, err_msg=function.__name__)


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="reads x86 assembly")
@pytest.mark.parametrize("name", CASES)
def test_loops_are_vectorised(name: str) -> None:
    names: dict[str, Any] = {"T": np.float64, "TO": np.float64, "OP": _jit._device(CASES[name][0], {})}
    key = f"test_vector_math_assembly_{name}"
    if _jit.CACHE_DIR is not None:
        (_jit.CACHE_DIR / f"{key}.kernel").unlink(missing_ok=True)  # machine code has no assembly text
    _jit.kernel(key, loop, 3, names)
    assembly = _jit._libraries[key][0].get_asm_str()
    assert any(f"{op}pd" in assembly for op in ("vmul", "mul", "vfmadd213", "vfmadd231", "vfmadd132"))
    assert any(f"v{op}pd" in assembly for op in ("add", "sub")) or "addpd" in assembly
