"""NumPy's further products: of vectors as they lie, and of vectors with matrices."""

from __future__ import annotations

from typing import Any

import numpy as np

from tapegrad.ops.movement import reshaped
from tapegrad.ops.record import as_operand, composite
from tapegrad.ops.table import Sample, ns, public
from tapegrad.tensor import Tensor

__all__: list[str] = []


def _conjugated(x: Tensor) -> Tensor:
    return ns.conj(x) if x._spec.kind == "c" else x


@public(reference=np.vdot, samples=[Sample(((4,), (4,))), Sample(((2, 3), (3, 2)))])
@composite
def vdot(x: Any, y: Any, /) -> Tensor:
    """The inner product of all elements, those of ``x`` conjugated.

    Raises
    ------
    ValueError
        If the sizes differ.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.vdot(tg.tensor([1.0, 2.0]), tg.tensor([3.0, 4.0]))
    tensor(11.)
    """
    x, y = as_operand(x, "vdot"), as_operand(y, "vdot")
    if x._spec.size != y._spec.size:
        raise ValueError(
            f"vdot: cannot multiply arrays of shapes {x.shape} and {y.shape}: their sizes differ"
        )
    x, y = reshaped(x, (x._spec.size,)), reshaped(y, (y._spec.size,))
    return ns.matmul(_conjugated(x), y)


@public(
    reference=getattr(np, "matvec", None),
    samples=[Sample(((3, 4), (4,))), Sample(((2, 3, 4), (4,))), Sample(((3, 4), (2, 4)))],
    method=False,
)
@composite
def matvec(x: Any, y: Any, /) -> Tensor:
    """Products of matrices (the last two axes of ``x``) with vectors (the last axis of ``y``), in batches.

    Raises
    ------
    ValueError
        If there are too few axes, or lengths do not match.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.matvec(tg.tensor([[1.0, 2.0], [3.0, 4.0]]), tg.tensor([[1.0, 0.0], [0.0, 1.0]])).tolist()
    [[1.0, 3.0], [2.0, 4.0]]
    """
    x, y = as_operand(x, "matvec"), as_operand(y, "matvec")
    if x._spec.ndim < 2 or y._spec.ndim < 1 or x._spec.shape[-1] != y._spec.shape[-1]:
        raise ValueError(f"matvec: shapes {x.shape} and {y.shape} are not those of matrices and vectors")
    out = ns.matmul(x, reshaped(y, (*y._spec.shape, 1)))
    return reshaped(out, out._spec.shape[:-1])


@public(
    reference=getattr(np, "vecmat", None),
    samples=[Sample(((3,), (3, 4))), Sample(((3,), (2, 3, 4))), Sample(((2, 3), (3, 4)))],
    method=False,
)
@composite
def vecmat(x: Any, y: Any, /) -> Tensor:
    """Products of vectors (the last axis of ``x``, conjugated) with matrices, in batches.

    Raises
    ------
    ValueError
        If there are too few axes, or lengths do not match.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.vecmat(tg.tensor([1.0, 1.0]), tg.tensor([[1.0, 2.0], [3.0, 4.0]]))
    tensor([4., 6.])
    """
    x, y = as_operand(x, "vecmat"), as_operand(y, "vecmat")
    if x._spec.ndim < 1 or y._spec.ndim < 2 or x._spec.shape[-1] != y._spec.shape[-2]:
        raise ValueError(f"vecmat: shapes {x.shape} and {y.shape} are not those of vectors and matrices")
    rows = reshaped(_conjugated(x), (*x._spec.shape[:-1], 1, x._spec.shape[-1]))
    out = ns.matmul(rows, y)
    return reshaped(out, (*out._spec.shape[:-2], out._spec.shape[-1]))
