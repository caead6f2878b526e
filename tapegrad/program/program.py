"""Programs: what a trace becomes so that it can be replayed.

A program is built once (passes, schedule, places, words) and never changes.  What a replay writes to belongs
to an *instance*: memory, pointer table, frame.  Instances are made as needed and kept, one per thread that is
replaying at the same time, so that threads do not wait for each other and nothing is allocated.

A program that is run often gets a *native* twin, built from the same trace, in which stretches of scalars are
machine code (``program.lower``); from then on instances are the twin's.
"""

from __future__ import annotations

import ctypes
import functools
import threading
import weakref
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tapegrad import _jit
from tapegrad.engine.kernel_table import library
from tapegrad.engine.memory import address_of, aligned
from tapegrad.ops.table import rows as table_rows
from tapegrad.program import vm
from tapegrad.program.assign import next_place, place_values
from tapegrad.program.emit import Emitter, kernels_of
from tapegrad.program.lower.choose import lowerable
from tapegrad.program.lower.code import Code
from tapegrad.program.passes import optimise
from tapegrad.program.schedule import C_CALL, C_INPUT, C_REGION, C_SINK, Schedule
from tapegrad.spec import Spec
from tapegrad.spec import table as spec_table
from tapegrad.tape import TapeError
from tapegrad.trace import OP, Trace, X

__all__ = ["Program", "ProgramError", "build"]

MEMORY_LIMIT = 8 << 31  # bytes: scalars are named by 32-bit numbers
SMALL = 4096  # bytes: smaller arguments are copied into the program's memory, so that scalars are read inline


class ProgramError(Exception):
    """A kernel refused its operands (an index out of bounds): recording again gives the user's error."""

    def __init__(self, row: int, status: int) -> None:
        super().__init__(row, status)
        self.row, self.status = row, status


def build(trace: Trace) -> Program:
    """Plan a trace for replay."""
    return Program(trace)


@functools.cache
def _entry() -> tuple[int, int]:
    """Addresses of the machine and of its tile loop."""
    tiles = _jit.kernel("run_tiles", vm.run_tiles, 2, {})
    return _jit.kernel("run_program", vm.run_program, 1, {}), tiles


def data_address(a: np.ndarray) -> int:
    """The address of an array's first element (the fastest way that NumPy and ctypes offer)."""
    try:
        return ctypes.addressof(ctypes.c_char.from_buffer(a))
    except (TypeError, ValueError):  # read-only, or empty
        return a.ctypes.data


class Captured:
    """What a program and its native twin share: how captures are bound, and what failed guards saw."""

    __slots__ = ("seen", "steady", "version")

    def __init__(self, steady: bool) -> None:
        self.steady = steady  # renewed with the version
        self.version = 0  # renewed when a capture reads another array
        self.seen: dict[int, np.ndarray] = {}


class Program:
    """A trace, ready to run.

    Attributes
    ----------
    trace : Trace
        What is run: the optimised trace.
    tier : str
        ``"interpret"``, ``"lowering"`` while machine code is made, ``"native"``.
    left : int
        How many replays of one instance are noticed (``lower.tier``); zero: never.
    """

    def __init__(self, trace: Trace, optimised: bool = False, lower: bool = False) -> None:
        self.trace = trace = trace if optimised else optimise(trace)
        if len(trace) > 1 << 27:
            raise TapeError(f"a program of {len(trace)} instructions is too long")
        far = np.zeros(len(trace), np.bool_)
        slots = [(slot, "input", k) for k, slot in enumerate(trace.inputs) if slot >= 0]
        slots += [(slot, "capture", k) for k, (slot, _) in enumerate(trace.captures)]
        slots += [(slot, "constant", slot) for slot in trace.constants]
        for slot, _, _ in slots:
            far[slot] = trace.spec(slot).nbytes > SMALL
        for slot in trace.outputs:
            far[slot] |= trace.spec(slot).nbytes > SMALL
        pinned = [*trace.outputs, *(g.slot for g in trace.guards)]
        kernel, together = kernels_of(trace)
        native, calls = np.zeros(len(trace), np.bool_), np.zeros(len(trace), np.bool_)
        if lower:
            native, calls, _ = lowerable(trace)
            together = np.where(native, calls, together)
        self.schedule = schedule = Schedule(trace, far, pinned, kernel, together, native)
        far &= (schedule.root == np.arange(len(trace))) & (schedule.group >= 0) | (schedule.cls == C_INPUT)
        top = 64  # the first bytes stay unused: operands that do not exist point there
        places = {}
        for slot, _, _ in slots:
            if not far[slot]:
                places[slot], top = next_place(top, trace.spec(slot).nbytes)
        place, needs, top = place_values(trace, schedule, far, pinned, top)
        for slot, offset in places.items():
            place[slot] = offset
        emitter = Emitter(trace, schedule, place, needs, kernel, top, calls)
        self.emitter = emitter
        self._name_externals(far, slots)
        if lower:
            self._read_directly(far, pinned, native)
        for number, k in self.captured:
            slot = trace.captures[k][0]
            if not far[slot] and slot not in emitter.direct:
                words = emitter.pointer(0, places[slot]), emitter.pointer(number + 1, 0)
                emitter.emit(vm.COPY, *words, emitter.number(trace.spec(slot).nbytes))
        emitter.run()
        self._emit_outputs()
        emitter.emit(vm.END)
        if emitter.top > MEMORY_LIMIT:
            raise TapeError(f"a program that needs {emitter.top >> 20} MiB for its values is too large")
        self.code = self._compile() if emitter.functions else None
        self._freeze(slots, far, place)
        self._pool: list[_Instance] = []
        self.tier = "native" if self.code is not None else "interpret"
        self.native: Program | None = None
        self.left = 0
        self.handles: weakref.WeakSet[Any] = weakref.WeakSet()  # what machine code calls

    @property
    def steady(self) -> bool:
        """Whether captures always read the same memory."""
        return self.shared.steady

    @steady.setter
    def steady(self, value: bool) -> None:
        self.shared.steady = value

    @property
    def version(self) -> int:
        """Counts how often a capture was bound to another array."""
        return self.shared.version

    @version.setter
    def version(self, value: int) -> None:
        self.shared.version = value

    def become(self, native: Program) -> None:
        """Use a native twin from now on: replays under way end as they began."""
        native.shared = self.shared
        self.native, self._pool = native, native._pool
        self.tier = "native"
        for handle in list(self.handles):
            handle.upgrade(self)

    # --- building ---------------------------------------------------------------------------------

    def _name_externals(self, far: np.ndarray, slots: list) -> None:
        """Number what lies outside of the memory: large arguments, captures, constants, results."""
        external = self.emitter.external
        self.far_inputs: list[tuple[int, int]] = []
        self.captured: list[tuple[int, int]] = []  # all captures; small ones are copied when a replay begins
        self.far_constants: list[tuple[int, np.ndarray]] = []
        self.n_external = 0
        for slot, kind, k in slots:
            if not far[slot] and kind != "capture":
                continue
            if far[slot]:
                external[slot] = self.n_external
            if kind == "constant":
                self.far_constants.append((self.n_external, self.trace.constants[slot]))
            else:
                (self.captured if kind == "capture" else self.far_inputs).append((self.n_external, k))
            self.n_external += 1
        self.far_outputs: dict[int, int] = {}  # number of the result -> external
        cls = self.schedule.cls
        for k, slot in enumerate(self.trace.outputs):
            if far[slot] and cls[slot] in (C_REGION, C_CALL, C_SINK) and slot not in external:
                external[slot] = self.n_external
                self.far_outputs[k] = self.n_external
                self.n_external += 1

    def _read_directly(self, far: np.ndarray, pinned: list[int], native: np.ndarray) -> None:
        """Captures that only machine code reads are not copied."""
        schedule, code = self.schedule, self.trace.code
        elsewhere = set(schedule.root[pinned].tolist())
        others = np.flatnonzero(~native)
        for k in range(3):
            reads = [i for i in others.tolist() if table_rows[int(code[i, OP])].arity > k]
            operands = code[reads, X + k]
            elsewhere |= set(schedule.root[operands[operands >= 0]].tolist())
        for number, k in self.captured:
            slot = self.trace.captures[k][0]
            if not far[slot] and slot not in elsewhere:
                self.emitter.direct[slot] = number

    def _compile(self) -> Code:
        e = self.emitter
        code = Code(e.functions)
        for number, name in e.targets:
            e.numbers[number] = code.addresses[name]
        return code

    def _emit_outputs(self) -> None:
        """Results that are not computed where they go: copies at the end, or views of the memory."""
        e = self.emitter
        self.near_outputs: list[tuple[int, int]] = []  # (number of the result, memory offset)
        for k, slot in enumerate(self.trace.outputs):
            if k in self.far_outputs:
                continue
            root = int(self.schedule.root[slot])
            spec = self.trace.spec(slot)
            if root not in e.external and spec.nbytes <= SMALL:
                self.near_outputs.append((k, int(e.place[root]) + int(self.schedule.offset[slot])))
                continue
            self.far_outputs[k] = self.n_external
            e.emit(vm.COPY, e.pointer(self.n_external + 1, 0), e.of(slot), e.number(spec.nbytes))
            self.n_external += 1

    def _freeze(self, slots: list, far: np.ndarray, place: np.ndarray) -> None:
        e, trace = self.emitter, self.trace
        self.words = e.words[: e.at].copy()
        self.memory_bytes = e.top + 64
        self.image = np.zeros(self.memory_bytes, np.uint8)
        for offset, data in e.fixed:
            raw = np.ascontiguousarray(data).reshape(-1).view(np.uint8)
            self.image[offset : offset + raw.size] = raw
        for slot, kind, k in slots:
            if kind == "constant" and not far[slot]:
                raw = np.ascontiguousarray(trace.constants[k]).reshape(-1).view(np.uint8)
                self.image[place[slot] : place[slot] + raw.size] = raw
        self.near_inputs = [
            (k, int(place[s]), trace.spec(s)) for s, kind, k in slots if kind == "input" and not far[s]
        ]
        self.shared = Captured(all(c.steady for _, c in trace.captures))
        self.input_specs: list[Spec] = [trace.spec(s) if s >= 0 else None for s in trace.inputs]  # type: ignore[misc]
        self.output_specs: list[Spec] = [trace.spec(s) for s in trace.outputs]
        self.numbers = np.array(e.numbers or [0], np.int64)
        self.number_offsets = e.addresses  # numbers that are addresses in memory
        self.regions = np.array(e.regions or [0], np.int64)
        self.pointers = e.pointers
        self.patches = np.array(
            [(k, base - 1, offset) for k, (base, offset) in enumerate(e.pointers) if base] or [(0, 0, 0)],
            np.int64,
        )
        self.n_patches = sum(1 for base, _ in e.pointers if base)
        self.guard_places = [
            (
                int(place[self.schedule.root[g.slot]]),
                int(self.schedule.offset[g.slot]),
                int(self.schedule.root[g.slot]),
            )
            for g in trace.guards
        ]
        self.external_of = dict(e.external)
        self.scratch_words, self.buffer_bytes = e.scratch_words, e.buffer_bytes
        self.kernels = library.kernels
        self.specs = spec_table.rows
        self.run_program, self.run_tiles = _entry()
        del self.emitter, self.schedule

    # --- running ----------------------------------------------------------------------------------

    def run(
        self, arrays: Sequence[np.ndarray], out: Sequence[np.ndarray] | None = None
    ) -> tuple[int, list[np.ndarray] | None]:
        """Replay.

        Parameters
        ----------
        arrays : sequence of ndarray
            One C-contiguous array of the recorded shape and dtype per argument.
        out : sequence of ndarray, optional
            C-contiguous arrays to write the results to.

        Returns
        -------
        failed : int
            Index of the first guard that does not hold, -1 if all do.
        results : list of ndarray or None
            Fresh arrays (or those of ``out``); ``None`` if a guard failed.

        Raises
        ------
        ProgramError
            If a kernel refuses its operands.
        """
        pool = self._pool
        try:
            instance = pool.pop()
        except IndexError:
            instance = self.instance()
        try:
            return instance.run(arrays, out)
        finally:
            pool.append(instance)

    def replay(self, arguments: Sequence[Any]) -> list[Any] | None:
        """Replay and return results as users want them: fresh arrays, and Python numbers for 0-d ones.

        ``None`` if a guard failed or a kernel refused: ``run`` says which.
        """
        pool = self._pool
        try:
            instance = pool.pop()
        except IndexError:
            instance = self.instance()
        try:
            return (instance.direct or instance.replay)(arguments)
        finally:
            pool.append(instance)

    def instance(self) -> _Instance:
        """Memory to replay on, of the fastest form that there is."""
        if self.native is not None:
            return _Instance(self.native)
        return _Instance(self, self.notice if self.left else None)

    def notice(self) -> None:
        """An instance has replayed ``left`` times."""
        from tapegrad.program.lower.tier import request

        request(self)

    def replay_into(self, arguments: Sequence[Any], out: Sequence[np.ndarray]) -> bool:
        """Replay and write results to ``out``; ``False`` if a guard failed or a kernel refused."""
        arrays = [a if a.__class__ is np.ndarray else np.array(a) for a in arguments]
        try:
            return self.run(arrays, out)[0] < 0
        except ProgramError:
            return False

    def looked(self, k: int) -> np.ndarray:
        """The value that guard ``k`` saw when this thread's last replay failed."""
        return self.shared.seen.pop(threading.get_ident())


def _hot(status: int, notice: Callable[[], None] | None) -> bool:
    """Whether a status says that the program has run, and often."""
    if status == vm.HOT and notice is not None:
        notice()
    return status == vm.HOT


class _Instance:
    """What one replay at a time writes to."""

    def __init__(self, program: Program, notice: Callable[[], None] | None = None) -> None:
        p = self.program = program
        self.notice = notice
        self.memory, base = aligned(p.memory_bytes)
        self.start = base - address_of(self.memory)
        self.memory[self.start : self.start + p.memory_bytes] = p.image
        self.buffers, buffers = aligned(p.buffer_bytes)
        self.scratch = np.zeros(p.scratch_words, np.int64)
        self.external = np.zeros(max(1, p.n_external), np.int64)
        self.pointers = np.array([base + offset if not b else 0 for b, offset in p.pointers] or [0], np.int64)
        self.numbers = p.numbers.copy()
        for index, offset in p.number_offsets:
            self.numbers[index] = base + offset
        for number, a in p.far_constants:
            self.external[number] = address_of(a)
        f = self.frame = np.zeros(vm.FRAME, np.int64)
        f[vm.CODE], f[vm.MEMORY], f[vm.POINTERS] = address_of(p.words), base, address_of(self.pointers)
        f[vm.KERNELS], f[vm.WORDS], f[vm.REGIONS] = map(address_of, (p.kernels, self.numbers, p.regions))
        f[vm.PATCHES], f[vm.N_PATCHES] = address_of(p.patches), p.n_patches
        f[vm.EXTERNAL], f[vm.SCRATCH], f[vm.BUFFERS] = (
            address_of(self.external),
            address_of(self.scratch),
            buffers,
        )
        f[vm.SPECS], f[vm.RUN_TILES] = address_of(p.specs), p.run_tiles
        f[vm.LEFT] = p.left if notice is not None else 0
        self.frame_at = address_of(f)
        self.inputs = [(k, self.view(at, spec)) for k, at, spec in p.near_inputs]
        self.captured = [(number, p.trace.captures[k][1]) for number, k in p.captured]
        self.kept: list[np.ndarray] = []  # what captures read must live while the program runs
        self.version = -1
        self.outputs = [(k, self.view(at, p.output_specs[k])) for k, at in p.near_outputs]
        self.ext = memoryview(self.external)
        self.target = p.run_program
        self.plain = not (p.far_inputs or p.far_outputs)
        doubles = np.frombuffer(self.memory, np.float64, (p.memory_bytes - 8) // 8, self.start)
        self.doubles = memoryview(doubles)
        # results in order: the index of a float64 number, or a view of the memory
        self.results: list[tuple[int, np.ndarray | None]] = []
        for (_, at), (_, view) in zip(p.near_outputs, self.outputs):
            number = view.dtype == np.float64 and not view.shape and at % 8 == 0
            self.results.append((at // 8, None) if number else (-1, view))
        self.quick = self._quick()
        self.direct = None if self.captured or not self.plain else self.quick

    def view(self, offset: int, spec: Spec) -> np.ndarray:
        """Part of the memory as an array."""
        return np.ndarray(spec.shape, spec.dtype, self.memory, self.start + offset)

    def run(
        self, arrays: Sequence[np.ndarray], out: Sequence[np.ndarray] | None
    ) -> tuple[int, list[np.ndarray] | None]:
        """Replay on this instance's memory."""
        p = self.program
        for k, view in self.inputs:
            view[...] = arrays[k]
        if self.captured and not (p.shared.steady and self.version == p.shared.version):
            self._fetch()
        for number, k in p.far_inputs:
            self.ext[number] = data_address(arrays[k])
        results: list[Any] = [None] * len(p.output_specs)
        for k, number in p.far_outputs.items():
            a = self._target(p, k, arrays, out)
            results[k] = a
            self.ext[number] = data_address(a)
        status = vm.execute(p.run_program, self.frame_at)
        if status and not _hot(status, self.notice):
            return self._failed(status)
        if out is None:
            for k, view in self.outputs:
                results[k] = view.copy()
            return -1, results
        for k, view in self.outputs:
            out[k][...] = view
        for k in p.far_outputs:
            if results[k] is not out[k]:
                out[k][...] = results[k]
        return -1, list(out)

    def replay(self, arguments: Sequence[Any]) -> list[Any] | None:
        """Replay on this instance's memory; results as users want them."""
        if not (self.plain and self.program.shared.steady):
            try:
                arrays = [a if a.__class__ is np.ndarray else np.array(a) for a in arguments]
                _, results = self.run(arrays, None)
            except ProgramError:
                return None
            if results is None:
                return None
            return [a if a.shape else a.item() for a in results]
        if self.captured and self.version != self.program.shared.version:
            self._fetch()
        return self.quick(arguments)

    def _quick(self) -> Callable[[Sequence[Any]], list[Any] | None]:
        """What ``replay`` does once captures are in place and if no array is large; all looked up beforehand.

        What a small program costs is what Python does around it: attributes, loops, a comprehension.
        """
        execute, target, frame, doubles = vm.execute, self.target, self.frame_at, self.doubles
        inputs, results, notice = tuple(self.inputs), tuple(self.results), self.notice

        def general(arguments: Sequence[Any]) -> list[Any] | None:
            for k, view in inputs:
                view[...] = arguments[k]
            status = execute(target, frame)
            if status and not _hot(status, notice):
                return None
            return [
                doubles[i] if view is None else view.copy() if view.shape else view.item()
                for i, view in results
            ]

        if len(inputs) != 1 or len(results) != 2 or results[0][1] is not None or results[1][1] is None:
            return general
        ((k, argument),) = inputs
        number, gradient = results[0][0], results[1][1]
        if not gradient.shape:
            return general

        def value_and_array(arguments: Sequence[Any]) -> list[Any] | None:
            argument[...] = arguments[k]
            status = execute(target, frame)
            if status and not _hot(status, notice):
                return None
            return [doubles[number], gradient.copy()]

        return value_and_array

    def _fetch(self) -> None:
        """Look up where captured arrays lie."""
        self.version = self.program.shared.version
        self.kept = [capture.array() for _, capture in self.captured]
        for (number, _), a in zip(self.captured, self.kept):
            self.ext[number] = data_address(a)

    def _target(self, p: Program, k: int, arrays: Any, out: Any) -> np.ndarray:
        """Where result ``k`` is written: never over what is still to be read."""
        spec = p.output_specs[k]
        if out is None:
            return np.empty(spec.shape, spec.dtype)
        read = [arrays[j] for _, j in p.far_inputs] + self.kept
        if any(np.may_share_memory(out[k], a) for a in read):
            return np.empty(spec.shape, spec.dtype)
        return out[k]

    def _failed(self, status: int) -> tuple[int, None]:
        if status < 0:
            raise ProgramError(int(self.frame[vm.FAILED_ROW]), int(status))
        p = self.program
        k = int(status) - 1
        place, offset, root = p.guard_places[k]
        spec = p.trace.spec(p.trace.guards[k].slot)
        if root in p.external_of:
            address = int(self.external[p.external_of[root]]) + offset
            raw = (ctypes.c_char * spec.nbytes).from_address(address)
            value = np.frombuffer(raw, spec.dtype).reshape(spec.shape).copy()
        else:
            value = self.view(place + offset, spec).copy()
        p.shared.seen[threading.get_ident()] = value
        return k, None
