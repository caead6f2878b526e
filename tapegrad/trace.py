"""A trace: one recorded path through a function, as plain arrays.

It is what compiling starts from, what passes rewrite, and what is saved.  Rows are those of the tape without
source offsets and without flags: ``(op, spec, x, y, z, signature)``; a row's number is its slot, and operands
precede results.  A trace holds no pointers and no Tensors.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np

from tapegrad.ops.table import INPUT, Kind
from tapegrad.ops.table import rows as table_rows
from tapegrad.spec import Spec, broadcast_shapes
from tapegrad.spec import table as spec_table
from tapegrad.tape import Place, TapeError

if TYPE_CHECKING:
    from tapegrad.ops.record import Signature

__all__ = ["INTEGER", "TRUTH", "VALUE", "Capture", "Guard", "Trace", "where"]

OP, SPEC, X, Y, Z, SIG = range(6)
COLUMNS = 6
TRUTH, INTEGER, VALUE = range(3)  # what a guard compares: truth, int(), or the exact bytes
GUARD_NAMES = ("truth", "integer", "value")
SIGNED = (Kind.STRUCTURED, Kind.MOVEMENT)  # kinds of rows that have a signature


class Guard(NamedTuple):
    """What Python looked at while the function was recorded, and what it saw."""

    slot: int
    kind: int
    expected: int | bytes  # for VALUE: the bytes of the whole array, so that NaN equals itself
    place: Place | None = None


class Capture(Protocol):
    """An array that the function uses and does not get as argument: read again at each replay."""

    steady: Any  # whether ``array()`` always gives the same memory
    source: Any  # what is read

    def array(self) -> np.ndarray: ...


def where(place: Place | None) -> str:
    """``file:line`` of a place."""
    if place is None or place[0] is None:
        return "-"
    code, offset = place
    line = None
    for begin, end, number in code.co_lines():
        if begin <= offset < end:
            line = number
    return f"{os.path.basename(code.co_filename)}:{line}"


class Places:
    """Where rows were recorded: code objects and offsets into them, without an object per row."""

    __slots__ = ("codes", "offsets", "which")

    def __init__(self, codes: list[Any], which: np.ndarray, offsets: np.ndarray) -> None:
        self.codes, self.which, self.offsets = codes, which, offsets

    @classmethod
    def of(cls, codes: Sequence[Any], offsets: np.ndarray | Sequence[int]) -> Places:
        """From one code object (or ``None``) and one offset per row."""
        ids = np.fromiter(map(id, codes), np.int64, len(codes))
        _, first, which = np.unique(ids, return_index=True, return_inverse=True)
        return cls([codes[k] for k in first.tolist()], which.reshape(-1), np.array(offsets, np.int64))

    def __len__(self) -> int:
        return len(self.which)

    def __getitem__(self, i: int) -> Place | None:
        code = self.codes[self.which[i]]
        return None if code is None else (code, int(self.offsets[i]))

    def __iter__(self) -> Iterator[Place | None]:
        return (self[i] for i in range(len(self.which)))

    def take(self, rows: Any) -> Places:
        """The places of some rows; a row below zero has none."""
        rows = np.asarray(rows, np.int64)
        which, offsets = np.full(len(rows), len(self.codes)), np.zeros(len(rows), np.int64)
        known = (rows >= 0) & (rows < len(self.which))
        which[known], offsets[known] = self.which[rows[known]], self.offsets[rows[known]]
        return Places([*self.codes, None], which, offsets)


@dataclass
class Trace:
    """One path through a function, in single-assignment form.

    Attributes
    ----------
    code : ndarray of int64, shape (n, 6)
        Columns op, spec, x, y, z, signature.  Elementwise operands below zero name ``consts[-operand - 1]``.
    inputs : list of int
        The slot of each array argument; -1 if the function does not use it.
    captures : list of (int, Capture)
        Slots whose array is read again at each replay.
    constants : dict
        Slots with a fixed value.
    outputs : list of int
        The slots of the results.
    guards : list of Guard
        In the order in which Python looked.
    places : Places
        Per row, where it was recorded.
    """

    code: np.ndarray
    consts: np.ndarray
    signatures: list[Signature]
    inputs: list[int]
    outputs: list[int]
    captures: list[tuple[int, Capture]] = field(default_factory=list)
    constants: dict[int, np.ndarray] = field(default_factory=dict)
    guards: list[Guard] = field(default_factory=list)
    places: Places = field(default_factory=lambda: Places.of((), ()))

    def __len__(self) -> int:
        return len(self.code)

    def spec(self, slot: int) -> Spec:
        """Shape and dtype of a slot."""
        return spec_table.by_id[int(self.code[slot, SPEC])]

    def row(self, slot: int) -> Any:
        """The primitive of a slot."""
        return table_rows[int(self.code[slot, OP])]

    def with_rows(self, code: np.ndarray, new: np.ndarray, **changes: Any) -> Trace:
        """Copy, with other rows: ``new[slot]`` is a slot's new number, -1 for one that is gone."""
        number = new.tolist()
        if "places" not in changes:
            kept, old = np.full(len(code), -1, np.int64), np.flatnonzero(new >= 0)[::-1]
            kept[new[old]] = old
            changes["places"] = self.places.take(kept)
        changes.setdefault("constants", {number[i]: a for i, a in self.constants.items() if number[i] >= 0})
        return replace(
            self,
            code=code,
            inputs=[number[i] if i >= 0 else -1 for i in self.inputs],
            outputs=[number[i] for i in self.outputs],
            captures=[(number[i], c) for i, c in self.captures if number[i] >= 0],
            guards=[g._replace(slot=number[g.slot]) for g in self.guards],
            **changes,
        )

    # --- looking at it ----------------------------------------------------------------------------

    def _names(self) -> list[str]:
        """What each row is called: the primitive's name, and for inputs where they come from."""
        names = [self.row(i).name for i in range(len(self.code))]
        for i in self.constants:
            names[i] = "constant"
        for i, _ in self.captures:
            names[i] = "capture"
        for k, i in enumerate(self.inputs):
            if i >= 0:
                names[i] = f"argument {k}"
        return names

    def format(self) -> str:
        """SSA text: one line per instruction, guards among them, source lines beside them."""
        guards: dict[int, list[Guard]] = {}
        for guard in self.guards:
            guards.setdefault(guard.slot, []).append(guard)
        names = self._names()
        lines = []
        for i in range(len(self.code)):
            row = self.row(i)
            operands = []
            for k in range(row.arity):
                o = int(self.code[i, X + k])
                operands.append(f"%{o}" if o >= 0 else repr(float(self.consts[-o - 1])))
            if row.kind in SIGNED:
                static = self.signatures[int(self.code[i, SIG])].static
                operands += [f"{k}={v}" for k, v in static.items()]
                if row.kind is Kind.MOVEMENT and self.code[i, Z]:
                    operands.append(f"offset={int(self.code[i, Z])}")
            place = self.places[i] if i < len(self.places) else None
            text = f"%{i}:{self.spec(i)!r} = {names[i]} {', '.join(operands)}".rstrip()
            lines.append(f"{text:<64}# {where(place)}")
            for guard in guards.get(i, ()):
                seen = "the recorded value" if guard.kind == VALUE else int(guard.expected)
                text = f"guard {GUARD_NAMES[guard.kind]} of %{i} is {seen}"
                lines.append(f"{text:<64}# {where(guard.place)}")
        lines.append("return " + ", ".join(f"%{i}" for i in self.outputs))
        return "\n".join(lines)

    def __str__(self) -> str:
        return self.format()

    def dot(self) -> str:
        """Draw it: a graph in the DOT language, which Graphviz and many viewers read.

        Inputs are boxes, guarded slots have a double border, results an arrow that leads out.
        """
        names = self._names()
        guarded = {g.slot for g in self.guards}
        lines = ["digraph tape {", "  rankdir=TB; node [shape=ellipse, fontname=monospace];"]
        for i in range(len(self.code)):
            row = self.row(i)
            look = (", shape=box" if row is INPUT else "") + (", peripheries=2" if i in guarded else "")
            lines.append(f'  s{i} [label="%{i} {names[i]}\\n{self.spec(i)!r}"{look}];')
            for k in range(row.arity):
                o = int(self.code[i, X + k])
                if o >= 0:
                    lines.append(f"  s{o} -> s{i};")
                else:
                    lines.append(f'  c{i}_{k} [label="{float(self.consts[-o - 1])!r}", shape=plaintext];')
                    lines.append(f"  c{i}_{k} -> s{i};")
        for k, i in enumerate(self.outputs):
            lines.append(f'  r{k} [label="result {k}", shape=plaintext]; s{i} -> r{k};')
        return "\n".join([*lines, "}"])

    # --- verifying it -----------------------------------------------------------------------------

    def check(self) -> None:
        """Verify everything that kernels rely on.

        Raises
        ------
        TapeError
            If an opcode, slot, constant, signature, shape, dtype, guard or array does not fit.
        """
        n = len(self.code)
        _require(self.code.shape == (n, COLUMNS) and self.code.dtype == np.int64, "rows of six integers")
        _require(self.consts.ndim == 1 and self.consts.dtype == np.float64, "constants are float64")
        given = {i for i in self.inputs if i >= 0}
        captured = {i for i, _ in self.captures}
        _require(len(given) == sum(i >= 0 for i in self.inputs), "each argument has a slot of its own")
        _require(not given & captured, "an argument is no capture")
        lines = self.code.tolist()
        outside = given | captured
        combinations: set[tuple[int, ...]] = set()  # of operation and shapes, known to be right
        for i in range(n):
            self._check_row(i, lines, outside, combinations)
        for i in (*given, *captured, *self.constants):
            _require(0 <= i < n and self.row(i) is INPUT, f"%{i} is not an input")
        for i, a in self.constants.items():
            _require(_fits(a, self.spec(i)), f"the constant %{i} is not {self.spec(i)!r}")
        for i in self.outputs:
            _require(0 <= i < n, f"output %{i} does not exist")
        self._check_signatures(lines)
        for guard in self.guards:
            _require(0 <= guard.slot < n, f"guarded slot %{guard.slot} does not exist")
            spec = self.spec(guard.slot)
            if guard.kind == VALUE:
                same = isinstance(guard.expected, bytes) and len(guard.expected) == spec.nbytes
                _require(same, f"guard of %{guard.slot}: {spec.nbytes} bytes expected")
            else:
                _require(guard.kind in (TRUTH, INTEGER), f"guard of %{guard.slot}: unknown kind {guard.kind}")
                low, high = (0, 2) if guard.kind == TRUTH else (-(1 << 63), 1 << 63)
                fits = isinstance(guard.expected, int) and low <= guard.expected < high and spec.size == 1
                _require(fits, f"guard of %{guard.slot}: it cannot be {guard.expected!r}")

    def _check_signatures(self, lines: list[list[int]]) -> None:
        """The parameters that kernels get are those that the shape rules give for verified arguments."""
        from tapegrad.saved.verify import signature_of

        for k in {line[SIG] for line in lines if table_rows[line[OP]].kind in SIGNED}:
            s = self.signatures[k]
            again = signature_of(s.row, s.in_specs, s.static)
            same = again.out is s.out and again.params == s.params
            _require(same, f"{s.row.name}: its parameters are not those of its arguments")

    def _check_row(
        self, i: int, lines: list[list[int]], outside: set[int], combinations: set[tuple[int, ...]]
    ) -> None:
        op, spec_id, *operands, sig = lines[i]
        if not (0 <= op < len(table_rows) and 0 <= spec_id < len(spec_table.by_id)):
            raise TapeError(f"%{i}: unknown opcode {op}, or unknown spec {spec_id}")
        row, spec = table_rows[op], spec_table.by_id[spec_id]
        if row is INPUT:
            once = (i in outside) != (i in self.constants)
            _require(once, f"%{i}: an input must be an argument, a capture or a constant")
            return
        del operands[row.arity :]
        lowest = -len(self.consts) if row.kind is Kind.ELEMENTWISE else 0
        for o in operands:
            if not lowest <= o < i:
                what = f"operand %{o} does not precede its result" if o >= 0 else f"no constant {-o - 1}"
                raise TapeError(f"%{i} = {row.name}: {what}")
        key = (op, spec_id, *[lines[o][SPEC] if o >= 0 else -1 for o in operands])
        if key in combinations:
            return
        inputs = [spec_table.by_id[lines[o][SPEC]] for o in operands if o >= 0]
        if row.kind is Kind.ELEMENTWISE:
            _check_elementwise(i, row, spec, operands, inputs, self.consts)
            if all(s.floating for s in inputs[row.typed_by :]):
                combinations.add(key)  # any constant is right there
            return
        _require(0 <= sig < len(self.signatures), f"%{i} = {row.name}: unknown signature {sig}")
        signature = self.signatures[sig]
        _require(signature.row is row, f"%{i} = {row.name}: signature is for {signature.row.name}")
        _require(signature.out is spec, f"%{i} = {row.name}: result is {spec!r}, not {signature.out!r}")
        _require(tuple(inputs) == signature.in_specs, f"%{i} = {row.name}: operands are {inputs}")
        raw = lines[i][Z] if row.arity < 3 else 0
        if row.kind is Kind.MOVEMENT or row.wants_raw:
            static = signature.static
            size = inputs[0].size if row.kind is Kind.MOVEMENT else spec.size
            _check_strides(f"%{i} = {row.name}", static["shape"], static["strides"], raw, size)
        else:
            _require(raw == 0, f"%{i} = {row.name}: unexpected offset {raw}")


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise TapeError(message)


def _fits(a: Any, spec: Spec) -> bool:
    return (
        isinstance(a, np.ndarray) and a.shape == spec.shape and a.dtype == spec.dtype and a.flags.c_contiguous
    )


def _check_elementwise(
    i: int, row: Any, spec: Spec, operands: Sequence[int], inputs: Sequence[Spec], consts: np.ndarray
) -> None:
    """Shapes broadcast to the result's, and dtypes are those that the row's kernel is compiled for."""
    from tapegrad.engine.kernel_table import elementwise_out
    from tapegrad.ops.record import never_boolean

    try:
        shape = broadcast_shapes(row.name, (), *[s.shape for s in inputs])
    except ValueError as error:
        raise TapeError(f"%{i}: {error}") from None
    _require(shape == spec.shape, f"%{i} = {row.name}: result has shape {spec.shape}, not {shape}")
    rest = iter(inputs)
    dtypes = [next(rest).dtype if o >= 0 else None for o in operands]
    if row.typed_by:
        ok = all(d is not None and d.kind == "b" for d in dtypes[: row.typed_by])
        _require(ok, f"%{i} = {row.name}: its first operand must be boolean")
    typed = [d for d in dtypes[row.typed_by :] if d is not None]
    _require(len(set(typed)) <= 1, f"%{i} = {row.name}: operands of dtypes {typed}")
    _require(len(typed) > 0, f"%{i} = {row.name}: only constants")
    dtype = typed[0]
    expected = elementwise_out(row, dtype)
    _require(expected == spec.dtype, f"%{i} = {row.name}: result is {spec.dtype}, not {expected}")
    refused = {"float": "biu", "bits": "fc", "complex": "biu"}.get(row.dtype_rule, "")
    refused += ("b" if never_boolean(row) else "") + ("" if row.complex is True else "c")
    _require(dtype.kind not in refused, f"%{i} = {row.name}: operands of dtype {dtype}")
    if dtype.kind not in "fc":
        low, high = (0, 1) if dtype.kind == "b" else (np.iinfo(dtype).min, np.iinfo(dtype).max)
        for value in [float(consts[-o - 1]) for o in operands if o < 0]:
            whole = value.is_integer() and low <= int(value) <= high
            _require(whole, f"%{i} = {row.name}: the constant {value} is no {dtype}")


def _check_strides(what: str, shape: Any, strides: Any, offset: int, size: int) -> None:
    """A strided walk stays inside ``size`` elements."""
    _require(len(shape) == len(strides), f"{what}: shape {shape} with strides {strides}")
    if 0 in shape:
        return
    low = high = offset
    for n, s in zip(shape, strides):
        if s < 0:
            low += (n - 1) * s
        else:
            high += (n - 1) * s
    _require(low >= 0 and high < size, f"{what}: elements {low} to {high} of {size}")
