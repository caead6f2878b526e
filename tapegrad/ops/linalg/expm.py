"""The exponential of matrices."""

from __future__ import annotations

from typing import Any

import numpy as np

from tapegrad.kernels.lapack import expm as kernels
from tapegrad.ops.axes import size_of
from tapegrad.ops.linalg.arguments import alone, matrix, shared_table, square
from tapegrad.ops.movement import narrow
from tapegrad.ops.record import composite, record
from tapegrad.ops.table import Out, Row, Sample, ns, public, structured
from tapegrad.spec import Spec, real_dtype
from tapegrad.tensor import Tensor, tensor_from_array

__all__ = ["EXPM", "EXPM_DERIVATIVE"]


def _expm_shape(a: Spec) -> Out:
    n = square("expm", a)
    params = (
        *shared_table(a.dtype),
        n,
        n,
        1,
        size_of(a.shape[:-2]),
        a.dtype.itemsize,
        real_dtype(a.dtype).itemsize,
    )
    return Out(a.shape, a.dtype, params)


def _derivative_shape(a: Spec, e: Spec) -> Out:
    if a is not e:
        raise ValueError(f"expm_derivative: shapes {a.shape} and {e.shape} differ")
    return _expm_shape(a)


def _along(a: Tensor, e: Tensor) -> Tensor:
    return record(EXPM_DERIVATIVE, (a, e))


def _blocks(corner: Tensor | None, diagonal: Tensor | None) -> Tensor:
    """``[[diagonal, corner], [0, diagonal]]``; ``None`` is zero."""
    some = corner if corner is not None else diagonal
    assert some is not None
    zero = tensor_from_array(np.zeros(some._spec.shape, some._spec.dtype))
    a = zero if diagonal is None else diagonal
    b = zero if corner is None else corner
    return ns.concatenate([ns.concatenate([a, b], axis=-1), ns.concatenate([zero, a], axis=-1)], axis=-2)


def _derivative_rule_a(g: Tensor, out: Tensor, a: Tensor, e: Tensor) -> Tensor:
    # out is the corner of exp([[a, e], [0, a]]), whose cotangent is g there and zero elsewhere
    n, last = a._spec.shape[-1], a._spec.ndim - 1
    whole = _along(_blocks(e, a).mT, _blocks(g, None))
    upper, lower = narrow(whole, last - 1, 0, n), narrow(whole, last - 1, n, n)
    return narrow(upper, last, 0, n) + narrow(lower, last, n, n)


EXPM: Row = structured(
    "expm",
    kernels.expm,
    1,
    _expm_shape,
    rules=(lambda g, out, x: _along(x.mT, g),),
    complex=True,
    batch=alone("expm"),
    doc="The exponential of matrices.",
)
EXPM_DERIVATIVE: Row = structured(
    "expm_derivative",
    kernels.expm_derivative,
    2,
    _derivative_shape,
    rules=(_derivative_rule_a, lambda g, out, a, e: _along(a.mT, g)),
    linear=(1,),
    complex=True,
    batch=alone("expm_derivative"),
    doc="The derivative of the exponential at a matrix (first operand) along another.",
)


def _expm_reference(x: Any) -> Any:
    from scipy.linalg import expm

    return expm(x)


@public(
    home="linalg",
    reference=_expm_reference,
    aliases=("matrix_exp",),
    samples=[
        Sample(((3, 3),)),
        Sample(((2, 4, 4),)),
        Sample(((3, 3),), prepare=lambda a: (a / a.dtype.type(32.0),)),
        Sample(((1, 1),)),
    ],
)
@composite
def expm(x: Any, /) -> Tensor:
    """The exponential of square matrices.

    Parameters
    ----------
    x : array_like, shape (..., n, n)

    Returns
    -------
    Tensor, shape (..., n, n)
        NaN for a matrix that is not finite.

    Raises
    ------
    ValueError
        If the last two axes are not square.

    Notes
    -----
    Scaling and squaring: Higham (2005); Al-Mohy and Higham, "A new scaling and squaring algorithm for the
    matrix exponential" (2009).  The derivative is computed along with it, at about three times the cost:
    Al-Mohy and Higham, "Computing the Frechet derivative of the matrix exponential" (2009).

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.linalg.expm([[0.0, 1.0], [0.0, 0.0]]).tolist()
    [[1.0, 1.0], [0.0, 1.0]]
    """
    return record(EXPM, (matrix("expm", x),))
