"""``vmap``: a function of single examples, applied to a whole batch at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tapegrad.autograd import _sweeps
from tapegrad.ops.movement import broadcasted, permuted, reshaped
from tapegrad.spec import intern_spec
from tapegrad.tensor import Tensor
from tapegrad.transforms.level import Level, derive, describe, of_compiled
from tapegrad.tree import Structure, flatten

__all__ = ["vmap"]


@of_compiled
def vmap(f: Callable, in_axes: Any = 0, out_axes: Any = 0) -> Callable:
    """A function that applies ``f`` to each element of a batch.

    ``f`` runs once, on placeholders without the batch axis; the operations it records are then run for the
    whole batch.  So it cannot look at values that depend on the batch: ``if``, ``float()`` and ``numpy()``
    on them are errors.

    Parameters
    ----------
    f : callable
        Function of arrays, or of nested tuples, lists, dicts and dataclasses of arrays; so may be its result.
    in_axes : int, None or sequence
        Which axis of the arguments is the batch's; ``None`` passes an argument on as it is.  One for all, or
        one per positional argument, which may be nested as the argument is.  Keyword arguments are passed on.
    out_axes : int, None or nested
        Where the batch axis stands in the results; ``None`` for a result that does not depend on the batch.

    Returns
    -------
    callable
        Takes the arguments of ``f`` with the batch axis; its results have one too.

    Raises
    ------
    ValueError
        When called: if batch axes are missing or differ in length, or ``in_axes`` does not fit.
    RuntimeError
        When called: if ``f`` looks at a value that depends on the batch, or changes a tensor from outside.
    NotImplementedError
        When called inside a gradient: if ``f`` calls an `autograd.Function`.  ``vmap(grad(f))`` works.

    Examples
    --------
    >>> import numpy as np
    >>> import tapegrad as tg
    >>> tg.vmap(lambda x, y: (x * y).sum(), in_axes=(0, None))(np.ones((3, 2)), np.array([1.0, 2.0]))
    array([3., 3., 3.])
    """

    def mapped(*args: Any, **kwargs: Any) -> Any:
        level = Level("vmap", f, args, kwargs)
        leaves, structures, axes = _arguments(level, in_axes)
        n = _length(leaves, axes)
        outs, structure = _run(level, leaves, structures, axes, n)
        where = _axes(out_axes, structure, "out_axes")
        found = [_placed(t, lane, axis, n) for (t, lane), axis in zip(outs, where)]
        return structure.unflatten(level.hand_out(found))

    return derive(f, "vmap", mapped)


def _axes(axes: Any, structure: Structure, what: str) -> list[int | None]:
    """One axis per leaf; an integer or ``None`` stands for all leaves below it."""
    if axes is None or (isinstance(axes, (int, np.integer)) and not isinstance(axes, bool)):
        return [axes] * structure.count
    container = structure.container
    if container is not None and (isinstance(axes, container) or {type(axes), container} == {tuple, list}):
        if container is dict:
            fits = set(axes) == set(structure.keys)
            parts = [axes[k] for k in structure.keys] if fits else []
        elif structure.keys:
            fits, parts = True, [getattr(axes, k) for k in structure.keys]
        else:
            parts = list(axes)
            fits = len(parts) == len(structure.children)
        if fits:
            return [a for part, child in zip(parts, structure.children) for a in _axes(part, child, what)]
    raise ValueError(
        f"vmap: {what} must be an integer, None, or nested like {structure!r}, with these at its leaves; "
        f"got {axes!r}"
    )


def _arguments(level: Level, in_axes: Any) -> tuple[list[Any], list[Structure], list[int | None]]:
    count = len(level.args)
    if isinstance(in_axes, (tuple, list)):
        if len(in_axes) != count:
            raise ValueError(f"vmap: in_axes has {len(in_axes)} entries for {count} positional arguments")
        each = list(in_axes)
    else:
        each = [in_axes] * count
    leaves: list[Any] = []
    structures: list[Structure] = []
    axes: list[int | None] = []
    for k, (a, axis) in enumerate(zip(level.args, each)):
        found, structure = flatten(a)
        structures.append(structure)
        for x, path, at in zip(found, structure.paths(), _axes(axis, structure, f"in_axes of argument {k}")):
            if at is not None:
                x = level.operand(x, f"argument {k}{path}")
                if not -x._spec.ndim <= at < x._spec.ndim:
                    raise ValueError(
                        f"vmap: in_axes={at} for argument {k}{path} of shape {x._spec.shape}; "
                        "use None for what is not batched"
                    )
                at %= x._spec.ndim
            leaves.append(x)
            axes.append(at)
    return leaves, structures, axes


def _length(leaves: Sequence[Any], axes: Sequence[int | None]) -> int:
    lengths = {x._spec.shape[axis] for x, axis in zip(leaves, axes) if axis is not None}
    if not lengths:
        raise ValueError("vmap: no argument has a batch axis; in_axes must not be None for all")
    if len(lengths) > 1:
        raise ValueError(f"vmap: the batch axes have different lengths, {sorted(lengths)}")
    return lengths.pop()


def _run(
    level: Level, leaves: Sequence[Any], structures: Sequence[Structure], axes: Sequence[int | None], n: int
) -> tuple[list[tuple[Tensor, bool]], Structure]:
    """Run the function on placeholders, then its rows for the whole batch."""
    from tapegrad.engine.templates import aside
    from tapegrad.sweeps.lanes import Lanes

    tape, slot_of = level.tape, _sweeps().slot_of
    lanes = Lanes(tape, f"vmap: {describe(level.f)} looked")
    batched = []
    given: list[Any] = []
    for x, axis in zip(leaves, axes):
        if axis is None:
            given.append(x)
            continue
        ndim = x._spec.ndim
        front = permuted(x, (axis, *[k for k in range(ndim) if k != axis]))
        one = lanes.placeholder(intern_spec(front._spec.shape[1:], front._spec.dtype), front._rg)
        lanes.given.add(one._slot)
        batched.append((one._slot, front))
        given.append(one)
    args, k = [], 0
    for structure in structures:
        args.append(structure.unflatten(given[k : k + structure.count]))
        k += structure.count
    with aside(lanes), lanes:
        outs, structure = level.outputs(level.f(*args, **level.kwargs))
        slots = [slot_of(lanes, t) for t in outs]
        lanes.returned = outs
    if lanes.functions and tape.grad_enabled and any(t._rg for _, t in [*batched, *lanes.outside]):
        raise NotImplementedError(
            f"vmap: {describe(level.f)} calls a function with a derivative of its own, which cannot be "
            "differentiated through vmap. Take the gradient inside, vmap(grad(f)), or use no_grad"
        )
    return _sweeps().spread(tape, lanes, batched, lanes.outside, slots, 0), structure


def _placed(t: Tensor, lane: bool, axis: int | None, n: int) -> Tensor:
    """A result with its batch axis where it belongs."""
    if axis is None:
        if lane:
            raise ValueError("vmap: out_axes is None for a result that depends on the batch")
        return t
    if not lane:
        shape = t._spec.shape
        t = broadcasted(reshaped(t, (1, *shape)), (n, *shape))
    ndim = t._spec.ndim
    if not -ndim <= axis < ndim:
        raise ValueError(f"vmap: out_axes={axis} for a result of shape {t._spec.shape[1:]}")
    rest = list(range(1, ndim))
    rest.insert(axis % ndim, 0)
    return permuted(t, tuple(rest))
