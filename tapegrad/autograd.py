"""Differentiation: ``backward``, ``grad``, hooks.

The same derivative rules have two consumers.  A plain backward pass is the engine's reverse loop over
the tape (`engine.driver.run_backward`).  With ``create_graph=True``, while a function is recorded for
replay, and where users' own derivatives are met, the pass itself is recorded (`sweeps.Reverse`), so that
it can be differentiated again.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tapegrad.custom.function import Function
from tapegrad.grad_mode import (
    detect_anomaly,
    enable_grad,
    is_grad_enabled,
    no_grad,
    set_grad_enabled,
)
from tapegrad.ops.record import as_operand, cast, conjugated
from tapegrad.ops.table import rows as table_rows
from tapegrad.tape import CUT, GRAD, OP, OP_MASK, STATE, Tape, X, current
from tapegrad.tensor import Tensor, tensor_from_array

__all__ = [
    "Function",
    "GradFn",
    "HookHandle",
    "Variable",
    "backward",
    "detect_anomaly",
    "enable_grad",
    "grad",
    "gradcheck",
    "gradgradcheck",
    "is_grad_enabled",
    "no_grad",
    "set_grad_enabled",
]

GATHERED = 1024  # rows beyond those at which reclaiming is due

_accumulating = threading.Lock()


# --- the two entry points -------------------------------------------------------------------------


def backward(
    tensors: Tensor | Sequence[Tensor],
    grad_tensors: Any = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    inputs: Tensor | Sequence[Tensor] | None = None,
) -> None:
    """Accumulate the gradients of ``tensors`` into ``.grad`` of the leaves.

    Parameters
    ----------
    tensors : Tensor or sequence of Tensor
        What to differentiate.
    grad_tensors : Tensor, array_like or sequence of these, optional
        One weight array per tensor, of the tensor's shape; ``None`` for tensors of one element.
    retain_graph : bool, optional
        Keep saved values for another backward pass.  Default: the value of ``create_graph``.
    create_graph : bool
        Record the backward pass, so that the gradients can be differentiated.
    inputs : Tensor or sequence of Tensor, optional
        Accumulate into these only.

    Raises
    ------
    RuntimeError
        If a tensor does not require grad, is not scalar and has no weights, has weights of another
        shape, or if values its derivative needs were freed or changed in place.

    Examples
    --------
    >>> import tapegrad as tg
    >>> x = tg.tensor([1.0, 2.0], requires_grad=True)
    >>> tg.autograd.backward((x * x).sum())
    >>> x.grad
    tensor([2., 4.])
    """
    roots = _as_list(tensors)
    seeds = _seeds(roots, grad_tensors)
    targets = None if inputs is None else _as_list(inputs)
    if targets is not None:
        if not targets:
            raise RuntimeError("backward: inputs must not be empty")
        for t in targets:
            if not t.requires_grad:
                raise RuntimeError("backward: one of the inputs does not require grad")
    tape = _tape_of(roots)
    retain = create_graph if retain_graph is None else retain_graph
    with _on_tape(tape):
        if create_graph or _must_record(tape, roots):
            for t, g in _record_backward(tape, roots, seeds, targets, create_graph, retain):
                _accumulate_recorded(t, g)
            return
        found = _run(tape, roots, seeds, retain, targets)
    for t, value in found:
        _accumulate(t, value)


def grad(
    outputs: Tensor | Sequence[Tensor],
    inputs: Tensor | Sequence[Tensor],
    grad_outputs: Any = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    allow_unused: bool | None = None,
    materialize_grads: bool = False,
) -> tuple[Tensor | None, ...]:
    """Return the gradients of ``outputs`` with respect to ``inputs``; ``.grad`` is left alone.

    Parameters
    ----------
    outputs, inputs : Tensor or sequence of Tensor
        What to differentiate, and with respect to what (leaves or results).
    grad_outputs : Tensor, array_like or sequence of these, optional
        Weights, as for `backward`.
    retain_graph, create_graph : bool
        As for `backward`.
    allow_unused : bool, optional
        Return ``None`` for inputs that the outputs do not depend on instead of raising.
    materialize_grads : bool
        Return zeros for those.

    Returns
    -------
    tuple of (Tensor or None)
        One gradient per input, of the input's shape.

    Raises
    ------
    RuntimeError
        As `backward`, and for unused inputs.

    Examples
    --------
    >>> import tapegrad as tg
    >>> x = tg.tensor(3.0, requires_grad=True)
    >>> (dx,) = tg.autograd.grad(x**3, x, create_graph=True)
    >>> tg.autograd.grad(dx, x)
    (tensor(18.),)
    """
    roots, targets = _as_list(outputs), _as_list(inputs)
    for t in targets:
        if not t.requires_grad:
            raise RuntimeError("One of the differentiated Tensors does not require grad")
    seeds = _seeds(roots, grad_outputs)
    tape = _tape_of(roots)
    retain = create_graph if retain_graph is None else retain_graph
    results: dict[int, Tensor] = {}
    with _on_tape(tape):
        if create_graph or _must_record(tape, roots):
            for t, c in _record_backward(tape, roots, seeds, targets, create_graph, retain):
                results[id(t)] = results[id(t)] + c if id(t) in results else c
        else:
            for t, value in _run(tape, roots, seeds, retain, targets):
                known = results.get(id(t))
                results[id(t)] = tensor_from_array(
                    value if known is None else np.asarray(known._realize() + value)
                )
    out: list[Tensor | None] = []
    g: Tensor | None
    for t in targets:
        g = results.get(id(t))
        if g is None and materialize_grads:
            g = tensor_from_array(np.zeros(t.shape, t.dtype))
        elif g is None and not allow_unused:
            raise RuntimeError(
                "One of the differentiated Tensors appears to not have been used in the graph. "
                "Set allow_unused=True if this is the desired behavior."
            )
        out.append(g)
    return tuple(out)


def _as_list(tensors: Any) -> list[Tensor]:
    items = [tensors] if isinstance(tensors, Tensor) else list(tensors)
    for t in items:
        if not isinstance(t, Tensor):
            raise TypeError(f"expected a Tensor, not {type(t).__name__}")
    return items


def _seeds(roots: list[Tensor], given: Any) -> list[Tensor | None]:
    if given is None:
        if len(roots) == 1 and roots[0]._rg and roots[0]._spec.size == 1 and roots[0]._spec.floating:
            return [None]
        weights: list[Any] = [None] * len(roots)
    elif isinstance(given, (Tensor, np.ndarray, float, int, complex)) or (
        len(roots) == 1 and not _is_sequence_of(given)
    ):
        weights = [given]
    else:
        weights = list(given)
    if len(weights) != len(roots):
        raise RuntimeError(f"got {len(roots)} tensors and {len(weights)} gradients")
    out: list[Tensor | None] = []
    for k, (t, w) in enumerate(zip(roots, weights)):
        if not t.requires_grad:
            raise RuntimeError(f"element {k} of tensors does not require grad and does not have a grad_fn")
        if w is None:
            if t.size != 1:
                raise RuntimeError("grad can be implicitly created only for scalar outputs")
            if not t._spec.floating:
                raise RuntimeError(
                    f"grad can be implicitly created only for real scalar outputs but got {t.dtype}; pass "
                    "gradient=, or take real, imag or abs() first"
                )
            out.append(None)
            continue
        w = as_operand(w, "backward")
        if w.shape != t.shape:
            raise RuntimeError(
                f"Mismatch in shape: grad_output[{k}] has a shape of {list(w.shape)} and "
                f"output[{k}] has a shape of {list(t.shape)}."
            )
        out.append(conjugated(cast(w, t.dtype)))
    return out


def _is_sequence_of(given: Any) -> bool:
    return isinstance(given, (list, tuple)) and any(
        g is None or isinstance(g, (Tensor, np.ndarray)) for g in given
    )


def _tape_of(roots: list[Tensor]) -> Tape:
    tape = current.tape
    for t in roots:
        if t._tape is not None and t._tape is not tape and not t.is_leaf:
            t._tape.require_owner(t)
            tape = t._tape  # left behind by a thread that has ended
    return tape


class _on_tape:
    """Work on a tape that is not the thread's own (that of a thread that has ended)."""

    def __init__(self, tape: Tape) -> None:
        self.tape = tape

    def __enter__(self) -> None:
        self.outer = current.tape
        current.tape = self.tape

    def __exit__(self, *exc: object) -> None:
        current.tape = self.outer


@functools.cache
def _engine() -> Any:
    """The engine, imported when first needed because it imports Numba."""
    from tapegrad.engine import driver

    return driver


@functools.cache
def _sweeps() -> Any:
    """The recorded sweeps, imported when first needed because they import Numba."""
    from tapegrad import sweeps

    return sweeps


def _run(
    tape: Tape,
    roots: list[Tensor],
    seeds: list[Tensor | None],
    retain: bool,
    targets: list[Tensor] | None,
) -> list[tuple[Tensor, np.ndarray]]:
    weights = [None if s is None else np.ascontiguousarray(s._realize()) for s in seeds]
    found = _engine().run_backward(tape, list(zip(roots, weights)), retain, targets)
    out = []
    for slot, value in found.items():
        t = _owner(tape, slot)
        if t is not None:
            out.append((t, as_gradient(_leaf_hooks(t, value))))
    _engine().maybe_reclaim(tape)
    return out


def _owner(tape: Tape, slot: int) -> Tensor | None:
    """The tensor that a slot's gradient belongs to."""
    t = tape.tensor_at(slot)
    if isinstance(t, Tensor):
        return t
    reference = tape.leaves.get(slot)
    return reference() if reference is not None else None


def as_gradient(value: np.ndarray) -> np.ndarray:
    """The gradient that a cotangent of the engine is: its conjugate, as in PyTorch."""
    return np.asarray(np.conjugate(value)) if value.dtype.kind == "c" else value


def _leaf_hooks(t: Tensor, value: np.ndarray) -> np.ndarray:
    extra = t._extra
    if extra is None or not extra.hooks or not t.is_leaf:
        return value
    from tapegrad.engine.driver import call_hooks

    return call_hooks(t, tensor_from_array(value))._realize()


def _accumulate(t: Tensor, value: np.ndarray) -> None:
    """Add a gradient to ``t.grad``; threads may do so at the same time."""
    with _accumulating:
        extra = t._more()
        old = extra.grad
        if old is None:
            extra.grad = tensor_from_array(value)
        elif old._rg:
            extra.grad = old + tensor_from_array(value)
        else:
            old._set_value(np.asarray(old._realize() + value))


def _accumulate_recorded(t: Tensor, g: Tensor) -> None:
    extra = t._more()
    extra.grad = g if extra.grad is None else extra.grad + g


# --- recording the backward pass ------------------------------------------------------------------


def _record_backward(
    tape: Tape,
    roots: list[Tensor],
    seeds: list[Tensor | None],
    targets: list[Tensor] | None,
    create_graph: bool,
    retain: bool,
    since: int = 0,
) -> list[tuple[Tensor, Tensor]]:
    """Record the reverse sweep; return the tensors that get a gradient, youngest first.

    It ends at slot ``since``: what targets before it depend on is not looked at.
    """
    slot_of = _sweeps().slot_of
    slots = [slot_of(tape, t) for t in roots]
    wanted = None if targets is None else {slot_of(tape, t) for t in targets}
    tape.locked += 1
    try:
        with set_grad_enabled(create_graph):
            ones = [
                tensor_from_array(np.ones(t.shape, t.dtype)) if s is None else s for t, s in zip(roots, seeds)
            ]
            sweep = _sweeps().Reverse(tape, list(zip(slots, ones)), wanted, create_graph, since)
            for slot in tape.hooked:
                t = tape.tensor_at(slot)
                if isinstance(t, Tensor) and t._extra is not None and t._extra.hooks and t._slot == slot:
                    sweep.watch(slot, t)
            sweep.finish()
            out = []
            for slot, g_slot in sweep.found(wanted):
                owner = _owner(tape, slot)
                if owner is None:
                    continue
                g = sweep.result(g_slot)
                sweep.given.add(g_slot)
                if owner.is_leaf and owner._extra is not None and owner._extra.hooks:
                    g = _engine().call_hooks(owner, g)
                out.append((owner, conjugated(g)))
            if not create_graph and not tape.recording:
                for _, g in out:
                    g._realize()
            if not retain:
                sweep.free()
    finally:
        tape.locked -= 1
    _settle(tape)
    return out


def _settle(tape: Tape) -> None:
    """Compute and reclaim after a sweep, if much has gathered.

    Where most rows are sweeps', the tape's limit is always reached while slots must stay where they are.
    """
    if tape.locked or tape.recording:
        return
    if tape.evaluated < len(tape.tensors) >= tape.reclaim_at + GATHERED:
        tape.run()
    if tape.evaluated == len(tape.tensors):
        _engine().maybe_reclaim(tape)


def _must_record(tape: Tape, roots: list[Tensor]) -> bool:
    """Whether the engine's own reverse loop cannot run this backward pass.

    Its numbers would be frozen into a recording, and it cannot call users' own derivatives.
    """
    if tape.recording:
        return True
    if not tape.functions:
        return False
    sweeps = _sweeps()
    return sweeps.reaches(tape, [sweeps.slot_of(tape, t) for t in roots], tape.functions)


# --- small things ---------------------------------------------------------------------------------


class HookHandle:
    """What ``register_hook`` returns; ``remove()`` takes the hook away."""

    _count = 0

    def __init__(self, hooks: dict[int, Callable], hook: Callable) -> None:
        HookHandle._count += 1
        self._key = HookHandle._count
        self._hooks = hooks
        hooks[self._key] = hook

    def remove(self) -> None:
        """Take the hook away."""
        self._hooks.pop(self._key, None)


class GradFn:
    """A result's instruction, as PyTorch shows it."""

    def __init__(self, t: Tensor) -> None:
        tape = t._tape
        assert tape is not None
        tape.seal()
        self._tape, self._slot = tape, t._slot
        self._row = table_rows[int(tape.code[t._slot, OP]) & OP_MASK]
        node = tape.functions.get(t._slot)
        # A user's operation has its module in its name, and the dimensions it is for.
        name = self._row.name.split("[")[0].split(".")[-1].removeprefix("custom:")
        self._name = node.name if node else "".join(p.capitalize() for p in name.split("_")) + "Backward"

    def name(self) -> str:
        """For example ``MultiplyBackward``."""
        return self._name

    @property
    def next_functions(self) -> tuple:
        """The instructions of the operands that require grad."""
        out = []
        for k in range(self._row.arity):
            o = int(self._tape.code[self._slot, X + k])
            if self._tape.code[self._slot, STATE] & CUT:
                break
            if o >= 0 and self._tape.code[o, OP] & GRAD:
                h = _sweeps().handle(self._tape, o)
                out.append((h.grad_fn, 0))
        return tuple(out)

    def __repr__(self) -> str:
        return f"<{self.name()}>"


def Variable(data: Any, requires_grad: bool = False) -> Tensor:
    """Wrap a tensor as PyTorch's ``Variable`` does: the same memory, with its own ``requires_grad``.

    Parameters
    ----------
    data : Tensor
        What to wrap.
    requires_grad : bool
        Whether to record operations on the result.

    Returns
    -------
    Tensor
        A leaf.
    """
    if not isinstance(data, Tensor):
        raise TypeError(f"Variable data has to be a tensor, but got {type(data).__name__}")
    out = data.detach()
    return out.requires_grad_() if requires_grad else out


def gradcheck(*args: Any, **kwargs: Any) -> bool:
    """Compare gradients with central differences; see `tapegrad.testing.gradcheck`."""
    from tapegrad.testing import gradcheck

    return gradcheck(*args, **kwargs)


def gradgradcheck(*args: Any, **kwargs: Any) -> bool:
    """Compare second derivatives with central differences; see `tapegrad.testing.gradgradcheck`."""
    from tapegrad.testing import gradgradcheck

    return gradgradcheck(*args, **kwargs)
