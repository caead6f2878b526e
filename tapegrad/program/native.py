"""Compiled tapes for machine code: functions that ``@njit`` code calls, and C function pointers.

No Python object is involved in a call: a *handle* (an array of addresses) leads to the programs of one
signature and to instances of each, which calls from any number of threads share.
"""

from __future__ import annotations

import ctypes
import functools
import os
import weakref
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tapegrad import _jit
from tapegrad._jit import at, invoke, jit
from tapegrad.engine import threads
from tapegrad.engine.memory import address_of
from tapegrad.program import vm
from tapegrad.program.program import Program, _Instance, data_address
from tapegrad.spec import Spec

__all__ = ["Handle", "c_address", "native_call", "njit_function"]

# Machine code that calls a handle cannot be asked whether it still will: its memory is never given back.
_immortal: list[Any] = []
_handles: weakref.WeakSet[Handle] = weakref.WeakSet()
LARGE = 1 << 20  # bytes of a program's memory from which on threads share fewer instances
PER_PROGRAM = 8  # instances of a small program


@functools.cache
def _entry() -> int:
    return _jit.kernel("run_native", vm.run_native, 3, {})


class Handle:
    """The programs of one signature, as addresses; must live as long as anything that calls it.

    Parameters
    ----------
    programs : sequence of Program
        Tried in turn, from the one that ran last, until all guards of one hold.
    """

    def __init__(self, programs: Sequence[Program]) -> None:
        if not programs:
            raise ValueError("no recorded program: call the compiled function once, so that there is one")
        self.programs = list(programs)
        bytes_each = max(p.memory_bytes + p.buffer_bytes for p in programs)
        count = min(PER_PROGRAM, max(2, os.cpu_count() or 2)) if bytes_each < LARGE else 2
        self.kept: list[Any] = []
        self.captured: list[tuple[Any, np.ndarray]] = []
        self.made: dict[str, Any] = {}  # functions for machine code that call this handle
        self.read: dict[tuple[int, int], np.ndarray] = {}  # captured arrays, by program and capture
        self.instances = [[self._instance(p) for _ in range(count)] for p in programs]
        frames = [i.frame_at for group in self.instances for i in group]
        self.words = np.array([len(programs), count, 0, programs[0].run_program, 0, *frames], np.int64)
        self.address = address_of(self.words)
        for p in programs:
            p.handles.add(self)
            self.upgrade(p)
        first = programs[0]
        self.inputs: list[Spec] = list(first.input_specs)
        self.outputs: list[Spec] = list(first.output_specs)
        _handles.add(self)

    def still(self) -> bool:
        """Whether what was captured is still what the handle reads."""
        for capture, a in self.captured:
            now = capture.array()
            if now is not a and (capture.steady or now.tobytes() != a.tobytes()):
                return False
        return True

    def release(self) -> None:
        """Give back all instances: in a forked child, the threads that had taken them do not exist."""
        for group in self.instances:
            for instance in group:
                instance.frame[vm.BUSY] = 0

    def upgrade(self, program: Program) -> None:
        """Call a program's machine code from now on, if there is some."""
        if program.native is None:
            return
        for k, (p, group) in enumerate(zip(self.programs, self.instances)):
            if p is not program or group[0].program is p.native:
                continue
            first = vm.HANDLE + k * len(group)
            self.kept += group  # calls under way
            self.instances[k] = [self._instance(p) for _ in group]
            for m, instance in enumerate(self.instances[k]):
                self.words[first + m] = instance.frame_at

    def hot(self) -> None:
        """Programs have run often."""
        for p in self.programs:
            p.notice()

    def _instance(self, p: Program) -> _Instance:
        instance = p.instance()
        p = instance.program
        instance.frame[vm.SHARED] = threads.inline_at  # who calls may hold the GIL, or wait for who does
        rows: list[tuple[int, int, int]] = [(k, at, spec.nbytes) for k, at, spec in p.near_inputs]
        rows += [(k, -1 - number, 0) for number, k in p.far_inputs]
        rows += [(self._capture(p, k), -1 - number, 0) for number, k in p.captured]
        arguments = np.array([len(rows), *(v for row in rows for v in row)], np.int64)
        outs = [(k, at, p.output_specs[k].nbytes) for k, at in p.near_outputs]
        outs += [(k, -1 - number, 0) for k, number in p.far_outputs.items()]
        results = np.array([len(outs), *(v for row in outs for v in row)], np.int64)
        self.kept += [arguments, results, instance]
        instance.frame[vm.ARGUMENTS], instance.frame[vm.RESULTS] = address_of(arguments), address_of(results)
        return instance

    def _capture(self, p: Program, k: int) -> int:
        a = self.read.get((id(p.trace), k))
        if a is None:
            capture = p.trace.captures[k][1]
            a = self.read[id(p.trace), k] = capture.array()
            self.captured.append((capture, a))
        return -address_of(a)


def _after_fork() -> None:
    for handle in list(_handles):
        handle.release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


@jit
def call_native(target, handle, arguments, results):
    """Call ``run_native`` from Python; ``HOT`` once if a program has run often."""
    status = invoke(target, (handle, arguments, results))
    words = at(handle)
    if status == 0 and words[vm.H_HOT] != 0:
        words[vm.H_HOT] = 0
        return vm.HOT
    return status


def native_call(
    handle: Handle, arrays: Sequence[np.ndarray], targets: Sequence[np.ndarray]
) -> Callable[[], int]:
    """A function that replays on fixed arrays and returns a status; it keeps them alive."""
    arguments = np.array([data_address(a) for a in arrays] or [0], np.int64)
    results = np.array([data_address(a) for a in targets] or [0], np.int64)
    kept = (handle, arrays, targets, arguments, results)
    words = (_entry(), handle.address, address_of(arguments), address_of(results))

    def call(kept: Any = kept) -> int:
        status = call_native(*words)
        if status == vm.HOT:
            handle.hot()
            return 0
        return status

    return call


def _compiled(function: Callable) -> Any:
    from tapegrad._compile import inner

    return inner(function)


# --- functions for @njit code ---------------------------------------------------------------------


def njit_function(handle: Handle) -> Callable:
    """A function for ``@njit`` code: one argument per array of the signature, then arrays for the results.

    See ``Compiled.numba`` for what it takes and returns.
    """
    from tapegrad import _intrinsics

    scalar = bool(handle.outputs) and handle.outputs[0].ndim == 0 and handle.outputs[0].dtype == np.float64
    rest = handle.outputs[1:] if scalar else handle.outputs
    inputs = [f"x{k}" for k in range(len(handle.inputs))]
    outs = [f"out{k}" for k in range(len(rest))]
    # ctypes functions are what keeps Numba from storing machine code with this process's addresses in it
    entry = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_int64, ctypes.c_int64, ctypes.c_int64)(_entry())
    lines = [f"def replay({', '.join(inputs + outs)}):"]
    # numbers are spilled here: on the stack of a function called from here they would be gone
    terms = [
        f"checked_{n}({n}, {s.size})" if s.shape else f"spill(as_{n}({n}))"
        for n, s in zip(inputs, handle.inputs)
    ]
    targets = [f"checked_{n}({n}, {s.size})" for n, s in zip(outs, rest)]
    if scalar:
        lines += ["    place = spill(0.0)"]
        targets = ["place", *targets]
    lines += [f"    arguments = spill(({', '.join([*terms, 'zero'])},))"]
    lines += [f"    results = spill(({', '.join([*targets, 'zero'])},))"]
    lines += ["    status = entry(handle, arguments, results)", "    if status != 0:"]
    lines += ["        refuse(status)"]
    lines += ["    return loaded(place)" if scalar else "    return status"]
    space: dict[str, Any] = {
        "np": np, "entry": entry, "handle": handle.address, "spill": _intrinsics.spill,
        "refuse": _refuse(), "loaded": _loaded(), "zero": 0,
    }  # fmt: skip
    for n, s in zip(inputs + outs, [*handle.inputs, *rest]):
        space[f"checked_{n}"] = _checked_address(s.dtype)
        space[f"as_{n}"] = np.uint8 if s.dtype.kind == "b" else s.dtype.type
    exec(compile("\n".join(lines), "<tapegrad replay>", "exec"), space)
    function = _compiled(space["replay"])
    _immortal.append((function, handle))
    return function


@functools.cache
def _loaded() -> Any:
    from tapegrad._intrinsics import array

    double = np.float64

    def loaded(place):  # type: ignore[no-untyped-def]
        return array(place, 1, double)[0]

    return _compiled(loaded)


@functools.cache
def _refuse() -> Any:
    def refuse(status):  # type: ignore[no-untyped-def]
        if status > 0:
            raise RuntimeError(
                "tapegrad: no recorded path fits these values; call the compiled function with them once "
                "from Python"
            )
        raise IndexError("tapegrad: an index is out of bounds")

    return _compiled(refuse)


@functools.cache
def _checked_address(dtype: np.dtype) -> Any:
    """The address of an argument's elements, after checks: dtype when compiling, size when running."""
    from numba import types
    from numba.core.errors import TypingError
    from numba.extending import overload
    from numba.np.numpy_support import as_dtype

    def checked(a, size):  # type: ignore[no-untyped-def]
        raise NotImplementedError

    def resolve(a, size):  # type: ignore[no-untyped-def]
        if not isinstance(a, types.Array):
            raise TypingError(f"tapegrad: expected an array, not {a}")
        if a.layout != "C":
            raise TypingError(f"tapegrad: arrays must be C-contiguous, not {a}")
        if as_dtype(a.dtype) != dtype:
            raise TypingError(f"tapegrad: the recorded array's dtype is {dtype}, not {a.dtype}")

        def of_array(a, size):  # type: ignore[no-untyped-def]
            if a.size != size:
                raise ValueError("tapegrad: an array has another size than the recorded one")
            return a.ctypes.data

        return of_array

    overload(checked)(resolve)
    return checked


# --- C function pointers --------------------------------------------------------------------------


def c_address(handle: Handle) -> tuple[int, str]:
    """A C function that replays: its address and its signature."""
    from numba import types
    from numba.core.ccallback import CFunc

    from tapegrad import _intrinsics
    from tapegrad._compile import FLAGS

    specs = [*handle.inputs, *handle.outputs]
    if any(s.dtype != np.float64 for s in specs):
        listed = ", ".join(map(repr, specs))
        raise TypeError(f"compile: a C function needs float64 arguments and results; this one has {listed}")
    scalar = len(handle.outputs) == 1 and handle.outputs[0].size == 1
    offsets = np.cumsum([0, *(8 * s.size for s in handle.inputs)])
    places = np.cumsum([0, *(8 * s.size for s in handle.outputs)])
    terms = ", ".join(f"x + {int(o)}" for o in offsets[:-1])
    outs = ", ".join(f"out + {int(o)}" for o in places[:-1])
    entry = _entry()
    if scalar:
        signature = "double f(int n, double *x)"
        source = (
            "def replay(n, pointer):\n"
            "    x = word(pointer)\n"
            "    out = spill(0.0)\n"
            f"    arguments = spill(({terms},))\n"
            "    status = np.int64(1)\n"
            f"    if n == {int(offsets[-1]) // 8}:\n"
            "        status = invoke(entry, (handle, arguments, spill((out,))))\n"
            "    return array(out, 1, double)[0] if status == 0 else np.nan\n"
        )
        kinds = types.float64(types.intc, types.CPointer(types.float64))
    else:
        signature = "int64_t f(const double *x, double *out)"
        source = (
            "def replay(pointer, target):\n"
            "    x = word(pointer)\n"
            "    out = word(target)\n"
            f"    return invoke(entry, (handle, spill(({terms},)), spill(({outs},))))\n"
        )
        kinds = types.int64(types.CPointer(types.float64), types.CPointer(types.float64))
    space: dict[str, Any] = {
        "np": np, "entry": entry, "handle": handle.address, "spill": _intrinsics.spill,
        "invoke": _intrinsics.invoke, "array": _intrinsics.array, "double": np.float64,
        "word": _intrinsics.word,
    }  # fmt: skip
    exec(compile(source, "<tapegrad replay>", "exec"), space)
    options = {k: v for k, v in FLAGS.items() if k != "nogil"}
    function = CFunc(space["replay"], (kinds.args, kinds.return_type), {}, options)
    function.compile()
    _immortal.append((function, handle))
    return int(function.address), signature
