"""Whole Jacobians and Hessians: one sweep is recorded, and run for all basis vectors as a batch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tapegrad.autograd import _sweeps
from tapegrad.ops.movement import broadcasted, permuted, reshaped
from tapegrad.tensor import Tensor, tensor_from_array
from tapegrad.transforms.level import Level, derive, of_compiled, pick
from tapegrad.tree import Structure

__all__ = ["hessian", "jacfwd", "jacobian", "jacrev"]

ARGUMENTS = """
    Parameters
    ----------
    f : callable
        Function of arrays, or of nested tuples, lists, dicts and dataclasses of arrays; so may be its result.
    argnums : int or tuple of int
        Which positional arguments to differentiate by.
    has_aux : bool
        ``f`` returns ``(out, aux)``, of which only ``out`` is differentiated.

    Returns
    -------
    callable
        Takes the arguments of ``f``; returns, for each array of the result, the derivatives by each array
        of the argument (nested as both are), of shape ``out.shape + x.shape``.  With ``has_aux`` that
        and ``aux``, as a pair.  Given arrays and floats it returns arrays and floats, given Tensors Tensors.

    Raises
    ------
    TypeError
        When called: if the result is not an array, or it or an argument is not floating point.
    ValueError
        When called: if there is no such argument.
"""


def _documented(function: Callable) -> Callable:
    function.__doc__ = (function.__doc__ or "").replace("    ARGUMENTS\n", ARGUMENTS[1:])
    return function


@_documented
@of_compiled
def jacrev(f: Callable, argnums: int | tuple[int, ...] = 0, has_aux: bool = False) -> Callable:
    """A function that gives the Jacobian of ``f``, by one reverse sweep for all elements of its result.

    ARGUMENTS

    Examples
    --------
    >>> import numpy as np
    >>> import tapegrad as tg
    >>> tg.jacrev(lambda x: x**2)(np.array([1.0, 2.0]))
    array([[2., 0.],
           [0., 4.]])
    """
    return _jacobian("jacrev", f, argnums, has_aux)


@_documented
@of_compiled
def jacfwd(f: Callable, argnums: int | tuple[int, ...] = 0, has_aux: bool = False) -> Callable:
    """A function that gives the Jacobian of ``f``, by one forward sweep for all elements of its argument.

    ARGUMENTS

    Examples
    --------
    >>> import numpy as np
    >>> import tapegrad as tg
    >>> tg.jacfwd(lambda x: x**2)(np.array([1.0, 2.0]))
    array([[2., 0.],
           [0., 4.]])
    """
    return _jacobian("jacfwd", f, argnums, has_aux)


@_documented
@of_compiled
def jacobian(f: Callable, argnums: int | tuple[int, ...] = 0, has_aux: bool = False) -> Callable:
    """A function that gives the Jacobian of ``f``, in the direction that takes fewer basis vectors.

    ARGUMENTS

    Examples
    --------
    >>> import numpy as np
    >>> import tapegrad as tg
    >>> tg.jacobian(lambda x: x[:2] * x[2])(np.array([1.0, 2.0, 3.0]))
    array([[3., 0., 1.],
           [0., 3., 2.]])
    """
    return _jacobian("jacobian", f, argnums, has_aux)


@_documented
@of_compiled
def hessian(f: Callable, argnums: int | tuple[int, ...] = 0, has_aux: bool = False) -> Callable:
    """A function that gives the second derivatives of ``f``: forward over reverse.

    For each array of the result and each two arrays ``x, y`` of the argument, their shape is
    ``out.shape + x.shape + y.shape``, nested as the argument is, twice.

    ARGUMENTS

    Examples
    --------
    >>> import numpy as np
    >>> import tapegrad as tg
    >>> tg.hessian(lambda x: x[0] ** 2 * x[1])(np.array([1.0, 2.0]))
    array([[4., 2.],
           [2., 0.]])
    """
    second = _jacobian("jacfwd", _jacobian("jacrev", f, argnums, has_aux), argnums, has_aux)
    return derive(f, "hessian", second)


def _jacobian(name: str, f: Callable, argnums: Any, has_aux: bool) -> Callable:
    def derivatives(*args: Any, **kwargs: Any) -> Any:
        level = Level(name, f, args, kwargs)
        level.differentiate(pick(name, argnums, len(level.args)))
        out, aux = level.with_aux(has_aux)
        outs, structure = level.outputs(out)
        for what, t in [("an argument", x) for x in level.leaves] + [("the result", t) for t in outs]:
            if not t._spec.floating:
                hint = " and use view_as_real, or use grad, vjp and jvp" if t._spec.kind == "c" else ""
                raise TypeError(
                    f"{name}: {what} has dtype {t._spec.dtype}; it must be real floating point{hint}"
                )
        forward = name == "jacfwd"
        if name == "jacobian":
            forward = sum(t.size for t in outs) > sum(t.size for t in level.leaves)
        rows = _by_columns(level, outs) if forward else [_by_rows(level, t) for t in outs]
        found = _assemble(level, rows, structure, argnums)
        return (found, level.hand_out_tree(aux)) if has_aux else found

    return derive(f, name, derivatives)


def _assemble(level: Level, rows: list[list[Any]], structure: Structure, argnums: Any) -> Any:
    count = len(level.leaves)
    handed = level.hand_out([x for row in rows for x in row])
    parts = [level.arrange(handed[k * count : (k + 1) * count], argnums) for k in range(len(rows))]
    return structure.unflatten(parts)


def _basis(t: Tensor) -> Tensor:
    """All unit vectors of a tensor's shape."""
    n = t._spec.size
    return tensor_from_array(np.eye(n, dtype=t._spec.dtype).reshape(n, *t._spec.shape))


def _seed(level: Level, t: Tensor) -> tuple[Tensor, int]:
    """What a sweep is recorded for before it is batched; never computed."""
    seed = tensor_from_array(np.zeros(t._spec.shape, t._spec.dtype))
    return seed, _sweeps().slot_of(level.tape, seed)


def _zeros(t: Tensor, x: Tensor) -> np.ndarray:
    return np.zeros(t._spec.shape + x._spec.shape, t._spec.dtype)


def _by_rows(level: Level, t: Tensor) -> list[Any]:
    """The Jacobian of one result by all leaves, from cotangents."""
    if not t._rg or not t._spec.size:
        return [_zeros(t, x) for x in level.leaves]
    tape = level.tape
    tape.locked += 1
    try:
        if t._spec.ndim == 0:
            found, _ = level.record([(t, None)], level.origins())
            return [_zeros(t, x) if g is None else g for g, x in zip(found, level.leaves)]
        seed, at = _seed(level, t)
        found, start = level.record([(t, seed)], level.origins())
        every = _for_all(level, seed, at, t, found, start)
        return [
            _zeros(t, x) if g is None else reshaped(g, t._spec.shape + x._spec.shape)
            for g, x in zip(every, level.leaves)
        ]
    finally:
        tape.locked -= 1


def _by_columns(level: Level, outs: Sequence[Tensor]) -> list[list[Any]]:
    """The Jacobian of all results by all leaves, from tangents."""
    tape = level.tape
    columns = []
    tape.locked += 1
    try:
        for k, x in enumerate(level.leaves):
            if not x._spec.size:
                columns.append([_zeros(t, x) for t in outs])
                continue
            seed, at = _seed(level, x)
            start = tape.seal()
            handle = _sweeps().handle(tape, level.origins()[k])
            found = _sweeps().push(tape, [(handle, seed)], outs, level.outer_grad)
            every = _for_all(level, seed, at, x, found, start)
            column = []
            for g, t in zip(every, outs):
                if g is None:
                    column.append(_zeros(t, x))
                    continue
                ndim = x._spec.ndim
                g = reshaped(g, (*x._spec.shape, *t._spec.shape))
                axes = (*range(ndim, ndim + t._spec.ndim), *range(ndim))
                column.append(permuted(g, axes))
            columns.append(column)
    finally:
        tape.locked -= 1
    return [[column[k] for column in columns] for k in range(len(outs))]


def _for_all(
    level: Level, seed: Tensor, at: int, t: Tensor, found: Sequence[Tensor | None], start: int
) -> list[Tensor | None]:
    """The rows that were recorded for one seed, for all basis vectors at once."""
    n = t._spec.size
    tape = level.tape
    live = [g for g in found if g is not None]
    outer, tape.grad_enabled = tape.grad_enabled, level.outer_grad
    try:
        pairs = iter(_sweeps().spread(tape, tape, [(at, _basis(t))], [], [g._slot for g in live], start))
    finally:
        tape.grad_enabled = outer
    out: list[Tensor | None] = []
    for g in found:
        if g is None:
            out.append(None)
            continue
        every, batched = next(pairs)
        if not batched:
            every = broadcasted(reshaped(every, (1, *every._spec.shape)), (n, *every._spec.shape))
        out.append(every)
    return out
