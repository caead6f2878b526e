"""Turning a schedule into the words that ``vm`` runs."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import numpy as np

from tapegrad._jit import jit, stack
from tapegrad.engine import threads
from tapegrad.engine.kernel_table import library
from tapegrad.engine.layout import ARITY, DTYPE, H_LEAST_WORK, KIND, KIND_ELEMENTWISE, SPLIT, TYPED_BY
from tapegrad.engine.tiles import N_DTYPES, WHICH
from tapegrad.ops.table import ROWS
from tapegrad.ops.table import rows as table_rows
from tapegrad.program import vm
from tapegrad.program.assign import next_place
from tapegrad.program.regions import Region
from tapegrad.program.schedule import C_FUSED, C_LOAD, C_SINK, G_CALL, G_NATIVE, G_REGION, G_SCALARS
from tapegrad.spec import DTYPES, dtype_index
from tapegrad.spec import table as spec_table
from tapegrad.trace import OP, SIG, SPEC, TRUTH, VALUE, Trace, X, Z

if TYPE_CHECKING:
    from tapegrad.program.schedule import Schedule

__all__ = ["Emitter", "kernels_of"]


@functools.cache
def _inline(n_rows: int) -> np.ndarray:
    """Opcode of the machine per opcode of the table, 0 where there is none."""
    out = np.zeros(n_rows, np.int64)
    for name, op in vm.INLINE.items():
        out[ROWS[name].op] = op
    return out


@jit
def _kernel_of(code, info, specs, i):
    """Which kernel runs row ``i``, as an index into the table of kernels."""
    op = code[i, OP]
    dtype = specs[code[i, SPEC], DTYPE]
    for k in range(info[op, TYPED_BY], info[op, ARITY]):
        o = code[i, X + k]
        if o >= 0:
            dtype = specs[code[o, SPEC], DTYPE]
            break
    return (op * N_DTYPES + dtype) * WHICH


@jit
def _kernels_of(code, info, specs, inline, kernel, together):
    for i in range(len(code)):
        kernel[i] = _kernel_of(code, info, specs, i)
        op = code[i, OP]
        together[i] = (
            info[op, KIND] == KIND_ELEMENTWISE and not inline[op] and specs[code[i, SPEC], DTYPE] == 10
        )
        for k in range(info[op, ARITY]):
            o = code[i, X + k]
            if o >= 0 and specs[code[o, SPEC], DTYPE] != 10:
                together[i] = False


def kernels_of(trace: Trace) -> tuple[np.ndarray, np.ndarray]:
    """Per row, its kernel, and whether one call of it can run several float64 scalars."""
    kernel, together = np.zeros(len(trace), np.int64), np.zeros(len(trace), np.bool_)
    info = library.info
    _kernels_of(trace.code, info, spec_table.rows, _inline(len(info)), kernel, together)
    return kernel, together


@jit
def _emit_scalars(
    code, info, specs, inline, kernel, index, const_index, fused, cls, batch, rows, first_guard,
    next_guard, expected, pending, seen, subtract, mask, multiply, words, at,
):  # fmt: skip
    """Write the instructions of a stretch of scalars; returns where they end.

    ``index[i]`` is a slot's place as a number of float64, ``const_index`` a constant's.
    """
    a = stack(3)
    count = 0  # where the count of the batch under way stands
    for m in range(len(rows)):
        i = rows[m]
        if cls[i] == C_FUSED:
            continue
        op = code[i, OP]
        arity = info[op, ARITY]
        f = fused[i]
        if batch[i] >= 0:
            if m == 0 or batch[rows[m - 1]] != batch[i]:
                words[at] = vm.BATCH
                words[at + 1] = kernel[i]
                words[at + 2] = arity
                words[at + 3] = 0
                count = at + 3
                at += 4
            words[count] += 1
            words[at] = index[i]
            for k in range(arity):
                o = code[i, X + k]
                words[at + 1 + k] = index[o] if o >= 0 else const_index[-o - 1]
            at += 1 + arity
        elif f >= 0:
            other = code[i, X + 1] if code[i, X] == f else code[i, X]
            minus = op == subtract
            words[at] = vm.MULTIPLY_ADD
            if minus:
                words[at] = vm.MULTIPLY_SUBTRACT if code[i, X] == f else vm.SUBTRACT_MULTIPLY
            words[at + 1] = index[i]
            first = 2
            if op == mask:
                words[at] = vm.MASKED_MULTIPLY if code[f, OP] == multiply else vm.MASKED_DIVIDE
                other, first = code[i, X], 0
            for k in range(3):
                # the other operand comes last, or first
                o = other if k == first else code[f, X + k - (1 if first == 0 else 0)]
                words[at + 2 + k] = index[o] if o >= 0 else const_index[-o - 1]
            at += 5
        else:
            all_float = True
            for k in range(arity):
                o = code[i, X + k]
                a[k] = index[o] if o >= 0 else const_index[-o - 1]
                if o >= 0 and specs[code[o, SPEC], DTYPE] != 10:
                    all_float = False
            quick = inline[op]
            if quick == vm.WHERE:
                all_float = specs[code[i, SPEC], DTYPE] == 10
            elif vm.AND <= quick <= vm.NOT:
                all_float = True
                for k in range(arity):
                    o = code[i, X + k]
                    if o < 0 or specs[code[o, SPEC], DTYPE] != 0:
                        all_float = False
            if quick and all_float:
                words[at] = quick
                words[at + 1] = index[i]
                for k in range(arity):
                    words[at + 2 + k] = a[k]
                at += 2 + arity
            else:
                words[at] = vm.CALL
                words[at + 1] = kernel[i]
                words[at + 2] = index[i]
                for k in range(3):
                    words[at + 3 + k] = a[k] if k < arity else index[i]
                at += 6
        g = first_guard[i]
        while g >= 0:
            words[at] = vm.TEST
            words[at + 1] = index[i]
            words[at + 2] = expected[g]
            words[at + 3] = g
            words[at + 4] = -1 - seen[0]  # patched when all guards are in
            pending[seen[0]] = g
            seen[0] += 1
            at += 5
            g = next_guard[g]
    return at


class Emitter:
    """Builds the instruction stream and its tables.

    Parameters
    ----------
    trace, schedule : Trace, Schedule
    place, needs : ndarray
        Where values lie in memory, and which are stored at all (``assign.place_values``).
    kernel : ndarray
        Per row, its kernel (``kernels_of``).
    top : int
        Where free memory begins.
    calls : ndarray of bool
        Rows of machine code that call their kernel.
    """

    def __init__(
        self,
        trace: Trace,
        schedule: Schedule,
        place: np.ndarray,
        needs: np.ndarray,
        kernel: np.ndarray,
        top: int,
        calls: np.ndarray,
    ) -> None:
        self.calls = calls
        self.trace, self.schedule, self.place, self.needs = trace, schedule, place, needs
        self.top = top
        self.words = np.zeros(64 + 8 * len(trace) + 16 * len(trace.guards), np.int32)
        self.at = 0
        self.pointers: list[tuple[int, int]] = []  # (base, offset): base 0 is memory, k + 1 external k
        self._pointer_of: dict[tuple[int, int], int] = {}
        self.numbers: list[int] = []  # 64-bit operands
        self.regions: list[int] = []
        self.addresses: list[tuple[int, int]] = []  # numbers that are addresses: (which, memory offset)
        self.fixed: list[tuple[int, np.ndarray]] = []  # memory offset, initial bytes
        self.large = self.large_calls = False  # whether threads may share one of the regions, of the calls
        self.buffer_bytes = 4 * vm.BATCH_BYTES
        self.scratch_words = 16
        self.external: dict[int, int] = {}  # root slot -> external number
        self.kernel = kernel
        self.direct: dict[int, int] = {}  # captures that machine code reads where they lie -> external
        self.functions: list[tuple[str, str]] = []  # machine code to be: names and texts
        self.targets: list[tuple[int, str]] = []  # numbers that are addresses of functions
        self._scalar_constants: dict[tuple[int, bytes], int] = {}
        self._signature_pointer: dict[int, int] = {}

    # --- names of places --------------------------------------------------------------------------

    def pointer(self, base: int, offset: int) -> int:
        """The entry of the pointer table for a place."""
        key = (base, offset)
        found = self._pointer_of.get(key)
        if found is None:
            found = self._pointer_of[key] = len(self.pointers)
            self.pointers.append(key)
        return found

    def of(self, slot: int, further: int = 0) -> int:
        """The entry of the pointer table for a slot's value, or for what lies ``further`` bytes into it."""
        root = int(self.schedule.root[slot])
        offset = int(self.schedule.offset[slot]) + further
        number = self.external.get(root)
        if number is not None:
            return self.pointer(number + 1, offset)
        assert self.place[root] >= 0, f"%{slot} has no place"
        return self.pointer(0, int(self.place[root]) + offset)

    def constant(self, value: float, dtype: np.dtype) -> int:
        """The memory offset of a constant of some dtype."""
        item = (
            np.array(value, np.float64).astype(dtype)
            if dtype.kind in "fc"
            else np.array(int(value)).astype(dtype)
        )
        key = (dtype_index[dtype], item.tobytes())
        found = self._scalar_constants.get(key)
        if found is None:
            found = self._scalar_constants[key] = self.reserve(max(dtype.itemsize, 8))
            self.fixed.append((found, item))
        return found

    def reserve(self, nbytes: int) -> int:
        """Memory that nothing else uses."""
        found, self.top = next_place(self.top, nbytes)
        return found

    def number(self, value: int) -> int:
        """The index of a 64-bit operand."""
        self.numbers.append(value)
        return len(self.numbers) - 1

    def emit(self, *words: int) -> None:
        """Append one instruction."""
        self._reserve_words(len(words))
        self.words[self.at : self.at + len(words)] = words
        self.at += len(words)

    def require(self, slots: np.ndarray) -> None:
        """Make sure that the kernels of some rows are there."""
        for index in np.unique(self.kernel[slots]).tolist():
            if library.kernels.reshape(-1)[index] == 0:
                op, rest = divmod(index, N_DTYPES * WHICH)
                some = slots[self.kernel[slots] == index][0]
                result = dtype_index[self.trace.spec(int(some)).dtype]
                library.address(op, rest // WHICH, 0, result)

    # --- groups -----------------------------------------------------------------------------------

    def run(self) -> None:
        """Emit everything but the copies at the end."""
        guards = self._guards_by_slot()
        seen = np.zeros(1, np.int64)
        total = len(self.trace.guards)
        pending = np.zeros(total + 1, np.int64)
        for slot in list(guards):
            if self.schedule.group[self.schedule.root[slot]] < 0:
                self._emit_guards(guards.pop(slot), pending, seen)
        first, following = self._tests(guards)
        by_group: dict[int, list[int]] = {}
        for slot, indices in guards.items():
            by_group.setdefault(int(self.schedule.group[self.schedule.root[slot]]), []).extend(indices)
        expected = np.array(
            [g.expected if g.kind == TRUTH else 0 for g in self.trace.guards] or [0], np.int64
        )
        scalars = self._scalar_tables()
        for g, rows in enumerate(self.schedule.members):
            kind = self.schedule.kinds[g]
            if kind == G_SCALARS:
                self._reserve_words(8 * len(rows) + 5 * total)
                self.at = _emit_scalars(
                    self.trace.code, library.info, spec_table.rows, _inline(len(library.info)),
                    self.kernel,
                    *scalars, self.schedule.fused, self.schedule.cls, self.schedule.batch, rows, first,
                    following, expected, pending,
                    seen, *(ROWS[name].op for name in ("subtract", "unless_zero", "multiply")), self.words,
                    self.at,
                )  # fmt: skip
            elif kind == G_REGION:
                self._region(g, rows)
            elif kind == G_NATIVE:
                self._stretch(rows.tolist(), by_group, g, pending, seen)
            else:
                assert kind == G_CALL
                for i in rows.tolist():
                    self._call(i)
            self._emit_guards(by_group.get(g, []), pending, seen)
        self._patch_pending(pending[: int(seen[0])])

    def _reserve_words(self, count: int) -> None:
        while self.at + count + 64 > len(self.words):
            self.words = np.concatenate([self.words, np.zeros(len(self.words), np.int32)])

    def _scalar_tables(self) -> tuple[np.ndarray, np.ndarray]:
        """Where scalars and their constants lie, as numbers of float64."""
        s = self.schedule
        rows = s.order[s.kinds[s.group[s.order]] == G_SCALARS] if len(s.order) else s.order
        code = self.trace.code
        if len(rows):
            called = rows[(s.cls[rows] != C_FUSED)]
            self.require(called)
        place = self.place[s.root] + s.offset
        index = np.where((place >= 0) & (place % 8 == 0), place // 8, -1)
        used = code[rows][:, X : X + 3]
        arity = library.info[code[rows, OP], ARITY]
        negative = used[(used < 0) & (np.arange(3) < arity[:, None])]
        const_index = np.zeros(max(1, len(self.trace.consts)), np.int64)
        for o in np.unique(negative).tolist():
            const_index[-o - 1] = self.constant(float(self.trace.consts[-o - 1]), DTYPES[10]) // 8
        return index, const_index

    # --- guards -----------------------------------------------------------------------------------

    def _guards_by_slot(self) -> dict[int, list[int]]:
        found: dict[int, list[int]] = {}
        for k, guard in enumerate(self.trace.guards):
            found.setdefault(guard.slot, []).append(k)
        return found

    def _tests(self, guards: dict[int, list[int]]) -> tuple[np.ndarray, np.ndarray]:
        """Take out of ``guards`` those that a stretch of scalars makes itself: truths of booleans."""
        first = np.full(len(self.trace) + 1, -1, np.int64)
        following = np.full(len(self.trace.guards) + 1, -1, np.int64)
        s = self.schedule
        for slot in list(guards):
            inside = s.root[slot] == slot and s.kinds[s.group[slot]] == G_SCALARS
            if not inside or self.trace.spec(slot).dtype.kind != "b":
                continue
            truths = [k for k in guards[slot] if self.trace.guards[k].kind == TRUTH]
            guards[slot] = [k for k in guards[slot] if self.trace.guards[k].kind != TRUTH]
            for k in reversed(truths):
                following[k] = first[slot]
                first[slot] = k
        return first, following

    def _emit_guards(self, indices: list[int], pending: np.ndarray, seen: np.ndarray) -> None:
        for k in indices:
            guard = self.trace.guards[k]
            spec = self.trace.spec(guard.slot)
            if guard.kind == VALUE:
                assert isinstance(guard.expected, bytes)
                offset = self.reserve(len(guard.expected))
                self.fixed.append((offset, np.frombuffer(guard.expected, np.uint8)))
                expected = self.number(0)
                self.addresses.append((expected, offset))
            else:
                assert isinstance(guard.expected, int)
                expected = self.number(int(guard.expected))
            self.emit(
                vm.GUARD, guard.kind, self.of(guard.slot), dtype_index[spec.dtype], expected,
                self.number(spec.nbytes), k, -1 - int(seen[0]),
            )  # fmt: skip
            pending[seen[0]] = k
            seen[0] += 1

    def _patch_pending(self, order: np.ndarray) -> None:
        """Tell each guard which guards come after it: a failure is reported once none of them precedes it."""
        least = np.full(len(order) + 1, 1 << 30, np.int64)
        for k in range(len(order) - 1, -1, -1):
            least[k] = min(least[k + 1], order[k])
        _patch(self.words, self.at, least)

    # --- machine code -----------------------------------------------------------------------------

    def _stretch(
        self, rows: list[int], by_group: dict[int, list[int]], g: int, pending: np.ndarray, seen: np.ndarray
    ) -> None:
        """Write the functions of a stretch, and the words that call them."""
        from tapegrad.program.lower.ir import functions
        from tapegrad.program.lower.scalars import Stretch

        tests: dict[int, list[int]] = {}
        others: list[int] = []
        for k in by_group.get(g, ()):
            guard = self.trace.guards[k]
            truth = guard.kind == TRUTH and self.trace.spec(guard.slot).dtype.kind == "b"
            if truth:
                tests.setdefault(guard.slot, []).append(k)
            else:
                others.append(k)
        by_group[g] = others
        calls = [i for i in rows if self.calls[i]]
        if calls:
            self.require(np.array(calls))
        for name, text, tested in functions(Stretch(self, rows, tests), f"stretch_{g}", self.reserve):
            for k in tested:
                pending[seen[0]] = k
                seen[0] += 1
            address = self.number(0)
            self.functions.append((name, text))
            self.targets.append((address, name))
            self.emit(vm.NATIVE, address, -int(seen[0]))

    # --- regions ----------------------------------------------------------------------------------

    def _region(self, g: int, rows: np.ndarray) -> None:
        self.require(rows[self.schedule.cls[rows] != C_SINK])
        record = Region(self, int(self.schedule.shapes[g]), rows).build()
        self.emit(vm.REGION, len(self.regions))
        self.regions.extend(record)

    # --- single rows ------------------------------------------------------------------------------

    def _call(self, i: int) -> None:
        trace, code = self.trace, self.trace.code
        row = table_rows[int(code[i, OP])]
        spec = trace.spec(i)
        if self.schedule.cls[i] == C_LOAD:
            source = self.of(int(code[i, X]), int(code[i, Z]) * spec.dtype.itemsize)
            self.emit(vm.COPY, self.of(i), source, self.number(spec.nbytes))
            return
        if spec.size == 0 or self._scatters_scalar(i, row):
            return
        self.require(np.array([i]))
        operands = [self.of(int(code[i, X + k])) for k in range(row.arity)]
        operands += [self.pointer(0, 0)] * (3 - row.arity)
        raw = int(code[i, Z]) if row.arity < 3 else 0
        sig = int(code[i, SIG])
        params = self._signature_pointer.get(sig)
        if params is None:
            values = trace.signatures[sig].params or (0,)
            offset = self.reserve(8 * len(values))
            self.fixed.append((offset, np.array(values, np.int64)))
            params = self._signature_pointer[sig] = self.pointer(0, offset)
        call = int(self.kernel[i]), self.of(i), *operands, params, self.number(raw), i
        split = int(library.info[row.op, SPLIT])
        if split and row.arity:
            x = trace.spec(int(code[i, X]))
            if max(x.size, spec.size) >= threads.shared[H_LEAST_WORK]:
                self.large_calls = True
                sizes = x.dtype.itemsize, spec.dtype.itemsize, dtype_index[spec.dtype]
                self.emit(vm.SPLIT, *call, split, *sizes)
                return
        self.emit(vm.STRUCTURED, *call)

    def _scatters_scalar(self, i: int, row: Any) -> bool:
        """Write one float64 into an array, or add it to an element, without a kernel."""
        code, s = self.trace.code, self.schedule
        if row.name not in ("scatter_strided", "add_strided"):
            return False
        x, g = int(code[i, X]), int(code[i, X + row.arity - 1])
        slots = (i, x, g)
        near = all(int(s.root[k]) not in self.external for k in slots)
        if self.trace.spec(g).size != 1 or self.trace.spec(i).dtype != DTYPES[10] or not near:
            return False
        place = [int(self.place[s.root[k]]) + int(s.offset[k]) for k in slots]
        element = (place[0] + 8 * int(code[i, Z])) // 8
        nbytes = self.number(self.trace.spec(i).nbytes)
        if row.name == "scatter_strided":
            self.emit(vm.ZERO, self.of(i), nbytes)
            self.emit(vm.MOVE, element, place[2] // 8)
            return True
        if place[0] != place[1]:
            self.emit(vm.COPY, self.of(i), self.of(x), nbytes)
        self.emit(vm.ADD, element, element, place[2] // 8)
        return True


@jit
def _patch(words, n, least):
    pc = 0
    while pc < n:
        op = words[pc]
        if op == vm.TEST:
            words[pc + 4] = least[-1 - words[pc + 4] + 1]
        elif op == vm.GUARD:
            words[pc + 7] = least[-1 - words[pc + 7] + 1]
        elif op == vm.NATIVE:
            words[pc + 2] = least[-words[pc + 2]]
        if op == vm.BATCH:
            pc += 4 + (words[pc + 2] + 1) * words[pc + 3]
        pc += LENGTHS[op]


LENGTHS = np.zeros(40, np.int64)
for _op, _n in (
    (vm.END, 1), (vm.CALL, 6), (vm.REGION, 2), (vm.STRUCTURED, 9), (vm.GUARD, 8), (vm.TEST, 5), (vm.COPY, 4),
    (vm.ZERO, 3), (vm.MOVE, 3), (vm.NATIVE, 3), (vm.MASKED_MULTIPLY, 5), (vm.MASKED_DIVIDE, 5),
    (vm.MULTIPLY_ADD, 5), (vm.MULTIPLY_SUBTRACT, 5), (vm.SUBTRACT_MULTIPLY, 5), (vm.SPLIT, 13),
):  # fmt: skip
    LENGTHS[_op] = _n
for _name, _op in vm.INLINE.items():
    LENGTHS[_op] = 2 + ROWS[_name].arity
