"""Templates of the sweeps: what one row turns into, traced once and kept as flat integers.

A template is a short list of rows over *local* slots: 0 is the cotangent (or tangent), 1 the result, 2 to
4 the operands; its own rows follow.  Rules are called with placeholder tensors on a scratch tape, what
does not lead to the result is dropped, and what is left is written into arrays that `engine.expand`
reads.  Each thread has its own store, so that nothing has to be locked.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import numpy as np

from tapegrad.engine import expand as E
from tapegrad.engine import layout as L
from tapegrad.engine.templates import placeholder
from tapegrad.ops.table import INPUT, Kind
from tapegrad.ops.table import rows as table_rows
from tapegrad.spec import Spec
from tapegrad.tape import OP_MASK, Tape
from tapegrad.tensor import Tensor, tensor_from_array

if TYPE_CHECKING:
    from tapegrad.ops.record import Signature

__all__ = ["RAW", "NeedsNumbers", "Scratch", "Store", "store"]

RAW = 1 << 61  # stands for the varying integer of the row that a template is for
LIMIT = 20_000  # templates: programs with ever-changing shapes start over


class NeedsNumbers(Exception):
    """A row of the template has only constants as operands: they must be known (internal)."""


class Scratch(Tape):
    """A tape whose values do not exist: for rules, and for functions that are batched."""

    __slots__ = ()

    recording = True

    def __init__(self) -> None:
        super().__init__()
        self.limit = 1 << 60
        self.pending_bytes = -(1 << 62)
        self.locked = 1

    def seal(self) -> int:
        """As for any tape; what is pending never grows too large, for it never runs."""
        n = super().seal()
        self.pending_bytes = -(1 << 62)
        return n

    def run(self) -> None:
        """Refuse: there is nothing to compute from."""
        raise RuntimeError(
            "a derivative rule looked at a value; rules must be expressions in tapegrad's functions"
        )

    def capture(self, array: np.ndarray) -> Tensor:
        """An array as an operand: what it holds now."""
        return tensor_from_array(np.array(array))

    def look(self, t: Tensor, kind: int) -> np.ndarray:
        """The value of a tensor from outside; the tape's own have none."""
        if t._tape is self:
            self.run()
        return t._compute()

    def peek(self, t: Tensor) -> np.ndarray:
        """As `look`: showing a value is looking at it."""
        return self.look(t, 0)

    def touch(self, t: Tensor, what: str) -> None:
        """A tensor from outside is about to be changed: not this tape's affair."""

    def placeholder(self, spec: Spec, rg: int = 0) -> Tensor:
        """A tensor that has a spec and no value."""
        return placeholder(self, spec, rg)


class Store:
    """The templates of a thread, as the arrays that `engine.expand` reads."""

    def __init__(self) -> None:
        self.depth = 0  # sweeps under way: rules may need sweeps of their own
        self.reset()

    def reset(self) -> None:
        """Forget all templates."""
        self.stamp: object = object()  # renewed whenever an array is replaced
        self.generation: object = object()  # ... and when templates are forgotten
        self.keys = np.zeros((1024, E.KEY_WORDS), np.int64)
        self.values = np.zeros(1024, np.int64)
        self.n_keys = 0
        self.spans = np.zeros((256, E.SPAN_COLUMNS), np.int64)
        self.rows = np.zeros((1024, E.ROW_COLUMNS), np.int64)
        self.numbers = np.zeros(256)
        self.n_templates = self.n_rows = self.n_numbers = 0
        self.signatures: list[Signature] = []
        self.identities: dict[Signature, int] = {}
        self.arrays: list[np.ndarray] = []
        self.needs: list[tuple[list[int], list[int]]] = []  # per template: signatures and arrays
        self.by_epoch: dict[object, np.ndarray] = {}

    # --- signatures -------------------------------------------------------------------------------

    def identify(self, signature: Signature) -> int:
        """The number of a signature in this store."""
        number = self.identities.get(signature)
        if number is None:
            number = self.identities[signature] = len(self.signatures)
            self.signatures.append(signature)
        return number

    def identities_of(self, tape: Tape) -> np.ndarray:
        """The store's numbers of a tape's signatures."""
        known = self.by_epoch.get(tape.epoch)
        count = len(tape.signatures)
        if known is None or len(known) < count:
            start = 0 if known is None else len(known)
            fresh = [self.identify(s) for s in tape.signatures[start:]]
            grown = np.array(fresh, np.int64)
            known = grown if known is None else np.concatenate([known, grown])
            if len(self.by_epoch) >= 8:
                self.by_epoch.clear()
            self.by_epoch[tape.epoch] = known
        return known

    # --- templates --------------------------------------------------------------------------------

    def remember(self, key: np.ndarray, value: int) -> None:
        """Enter what a key stands for: a template's number plus one, ``NOTHING`` or ``BY_VALUE``."""
        if 2 * self.n_keys >= len(self.values):
            keys, values = self.keys, self.values
            self.keys = np.zeros((2 * len(values), E.KEY_WORDS), np.int64)
            self.values = np.zeros(2 * len(values), np.int64)
            for k in np.flatnonzero(values):
                E.insert(self.keys, self.values, keys[k].copy(), int(values[k]))
            self.stamp = object()
        E.insert(self.keys, self.values, key, value)
        self.n_keys += 1

    def add(self, tape: Tape, result: Tensor, constants: set[int]) -> int:
        """Take in the rows of a scratch tape that lead to ``result``; return the template's number.

        ``constants`` are the local slots that stand for constants.

        Raises
        ------
        NeedsNumbers
            If a row would have nothing but constants to take its dtype from.
        """
        slot = result._slot if result._tape is tape else tape.bind(result)
        n = tape.seal()
        code, live = tape.code[:n].tolist(), _live(tape, slot)
        local = {k: k for k in range(E.LOCALS)}
        seen: dict[tuple, int] = {}
        rows: list[tuple] = []
        numbers: list[float] = []
        arrays: list[int] = []
        signatures: list[int] = []
        uses = 0
        for i in range(E.LOCALS, n):
            if not live[i]:
                continue
            row = table_rows[code[i][L.OP] & OP_MASK]
            if row is INPUT:
                local[i] = E.ARRAY_BASE + len(self.arrays)
                arrays.append(len(self.arrays))
                self.arrays.append(tape.keep[i])
                continue
            operands = []
            for k in range(row.arity):
                o = code[i][L.X + k]
                if o >= 0:
                    operands.append(local[o])
                    continue
                value = float(tape.consts[-o - 1])
                bits = [np.float64(v).tobytes() for v in numbers]
                if np.float64(value).tobytes() not in bits:
                    numbers.append(value)
                    bits.append(np.float64(value).tobytes())
                operands.append(-bits.index(np.float64(value).tobytes()) - 1)
            typed = operands[row.typed_by :] if row.kind is Kind.ELEMENTWISE else operands
            fixed = [o < 0 or o in constants for o in typed]
            if all(fixed) or (row.kind is not Kind.ELEMENTWISE and any(fixed)):
                raise NeedsNumbers
            for o in operands:
                uses |= 1 << (o - 1) if 1 <= o < E.LOCALS and o not in constants else 0
            raw = code[i][L.Z] if row.arity < 3 else 0
            signature = 0
            op = row.op
            if row.kind in (Kind.STRUCTURED, Kind.MOVEMENT):
                signature = self.identify(tape.signatures[code[i][L.SIG]])
                signatures.append(signature)
                op |= E.STRUCTURED
            spec = code[i][L.SPEC]
            if row.rules and _differentiable(spec):
                op |= E.RULED
            padded = (*operands, *[0] * (3 - row.arity))
            x, y, z = padded if row.arity == 3 else (*padded[:2], 0 if raw == RAW else raw)
            line = (op, spec, x, y, z, signature, int(raw == RAW), row.arity)
            if line in seen:
                local[i] = seen[line]
                continue
            seen[line] = local[i] = E.LOCALS + len(rows)
            rows.append(line)
        if slot in constants:
            raise NeedsNumbers
        return self._install(rows, numbers, local[slot], uses, signatures, arrays)

    def _install(
        self,
        rows: list[tuple],
        numbers: list[float],
        result: int,
        uses: int,
        signatures: list[int],
        arrays: list[int],
    ) -> int:
        t = self.n_templates
        self.spans = self._room(self.spans, t + 1)
        self.rows = self._room(self.rows, self.n_rows + len(rows))
        self.numbers = self._room(self.numbers, self.n_numbers + len(numbers))
        if rows:
            self.rows[self.n_rows : self.n_rows + len(rows)] = rows
        self.numbers[self.n_numbers : self.n_numbers + len(numbers)] = numbers
        if 1 <= result < E.LOCALS:
            uses |= 1 << (result - 1)
        plain = not signatures and not arrays
        self.spans[t] = self.n_rows, len(rows), result, self.n_numbers, len(numbers), uses, plain, 0
        self.n_rows += len(rows)
        self.n_numbers += len(numbers)
        self.n_templates += 1
        self.needs.append((signatures, arrays))
        return t

    def _room(self, array: np.ndarray, n: int) -> np.ndarray:
        if n <= len(array):
            return array
        self.stamp = object()
        grown = np.zeros((2 * n, *array.shape[1:]), array.dtype)
        grown[: len(array)] = array
        return grown


def _differentiable(spec: int) -> bool:
    from tapegrad.spec import table

    return table.by_id[spec].differentiable


def _live(tape: Tape, slot: int) -> np.ndarray:
    """Which rows lead to a slot."""
    live = np.zeros(tape.sealed, bool)
    live[slot] = True
    for i in range(slot, -1, -1):
        if live[i]:
            for k in range(table_rows[int(tape.code[i, L.OP]) & OP_MASK].arity):
                if tape.code[i, L.X + k] >= 0:
                    live[tape.code[i, L.X + k]] = True
    return live


class _PerThread(threading.local):
    def __init__(self) -> None:
        self.store = Store()


_stores = _PerThread()


def store() -> Store:
    """The calling thread's store."""
    found = _stores.store
    if found.depth == 0 and found.n_templates > LIMIT:
        found.reset()
    return found
