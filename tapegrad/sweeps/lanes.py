"""The tape on which a function runs once for a whole batch: no values, and nothing outside is touched."""

from __future__ import annotations

from typing import Any

import numpy as np

from tapegrad.ops.table import INPUT
from tapegrad.sweeps.store import Scratch
from tapegrad.tape import GRAD, Ghost, Tape
from tapegrad.tensor import Tensor

__all__ = ["Lanes"]


class Lanes(Scratch):
    """A scratch tape on which tensors from outside have slots without leaving theirs.

    Attributes
    ----------
    outside : list of (int, Tensor)
        Those tensors, and their slots here.
    """

    __slots__ = ("outer", "outside", "states", "what")

    def __init__(self, outer: Tape, what: str) -> None:
        super().__init__()
        self.outer: Any = outer  # perhaps a recording, which has more methods
        self.what = what
        self.depth = outer.depth + 1
        self.grad_enabled = outer.grad_enabled
        self.outside: list[tuple[int, Tensor]] = []
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
        """The value of a tensor from outside; the tape's own have none."""
        if t._tape is self:
            self.run()
        return self.outer.look(t, kind) if self.outer.recording else t._compute()

    def touch(self, t: Tensor, what: str) -> None:
        """A tensor from outside is about to be changed."""
        if self.outer.recording:
            self.outer.touch(t, what)

    def __enter__(self) -> Lanes:
        return self

    def __exit__(self, *exc: object) -> None:
        """Put back what the function has moved here; refuse that, unless something else went wrong."""
        changed = False
        for (_, t), state in zip(self.outside, self.states):
            if t._tape is self:
                t._tape, t._slot, t._spec, t._rg, t._value = state
                changed = True
        if changed and exc[0] is None:
            raise RuntimeError(
                f"{self.what.removesuffix(' looked')} changed a tensor from outside in place; return the new "
                "value instead"
            )
