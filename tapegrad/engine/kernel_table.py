"""The table of kernels: addresses by opcode and dtype, compiled or loaded on first use."""

from __future__ import annotations

import dis
import math
from collections.abc import Callable, Iterator
from types import FunctionType
from typing import Any

import numpy as np

from tapegrad import _jit
from tapegrad.engine import layout as L
from tapegrad.engine.calls import SPLITS
from tapegrad.kernels import move, scalar
from tapegrad.kernels.math import holomorphic
from tapegrad.kernels.memory import TO, T, array, int64, like
from tapegrad.ops.table import Kind, Row, rows
from tapegrad.spec import BOOL, COMPLEX128, DTYPES, complex_dtype, dtype_index, real_dtype

__all__ = ["Library", "library"]

FORWARD, ACCUMULATE = 0, 4  # which kernel of a row; 1 to 3 are the reverse kernels by operand
WHICH = 5

OP: Callable = abs  # placeholder: the compiler substitutes the row's scalar function
QUICK_OP: Callable = abs
FULL_OP: Callable = abs
INSIDE: Callable = abs
LOW = HIGH = 0.0
TX = TY = TZ = T
EVERYWHERE = (-math.inf, math.inf)


def unary_fwd(n, out, x, y, z):
    o, a = array(out, n, TO), array(x, n, TX)
    for i in range(n):
        o[i] = OP(a[i])
    return 0


def binary_fwd(n, out, x, y, z):
    o, a, b = array(out, n, TO), array(x, n, TX), array(y, n, TY)
    for i in range(n):
        o[i] = OP(a[i], b[i])
    return 0


def ternary_fwd(n, out, x, y, z):
    o, a, b, c = array(out, n, TO), array(x, n, TX), array(y, n, TY), array(z, n, TZ)
    for i in range(n):
        o[i] = OP(a[i], b[i], c[i])
    return 0


# A cotangent of exactly zero contributes zero, even where the local derivative is infinite.
def unary_bwd(n, gx, g, out, x, y, z):
    o, a = array(out, n, TO), array(x, n, TX)
    go, ga = array(g, n, TO), array(gx, n, TG)
    for i in range(n):
        gi = go[i]
        d = OP(gi, o[i], a[i])
        ga[i] += d if gi != 0 else like(0, d)
    return 0


def binary_bwd(n, gx, g, out, x, y, z):
    o, a, b = array(out, n, TO), array(x, n, TX), array(y, n, TY)
    go, ga = array(g, n, TO), array(gx, n, TG)
    for i in range(n):
        gi = go[i]
        d = OP(gi, o[i], a[i], b[i])
        ga[i] += d if gi != 0 else like(0, d)
    return 0


def ternary_bwd(n, gx, g, out, x, y, z):
    o, a, b, c = array(out, n, TO), array(x, n, TX), array(y, n, TY), array(z, n, TZ)
    go, ga = array(g, n, TO), array(gx, n, TG)
    for i in range(n):
        gi = go[i]
        d = OP(gi, o[i], a[i], b[i], c[i])
        ga[i] += d if gi != 0 else like(0, d)
    return 0


# Functions that have a quicker form for operands in a range: sine and its like, lgamma.
def ranged_fwd(n, out, x, y, z):
    o, a = array(out, n, TO), array(x, n, TX)
    inside = 0
    for i in range(n):
        inside += int64(INSIDE(a[i], LOW, HIGH))
    if inside == n:
        for i in range(n):
            o[i] = QUICK_OP(a[i])
    else:
        for i in range(n):
            o[i] = OP(a[i])
    return 0


def ranged_bwd(n, gx, g, out, x, y, z):
    o, a = array(out, n, TO), array(x, n, TX)
    go, ga = array(g, n, TO), array(gx, n, TG)
    inside = 0
    for i in range(n):
        inside += int64(INSIDE(a[i], LOW, HIGH))
    if inside == n:
        for i in range(n):
            gi = go[i]
            d = QUICK_OP(gi, o[i], a[i])
            ga[i] += d if gi != 0 else like(0, d)
    else:
        for i in range(n):
            gi = go[i]
            d = OP(gi, o[i], a[i])
            ga[i] += d if gi != 0 else like(0, d)
    return 0


# Powers: most tiles have one exponent.  With it written into the loop, nothing is left of the other cases.
def power_fwd(n, out, x, y, z):
    o, a, b = array(out, n, TO), array(x, n, TX), array(y, n, TY)
    e = b[0] if n > 0 else like(1, b[0])
    same = 0
    inside = 0
    for i in range(n):
        same += int64(b[i] == e)
        inside += int64(INSIDE(a[i], LOW, HIGH))
    if same == n and e == 2:
        for i in range(n):
            o[i] = OP(a[i], like(2, e))
    elif same == n and e == 3:
        for i in range(n):
            o[i] = OP(a[i], like(3, e))
    elif same == n and e == 0.5:
        for i in range(n):
            o[i] = OP(a[i], like(0.5, e))
    elif same == n and e == -1:
        for i in range(n):
            o[i] = OP(a[i], like(-1, e))
    elif inside == n:
        for i in range(n):
            o[i] = QUICK_OP(a[i], b[i])
    else:
        for i in range(n):
            o[i] = FULL_OP(a[i], b[i])
    return 0


def power_bwd(n, gx, g, out, x, y, z):
    o, a, b = array(out, n, TO), array(x, n, TX), array(y, n, TY)
    go, ga = array(g, n, TO), array(gx, n, TG)
    e = b[0] if n > 0 else like(1, b[0])
    same = 0
    inside = 0
    for i in range(n):
        same += int64(b[i] == e)
        inside += int64(INSIDE(a[i], LOW, HIGH))
    if same == n and e == 2:
        for i in range(n):
            gi = go[i]
            d = OP(gi, o[i], a[i], like(2, e))
            ga[i] += d if gi != 0 else like(0, d)
    elif same == n and e == 3:
        for i in range(n):
            gi = go[i]
            d = OP(gi, o[i], a[i], like(3, e))
            ga[i] += d if gi != 0 else like(0, d)
    elif same == n and e == 0.5:
        for i in range(n):
            gi = go[i]
            d = OP(gi, o[i], a[i], like(0.5, e))
            ga[i] += d if gi != 0 else like(0, d)
    elif same == n and e == -1:
        for i in range(n):
            gi = go[i]
            d = OP(gi, o[i], a[i], like(-1, e))
            ga[i] += d if gi != 0 else like(0, d)
    elif inside == n:
        for i in range(n):
            gi = go[i]
            d = QUICK_OP(gi, o[i], a[i], b[i])
            ga[i] += d if gi != 0 else like(0, d)
    else:
        for i in range(n):
            gi = go[i]
            d = FULL_OP(gi, o[i], a[i], b[i])
            ga[i] += d if gi != 0 else like(0, d)
    return 0


TG = T
_FWD = {1: unary_fwd, 2: binary_fwd, 3: ternary_fwd}
_BWD = {1: unary_bwd, 2: binary_bwd, 3: ternary_bwd}


def _storage(dtype: np.dtype) -> Any:
    """The scalar type kernels use for a dtype (booleans are bytes)."""
    return np.uint8 if dtype == BOOL else dtype.type


def _bits(dtype: np.dtype) -> Any:
    if dtype is COMPLEX128:
        return np.complex128  # moved as it is: no machine word is as large
    return np.dtype(f"u{dtype.itemsize}").type


def rule_uses(rule: Callable) -> int:
    """Which of ``out, x, y, z`` an elementwise rule reads."""
    known = getattr(rule, "reads", None)
    if known is not None:
        return known
    bits = {"out": L.USES_OUT, "x": L.USES_X, "y": L.USES_Y, "z": L.USES_Z}
    names = rule.__code__.co_varnames[1 : rule.__code__.co_argcount]
    order = dict(zip(names, ("out", "x", "y", "z")))
    used = 0
    for instruction in dis.get_instructions(rule):
        if "LOAD_FAST" in instruction.opname or instruction.opname in ("LOAD_DEREF", "LOAD_CLOSURE"):
            loaded = instruction.argval
            for name in loaded if isinstance(loaded, tuple) else (loaded,):
                used |= bits.get(order.get(name, ""), 0)
    return used


def _boxed(row: Row, which: int) -> bool:
    """Whether a kernel of complex operands has a quicker form for small ones."""
    if which == FORWARD:
        return hasattr(getattr(row.forward, "complex", None), "inside")
    names = row.rules[which - 1].__code__.co_names  # type: ignore[union-attr]
    return any(hasattr(getattr(getattr(scalar, n, None), "complex", None), "inside") for n in names)


def _calls_ranged(rule: Callable | None) -> bool:
    """Whether a rule calls functions that have a quicker form for operands in a range.

    It has to call them at the row's own operand: the range is that of the row's function.
    """
    return rule is not None and any(
        hasattr(getattr(scalar, n, None), "forms") for n in rule.__code__.co_names
    )


class Library:
    """Kernel addresses and row facts as flat arrays."""

    def __init__(self) -> None:
        # Room for all rows there can be (untouched memory costs nothing): rows that are registered later
        # must not move what running threads hold addresses of.
        self.kernels = np.zeros((L.OP_MASK + 1, len(DTYPES), WHICH), np.int64)
        self.info = np.zeros((L.OP_MASK + 1, L.INFO_COLUMNS), np.int64)
        self.known = 0
        self.refresh()

    def refresh(self) -> None:
        """Take in rows that were registered since."""
        n = len(rows)
        for row in rows[self.known : n] if self.known < n else ():
            line = self.info[row.op]
            line[L.KIND], line[L.ARITY], line[L.TYPED_BY] = row.kind, row.arity, row.typed_by
            line[L.SINK], line[L.RULES] = row.sink, bool(row.rules) + 2 * row.accumulates
            for k, rule in enumerate(row.rules):
                if row.kind is Kind.ELEMENTWISE:
                    line[L.USES + k] = -1 if rule is None else rule_uses(rule)
            if row.kind is not Kind.ELEMENTWISE:
                line[L.SPLIT] = SPLITS[row.split]
        self.known = n

    def address(self, op: int, dtype: int, which: int, result: int) -> int:
        """The address of one kernel, compiling or loading it if need be.

        ``dtype`` and ``result`` are dtype indices, of what it computes in and of what it writes.
        """
        found = int(self.kernels[op, dtype, which])
        if not found:
            found = self._build(rows[op], DTYPES[dtype], which, DTYPES[result])
            self.kernels[op, dtype, which] = found
        return found

    def _build(self, row: Row, dtype: np.dtype, which: int, result: np.dtype) -> int:
        if row.user is not None:
            return row.user.build(row, dtype, which, result)
        if row.kind is Kind.MOVEMENT:
            if which == FORWARD:
                return self._structured("movement", move.gather, _bits(dtype), _bits(dtype), False)
            return self._structured(
                "movement_accumulate", move.scatter_strided_accumulate, dtype.type, dtype.type, False
            )
        if row.kind is Kind.STRUCTURED:
            assert row.forward is not None
            if row.bits:
                return self._structured(row.name, row.forward, _bits(dtype), _bits(dtype), False)
            twin = {"f": "", "c": "complex"}.get(dtype.kind, "integer")
            forward = getattr(row.forward, twin, row.forward) if twin else row.forward
            name = getattr(forward, "kernel", row.name)
            return self._structured(name, forward, _storage(dtype), _storage(result), row.fastmath)
        return self._elementwise(row, dtype, which)

    def _structured(self, name: str, function: Callable, t: Any, to: Any, fastmath: bool) -> int:
        full = f"{name}_{np.dtype(t).name}_{np.dtype(to).name}"
        names = {"T": t, "TO": to, "R": real_dtype(np.dtype(t)).type}
        return _jit.kernel(full, function, 6, names, fastmath)

    def _elementwise(self, row: Row, dtype: np.dtype, which: int) -> int:
        forward = row.forward
        assert forward is not None
        t, floating = _storage(dtype), dtype.kind == "f"
        result = elementwise_out(row, dtype)
        names: dict[str, Any] = {
            "T": t,
            "TX": t,
            "TY": t,
            "TZ": t,
            "TO": _storage(result),
        }
        if row.dtype_rule == "where":
            names["TX"] = np.uint8
        inside = EVERYWHERE
        if floating and (which == FORWARD or _calls_ranged(row.rules[which - 1])):
            inside = getattr(forward, "forms", ((None, *EVERYWHERE),))[0][1:]
        elif dtype.kind == "c" and row.arity == 1 and _boxed(row, which):
            inside = (-holomorphic.BOX, holomorphic.BOX)

        def operation(inside: Any) -> Any:
            from tapegrad import _compile

            if which == FORWARD:
                return getattr(_compile.scalars(t, inside), forward.__name__)
            rule = row.rules[which - 1]
            assert isinstance(rule, FunctionType)
            if hasattr(rule, "refusal"):
                raise NotImplementedError(rule.refusal)
            part = dtype.kind != "c" and (result.kind == "c" or row.dtype_rule == "real")
            return _compile.device_rule(rule, t, inside, part)

        ranges = {"OP": EVERYWHERE if floating else None}
        loop = (_FWD if which == FORWARD else _BWD)[row.arity]
        if which != FORWARD:
            names["TG"] = (names["TX"], names["TY"], names["TZ"])[which - 1]
        if inside != EVERYWHERE and (row.arity == 1 or (forward is scalar.power and which < 2)):
            ranges["QUICK_OP"] = inside
            names["LOW"], names["HIGH"] = map(real_dtype(dtype).type, inside)
            loop = ranged_fwd if which == FORWARD else ranged_bwd
            if row.arity == 2:
                ranges["FULL_OP"], ranges["OP"] = ranges["OP"], None
                loop = power_fwd if which == FORWARD else power_bwd
        name = (
            f"{row.name}_fwd_{dtype.name}" if which == FORWARD else f"{row.name}_bwd{which - 1}_{dtype.name}"
        )

        def scope() -> dict[str, Any]:
            from tapegrad import _compile

            functions = {op: operation(where) for op, where in ranges.items()}
            return {**names, **functions, "INSIDE": _compile.scalars(t).between}

        return _jit.kernel(name, loop, 5 if which == FORWARD else 7, scope)

    def warm(self, dtypes: tuple[str, ...] = ("float64",)) -> Iterator[tuple[int, int, str]]:
        """Build every kernel for ``dtypes``; yield (done, total, name) as it goes."""
        work = []
        for row in rows:
            for name in dtypes:
                dtype = np.dtype(name)
                foreign = row.kind is Kind.INPUT or row.user is not None
                if foreign or (row.dtype_rule == "bits" and dtype.kind == "f"):
                    continue
                plain = row.result in (None, "real", "complex")
                if row.kind is Kind.STRUCTURED and dtype.kind != "f" and plain:
                    continue  # sums of small integers are wider than their operands
                if row.complex == "only":
                    dtype = complex_dtype(dtype)
                work.append((row, dtype, FORWARD))
                if dtype.kind == "f" and row.kind is Kind.ELEMENTWISE:
                    work += [
                        (row, dtype, k + 1)
                        for k, rule in enumerate(row.rules)
                        if rule and not hasattr(rule, "refusal")
                    ]
                elif dtype.kind == "f" and row.kind is Kind.MOVEMENT:
                    work.append((row, dtype, ACCUMULATE))
        for done, (row, dtype, which) in enumerate(work):
            yield done, len(work), row.name
            parts = {None: dtype, "real": real_dtype(dtype), "complex": complex_dtype(dtype)}
            result = np.dtype(parts.get(row.result, row.result))
            self.address(row.op, dtype_index[dtype], which, dtype_index[result])
        yield len(work), len(work), ""


def elementwise_out(row: Row, dtype: np.dtype) -> np.dtype:
    """The result dtype of an elementwise kernel that computes in ``dtype``."""
    if row.dtype_rule in ("bool", "test", "logical"):
        return BOOL
    if row.dtype_rule.startswith("cast:"):
        return np.dtype(row.dtype_rule[5:])
    if row.dtype_rule == "real":
        return real_dtype(dtype)
    if row.dtype_rule == "complex":
        return complex_dtype(dtype)
    return dtype


library = Library()
