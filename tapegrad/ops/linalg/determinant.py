"""Determinants."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from tapegrad.kernels.lapack import lu as kernels
from tapegrad.ops.axes import size_of
from tapegrad.ops.linalg.arguments import SINGULAR, adjusted, alone, identity, matrix, square
from tapegrad.ops.linalg.solve import check_factors, lu_factors, lu_solved
from tapegrad.ops.movement import reshaped
from tapegrad.ops.record import composite, record
from tapegrad.ops.table import Out, Sample, ns, public, structured
from tapegrad.spec import Spec
from tapegrad.tensor import Tensor

__all__ = ["DET", "LOG_ABS_DET", "LOG_DET", "LU_SIGN"]


def _det_shape(a: Spec, factors: Spec) -> Out:
    n = square("det", a)
    check_factors("det", a, factors)
    return Out(a.shape[:-2], a.dtype, (n, size_of(a.shape[:-2])))


def _lu_sign_shape(factors: Spec) -> Out:
    if factors.ndim < 2 or factors.shape[-2] != factors.shape[-1] + 1 or not factors.floating:
        raise ValueError(f"det: these are no factors: shape {factors.shape}, dtype {factors.dtype}")
    return Out(factors.shape[:-2], factors.dtype, (factors.shape[-1], size_of(factors.shape[:-2])))


def _log_abs_det_rule(g: Tensor, out: Tensor, a: Tensor, factors: Tensor) -> Tensor:
    inverse = lu_solved(a, factors, identity(a), True)
    return inverse * reshaped(g, (*g._spec.shape, 1, 1))


def _det_rule(g: Tensor, out: Tensor, a: Tensor, factors: Tensor) -> Tensor:
    return _log_abs_det_rule(g * out, out, a, factors)


LOG_DET = structured(
    "log_det",
    kernels.log_det,
    2,
    _det_shape,
    rules=(_log_abs_det_rule, None),
    complex=True,
    batch=alone("log_det"),
    refusal=SINGULAR,
    doc="A logarithm of the determinant of a complex matrix, by means of its factors.",
)
LOG_ABS_DET = structured(
    "log_abs_det",
    kernels.log_abs_det,
    2,
    _det_shape,
    rules=(_log_abs_det_rule, None),
    batch=alone("log_abs_det"),
    refusal=SINGULAR,
    doc="Logarithm of the magnitude of the determinant of a matrix, by means of its factors.",
)
DET = structured(
    "det",
    kernels.det,
    2,
    _det_shape,
    complex=True,
    rules=(_det_rule, None),
    batch=alone("det"),
    refusal=SINGULAR,
    doc="Determinant of a matrix, by means of its factors.",
)
LU_SIGN = structured(
    "lu_sign",
    kernels.lu_sign,
    1,
    _lu_sign_shape,
    batch=alone("lu_sign"),
    doc="Sign of the determinant, from factors.",
)


class SlogdetResult(NamedTuple):
    """What `slogdet` returns."""

    sign: Tensor
    logabsdet: Tensor


@public(
    home="linalg",
    reference=np.linalg.slogdet,
    samples=[Sample(((3, 3),), prepare=adjusted(9.0)), Sample(((2, 4, 4),), prepare=adjusted(-9.0))],
    kink="an error at singular matrices",
)
@composite
def slogdet(x: Any, /) -> SlogdetResult:
    """The sign and the logarithm of the magnitude of determinants.

    Returns
    -------
    sign, logabsdet : Tensor, shape (...)
        0 and minus infinity for a singular matrix, at which there is no derivative: asking for it is a
        ``numpy.linalg.LinAlgError``.  The sign of a complex determinant is a number of magnitude one.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.linalg.slogdet([[0.0, 1.0], [1.0, 0.0]])
    SlogdetResult(sign=tensor(-1.), logabsdet=tensor(0.))
    """
    x = matrix("slogdet", x)
    factors = lu_factors(x)
    if x._spec.kind == "c":
        logarithm = record(LOG_DET, (x, factors))
        size = ns.real(logarithm)
        sign = ns.exp(ns.imag(logarithm) * 1j)
        return SlogdetResult(ns.where(ns.equal(size, -math.inf), 0.0, sign), size)
    return SlogdetResult(record(LU_SIGN, (factors,)), record(LOG_ABS_DET, (x, factors)))


@public(
    home="linalg",
    reference=np.linalg.det,
    samples=[Sample(((3, 3),), prepare=adjusted(9.0)), Sample(((2, 4, 4),), prepare=adjusted(-4.0))],
    kink="an error at singular matrices",
)
@composite
def det(x: Any, /) -> Tensor:
    """Determinants; there is a derivative where the matrix is not singular.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.linalg.det([[2.0, 0.0], [0.0, 4.0]])
    tensor(8.)
    """
    x = matrix("det", x)
    return record(DET, (x, lu_factors(x)))
