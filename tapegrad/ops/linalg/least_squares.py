"""Pseudo-inverses, least squares, ranks.

Singular vectors and values are factors here, as LU factors are for `solve`: a value without a derivative,
which `svd_solve` and its rules share.  So equal singular values do no harm.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from tapegrad.kernels.lapack import svd as kernels
from tapegrad.ops.axes import size_of
from tapegrad.ops.contraction import matrix_product
from tapegrad.ops.linalg.arguments import alone, matrices, rectangular, shared_table
from tapegrad.ops.linalg.svd import NOT_FOUND, svd_sizes
from tapegrad.ops.movement import all_batched, broadcasted, narrow, reshaped
from tapegrad.ops.record import as_inexact, as_operand, cast, composite, conjugated, record
from tapegrad.ops.table import Out, Row, Sample, ns, public, structured
from tapegrad.spec import INT64, Spec, broadcast_shapes, real_dtype, result_dtype
from tapegrad.tensor import Tensor, tensor_from_array

__all__ = ["SVD_FACTORS", "SVD_SOLVE"]


def _factors_shape(a: Spec, tolerance: Spec) -> Out:
    if tolerance.shape != a.shape[:-2] or tolerance.dtype is not real_dtype(a.dtype):
        raise ValueError(f"svd_factors: tolerances of shape {tolerance.shape} for matrices of {a.shape}")
    return svd_sizes("svd_factors", a)


def _solve_shape(b: Spec, a: Spec, factors: Spec, trans: bool) -> Out:
    m, n = rectangular("svd_solve", a)
    k, batch = min(m, n), b.shape[:-2]
    rows, wide = (n, m) if trans else (m, n)
    shared = a.ndim == 2
    if b.ndim < 2 or b.shape[-2] != rows or not (shared or a.shape[:-2] == batch) or b.dtype is not a.dtype:
        raise ValueError(f"svd_solve: matrices of shape {a.shape} and right-hand sides of shape {b.shape}")
    step = (m + 1 + n) * k
    if factors.shape != (*a.shape[:-2], step) or factors.dtype is not a.dtype:
        raise ValueError(f"svd_solve: factors of shape {factors.shape} for matrices of shape {a.shape}")
    r = b.shape[-1]
    sizes = (m, n, r, k, size_of(batch), 0 if shared else step, a.dtype.itemsize, trans)
    return Out((*batch, wide, r), a.dtype, (*shared_table(a.dtype), *sizes))


def _solved(b: Tensor, a: Tensor, factors: Tensor, trans: bool = False) -> Tensor:
    return record(SVD_SOLVE, (b, a, factors), {"trans": trans})


def _solve_rule_a(g: Tensor, out: Tensor, b: Tensor, a: Tensor, factors: Tensor, trans: bool) -> Tensor:
    # Golub and Pereyra (1973), for matrices of constant rank: with u = a^H+ g and r = b - a x it is
    # -u x^H + r (a^+ u)^H + (a^H+ x) (g - a^H u)^H, and for a^H+ the conjugate transpose of that with a^H
    # for a.
    shared = a._spec.ndim == 2 and out._spec.ndim > 2
    g, turned = conjugated(g), conjugated(a)
    u = _solved(g, a, factors, not trans)
    rest = b - (matrix_product(turned, out, True) if trans else matrix_product(a, out))
    left = g - (matrix_product(a, u) if trans else matrix_product(turned, u, True))
    pairs = [
        (ns.negative(u), out),
        (rest, _solved(u, a, factors, trans)),
        (_solved(out, a, factors, not trans), left),
    ]
    first, *others = [
        matrix_product(y if trans else x, conjugated(x if trans else y), False, True, shared)
        for x, y in pairs
    ]
    return conjugated(first + others[0] + others[1])


def _solve_rule_b(g: Tensor, out: Tensor, b: Tensor, a: Tensor, factors: Tensor, trans: bool) -> Tensor:
    return conjugated(_solved(conjugated(g), a, factors, not trans))


def _solve_batch(
    n: int, batched: Sequence[bool], b: Tensor, a: Tensor, factors: Tensor, trans: bool
) -> Tensor:
    inner = b._spec.shape[batched[0] : -2]
    shared = a._spec.ndim - batched[1] == 2
    (b,) = all_batched(n, batched[:1], b)
    both = [a, factors]
    if any(batched[1:]) or not shared:
        both = all_batched(n, batched[1:], a, factors)
        if shared and inner:  # one matrix for each of the batch, met by several right-hand sides
            ones = (1,) * len(inner)
            shapes = [t._spec.shape[1:] for t in both]
            both = [broadcasted(reshaped(t, (n, *ones, *s)), (n, *inner, *s)) for t, s in zip(both, shapes)]
    return record(SVD_SOLVE, (b, *both), {"trans": trans})


SVD_FACTORS = structured(
    "svd_factors",
    kernels.svd_factors,
    2,
    _factors_shape,
    complex=True,
    batch=alone("svd_factors"),
    refusal=NOT_FOUND,
    doc="As `svd`, small singular values (relative to the greatest) as zeros; no derivative.",
)
SVD_SOLVE: Row = structured(
    "svd_solve",
    kernels.svd_solve,
    3,
    _solve_shape,
    rules=(
        _solve_rule_b,
        _solve_rule_a,
        None,
    ),
    linear=(0,),
    complex=True,
    batch=_solve_batch,
    doc="The pseudo-inverse of a matrix, or of its transpose, times right-hand sides, by means of factors.",
)

# --- public functions -----------------------------------------------------------------------------


def _tolerances(name: str, x: Tensor, rtol: Any) -> Tensor:
    """Relative tolerances, one for each matrix."""
    if rtol is None:
        rtol = max(x._spec.shape[-2:]) * float(np.finfo(x._spec.dtype).eps)
    t = as_operand(rtol, name).detach()
    batch = x._spec.shape[:-2]
    if broadcast_shapes(name, t._spec.shape, batch) != batch:
        raise ValueError(f"{name}: tolerances of shape {t._spec.shape} for matrices of shape {x._spec.shape}")
    return broadcasted(cast(t, real_dtype(x._spec.dtype)), batch)


def _pinv_reference(x: Any, rtol: Any = None) -> Any:
    return np.linalg.pinv(x) if rtol is None else np.linalg.pinv(x, np.asarray(rtol))


_pinv_reference.stands_for = np.linalg.pinv  # type: ignore[attr-defined]


@public(
    home="linalg",
    reference=_pinv_reference,
    samples=[
        Sample(((3, 3),)),
        Sample(((4, 2),)),
        Sample(((2, 2, 3),), {"rtol": 1e-12}),
        Sample(((2, 3, 2),), {"rtol": [1e-12, 1e-10]}),
    ],
    kink="that for constant rank",
)
@composite
def pinv(x: Any, /, rcond: Any = None, hermitian: bool = False, *, rtol: Any = None) -> Tensor:
    """The Moore-Penrose pseudo-inverse.

    Parameters
    ----------
    x : array_like, shape (..., m, n)
    rtol : float or array_like, optional
        Singular values up to so many times the greatest are taken as zero; default ``max(m, n)`` times the
        dtype's epsilon.  ``rcond`` is NumPy's name for it.

    Returns
    -------
    Tensor, shape (..., n, m)

    Raises
    ------
    numpy.linalg.LinAlgError
        When the value is computed, if a matrix is not finite.
    TypeError
        For ``hermitian=True``, and if ``rcond`` and ``rtol`` are given.

    Notes
    -----
    The derivative is that for constant rank: Golub and Pereyra, "The differentiation of pseudo-inverses and
    nonlinear least squares problems whose variables separate" (1973).  At a matrix of deficient rank that is
    the one along all changes that keep the rank; along others the pseudo-inverse jumps.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.linalg.pinv([[2.0], [0.0]]).tolist()
    [[0.5, 0.0]]
    """
    if hermitian:
        raise TypeError("pinv: the argument 'hermitian' is not supported")
    if rcond is not None and rtol is not None:
        raise TypeError("pinv: 'rcond' and 'rtol' are the same argument")
    x = matrices("pinv", x)
    m = x._spec.shape[-2]
    factors = record(SVD_FACTORS, (x, _tolerances("pinv", x, rcond if rtol is None else rtol)))
    eye = tensor_from_array(np.eye(m, dtype=x._spec.dtype))
    return _solved(broadcasted(eye, (*x._spec.shape[:-2], m, m)), x, factors)


class LstsqResult(NamedTuple):
    """What `lstsq` returns."""

    x: Tensor
    residuals: Tensor
    rank: Tensor
    s: Tensor


@public(
    home="linalg",
    reference=np.linalg.lstsq,
    samples=[
        Sample(((4, 2), (4,))),
        Sample(((4, 2), (4, 3))),
        Sample(((2, 3), (2,))),
        Sample(((2, 3), (2, 2)), {"rcond": 1e-10}),
        Sample(((3, 3), (3, 1))),
    ],
    kink="that for constant rank",
)
@composite
def lstsq(a: Any, b: Any, rcond: float | None = None) -> LstsqResult:
    """Solve ``a x = b`` in the sense of least squares; of several solutions the shortest.

    Parameters
    ----------
    a : array_like, shape (..., m, n)
        NumPy takes one matrix; leading axes are allowed here and broadcast.
    b : array_like, shape (m,) or (..., m, r)
    rcond : float, optional
        Singular values up to so many times the greatest are taken as zero; default ``max(m, n)`` times the
        dtype's epsilon, and that epsilon if negative.

    Returns
    -------
    x : Tensor, shape (..., n) or (..., n, r)
    residuals : Tensor, shape (..., r) or (..., 1)
        Sums of squares of ``b - a x``; empty if ``m <= n``.  (NumPy's are empty, too, if the rank is below
        ``n``, which would have to be looked at here.)
    rank : Tensor of integers, shape (...)
    s : Tensor, shape (..., min(m, n))
        Singular values.

    Raises
    ------
    ValueError
        If the shapes do not fit.
    numpy.linalg.LinAlgError
        When the value is computed, if a matrix is not finite.

    Notes
    -----
    Derivative as for `pinv`: right for matrices of full rank, and otherwise along changes that keep the
    rank.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.linalg.lstsq([[1.0], [1.0]], [1.0, 3.0])[2]
    tensor(1)
    """
    a, b = matrices("lstsq", a), as_inexact(b, "lstsq")
    dtype = result_dtype(a._spec.dtype, b._spec.dtype)
    a, b = cast(a, dtype), cast(b, dtype)
    m, n = a._spec.shape[-2:]
    vector = b._spec.ndim == 1
    if b._spec.ndim == 0 or b._spec.shape[-1 if vector else -2] != m:
        raise ValueError(f"lstsq: a matrix of shape {a.shape} and right-hand sides of shape {b.shape}")
    b = reshaped(b, (m, 1)) if vector else b
    batch = broadcast_shapes("lstsq", a._spec.shape[:-2], b._spec.shape[:-2])
    if a._spec.ndim > 2:
        a = broadcasted(a, (*batch, m, n))
    b = broadcasted(b, (*batch, m, b._spec.shape[-1]))
    if rcond is not None and rcond < 0:
        rcond = float(np.finfo(dtype).eps)
    factors = record(SVD_FACTORS, (a, _tolerances("lstsq", a, rcond)))
    x = _solved(b, a, factors)
    s = ns.linalg.svdvals(a)
    kept = narrow(factors, factors._spec.ndim - 1, m * min(m, n), min(m, n))
    rank = ns.count_nonzero(kept, axis=-1)
    if m > n:
        residuals = ns.sum(ns.square(ns.abs(b - matrix_product(a, x))), axis=-2)
    else:
        residuals = ns.zeros(0, dtype=real_dtype(dtype))
    return LstsqResult(reshaped(x, (*batch, n)) if vector else x, residuals, rank, s)


@public(
    home="linalg",
    reference=np.linalg.matrix_rank,
    samples=[Sample(((3, 4),)), Sample(((2, 3, 3),)), Sample(((3, 3),), {"tol": 2.0}), Sample(((4,),))],
    differentiable=False,
)
@composite
def matrix_rank(x: Any, /, tol: Any = None, hermitian: bool = False, *, rtol: Any = None) -> Tensor:
    """How many singular values are above a tolerance; no derivative.

    Parameters
    ----------
    x : array_like, shape (..., m, n), (n,) or ()
        A vector has rank 1 unless it is zero.
    tol : float or array_like, optional
        An absolute tolerance (NumPy's).
    rtol : float or array_like, optional
        A tolerance relative to the greatest singular value; default ``max(m, n)`` times the dtype's epsilon.

    Returns
    -------
    Tensor of integers, shape (...)

    Raises
    ------
    TypeError
        For ``hermitian=True``, and if ``tol`` and ``rtol`` are given.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.linalg.matrix_rank([[1.0, 2.0], [2.0, 4.0]])
    tensor(1)
    """
    if hermitian:
        raise TypeError("matrix_rank: the argument 'hermitian' is not supported")
    if tol is not None and rtol is not None:
        raise TypeError("matrix_rank: 'tol' and 'rtol' are two different tolerances; give one")
    x = as_inexact(x, "matrix_rank").detach()
    if x._spec.ndim < 2:
        return cast(ns.any(ns.not_equal(x, 0.0)), INT64)
    s = ns.linalg.svdvals(x)
    if tol is None:
        if s._spec.shape[-1] == 0:
            return ns.zeros(x._spec.shape[:-2], dtype=INT64)
        tol = _tolerances("matrix_rank", x, rtol) * ns.max(s, axis=-1)
    tol = as_operand(tol, "matrix_rank")
    return ns.count_nonzero(ns.greater(s, reshaped(tol, (*tol._spec.shape, 1))), axis=-1)
