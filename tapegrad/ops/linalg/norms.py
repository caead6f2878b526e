"""Norms of matrices and vectors, condition numbers."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tapegrad.ops.axes import axes_tuple, axis_index, strip_axes
from tapegrad.ops.linalg.arguments import adjusted, matrices, matrix
from tapegrad.ops.linalg.solve import inv
from tapegrad.ops.linalg.svd import svdvals
from tapegrad.ops.movement import permuted, reshaped
from tapegrad.ops.record import as_inexact, composite
from tapegrad.ops.reduce import torch_names
from tapegrad.ops.table import Sample, ns, public, section
from tapegrad.tensor import Tensor

__all__ = ["cond", "matrix_norm", "norm"]

section("norms")

SUMS = (1, math.inf)


def _matrix_norm(name: str, x: Tensor, ord: Any) -> Tensor:
    """The norm of the last two axes."""
    if ord is None or ord == "fro":
        return ns.vector_norm(x, axis=(-2, -1))
    if ord == "nuc":
        return ns.sum(svdvals(x), axis=-1)
    if isinstance(ord, str) or abs(ord) not in (1, 2, math.inf):
        raise ValueError(f"{name}: ord={ord!r} is no norm of matrices")
    if abs(ord) == 2:
        s = svdvals(x)
        if s._spec.shape[-1] == 0 and ord == 2:
            return ns.sum(s, axis=-1)
        return (ns.max if ord > 0 else ns.min)(s, axis=-1)
    sums = ns.sum(ns.abs(x), axis=-2 if abs(ord) == 1 else -1)
    if sums._spec.shape[-1] == 0 and ord > 0:
        return ns.sum(sums, axis=-1)
    return (ns.max if ord > 0 else ns.min)(sums, axis=-1)


@public(
    home="linalg",
    reference=lambda x, ord="fro", keepdims=False: np.linalg.norm(x, ord, (-2, -1), keepdims),
    samples=[
        Sample(((3, 4),)),
        Sample(((2, 3, 4),), {"ord": 1}),
        Sample(((2, 3, 4),), {"ord": -math.inf, "keepdims": True}),
        Sample(((3, 4),), {"ord": math.inf}),
        Sample(((3, 4),), {"ord": -1}),
        Sample(((2, 3, 2),), {"ord": 2}),
        Sample(((3, 4),), {"ord": -2, "keepdims": True}),
        Sample(((2, 2, 3),), {"ord": "nuc"}),
    ],
)
@composite
def matrix_norm(x: Any, /, *, keepdims: bool = False, ord: float | str | None = "fro") -> Tensor:
    """The norm of matrices, the last two axes.

    Parameters
    ----------
    x : array_like, shape (..., m, n)
    keepdims : bool
        Keep the two axes, with length one.
    ord : {"fro", "nuc", 1, -1, 2, -2, inf, -inf}
        The root of the sum of squares; the sum of singular values; the greatest (negative: the least) sum of
        magnitudes of a column, singular value, sum of magnitudes of a row.

    Returns
    -------
    Tensor, shape (...)

    Raises
    ------
    ValueError
        For another ``ord``.
    numpy.linalg.LinAlgError
        When the value is computed, if a norm needs singular values and a matrix is not finite.

    Notes
    -----
    Derivatives at kinks: ties share the gradient evenly, as in `max`; those of singular values are described
    at `svdvals`.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.linalg.matrix_norm([[3.0, 0.0], [0.0, 4.0]], ord="nuc")
    tensor(7.)
    """
    x = matrices("matrix_norm", x)
    out = _matrix_norm("matrix_norm", x, ord)
    return reshaped(out, (*out._spec.shape, 1, 1)) if keepdims else out


@public(
    reference=np.linalg.norm,
    samples=[
        Sample(((5,),)),
        Sample(((3, 4),)),
        Sample(((2, 3, 4),)),
        Sample(((5,),), {"ord": 3}),
        Sample(((3, 4),), {"axis": 1, "ord": 1}),
        Sample(((2, 3, 4),), {"axis": (0, 2), "keepdims": True}),
        Sample(((3, 4),), {"ord": "fro"}),
        Sample(((3, 4),), {"ord": 2}),
        Sample(((3, 4),), {"ord": "nuc", "keepdims": True}),
        Sample(((3, 4),), {"ord": -math.inf}),
        Sample(((2, 3, 4),), {"axis": (2, 0), "ord": 1, "keepdims": True}),
    ],
    also=("linalg",),
)
@composite
def norm(x: Any, ord: Any = None, axis: Any = None, keepdims: bool = False, **names: Any) -> Tensor:
    """The norm of vectors or matrices, as ``numpy.linalg.norm`` takes it.

    Parameters
    ----------
    ord : float, "fro" or "nuc", optional
        As for `vector_norm` along one axis, as for `matrix_norm` along two.  Left out: the root of the sum
        of squares.
    axis : int or tuple of int, optional
        One axis or two; default all.
    keepdims : bool

    Raises
    ------
    ValueError
        If ``ord`` is none for so many axes, or there are more than two.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.norm(tg.tensor([[3.0, 0.0], [0.0, 4.0]]))
    tensor(5.)
    """
    if names:
        axis, keepdims = torch_names("norm", names, axis, keepdims)
    x = as_inexact(x, "norm")
    ndim = x._spec.ndim
    if axis is None:
        pair = tuple(range(ndim))
    elif isinstance(axis, (tuple, list)):
        pair = tuple([axis_index("norm", a, ndim) for a in axis])
    else:
        pair = (axis_index("norm", axis, ndim),)
    axes_tuple("norm", pair, ndim)  # each once
    if ord is None:
        return ns.vector_norm(x, axis=pair, keepdims=keepdims)
    if len(pair) == 1:
        if isinstance(ord, str):
            raise ValueError(f"norm: ord={ord!r} is no norm of vectors")
        return ns.vector_norm(x, axis=pair, keepdims=keepdims, ord=ord)
    if len(pair) != 2:
        raise ValueError(f"norm: ord={ord!r} over {len(pair)} axes of shape {x.shape}")
    moved = permuted(x, tuple([k for k in range(ndim) if k not in pair] + list(pair)))
    out = _matrix_norm("norm", moved, ord)
    return reshaped(out, strip_axes(x._spec.shape, tuple(sorted(pair)), True)) if keepdims else out


@public(
    home="linalg",
    reference=np.linalg.cond,
    samples=[
        Sample(((3, 3),)),
        Sample(((2, 3, 2),)),
        Sample(((3, 3),), args=(-2,)),
        Sample(((2, 3, 3),), args=(1,), prepare=adjusted(9.0)),
        Sample(((3, 3),), args=("fro",), prepare=adjusted(9.0)),
    ],
)
@composite
def cond(x: Any, p: Any = None, /) -> Tensor:
    """Condition numbers: the product of the norms of a matrix and of its inverse.

    Parameters
    ----------
    x : array_like, shape (..., m, n)
        Square, unless ``p`` is 2, -2 or left out.
    p : as ``ord`` of `matrix_norm`, optional
        Left out or 2: the ratio of the greatest and the least singular value; -2: the inverse of that.

    Returns
    -------
    Tensor, shape (...)
        Infinite for a singular matrix.

    Raises
    ------
    numpy.linalg.LinAlgError
        If a matrix is empty.  When the value is computed, if a matrix is not finite, or if it is singular and
        ``p`` is none of 2, -2.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.linalg.cond([[2.0, 0.0], [0.0, 4.0]])
    tensor(2.)
    """
    x = matrices("cond", x)
    if x._spec.size == 0 and 0 in x._spec.shape[-2:]:
        raise np.linalg.LinAlgError(f"cond: empty matrices, shape {x.shape}")
    if p is None or p in (2, -2):
        s = svdvals(x)
        first, last = s[..., 0], s[..., -1]
        return last / first if p == -2 else first / last
    x = matrix("cond", x)
    return _matrix_norm("cond", x, p) * _matrix_norm("cond", inv(x), p)
