"""The tape: a flat Wengert list that operations append to.

One row of integers per instruction, ``(op, spec, x, y, z, signature)``.  An instruction's number
is also the slot of its result, so operands always precede results and a row needs no "output" column.
Elementwise operands that are Python scalars are negative: ``-(k + 1)`` names constant ``k``.
Structured rows use ``z`` for an integer that varies from call to call (an offset).

Operations write their row straight into the arrays: machine code (``ops.fast``) at no cost worth naming,
Python (what machine code hands on, and all of it on Python 3.10) at that of storing a row with NumPy.

``tensors[slot]`` is the Tensor that stands for a slot: the object itself until its value has been
computed, a weak reference afterwards.  A Tensor nobody else refers to is found by its reference count
when the tape runs; its value is then never written to memory.  (A weak reference or a ``__del__`` per
operation was measured and rejected: 125 ns and more, a fifth of the whole cost of recording.)
"""

from __future__ import annotations

import gc
import os
import threading
import weakref
from array import array
from typing import TYPE_CHECKING, Any

import numpy as np

from tapegrad import spec as specs
from tapegrad.ops.table import INPUT, Kind
from tapegrad.ops.table import rows as table_rows

if TYPE_CHECKING:
    from tapegrad.ops.record import Signature
    from tapegrad.tensor import Tensor

__all__ = ["GRAD", "OP_MASK", "Tape", "TapeError", "current"]

OP, SPEC, X, Y, Z, SIG, ADDR, STATE = range(8)
COLUMNS = 8  # an instruction; then per slot, where its value lies (0: nowhere) and what happened to it
GRAD = 1 << 16  # flag in the op column: the result takes part in differentiation
OP_MASK = GRAD - 1

# Bits of the state column.
FREED = 1  # a backward pass has freed what this instruction saved
CUT = 4  # freed, and its operands are gone
MUTATED = 2  # the slot's tensor was changed in place afterwards, by instructions from STATE >> 8 on

CAPACITY = 1280  # instructions that fit a new tape
SEAL_EVERY = 1024  # instructions: pending work is run at the latest then (more would outgrow the L2 cache)
PENDING_BYTES = 256 << 20
RECLAIM_EVERY = 512


class TapeError(RuntimeError):
    """A tape that is not well formed."""


Place = tuple[Any, int]  # a code object and an instruction offset in it: a source line, found when asked

_binding = threading.Lock()


class no_collection:
    """Keep the garbage collector off while a row is appended: a finalizer may record."""

    __slots__ = ("enabled",)

    def __enter__(self) -> None:
        self.enabled = gc.isenabled()
        gc.disable()

    def __exit__(self, *exc: object) -> None:
        if self.enabled:
            gc.enable()


class Ghost:
    """Stands where a Tensor stood that has moved to another slot."""

    __slots__ = ("__weakref__", "_spec")

    def __init__(self, spec: specs.Spec) -> None:
        self._spec = spec


class Tape:
    """A thread's record of operations.

    Attributes
    ----------
    tensors : list
        One entry per slot: Tensor, weak reference or ``None``.
    places : list
        One entry per slot: the code object that recorded it (``offsets`` has the place in it).
    code : ndarray of int64, shape (capacity, 8)
        The sealed instructions, and per slot the address of its value and its state.
    """

    # Slots: with more than 30 attributes in a dictionary, every access on the record path would be a lookup.
    __slots__ = (
        "anomaly", "bindings", "chunks", "code", "const_pool", "consts", "depth", "epoch",
        "evaluated", "functions", "generation", "grad_enabled", "hold", "hooked", "ident",
        "in_place_since", "keep",
        "leaves", "limit", "locked", "mutations", "offsets", "param_arrays", "param_start", "params",
        "pending_bytes", "places", "reclaim_at", "reclaim_bytes", "runner",
        "seal_every", "sealed", "sealed_consts", "signatures", "stored_bytes", "survivors", "tensors",
        "thread", "unmarked",
    )  # fmt: skip

    recording = False  # whether a function is being recorded for replay (``recording.Recording``)

    def __init__(self) -> None:
        self.thread = threading.current_thread()
        self.ident = threading.get_ident()
        self.grad_enabled = True
        self.anomaly = False
        self.consts: list[float] = []
        self.tensors: list[Any] = []
        self.hold = self.tensors.append
        self.places: list[Any] = []
        self.offsets = np.zeros(CAPACITY + 1, np.int64)
        self.generation = 0  # counts renumberings
        self.locked = 0  # >0: slots must not be renumbered
        self.pending_bytes = 0
        self.seal_every = SEAL_EVERY
        self.limit = SEAL_EVERY
        self.sealed = 0
        self.evaluated = 0  # slots below have been run, as far as somebody held them
        self.runner: Any = None  # the engine's working memory
        self.survivors: list[int] = []  # slots that had a Tensor when they were run
        self.chunks: list[np.ndarray] = []  # memory of small values saved for backward
        self.sealed_consts = 0
        self.code = np.zeros((CAPACITY, COLUMNS), np.int64)
        self.const_pool = np.zeros(64)
        self.keep: dict[int, Any] = {}  # slot -> array that owns a stored, unheld value
        self.mutations: dict[int, tuple[int, int, str]] = {}  # slot -> (since, by, name): see mutated
        self.unmarked: list[int] = []  # of those, the ones not yet marked in the state column
        self.in_place_since = 0  # where the in-place operation under way began
        self.reset_signatures()
        self.bindings: dict[int, int] = {}  # id(tensor of another thread) -> slot
        self.leaves: dict[int, Any] = {}  # slot -> leaf that has since moved to another slot
        self.hooked: set[int] = set()
        self.functions: dict[int, Any] = {}  # slot -> what a user's own derivative belongs to
        self.depth = 0  # how many functional transforms are running their function
        self.reclaim_at = RECLAIM_EVERY
        self.stored_bytes = 0
        self.reclaim_bytes = 64 << 20

    def reset_signatures(self) -> None:
        """Forget all signatures (no instruction may refer to one)."""
        self.epoch: object = object()
        self.signatures: list[Signature] = []
        self.params: list[int] = []
        self.param_start: list[int] = []
        self.param_arrays: tuple[np.ndarray, np.ndarray] | None = None

    # --- recording --------------------------------------------------------------------------------

    def append(
        self,
        op: int,
        spec: int,
        x: int = 0,
        y: int = 0,
        where: Place | None = None,
        z: int = 0,
        signature: int = 0,
    ) -> None:
        """Append an instruction; its Tensor follows."""
        code, offset = where or (None, 0)
        n = len(self.tensors)
        if n >= len(self.code):
            self._grow(n + 1)
        self.code[n] = (op, spec, x, y, z, signature, 0, 0)
        self.offsets[n], self.offsets[-1] = offset, n + 1
        self.places.append(code)

    def relocate(self, start: int, where: Place | None, stop: int | None = None) -> None:
        """Attribute instructions ``start`` to ``stop`` to another source line."""
        stop = len(self.places) if stop is None else stop
        code, offset = where or (None, 0)
        for i in range(start, stop):
            self.places[i] = code
            self.offsets[i] = offset

    def _written(self) -> int:
        """How many rows are in the arrays, sealed or not."""
        return max(self.sealed, int(self.offsets[-1]))

    def constant(self, value: float) -> int:
        """Add a constant; return the operand that names it."""
        self.consts.append(value)
        return -len(self.consts)

    def bind_signature(self, signature: Signature) -> int:
        """Give ``signature`` a number on this tape."""
        index = len(self.signatures)
        self.signatures.append(signature)
        self.param_start.append(len(self.params))
        self.params.extend(signature.params or (0,))
        self.param_arrays = None
        signature.bound = (self.epoch, index)
        return index

    def bind(self, t: Tensor) -> int:
        """Give a tensor that is not on this tape a slot: a leaf, or another thread's value."""
        home = t._tape
        if home is not None and t._value is None:
            home.require_owner(t)
        if home is not None and home is not self:
            slot = self.bindings.get(id(t))
            if slot is not None and self.tensor_at(slot) is t and self.keep.get(slot) is t._value:
                return slot
            if t._rg and not t.is_leaf:
                home.require_owner(t)
        if t._value is None:
            t._realize()
        with no_collection():
            if t._tape is self:  # a finalizer was quicker
                return t._slot
            slot = len(self.tensors)
            self.keep[slot] = t._value
            self.append(INPUT.op | (GRAD if t._rg else 0), t._spec.id)
            self.hold(t)
        with _binding:  # two threads may find the same fresh leaf
            if t._tape is None:
                t._slot, t._tape = slot, self
            elif t._tape is not self:
                self.bindings[id(t)] = slot
        return slot

    def require_owner(self, t: Tensor) -> None:
        """Refuse to touch another living thread's unfinished work."""
        if self.ident != threading.get_ident() and self.thread.is_alive():
            raise RuntimeError(
                f"a tensor recorded in thread {self.thread.name!r} was used in thread "
                f"{threading.current_thread().name!r}; its history lives on that thread's tape. "
                "Call detach() and numpy() on it there, or compute it in this thread"
            )

    def note_bytes(self, nbytes: int) -> None:
        """Account for pending results; run pending work when there is a lot of it."""
        self.pending_bytes += nbytes
        if self.pending_bytes > PENDING_BYTES or len(self.tensors) >= self.limit:
            self.run()

    def mutated(self, slot: int, by: int, name: str, t: Tensor) -> None:
        """Note that the Tensor at ``slot`` now stands for slot ``by``.

        Instructions before the in-place operation that read the slot's value in reverse are refused;
        the operation's own may (PyTorch keeps a copy for them).
        """
        self.mutations[slot] = (self.in_place_since, by, name)
        self.unmarked.append(slot)
        if t._value is not None:
            self.keep[slot] = t._value
        self.tensors[slot] = Ghost(t._spec)
        if t._rg:
            self.leaves[slot] = weakref.ref(t)

    def _forget(self, t: Tensor) -> None:
        """Let go of a Tensor that leaves the tape with its value."""
        slot = t._slot
        self.keep[slot] = t._value
        self.tensors[slot] = Ghost(t._spec)
        if t._rg:
            self.leaves[slot] = weakref.ref(t)

    # --- running ----------------------------------------------------------------------------------

    def run(self) -> None:
        """Compute everything pending that somebody holds."""
        from tapegrad.engine.driver import run_forward

        run_forward(self)

    def seal(self) -> int:
        """Take in what was appended; return the number of instructions."""
        n = self._written()
        if n == self.sealed:
            return n
        if len(self.tensors) != n or len(self.places) != n:
            self.offsets[-1] = 0
            self._recover(self.sealed)
            raise RuntimeError(
                "recording was interrupted in the middle of an operation; "
                "the operations since the last look at a value are lost"
            )
        if len(self.consts) > self.sealed_consts:
            k = len(self.consts)
            if k > len(self.const_pool):
                pool = np.zeros(2 * k)
                pool[: self.sealed_consts] = self.const_pool[: self.sealed_consts]
                self.const_pool = pool
            self.const_pool[self.sealed_consts : k] = array("d", self.consts[self.sealed_consts :])
            self.sealed_consts = k
        self.sealed = n
        self.pending_bytes = 0
        return n

    def _grow(self, n: int) -> None:
        code = np.zeros((2 * n, COLUMNS), np.int64)
        written = self._written()
        code[:written] = self.code[:written]
        offsets = np.zeros(2 * n + 1, np.int64)
        offsets[:written] = self.offsets[:written]
        offsets[-1] = written
        self.code, self.offsets = code, offsets

    def _recover(self, start: int) -> None:
        for t in self.tensors[start:]:
            t._tape = None  # reading it says that it was lost
        del self.tensors[start:], self.places[start:]

    def parameter_arrays(self) -> tuple[np.ndarray, np.ndarray]:
        """The signatures' integer parameters: where each starts, and all of them."""
        if self.param_arrays is None:
            self.param_arrays = (
                np.array(self.param_start or [0], np.int64),
                np.array(self.params or [0], np.int64),
            )
        return self.param_arrays

    def tensor_at(self, slot: int) -> Tensor | None:
        """The live Tensor of a slot, if there is one."""
        held = self.tensors[slot]
        return held() if type(held) is weakref.ref else held

    # --- looking at it ----------------------------------------------------------------------------

    def __len__(self) -> int:
        return len(self.tensors)

    def source(self, slot: int) -> str:
        """``file:line`` of the user's line that recorded an instruction."""
        self.seal()
        code = self.places[slot] if slot < len(self.places) else None
        if code is None:
            return "-"
        offset = int(self.offsets[slot])
        line = None
        for begin, end, number in code.co_lines():
            if begin <= offset < end:
                line = number
        return f"{os.path.basename(code.co_filename)}:{line}"

    def format(self, start: int = 0, stop: int | None = None) -> str:
        """SSA text of instructions ``start`` to ``stop``."""
        n = self.seal()
        stop = n if stop is None else min(stop, n)
        lines = []
        for i in range(start, stop):
            row = table_rows[int(self.code[i, OP]) & OP_MASK]
            spec = specs.table.by_id[int(self.code[i, SPEC])]
            operands = []
            for k in range(row.arity):
                o = int(self.code[i, X + k])
                if self.code[i, STATE] & CUT:
                    operands.append("freed")
                    continue
                operands.append(f"%{o}" if o >= 0 else repr(self.consts[-o - 1]))
            if row.kind in (Kind.STRUCTURED, Kind.MOVEMENT):
                static = self.signatures[int(self.code[i, SIG])].static
                operands += [f"{k}={v}" for k, v in static.items()]
                if row.kind is Kind.MOVEMENT and self.code[i, Z]:
                    operands.append(f"offset={int(self.code[i, Z])}")
            flag = " grad" if self.code[i, OP] & GRAD else ""
            text = f"%{i}:{spec!r} = {row.name} {', '.join(operands)}".rstrip()
            lines.append(f"{text:<58}{flag:<6}# {self.source(i)}")
        return "\n".join(lines)

    def __str__(self) -> str:
        return self.format() or "(empty tape)"

    def __repr__(self) -> str:
        return f"<Tape of {len(self)} instructions, thread {self.thread.name!r}>"

    def check(self) -> None:
        """Verify the tape.

        Raises
        ------
        TapeError
            If an opcode is unknown, an operand does not precede its result, or shapes disagree.
        """
        n = self.seal()
        for i in range(n):
            op = int(self.code[i, OP])
            if not 0 <= (op & OP_MASK) < len(table_rows) or op & ~(OP_MASK | GRAD):
                raise TapeError(f"%{i}: unknown opcode {op}")
            row = table_rows[op & OP_MASK]
            if self.code[i, STATE] & CUT:
                continue
            if not 0 <= self.code[i, SPEC] < len(specs.table.by_id):
                raise TapeError(f"%{i}: unknown spec {int(self.code[i, SPEC])}")
            spec = specs.table.by_id[int(self.code[i, SPEC])]
            inputs = []
            for k in range(row.arity):
                o = int(self.code[i, X + k])
                if o >= i:
                    raise TapeError(f"%{i} = {row.name}: operand %{o} does not precede its result")
                if o < -len(self.consts) or (o < 0 and row.kind is not Kind.ELEMENTWISE):
                    raise TapeError(f"%{i} = {row.name}: no constant {-o - 1}")
                if o >= 0:
                    inputs.append(specs.table.by_id[int(self.code[o, SPEC])])
            if row.kind is Kind.ELEMENTWISE:
                try:
                    shape = specs.broadcast_shapes(row.name, *[s.shape for s in inputs])
                except ValueError as error:
                    raise TapeError(f"%{i}: {error}") from None
                if shape != spec.shape:
                    raise TapeError(f"%{i} = {row.name}: result has shape {spec.shape}, not {shape}")
            elif row.kind is not Kind.INPUT:
                index = int(self.code[i, SIG])
                if not 0 <= index < len(self.signatures):
                    raise TapeError(f"%{i} = {row.name}: unknown signature {index}")
                signature = self.signatures[index]
                if signature.row is not row or signature.out is not spec:
                    raise TapeError(f"%{i} = {row.name}: signature is for {signature.row.name}")
                if tuple(inputs) != signature.in_specs:
                    raise TapeError(f"%{i} = {row.name}: operands {inputs}, not {signature.in_specs}")


class _Current(threading.local):
    """``current.tape`` is the calling thread's tape."""

    def __init__(self) -> None:
        self.tape = Tape()


current = _Current()
