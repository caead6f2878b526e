"""The recording tape: what is current while a function runs whose operations are to be replayed.

It differs from an ordinary tape in what looking at a value means.  Values are computed by the same engine,
but no Tensor keeps one (``_value`` stays ``None``), so nothing that asks "is the value known already?" can
freeze a number into the recording; and every look is noted as a *guard*: a replay that sees something else
takes another path.  What comes from outside (arrays, tensors of other tapes) gets an input row of its own
and is left untouched.

Printing a tensor (``repr``, ``print``, ``format``) shows its value and is not a look.
"""

from __future__ import annotations

import contextlib
import gc
import weakref
from collections import Counter
from sys import getrefcount
from typing import Any

import numpy as np

from tapegrad.ops.record import user_location
from tapegrad.ops.table import INPUT
from tapegrad.ops.table import rows as table_rows
from tapegrad.spec import Spec, intern_spec
from tapegrad.spec import table as spec_table
from tapegrad.tape import GRAD, OP, OP_MASK, SIG, SPEC, Ghost, Place, Tape, current
from tapegrad.tensor import Tensor, _record_detach, count_recordings
from tapegrad.trace import INTEGER, TRUTH, VALUE, Guard, Places, Trace, where

__all__ = [
    "ArrayCapture",
    "GuardWarning",
    "Recording",
    "TensorCapture",
    "dependence",
    "outcome",
    "source_line",
]

NEVER = 1 << 60
INT64_LIMIT = 1 << 63
CONSTANT, CAPTURED, ARGUMENT = range(3)  # what a slot's value depends on


class GuardWarning(UserWarning):
    """A compiled function is recorded more often than it should be; the message says where and why."""


def outcome(kind: int, value: np.ndarray) -> int | bytes | None:
    """What a guard of ``kind`` sees in ``value``; ``None`` if it cannot be told (``int()`` of NaN)."""
    if kind == TRUTH:
        return int(bool(value.item()))
    if kind == VALUE:
        return value.tobytes()
    try:
        return int(value.item())
    except (ValueError, OverflowError):
        return None


def plain_array(value: np.ndarray) -> np.ndarray:
    """``value`` itself if the engine can read it where it lies, else a copy that it can read."""
    value = np.asarray(value)
    flags = value.flags
    if flags.c_contiguous and flags.aligned and value.dtype.isnative:
        return value
    dtype = value.dtype if value.dtype.isnative else value.dtype.newbyteorder("=")
    return np.array(value, dtype, order="C", subok=False)


# --- what is captured -----------------------------------------------------------------------------


class ArrayCapture:
    """An array from outside, read again at each replay.

    Where the function reaches it (or the array that it is a view of) by a name, and the name is bound to
    another array of the same shape and dtype, that one is read (`captures.Site`).
    """

    __slots__ = ("_root", "_site", "places", "plain", "source", "spec")

    def __init__(self, array: np.ndarray, spec: Spec, places: set[Place]) -> None:
        self.source, self.spec = array, spec
        self.places = places  # where it became an operand
        self.plain = plain_array(array) is array
        self._site: Any = None
        self._root: Any = None

    def __repr__(self) -> str:
        return f"<captured array {self.spec!r}>"

    def attach(self, site: Any) -> None:
        """Note by which name the array is reached."""
        self._site, self._root = site, site.value

    def fits(self) -> bool:
        """Whether the array can be read: it still has its shape (arrays can be reshaped in place)."""
        moved = self._site is not None and self._site.value is not self._root
        if moved and not self._follow(self._site.value):
            return False
        return self.source.shape == self.spec.shape

    def _follow(self, root: np.ndarray) -> bool:
        if self.source is self._root:
            array = root
        elif root.flags.c_contiguous and self._root.flags.c_contiguous:  # the same window on the new array
            offset = self.source.ctypes.data - self._root.ctypes.data
            array = np.ndarray(self.source.shape, self.source.dtype, root, offset, self.source.strides)
        else:
            return False
        self.source, self._root = array, root
        self.plain = plain_array(array) is array
        return True

    @property
    def steady(self) -> bool:
        """Whether the elements stay where they are, as long as ``source`` is the same array."""
        return self.plain

    def array(self) -> np.ndarray:
        """The array as it is now, contiguous."""
        return plain_array(self.source)


class TensorCapture:
    """A tensor from outside, read again at each replay; its name may be bound to another one."""

    __slots__ = ("_site", "source", "spec")
    places: tuple = ()

    def __init__(self, tensor: Tensor) -> None:
        self.source, self.spec = tensor, tensor._spec
        self._site: Any = None

    def __repr__(self) -> str:
        return f"<captured tensor {self.spec!r}>"

    def attach(self, site: Any) -> None:
        """Note by which name the tensor is reached."""
        self._site = site

    def fits(self) -> bool:
        """Whether the tensor still has the recorded shape and dtype."""
        if self._site is not None:
            self.source = self._site.value
        return self.source._spec is self.spec

    steady = False

    def array(self) -> np.ndarray:
        """The tensor's value as it is now."""
        return self.source._compute()


class _Use:
    """An array that was used as an operand: where, and what it held then."""

    __slots__ = ("array", "changed", "copy", "place", "places", "slots", "tensor")

    def __init__(self, array: np.ndarray, place: Place | None) -> None:
        self.array, self.place = array, place
        self.places: set[Place] = set()
        self.copy = np.empty(0)  # what it held when it was used last, and
        self.tensor: Any = None  # the operand that stands for that
        self.changed = False
        self.slots: list[tuple[int, np.ndarray]] = []

    def base(self) -> Any:
        """Who owns the memory, if not the array itself."""
        base = self.array.base
        while isinstance(base, np.ndarray) and base.base is not None:
            base = base.base
        return base


def _array_count(use: _Use) -> int:
    return getrefcount(use.array)


def _base_count(use: _Use) -> int:
    return getrefcount(use.base())


class _Held:
    """Holds one object, to see how many references to it there are besides."""

    __slots__ = ("item",)

    def __init__(self, item: Any) -> None:
        self.item = item


def _count(held: Any) -> int:
    return getrefcount(held.item)


# What these give for an object that nobody else holds, on this Python.
_ARRAY_ALONE = _array_count(_Use(np.zeros(2), None))
_BASE_ALONE = _base_count(_Use(np.zeros(2)[:1], None))
_ITEM_ALONE = _count(_Held(object()))


class _Outside(_Held):
    """A tensor that is not of the recording and was used in it."""

    __slots__ = ("grad", "place", "slot", "value")

    def __init__(self, t: Tensor, slot: int, value: np.ndarray, place: Place | None) -> None:
        super().__init__(t)
        self.slot, self.value, self.place = slot, value, place
        self.grad = t.grad


class _Touched(_Held):
    """A tensor from outside that the function changes, as it was before."""

    __slots__ = ("before", "entry", "grad", "place", "what")

    def __init__(self, t: Tensor, what: str, place: Place | None) -> None:
        super().__init__(t)
        self.what, self.place = what, place
        self.before = (t._tape, t._slot, t._spec, t._rg, t._value)
        self.grad = t.grad
        home = t._tape
        self.entry = home.tensors[t._slot] if home is not None and t._slot < len(home.tensors) else None

    def restore(self) -> None:
        t = self.item
        t._tape, t._slot, t._spec, t._rg, t._value = self.before
        if t._extra is not None:
            t._extra.grad = self.grad
        if self.entry is not None:
            t._tape.tensors[t._slot] = self.entry


# --- the tape -------------------------------------------------------------------------------------


class Recording(Tape):
    """The tape on which a function is recorded.

    Use it as a context manager around the call of the function, then ``finish``.

    Attributes
    ----------
    guards : list of Guard
        What Python has looked at so far.
    broken : exception or None
        Set when an operation failed while a value was looked at; if the function swallowed the
        exception, its path cannot be replayed.
    """

    __slots__ = (
        "arrays", "broken", "guards", "inputs", "name", "outer", "outside", "seen",
        "touched",
    )  # fmt: skip

    recording = True

    def __init__(self, name: str = "function", grad_enabled: bool = True) -> None:
        super().__init__()
        self.name = name
        self.grad_enabled = grad_enabled
        self.limit = self.seal_every = NEVER
        self.pending_bytes = -NEVER
        self.locked = 1
        self.inputs: list[int] = []
        self.guards: list[Guard] = []
        self.seen: set[tuple[int, int]] = set()
        self.arrays: dict[int, _Use] = {}
        self.outside: dict[int, _Outside] = {}
        self.touched: dict[int, _Touched] = {}
        self.broken: BaseException | None = None
        self.outer: Any = None

    def __enter__(self) -> Recording:
        self.outer = current.tape
        self.outer.locked += 1  # what it has to remember of touched tensors are slots
        count_recordings(1)
        current.tape = self
        return self

    def __exit__(self, kind: Any, *exc: object) -> None:
        current.tape = self.outer
        self.outer.locked -= 1
        count_recordings(-1)
        self.outer = None
        if kind is not None:
            self._close(False)
            self._restore()

    def argument(self, array: np.ndarray) -> Tensor:
        """A placeholder for an argument; ``array`` is read in place when something is looked at."""
        t, slot = self._input(intern_spec(array.shape, array.dtype), array)
        self.inputs.append(slot)
        return t

    def _input(self, spec: Spec, value: np.ndarray) -> tuple[Tensor, int]:
        slot = len(self.tensors)
        self.keep[slot] = value
        self.append(INPUT.op, spec.id, where=user_location(1))
        t = Tensor()
        t._tape, t._slot, t._spec, t._rg = self, slot, spec, 0
        t._value = t._extra = None
        self.hold(t)
        return t, slot

    # --- what comes from outside ------------------------------------------------------------------

    def capture(self, array: np.ndarray) -> Tensor:
        """An operand for an array of the user's: an input row with what the array holds now.

        Raises
        ------
        TypeError
            If the dtype is not one that tapegrad computes with.
        """
        use = self.arrays.get(id(array))
        place = user_location(1)
        if use is None:
            intern_spec(array.shape, array.dtype.newbyteorder("="))  # raises for what cannot be an operand
            use = self.arrays[id(array)] = _Use(array, place)
        if place is not None:
            use.places.add(place)
        if not use.slots:
            pass
        elif use.copy.shape == array.shape and use.copy.tobytes() == plain_array(array).tobytes():
            if use.tensor._tape is self and use.tensor._slot == use.slots[-1][0]:
                return use.tensor
        else:
            use.changed = True
            use.place = place
        use.copy = np.array(plain_array(array), order="C", subok=False)
        use.tensor, slot = self._input(intern_spec(use.copy.shape, use.copy.dtype), use.copy)
        use.slots.append((slot, use.copy))
        return use.tensor

    def bind(self, t: Tensor) -> int:
        """Give a tensor from outside an input row; the tensor itself is not attached to this tape."""
        value = t._compute()
        slot = self.bindings.get(id(t))
        if slot is not None and self.outside[slot].item is t and self.outside[slot].value is value:
            return slot
        slot = len(self.tensors)
        self.keep[slot] = value
        self.append(INPUT.op | (GRAD if t._rg else 0), t._spec.id, where=user_location(1))
        self.hold(t)
        self.bindings[id(t)] = slot
        self.outside[slot] = _Outside(t, slot, value, user_location(1))
        return slot

    def touch(self, t: Tensor, what: str) -> None:
        """Note that the function is about to change a tensor that is not of this tape."""
        if id(t) not in self.touched:
            t._compute()  # so that no run of its own tape gives it a value meanwhile
            self.touched[id(t)] = _Touched(t, what, user_location(1))

    # --- looking ----------------------------------------------------------------------------------

    def look(self, t: Tensor, kind: int) -> np.ndarray:
        """The value of ``t``; a guard notes what was seen of it."""
        slot = t._slot if t._tape is self else self.bind(t)
        value = self.peek(t)
        if (slot, kind) in self.seen or (slot, VALUE) in self.seen:
            return value
        expected = outcome(kind, value)
        if expected is None or (kind == INTEGER and not -INT64_LIMIT <= int(expected) < INT64_LIMIT):
            kind, expected = VALUE, value.tobytes()  # int() fails, or does not fit
        self.seen.add((slot, kind))
        self.guards.append(Guard(slot, kind, expected, user_location(1)))
        return value

    def peek(self, t: Tensor) -> np.ndarray:
        """The value of ``t``, without a guard."""
        slot = t._slot if t._tape is self else self.bind(t)
        if slot >= self.evaluated:
            self.run()
        value = self.keep.get(slot)
        if value is None:  # nobody held it when it was computed, so it was not kept
            again = _record_detach(t, False)
            self.run()
            value = self.keep[again._slot]
        return value

    def run(self) -> None:
        """Compute what is held, and let no Tensor keep its value."""
        from tapegrad.engine.driver import run_forward

        start = self.evaluated
        try:
            run_forward(self)
        except Exception as error:
            self.broken = error
            raise
        finally:
            for slot in range(start, self.evaluated):
                t = self.tensor_at(slot)
                if isinstance(t, Tensor) and t._tape is self:
                    t._value = None

    def note_bytes(self, nbytes: int) -> None:
        """Nothing runs by itself."""

    # --- the end ----------------------------------------------------------------------------------

    def finish(self, outputs: list[Tensor]) -> Trace:
        """Close the recording and return what it holds as a trace.

        Parameters
        ----------
        outputs : list of Tensor
            The results; emptied, so that the caller's list does not count as holding them.

        Raises
        ------
        RuntimeError
            If the function changed a tensor or an array that others hold.
        """
        slots = [t._slot if t._tape is self else self.bind(t) for t in outputs]
        outputs.clear()
        n = self.seal()
        code = self.code[:n, : SIG + 1].copy()
        code[:, OP] &= OP_MASK
        consts = self.const_pool[: len(self.consts)].copy()
        places = Places.of(self.places, self.offsets[:n])
        self._close(True)
        self._refuse_changes()
        constants, captures = self._classify()
        return Trace(
            code=code,
            consts=consts,
            signatures=list(self.signatures),
            inputs=self.inputs,
            outputs=slots,
            captures=captures,
            constants=constants,
            guards=self._needed(code, {slot for slot, _ in captures}),
            places=places,
        )

    def _close(self, compute: bool) -> None:
        """Let go of all Tensors; those that somebody still holds become plain values, or are lost."""
        for use in self.arrays.values():
            use.tensor = None
        for touched in self.touched.values():
            if touched.item._tape is not self:
                touched.restore()
        leaks = self._leaks()
        if leaks and compute:
            specs = [spec_table.by_id[i] for i in self.code[: self.sealed, SPEC].tolist()]
            self.tensors.extend([leaks[i] if i in leaks else Ghost(spec) for i, spec in enumerate(specs)])
            with contextlib.suppress(Exception):  # what cannot be computed says that it was lost
                self.run()
        for slot, t in leaks.items():
            t._tape, t._slot, t._rg = None, -1, 0
            t._value = self.keep.get(slot) if compute else None
            if t._extra is not None and id(t) not in self.touched:
                t._extra.base = t._extra.views = None
        self.tensors.clear()
        self.keep.clear()
        self.chunks.clear()

    def _leaks(self) -> dict[int, Tensor]:
        """The Tensors of this tape that live on without it, by slot; the tape lets go of all."""
        from tapegrad.engine.walk import list_shared

        found = np.empty(len(self.tensors), np.int64)
        strong = found[: list_shared(id(self.tensors), len(found), found)].tolist()
        suspects = {i: weakref.ref(self.tensors[i]) for i in strong if isinstance(self.tensors[i], Tensor)}
        suspects |= {i: r for i, r in enumerate(self.tensors) if type(r) is weakref.ref}
        self.tensors.clear()
        alive = {i: r() for i, r in suspects.items()}
        return {i: t for i, t in alive.items() if isinstance(t, Tensor) and t._tape is self and t._slot == i}

    def _refuse_changes(self) -> None:
        for last in (False, True):
            own = Counter([id(o.item) for o in (*self.outside.values(), *self.touched.values())])
            changed: list[tuple[str, Place | None]] = []
            for held in self.touched.values():
                if _count(held) > _ITEM_ALONE + own[id(held.item)] - 1:
                    changed.append((f"changes a tensor from outside ({held.what})", held.place))
            for o in self.outside.values():
                if o.item.grad is not o.grad and _count(o) > _ITEM_ALONE + own[id(o.item)] - 1:
                    changed.append(("accumulates into .grad of a tensor from outside", o.place))
            if not changed:
                return
            if not last:
                gc.collect()  # a cycle may be all that holds the function's own tensors
        self._restore()
        what, place = changed[0]
        raise RuntimeError(
            f"compile: {self.name} {what}, used at {where(place)}; a replay would not repeat that. Return "
            "the new value instead (for gradients: use autograd.grad or tapegrad.grad), and change the "
            "tensor outside of the function"
        )

    def _restore(self) -> None:
        for touched in self.touched.values():
            touched.restore()
        for o in self.outside.values():
            if o.item.grad is not o.grad:
                o.item._extra.grad = o.grad

    def _classify(self) -> tuple[dict[int, np.ndarray], list[tuple[int, Any]]]:
        """Tell what nobody else holds (constants) from what is read again at each replay."""
        constants: dict[int, np.ndarray] = {}
        captures: list[tuple[int, Any]] = []
        bases = Counter([id(use.base()) for use in self.arrays.values()])
        for use in self.arrays.values():
            if not self._is_held(use, bases):
                constants.update(use.slots)
                continue
            slot, copy = use.slots[-1]
            if use.changed or copy.tobytes() != plain_array(use.array).tobytes():
                raise RuntimeError(
                    f"compile: {self.name} changes, while it runs, an array that others hold and that it "
                    f"uses at {where(use.place)}; a replay would not repeat that. Compute a new array "
                    "instead, or make the array inside the function"
                )
            captures.append((slot, ArrayCapture(use.array, intern_spec(copy.shape, copy.dtype), use.places)))
        own = Counter([id(o.item) for o in (*self.outside.values(), *self.touched.values())])
        for slot, o in self.outside.items():
            if _count(o) > _ITEM_ALONE + own[id(o.item)] - 1:
                captures.append((slot, TensorCapture(o.item)))
            else:
                constants[slot] = o.value
        return constants, captures

    def _is_held(self, use: _Use, bases: Counter) -> bool:
        """Whether anybody else holds the array, or the memory that it is a view of."""
        if _array_count(use) > _ARRAY_ALONE + bases[id(use.array)]:
            return True
        base = use.base()
        if base is None:
            return False
        if not isinstance(base, np.ndarray):
            return True
        known = bases[id(base)] + (id(base) in self.arrays)
        del base
        return _base_count(use) > _BASE_ALONE + known - 1

    def _needed(self, code: np.ndarray, captured: set[int]) -> list[Guard]:
        """The guards without those on constants."""
        if not self.guards:
            return []
        depends = dependence(code, set(self.inputs), captured)
        return [g for g in self.guards if depends[g.slot]]


def dependence(code: np.ndarray, arguments: set[int], captured: set[int]) -> bytearray:
    """Per row, whether its value depends on nothing, on what was captured, or on an argument."""
    out = bytearray(len(code))
    arity = [row.arity for row in table_rows]
    for i, (op, _, x, y, z, _) in enumerate(code.tolist()):
        k = arity[op]
        if k == 0:
            out[i] = ARGUMENT if i in arguments else CAPTURED if i in captured else CONSTANT
        else:
            level = out[x] if x >= 0 else 0
            if k > 1 and y >= 0 and out[y] > level:
                level = out[y]
            if k > 2 and z >= 0 and out[z] > level:
                level = out[z]
            out[i] = level
    return out


def source_line(place: Place | None) -> tuple[str, int]:
    """File and line of a place."""
    if place is None or place[0] is None:
        return "<unknown>", 0
    code, offset = place
    for begin, end, number in code.co_lines():
        if begin <= offset < end and number is not None:
            return code.co_filename, number
    return code.co_filename, code.co_firstlineno
