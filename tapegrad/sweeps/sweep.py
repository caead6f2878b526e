"""Running a sweep: the Python side of `engine.expand`.

``pull`` and ``Reverse`` record cotangents, ``push`` tangents, ``spread`` a batch.  A `Sweep` prepares the
arrays, hands the loop what it asks for (templates, room, signatures) and takes the rows it has
written over into the tape: `commit`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from tapegrad.engine import expand as E
from tapegrad.engine import layout as L
from tapegrad.engine.kernel_table import library
from tapegrad.engine.memory import address_of
from tapegrad.ops.record import record_elementwise, user_location
from tapegrad.ops.table import ROWS
from tapegrad.ops.table import rows as table_rows
from tapegrad.spec import table as spec_table
from tapegrad.sweeps.rules import provide
from tapegrad.sweeps.store import store
from tapegrad.tape import FREED, GRAD, MUTATED, OP_MASK, Tape
from tapegrad.tensor import LEAF, NONLEAF, Tensor, tensor_from_array

__all__ = ["Reverse", "Sweep", "handle", "pull", "push", "slot_of", "spread"]


def slot_of(tape: Tape, t: Tensor) -> int:
    """The slot of a tensor on ``tape``."""
    return t._slot if t._tape is tape else tape.bind(t)


def handle(tape: Tape, slot: int) -> Tensor:
    """The tensor of a slot; a new one if nobody holds one."""
    t = tape.tensor_at(slot)
    if isinstance(t, Tensor) and t._tape is tape and t._slot == slot:
        return t
    t = Tensor()
    op = int(tape.code[slot, L.OP])
    t._tape, t._slot = tape, slot
    t._spec = spec_table.by_id[int(tape.code[slot, L.SPEC])]
    t._rg = 0 if not op & GRAD else NONLEAF if table_rows[op & OP_MASK].rules else LEAF
    t._value = t._extra = None
    if slot >= tape.evaluated:
        tape.tensors[slot] = t  # so that whoever holds it gets a value
    return t


def mark_mutations(tape: Tape) -> None:
    """Note in the state column which slots' tensors were changed in place, and since when."""
    for slot in tape.unmarked:
        tape.code[slot, L.STATE] = (
            (int(tape.code[slot, L.STATE]) & 255) | MUTATED | tape.mutations[slot][0] << 8
        )
    tape.unmarked.clear()


NOBODY = 1 << 40  # from here on, integers in ``tape.tensors``


class Sweep:
    """One sweep over ``source`` that appends to ``tape`` (the same tape, most of the time)."""

    def __init__(self, tape: Tape, loop: Callable, source: Tape | None = None) -> None:
        self.tape, self.loop = tape, loop
        self.source = tape if source is None else source
        self.place = user_location(2) or (None, 0)
        self.store = store()
        self.n = self.source.seal()
        mark_mutations(self.source)
        library.refresh()
        self.state = np.zeros(E.EXPAND_STATE, np.int64)
        self.frame = np.zeros(E.EXPAND_FRAME, np.int64)
        self.marks = np.full(self.n, -1, np.int64)
        self.wanted = np.zeros(self.n, np.int64)
        self.pauses = np.zeros(self.n, np.int64)
        self.map = self.marks
        self.pinned: list[Any] = []  # tensors whose slots the sweep refers to
        self.given: set[int] = set()  # slots of tensors that others have, or got
        self.state[E.ADD_OP] = ROWS["add"].op
        f = self.frame
        f[E.E_STATE], f[E.E_INFO] = address_of(self.state), address_of(library.info)
        f[E.E_MARKS], f[E.E_WANTED] = address_of(self.marks), address_of(self.wanted)
        f[E.E_PAUSES], f[E.E_MAP] = address_of(self.pauses), address_of(self.map)
        self.stamp: object = None
        self.generation = self.store.generation
        self.prepared: tuple = ()
        self.bases = self.ready = self.signatures = self.slots = np.zeros(0, np.int64)
        if self.source.functions:
            first: dict[int, int] = {}
            for slot, node in sorted(self.source.functions.items()):
                lowest = first.setdefault(id(node), slot)
                self.pauses[slot] = E.FUNCTION if slot == lowest else E.SKIP

    # --- between Python and the loop --------------------------------------------------------------

    def enter(self) -> None:
        """Bring all addresses up to date; what was recorded meanwhile is sealed."""
        tape, s, f, st = self.tape, self.state, self.frame, self.store
        n = tape.seal()
        if n + 64 > len(tape.code):
            tape._grow(n + 64)
        source = self.source
        if source is not tape:
            source.seal()
        self.code, self.consts, self.source_code = tape.code, tape.const_pool, source.code
        f[E.E_CODE], f[E.E_CONSTS] = address_of(tape.code), address_of(tape.const_pool)
        f[E.E_SOURCE], f[E.E_SOURCE_CONSTS] = address_of(source.code), address_of(source.const_pool)
        s[E.N_ROWS], s[E.ROW_LIMIT] = n, len(tape.code)
        s[E.N_CONSTS], s[E.CONST_LIMIT] = tape.sealed_consts, len(tape.const_pool)
        if self.generation is not st.generation:  # a hook's own sweeps have started the store over
            self.generation, self.prepared = st.generation, ()
            self.bases = self.ready = self.signatures = self.slots = np.zeros(0, np.int64)
        if self.stamp is not st.stamp:
            self.stamp = st.stamp
            self.arrays = (st.keys, st.values, st.spans, st.rows, st.numbers)
            f[E.E_KEYS], f[E.E_VALUES] = address_of(st.keys), address_of(st.values)
            f[E.E_SPANS], f[E.E_ROWS] = address_of(st.spans), address_of(st.rows)
            f[E.E_NUMBERS] = address_of(st.numbers)
            s[E.HASH_MASK] = len(st.values) - 1
        self._widen()

    def _widen(self) -> None:
        """Room for what the store has learnt."""
        st, f = self.store, self.frame
        sizes = (len(st.spans), len(st.signatures), len(st.arrays))
        if self.prepared != sizes:
            old = (self.bases, self.ready, self.signatures, self.slots)
            self.prepared = sizes
            self.bases = np.full(sizes[0], -1, np.int64)
            self.ready = np.zeros(sizes[0], np.int64)
            self.signatures = np.full(sizes[1] + 1, -1, np.int64)
            self.slots = np.full(sizes[2] + 1, -1, np.int64)
            for a, b in zip(old, (self.bases, self.ready, self.signatures, self.slots)):
                b[: len(a)] = a
            f[E.E_BASES], f[E.E_READY] = address_of(self.bases), address_of(self.ready)
            f[E.E_SIGNATURES], f[E.E_ARRAYS] = address_of(self.signatures), address_of(self.slots)
        self.identities = st.identities_of(self.source)
        f[E.E_IDENTITIES] = address_of(self.identities) if len(self.identities) else 0

    def commit(self) -> None:
        """Take the rows that the loop has written over into the tape."""
        tape, s = self.tape, self.state
        start, stop = len(tape.tensors), int(s[E.N_ROWS])
        if stop > start:
            # integers stand for slots without a Tensor: unlike other objects they cost the collector nothing
            tape.tensors.extend(range(NOBODY, NOBODY + stop - start))
            code, offset = self.place
            tape.places.extend([code] * (stop - start))
            tape.offsets[start:stop] = offset
            tape.sealed = stop
        first, last = tape.sealed_consts, int(s[E.N_CONSTS])
        if last > first:
            tape.consts.extend(tape.const_pool[first:last].tolist())
            tape.sealed_consts = last

    def run(self) -> int:
        """Go on until the sweep is done or pauses; returns the status, everything committed."""
        store, s = self.store, self.state
        store.depth += 1
        try:
            while True:
                self.enter()
                status = int(self.loop(self.frame))
                self.commit()
                if status == E.MISSING:
                    self._provide()
                elif status == E.UNREADY:
                    self._make_ready(int(s[E.WHERE]))
                elif status == E.ROOM:
                    n, c = len(self.tape.tensors) + int(s[E.NEED_ROWS]), self.tape.sealed_consts
                    if n > len(self.tape.code):
                        self.tape._grow(n)
                    if c + s[E.NEED_CONSTS] > len(self.tape.const_pool):
                        pool = np.zeros(2 * (c + int(s[E.NEED_CONSTS])))
                        pool[:c] = self.tape.const_pool[:c]
                        self.tape.const_pool = pool
                elif status in (E.FREED_AT, E.MUTATED_AT):
                    self._refuse(status)
                else:
                    return status
        finally:
            store.depth -= 1

    def _provide(self) -> None:
        s = self.state
        i, key = int(s[E.NEXT]), s[E.KEY : E.KEY + E.KEY_WORDS].copy()
        which = int(key[0]) % E.VALUED
        row = self.source.code[i]
        specs = []
        for k in range(3):
            o = int(row[L.X + k])
            batched = which >= 8 * E.BATCH and which >> k & 1
            specs.append(spec_table.by_id[int(self.tape.code[self.marks[o], L.SPEC])] if batched else None)
        provide(self.store, self.source, i, key, which, specs)

    def _make_ready(self, t: int) -> None:
        """Give a template's signatures numbers on the tape, and its constant arrays slots."""
        tape = self.tape
        signatures, arrays = self.store.needs[t]
        for k in signatures:
            if self.signatures[k] < 0:
                signature = self.store.signatures[k]
                bound = signature.bound
                self.signatures[k] = bound[1] if bound[0] is tape.epoch else tape.bind_signature(signature)
        for k in arrays:
            if self.slots[k] < 0:
                constant = tensor_from_array(self.store.arrays[k])
                self.pinned.append(constant)
                self.slots[k] = tape.bind(constant)
        self.ready[t] = 1

    def _refuse(self, status: int) -> None:
        from tapegrad.engine.driver import freed_error, mutated_error

        where = int(self.state[E.WHERE])
        if status == E.FREED_AT:
            raise freed_error(self.source, where)
        raise mutated_error(self.source, where, int(self.state[E.CHANGED]))

    def tensor(self, slot: int) -> Tensor:
        """A tensor for a slot, whose value can be looked at."""
        t = handle(self.tape, slot)
        if slot < self.tape.evaluated and self.tape.tensor_at(slot) is not t:
            # A hook has looked at a value since: what nobody held then was dropped.
            t = record_elementwise(ROWS["positive"], (t,))
        self.pinned.append(t)
        return t

    def result(self, slot: int) -> Tensor:
        """A tensor of its own for a result: not one that stands for something else already."""
        t = self.tensor(slot)
        return t if slot >= self.n and slot not in self.given else record_elementwise(ROWS["positive"], (t,))


class _quiet:
    """Keep slots where they are, and say whether what is recorded takes part in differentiation."""

    def __init__(self, tape: Tape, record: bool) -> None:
        self.tape, self.record = tape, record

    def __enter__(self) -> None:
        self.outer = self.tape.grad_enabled
        self.tape.locked += 1
        self.tape.grad_enabled = self.record

    def __exit__(self, *exc: object) -> None:
        self.tape.locked -= 1
        self.tape.grad_enabled = self.outer


# --- reverse --------------------------------------------------------------------------------------


class Reverse(Sweep):
    """Cotangents of everything that some roots depend on (``tape.locked`` all the while)."""

    def __init__(
        self,
        tape: Tape,
        roots: Sequence[tuple[int, Tensor]],
        wanted: Iterable[int] | None,
        record: bool,
        since: int = 0,
    ) -> None:
        self.late: dict[int, int] = {}  # cotangents of leaves that came to the tape during the sweep
        seeds = [(slot, slot_of(tape, g)) for slot, g in roots]
        self.hooks: dict[int, Tensor] = {}
        self.after: dict[int, int] = {}  # how a slot pauses the sweep once its hooks have been called
        super().__init__(tape, E.sweep_reverse)
        for slot, node in tape.functions.items():
            if len(node.slots) == 1:  # unlike one of several, it says by itself whether to stop
                self.pauses[slot] = E.LONE
        self.pinned += [g for _, g in roots]
        self.state[E.RECORD] = record
        if wanted is not None:
            self.state[E.RESTRICTED] = 1
            low = self.n
            for slot in wanted:
                self.wanted[slot] = 1
                low = min(low, slot)
            self._mark(low)
            self.state[E.STOP] = max(low, since)
        for slot, seed in seeds:
            self.give(slot, seed)
        self.state[E.NEXT] = max(slot for slot, _ in roots)

    def _mark(self, low: int) -> None:
        self.frame[E.E_SOURCE] = address_of(self.source.code)
        for slot, node in sorted(self.source.functions.items()):
            if slot >= low:  # what a user's function depends on is not on the tape
                E.mark_dependent(self.frame, low, slot)
                low = slot
                self.wanted[slot] |= any(s >= 0 and self.wanted[s] for s in node.in_slots)
        E.mark_dependent(self.frame, low, self.n)

    def watch(self, slot: int, t: Tensor) -> None:
        """Stop where the cotangent of ``slot`` is complete, to call the hooks of ``t``."""
        self.hooks[slot] = t
        if self.pauses[slot] not in (E.FUNCTION, E.LONE):  # those stop anyway
            self.after[slot] = int(self.pauses[slot])  # an elder result of a function is skipped
            self.pauses[slot] = E.HOOK

    def give(self, slot: int, g: int) -> None:
        """Add the cotangent in slot ``g`` to that of ``slot``."""
        known = int(self.marks[slot]) if slot < self.n else self.late.get(slot, -1)
        if known >= 0:
            total = record_elementwise(ROWS["add"], (handle(self.tape, known), handle(self.tape, g)))
            self.pinned.append(total)
            g = total._slot
        if slot < self.n:
            self.marks[slot] = g
        else:
            self.late[slot] = g

    def finish(self) -> None:
        """Run to the end, calling hooks and users' own derivatives on the way."""
        from tapegrad.engine.driver import call_hooks

        while self.run() == E.PAUSED:
            slot = int(self.state[E.NEXT])
            kind = self.pauses[slot]
            if slot in self.hooks and self.marks[slot] >= 0:
                g = call_hooks(self.hooks[slot], self.tensor(int(self.marks[slot])))
                self.pinned.append(g)
                self.marks[slot] = slot_of(self.tape, g)
                self.given.add(int(self.marks[slot]))
            if kind == E.HOOK:
                self.pauses[slot] = self.after[slot]
            else:
                self.pauses[slot] = E.SKIP
                self._call(slot)

    def _call(self, slot: int) -> None:
        """A user's own derivative, once the cotangents of all its results are complete."""
        functions = self.source.functions
        node = functions[slot]
        found = [int(self.marks[s]) if s >= 0 else -1 for s in node.slots]
        if max(found) < 0:
            return
        cotangents = [self.tensor(g) if g >= 0 else None for g in found]
        for t, g in node.reverse(cotangents):
            self.pinned.append((t, g))
            where = slot_of(self.tape, t)
            if where >= slot and t._rg == NONLEAF:
                raise RuntimeError(
                    "one of the variables needed for gradient computation has been modified by an "
                    f"inplace operation: an input of the function recorded at {self.source.source(slot)}"
                )
            self.given.add(slot_of(self.tape, g))
            self.give(where, g._slot)

    def found(self, wanted: Iterable[int] | None) -> list[tuple[int, int]]:
        """Slots that get a gradient, and the slots of their cotangents; youngest first.

        Those asked for; else leaves, and results that retain theirs.
        """
        tape = self.tape
        if wanted is not None:
            found = [(s, int(self.marks[s]) if s < self.n else self.late.get(s, -1)) for s in wanted]
            return sorted([pair for pair in found if pair[1] >= 0], reverse=True)
        reached = np.flatnonzero(self.marks >= 0)
        ops = tape.code[reached, L.OP]
        slots = reached[(ops & GRAD != 0) & (library.info[ops & OP_MASK, L.RULES] == 0)].tolist()
        for s in tape.hooked:
            t = tape.tensor_at(s)
            if isinstance(t, Tensor) and t._slot == s and t.retains_grad and self.marks[s] >= 0:
                slots.append(s)
        found = [(s, int(self.marks[s])) for s in slots]
        return sorted(found + list(self.late.items()), reverse=True)

    def free(self) -> None:
        """Mark what the sweep went through as freed."""
        tape = self.tape
        reached = np.flatnonzero(self.marks >= 0)
        ops = tape.code[reached, L.OP]
        through = reached[(ops & GRAD != 0) & (library.info[ops & OP_MASK, L.RULES] != 0)]
        if self.state[E.RESTRICTED]:
            through = through[self._passed(through) & (through >= self.state[E.STOP])]
        tape.code[through, L.STATE] |= FREED
        if tape.functions:
            nodes = [tape.functions[s] for s in through.tolist() if s in tape.functions]
            for node in dict.fromkeys(nodes):
                node.free()

    def _passed(self, rows: np.ndarray) -> np.ndarray:
        """Which rows lead on to something that was asked for; the others are where the sweep ended."""
        code = self.tape.code[rows]
        arity = library.info[code[:, L.OP] & OP_MASK, L.ARITY]
        out = np.zeros(len(rows), bool)
        for k in range(3):
            o = np.where(arity > k, code[:, L.X + k], -1)
            flagged = self.tape.code[o, L.OP] & GRAD != 0
            out |= (o >= 0) & flagged & (self.wanted[o] != 0)
        functions = self.tape.functions
        if functions:
            for j, slot in enumerate(rows.tolist()):
                if slot in functions:
                    out[j] = any(s >= 0 and self.wanted[s] for s in functions[slot].in_slots)
        return out


def pull(tape: Tape, out: Tensor, x: Tensor, g: Tensor) -> Tensor | None:
    """The vector-Jacobian product of ``out`` by ``x`` with ``g``, recorded; ``None`` if it is zero."""
    if not out._rg:
        return None
    with _quiet(tape, False):
        root, target = slot_of(tape, out), slot_of(tape, x)
        sweep = Reverse(tape, [(root, g)], [target], False)
        sweep.finish()
        found = int(sweep.marks[target])
        return None if found < 0 else handle(tape, found)


# --- forward --------------------------------------------------------------------------------------


def push(
    tape: Tape, inputs: Sequence[tuple[Tensor, Tensor]], outputs: Sequence[Tensor], record: bool
) -> list[Tensor | None]:
    """The tangents of ``outputs``, given those of ``inputs``; ``None`` where they are zero."""
    with _quiet(tape, record):
        given = [(slot_of(tape, x), slot_of(tape, t)) for x, t in inputs]
        asked = [slot_of(tape, t) for t in outputs]
        sweep = Sweep(tape, E.sweep_forward)
        sweep.pinned += [t for _, t in inputs]
        sweep.state[E.RECORD] = record
        for slot, t in given:
            sweep.marks[slot] = t
        for slot in asked:
            sweep.wanted[slot] = 1
        low, high = min(slot for slot, _ in given), max(asked, default=-1) + 1
        sweep.frame[E.E_SOURCE] = address_of(tape.code)
        if tape.functions:  # what they read is not on the tape
            sweep.wanted[:high] = 1
        E.mark_wanted(sweep.frame, low, high, False)
        sweep.state[E.NEXT], sweep.state[E.STOP] = low, high
        while sweep.run() == E.PAUSED:
            _push_through(sweep)
        return [sweep.result(int(sweep.marks[s])) if sweep.marks[s] >= 0 else None for s in asked]


def _push_through(sweep: Sweep) -> None:
    """A user's own derivative in the forward direction."""
    slot = int(sweep.state[E.NEXT])
    node = sweep.source.functions[slot]
    sweep.pauses[slot] = E.SKIP
    tangents = []
    for x in node.inputs:
        where = slot_of(sweep.tape, x) if isinstance(x, Tensor) and x._rg else -1
        t = int(sweep.marks[where]) if 0 <= where < sweep.n else -1
        tangents.append(sweep.tensor(t) if t >= 0 else None)
    if all(t is None for t in tangents):
        return
    for s, t in zip(node.slots, node.forward(tangents)):
        if t is not None and s >= 0:
            sweep.pinned.append(t)
            sweep.marks[s] = slot_of(sweep.tape, t)


# --- batch ----------------------------------------------------------------------------------------


def spread(
    tape: Tape,
    source: Tape,
    batched: Sequence[tuple[int, Tensor]],
    shared: Sequence[tuple[int, Tensor]],
    outputs: Sequence[int],
    start: int,
) -> list[tuple[Tensor, bool]]:
    """Rows of ``source`` from ``start`` on, for a whole batch at once.

    ``batched`` pairs slots of the source with tensors that have one more axis in front, ``shared`` with
    tensors of the same shape.  Returns, for each output, a tensor and whether it has the batch axis.
    """
    with _quiet(tape, tape.grad_enabled):
        sweep = Sweep(tape, E.sweep_batch, source)
        if source is tape:
            sweep.map = np.arange(sweep.n)
        else:
            sweep.map = np.full(sweep.n, -1, np.int64)
            for slot, t in shared:
                sweep.map[slot] = slot_of(tape, t)
        sweep.frame[E.E_MAP] = address_of(sweep.map)
        for slot, t in batched:
            sweep.marks[slot] = slot_of(tape, t)
        sweep.pinned += [batched, shared]
        for slot in outputs:
            sweep.wanted[slot] = 1
        stop = max(outputs, default=-1) + 1
        sweep.frame[E.E_SOURCE] = address_of(source.code)
        E.mark_wanted(sweep.frame, start, stop, False)
        sweep.state[E.NEXT], sweep.state[E.STOP] = start, stop
        sweep.run()
        out = []
        for slot in outputs:
            lane = bool(sweep.marks[slot] >= 0)
            out.append((sweep.tensor(int(sweep.marks[slot] if lane else sweep.map[slot])), lane))
        return out
