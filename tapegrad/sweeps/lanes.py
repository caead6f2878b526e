"""The tape on which a function runs once for a whole batch: no values, and nothing outside is touched."""

from __future__ import annotations

from sys import getrefcount
from typing import Any

import numpy as np

from tapegrad.engine.templates import aside
from tapegrad.ops.table import INPUT
from tapegrad.sweeps.store import Scratch
from tapegrad.tape import GRAD, Ghost, Tape
from tapegrad.tensor import Tensor, count_recordings, tensor_from_array

__all__ = ["Lanes"]

ALONE = 3  # references to a tensor of this tape that nobody else holds: the tape's, a variable, an argument


class Lanes(Scratch):
    """A scratch tape on which tensors from outside have slots without leaving theirs.

    Attributes
    ----------
    outside : list of (int, Tensor)
        Those tensors, and their slots here.
    given : set of int
        The slots of placeholders.
    returned : list of Tensor
        The function's results.
    """

    __slots__ = ("given", "outer", "outside", "returned", "states", "what")

    def __init__(self, outer: Tape, what: str) -> None:
        super().__init__()
        self.outer: Any = outer  # perhaps a recording, which has more methods
        self.what = what
        self.depth = outer.depth + 1
        self.grad_enabled = outer.grad_enabled
        self.outside: list[tuple[int, Tensor]] = []
        self.given: set[int] = set()
        self.returned: list[Tensor] = []
        self.states: list[tuple[Any, ...]] = []

    def run(self) -> None:
        """Refuse: there is one placeholder for many values."""
        raise RuntimeError(
            f"{self.what} at a value that depends on the batch (bool, int, float, item, numpy, printing or "
            "indexing by it), but each element of the batch has another. Use tapegrad.where to choose "
            "between values, or loop over the batch"
        )

    def bind(self, t: Tensor) -> int:
        """A slot for a tensor from outside, which stays where it is."""
        slot = self.bindings.get(id(t))
        if slot is None:
            slot = self.bindings[id(t)] = len(self.tensors)
            self.append(INPUT.op | (GRAD if t._rg else 0), t._spec.id)
            self.hold(Ghost(t._spec))
            self.outside.append((slot, t))
            self.states.append((t._tape, t._slot, t._spec, t._rg, t._value))
        return slot

    def capture(self, array: np.ndarray) -> Tensor:
        """An array as an operand: if a function is being recorded around us, it decides what that is."""
        return self.outer.capture(array) if self.outer.recording else super().capture(array)

    def look(self, t: Tensor, kind: int) -> np.ndarray:
        """The value of a tensor, if it does not depend on the batch."""
        if t._tape is self:
            t = self._shared(t)
        with aside(self.outer):
            return t._realize(kind)

    def peek(self, t: Tensor) -> np.ndarray:
        """As `look`, for showing it."""
        if t._tape is self:
            t = self._shared(t)
        with aside(self.outer):
            return t._peek()

    def _shared(self, t: Tensor) -> Tensor:
        """What a tensor of this tape is on the outer one."""
        from tapegrad.sweeps.reach import inputs_of
        from tapegrad.sweeps.sweep import spread

        if self.given.intersection(inputs_of(self, t._slot)):
            self.run()
        ((found, _),) = spread(self.outer, self, [], self.outside, [t._slot], 0)
        return found

    def touch(self, t: Tensor, what: str) -> None:
        """A tensor from outside is about to be changed."""
        if self.outer.recording:
            self.outer.touch(t, what)

    def __enter__(self) -> Lanes:
        count_recordings(1)
        return self

    def __exit__(self, *exc: object) -> None:
        """Put back what the function has moved here; refuse that, unless something else went wrong."""
        count_recordings(-1)
        changed = False
        for k, state in enumerate(self.states):
            slot, t = self.outside[k]
            if t._tape is not self:
                continue
            # One that was on no tape may have been made inside; then nobody else holds it now.
            self.outside[k] = slot, tensor_from_array(state[4]) if state[4] is not None else t
            views = (t._extra.views or ()) if t._extra is not None else ()
            ours = ALONE + sum(r() is not None for r in views) + sum(t is r for r in self.returned)
            if state[0] is not None or state[3] or getrefcount(t) > ours:
                t._tape, t._slot, t._spec, t._rg, t._value = state
                changed = True
        if changed and exc[0] is None:
            raise RuntimeError(
                f"{self.what.removesuffix(' looked')} changed a tensor from outside in place; return the new "
                "value instead"
            )
