"""What one row turns into, in each of the three sweeps.

There is one set of derivative rules, those of the table (`ops`).  In reverse they are called as they
are.  Forward, an elementwise rule is called with the tangent in place of the cotangent, because its
derivative is diagonal; a structured rule is linear in ``g``, so the tangent is the vector-Jacobian
product of the rule itself: the transpose of the transpose.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from types import FunctionType
from typing import TYPE_CHECKING, Any

import numpy as np

from tapegrad.engine import expand as E
from tapegrad.engine import layout as L
from tapegrad.engine.templates import aside
from tapegrad.ops.axes import contiguous, size_of
from tapegrad.ops.elementwise import UNLESS_ZERO
from tapegrad.ops.movement import (
    STRIDED,
    broadcasted,
    permuted,
    reshaped,
    scatter_movement,
)
from tapegrad.ops.record import as_operand, cast, record, record_elementwise, record_layout
from tapegrad.ops.table import Kind, Row, ns
from tapegrad.spec import Spec, intern_spec
from tapegrad.spec import table as spec_table
from tapegrad.sweeps.store import RAW, NeedsNumbers, Scratch, Store
from tapegrad.tape import Tape
from tapegrad.tensor import Tensor, new_result

if TYPE_CHECKING:
    from tapegrad.ops.record import Signature

__all__ = ["movement_adjoint", "provide", "sum_to", "traceable"]


@functools.cache
def traceable(rule: FunctionType) -> Callable:
    """A rule with ``f`` bound to tapegrad's own functions."""
    if not isinstance(rule, FunctionType):
        return rule
    scope = dict(rule.__globals__)
    scope["f"] = ns
    return FunctionType(rule.__code__, scope, rule.__name__, rule.__defaults__, rule.__closure__)


def sum_to(g: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Un-broadcast a cotangent."""
    if g.shape == shape:
        return g
    lead = g.ndim - len(shape)
    axes = tuple(range(lead)) + tuple(
        lead + k for k, n in enumerate(shape) if n == 1 and g.shape[lead + k] != 1
    )
    if size_of(shape) == 1:
        g = ns.sum(g)  # a region takes a full sum along
    elif axes:
        g = ns.sum(g, axis=axes, keepdims=True)
    return reshaped(g, shape)


# --- looking a row up -----------------------------------------------------------------------------


class _Row:
    """The instruction a template is wanted for: its row and the specs of what it touches."""

    def __init__(self, tape: Tape, i: int, batched: dict[int, Spec] | None = None) -> None:
        from tapegrad.ops.table import rows as table_rows
        from tapegrad.tape import OP_MASK

        code = tape.code[i]
        self.row: Row = table_rows[int(code[L.OP]) & OP_MASK]
        self.op = int(code[L.OP])
        self.out = spec_table.by_id[int(code[L.SPEC])]
        self.signature: Signature | None = None
        if self.row.kind in (Kind.STRUCTURED, Kind.MOVEMENT):
            self.signature = tape.signatures[int(code[L.SIG])]
        self.operands: list[Any] = []  # a Spec for a slot, a number for a constant
        self.slots = [int(code[L.X + k]) for k in range(self.row.arity)]
        for o in self.slots:
            if o < 0:
                self.operands.append(tape.consts[-o - 1])
            else:
                self.operands.append(spec_table.by_id[int(tape.code[o, L.SPEC])])

    @property
    def static(self) -> dict[str, Any]:
        assert self.signature is not None
        return self.signature.static

    def compute_dtype(self) -> np.dtype:
        """The dtype a constant operand has in the kernel."""
        typed = [s for s in self.operands[self.row.typed_by :] if isinstance(s, Spec)]
        return typed[0].dtype if typed else self.out.dtype


def provide(
    store: Store, source: Tape, i: int, key: np.ndarray, which: int, specs: list[Spec | None]
) -> None:
    """Trace what instruction ``i`` of ``source`` turns into, and enter it under ``key``.

    ``which`` is the first word of the key without ``VALUED``; ``specs`` are those of batched operands.
    """
    mode, k = divmod(which, 8)
    row = _Row(source, i)
    valued = bool(key[0] >= E.VALUED)
    scratch = Scratch()
    with aside(scratch):
        g_spec = row.out
        if mode == E.FORWARD:
            g_spec = row.operands[k]
        inputs = [scratch.placeholder(g_spec), scratch.placeholder(row.out)]
        handles: list[Any] = []
        constants: set[int] = set()
        for j in range(3):
            o = row.operands[j] if j < len(row.operands) else row.out
            if isinstance(o, Spec):
                spec = specs[j] if mode == E.BATCH and j < len(row.operands) and specs[j] is not None else o
                handles.append(scratch.placeholder(spec))  # type: ignore[arg-type]
                continue
            t = scratch.placeholder(intern_spec((), row.compute_dtype()))
            constants.add(t._slot)
            handles.append(o if valued else t)
        handles = handles[: row.row.arity]
        if mode == E.REVERSE:
            result = _reverse(row, k, inputs[0], inputs[1], handles)
        elif mode == E.FORWARD:
            result = _forward(scratch, row, k, inputs[0], inputs[1], handles)
        else:
            result = _batch(scratch, row, k, handles, specs)
        if result is None:
            store.remember(key, E.NOTHING)
            return
        try:
            store.remember(key, store.add(scratch, result, constants) + 1)
        except NeedsNumbers:
            assert not valued
            store.remember(key, E.BY_VALUE)


def _call_rule(row: _Row, k: int, g: Tensor, out: Tensor, operands: list[Any]) -> Any:
    """A derivative rule of the table; ``None`` if operand ``k`` has none."""
    rule = row.row.rules[k]
    if rule is None:
        return None
    if row.row.kind is Kind.ELEMENTWISE:
        result = as_operand(traceable(rule)(g, out, *operands))  # type: ignore[arg-type]
        return record_elementwise(UNLESS_ZERO, (g, result)) if row.row.guarded else result
    static = dict(row.static)
    if row.row.wants_raw:
        static["raw"] = RAW
    return rule(g, out, *operands, **static)


# --- reverse --------------------------------------------------------------------------------------


def _reverse(row: _Row, k: int, g: Tensor, out: Tensor, operands: list[Any]) -> Tensor | None:
    spec = row.operands[k]
    if row.row.kind is Kind.MOVEMENT:
        return movement_adjoint(g, spec.shape, row.static["shape"], row.static["strides"])
    result = _call_rule(row, k, g, out, operands)
    if result is None:
        return None
    return cast(sum_to(result, spec.shape), spec.dtype)


def movement_adjoint(
    g: Tensor, in_shape: tuple[int, ...], shape: tuple[int, ...], strides: tuple[int, ...]
) -> Tensor:
    """The cotangent of a movement's operand.

    In general a scatter-add.  What repeats elements is a sum, what only moves them moves them back.
    """
    repeated = tuple([k for k, (n, s) in enumerate(zip(shape, strides)) if s == 0 and n > 1])
    if repeated and size_of(shape):
        g = ns.sum(g, axis=repeated)
        pairs = [(n, s) for k, (n, s) in enumerate(zip(shape, strides)) if k not in repeated]
        shape, strides = tuple([n for n, _ in pairs]), tuple([s for _, s in pairs])
    if _hits_all_once(in_shape, shape, strides):
        order = sorted(range(len(shape)), key=lambda k: (-abs(strides[k]), -shape[k]))
        moved = tuple([shape[k] for k in order])
        steps, offset = [], 0
        for k in order:
            step = contiguous(shape)[k]
            if strides[k] < 0 and shape[k] > 1:
                offset += (shape[k] - 1) * step
                step = -step
            steps.append(step)
        if offset == 0 and order == list(range(len(shape))):
            return reshaped(g, in_shape)
        if offset == 0:
            return reshaped(permuted(g, tuple(order)), in_shape)
        return reshaped(record_layout(STRIDED, g, moved, tuple(steps), offset), in_shape)
    return scatter_movement(g, in_shape, shape, strides, RAW)


def _hits_all_once(in_shape: tuple[int, ...], shape: tuple[int, ...], strides: tuple[int, ...]) -> bool:
    """Whether a movement takes every element of its operand exactly once."""
    if size_of(shape) != size_of(in_shape) or size_of(shape) == 0:
        return False
    step = 1
    for n, s in sorted([(n, abs(s)) for n, s in zip(shape, strides) if n > 1], key=lambda p: p[1]):
        if s != step:
            return False
        step *= n
    return step == size_of(in_shape)


# --- forward --------------------------------------------------------------------------------------


def _forward(
    scratch: Scratch, row: _Row, k: int, t: Tensor, out: Tensor, operands: list[Any]
) -> Tensor | None:
    kind = row.row.kind
    if kind is Kind.MOVEMENT:
        return record_layout(row.row, t, row.static["shape"], row.static["strides"], RAW)
    if kind is Kind.ELEMENTWISE:
        result = _call_rule(row, k, t, out, operands)
        if result is None:
            return None
        return broadcasted(cast(result, row.out.dtype), row.out.shape)
    if row.row.rules[k] is None:
        return None
    if k in row.row.linear:
        changed = [t if j == k else o for j, o in enumerate(operands)]
        return record(row.row, changed, row.static, RAW if row.row.arity < 3 else 0)
    from tapegrad.sweeps.sweep import pull

    g = scratch.placeholder(row.out, rg=1)
    result = _call_rule(row, k, g, out, operands)
    result = cast(result, row.operands[k].dtype)  # it may be complex where the operand is real
    found = pull(scratch, result, g, t)
    if found is None:  # the rule does not depend on its cotangent: the derivative is zero
        return broadcasted(as_operand(np.zeros((), row.out.dtype)), row.out.shape)
    return found


# --- batch ----------------------------------------------------------------------------------------


def _batch(
    scratch: Scratch, row: _Row, mask: int, operands: list[Any], specs: list[Spec | None]
) -> Tensor | None:
    scratch.grad_enabled = False
    kind, out = row.row.kind, row.out
    if mask == 0:
        return _again(scratch, row, operands)
    batched = [bool(mask >> k & 1) for k in range(row.row.arity)]
    n = next(s.shape[0] for s, b in zip(specs, batched) if b and s is not None)
    if kind is Kind.ELEMENTWISE:
        ndim = max([o.ndim for o in row.operands if isinstance(o, Spec)], default=0)
        for k, b in enumerate(batched):
            if b:
                own = row.operands[k].shape
                operands[k] = reshaped(operands[k], (n, *[1] * (ndim - len(own)), *own))
        return _again(scratch, row, operands, intern_spec((n, *out.shape), out.dtype))
    if kind is Kind.MOVEMENT:
        shape, strides = row.static["shape"], row.static["strides"]
        size = row.operands[0].size
        return record_layout(STRIDED, operands[0], (n, *shape), (size, *strides), RAW)
    result = None
    if row.row.batch is not None:
        static = dict(row.static)
        if row.row.wants_raw:
            static["raw"] = RAW
        result = row.row.batch(n, batched, *operands, **static)
    if result is None:
        result = _one_by_one(row, n, batched, operands)
    if result._spec.shape != (n, *out.shape) or result._spec.dtype is not out.dtype:
        raise RuntimeError(
            f"internal error: the batch rule of {row.row.name} gives {result._spec!r} for {n} times {out!r}"
        )
    return result


def _again(scratch: Scratch, row: _Row, operands: list[Any], out: Spec | None = None) -> Tensor:
    """The row itself, over other operands."""
    if row.row.kind is Kind.MOVEMENT:
        return record_layout(row.row, operands[0], row.static["shape"], row.static["strides"], RAW)
    if row.row.kind is Kind.STRUCTURED:
        return record(row.row, operands, row.static, RAW if row.row.arity < 3 else 0)
    out = row.out if out is None else out
    slots = [o._slot for o in operands] + [0, 0, 0]
    scratch.append(row.row.op, out.id, slots[0], slots[1], z=slots[2])
    return new_result(scratch, out, 0)


def _one_by_one(row: _Row, n: int, batched: list[bool], operands: list[Any]) -> Tensor:
    """The row on each element of the batch, and the results stacked."""
    raw = RAW if row.row.arity < 3 else 0
    results = []
    for j in range(n):
        each = []
        for o, b in zip(operands, batched):
            if b:
                shape = o._spec.shape[1:]
                o = record_layout(STRIDED, o, shape, contiguous(shape), j * size_of(shape))
            each.append(o)
        results.append(record(row.row, each, row.static, raw))
    return ns.stack(results)
