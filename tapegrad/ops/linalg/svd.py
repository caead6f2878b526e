"""Singular values and vectors."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from tapegrad.kernels.lapack import apart as apart_kernels
from tapegrad.kernels.lapack import svd as kernels
from tapegrad.ops.axes import size_of
from tapegrad.ops.contraction import matrix_product
from tapegrad.ops.linalg.apart import DIFFERENCES, SUMS, VALUES, apart, phase_free, untied, values_shape
from tapegrad.ops.linalg.arguments import (
    alone,
    differentiated,
    matrices,
    part,
    real_part,
    rectangular,
    shared_table,
    turned,
)
from tapegrad.ops.linalg.qr import complement
from tapegrad.ops.movement import reshaped
from tapegrad.ops.record import composite, conjugated, record
from tapegrad.ops.table import Out, Row, Sample, ns, public, structured
from tapegrad.spec import Spec, real_dtype
from tapegrad.tensor import Tensor

__all__ = ["SVD", "SVDVALS", "singular_parts"]


def svd_sizes(name: str, a: Spec, alone: bool = False) -> Out:
    """U, S and V' of each matrix in a row, or S alone."""
    m, n = rectangular(name, a)
    k = min(m, n)
    part = real_dtype(a.dtype)
    params = (*shared_table(a.dtype), m, n, size_of(a.shape[:-2]), a.dtype.itemsize, part.itemsize, alone)
    if alone:
        return Out((*a.shape[:-2], k), part, params)
    return Out((*a.shape[:-2], (m + 1 + n) * k), a.dtype, params)


def singular_parts(packed: Tensor, m: int, n: int) -> tuple[Tensor, Tensor, Tensor]:
    """U, S and V' (or their cotangents) of the row's result."""
    k = min(m, n)
    return (
        part(packed, 0, (m, k)),
        part(packed, m * k, (k,)),
        part(packed, m * k + k, (k, n)),
    )


def _columns(u: Tensor, s: Tensor) -> Tensor:
    """``u diag(s)``."""
    shape = s._spec.shape
    return u * reshaped(s, (*shape[:-1], 1, shape[-1]))


def _skew(x: Tensor) -> Tensor:
    return x - turned(x)


def _outside(u: Tensor, g: Tensor) -> Tensor:
    """``(I - u u^H) g``."""
    return g - matrix_product(u, matrix_product(conjugated(u), g, True))


def _svd_rule(g: Tensor, out: Tensor, x: Tensor) -> Tensor:
    # Townsend, "Differentiating the singular value decomposition" (2016), with s_j / (s_j^2 - s_i^2) and
    # s_i / (s_j^2 - s_i^2) as half the sum and half the difference of 1 / (s_j - s_i) and 1 / (s_j + s_i);
    # with conjugates, as g is that of a gradient.  The diagonal is that of Wan and Zhang, arXiv:1909.02659
    # (2019).
    m, n = x._spec.shape[-2:]
    u, s, vh = singular_parts(out, m, n)
    s = real_part(s)
    gu, gs, gvh = singular_parts(conjugated(g), m, n)
    gu, gv, v = untied(gu, s), untied(turned(gvh), s), turned(vh)
    left, right = matrix_product(conjugated(u), gu, True), matrix_product(vh, gv)
    gu = phase_free(gu, left + right)
    left, right = _skew(matrix_product(conjugated(u), gu, True)), _skew(right)
    inner = (apart(left + right, s, DIFFERENCES) + apart(left - right, s, SUMS)) * 0.5
    rows = matrix_product(u, inner) + _columns(u, real_part(gs))
    if m > n:
        rows = rows + apart(_outside(u, gu), s, VALUES)
    whole = matrix_product(rows, vh)
    if n > m:
        whole = whole + matrix_product(u, conjugated(apart(_outside(v, gv), s, VALUES)), False, True)
    return conjugated(whole)


def _values_rule(g: Tensor, out: Tensor, x: Tensor, packed: Tensor) -> Tensor:
    u, _, vh = singular_parts(packed, *x._spec.shape[-2:])
    return conjugated(matrix_product(_columns(u, g), vh))


def _values_shape(a: Spec, packed: Spec) -> Out:
    m, n = rectangular("singular_values", a)
    k = min(m, n)
    if packed.shape != (*a.shape[:-2], (m + 1 + n) * k) or packed.dtype is not a.dtype:
        raise ValueError(f"singular_values: a decomposition of shape {packed.shape} for shape {a.shape}")
    return values_shape(packed, m * k, k)


NOT_FOUND = "singular values were not found, or the matrix is not finite"
EQUAL = (
    "singular vectors of equal singular values, or of a value of zero, have no derivative, nor have phases "
    "of complex ones"
)

SVD: Row = structured(
    "svd",
    kernels.svd,
    1,
    lambda a: svd_sizes("svd", a),
    rules=(_svd_rule,),
    complex=True,
    batch=alone("svd"),
    refusal=NOT_FOUND,
    underivable=EQUAL,
    doc="Left singular vectors, singular values in descending order, right singular vectors, in a row.",
)
SVDVALS: Row = structured(
    "svdvals",
    kernels.svd,
    1,
    lambda a: svd_sizes("svdvals", a, True),
    complex=True,
    batch=alone("svdvals"),
    refusal=NOT_FOUND,
    doc="Singular values, in descending order; no derivative.",
)

SINGULAR_VALUES: Row = structured(
    "singular_values",
    apart_kernels.values,
    2,
    _values_shape,
    rules=(_values_rule, None),
    typed_by=1,
    complex=True,
    batch=alone("singular_values"),
    underivable=EQUAL,
    doc="Singular values of a matrix, from its decomposition (second operand).",
)

# --- public functions -----------------------------------------------------------------------------


class SVDResult(NamedTuple):
    """What `svd` returns."""

    U: Tensor
    S: Tensor
    Vh: Tensor


def _fitting(x: Any, full_matrices: bool = True, compute_uv: bool = True) -> Any:
    """NumPy's, with the same columns completing a basis."""
    u, s, vh = np.linalg.svd(x, False)
    if not compute_uv:
        return s
    if full_matrices:
        u, vh = _completed(u), _turned(_completed(_turned(vh)))
    return u, s, vh


def _turned(x: Any) -> Any:
    return np.conj(np.swapaxes(x, -1, -2))


def _completed(u: Any) -> Any:
    q = np.linalg.qr(u, "complete")[0]
    return np.concatenate([u, q[..., u.shape[-1] :]], -1)


_fitting.stands_for = np.linalg.svd  # type: ignore[attr-defined]


@public(
    home="linalg",
    reference=_fitting,
    samples=[
        Sample(((3, 3),)),
        Sample(((3, 2),), {"full_matrices": False}),
        Sample(((2, 2, 4),), {"full_matrices": False}),
        Sample(((3, 2),), {"compute_uv": False}),
        Sample(((3, 2),), differentiable=False),
        Sample(((2, 3),), differentiable=False),
    ],
    kink="an error for vectors of equal singular values",
)
@composite
def svd(
    x: Any, /, full_matrices: bool = True, compute_uv: bool = True, hermitian: bool = False
) -> SVDResult | Tensor:
    """The singular value decomposition ``x = U diag(S) Vh``.

    Parameters
    ----------
    x : array_like, shape (..., m, n)
    full_matrices : bool
        Square ``U`` and ``Vh``; else of ``k = min(m, n)`` columns and rows.
    compute_uv : bool
        If not, return `svdvals`.

    Returns
    -------
    U : Tensor, shape (..., m, m) or (..., m, k)
        Orthonormal columns.
    S : Tensor, shape (..., k)
        Singular values, in descending order.
    Vh : Tensor, shape (..., n, n) or (..., k, n)
        Orthonormal rows.

    Raises
    ------
    numpy.linalg.LinAlgError
        When the value is computed, if a matrix is not finite.  In a derivative, if something depends on
        vectors whose singular values are equal up to rounding (or zero, where that matters), or on the choice
        of the basis that completes ``U`` or ``Vh``: there it does not exist.
    TypeError
        For ``hermitian=True``; use `eigh`.

    Notes
    -----
    Derivative: Townsend, "Differentiating the singular value decomposition" (2016).  A pair of vectors may
    as well point the other way, and what is computed from them should not depend on that.

    Examples
    --------
    >>> import tapegrad as tg
    >>> u, s, vh = tg.linalg.svd([[0.0, 2.0], [1.0, 0.0]])
    >>> s
    tensor([2., 1.])
    """
    if hermitian:
        raise TypeError("svd: the argument 'hermitian' is not supported; use eigh")
    if not compute_uv:
        return svdvals(x)
    x = matrices("svd", x)
    m, n = x._spec.shape[-2:]
    packed = record(SVD, (x,))
    u, _, vh = singular_parts(packed, m, n)
    s = record(SINGULAR_VALUES, (x, packed))
    if full_matrices and m > n:
        u = ns.concatenate([u, complement(u)], axis=-1)
    if full_matrices and n > m:
        vh = ns.concatenate([vh, turned(complement(turned(vh)))], axis=-2)
    return SVDResult(u, s, vh)


@public(
    home="linalg",
    reference=lambda x: np.linalg.svd(x, compute_uv=False),
    samples=[Sample(((3, 3),)), Sample(((3, 2),)), Sample(((2, 2, 4),))],
    kink="at equal values that for one basis of vectors, at 0 that of one side",
)
@composite
def svdvals(x: Any, /) -> Tensor:
    """Singular values, in descending order.

    Returns
    -------
    Tensor, shape (..., min(m, n))
        Where some are equal, the derivative is that for one choice of singular vectors: any function that
        does not tell equal values apart has the right one.  At a value of zero, where it has a kink, it is
        one of the one-sided derivatives.  A second derivative is a ``numpy.linalg.LinAlgError`` at equal
        values.

    Raises
    ------
    numpy.linalg.LinAlgError
        When the value is computed, if a matrix is not finite.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.linalg.svdvals([[0.0, 2.0], [1.0, 0.0]])
    tensor([2., 1.])
    """
    x = matrices("svdvals", x)
    if differentiated(x):
        return record(SINGULAR_VALUES, (x, record(SVD, (x,))))
    return record(SVDVALS, (x,))
