"""What derivatives of spectral decompositions divide by: gaps between eigenvalues, singular values.

Where a gap is zero vectors have no derivative, and the user gets a ``numpy.linalg.LinAlgError``, not a NaN:
`untied` refuses cotangents of vectors that share a value, and `apart`, which divides, whatever is not zero
but divided by zero (that is left to forward mode).  Vectors that nothing depends on do no harm, and values
have rules of their own, without gaps.
"""

from __future__ import annotations

from tapegrad.kernels.lapack import apart as kernels
from tapegrad.kernels.lapack.apart import DIFFERENCES, SUMS, VALUES
from tapegrad.ops.axes import size_of
from tapegrad.ops.linalg.arguments import alone
from tapegrad.ops.record import record
from tapegrad.ops.table import Out, Row, ns, structured
from tapegrad.spec import Spec, real_dtype
from tapegrad.tensor import Tensor

__all__ = [
    "APART", "BASIS_FREE", "DIFFERENCES", "SUMS", "UNTIED", "VALUES", "apart", "basis_free", "phase_free",
    "untied",
    "values_shape",
]  # fmt: skip


def apart(x: Tensor, values: Tensor, mode: int) -> Tensor:
    """``x[i, j]`` over ``values[j] - values[i]``, over ``values[i] + values[j]``, or over ``values[j]``."""
    return record(APART, (x, values), {"mode": mode})


def untied(x: Tensor, values: Tensor) -> Tensor:
    """``x``; refused if a column that is not zero belongs to a value that is equal to another."""
    return record(UNTIED, (x, values))


def basis_free(x: Tensor, s: Tensor, diagonal: bool = False) -> Tensor:
    """``x``; refused unless matrices ``s`` are Hermitian, up to rounding of numbers like those of ``x``.

    With ``diagonal`` only that of ``s`` counts, which must be real.
    """
    return record(BASIS_FREE, (x, s), {"diagonal": diagonal})


def phase_free(x: Tensor, s: Tensor) -> Tensor:
    """``x``, a cotangent of vectors that may be multiplied by a phase; ``s`` its products with them."""
    return basis_free(x, s, True) if x._spec.kind == "c" else x


def _apart_shape(x: Spec, values: Spec, mode: int) -> Out:
    m, n = x.shape[-2:]
    part = real_dtype(x.dtype)
    if values.shape != (*x.shape[:-2], n) or values.dtype is not part or (mode != VALUES and m != n):
        raise ValueError(f"apart: shapes {x.shape} and {values.shape}")
    return Out(x.shape, x.dtype, (m, n, size_of(x.shape[:-2]), mode, part.itemsize))


def _untied_shape(x: Spec, values: Spec) -> Out:
    return _apart_shape(x, values, VALUES)


def values_shape(a: Spec, packed: Spec, start: int, count: int) -> Out:
    """Values in the result of a decomposition, from ``start`` on."""
    params = (size_of(packed.shape[:-1]), packed.shape[-1], start, count)
    return Out((*packed.shape[:-1], count), real_dtype(packed.dtype), params)


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


APART: Row = structured(
    "apart",
    kernels.apart,
    2,
    _apart_shape,
    rules=(lambda g, out, x, values, mode: apart(g, values, mode), _apart_rule_values),
    linear=(0,),
    batch=alone("apart"),
    complex=True,
    underivable="equal values have no derivative of what belongs to one of them",
    doc="Matrices divided by differences or sums of values, or by values; zero over zero is zero.",
)
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
UNTIED: Row = structured(
    "untied",
    kernels.untied,
    2,
    _untied_shape,
    rules=(lambda g, out, x, values: g, None),
    batch=alone("untied"),
    complex=True,
    underivable="equal values have no derivative of what belongs to one of them",
    doc="The first operand, refused if a column that is not zero belongs to a value that is not alone.",
)
