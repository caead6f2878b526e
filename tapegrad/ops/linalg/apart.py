"""What derivatives of spectral decompositions divide by: gaps between eigenvalues, singular values.

Where a gap is zero vectors have no derivative, and the user gets a ``numpy.linalg.LinAlgError``, not a NaN:
`untied` refuses cotangents of vectors that share a value, and `apart`, which divides, whatever is not zero
but divided by zero (that is left to forward mode).  Vectors that nothing depends on do no harm, and values
have rules of their own, without gaps.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tapegrad.kernels.lapack import apart as kernels
from tapegrad.kernels.lapack.apart import DIFFERENCES, SUMS, VALUES
from tapegrad.ops.axes import size_of
from tapegrad.ops.linalg.arguments import alone
from tapegrad.ops.record import record
from tapegrad.ops.table import Out, Row, ns, structured
from tapegrad.spec import Spec, real_dtype
from tapegrad.tensor import Tensor

__all__ = [
    "DIFFERENCES", "SUMS", "VALUES", "apart", "basis_free", "phase_free", "regular", "untied",
    "values_shape",
]  # fmt: skip


def apart(x: Tensor, values: Tensor, mode: int) -> Tensor:
    """``x[i, j]`` over ``values[j] - values[i]``, over ``values[i] + values[j]``, or over ``values[j]``."""
    row = APART_COMPLEX if values._spec.kind == "c" else APART
    return record(row, (x, values), {"mode": mode})


def untied(x: Tensor, values: Tensor) -> Tensor:
    """``x``; refused if a column that is not zero belongs to a value that is equal to another."""
    return record(UNTIED_COMPLEX if values._spec.kind == "c" else UNTIED, (x, values))


def basis_free(x: Tensor, s: Tensor, diagonal: bool = False) -> Tensor:
    """``x``; refused unless matrices ``s`` are Hermitian, up to rounding of numbers like those of ``x``.

    With ``diagonal`` only that of ``s`` counts, which must be real.
    """
    return record(BASIS_FREE, (x, s), {"diagonal": diagonal})


def phase_free(x: Tensor, s: Tensor) -> Tensor:
    """``x``, a cotangent of vectors that may be multiplied by a phase; ``s`` its products with them."""
    return basis_free(x, s, True) if x._spec.kind == "c" else x


def regular(x: Tensor, factors: Tensor) -> Tensor:
    """``x``; refused if the matrices with these LU factors are singular up to rounding."""
    return record(REGULAR, (x, factors))


def _apart_shape(x: Spec, values: Spec, mode: int) -> Out:
    m, n = x.shape[-2:]
    fits = values.dtype in (x.dtype, real_dtype(x.dtype)) and (mode == VALUES or m == n)
    if values.shape != (*x.shape[:-2], n) or not fits:
        raise ValueError(f"apart: shapes {x.shape} and {values.shape}")
    return Out(x.shape, x.dtype, (m, n, size_of(x.shape[:-2]), mode, real_dtype(x.dtype).itemsize))


def _untied_shape(x: Spec, values: Spec) -> Out:
    return _apart_shape(x, values, VALUES)


def values_shape(packed: Spec, start: int, count: int, dtype: Any = None) -> Out:
    """Values in the result of a decomposition, from ``start`` on; real, unless ``dtype`` says more."""
    params = (size_of(packed.shape[:-1]), packed.shape[-1], start, count)
    return Out((*packed.shape[:-1], count), dtype or real_dtype(packed.dtype), params)


def _apart_rule_values(g: Tensor, out: Tensor, x: Tensor, values: Tensor, mode: int) -> Tensor:
    h = apart(g * out, values, mode)
    columns = ns.sum(h, axis=-2)
    if mode == VALUES:
        return ns.negative(columns)
    rows = ns.sum(h, axis=-1)
    return rows - columns if mode == DIFFERENCES else ns.negative(rows + columns)


def _basis_free_shape(x: Spec, s: Spec, diagonal: bool) -> Out:
    m, n = x.shape[-2:]
    r = s.shape[-1]
    if s.shape != (*x.shape[:-2], r, r) or s.dtype is not x.dtype:
        raise ValueError(f"basis_free: shapes {x.shape} and {s.shape}")
    params = (m * n, r, size_of(x.shape[:-2]), real_dtype(x.dtype).itemsize, diagonal)
    return Out(x.shape, x.dtype, params)


def _regular_shape(x: Spec, factors: Spec) -> Out:
    m, r = x.shape[-2:]
    n = factors.shape[-1]
    if factors.shape != (*x.shape[:-2], n + 1, n) or factors.dtype is not x.dtype:
        raise ValueError(f"regular: shapes {x.shape} and {factors.shape}")
    return Out(x.shape, x.dtype, (m * r, n, size_of(x.shape[:-2]), real_dtype(x.dtype).itemsize))


REGULAR: Row = structured(
    "regular",
    kernels.regular,
    2,
    _regular_shape,
    rules=(lambda g, out, x, factors: g, None),
    batch=alone("regular"),
    complex=True,
    underivable="there is no basis of eigenvectors",
    doc="The first operand, refused if the second is the LU factors of a singular matrix.",
)
TIED = "equal values have no derivative of what belongs to one of them"


def _apart_row(name: str, kernel: Callable, kind: str) -> Row:
    return structured(
        name,
        kernel,
        2,
        _apart_shape,
        rules=(lambda g, out, x, values, mode: apart(g, values, mode), _apart_rule_values),
        linear=(0,),
        batch=alone(name),
        complex=True,
        underivable=TIED,
        doc=f"Matrices divided by differences or sums of {kind} values, or by values; 0 over 0 is 0.",
    )


def _untied_row(name: str, kernel: Callable, kind: str) -> Row:
    return structured(
        name,
        kernel,
        2,
        _untied_shape,
        rules=(lambda g, out, x, values: g, None),
        batch=alone(name),
        complex=True,
        underivable=TIED,
        doc=f"The first operand, refused if a column but zero belongs to a {kind} value that is not alone.",
    )


APART: Row = _apart_row("apart", kernels.apart, "real")
APART_COMPLEX: Row = _apart_row("apart_complex", kernels.apart_complex, "complex")
UNTIED: Row = _untied_row("untied", kernels.untied, "real")
UNTIED_COMPLEX: Row = _untied_row("untied_complex", kernels.untied_complex, "complex")
BASIS_FREE: Row = structured(
    "basis_free",
    kernels.basis_free,
    2,
    _basis_free_shape,
    rules=(lambda g, out, x, s, diagonal: g, None),
    batch=alone("basis_free"),
    complex=True,
    underivable="what depends on the choice of a basis, or of phases, has no derivative",
    doc="The first operand, refused unless the second is Hermitian up to rounding.",
)
