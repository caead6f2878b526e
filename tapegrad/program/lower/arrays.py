"""Rows over small arrays, as operations on their elements, in the order in which the kernels compute."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from tapegrad.program.lower.choose import positions

if TYPE_CHECKING:
    from tapegrad.program.lower.scalars import Stretch
    from tapegrad.spec import Spec

__all__ = ["STRUCTURED"]

Operands = list[list[int]]  # per operand, the numbers of its elements


def _scatter_strided(s: Stretch, operands: Operands, signature: Any, raw: int, spec: Spec) -> list[int]:
    zero = s.constant(0.0)
    out = [zero] * spec.size
    (x,) = operands
    for k, n in zip(positions(signature.static, raw), x):
        # the interpreter moves single numbers, and adds others to zero
        out[k] = n if len(x) == 1 else s.add(zero, n)
    return out


def _add_strided(s: Stretch, operands: Operands, signature: Any, raw: int, spec: Spec) -> list[int]:
    out = list(operands[0])
    for k, n in zip(positions(signature.static, raw), operands[1]):
        out[k] = s.add(out[k], n)
    return out


def _clear_strided(s: Stretch, operands: Operands, signature: Any, raw: int, spec: Spec) -> list[int]:
    out = list(operands[0])
    for k in positions(signature.static, raw):
        out[k] = s.constant(0.0)
    return out


def _set_strided(s: Stretch, operands: Operands, signature: Any, raw: int, spec: Spec) -> list[int]:
    out = list(operands[0])
    for k, n in zip(positions(signature.static, raw), operands[1]):
        out[k] = n
    return out


def _concat2(s: Stretch, operands: Operands, signature: Any, raw: int, spec: Spec) -> list[int]:
    outer, n, m = signature.params[:3]
    x, y = operands
    return [a for i in range(outer) for a in (*x[i * n : i * n + n], *y[i * m : i * m + m])]


def _total(s: Stretch, terms: Sequence[int]) -> int:
    out = s.constant(0.0)
    for n in terms:
        out = s.add(out, n)
    return out


def _pairs(s: Stretch, x: Sequence[int]) -> int:
    """Eight numbers, added in pairs."""
    low = s.add(s.add(x[0], x[1]), s.add(x[2], x[3]))
    return s.add(low, s.add(s.add(x[4], x[5]), s.add(x[6], x[7])))


def _sum_all(s: Stretch, operands: Operands, signature: Any, raw: int, spec: Spec) -> list[int]:
    (x,) = operands
    whole = len(x) & -8
    if whole == 0:
        return [_total(s, x)]
    # eight lanes begin at zero: what they add up to is never minus zero
    lanes = [functools.reduce(s.add, x[k:whole:8]) for k in range(8)]
    total = s.add(_pairs(s, lanes), s.constant(0.0))
    return [functools.reduce(s.add, x[whole:], total)]


def _sum(s: Stretch, operands: Operands, signature: Any, raw: int, spec: Spec) -> list[int]:
    outer, n, inner = signature.params[:3]
    (x,) = operands
    out = []
    for i in range(outer):
        for l in range(inner):
            terms = x[i * n * inner + l : (i + 1) * n * inner : inner]
            out.append(_run(s, terms) if inner == 1 else _column(s, terms))
    return out


def _run(s: Stretch, terms: list[int]) -> int:
    """As ``kernels.reduce.block_sum``."""
    whole = len(terms) & -8
    if whole == 0:
        return _total(s, terms)
    lanes = [functools.reduce(s.add, terms[k:whole:8]) for k in range(8)]
    lanes[0] = _total(s, [lanes[0], *terms[whole:]])
    return _pairs(s, lanes)


def _column(s: Stretch, terms: list[int]) -> int:
    """As ``kernels.reduce.sum_``: eight rows at a time."""
    out = s.constant(0.0)
    whole = len(terms) & -8
    for j in range(0, whole, 8):
        out = s.add(out, _pairs(s, terms[j : j + 8]))
    return functools.reduce(s.add, terms[whole:], out)


def _prod(s: Stretch, operands: Operands, signature: Any, raw: int, spec: Spec) -> list[int]:
    outer, n, inner = signature.params[:3]
    (x,) = operands
    out = []
    for i in range(outer):
        for l in range(inner):
            out.append(functools.reduce(s.multiply, x[i * n * inner + l : (i + 1) * n * inner : inner]))
    return out


def _dot(s: Stretch, x: Sequence[int], y: Sequence[int]) -> int:
    return _total(s, [s.multiply(a, b) for a, b in zip(x, y)])


def _matmul(s: Stretch, operands: Operands, signature: Any, raw: int, spec: Spec) -> list[int]:
    _, _, _, n, m, k, _, _, _, _, _, batch, step_x, step_y, _, tx, ty, *_ = signature.params
    x, y = operands
    out = []
    for b in range(batch):
        c, e = b * step_x, b * step_y
        rows = [x[c + i : c + m * k : m] if tx else x[c + i * k : c + i * k + k] for i in range(m)]
        columns = [y[e + j * k : e + j * k + k] if ty else y[e + j : e + n * k : n] for j in range(n)]
        out += [_dot(s, row, column) for row in rows for column in columns]
    return out


def _matvec(s: Stretch, operands: Operands, signature: Any, raw: int, spec: Spec) -> list[int]:
    p = signature.params
    batch, step_x, step_v, tx, m, k = p[8], p[9], p[10], p[12], p[13], p[14]
    x, v = operands
    out = []
    for b in range(batch):
        c, w = b * step_x, v[b * step_v : b * step_v + k]
        if not tx:
            out += [_dot(s, x[c + i * k : c + i * k + k], w) for i in range(m)]
            continue
        for j in range(m):  # as ``kernels.blas.rows_sum``: four rows at a time
            terms = [s.multiply(a, b) for a, b in zip(x[c + j : c + m * k : m], w)]
            total, whole = s.constant(0.0), k & -4
            for i in range(0, whole, 4):
                low, high = s.add(terms[i], terms[i + 1]), s.add(terms[i + 2], terms[i + 3])
                total = s.add(total, s.add(low, high))
            out.append(functools.reduce(s.add, terms[whole:], total))
    return out


# By a row's name: (stretch, operands, signature, varying integer, result's spec) -> the result's numbers.
STRUCTURED: dict[str, Callable[..., list[int]]] = {
    "scatter_strided": _scatter_strided,
    "add_strided": _add_strided,
    "clear_strided": _clear_strided,
    "set_strided": _set_strided,
    "concat2": _concat2,
    "stack2": _concat2,
    "sum_all": _sum_all,
    "sum": _sum,
    "prod": _prod,
    "matmul": _matmul,
    "matvec": _matvec,
}
