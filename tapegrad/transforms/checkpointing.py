"""``checkpoint``: compute again in the backward pass what would otherwise be kept for it."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from tapegrad.autograd import Function, _record_backward, _sweeps, is_grad_enabled
from tapegrad.autograd import grad as gradients
from tapegrad.grad_mode import enable_grad
from tapegrad.ops.movement import BARRIER
from tapegrad.ops.record import record
from tapegrad.tape import GRAD, OP, OP_MASK, Tape, current
from tapegrad.tensor import NONLEAF, Tensor, _record_detach, tensor_from_array
from tapegrad.transforms.level import Level, describe, inner_function
from tapegrad.tree import Structure, flatten

__all__ = ["checkpoint"]


def checkpoint(f: Callable) -> Callable:
    """A function with the values and derivatives of ``f`` that keeps nothing between the two.

    What ``f`` computes on the way to its result is not saved for the backward pass; it is computed again
    from the arguments when the backward pass gets there.  A loop of checkpointed steps holds the values of
    one step at a time, for about one more evaluation of ``f``.

    Parameters
    ----------
    f : callable
        Function of tensors (nested containers, and other things) that returns tensors (nested).  It must do
        the same each time.  Tensors it captures take part in differentiation.

    Returns
    -------
    callable
        Takes the arguments of ``f`` and returns its result.

    Raises
    ------
    TypeError
        When called: if ``f`` returns something else than tensors.
    RuntimeError
        When called: if ``f`` changes an argument in place.

    Examples
    --------
    >>> import tapegrad as tg
    >>> x = tg.tensor([1.0, 2.0], requires_grad=True)
    >>> tg.checkpoint(lambda x: tg.exp(tg.sin(x)))(x).sum().backward()
    >>> x.grad
    tensor([ 1.2534, -1.0331])
    """
    f = inner_function("checkpoint", f)

    @functools.wraps(f)
    def run(*args: Any, **kwargs: Any) -> Any:
        if not is_grad_enabled():
            return f(*args, **kwargs)
        call = _Call(f, args, kwargs)
        outs, structure = call.first()
        if not any(t._rg for t in (*call.tensors, *call.captured)):
            return structure.unflatten(outs)
        found = _Checkpoint.apply(call, outs, *call.tensors, *call.captured)
        return structure.unflatten(list(found))

    return run


class _Call:
    """One call of the function: its arguments, and what it captures."""

    def __init__(self, f: Callable, args: tuple, kwargs: dict[str, Any]) -> None:
        self.f = f
        self.leaves, self.structure = flatten((args, kwargs))
        self.places = [k for k, x in enumerate(self.leaves) if isinstance(x, Tensor)]
        self.tensors = [self.leaves[k] for k in self.places]
        for k in self.places:
            self.leaves[k] = None
        self.captured: list[Tensor] = []
        self.depth, self.levels = current.tape.depth, list(Level.at_work.levels)

    def again(self, tensors: Sequence[Tensor]) -> tuple[list[Tensor], Structure]:
        """Run the function on other tensors."""
        leaves = list(self.leaves)
        for k, t in zip(self.places, tensors):
            leaves[k] = t
        args, kwargs = self.structure.unflatten(leaves) if leaves else ((), {})
        outs, structure = flatten(self.f(*args, **kwargs))
        for t in outs:
            if not isinstance(t, Tensor):
                raise TypeError(
                    f"checkpoint: {describe(self.f)} returned a value of type {type(t).__name__}; it must "
                    "return tensors, nested if you like"
                )
        return outs, structure

    @contextlib.contextmanager
    def inside(self) -> Iterator[None]:
        """Within the transforms that were at work at first: those called inside see the same."""
        tape, at_work = current.tape, Level.at_work
        depth, levels = tape.depth, at_work.levels
        tape.depth, at_work.levels = max(depth, self.depth), self.levels
        try:
            yield
        finally:
            tape.depth, at_work.levels = depth, levels

    def first(self) -> tuple[list[Tensor], Structure]:
        """Run it without the history of its arguments; find out what else it depends on."""
        tape = current.tape
        if not tape.recording:
            tape.run()  # apart from what is to be differentiated, whose values are kept
        mark = _record_detach(tensor_from_array(np.zeros(())), False)  # where the function's rows begin
        inputs = [_record_detach(t, False) for t in self.tensors]
        notes = [t._more() for t in inputs]
        outs, structure = self.again(inputs)
        if any(n.changes for n in notes):
            raise RuntimeError(
                f"checkpoint: {describe(self.f)} changed an argument in place, which its caller would not "
                "see; let it return the new value, or change a clone()"
            )
        self.captured = _captured(tape, mark._slot, [t for t in outs if t._rg])
        _forget_history(tape, mark._slot)
        if not tape.recording:
            tape.run()  # now, so that what lies between is let go of before the next step begins
        return outs, structure


def _captured(tape: Tape, start: int, outs: Sequence[Tensor]) -> list[Tensor]:
    """Tensors from before ``start`` that results are differentiated by."""
    if not outs:
        return []
    sweeps = _sweeps()
    slots = sweeps.sources(tape, [sweeps.slot_of(tape, t) for t in outs], start)
    return [sweeps.handle(tape, s) for s in slots]


def _forget_history(tape: Tape, start: int) -> None:
    """Cut what was recorded since ``start`` off from differentiation: nothing is saved for it."""
    from tapegrad.engine.kernel_table import library
    from tapegrad.engine.layout import RULES

    n = tape.seal()
    library.refresh()
    rows = np.arange(start, n)
    rows = rows[library.info[tape.code[rows, OP] & OP_MASK, RULES] != 0]
    tape.code[rows, OP] &= ~GRAD


class _Checkpoint(Function):
    @staticmethod
    def forward(ctx: Any, call: _Call, outs: list[Tensor], *tensors: Tensor) -> tuple:
        ctx.call = call
        ctx.count = len(call.tensors)
        ctx.save_for_backward(*tensors)
        call.tensors, call.captured = [], []
        return tuple(outs)

    @staticmethod
    def backward(ctx: Any, *cotangents: Tensor) -> tuple:
        saved = ctx.saved_tensors
        wanted = ctx.needs_input_grad[2:]
        further = is_grad_enabled()
        known = _record_detach(cotangents[0], False)
        inputs = []
        for t, active in zip(saved[: ctx.count], wanted):
            x = record(BARRIER, (t, known))  # part of the history only if there is a further derivative
            if active and not x._rg:
                x = _record_detach(x, True)
                x._rg = NONLEAF
            inputs.append(x)
        since = current.tape.seal()
        with enable_grad():
            used = [x for x, active in zip(inputs, wanted) if active]
            captured = [t for t, active in zip(saved[ctx.count :], wanted[ctx.count :]) if active]
            with ctx.call.inside():
                outs, _ = ctx.call.again(inputs)
            live = [(o, g) for o, g in zip(outs, cotangents) if o._rg]
        apart = not further and all(t.is_leaf for t in captured)  # nothing used depends on another
        waiting = iter(_cotangents(live, used + captured, further, None if apart else since))
        return (None, None, *[next(waiting) if active else None for active in wanted])


def _cotangents(
    live: Sequence[tuple[Tensor, Tensor]], used: Sequence[Tensor], further: bool, since: int | None
) -> Sequence[Tensor | None]:
    """Cotangents of what the function used, each as if it did not depend on the others.

    What is older than slot ``since`` is the affair of the sweep that called for these.
    """
    if not live:
        return [None] * len(used)
    outs, seeds = [o for o, _ in live], [g for _, g in live]
    if since is None:
        return gradients(outs, used, seeds, allow_unused=True)
    pairs = _record_backward(current.tape, outs, list(seeds), list(used), further, further, since)
    found = {id(t): g for t, g in pairs}
    return [found.get(id(t)) for t in used]
