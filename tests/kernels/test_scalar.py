"""Every elementwise row: its scalar function against its reference, in plain Python and compiled."""

from __future__ import annotations

import ctypes
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import scipy.special
from digits import is_special

import tapegrad.ops.namespace  # noqa: F401  (fills the table)
from tapegrad.engine.kernel_table import FORWARD, elementwise_out, library
from tapegrad.ops.table import ROWS, Kind, Row
from tapegrad.spec import DTYPES, dtype_index

SPECIAL = [
    0.0,
    -0.0,
    1.0,
    -1.0,
    0.5,
    -0.5,
    1.5,
    2.0,
    -2.5,
    3.0,
    10.0,
    -40.0,
    100.0,
    709.0,
    -700.0,
    1e5,
    np.inf,
]
SPECIAL += [-np.inf, np.nan, 1e-3, -1e-8, 1e-20, 1.0 + 2.0**-20, 1.0 - 2.0**-20, -1.0 + 2.0**-20]
EXTREME = {"float64": [5e-324, -1e-310, 2.2250738585072014e-308, 1.7976931348623157e308, -1e300]}
EXTREME["float32"] = [1e-45, -1e-40, 1.1754944e-38, 3.4028235e38, -1e30]
INTEGERS = [0, 1, 2, 3, 5, 7, 8, 31, 63, 64, 100, 127]
EXACT_ULP = 0
# the references' own errors; test_math.py compares with 40 digits
ULP = {
    "logit": 8,
    "gelu": 200,
    "ndtr": 200,
    "silu": 4,
    "erfc": 100,
    "lgamma": 1e7,
    "digamma": 40,
    "trigamma": 40,
    "zeta": 200,
}
DEFAULT_ULP = 3

# Kernels of special functions are held to more digits than SciPy has: test_special_math.py.
ELSEWHERE = [r for r in ROWS.values() if r.kind is Kind.ELEMENTWISE and is_special(r)]
FLOATING = [
    r
    for r in ROWS.values()
    if r.kind is Kind.ELEMENTWISE and r.dtype_rule not in ("bits", "logical") and r not in ELSEWHERE
]
INTEGRAL = [
    r
    for r in ROWS.values()
    if r.kind is Kind.ELEMENTWISE and r.dtype_rule in ("same", "bits", "bool", "test")
]


def result_dtype(row: Row, dtype: np.dtype) -> np.dtype:
    return elementwise_out(row, dtype)


def operands(row: Row, dtype: np.dtype, count: int = 300) -> list[np.ndarray]:
    """Special values, all pairs of them for two operands, then random ones inside the domain."""
    rng = np.random.default_rng(sum(map(ord, row.name)))
    if dtype.kind == "f":
        special = np.array(SPECIAL + EXTREME[dtype.name], dtype)
    else:
        info = np.iinfo(dtype)
        special = np.array([*INTEGERS, info.min, info.max], dtype)
        if dtype.kind == "i":
            special = np.concatenate([special, -special[1:8]])
    if row.arity == 1:
        columns = [special]
    elif row.arity == 2:
        columns = [c.ravel() for c in np.meshgrid(special, special)]
    else:
        columns = [np.resize(np.roll(special, k), 3 * len(special)) for k in (0, 7, 11)]
    out = []
    for column, domain in zip(columns, row.domain):
        if dtype.kind == "f":
            reach = 5.0 if row.name in ("erfc", "ndtr", "gelu") else 30.0  # SciPy errs in their tails
            low, high = max(domain.low, -reach), min(domain.high, reach)
            column = np.concatenate([column, rng.uniform(low, high, count).astype(dtype)])
        out.append(np.ascontiguousarray(column))
    if row.dtype_rule == "where":
        out[0] = (out[0] > 0).astype(np.uint8)
    if row.name == "power" and dtype.kind in "iu":
        out[1] = np.abs(out[1]) % dtype.type(12)
    if row.name == "lgamma":
        out[0] = out[0][(np.abs(out[0]) > 1e-300) & (out[0] > -np.inf)]  # SciPy: -inf at -inf, inf at 1e-310
    if row.name in ("digamma", "trigamma"):
        out[0] = out[0][(out[0] > 0) | (np.abs(out[0] - np.rint(out[0])) > 1e-3)]
    if row.name == "zeta":
        keep = (out[0] < 1e30) & (out[1] > 0)  # cancellation, and NaN for large numbers
        out = [column[keep] for column in out]
    if row.dtype_rule.startswith("cast:") and result_dtype(row, dtype).kind in "iu":
        info = np.iinfo(result_dtype(row, dtype))  # conversions that overflow are undefined
        x = out[0]
        with np.errstate(invalid="ignore"):
            out[0] = x[np.isfinite(x) & (np.trunc(x) >= info.min) & (np.trunc(x) <= info.max // 2)]
    return out


def expected(row: Row, columns: list[np.ndarray], dtype: np.dtype) -> np.ndarray:
    assert row.reference is not None
    if dtype.kind in "iu" and row.name in ("floor", "ceil", "trunc", "round"):
        return columns[0]  # NumPy 1 returns float64
    if dtype == np.float32 and row.dtype_rule == "float" and row.name != "nextafter":
        columns = [c.astype(np.float64) for c in columns]
    with np.errstate(all="ignore"):
        return np.asarray(row.reference(*columns)).astype(result_dtype(row, dtype))


def plain(row: Row, columns: list[np.ndarray], dtype: np.dtype) -> np.ndarray:
    assert row.forward is not None
    forward: Callable = row.forward
    if dtype.kind in "iu":
        forward = getattr(forward, "integer", forward)  # those for float32: test_math.py
    out = np.empty(len(columns[0]), result_dtype(row, dtype))
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for i, values in enumerate(zip(*columns)):
            out[i] = forward(*values)
    return out


def compiled(row: Row, columns: list[np.ndarray], dtype: np.dtype) -> np.ndarray:
    out = np.zeros(len(columns[0]), result_dtype(row, dtype))
    library.refresh()
    address = library.address(row.op, dtype_index[dtype], FORWARD, dtype_index[out.dtype])
    call = ctypes.CFUNCTYPE(ctypes.c_int64, *[ctypes.c_int64] * 5)(address)
    pointers = [c.ctypes.data for c in columns] + [0] * (3 - len(columns))
    assert call(len(out), out.ctypes.data, *pointers) == 0
    return out


def ulps(actual: np.ndarray, desired: np.ndarray) -> np.ndarray:
    """Distance in units of the last place; infinite where NaN, infinity or the sign of zero differ."""
    with np.errstate(all="ignore"):
        spacing = np.spacing(np.abs(desired))
        distance = np.abs(actual - desired) / spacing
    same = (actual == desired) & (np.signbit(actual) == np.signbit(desired))
    distance = np.where(same | (np.isnan(actual) & np.isnan(desired)), 0.0, distance)
    return np.where(np.isnan(distance) | ((actual == desired) & ~same), np.inf, distance)


def compare(row: Row, columns: list[np.ndarray], actual: np.ndarray, desired: np.ndarray) -> None:
    if actual.dtype.kind == "c":
        parts = [a.view(a.real.dtype).reshape(-1, 2) for a in (actual, desired)]
        wrong = (ulps(*parts) > EXACT_ULP).any(axis=1)
    elif actual.dtype.kind != "f":
        wrong = actual != desired
        error: Any = wrong
    else:
        error = ulps(actual, desired)
        if row.name in ("maximum", "minimum", "fmax", "fmin", "clip", "relu"):
            error = np.where((actual == 0) & (desired == 0), 0.0, error)  # the sign is not specified
        exact = row.dtype_rule in ("same", "where") and row.name not in ("power",)
        wrong = error > (EXACT_ULP if exact else ULP.get(row.name, DEFAULT_ULP))
    if wrong.any():
        i = np.flatnonzero(wrong)[:8]
        shown = [tuple(c[k].item() for c in columns) + (actual[k].item(), desired[k].item()) for k in i]
        pytest.fail(f"{row.name} {actual.dtype}: {wrong.sum()} wrong, (*operands, actual, desired): {shown}")


@pytest.mark.parametrize("run", [plain, compiled])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("row", FLOATING, ids=lambda r: r.name)
def test_floating(row: Row, dtype: str, run: Callable) -> None:
    if row.name == "logit" and abs(scipy.special.logit(0.4996332219423974) + 0.0014671124935644242) > 1e-17:
        pytest.skip("this SciPy's logit loses digits near 0.5")
    columns = operands(row, np.dtype(dtype))
    compare(row, columns, run(row, columns, np.dtype(dtype)), expected(row, columns, np.dtype(dtype)))


@pytest.mark.parametrize("row", INTEGRAL, ids=lambda r: r.name)
def test_integers(row: Row) -> None:
    for dtype in (d for d in DTYPES if d.kind in "iu"):
        columns = operands(row, dtype)
        desired = expected(row, columns, dtype)
        compare(row, columns, plain(row, columns, dtype), desired)
        if dtype.name in ("int8", "uint8", "int64", "uint64"):  # the widths between add no case
            compare(row, columns, compiled(row, columns, dtype), desired)


@pytest.mark.parametrize("name", ["logical_and", "logical_or", "logical_xor", "logical_not"])
def test_logic(name: str) -> None:
    row, dtype = ROWS[name], np.dtype(bool)
    columns = [np.array(c, np.uint8) for c in ([0, 1, 0, 1], [0, 0, 1, 1])][: row.arity]
    desired = row.reference(*[c.astype(bool) for c in columns])  # type: ignore[misc]
    for run in (plain, compiled):
        np.testing.assert_array_equal(run(row, columns, dtype), desired)


RULES = [r for r in FLOATING + [r for r in ELSEWHERE if r.public] if any(r.rules)]


@pytest.mark.parametrize("row", RULES, ids=lambda r: r.name)
def test_rules_against_central_differences(row: Row) -> None:
    rng = np.random.default_rng(5)
    ends = [(d.low if d.low > -99 else min(-2.0, d.high - 2), d.high) for d in row.domain]
    columns = [rng.uniform(low, high if high < 99 else max(2.5, low + 2), 40) for low, high in ends]
    if row.dtype_rule == "where":
        columns[0] = np.where(columns[0] > 0, 1.0, 0.0)
    if row.dtype_rule.startswith("cast:") and row.dtype_rule[5:] != "float64":
        return  # steps cannot be seen through the rounding
    near = np.zeros(40, bool)
    for column, domain in zip(columns, row.domain):
        for kink in domain.avoid:
            near |= np.abs(column - kink) < 1e-3
        near |= (column - domain.low < 1e-3) | (domain.high - column < 1e-3)
    eps = 1e-6
    for k, rule in enumerate(row.rules):
        if rule is None or (row.name == "replace_value"):
            continue
        for i in np.flatnonzero(~near):
            values = [np.float64(c[i]) for c in columns]
            up, down = list(values), list(values)
            up[k], down[k] = values[k] + eps, values[k] - eps
            numeric = np.real(row.forward(*up) - row.forward(*down)) / (2 * eps)  # type: ignore[misc]
            analytic = np.real(rule(1.0, row.forward(*values), *values))  # type: ignore[misc]
            assert abs(numeric - analytic) < 2e-7 * (1 + abs(numeric)) * 10, (row.name, k, values)


@pytest.mark.parametrize(
    ("name", "k", "values", "desired"),
    [
        ("abs", 0, (0.0,), 0.0),
        ("relu", 0, (0.0,), 0.0),
        ("maximum", 0, (2.0, 2.0), 0.5),
        ("maximum", 1, (2.0, 2.0), 0.5),
        ("minimum", 0, (2.0, 2.0), 0.5),
        ("fmax", 0, (1.0, np.nan), 1.0),
        ("fmax", 1, (1.0, np.nan), 0.0),
        ("clip", 0, (1.0, 0.0, 1.0), 1.0),
        ("clip", 0, (0.0, 0.0, 1.0), 1.0),
        ("clip", 2, (2.0, 0.0, 1.0), 1.0),
        ("hypot", 0, (0.0, 0.0), 0.0),
        ("atan2", 1, (0.0, 0.0), 0.0),
        ("power", 0, (0.0, 0.0), 0.0),
        ("power", 0, (3.0, 0.0), 0.0),
        ("power", 0, (-3.0, 2.0), -6.0),
        ("power", 1, (0.0, 2.0), 0.0),
        ("power", 1, (0.0, 0.0), 0.0),
        ("xlogy", 0, (0.0, 0.0), 0.0),
        ("xlogy", 1, (0.0, 0.0), 0.0),
        ("logaddexp", 0, (-np.inf, -np.inf), 0.5),
        ("logaddexp", 0, (np.inf, 1.0), 1.0),
        ("sign", 0, (0.0,), 0.0),
        ("heaviside", 1, (0.0, 0.3), 1.0),
    ],
)
def test_policies_at_kinks(name: str, k: int, values: tuple, desired: float) -> None:
    row = ROWS[name]
    values = tuple(map(np.float64, values))
    with np.errstate(all="ignore"):
        out = row.forward(*values)  # type: ignore[misc]
        assert row.rules[k](np.float64(1.0), out, *values) == desired  # type: ignore[misc]
