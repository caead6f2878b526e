"""Templates: derivative rules of structured primitives, traced once per signature.

A rule is an ordinary expression in tapegrad's functions.  Calling it with placeholder tensors on a
scratch tape records the few instructions that compute one operand's cotangent; the reverse loop runs
them for every instruction of that signature.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from tapegrad.engine import layout as L
from tapegrad.engine.interpret import TEMPLATE_INPUTS
from tapegrad.engine.kernel_table import library
from tapegrad.ops.table import INPUT, Kind
from tapegrad.ops.table import rows as table_rows
from tapegrad.spec import table as spec_table
from tapegrad.tape import COLUMNS, OP_MASK, Tape, current
from tapegrad.tensor import Tensor

if TYPE_CHECKING:
    from tapegrad.ops.record import Signature

__all__ = ["Template", "TemplateStore", "aside", "trace"]


@contextlib.contextmanager
def aside(tape: Tape | None = None) -> Iterator[None]:
    """Record on another tape for a while."""
    outer = current.tape
    current.tape = Tape() if tape is None else tape
    try:
        yield
    finally:
        current.tape = outer


class _TracingTape(Tape):
    """A scratch tape whose values do not exist."""

    __slots__ = ()

    def run(self) -> None:
        raise RuntimeError("a derivative rule looked at a value; rules must be expressions")


class Template:
    """The traced rule of one operand: rows over local slots, and what they need."""

    __slots__ = ("code", "constants", "consts", "memory", "result", "signatures", "uses")

    def __init__(self, tape: Tape, result: Tensor) -> None:
        n = tape.seal()
        self.code = tape.code[:n].copy()
        self.consts = list(tape.consts)
        self.signatures = list(tape.signatures)
        self.result = result._slot
        self.constants: list[tuple[int, np.ndarray]] = []  # arrays a rule uses, by local slot
        used = np.zeros(n, bool)
        used[self.result] = True
        for i in range(n - 1, TEMPLATE_INPUTS - 1, -1):
            row = table_rows[int(self.code[i, L.OP]) & OP_MASK]
            if row is INPUT:
                self.constants.append((i, tape.keep[i]))
            elif used[i]:
                for k in range(row.arity):
                    if self.code[i, L.X + k] >= 0:
                        used[self.code[i, L.X + k]] = True
            else:  # rules that differentiate leave rows behind that nothing reads: they are skipped
                self.code[i, L.OP] = INPUT.op
        bits = (L.USES_OUT, L.USES_X, L.USES_Y, L.USES_Z)
        self.uses = sum(bit for k, bit in enumerate(bits) if used[1 + k])
        sizes = [spec_table.by_id[s].nbytes for s in self.code[TEMPLATE_INPUTS:, L.SPEC]]
        self.memory = sum((b + 63) & -64 for b in sizes)


def placeholder(tape: Tape, spec: Any, rg: int = 0) -> Tensor:
    """A tensor on ``tape`` that has a spec and no value; with ``rg`` a leaf that requires grad."""
    tape.append(INPUT.op | (L.GRAD if rg else 0), spec.id)
    t = Tensor()
    t._tape, t._slot, t._spec, t._rg = tape, len(tape.tensors), spec, 1 if rg else 0
    t._value = t._extra = None
    tape.hold(t)
    return t


def call_rule(signature: Signature, k: int, g: Tensor, out: Tensor, operands: list[Tensor], raw: int) -> Any:
    """Call the derivative rule of operand ``k``; ``None`` if it has none."""
    row = signature.row
    rule = row.rules[k]
    if rule is None:
        return None
    static = dict(signature.static)
    if row.wants_raw:
        static["raw"] = raw
    return rule(g, out, *operands, **static)


def trace(signature: Signature, k: int) -> Template | None:
    """Trace one rule; ``None`` if the operand gets no cotangent."""
    known = signature.templates.get(k, False)
    if known is not False:
        return known
    tape = _TracingTape()
    tape.grad_enabled = False
    tape.limit = 1 << 60
    tape.pending_bytes = -(1 << 62)
    with aside(tape):
        specs = signature.in_specs
        inputs = [signature.out, signature.out, *specs] + [specs[0]] * (3 - len(specs))
        g, out, *operands = [placeholder(tape, s) for s in inputs]
        result = call_rule(signature, k, g, out, operands[: len(specs)], 0)
        template = None
        if result is not None:
            if result._spec.dtype is not specs[k].dtype:
                from tapegrad.ops.record import cast

                result = cast(result, specs[k].dtype)
            if result._tape is not tape:
                tape.bind(result)
            template = Template(tape, result)
    signature.templates[k] = template
    return template


class TemplateStore:
    """The templates that a tape's signatures use, concatenated for the reverse loop."""

    def __init__(self) -> None:
        self.epoch: object = None
        self.reset(None)

    def reset(self, epoch: object) -> None:
        """Start over, because signatures have been renumbered."""
        self.epoch = epoch
        self.stamp: object = object()  # renewed whenever an array is replaced
        self.known = np.zeros(48, np.int64)  # by 3 * signature + operand: 0 new, 1 known, -2 none
        self.uses = np.zeros(48, np.int64)
        self.spans = np.full((48, 4), -1, np.int64)
        self.code = np.zeros((64, COLUMNS), np.int64)
        self.slots = np.zeros((64, L.SLOT_COLUMNS), np.int64)
        self.members = np.arange(64)
        self.consts = np.zeros(16)
        self.n_rows = self.n_consts = 0
        self.memory_bytes = 64
        self.pinned: list[Any] = []

    def sync(self, tape: Tape) -> None:
        """Make room for the tape's signatures."""
        if self.epoch is not tape.epoch:
            self.reset(tape.epoch)
        need = 3 * len(tape.signatures)
        if need > len(self.known):
            old = len(self.known)
            for name, empty in (("known", 0), ("uses", 0), ("spans", -1)):
                array = getattr(self, name)
                grown = np.full((2 * need, *array.shape[1:]), empty, np.int64)
                grown[:old] = array
                setattr(self, name, grown)
            self.stamp = object()

    def forget(self, untraced: list[int]) -> None:
        """Let what the planner found missing be found again, if it has not been installed."""
        for index in untraced:
            if self.known[index] == -1:
                self.known[index] = 0

    def install(self, tape: Tape, index: int) -> None:
        """Trace and add the template for ``3 * signature + operand``."""
        s, k = divmod(int(index), 3)
        template = trace(tape.signatures[s], k)
        if template is None:
            self.known[index], self.uses[index] = -2, -1
            return
        numbers = [self._signature_number(tape, inner) for inner in template.signatures]
        self.sync(tape)
        base, n = self.n_rows, len(template.code)
        self._reserve(base + n, self.n_consts + len(template.consts))
        code = template.code.copy()
        wants_raw = tape.signatures[s].row.wants_raw
        for i in range(TEMPLATE_INPUTS, n):
            row = table_rows[int(code[i, L.OP]) & OP_MASK]
            for j in range(row.arity):
                o = code[i, L.X + j]
                code[i, L.X + j] = o + base if o >= 0 else o - self.n_consts
            if row.kind in (Kind.STRUCTURED, Kind.MOVEMENT):
                code[i, L.SIG] = numbers[code[i, L.SIG]]
            self._require_kernel(code, i, base, row)
        for i, array in template.constants:
            code[i, L.ADDR] = array.__array_interface__["data"][0]
        self.code[base : base + n] = code
        self.slots[base : base + n] = 0
        self.slots[base : base + n, L.VREG] = -1
        self.slots[base : base + n, L.AREG] = -1
        for i in range(TEMPLATE_INPUTS, n):
            # rows whose kernel takes the parent's varying integer
            row = table_rows[int(code[i, L.OP]) & OP_MASK]
            self.slots[base + i, L.TOUCHED] = wants_raw and (row.wants_raw or row.kind is Kind.MOVEMENT)
        self.consts[self.n_consts : self.n_consts + len(template.consts)] = template.consts
        self.spans[index] = base, base + n, base + template.result, 0
        self.known[index], self.uses[index] = 1, template.uses
        self.n_rows += n
        self.n_consts += len(template.consts)
        self.memory_bytes = max(self.memory_bytes, template.memory + 64)
        self.pinned.append(template)

    @staticmethod
    def _signature_number(tape: Tape, signature: Signature) -> int:
        bound = signature.bound
        return bound[1] if bound[0] is tape.epoch else tape.bind_signature(signature)

    def _require_kernel(self, code: np.ndarray, i: int, base: int, row: Any) -> None:
        if row is INPUT:
            return
        dtype = None
        for j in range(row.typed_by, row.arity):
            o = code[i, L.X + j]
            if o >= 0:
                dtype = spec_table.by_id[code[o - base, L.SPEC]].dtype
                break
        result = spec_table.by_id[code[i, L.SPEC]].dtype
        from tapegrad.spec import dtype_index

        library.address(int(row.op), dtype_index[dtype or result], 0, dtype_index[result])

    def _reserve(self, n_rows: int, n_consts: int) -> None:
        if n_rows > len(self.code):
            for name in ("code", "slots"):
                array = getattr(self, name)
                grown = np.zeros((2 * n_rows, array.shape[1]), np.int64)
                grown[: len(array)] = array
                setattr(self, name, grown)
            self.members = np.arange(2 * n_rows)
            self.stamp = object()
        if n_consts > len(self.consts):
            self.stamp = object()
            self.consts = np.concatenate([self.consts, np.zeros(2 * n_consts)])
