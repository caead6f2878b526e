"""``autograd.Function``: a function with a derivative of its own, in PyTorch's form.

``forward`` runs without recording for differentiation.  Each of its differentiable results becomes an
instruction ``function_result``, and ``tape.functions`` says which `Node` its derivative belongs to.  A
backward pass that meets one is always a recorded sweep, which calls `Node.reverse` once the cotangents of
all results are complete; so a derivative written in tapegrad's operations has derivatives itself, and can
be replayed.

A node refers to its inputs by slot (`engine.reclaim` keeps the numbers right) and holds only tensors that
were saved, so that it keeps alive no more than the derivative needs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tapegrad.grad_mode import enable_grad, no_grad
from tapegrad.ops.record import as_operand, cast, conjugated, user_location
from tapegrad.ops.table import ROWS, ns
from tapegrad.spec import Spec
from tapegrad.tape import GRAD, Tape, current
from tapegrad.tensor import NONLEAF, Tensor, _detached, _record_detach, new_result, tensor_from_array

__all__ = ["Function", "FunctionCtx", "Node"]


class FunctionCtx:
    """What ``forward`` leaves for ``backward``; attributes of any name may be set on it.

    Attributes
    ----------
    needs_input_grad : tuple of bool
        For each argument of ``apply``, whether its gradient is wanted.
    saved_tensors : tuple
        What `save_for_backward` was given.
    """

    needs_input_grad: tuple[bool, ...] = ()

    def __init__(self) -> None:
        self._saved: list[Any] = []
        self._shown: tuple | None = None  # while backward runs: the saved tensors with their history
        self._constant: set[int] = set()
        self._materialize = True

    def save_for_backward(self, *tensors: Tensor | None) -> None:
        """Keep tensors for ``backward``: inputs, results, or others; call it once.

        Raises
        ------
        TypeError
            If something is neither a tensor nor ``None``; set other things as attributes.
        """
        for t in tensors:
            if t is not None and not isinstance(t, Tensor):
                raise TypeError(
                    f"save_for_backward can only save tensors, but argument is of type {type(t).__name__}; "
                    "set an attribute of ctx instead"
                )
        self._saved = list(tensors)

    @property
    def saved_tensors(self) -> tuple:
        """What `save_for_backward` was given."""
        return tuple(self._saved) if self._shown is None else self._shown

    def mark_non_differentiable(self, *tensors: Tensor) -> None:
        """Say which results do not take part in differentiation."""
        self._constant.update(id(t) for t in tensors)

    def set_materialize_grads(self, value: bool) -> None:
        """Whether cotangents that are zero reach ``backward`` as zeros (the default) or as ``None``."""
        self._materialize = bool(value)

    def mark_dirty(self, *tensors: Tensor) -> None:
        """Refuse: values never change here."""
        raise RuntimeError("mark_dirty: inputs cannot be changed in place by forward; return a new tensor")


class Function:
    """A function with a derivative of its own: subclass it, and call ``apply``.

    ``forward(ctx, *args)`` computes the result, a tensor or a tuple of tensors; nothing it does is recorded
    for differentiation.  ``backward(ctx, *grads)`` gets one cotangent per result and returns one per
    argument, ``None`` where there is none.  Both are static methods.  Written in tapegrad's operations,
    ``backward`` can be differentiated again.  Alternatively ``forward(*args)`` does without ``ctx``, and
    ``setup_context(ctx, inputs, output)`` saves what is needed.  ``jvp(ctx, *tangents)`` may give the tangent
    of the result; without it forward sweeps transpose ``backward``.

    Raises
    ------
    RuntimeError
        In the backward pass: if ``backward`` returns another number of gradients than ``apply`` had
        arguments, a gradient of the wrong shape or for an argument that is no tensor, or if a saved
        tensor was changed in place or freed.

    Examples
    --------
    >>> import tapegrad as tg
    >>> class Exp(tg.autograd.Function):
    ...     @staticmethod
    ...     def forward(ctx, x):
    ...         out = tg.exp(x)
    ...         ctx.save_for_backward(out)
    ...         return out
    ...     @staticmethod
    ...     def backward(ctx, g):
    ...         (out,) = ctx.saved_tensors
    ...         return g * out
    >>> x = tg.tensor([0.0, 1.0], requires_grad=True)
    >>> Exp.apply(x).sum().backward()
    >>> x.grad
    tensor([1.0000, 2.7183])
    """

    forward: Callable
    backward: Callable
    setup_context: Callable | None = None
    jvp: Callable | None = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        raise RuntimeError(
            f"{type(self).__name__} should not be instantiated: its methods are static; call apply"
        )

    @classmethod
    def apply(cls, *args: Any) -> Any:
        """Call the function.

        Parameters
        ----------
        *args
            Tensors, of which those that require grad are differentiated, and anything else.

        Returns
        -------
        Tensor or tuple
            What ``forward`` returned.  Results of floating dtype require grad if an argument does.

        Raises
        ------
        NotImplementedError
            If the class has no ``forward``.
        TypeError
            If ``forward`` returns a NumPy array.
        """
        if not callable(getattr(cls, "forward", None)):
            raise NotImplementedError(f"{cls.__name__}: implement the static method forward")
        tape = current.tape
        wanted = tuple([isinstance(a, Tensor) and bool(a._rg) and tape.grad_enabled for a in args])
        ctx = FunctionCtx()
        ctx.needs_input_grad = wanted
        with no_grad():
            if cls.setup_context is None:
                given = cls.forward(ctx, *args)
            else:
                given = cls.forward(*args)
                cls.setup_context(ctx, args, given)
        results = given if isinstance(given, tuple) else (given,)
        for k, r in enumerate(results):
            if isinstance(r, (np.ndarray, np.generic)):
                raise TypeError(
                    f"{cls.__name__}.forward: result {k} is a NumPy array; return tg.tensor(...) of it"
                )
        if not any(wanted):
            return given
        differentiable = [
            isinstance(r, Tensor) and r._spec.differentiable and id(r) not in ctx._constant for r in results
        ]
        if not any(differentiable):
            return given
        place = user_location(0)
        tape.locked += 1  # slots are noted here that nothing renumbers before the node is in its place
        try:
            node = Node(cls, ctx, tape, args, results, differentiable)
            out = []
            for r, active in zip(results, differentiable):
                out.append(_result(tape, node, r, place) if active else _passed(r, args))
        finally:
            tape.locked -= 1
        return tuple(out) if isinstance(given, tuple) else out[0]


def _result(tape: Tape, node: Node, raw: Tensor, place: Any) -> Tensor:
    """An instruction with the value of ``raw`` whose derivative is the node's affair."""
    if raw._rg:  # an input, or a tensor from outside: its own history must not show through
        raw = _detached(raw)
    slot = raw._slot if raw._tape is tape else tape.bind(raw)
    tape.append(ROWS["function_result"].op | GRAD, raw._spec.id, slot, 0, place)
    tape.functions[len(tape.tensors)] = node
    node.slots.append(len(tape.tensors))
    return new_result(tape, raw._spec, NONLEAF)


def _passed(result: Any, args: Sequence[Any]) -> Any:
    """A result without derivative, cut off if it is an argument."""
    return _detached(result) if isinstance(result, Tensor) and result._rg else result


class Node:
    """One call of a `Function`: what the tape calls when a sweep reaches its results.

    Attributes
    ----------
    slots : list of int
        Those of the differentiable results, in order; -1 for one that nobody can reach any more.
    in_slots : list of int
        Those of the arguments; -1 where none is differentiated.
    """

    __slots__ = ("ctx", "differentiable", "freed", "function", "in_slots", "in_specs", "out_specs",
                 "saved", "slots")  # fmt: skip

    def __init__(
        self,
        function: type[Function],
        ctx: FunctionCtx,
        tape: Tape,
        args: Sequence[Any],
        results: Sequence[Any],
        differentiable: Sequence[bool],
    ) -> None:
        self.function, self.ctx, self.freed = function, ctx, False
        self.slots: list[int] = []
        self.differentiable = list(differentiable)
        self.out_specs = [r._spec if isinstance(r, Tensor) else None for r in results]
        self.in_specs: list[Spec | None] = []
        self.in_slots: list[int] = []
        for a, wanted in zip(args, ctx.needs_input_grad):
            self.in_specs.append(a._spec if isinstance(a, Tensor) else None)
            self.in_slots.append((a._slot if a._tape is tape else tape.bind(a)) if wanted else -1)
        # Of each saved tensor: itself, where it was, and which result it is, if it is one.
        self.saved: list[tuple[Tensor, int, Any, int] | None] = []
        for t in ctx._saved:
            if t is None:
                self.saved.append(None)
                continue
            which = next((k for k, r in enumerate(results) if r is t and differentiable[k]), -1)
            slot = t._slot if t._tape is tape else tape.bind(t)
            self.saved.append((t, slot, t._value, which))
        ctx._saved = []

    # --- what the sweeps call ---------------------------------------------------------------------

    @property
    def name(self) -> str:
        """As PyTorch names it."""
        return f"{self.function.__name__}Backward"

    @property
    def inputs(self) -> list[Tensor | None]:
        """The arguments that are differentiated, ``None`` for the others."""
        from tapegrad.sweeps.sweep import handle

        return [handle(current.tape, s) if s >= 0 else None for s in self.in_slots]

    def reverse(self, cotangents: Sequence[Tensor | None]) -> list[tuple[Tensor, Tensor]]:
        """Call ``backward``; pair the inputs with their cotangents.

        ``cotangents`` belong to the differentiable results, in order.
        """
        if self.freed:
            from tapegrad.engine.driver import freed_error

            raise freed_error(current.tape, min(s for s in self.slots if s >= 0))
        waiting = iter([*cotangents, *[None] * len(self.slots)])
        grads: list[Tensor | None] = []
        for spec, active in zip(self.out_specs, self.differentiable):
            g = next(waiting) if active else None
            if g is None and spec is not None and self.ctx._materialize:
                g = tensor_from_array(np.zeros(spec.shape, spec.dtype))
            grads.append(g)
        grads = [None if g is None else conjugated(g) for g in grads]
        found = self._checked(self._with_saved(self.function.backward, grads))
        return [(x, conjugated(c)) for x, c in zip(self.inputs, found) if x is not None and c is not None]

    def forward(self, tangents: Sequence[Tensor | None]) -> list[Tensor | None]:
        """The tangents of the differentiable results, given those of the arguments.

        Raises
        ------
        NotImplementedError
            If the class has no ``jvp`` and its ``backward`` cannot be differentiated.
        """
        if self.function.jvp is not None:
            out = self._with_saved(self.function.jvp, tangents)
            outs = out if isinstance(out, tuple) else (out,)
            return [
                None if t is None else cast(as_operand(t, self.name), spec.dtype)
                for t, spec, active in zip(outs, self.out_specs, self.differentiable)
                if active and spec is not None
            ]
        # backward is linear in its cotangents: the transpose of that map is the forward derivative.
        from tapegrad.autograd import grad

        with enable_grad():
            seeds = [_seed(s) for s, active in zip(self.out_specs, self.differentiable) if active and s]
            found = self._with_saved(self.function.backward, self._spread(seeds))
            pairs = [
                (c, t) for c, t in zip(self._checked(found), tangents) if c is not None and t is not None
            ]
            if any(not c._rg for c, _ in pairs):
                raise NotImplementedError(
                    f"{self.function.__name__}: forward mode needs a static method jvp(ctx, *tangents), or a "
                    "backward written in tapegrad's operations"
                )
            if not pairs:
                return [None] * len(seeds)
            return list(
                grad(
                    [c for c, _ in pairs], seeds, [t for _, t in pairs], create_graph=True, allow_unused=True
                )
            )

    def free(self) -> list[int]:
        """Let go of what was saved; returns the slots of the inputs."""
        slots = [s for s in self.in_slots if s >= 0]
        self.freed = True
        self.saved = []
        self.ctx = FunctionCtx()
        self.in_slots = [-1] * len(self.in_slots)
        return slots

    # --- what reclaiming needs --------------------------------------------------------------------

    def edges(self) -> list[int]:
        """Slots that must live as long as this node's results, besides those of tensors others hold."""
        return [s for s in self.in_slots if s >= 0] + [s[1] for s in self.saved if s is not None]

    def holds(self, tape: Tape, slot: int) -> list[int]:
        """Where the tensors are that it holds, of those below its first result's ``slot``."""
        tensors = [s for s in self.saved if s is not None]
        return [i for t, i, *_ in tensors if i < slot and t._slot == i and tape.tensor_at(i) is t]

    def renumber(self, number: dict[int, int]) -> None:
        """Follow slots to their new numbers."""
        self.slots = [number.get(s, -1) for s in self.slots]
        self.in_slots = [number.get(s, -1) for s in self.in_slots]
        self.saved = [s and (s[0], number.get(s[1], -1), s[2], s[3]) for s in self.saved]

    # --- pieces -----------------------------------------------------------------------------------

    def _spread(self, seeds: Sequence[Tensor]) -> list[Tensor | None]:
        waiting = iter(seeds)
        return [next(waiting) if active else None for active in self.differentiable]

    def _with_saved(self, function: Callable, given: Sequence[Tensor | None]) -> Any:
        self.ctx._shown = tuple([s and self._unpack(*s) for s in self.saved])
        try:
            return function(self.ctx, *given)
        finally:
            self.ctx._shown = None

    def _unpack(self, t: Tensor, slot: int, value: Any, which: int) -> Tensor:
        from tapegrad.sweeps.sweep import handle

        tape = current.tape
        if which >= 0:
            slot = self.slots[sum(self.differentiable[:which])]
            # Without its history, the value that is in memory does as well.
            return handle(tape, slot) if tape.grad_enabled and slot >= 0 else t
        if (t._tape is tape and t._slot == slot) or (value is not None and t._value is value):
            return t
        raise RuntimeError(
            "one of the variables needed for gradient computation has been modified by an inplace operation: "
            f"a tensor of shape {t._spec.shape} saved by {self.function.__name__}. Use an out-of-place "
            "operation there, or save a clone()."
        )

    def _checked(self, found: Any) -> list[Tensor | None]:
        """The gradients that ``backward`` returned, one per argument."""
        grads = list(found) if isinstance(found, (tuple, list)) else [found]
        n = len(self.in_specs)
        if len(grads) < n or any(g is not None for g in grads[n:]):
            raise RuntimeError(
                f"function {self.name} returned an incorrect number of gradients "
                f"(expected {n}, got {len(grads)})"
            )
        out: list[Tensor | None] = []
        for k, (g, spec) in enumerate(zip(grads, self.in_specs)):
            if g is None:
                out.append(None)
                continue
            if spec is None:
                raise RuntimeError(
                    f"function {self.name} returned a gradient different from None at position {k + 1}, but "
                    "the corresponding forward input was not a Tensor"
                )
            g = as_operand(g, self.name)
            if g._spec.shape != spec.shape:
                g = self._fitted(g, spec, k)
            out.append(cast(g, spec.dtype) if spec.differentiable else None)
        return out

    def _fitted(self, g: Tensor, spec: Spec, k: int) -> Tensor:
        """A gradient of a shape that the argument was, or could have been, broadcast to."""
        from tapegrad.sweeps.rules import sum_to

        try:
            if np.broadcast_shapes(g._spec.shape, spec.shape) == g._spec.shape:
                return sum_to(g, spec.shape)
        except ValueError:
            pass
        raise RuntimeError(
            f"Function {self.name} returned an invalid gradient at index {k} - got {list(g._spec.shape)} but "
            f"expected shape compatible with {list(spec.shape)}"
        )


def _seed(spec: Spec) -> Tensor:
    """A cotangent to differentiate with respect to; its value does not matter."""
    # No leaf: a tensor from outside would be taken for one that somebody can differentiate by.
    t = _record_detach(ns.zeros(spec.shape, dtype=spec.dtype), True)
    t._rg = NONLEAF
    return t
