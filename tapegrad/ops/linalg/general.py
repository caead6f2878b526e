"""Eigenvalues and eigenvectors of matrices that need not be symmetric."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from tapegrad.kernels.lapack import apart as apart_kernels
from tapegrad.kernels.lapack import general as kernels
from tapegrad.ops.axes import size_of
from tapegrad.ops.contraction import matrix_product
from tapegrad.ops.linalg.apart import DIFFERENCES, apart, phase_free, regular, untied, values_shape
from tapegrad.ops.linalg.arguments import alone, differentiated, matrix, shared_table, square
from tapegrad.ops.linalg.eigen import NOT_FOUND, eigen_parts
from tapegrad.ops.linalg.solve import lu_factors, lu_solved
from tapegrad.ops.movement import reshaped
from tapegrad.ops.record import cast, composite, conjugated, record
from tapegrad.ops.table import Out, Row, Sample, ns, public, structured
from tapegrad.spec import Spec, complex_dtype
from tapegrad.tensor import Tensor

__all__ = ["EIG", "EIGVALS"]


def _whole(dtype: np.dtype) -> np.dtype:
    return dtype if dtype.kind == "c" else complex_dtype(dtype)


def _params(name: str, a: Spec, vectors: bool) -> tuple[int, tuple[int, ...]]:
    n = square(name, a)
    return n, (*shared_table(a.dtype), n, size_of(a.shape[:-2]), a.dtype.itemsize, vectors)


def _eig_shape(a: Spec) -> Out:
    n, params = _params("eig", a, True)
    return Out((*a.shape[:-2], n * n + n), _whole(a.dtype), params)


def _eigvals_shape(a: Spec) -> Out:
    _, params = _params("eigvals", a, False)
    return Out(a.shape[:-1], _whole(a.dtype), params)


def _values_shape(a: Spec, packed: Spec) -> Out:
    n = square("general_eigenvalues", a)
    if packed.shape != (*a.shape[:-2], n * n + n) or packed.dtype is not _whole(a.dtype):
        raise ValueError(f"general_eigenvalues: a decomposition of shape {packed.shape} for shape {a.shape}")
    return values_shape(packed, n * n, n, packed.dtype)


def _back(v: Tensor, b: Tensor) -> Tensor:
    """``V^-T b``."""
    factors = lu_factors(v)
    return lu_solved(v, factors, regular(b, factors), True)


def _across(x: Tensor) -> Tensor:
    """Vectors as rows of a matrix, to be multiplied with its columns."""
    shape = x._spec.shape
    return reshaped(x, (*shape[:-1], 1, shape[-1]))


def _eig_rule(g: Tensor, out: Tensor, x: Tensor) -> Tensor:
    # V^-H (diag(gw) + (V^H gV - V^H V diag(V^H gV)) / conj(w_j - w_i)) V^H: Boeddeker et al.,
    # arXiv:1701.00392 (2017), for vectors of length one; with conjugates, as g is that of a gradient
    n = x._spec.shape[-1]
    v, w = eigen_parts(out, n)
    gv, gw = eigen_parts(conjugated(g), n)
    gv, h = untied(gv, w), conjugated(v)
    if x._spec.kind != "c":  # real vectors stay real
        gv = ns.where(ns.equal(_across(ns.imag(w)), 0.0), cast(ns.real(gv), gv._spec.dtype), gv)
    gv = phase_free(gv, matrix_product(h, gv, True))
    inner = matrix_product(h, gv, True)
    lengths = ns.real(ns.linalg.diagonal(inner))
    inner = inner - matrix_product(h, v, True) * _across(lengths)
    inner = conjugated(apart(conjugated(inner), w, DIFFERENCES))
    # diag(gw) V^H, and what is in front of it transposed, so that one solve does
    whole = matrix_product(conjugated(inner), v, False, True) + conjugated(_across(gw)).mT * v.mT
    return _back(v, whole)


def _values_rule(g: Tensor, out: Tensor, x: Tensor, packed: Tensor) -> Tensor:
    v, _ = eigen_parts(packed, x._spec.shape[-1])
    return _back(v, _across(g).mT * v.mT)


EQUAL = (
    "eigenvectors of equal eigenvalues have no derivative, nor have phases of eigenvectors, nor eigenvalues "
    "of a matrix without a basis of eigenvectors"
)

EIG: Row = structured(
    "eig",
    kernels.eig,
    1,
    _eig_shape,
    rules=(_eig_rule,),
    complex=True,
    batch=alone("eig"),
    refusal=NOT_FOUND,
    underivable=EQUAL,
    doc="Eigenvectors of matrices, and behind them eigenvalues, as complex numbers.",
)
EIGVALS: Row = structured(
    "eigvals",
    kernels.eig,
    1,
    _eigvals_shape,
    complex=True,
    batch=alone("eigvals"),
    refusal=NOT_FOUND,
    doc="Eigenvalues of matrices, as complex numbers; no derivative.",
)
GENERAL_EIGENVALUES: Row = structured(
    "general_eigenvalues",
    apart_kernels.values_complex,
    2,
    _values_shape,
    rules=(_values_rule, None),
    typed_by=1,
    complex=True,
    batch=alone("general_eigenvalues"),
    underivable=EQUAL,
    doc="Eigenvalues of a matrix, from its decomposition (second operand).",
)

# --- public functions -----------------------------------------------------------------------------


class EigResult(NamedTuple):
    """What `eig` returns."""

    eigenvalues: Tensor
    eigenvectors: Tensor


def _eig_reference(x: Any) -> Any:
    w, v = np.linalg.eig(x)
    kind = np.result_type(w, np.complex64)
    return w.astype(kind), v.astype(kind)


def _eigvals_reference(x: Any) -> Any:
    return _eig_reference(x)[0]


def _spread(a: Any) -> tuple:
    """A sample's matrix, triangular, so that eigenvalues have an order that rounding does not change."""
    n = a.shape[-1]
    upper = np.triu(np.full((n, n), 0.25)).astype(a.dtype)
    return (a * upper + np.diag(3 * np.arange(n)).astype(a.dtype),)


_eig_reference.stands_for = np.linalg.eig  # type: ignore[attr-defined]
_eigvals_reference.stands_for = np.linalg.eigvals  # type: ignore[attr-defined]


@public(
    home="linalg",
    reference=_eig_reference,
    samples=[
        Sample(((3, 3),), prepare=_spread, differentiable=False),
        Sample(((2, 4, 4),), prepare=_spread, differentiable=False),
    ],
    kink="an error for vectors of equal eigenvalues, and without a basis of vectors",
)
@composite
def eig(x: Any, /) -> EigResult:
    """Eigenvalues and eigenvectors of square matrices, as complex numbers.

    Parameters
    ----------
    x : array_like, shape (..., n, n)

    Returns
    -------
    eigenvalues : Tensor, shape (..., n)
        Always complex (NumPy's are real if they all can be), in no particular order.
    eigenvectors : Tensor, shape (..., n, n)
        In columns, of length one.

    Raises
    ------
    ValueError
        If the last two axes are not square.
    numpy.linalg.LinAlgError
        When the value is computed, if a matrix is not finite.  In a derivative, if something depends on
        eigenvectors whose eigenvalues are equal up to rounding, or on phases, or if the eigenvectors of a
        matrix are linearly dependent: there it does not exist.

    Notes
    -----
    Derivative: Giles, "An extended collection of matrix derivative results" (2008), section 3.1; Boeddeker et
    al., "On the computation of complex-valued gradients", arXiv:1701.00392 (2017).

    Examples
    --------
    >>> import tapegrad as tg
    >>> w, v = tg.linalg.eig([[0.0, 1.0], [-1.0, 0.0]])
    >>> w
    tensor([0.+1.j, 0.-1.j])
    """
    x = matrix("eig", x)
    packed = record(EIG, (x,))
    vectors, _ = eigen_parts(packed, x._spec.shape[-1])
    return EigResult(record(GENERAL_EIGENVALUES, (x, packed)), vectors)


@public(
    home="linalg",
    reference=_eigvals_reference,
    samples=[
        Sample(((3, 3),), prepare=_spread),
        Sample(((2, 4, 4),), prepare=_spread),
        Sample(((1, 1),)),
    ],
    kink="an error without a basis of eigenvectors",
)
@composite
def eigvals(x: Any, /) -> Tensor:
    """Eigenvalues of square matrices, as complex numbers; errors as for `eig`.

    Returns
    -------
    Tensor, shape (..., n)
        Where some are equal and have their own eigenvectors, the derivative is that for one choice of these:
        any function that does not tell equal eigenvalues apart has the right one.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.linalg.eigvals([[2.0, 1.0], [0.0, 3.0]])
    tensor([2.+0.j, 3.+0.j])
    """
    x = matrix("eigvals", x)
    if differentiated(x):
        return record(GENERAL_EIGENVALUES, (x, record(EIG, (x,))))
    return record(EIGVALS, (x,))
