"""Eigenvalues and eigenvectors of symmetric matrices."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from tapegrad.kernels.lapack import apart as apart_kernels
from tapegrad.kernels.lapack import eigen as kernels
from tapegrad.ops.axes import size_of
from tapegrad.ops.contraction import matrix_product
from tapegrad.ops.linalg.apart import DIFFERENCES, apart, phase_free, untied, values_shape
from tapegrad.ops.linalg.arguments import (
    alone,
    differentiated,
    matrix,
    part,
    real_part,
    shared_table,
    square,
    symmetric,
    turned,
)
from tapegrad.ops.movement import reshaped
from tapegrad.ops.record import composite, conjugated, record
from tapegrad.ops.table import Out, Row, Sample, public, structured
from tapegrad.spec import Spec, real_dtype
from tapegrad.tensor import Tensor

__all__ = ["EIGH", "EIGVALSH", "eigen_parts"]

LARGEST = 2**15  # LAPACK counts its workspace of 2 n^2 numbers in 32 bits


def _eigh_params(name: str, a: Spec, upper: bool, vectors: bool) -> tuple[int, int, tuple[int, ...]]:
    n = square(name, a)
    if n >= LARGEST:
        raise ValueError(f"{name}: shape {a.shape} is too large for LAPACK")
    batch, part = size_of(a.shape[:-2]), real_dtype(a.dtype)
    room, reals, integers = (1 + 6 * n + 2 * n * n, 0, 3 + 5 * n) if vectors else (34 * n + 1, 0, 1)
    if a.kind == "c":
        room, reals = max(room, 34 * n), 1 + 5 * n + 2 * n * n if vectors else n
    sizes = (n, batch, a.dtype.itemsize, part.itemsize, upper, vectors, room, reals, integers)
    return n, batch, (*shared_table(a.dtype), *sizes)


def _eigh_shape(a: Spec, upper: bool) -> Out:
    n, _, params = _eigh_params("eigh", a, upper, True)
    return Out((*a.shape[:-2], n * n + n), a.dtype, params)


def _eigvalsh_shape(a: Spec, upper: bool) -> Out:
    _, _, params = _eigh_params("eigvalsh", a, upper, False)
    return Out(a.shape[:-1], real_dtype(a.dtype), params)


def eigen_parts(packed: Tensor, n: int) -> tuple[Tensor, Tensor]:
    """Eigenvectors and eigenvalues (or their cotangents) of the row's result."""
    return part(packed, 0, (n, n)), part(packed, n * n, (n,))


def _by_columns(vectors: Tensor, values: Tensor) -> Tensor:
    """``vectors diag(values)``."""
    shape = values._spec.shape
    return vectors * reshaped(values, (*shape[:-1], 1, shape[-1]))


def _eigh_rule(g: Tensor, out: Tensor, x: Tensor, upper: bool) -> Tensor:
    # V (diag(gw) + V^H gV / (w_j - w_i)) V^H, made Hermitian: Giles (2008), section 3.1; with conjugates, as
    # g is that of a gradient
    n = x._spec.shape[-1]
    v, w = eigen_parts(out, n)
    w = real_part(w)
    gv, gw = eigen_parts(conjugated(g), n)
    gv = phase_free(untied(gv, w), matrix_product(conjugated(v), gv, True))
    inner = apart(matrix_product(conjugated(v), gv, True), w, DIFFERENCES)
    whole = matrix_product(
        matrix_product(v, inner) + _by_columns(v, real_part(gw)), conjugated(v), False, True
    )
    return conjugated((whole + turned(whole)) * 0.5)


def _values_rule(g: Tensor, out: Tensor, x: Tensor, packed: Tensor) -> Tensor:
    v, _ = eigen_parts(packed, x._spec.shape[-1])
    return conjugated(matrix_product(_by_columns(v, g), conjugated(v), False, True))


def _values_shape(a: Spec, packed: Spec) -> Out:
    n = square("eigenvalues", a)
    if packed.shape != (*a.shape[:-2], n * n + n) or packed.dtype is not a.dtype:
        raise ValueError(f"eigenvalues: a decomposition of shape {packed.shape} for shape {a.shape}")
    return values_shape(packed, n * n, n)


NOT_FOUND = "eigenvalues were not found, or the matrix is not finite"
EQUAL = "eigenvectors of equal eigenvalues have no derivative, nor have phases of complex eigenvectors"

EIGH: Row = structured(
    "eigh",
    kernels.eigh,
    1,
    _eigh_shape,
    rules=(_eigh_rule,),
    complex=True,
    batch=alone("eigh"),
    refusal=NOT_FOUND,
    underivable=EQUAL,
    doc="Eigenvectors of symmetric matrices, and behind them eigenvalues in ascending order.",
)
EIGVALSH: Row = structured(
    "eigvalsh",
    kernels.eigh,
    1,
    _eigvalsh_shape,
    complex=True,
    batch=alone("eigvalsh"),
    refusal=NOT_FOUND,
    doc="Eigenvalues of symmetric matrices, in ascending order; no derivative.",
)

EIGENVALUES: Row = structured(
    "eigenvalues",
    apart_kernels.values,
    2,
    _values_shape,
    rules=(_values_rule, None),
    typed_by=1,
    complex=True,
    batch=alone("eigenvalues"),
    underivable=EQUAL,
    doc="Eigenvalues of a matrix, from its decomposition (second operand).",
)

# --- public functions -----------------------------------------------------------------------------


class EighResult(NamedTuple):
    """What `eigh` returns."""

    eigenvalues: Tensor
    eigenvectors: Tensor


def _upper(name: str, UPLO: Any) -> bool:
    if not isinstance(UPLO, str) or UPLO.upper() not in ("L", "U"):
        raise ValueError(f"{name}: UPLO must be 'L' or 'U', not {UPLO!r}")
    return UPLO.upper() == "U"


SAMPLES = [
    Sample(((3, 3),), prepare=symmetric),
    Sample(((2, 4, 4),), {"UPLO": "U"}, prepare=symmetric),
    Sample(((1, 1),)),
]


@public(
    home="linalg",
    reference=np.linalg.eigh,
    samples=SAMPLES,
    kink="an error for vectors of equal eigenvalues",
)
@composite
def eigh(x: Any, /, UPLO: str = "L") -> EighResult:
    """Eigenvalues and eigenvectors of symmetric matrices.

    Parameters
    ----------
    x : array_like, shape (..., n, n)
        Only one triangle is read; the derivative is symmetric.
    UPLO : {"L", "U"}
        Which triangle.

    Returns
    -------
    eigenvalues : Tensor, shape (..., n)
        In ascending order.
    eigenvectors : Tensor, shape (..., n, n)
        In columns, of length one; each may as well point the other way, and what is computed from them
        should not depend on that.

    Raises
    ------
    ValueError
        If the last two axes are not square.
    numpy.linalg.LinAlgError
        When the value is computed, if a matrix is not finite.  In a derivative, if something depends on
        eigenvectors whose eigenvalues are equal up to rounding: there it does not exist.  The derivatives of
        eigenvalues exist, and are found.

    Notes
    -----
    Derivative: Giles, "An extended collection of matrix derivative results" (2008), section 3.1.

    Examples
    --------
    >>> import tapegrad as tg
    >>> w, v = tg.linalg.eigh([[2.0, 0.0], [0.0, 1.0]])
    >>> w
    tensor([1., 2.])
    """
    upper = _upper("eigh", UPLO)
    x = matrix("eigh", x)
    packed = record(EIGH, (x,), {"upper": upper})
    vectors, _ = eigen_parts(packed, x._spec.shape[-1])
    return EighResult(record(EIGENVALUES, (x, packed)), vectors)


@public(
    home="linalg",
    reference=np.linalg.eigvalsh,
    samples=SAMPLES,
    kink="at equal eigenvalues that for one basis of vectors",
)
@composite
def eigvalsh(x: Any, /, UPLO: str = "L") -> Tensor:
    """Eigenvalues of symmetric matrices, in ascending order; arguments and errors as for `eigh`.

    Returns
    -------
    Tensor, shape (..., n)
        Where some are equal, the derivative is that for one choice of eigenvectors: any function that does
        not tell equal eigenvalues apart has the right one.  A second derivative is a
        ``numpy.linalg.LinAlgError`` there.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.grad(lambda x: tg.linalg.eigvalsh(x).sum())(tg.eye(2)).tolist()
    [[1.0, 0.0], [0.0, 1.0]]
    """
    upper = _upper("eigvalsh", UPLO)
    x = matrix("eigvalsh", x)
    if differentiated(x):
        return record(EIGENVALUES, (x, record(EIGH, (x,), {"upper": upper})))
    return record(EIGVALSH, (x,), {"upper": upper})
