"""Factors of orthogonal and triangular matrices, and the completion of a basis."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from tapegrad.kernels.lapack import qr as kernels
from tapegrad.ops.axes import size_of
from tapegrad.ops.contraction import matrix_product
from tapegrad.ops.linalg.apart import basis_free
from tapegrad.ops.linalg.arguments import (
    SINGULAR,
    alone,
    matrices,
    part,
    real_part,
    rectangular,
    shared_table,
    turned,
)
from tapegrad.ops.linalg.triangular import triangular
from tapegrad.ops.movement import narrow
from tapegrad.ops.record import composite, conjugated, record
from tapegrad.ops.table import Out, Row, Sample, ns, public, structured
from tapegrad.spec import Spec
from tapegrad.tensor import Tensor

__all__ = ["COMPLEMENT", "QR", "complement"]


def _tall(name: str, a: Spec) -> tuple[int, int, tuple[int, ...]]:
    m, n = rectangular(name, a)
    if m < n:
        raise ValueError(f"{name}: more columns than rows, shape {a.shape}")
    return m, n, (*shared_table(a.dtype), m, n, size_of(a.shape[:-2]), a.dtype.itemsize)


def _qr_shape(a: Spec) -> Out:
    m, n, params = _tall("qr", a)
    return Out((*a.shape[:-2], (m + n) * n), a.dtype, params)


def _complement_shape(a: Spec) -> Out:
    m, n, params = _tall("complement", a)
    return Out((*a.shape[:-2], m, m - n), a.dtype, params)


def _parts(packed: Tensor, m: int, n: int) -> tuple[Tensor, Tensor]:
    return part(packed, 0, (m, n)), part(packed, m * n, (n, n))


def _qr_rule(g: Tensor, out: Tensor, x: Tensor) -> Tensor:
    # (gQ + Q copyltu(R gR^H - gQ^H Q)) R^-H: Walter and Lehmann (2013); Seeger et al., arXiv:1710.08717
    # (2017); with conjugates, as g is that of a gradient.  LAPACK's R has a real diagonal.
    m, n = x._spec.shape[-2:]
    q, r = _parts(out, m, n)
    gq, gr = _parts(conjugated(g), m, n)
    inner = matrix_product(r, conjugated(ns.triu(gr)), False, True) - matrix_product(conjugated(gq), q, True)
    lower = ns.tril(inner, -1)
    diagonal = real_part(inner - lower)
    symmetric = lower + turned(lower) + ns.tril(diagonal)
    whole = gq + matrix_product(q, symmetric)
    return triangular(r, conjugated(whole).mT, False).mT


def complement(q: Tensor) -> Tensor:
    """Orthonormal columns that complete those of ``q``, of which there are no more than rows."""
    return record(COMPLEMENT, (q,))


def _complement_rule(g: Tensor, out: Tensor, x: Tensor) -> Tensor:
    # The completing columns Q2 follow the others by dQ2 = -Q1 dQ1^H Q2, up to a rotation among themselves.
    # What depends on that rotation has no derivative: then Q2^H gQ2 is not Hermitian.
    g = conjugated(g)
    g = basis_free(g, matrix_product(conjugated(out), g, True))
    return conjugated(ns.negative(matrix_product(out, matrix_product(conjugated(g), x, True))))


QR: Row = structured(
    "qr",
    kernels.qr,
    1,
    _qr_shape,
    rules=(_qr_rule,),
    complex=True,
    batch=alone("qr"),
    refusal=f"{SINGULAR}: there is no derivative",
    doc="Q and behind it R of matrices that have no more columns than rows.",
)
COMPLEMENT: Row = structured(
    "complement",
    kernels.complement,
    1,
    _complement_shape,
    rules=(_complement_rule,),
    complex=True,
    batch=alone("complement"),
    underivable="the choice of the columns that complete a basis has no derivative",
    doc="Orthonormal columns that complete those of each matrix to a basis.",
)

# --- public functions -----------------------------------------------------------------------------


class QRResult(NamedTuple):
    """What `qr` returns."""

    Q: Tensor
    R: Tensor


@public(
    home="linalg",
    reference=np.linalg.qr,
    samples=[
        Sample(((3, 3),)),
        Sample(((4, 2),)),
        Sample(((2, 3),)),
        Sample(((2, 4, 3),), {"mode": "reduced"}),
        Sample(((2, 2, 3),), {"mode": "complete"}),
        Sample(((4, 2),), {"mode": "complete"}, differentiable=False),
        Sample(((4, 2),), {"mode": "r"}),
    ],
    kink="an error at linearly dependent columns",
)
@composite
def qr(x: Any, /, mode: str = "reduced") -> QRResult | Tensor:
    """The decomposition ``x = Q R`` into orthonormal columns and an upper triangle.

    Parameters
    ----------
    x : array_like, shape (..., m, n)
    mode : {"reduced", "complete", "r"}
        ``k = min(m, n)`` columns of ``Q`` and rows of ``R``; all ``m``; or return ``R`` alone (``k`` rows).

    Returns
    -------
    Q : Tensor, shape (..., m, k) or (..., m, m)
    R : Tensor, shape (..., k, n) or (..., m, n)

    Raises
    ------
    ValueError
        For another ``mode``.
    numpy.linalg.LinAlgError
        In a derivative, if the first ``k`` columns of a matrix are linearly dependent, or, for
        ``mode="complete"``, if something depends on the choice of the columns that complete a basis: there
        it does not exist.

    Notes
    -----
    Derivative: Walter and Lehmann, "Algorithmic differentiation of linear algebra functions" (2013); for
    ``m < n`` Roberts and Roberts, arXiv:2009.10071 (2020): the first ``m`` columns are decomposed, and the
    rest is ``Q' x``.

    Examples
    --------
    >>> import tapegrad as tg
    >>> q, r = tg.linalg.qr([[0.0, 2.0], [1.0, 0.0]])
    >>> r.tolist()
    [[-1.0, 0.0], [0.0, -2.0]]
    """
    if mode not in ("reduced", "complete", "r"):
        raise ValueError(f"qr: mode {mode!r} is not supported, only 'reduced', 'complete' and 'r'")
    x = matrices("qr", x)
    m, n = x._spec.shape[-2:]
    k = min(m, n)
    head = x if m >= n else narrow(x, x._spec.ndim - 1, 0, m)
    q, r = _parts(record(QR, (head,)), m, k)
    if n > m:
        rest = matrix_product(conjugated(q), narrow(x, x._spec.ndim - 1, m, n - m), True)
        r = ns.concatenate([r, rest], axis=-1)
    if mode == "r":
        return r
    if mode == "complete" and m > n:
        q = ns.concatenate([q, complement(q)], axis=-1)
        r = ns.concatenate([r, ns.zeros((*x._spec.shape[:-2], m - n, n), dtype=x._spec.dtype)], axis=-2)
    return QRResult(q, r)
