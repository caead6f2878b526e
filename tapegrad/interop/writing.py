"""``out=``: results that are written into an array or a tensor that NumPy's caller gives."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from tapegrad.ops.record import as_operand, record_elementwise
from tapegrad.ops.table import ROWS, ns
from tapegrad.tape import current
from tapegrad.tensor import Tensor

__all__ = ["begin", "values", "write", "write_all"]


def values(name: str, x: Any) -> Any:
    """The value of a tensor that an array is about to be filled with; anything else as it is.

    Raises
    ------
    TypeError
        If the tensor requires grad, which the array could not pass on, or a function is being recorded.
    """
    if not isinstance(x, Tensor):
        return x
    if x.requires_grad:
        raise TypeError(
            f"{name}: an array cannot take on the gradient of what is written into it (out); "
            "write into a Tensor, or detach() the operands"
        )
    if current.tape.recording:
        raise TypeError(f"{name}: a compiled function would write into an array (out) only once")
    return x.numpy()


def begin(outs: Iterable[Any]) -> None:
    """Note, before anything is recorded, which tensors a result will be written into.

    Raises
    ------
    RuntimeError
        If one must not change in place.
    """
    for out in outs:
        if isinstance(out, Tensor):
            out._check_in_place()


def write(name: str, out: Any, result: Any, where: Any = True, casting: str = "same_kind") -> Any:
    """Write ``result`` into ``out``, which is returned; `begin` was called before it was recorded.

    Parameters
    ----------
    out : ndarray or Tensor
        An array is filled at once; a tensor changes in place, so gradients flow.
    where : bool or array_like
        Where to write; elsewhere ``out`` keeps what it has.
    casting : str
        What NumPy calls the conversions that are allowed.

    Raises
    ------
    TypeError
        If ``out`` is neither, or the conversion is not allowed, or a gradient would be lost.
    ValueError
        If the shapes do not fit.
    """
    result = as_operand(result, name)
    if not isinstance(out, (Tensor, np.ndarray)):
        raise TypeError(f"{name}: return arrays must be of array type, not {type(out).__name__!r}")
    if not np.can_cast(result.dtype, out.dtype, casting):
        raise TypeError(
            f"{name}: cannot cast the result from {result.dtype} to {out.dtype} with casting rule {casting!r}"
        )
    own, shape = result.shape, out.shape
    if len(own) > len(shape) or any(n not in (1, m) for n, m in zip(own[::-1], shape[::-1])):
        raise ValueError(f"{name}: a result of shape {own} does not fit 'out' of shape {shape}")
    if isinstance(out, np.ndarray):
        mask = where.detach().numpy() if isinstance(where, Tensor) else where
        np.copyto(out, values(name, result), casting=casting, where=mask)  # type: ignore[arg-type]
        return out
    if where is not True:
        result = ns.where(where, result, out)
    # recorded even where nothing is converted: the tensor must get a slot that is its own
    new = record_elementwise(ROWS[f"astype_{out.dtype.name}"], (result,))
    if new.shape != out.shape:
        new = ns.astype(ns.broadcast_to(new, out.shape), new.dtype)
    return out._take(new, name)


def write_all(name: str, outs: tuple, results: Any, where: Any = True, casting: str = "same_kind") -> Any:
    """Write one result or several, each unless its ``out`` is ``None``."""
    if len(outs) == 1:
        return results if outs[0] is None else write(name, outs[0], results, where, casting)
    pairs = zip(outs, results, strict=True)
    return tuple([r if out is None else write(name, out, r, where, casting) for out, r in pairs])
