"""Norms of matrices."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tapegrad.ops.movement import reshaped
from tapegrad.ops.record import as_operand, cast, composite
from tapegrad.ops.table import Sample, ns, public
from tapegrad.spec import FLOAT64
from tapegrad.tensor import Tensor

__all__ = ["matrix_norm"]


@public(
    home="linalg",
    reference=lambda x, ord="fro", keepdims=False: np.linalg.norm(x, ord, (-2, -1), keepdims),
    samples=[
        Sample(((3, 4),)),
        Sample(((2, 3, 4),), {"ord": 1}),
        Sample(((2, 3, 4),), {"ord": -math.inf, "keepdims": True}),
        Sample(((3, 4),), {"ord": math.inf}),
        Sample(((3, 4),), {"ord": -1}),
    ],
)
@composite
def matrix_norm(x: Any, /, *, keepdims: bool = False, ord: float | str = "fro") -> Tensor:
    """The norm of matrices, the last two axes.

    Parameters
    ----------
    keepdims : bool
        Keep the two axes, with length one.
    ord : {"fro", 1, -1, inf, -inf}
        The root of the sum of squares; the greatest (least) sum of magnitudes of a column, of a row.

    Raises
    ------
    ValueError
        For norms that need singular values.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.linalg.matrix_norm([[3.0, 0.0], [0.0, 4.0]])
    tensor(5.)
    """
    x = as_operand(x, "matrix_norm")
    x = x if x._spec.differentiable else cast(x, FLOAT64)
    if x._spec.ndim < 2:
        raise ValueError(f"matrix_norm: at least two axes are needed, not shape {x._spec.shape}")
    if ord == "fro":
        return ns.vector_norm(x, axis=(-2, -1), keepdims=keepdims)
    if isinstance(ord, str) or abs(ord) not in (1, math.inf):
        raise ValueError(f"matrix_norm: ord={ord!r} is not supported")
    sums = ns.sum(ns.abs(x), axis=-2 if abs(ord) == 1 else -1, keepdims=True)
    out = (ns.max if ord > 0 else ns.min)(sums, axis=(-2, -1), keepdims=True)
    return out if keepdims else reshaped(out, x._spec.shape[:-2])
