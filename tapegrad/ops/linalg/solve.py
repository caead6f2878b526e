"""LU factors, systems of equations, inverses."""

from __future__ import annotations

from typing import Any

import numpy as np

from tapegrad.kernels.lapack import lu as kernels
from tapegrad.ops.axes import size_of
from tapegrad.ops.linalg.arguments import (
    SINGULAR,
    adjusted,
    alone,
    each,
    identity,
    matrix,
    shared_table,
    square,
    system,
)
from tapegrad.ops.linalg.triangular import minus_outer, solve_batch, solve_sizes
from tapegrad.ops.movement import reshaped
from tapegrad.ops.record import composite, record
from tapegrad.ops.table import Out, Row, Sample, public, structured
from tapegrad.spec import Spec
from tapegrad.tensor import Tensor

__all__ = ["LU", "LU_SOLVE", "check_factors", "lu_factors", "lu_solved"]


def _lu_shape(a: Spec) -> Out:
    n = square("lu", a)
    params = (*shared_table(a.dtype), n, size_of(a.shape[:-2]), a.dtype.itemsize)
    return Out((*a.shape[:-2], n + 1, n), a.dtype, params)


def _lu_solve_shape(b: Spec, a: Spec, factors: Spec, trans: bool) -> Out:
    sizes = solve_sizes("solve", b, a, a.shape[-1] + 1 if a.ndim else 0)
    check_factors("solve", a, factors)
    return Out(b.shape, b.dtype, (*shared_table(b.dtype), *sizes, trans))


def check_factors(name: str, a: Spec, factors: Spec) -> None:
    shape = (*a.shape[:-2], a.shape[-1] + 1, a.shape[-1])
    if factors.shape != shape or factors.dtype is not a.dtype:
        raise ValueError(f"{name}: factors of shape {factors.shape} for a matrix of shape {a.shape}")


def lu_solved(a: Tensor, factors: Tensor, b: Tensor, trans: bool = False) -> Tensor:
    return record(LU_SOLVE, (b, a, factors), {"trans": trans})


def lu_factors(a: Tensor) -> Tensor:
    return record(LU, (a,))


LU = structured(
    "lu",
    kernels.lu,
    1,
    _lu_shape,
    complex=True,
    batch=alone("lu"),
    doc="LU factors with row exchanges behind them; no derivative.",
)
LU_SOLVE: Row = structured(
    "solve",
    kernels.lu_solve,
    3,
    _lu_solve_shape,
    rules=(
        lambda g, out, b, a, factors, trans: lu_solved(a, factors, g, not trans),
        lambda g, out, b, a, factors, trans: minus_outer(lu_solved(a, factors, g, not trans), out, a, trans),
        None,
    ),
    in_place=True,
    complex=True,
    linear=(0,),
    batch=solve_batch("solve"),
    refusal=SINGULAR,
    doc="Right-hand sides (first operand) solved with a matrix, by means of its factors.",
)


@public(
    home="linalg",
    reference=each(np.linalg.solve),
    samples=[
        Sample(((3, 3), (3,)), prepare=adjusted(9.0)),
        Sample(((3, 3), (3, 2)), prepare=adjusted(9.0)),
        Sample(((2, 3, 3), (2, 3, 2)), prepare=adjusted(9.0)),
        Sample(((3, 3), (2, 3, 2)), prepare=adjusted(9.0)),
        Sample(((2, 3, 3), (3, 1)), prepare=adjusted(9.0)),
    ],
)
@composite
def solve(a: Any, b: Any, /) -> Tensor:
    """Solve ``a x = b``, as ``numpy.linalg.solve`` does.

    Parameters
    ----------
    a : array_like, shape (..., n, n)
    b : array_like, shape (n,) or (..., n, m)
        Leading axes are broadcast.

    Returns
    -------
    Tensor, shape (..., n) or (..., n, m)

    Raises
    ------
    ValueError
        If the shapes do not fit.
    numpy.linalg.LinAlgError
        When the value is computed, if a matrix is singular.

    Notes
    -----
    The derivative uses the same LU factors: Giles, "An extended collection of matrix derivative results"
    (2008), section 2.3.1.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.linalg.solve([[2.0, 0.0], [1.0, 4.0]], [2.0, 9.0])
    tensor([1., 2.])
    """
    a, b, shape = system("solve", a, b)
    return reshaped(lu_solved(a, lu_factors(a), b), shape)


@public(
    home="linalg",
    reference=np.linalg.inv,
    samples=[Sample(((3, 3),), prepare=adjusted(9.0)), Sample(((2, 2, 2),), prepare=adjusted(9.0))],
)
@composite
def inv(x: Any, /) -> Tensor:
    """The inverse of square matrices (to solve equations, `solve` is faster and more accurate).

    Raises
    ------
    numpy.linalg.LinAlgError
        When the value is computed, if a matrix is singular.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.linalg.inv([[2.0, 0.0], [0.0, 4.0]]).tolist()
    [[0.5, 0.0], [0.0, 0.25]]
    """
    x = matrix("inv", x)
    return lu_solved(x, lu_factors(x), identity(x))
