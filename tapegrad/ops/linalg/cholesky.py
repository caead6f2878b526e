"""Cholesky's factor, its adjoint, and systems solved with it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from tapegrad.kernels.lapack import cholesky as kernels
from tapegrad.ops.axes import size_of
from tapegrad.ops.contraction import matrix_product
from tapegrad.ops.linalg.arguments import (
    SINGULAR,
    adjusted,
    alone,
    definite,
    each,
    matrix,
    shared_table,
    square,
    system,
    turned,
)
from tapegrad.ops.linalg.triangular import triangular
from tapegrad.ops.movement import reshaped
from tapegrad.ops.record import composite, conjugated, record
from tapegrad.ops.table import Out, Row, Sample, ns, public, structured
from tapegrad.spec import Spec
from tapegrad.tensor import Tensor

__all__ = ["CHOLESKY", "CHOLESKY_ADJOINT"]


def _factor_shape(name: str, operands: int = 1) -> Callable[..., Out]:
    def shape(*specs: Spec) -> Out:
        a = specs[0]
        n = square(name, a)
        if operands == 2 and specs[1] is not a:
            raise ValueError(f"{name}: shapes {specs[0].shape} and {specs[1].shape} differ")
        return Out(a.shape, a.dtype, (*shared_table(a.dtype), n, size_of(a.shape[:-2]), a.dtype.itemsize))

    return shape


def _halved(x: Tensor) -> Tensor:
    """The lower triangle with half of the diagonal."""
    return (ns.tril(x) + ns.tril(x, -1)) * 0.5


def _between(g: Tensor, factor: Tensor) -> tuple[Tensor, Tensor]:
    """``l^-1 g`` for the symmetric part of ``g``, and ``l^-1 g l^-T``."""
    left = triangular(factor, (g + g.mT) * 0.5, True)
    return left, triangular(factor, left.mT, True)


def _adjoint_rule_g(g: Tensor, out: Tensor, x: Tensor, factor: Tensor) -> Tensor:
    # The adjoint's adjoint is the derivative itself: l phi(l^-1 da l^-T), Murray (2016), equation 8.
    return ns.tril(matrix_product(factor, _halved(_between(g, factor)[1])))


def _adjoint_rule_factor(g: Tensor, out: Tensor, x: Tensor, factor: Tensor) -> Tensor:
    # out = sym(l^-T phi(l' x) l^-1): once through each of the three factors that l is in
    left, middle = _between(g, factor)
    inner = matrix_product(ns.tril(x), _halved(middle), False, True)
    return ns.tril(inner - 2.0 * matrix_product(out, left, False, True))


def _cholesky_rule(g: Tensor, out: Tensor, x: Tensor) -> Tensor:
    if x._spec.kind != "c":
        return record(CHOLESKY_ADJOINT, (g, out))
    # l^-H phi(l^H gl) l^-1, made Hermitian; with conjugates, as g is that of a gradient
    other = conjugated(out)
    product = matrix_product(other, conjugated(g), True)
    lower = ns.tril(product, -1)
    half = lower + (ns.tril(ns.real(product)) - ns.tril(ns.real(product), -1)) * 0.5
    middle = triangular(other, half + turned(half), True, True)
    whole = triangular(other, turned(middle), True, True)
    return conjugated(whole * 0.5)


CHOLESKY = structured(
    "cholesky",
    kernels.cholesky,
    1,
    _factor_shape("cholesky"),
    rules=(_cholesky_rule,),
    complex=True,
    batch=alone("cholesky"),
    refusal="the matrix is not positive definite",
    doc="The lower Cholesky factor of the last two axes, of which the lower triangle is read.",
)
CHOLESKY_ADJOINT: Row = structured(
    "cholesky_adjoint",
    kernels.cholesky_adjoint,
    2,
    _factor_shape("cholesky_adjoint", 2),
    rules=(_adjoint_rule_g, _adjoint_rule_factor),
    linear=(0,),
    batch=alone("cholesky_adjoint"),
    refusal=SINGULAR,
    doc="The symmetric cotangent of a matrix, from that of its Cholesky factor and the factor.",
)


def _cholesky_reference(x: Any, upper: bool = False) -> Any:
    factor = np.linalg.cholesky(x)
    return np.conj(np.swapaxes(factor, -1, -2)) if upper else factor


_cholesky_reference.stands_for = np.linalg.cholesky  # type: ignore[attr-defined]


@public(
    home="linalg",
    reference=_cholesky_reference,
    samples=[
        Sample(((3, 3),), prepare=definite),
        Sample(((3, 3),), {"upper": True}, prepare=definite),
        Sample(((2, 4, 4),), prepare=definite),
        Sample(((19, 19),), prepare=definite),
    ],
)
@composite
def cholesky(x: Any, /, *, upper: bool = False) -> Tensor:
    """The Cholesky factor of symmetric (Hermitian) positive definite matrices.

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
    x = matrix("cholesky", x)
    if upper:
        return turned(record(CHOLESKY, (turned(x),)))
    return record(CHOLESKY, (x,))


class CholeskyFactor(NamedTuple):
    """What `cho_factor` returns."""

    c: Tensor
    lower: bool


@public(home="linalg", differentiable=False)
@composite
def cho_factor(a: Any, /, lower: bool = False) -> CholeskyFactor:
    """Cholesky's factor in the form that `cho_solve` takes, as ``scipy.linalg.cho_factor`` gives it.

    Parameters
    ----------
    a : array_like, shape (..., n, n)
        Symmetric positive definite; only the triangle that ``lower`` names is read.
    lower : bool
        Return the lower factor instead of the upper one.

    Returns
    -------
    c : Tensor, shape (..., n, n)
        Differentiable; zero in the other triangle, where SciPy leaves anything.
    lower : bool

    Examples
    --------
    >>> import tapegrad as tg
    >>> factor = tg.linalg.cho_factor([[4.0, 2.0], [2.0, 5.0]])
    >>> tg.linalg.cho_solve(factor, [8.0, 12.0])
    tensor([1., 2.])
    """
    return CholeskyFactor(cholesky(a, upper=not lower), bool(lower))


def _pair(c: Any, b: Any) -> tuple:
    """A sample's factor with a dominant diagonal."""
    return (adjusted(4.0)(c)[0], True), b


def _cho_solve_reference(c_and_lower: Any, b: Any) -> Any:
    from scipy.linalg import cho_solve

    c, lower = c_and_lower
    return each(lambda c, b: cho_solve((c, lower), b))(c, b)


@public(
    home="linalg",
    reference=_cho_solve_reference,
    samples=[
        Sample(((3, 3), (3,)), prepare=_pair),
        Sample(((3, 3), (2, 3, 2)), prepare=_pair),
        Sample(((2, 3, 3), (3, 1)), prepare=_pair),
    ],
)
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
    a, b, shape = system("cho_solve", c, b)
    other = conjugated(a)
    if lower:
        out = triangular(other, triangular(a, b, True), True, True)
    else:
        out = triangular(a, triangular(other, b, False, True), False)
    return reshaped(out, shape)
