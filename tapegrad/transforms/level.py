"""What all transforms share: their arguments, running the function, handing results back.

A transform runs its function on *leaves*: fresh identity instructions of its arguments.  Each level of
nesting differentiates by its own, so levels cannot be confused.  While a function runs, ``tape.depth`` is
above zero; transforms called then work on Tensors and record their sweeps, so that they can be
differentiated in turn.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import threading
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tapegrad.autograd import _engine, _must_record, _settle, _sweeps, as_gradient
from tapegrad.ops.record import as_operand, cast, conjugated, record_elementwise, user_location
from tapegrad.ops.table import ROWS, ns
from tapegrad.spec import FLOAT64
from tapegrad.tape import GRAD, current
from tapegrad.tensor import NONLEAF, Tensor, _record_detach, new_result, tensor_from_array
from tapegrad.tree import Structure, flatten

__all__ = ["Level", "derive", "describe", "inner_function", "number_or_array", "of_compiled", "pick"]


def describe(f: Any) -> str:
    """A function's name and where it stands."""
    inner = inspect.unwrap(f) if callable(f) else f
    while isinstance(inner, functools.partial):
        inner = inner.func
    name = getattr(inner, "__qualname__", None) or repr(inner)
    code = getattr(inner, "__code__", None)
    return f"{name} ({code.co_filename}:{code.co_firstlineno})" if code is not None else name


def inner_function(name: str, f: Any) -> Callable:
    """The function itself, without what compiles it.

    Raises
    ------
    TypeError
        If it is not callable.
    """
    if not callable(f):
        raise TypeError(f"{name}: the first argument must be a function, not {type(f).__name__}")
    return getattr(f, "__tapegrad_compiled__", None) or f


def of_compiled(transform: Callable) -> Callable:
    """Let a transform of a compiled function be compiled."""

    @functools.wraps(transform)
    def make(f: Callable, *args: Any, **kwargs: Any) -> Callable:
        out = transform(inner_function(transform.__name__, f), *args, **kwargs)
        return ns.compile(out) if getattr(f, "__tapegrad_compiled__", None) is not None else out

    return make


def derive(f: Callable, name: str, function: Callable) -> Callable:
    """Give a derived function the name, the documentation and the signature of ``f``."""
    with contextlib.suppress(AttributeError, TypeError):  # some callables have odd attributes
        functools.update_wrapper(function, f, updated=())
    own = getattr(f, "__name__", type(f).__name__)
    function.__name__ = function.__qualname__ = f"{name}({own})"
    return function


def number_or_array(value: np.ndarray) -> Any:
    """An array, or a Python number for one without axes."""
    return value.item() if value.ndim == 0 else value


def pick(name: str, argnums: Any, count: int) -> tuple[int, ...]:
    """Positions of the arguments that are differentiated, from the front.

    Raises
    ------
    TypeError
        If they are not integers.
    ValueError
        If there is no such argument, or one is named twice.
    """
    given = argnums if isinstance(argnums, (tuple, list)) else (argnums,)
    out = []
    for k in given:
        if isinstance(k, bool) or not isinstance(k, (int, np.integer)):
            raise TypeError(f"{name}: argnums must be an integer or a tuple of integers, not {argnums!r}")
        if not -count <= k < count:
            raise ValueError(f"{name}: argnums={argnums!r}, but {count} positional arguments were given")
        out.append(int(k) % count)
    if not out or len(set(out)) < len(out):
        raise ValueError(f"{name}: argnums={argnums!r} must name different arguments, at least one")
    return tuple(out)


class _AtWork(threading.local):
    """The levels whose functions are running in this thread."""

    def __init__(self) -> None:
        self.levels: list[Level] = []


class Level:
    """One transform at work on one call of its function.

    Attributes
    ----------
    tensors_out : bool
        Whether results are Tensors (given Tensors, or inside another transform) rather than arrays.
    leaves : list of Tensor
        What the function is differentiated by.
    """

    at_work = _AtWork()

    def __init__(self, name: str, f: Callable, args: Sequence[Any], kwargs: dict[str, Any]) -> None:
        self.name, self.f = name, f
        self.tape = current.tape
        self.nested = self.tape.depth > 0 or self.tape.recording
        self.args, self.kwargs = list(args), kwargs
        self.tensors_out = self.nested or any(
            isinstance(x, Tensor) for a in (*args, *kwargs.values()) for x in _leaves(a)
        )
        self.outer_grad = self.tape.grad_enabled
        self.leaves: list[Tensor] = []
        self.structures: list[Structure] = []

    # --- arguments --------------------------------------------------------------------------------

    def differentiate(self, positions: tuple[int, ...], plain: bool = False) -> None:
        """Replace the arguments at these positions by leaves.

        With ``plain`` an array is a leaf as it is; only if nobody uses the leaves after this call.
        """
        plain = plain and not self.tensors_out
        for k in positions:
            found, structure = flatten(self.args[k])
            paths = structure.paths() if structure.count > 1 or structure.container else [""]
            made = [self._leaf(x, f"argument {k}{path}", plain) for x, path in zip(found, paths)]
            self.structures.append(structure)
            self.args[k] = structure.unflatten(made) if structure.count else self.args[k]

    def _leaf(self, x: Any, what: str, plain: bool) -> Tensor:
        t = self.operand(x, what)
        if not t._spec.differentiable:
            raise TypeError(
                f"{self.name}: {what} has dtype {t._spec.dtype}; only floating-point arguments can be "
                "differentiated. Pass floats, or choose others with argnums"
            )
        tape = self.tape
        if t._rg and self.outer_grad:
            tape.grad_enabled = True
            try:
                t = record_elementwise(ROWS["positive"], (t,))
            finally:
                tape.grad_enabled = self.outer_grad
        elif plain and t._tape is None:
            t._rg = NONLEAF
            tape.bind(t)
        else:
            slot = t._slot if t._tape is tape else tape.bind(t)
            tape.append(ROWS["argument"].op | GRAD, t._spec.id, slot, where=user_location(1))
            t = new_result(tape, t._spec, 0)
        t._rg = NONLEAF  # not LEAF: the function may change its argument in place
        self.leaves.append(t)
        return t

    def operand(self, x: Any, what: str) -> Tensor:
        """An argument's leaf as a tensor."""
        if isinstance(x, Tensor):
            return x
        if isinstance(x, (bool, int, float, complex, np.ndarray, np.generic)):
            t = as_operand(x, self.name) if self.tape.recording else None
            if t is None:
                array = np.asarray(x)
                if array.dtype.kind not in "biufc":
                    raise TypeError(f"{self.name}: {what} has dtype {array.dtype}, which is not supported")
                if array.dtype.kind == "f" and array.dtype.itemsize not in (4, 8):
                    array = array.astype(FLOAT64)
                t = tensor_from_array(array)
            return t
        raise TypeError(
            f"{self.name}: {what} is of type {type(x).__name__}; expected an array, a float, a Tensor, or "
            "nested tuples, lists, dicts or dataclasses of these"
        )

    # --- running the function ---------------------------------------------------------------------

    def call(self) -> Any:
        """Run the function."""
        tape = self.tape
        levels = Level.at_work.levels
        tape.depth += 1
        tape.grad_enabled = True
        levels.append(self)
        try:
            return self.f(*self.args, **self.kwargs)
        finally:
            levels.pop()
            tape.depth -= 1
            tape.grad_enabled = self.outer_grad

    def with_aux(self, has_aux: bool) -> tuple[Any, Any]:
        """Run the function; return its result and what it returned beside."""
        out = self.call()
        if not has_aux:
            return out, None
        if not isinstance(out, (tuple, list)) or len(out) != 2:
            raise TypeError(
                f"{self.name}: with has_aux=True, {describe(self.f)} must return a pair (out, aux), not "
                f"{type(out).__name__}"
            )
        return out[0], out[1]

    def output(self, out: Any) -> Tensor:
        """A result as a tensor.

        Raises
        ------
        TypeError
            If it is neither a tensor nor an array nor a number.
        """
        if isinstance(out, Tensor):
            return out
        if isinstance(out, (bool, int, float, complex, np.ndarray, np.generic)):
            return as_operand(out, self.name)
        raise TypeError(
            f"{self.name}: {describe(self.f)} returned {_named(out)}; it must return a tensor, an array "
            "or a number"
        )

    def outputs(self, out: Any) -> tuple[list[Tensor], Structure]:
        """All leaves of a nested result as tensors."""
        found, structure = flatten(out)
        return [self.output(x) for x in found], structure

    def scalar(self, out: Any) -> Tensor:
        """A result that can be differentiated by ``grad``: a single floating number."""
        t = self.output(out)
        if t._spec.size != 1:
            raise TypeError(
                f"{self.name}: {describe(self.f)} must return a single number, but its result has shape "
                f"{t._spec.shape}. Use jacobian for all derivatives, or elementwise_grad for those of the sum"
            )
        if not t._spec.floating:
            raise TypeError(
                f"{self.name}: {describe(self.f)} must return a floating-point number, not {t._spec.dtype}"
                + (". Take real, imag or abs() of it, or use vjp" if t._spec.kind == "c" else "")
            )
        return t

    # --- derivatives ------------------------------------------------------------------------------

    def origins(self) -> list[int]:
        """The leaves' slots, also of those that the function has changed in place."""
        tape = self.tape
        slots = []
        for t in self.leaves:
            moved = [s for s, r in tape.leaves.items() if r() is t] if tape.leaves else []
            slots.append(min([t._slot, *moved]))
        return slots

    def cotangents(
        self, roots: Sequence[Tensor], seeds: Sequence[Tensor | None], retain: bool = False
    ) -> list[Any]:
        """Gradients of the leaves: Tensors if nested or given Tensors, else arrays; ``None`` for zero."""
        live = [(t, g if g is None else conjugated(g)) for t, g in zip(roots, seeds) if t._rg]
        if not live:
            return [None] * len(self.leaves)
        tape, slots = self.tape, self.origins()
        if not self.tensors_out and not _must_record(tape, [t for t, _ in live]):
            handle = _sweeps().handle
            weights = [(t, None if g is None else np.ascontiguousarray(g._realize())) for t, g in live]
            found = _engine().run_backward(tape, weights, retain, [handle(tape, s) for s in slots])
            out: list[Any] = [as_gradient(found[s]) if s in found else None for s in slots]
            _engine().maybe_reclaim(tape)
            return out
        found, _ = self.record(live, slots)
        if all(t._spec.kind != "c" for t in self.leaves):
            return found
        outer, self.tape.grad_enabled = self.tape.grad_enabled, self.outer_grad
        try:
            return [None if g is None else conjugated(g) for g in found]
        finally:
            self.tape.grad_enabled = outer

    def record(
        self, live: Sequence[tuple[Tensor, Tensor | None]], slots: Sequence[int]
    ) -> tuple[list[Tensor | None], int]:
        """Record the reverse sweep; cotangents of the leaves, and where its rows begin."""
        tape, sweeps = self.tape, _sweeps()
        tape.locked += 1
        outer, tape.grad_enabled = tape.grad_enabled, self.outer_grad
        try:
            roots = [
                (
                    sweeps.slot_of(tape, t),
                    g if g is not None else tensor_from_array(np.ones(t.shape, t.dtype)),
                )
                for t, g in live
            ]
            sweep = sweeps.Reverse(tape, roots, slots, self.outer_grad)
            sweep.finish()
            out: list[Tensor | None] = []
            for s in slots:
                g = int(sweep.marks[s])
                out.append(sweep.result(g) if g >= 0 else None)
                sweep.given.add(g)
            return out, sweep.n
        finally:
            tape.locked -= 1
            tape.grad_enabled = outer

    def tangents(self, given: Sequence[Tensor], outs: Sequence[Tensor]) -> list[Tensor | None]:
        """Tangents of results, given those of the leaves."""
        tape, sweeps = self.tape, _sweeps()
        pairs = [(sweeps.handle(tape, s), t) for s, t in zip(self.origins(), given)]
        return sweeps.push(tape, pairs, outs, self.outer_grad)

    # --- results ----------------------------------------------------------------------------------

    def hand_out(self, found: Sequence[Any], own: bool = True) -> list[Any]:
        """Results for the caller: arrays and numbers, or Tensors.

        Tensors take part in differentiation only as far as they depend on something besides this
        transform's own leaves.  ``own`` says that nobody else has them.
        """
        if not self.tensors_out:
            out = []
            for x in found:
                if isinstance(x, Tensor):
                    x = x._realize() if own else np.array(x._realize())
                out.append(number_or_array(x))
            return out
        flags = self._carried()
        out = []
        for t in found:
            if isinstance(t, np.ndarray):
                t = tensor_from_array(t)
            if t._rg and t._tape is self.tape and t._slot < len(flags) and not flags[t._slot]:
                t = _record_detach(t, False)
            out.append(t)
        _settle(self.tape)
        return out

    def _carried(self) -> np.ndarray:
        """By slot, whether it can be differentiated by something else than finished transforms' leaves."""
        from tapegrad.engine.expand import carry_flags
        from tapegrad.engine.kernel_table import library

        tape = self.tape
        n = tape.seal()
        flags = np.zeros(n, np.int64)
        for level in Level.at_work.levels:
            if level.tape is tape:
                flags[level.origins()] = 1
        library.refresh()
        low, op = 0, ROWS["argument"].op
        for slot, node in sorted(tape.functions.items()):
            carry_flags(tape.code, library.info, low, slot, op, flags)
            flags[slot] |= any(s >= 0 and flags[s] for s in node.in_slots)
            low = slot
        carry_flags(tape.code, library.info, low, n, op, flags)
        return flags

    def hand_out_tree(self, value: Any) -> Any:
        """Anything the function returned besides (``aux``), with its tensors handed out."""
        found, structure = flatten(value)
        at = [k for k, x in enumerate(found) if isinstance(x, Tensor)]
        for k, x in zip(at, self.hand_out([found[k] for k in at], own=False)):
            found[k] = x
        return structure.unflatten(found) if found else value

    def arrange(self, found: Sequence[Any], argnums: Any) -> Any:
        """Results per leaf in the structure of the differentiated arguments."""
        parts, k = [], 0
        for structure in self.structures:
            parts.append(structure.unflatten(list(found[k : k + structure.count])))
            k += structure.count
        return tuple(parts) if isinstance(argnums, (tuple, list)) else parts[0]

    def zeros(self, t: Tensor) -> Any:
        """The derivative of what does not depend on a leaf."""
        return np.zeros(t._spec.shape, t._spec.dtype)


def seeds_like(
    level: Level, given: Any, outs: Sequence[Tensor], structure: Structure, what: str
) -> list[Tensor]:
    """Cotangents or tangents that the caller gives, checked against what they belong to.

    Raises
    ------
    TypeError
        If containers are nested differently.
    ValueError
        If a shape differs.
    """
    found, own = flatten(given)
    if own != structure:
        raise TypeError(f"{level.name}: {what} must be nested like {structure!r}, but are {own!r}")
    out = []
    for x, t, path in zip(found, outs, structure.paths()):
        g = level.operand(x, f"{what}{path}")
        if g._spec.shape != t._spec.shape:
            raise ValueError(
                f"{level.name}: {what}{path} must have shape {t._spec.shape}, but have {g._spec.shape}"
            )
        out.append(cast(g, t._spec.dtype))
    return out


def _leaves(value: Any) -> list[Any]:
    if isinstance(value, (Tensor, np.ndarray, float, int)):
        return [value]
    return flatten(value)[0]


def _named(out: Any) -> str:
    if isinstance(out, (tuple, list, dict)):
        return f"a {type(out).__name__}"
    return "None" if out is None else f"a value of type {type(out).__name__}"
