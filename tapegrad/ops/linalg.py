"""Factorisations, solves and determinants: the rows, and the functions of ``tapegrad.linalg``.

Rules are expressions in these same rows, so they hold to any order.  A row that refuses its operand raises
``numpy.linalg.LinAlgError``.  LU factors are a value of their own, without a derivative: `solve`, `det` and
their derivatives take the matrix, which is differentiated, and the factors, which are used.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from tapegrad.kernels import lapack
from tapegrad.ops.axes import size_of
from tapegrad.ops.blas import bits_of, capsule_address
from tapegrad.ops.contraction import matrix_product
from tapegrad.ops.movement import all_batched, broadcasted, reshaped
from tapegrad.ops.record import as_operand, cast, composite, record
from tapegrad.ops.table import ROWS, Out, Row, Sample, ns, public, structured
from tapegrad.spec import FLOAT64, Spec, broadcast_shapes, result_dtype
from tapegrad.tensor import Tensor, tensor_from_array

__all__ = ["CHOLESKY", "LU", "LU_SOLVE", "SOLVE_TRIANGULAR"]

# --- what kernels find in front of their parameters -----------------------------------------------


@functools.cache
def _shared(dtype: np.dtype) -> tuple[int, ...]:
    """The table of routines, letters and factors that ``kernels.lapack`` describes."""
    letter = "d" if dtype.itemsize == 8 else "s"
    blas = [capsule_address("cython_blas", letter + name) for name in ("trsm", "trsv", "gemm", "symm")]
    lapack_ = [capsule_address("cython_lapack", letter + name) for name in ("potrf", "getrf")]
    factors = [bits_of(value, dtype) for value in (1.0, -1.0, 0.0)]
    return (*blas, *lapack_, *map(ord, "LUNTLRU"), *factors)


def _square(name: str, a: Spec) -> int:
    if a.ndim < 2 or a.shape[-1] != a.shape[-2]:
        raise ValueError(f"{name}: the last two axes must be square, not of shape {a.shape}")
    if not a.floating:
        raise TypeError(f"{name}: operands must be floating point, not {a.dtype}")
    if a.shape[-1] >= 2**31:
        raise ValueError(f"{name}: shape {a.shape} is too large for LAPACK")
    return a.shape[-1]


def _factor_shape(name: str, operands: int = 1) -> Callable[..., Out]:
    def shape(*specs: Spec) -> Out:
        a = specs[0]
        n = _square(name, a)
        if operands == 2 and specs[1] is not a:
            raise ValueError(f"{name}: shapes {specs[0].shape} and {specs[1].shape} differ")
        return Out(a.shape, a.dtype, (*_shared(a.dtype), n, size_of(a.shape[:-2]), a.dtype.itemsize))

    return shape


def _lu_shape(a: Spec) -> Out:
    n = _square("lu", a)
    params = (*_shared(a.dtype), n, size_of(a.shape[:-2]), a.dtype.itemsize)
    return Out((*a.shape[:-2], n + 1, n), a.dtype, params)


def _solve_sizes(name: str, b: Spec, a: Spec, rows: int) -> tuple[int, ...]:
    """``n, m, 1, batch, step of a, itemsize``; matrices of ``rows`` rows belong to a."""
    n = _square(name, a)
    if b.dtype is not a.dtype:
        raise TypeError(f"{name}: operands of dtypes {a.dtype} and {b.dtype}")
    if b.ndim < 2 or b.shape[-2] != n or (a.ndim > 2 and a.shape[:-2] != b.shape[:-2]):
        raise ValueError(f"{name}: a matrix of shape {a.shape} and right-hand sides of shape {b.shape}")
    if b.shape[-1] >= 2**31:
        raise ValueError(f"{name}: shape {b.shape} is too large for LAPACK")
    step = rows * n if a.ndim > 2 else 0
    return n, b.shape[-1], 1, size_of(b.shape[:-2]), step, b.dtype.itemsize


def _triangular_shape(b: Spec, a: Spec, lower: bool, trans: bool, unit_diagonal: bool) -> Out:
    sizes = _solve_sizes("solve_triangular", b, a, a.shape[-1] if a.ndim else 0)
    return Out(b.shape, b.dtype, (*_shared(b.dtype), *sizes, lower, trans, unit_diagonal))


def _lu_solve_shape(b: Spec, a: Spec, factors: Spec, trans: bool) -> Out:
    sizes = _solve_sizes("solve", b, a, a.shape[-1] + 1 if a.ndim else 0)
    _check_factors("solve", a, factors)
    return Out(b.shape, b.dtype, (*_shared(b.dtype), *sizes, trans))


def _check_factors(name: str, a: Spec, factors: Spec) -> None:
    shape = (*a.shape[:-2], a.shape[-1] + 1, a.shape[-1])
    if factors.shape != shape or factors.dtype is not a.dtype:
        raise ValueError(f"{name}: factors of shape {factors.shape} for a matrix of shape {a.shape}")


def _det_shape(a: Spec, factors: Spec) -> Out:
    n = _square("det", a)
    _check_factors("det", a, factors)
    return Out(a.shape[:-2], a.dtype, (n, size_of(a.shape[:-2])))


def _lu_sign_shape(factors: Spec) -> Out:
    if factors.ndim < 2 or factors.shape[-2] != factors.shape[-1] + 1 or not factors.floating:
        raise ValueError(f"det: these are no factors: shape {factors.shape}, dtype {factors.dtype}")
    return Out(factors.shape[:-2], factors.dtype, (factors.shape[-1], size_of(factors.shape[:-2])))


# --- rules ----------------------------------------------------------------------------------------


def _triangular(a: Tensor, b: Tensor, lower: bool, trans: bool = False, unit: bool = False) -> Tensor:
    return record(SOLVE_TRIANGULAR, (b, a), {"lower": lower, "trans": trans, "unit_diagonal": unit})


def _lu_solved(a: Tensor, factors: Tensor, b: Tensor, trans: bool = False) -> Tensor:
    return record(LU_SOLVE, (b, a, factors), {"trans": trans})


def _minus_outer(gb: Tensor, out: Tensor, a: Tensor, trans: bool) -> Tensor:
    """``-gb out'``, or its transpose: what a solve sends to its matrix, which a batch may share."""
    shared = a._spec.ndim == 2 and out._spec.ndim > 2
    x, y = (out, gb) if trans else (gb, out)
    return matrix_product(ns.negative(x), y, False, True, shared)


def _triangular_rule_a(
    g: Tensor, out: Tensor, b: Tensor, a: Tensor, lower: bool, trans: bool, unit_diagonal: bool
) -> Tensor:
    gb = _triangular(a, g, lower, not trans, unit_diagonal)
    whole = _minus_outer(gb, out, a, trans)
    k = 1 if unit_diagonal else 0
    return ns.tril(whole, -k) if lower else ns.triu(whole, k)


def _halved(x: Tensor) -> Tensor:
    """The lower triangle with half of the diagonal."""
    return (ns.tril(x) + ns.tril(x, -1)) * 0.5


def _between(g: Tensor, factor: Tensor) -> tuple[Tensor, Tensor]:
    """``l^-1 g`` for the symmetric part of ``g``, and ``l^-1 g l^-T``."""
    left = _triangular(factor, (g + g.mT) * 0.5, True)
    return left, _triangular(factor, left.mT, True)


def _adjoint_rule_g(g: Tensor, out: Tensor, x: Tensor, factor: Tensor) -> Tensor:
    # The adjoint's adjoint is the derivative itself: l phi(l^-1 da l^-T), Murray (2016), equation 8.
    return ns.tril(matrix_product(factor, _halved(_between(g, factor)[1])))


def _adjoint_rule_factor(g: Tensor, out: Tensor, x: Tensor, factor: Tensor) -> Tensor:
    # out = sym(l^-T phi(l' x) l^-1): once through each of the three factors that l is in
    left, middle = _between(g, factor)
    inner = matrix_product(ns.tril(x), _halved(middle), False, True)
    return ns.tril(inner - 2.0 * matrix_product(out, left, False, True))


def _log_abs_det_rule(g: Tensor, out: Tensor, a: Tensor, factors: Tensor) -> Tensor:
    inverse = _lu_solved(a, factors, _identity(a), True)
    return inverse * reshaped(g, (*g._spec.shape, 1, 1))


def _det_rule(g: Tensor, out: Tensor, a: Tensor, factors: Tensor) -> Tensor:
    return _log_abs_det_rule(g * out, out, a, factors)


def _identity(a: Tensor) -> Tensor:
    eye = tensor_from_array(np.eye(a._spec.shape[-1], dtype=a._spec.dtype))
    return broadcasted(eye, a._spec.shape)


# --- batches --------------------------------------------------------------------------------------


def _alone(name: str) -> Callable[..., Tensor]:
    def batch(n: int, batched: Sequence[bool], *operands: Tensor) -> Tensor:
        return record(ROWS[name], all_batched(n, batched, *operands))

    return batch


def _solve_batch(name: str) -> Callable[..., Tensor]:
    def batch(
        n: int, batched: Sequence[bool], b: Tensor, a: Tensor, *factors: Tensor, **static: Any
    ) -> Tensor:
        matrices = [a, *factors]
        shared = a._spec.ndim - batched[1] == 2
        (b,) = all_batched(n, batched[:1], b)
        if any(batched[1:]) or not shared:
            matrices = all_batched(n, batched[1:], *matrices)
            inner = b._spec.shape[1:-2]
            if shared and inner:  # one matrix for each of the batch, met by several right-hand sides
                ones = (1,) * len(inner)
                spread = [(t, t._spec.shape[1:]) for t in matrices]
                matrices = [broadcasted(reshaped(t, (n, *ones, *s)), (n, *inner, *s)) for t, s in spread]
        return record(ROWS[name], (b, *matrices), static)

    return batch


# --- rows -----------------------------------------------------------------------------------------

SINGULAR = "singular matrix"

CHOLESKY = structured(
    "cholesky",
    lapack.cholesky,
    1,
    _factor_shape("cholesky"),
    rules=(lambda g, out, x: record(CHOLESKY_ADJOINT, (g, out)),),
    batch=_alone("cholesky"),
    refusal="the matrix is not positive definite",
    doc="The lower Cholesky factor of the last two axes, of which the lower triangle is read.",
)
CHOLESKY_ADJOINT: Row = structured(
    "cholesky_adjoint",
    lapack.cholesky_adjoint,
    2,
    _factor_shape("cholesky_adjoint", 2),
    rules=(_adjoint_rule_g, _adjoint_rule_factor),
    linear=(0,),
    batch=_alone("cholesky_adjoint"),
    refusal=SINGULAR,
    doc="The symmetric cotangent of a matrix, from that of its Cholesky factor and the factor.",
)
SOLVE_TRIANGULAR: Row = structured(
    "solve_triangular",
    lapack.solve,
    2,
    _triangular_shape,
    rules=(
        lambda g, out, b, a, lower, trans, unit_diagonal: _triangular(a, g, lower, not trans, unit_diagonal),
        _triangular_rule_a,
    ),
    in_place=True,
    linear=(0,),
    batch=_solve_batch("solve_triangular"),
    refusal=SINGULAR,
    doc="Right-hand sides (first operand) solved with a triangle of a matrix.",
)
LU = structured(
    "lu",
    lapack.lu,
    1,
    _lu_shape,
    batch=_alone("lu"),
    doc="LU factors with row exchanges behind them; no derivative.",
)
LU_SOLVE: Row = structured(
    "solve",
    lapack.lu_solve,
    3,
    _lu_solve_shape,
    rules=(
        lambda g, out, b, a, factors, trans: _lu_solved(a, factors, g, not trans),
        lambda g, out, b, a, factors, trans: _minus_outer(
            _lu_solved(a, factors, g, not trans), out, a, trans
        ),
        None,
    ),
    in_place=True,
    linear=(0,),
    batch=_solve_batch("solve"),
    refusal=SINGULAR,
    doc="Right-hand sides (first operand) solved with a matrix, by means of its factors.",
)
LOG_ABS_DET = structured(
    "log_abs_det",
    lapack.log_abs_det,
    2,
    _det_shape,
    rules=(_log_abs_det_rule, None),
    batch=_alone("log_abs_det"),
    refusal=SINGULAR,
    doc="Logarithm of the magnitude of the determinant of a matrix, by means of its factors.",
)
DET = structured(
    "det",
    lapack.det,
    2,
    _det_shape,
    rules=(_det_rule, None),
    batch=_alone("det"),
    refusal=SINGULAR,
    doc="Determinant of a matrix, by means of its factors.",
)
LU_SIGN = structured(
    "lu_sign",
    lapack.lu_sign,
    1,
    _lu_sign_shape,
    batch=_alone("lu_sign"),
    doc="Sign of the determinant, from factors.",
)

# --- arguments ------------------------------------------------------------------------------------


def _matrix(name: str, x: Any) -> Tensor:
    """A floating operand whose last two axes are square."""
    x = as_operand(x, name)
    if not x._spec.floating:
        x = cast(x, FLOAT64)
    _square(name, x._spec)
    return x


def _system(name: str, a: Any, b: Any) -> tuple[Tensor, Tensor, tuple[int, ...]]:
    """A matrix, right-hand sides as matrices with the same leading axes, and the result's shape."""
    a, b = _matrix(name, a), as_operand(b, name)
    dtype = result_dtype(a._spec.dtype, b._spec.dtype)
    a, b = cast(a, dtype), cast(b, dtype)
    n, shape = a._spec.shape[-1], b._spec.shape
    vector = len(shape) == 1
    if not shape or shape[-1 if vector else -2] != n:
        raise ValueError(f"{name}: a matrix of shape {a._spec.shape} and right-hand sides of shape {shape}")
    if vector:
        b = reshaped(b, (n, 1))
    batch = broadcast_shapes(name, a._spec.shape[:-2], b._spec.shape[:-2])
    out = (*batch, n) if vector else (*batch, n, shape[-1])
    if a._spec.ndim > 2:
        a = broadcasted(a, (*batch, n, n))
    return a, broadcasted(b, (*batch, n, b._spec.shape[-1])), out


def _adjusted(factor: float) -> Callable[..., tuple]:
    """Samples' matrices with a dominant diagonal."""

    def prepare(a: Any, *others: Any) -> tuple:
        return (a + np.eye(a.shape[-1], dtype=a.dtype) * a.dtype.type(factor), *others)

    return prepare


def _definite(a: Any, *others: Any) -> tuple:
    return (a @ a.swapaxes(-1, -2) + np.eye(a.shape[-1], dtype=a.dtype), *others)


def _each(function: Callable) -> Callable:
    """A reference for one system, over leading axes."""

    def reference(a: Any, b: Any, **kwargs: Any) -> Any:
        a, b = np.asarray(a), np.asarray(b)
        if b.ndim == 1:
            return np.stack([function(m, b, **kwargs) for m in a]) if a.ndim > 2 else function(a, b, **kwargs)
        batch = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
        a, b = np.broadcast_to(a, batch + a.shape[-2:]), np.broadcast_to(b, batch + b.shape[-2:])
        out = np.empty(b.shape, np.result_type(a, b, np.float32 if a.dtype.kind == "f" else np.float64))
        for i in np.ndindex(batch):
            out[i] = function(a[i], b[i], **kwargs)
        return out

    return reference


def _solve_triangular_reference(a: Any, b: Any, **kwargs: Any) -> Any:
    from scipy.linalg import solve_triangular

    return solve_triangular(a, b, **kwargs)


# --- public functions -----------------------------------------------------------------------------


def _cholesky_reference(x: Any, upper: bool = False) -> Any:
    factor = np.linalg.cholesky(x)
    return np.swapaxes(factor, -1, -2) if upper else factor


_cholesky_reference.stands_for = np.linalg.cholesky  # type: ignore[attr-defined]


@public(
    home="linalg",
    reference=_cholesky_reference,
    samples=[
        Sample(((3, 3),), prepare=_definite),
        Sample(((3, 3),), {"upper": True}, prepare=_definite),
        Sample(((2, 4, 4),), prepare=_definite),
        Sample(((19, 19),), prepare=_definite),
    ],
)
@composite
def cholesky(x: Any, /, *, upper: bool = False) -> Tensor:
    """The Cholesky factor of symmetric positive definite matrices.

    Parameters
    ----------
    x : array_like, shape (..., n, n)
        Only the lower triangle is read (with ``upper`` the upper one); the derivative is symmetric.
    upper : bool
        Return ``u`` with ``u' u = x`` instead of ``l`` with ``l l' = x``.

    Returns
    -------
    Tensor, shape (..., n, n), zero in the other triangle.

    Raises
    ------
    ValueError
        If the last two axes are not square.
    numpy.linalg.LinAlgError
        When the value is computed, if a matrix is not positive definite.

    Notes
    -----
    The derivative is computed block by block: Murray, "Differentiation of the Cholesky decomposition",
    arXiv:1602.07527 (2016).

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.linalg.cholesky(tg.tensor([[4.0, 2.0], [2.0, 5.0]])).tolist()
    [[2.0, 0.0], [1.0, 2.0]]
    """
    x = _matrix("cholesky", x)
    if upper:
        return record(CHOLESKY, (ns.matrix_transpose(x),)).mT
    return record(CHOLESKY, (x,))


TRANS = {0: False, 1: True, 2: True, "N": False, "T": True, "C": True}


@public(
    home="linalg",
    reference=_each(_solve_triangular_reference),
    samples=[
        Sample(((3, 3), (3, 2)), prepare=_adjusted(4.0)),
        Sample(((3, 3), (3,)), {"lower": True}, prepare=_adjusted(4.0)),
        Sample(((3, 3), (3, 2)), {"lower": True, "trans": 1}, prepare=_adjusted(4.0)),
        Sample(((3, 3), (3,)), {"trans": "T", "unit_diagonal": True}, prepare=_adjusted(4.0)),
        Sample(((3, 3), (2, 3, 2)), {"lower": True, "unit_diagonal": True}, prepare=_adjusted(4.0)),
        Sample(((2, 3, 3), (2, 3, 1)), {"lower": True}, prepare=_adjusted(4.0)),
        Sample(((2, 1, 3, 3), (2, 3, 2)), prepare=_adjusted(4.0)),
        Sample(((2, 3, 3), (3,)), prepare=_adjusted(4.0)),
    ],
)
@composite
def solve_triangular(
    a: Any, b: Any, /, trans: int | str = 0, lower: bool = False, unit_diagonal: bool = False
) -> Tensor:
    """Solve ``a x = b`` for triangular ``a``; arguments as in ``scipy.linalg.solve_triangular``.

    Parameters
    ----------
    a : array_like, shape (..., n, n)
        Only one triangle is read.
    b : array_like, shape (n,) or (..., n, m)
        Leading axes are broadcast.
    trans : {0, 1, "N", "T"}
        Solve with ``a`` or with its transpose.
    lower : bool
        Which triangle ``a`` is.
    unit_diagonal : bool
        Take the diagonal to be ones, without reading it.

    Returns
    -------
    Tensor, shape (..., n) or (..., n, m)

    Raises
    ------
    ValueError
        If the shapes do not fit.
    numpy.linalg.LinAlgError
        When the value is computed, if there is a zero on the diagonal.

    Examples
    --------
    >>> import tapegrad as tg
    >>> a = tg.tensor([[2.0, 0.0], [1.0, 4.0]])
    >>> tg.linalg.solve_triangular(a, [2.0, 9.0], lower=True)
    tensor([1., 2.])
    """
    if trans not in TRANS:
        raise ValueError(f"solve_triangular: trans must be 0, 1, 'N' or 'T', not {trans!r}")
    a, b, shape = _system("solve_triangular", a, b)
    return reshaped(_triangular(a, b, bool(lower), TRANS[trans], bool(unit_diagonal)), shape)


def _factors(a: Tensor) -> Tensor:
    return record(LU, (a,))


@public(
    home="linalg",
    reference=_each(np.linalg.solve),
    samples=[
        Sample(((3, 3), (3,)), prepare=_adjusted(9.0)),
        Sample(((3, 3), (3, 2)), prepare=_adjusted(9.0)),
        Sample(((2, 3, 3), (2, 3, 2)), prepare=_adjusted(9.0)),
        Sample(((3, 3), (2, 3, 2)), prepare=_adjusted(9.0)),
        Sample(((2, 3, 3), (3, 1)), prepare=_adjusted(9.0)),
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
    a, b, shape = _system("solve", a, b)
    return reshaped(_lu_solved(a, _factors(a), b), shape)


@public(
    home="linalg",
    reference=np.linalg.inv,
    samples=[Sample(((3, 3),), prepare=_adjusted(9.0)), Sample(((2, 2, 2),), prepare=_adjusted(9.0))],
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
    x = _matrix("inv", x)
    return _lu_solved(x, _factors(x), _identity(x))


class SlogdetResult(NamedTuple):
    """What `slogdet` returns."""

    sign: Tensor
    logabsdet: Tensor


@public(
    home="linalg",
    reference=np.linalg.slogdet,
    samples=[Sample(((3, 3),), prepare=_adjusted(9.0)), Sample(((2, 4, 4),), prepare=_adjusted(-9.0))],
)
@composite
def slogdet(x: Any, /) -> SlogdetResult:
    """The sign and the logarithm of the magnitude of determinants.

    Returns
    -------
    sign, logabsdet : Tensor, shape (...)
        0 and minus infinity for a singular matrix, at which there is no derivative: asking for it is a
        ``numpy.linalg.LinAlgError``.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.linalg.slogdet([[0.0, 1.0], [1.0, 0.0]])
    SlogdetResult(sign=tensor(-1.), logabsdet=tensor(0.))
    """
    x = _matrix("slogdet", x)
    factors = _factors(x)
    return SlogdetResult(record(LU_SIGN, (factors,)), record(LOG_ABS_DET, (x, factors)))


@public(
    home="linalg",
    reference=np.linalg.det,
    samples=[Sample(((3, 3),), prepare=_adjusted(9.0)), Sample(((2, 4, 4),), prepare=_adjusted(-4.0))],
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
    x = _matrix("det", x)
    return record(DET, (x, _factors(x)))


@public(home="linalg", differentiable=False)
@composite
def cho_solve(c_and_lower: tuple[Any, bool], b: Any, /) -> Tensor:
    """Solve ``a x = b`` given a Cholesky factor of ``a``, as ``scipy.linalg.cho_solve`` does.

    Parameters
    ----------
    c_and_lower : (array_like, bool)
        The factor, shape (..., n, n), and whether it is the lower one.
    b : array_like, shape (n,) or (..., n, m)

    Examples
    --------
    >>> import tapegrad as tg
    >>> factor = tg.linalg.cholesky([[4.0, 2.0], [2.0, 5.0]])
    >>> tg.linalg.cho_solve((factor, True), [8.0, 12.0])
    tensor([1., 2.])
    """
    c, lower = c_and_lower
    a, b, shape = _system("cho_solve", c, b)
    once = _triangular(a, b, bool(lower), not lower)
    return reshaped(_triangular(a, once, bool(lower), bool(lower)), shape)


# --- what falls out of other functions ------------------------------------------------------------


@public(
    home="linalg",
    reference=lambda x, offset=0: np.diagonal(x, offset, -2, -1),
    samples=[Sample(((3, 4),)), Sample(((2, 3, 3),), {"offset": -1})],
)
@composite
def diagonal(x: Any, /, *, offset: int = 0) -> Tensor:
    """A diagonal of the last two axes, as the last axis of the result; a view.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.linalg.diagonal(tg.tensor([[[1.0, 2.0], [3.0, 4.0]]])).tolist()
    [[1.0, 4.0]]
    """
    return ns.diagonal(x, offset, -2, -1)


@public(
    home="linalg",
    reference=lambda x, offset=0: np.trace(x, offset, -2, -1),
    samples=[Sample(((3, 4),)), Sample(((2, 3, 3),), {"offset": 1})],
)
@composite
def trace(x: Any, /, *, offset: int = 0) -> Tensor:
    """Sum of a diagonal of the last two axes.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.linalg.trace([[1.0, 2.0], [3.0, 4.0]])
    tensor(5.)
    """
    return ns.trace(x, offset, -2, -1)


@public(
    home="linalg",
    reference=lambda x, ord="fro", keepdims=False: np.linalg.norm(x, ord, (-2, -1), keepdims),
    samples=[
        Sample(((3, 4),)),
        Sample(((2, 3, 4),), {"ord": 1}),
        Sample(((2, 3, 4),), {"ord": -math.inf, "keepdims": True}),
        Sample(((3, 4),), {"ord": math.inf}),
        Sample(((3, 4),), {"ord": -1}),
    ],
)
@composite
def matrix_norm(x: Any, /, *, keepdims: bool = False, ord: float | str = "fro") -> Tensor:
    """The norm of matrices, the last two axes.

    Parameters
    ----------
    keepdims : bool
        Keep the two axes, with length one.
    ord : {"fro", 1, -1, inf, -inf}
        The root of the sum of squares; the greatest (least) sum of magnitudes of a column, of a row.

    Raises
    ------
    ValueError
        For norms that need singular values.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.linalg.matrix_norm([[3.0, 0.0], [0.0, 4.0]])
    tensor(5.)
    """
    x = as_operand(x, "matrix_norm")
    x = x if x._spec.floating else cast(x, FLOAT64)
    if x._spec.ndim < 2:
        raise ValueError(f"matrix_norm: at least two axes are needed, not shape {x._spec.shape}")
    if ord == "fro":
        return ns.vector_norm(x, axis=(-2, -1), keepdims=keepdims)
    if isinstance(ord, str) or abs(ord) not in (1, math.inf):
        raise ValueError(f"matrix_norm: ord={ord!r} is not supported")
    sums = ns.sum(ns.abs(x), axis=-2 if abs(ord) == 1 else -1, keepdims=True)
    out = (ns.max if ord > 0 else ns.min)(sums, axis=(-2, -1), keepdims=True)
    return out if keepdims else reshaped(out, x._spec.shape[:-2])
