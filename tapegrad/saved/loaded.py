"""What `load` gives back: a compiled function without its function."""

from __future__ import annotations

import os
from collections import OrderedDict
from typing import Any

import numpy as np

from tapegrad.compiled.arguments import Static, is_data
from tapegrad.compiled.captures import Environment, typed
from tapegrad.compiled.function import Compiled
from tapegrad.compiled.paths import Entry, Path
from tapegrad.compiled.recording import outcome
from tapegrad.ops.record import as_operand, record, record_elementwise, record_layout
from tapegrad.ops.table import INPUT, Kind
from tapegrad.program.lower.tier import begin
from tapegrad.saved.container import LARGEST_FILE
from tapegrad.saved.reading import MAX_BYTES, read
from tapegrad.saved.saving import dumps, untyped
from tapegrad.spec import Spec
from tapegrad.tape import TapeError, current
from tapegrad.tensor import Tensor, tensor_from_array
from tapegrad.trace import SIG, Trace, X, Z, where

__all__ = ["Loaded", "load", "loads"]


class Loaded(Compiled):
    """A compiled function that was read from a file: it replays what was recorded, and records nothing."""

    def __init__(self, data: bytes, max_bytes: int = MAX_BYTES, tier: str = "auto") -> None:
        header, self._saved = read(data, max_bytes)
        self._environment_of_none = Environment(len)  # nothing is captured: what was, is constant
        super().__init__(_Replayer(self), tier=tier)
        for entry in self._saved.values():
            for path in entry.paths:
                begin(path.program, tier)
        self._max_bytes = max_bytes
        self._name = self.__name__ = self.__qualname__ = header["name"]
        self._static_nums = frozenset(_integers(header["static_argnums"]))
        self._static_names = frozenset(_strings(header["static_argnames"]))
        self._takes_out = header["takes_out"]

    def __repr__(self) -> str:
        return f"<loaded {self._name}>"

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        """No descriptor: what was a method was saved with its object's values."""
        return self

    def __deepcopy__(self, memo: dict) -> Loaded:
        return Loaded(dumps(self), self._max_bytes, self._tier)

    def clear(self) -> None:
        """Forget the statistics; what was loaded stays."""
        super().clear()
        with self._lock:
            self._environments = [(self._environment_of_none, OrderedDict(self._saved))]
            self._last = next(reversed(self._saved.values())).paths[-1]

    def _environment(self, key: Any) -> tuple[Environment, OrderedDict[Any, Entry]]:
        known = self._environments[0]
        if key not in known[1]:
            raise self._unknown(key)
        return known

    def _unknown(self, key: Any) -> TapeError:
        structure, parts, grad_enabled = key
        saved = "; ".join(_shown(*k) for k in self._environments[0][1])
        return TapeError(
            f"{self._name}: nothing was recorded for {_shown(structure, parts, grad_enabled)} before it was "
            f"saved, only for {saved}; call the original function with such arguments and save it again"
        )

    def _record_and_replay(self, key: Any, *others: Any) -> Any:
        window = self._windows.pop(key, None)
        looks = ", ".join(window.reasons) if window is not None else "a look at a value"
        raise self._unseen(looks)

    def _unseen(self, look: str) -> TapeError:
        return TapeError(
            f"{self._name}: {look} finds what was not seen before it was saved, and a loaded tape cannot "
            "record; call the original function with such values and save it again"
        )


def _shown(structure: Any, parts: Any, grad_enabled: bool) -> str:
    """A signature as one would write it."""
    args, kwargs = structure.unflatten([_Part(p) for p in parts])
    texts = [*map(repr, args), *(f"{k}={v!r}" for k, v in kwargs.items())]
    return f"({', '.join(texts)})" + ("" if grad_enabled else " under no_grad()")


class _Part:
    """Prints one leaf of a signature."""

    def __init__(self, part: Any) -> None:
        self.part = part

    def __repr__(self) -> str:
        return repr(self.part if isinstance(self.part, Spec) else untyped(self.part))


def _integers(values: Any) -> list[int]:
    if type(values) is not list or not all(type(v) is int for v in values):
        raise TapeError("load: static_argnums are no integers")
    return values


def _strings(values: Any) -> list[str]:
    if type(values) is not list or not all(type(v) is str for v in values):
        raise TapeError("load: static_argnames are no strings")
    return values


# --- where a replay will not do -------------------------------------------------------------------


class _Replayer:
    """Stands for the function: records a saved path's rows again, on the tape that is current."""

    def __init__(self, owner: Loaded) -> None:
        self.owner = owner

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        owner, tape = self.owner, current.tape
        leaves, structure = owner._take_apart(args, kwargs)
        tensors, parts = [], []
        for leaf in leaves:
            if leaf.__class__ is not Static and is_data(leaf):
                t = as_operand(leaf, owner._name)
                tensors.append(t)
                parts.append(t._spec)
            else:
                parts.append(typed(leaf.value if leaf.__class__ is Static else leaf))
        if tape.depth or (tape.grad_enabled and any(t._rg for t in tensors)):
            raise TapeError(
                f"{owner._name}: a loaded tape holds the operations of values only, and cannot be "
                "differentiated; compile and save value_and_grad of the function (or grad, ...) instead"
            )
        key = (structure, tuple(parts), tape.grad_enabled)
        entry = owner._environment(key)[1][key]
        path = entry.root.below()
        deepest = -1
        while path is not None:
            k, found = _follow(path, tensors)
            if k < 0:
                leaves = [found[r] if r >= 0 else v for r, v in zip(path.results, path.fixed)]
                return path.structure.unflatten(leaves)
            place = path.trace.guards[k].place
            path = entry.next(path, k, found[0]) if k > deepest else None
            deepest = k
        raise owner._unseen(f"the look at {where(place)}")


def _follow(path: Path, tensors: list[Tensor]) -> tuple[int, list[Any]]:
    """Record a path: ``(-1, results)``, or the first guard that does not hold and the value seen there."""
    trace = path.trace
    values: list[Any] = [None] * len(trace)
    for slot, t in zip(trace.inputs, tensors):
        if slot >= 0:
            values[slot] = t
    done = 0
    for k, guard in enumerate(trace.guards):
        done = _advance(trace, values, done, guard.slot + 1)
        seen = values[guard.slot]._realize(guard.kind)
        if outcome(guard.kind, seen) != guard.expected:
            return k, [np.array(seen)]
    _advance(trace, values, done, len(trace))
    return -1, [values[i] for i in trace.outputs]


def _advance(trace: Trace, values: list[Any], start: int, stop: int) -> int:
    """Record rows ``start`` to ``stop``."""
    code = trace.code[start:stop].tolist()
    given: list[Any]
    for i, line in enumerate(code, start):
        row = trace.row(i)
        if row is INPUT:
            if i in trace.constants:
                values[i] = tensor_from_array(trace.constants[i].copy())
            continue
        operands = line[X : X + row.arity]
        if row.kind is Kind.ELEMENTWISE:
            typed_slots = [o for o in operands[row.typed_by :] if o >= 0]
            kind = trace.spec(typed_slots[0]).kind
            cast = {"f": float, "b": bool}.get(kind, int)
            given = [values[o] if o >= 0 else cast(trace.consts[-o - 1]) for o in operands]
            values[i] = record_elementwise(row, given)
        else:
            signature = trace.signatures[line[SIG]]
            given = [values[o] for o in operands]
            raw = line[Z] if row.arity < 3 else 0
            if row.kind is Kind.MOVEMENT:
                static = signature.static
                values[i] = record_layout(row, given[0], static["shape"], static["strides"], raw)
            else:
                values[i] = record(row, given, signature.static, raw)
    return max(start, stop)


# --- reading --------------------------------------------------------------------------------------


def loads(data: bytes, max_bytes: int = MAX_BYTES, tier: str = "auto") -> Loaded:
    """What `load` gives back, from the bytes of a file."""
    try:
        return Loaded(data, max_bytes, tier)
    except TapeError as error:
        raise TapeError(f"load: the saved tape is refused: {error}") from error


def load(path: Any, *, max_bytes: int = MAX_BYTES, tier: str = "auto") -> Loaded:
    """Read a compiled function that `Compiled.save` has written.

    Parameters
    ----------
    path : path-like
        The file.
    max_bytes : int
        The most memory that the values of one recorded path may take together; a file may declare arrays
        of any size without containing them.
    tier : str
        What runs the tapes, as `compile` takes it; with ``"native"`` they are lowered here.

    Returns
    -------
    Loaded
        A callable that takes the arguments for which the function was recorded, and gives the same results
        to the last bit.  It has ``out=``, ``stats()``, ``tape`` and ``save`` as compiled functions do.  What
        the function captured is constant now.

    Raises
    ------
    TapeError
        If the file is damaged, or is not well formed, or uses a custom operation that is not defined here;
        when called: if nothing was recorded for such arguments, or Python looked at a value and finds another
        one than at any time before saving.
    OSError
        If the file cannot be read.

    Examples
    --------
    >>> import os, tempfile
    >>> import numpy as np
    >>> import tapegrad as tg
    >>> f = tg.compile(lambda x: (x * x).sum())
    >>> f(np.array([1.0, 2.0]))
    5.0
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     f.save(os.path.join(folder, "f.tape"))
    ...     g = tg.load(os.path.join(folder, "f.tape"))
    >>> g(np.array([3.0, 4.0]))
    25.0
    """
    try:
        with open(path, "rb") as file:
            if os.fstat(file.fileno()).st_size > LARGEST_FILE:
                raise TapeError("it is too large")
            data = file.read()
        return Loaded(data, max_bytes, tier)
    except TapeError as error:
        raise TapeError(f"load: {os.fspath(path)!r} is refused: {error}") from error
