"""Triangular systems."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from tapegrad.kernels.lapack import triangular as kernels
from tapegrad.ops.axes import size_of
from tapegrad.ops.contraction import matrix_product
from tapegrad.ops.linalg.arguments import SINGULAR, adjusted, each, shared_table, square, system
from tapegrad.ops.movement import all_batched, broadcasted, reshaped
from tapegrad.ops.record import composite, conjugated, record
from tapegrad.ops.table import ROWS, Out, Row, Sample, ns, public, structured
from tapegrad.spec import Spec
from tapegrad.tensor import Tensor

__all__ = ["SOLVE_TRIANGULAR", "minus_outer", "solve_batch", "solve_sizes", "triangular"]


def solve_sizes(name: str, b: Spec, a: Spec, rows: int) -> tuple[int, ...]:
    """``n, m, 1, batch, step of a, itemsize``; matrices of ``rows`` rows belong to a."""
    n = square(name, a)
    if b.dtype is not a.dtype:
        raise TypeError(f"{name}: operands of dtypes {a.dtype} and {b.dtype}")
    if b.ndim < 2 or b.shape[-2] != n or (a.ndim > 2 and a.shape[:-2] != b.shape[:-2]):
        raise ValueError(f"{name}: a matrix of shape {a.shape} and right-hand sides of shape {b.shape}")
    if b.shape[-1] >= 2**31:
        raise ValueError(f"{name}: shape {b.shape} is too large for LAPACK")
    step = rows * n if a.ndim > 2 else 0
    return n, b.shape[-1], 1, size_of(b.shape[:-2]), step, b.dtype.itemsize


def _triangular_shape(b: Spec, a: Spec, lower: bool, trans: bool, unit_diagonal: bool) -> Out:
    sizes = solve_sizes("solve_triangular", b, a, a.shape[-1] if a.ndim else 0)
    return Out(b.shape, b.dtype, (*shared_table(b.dtype), *sizes, lower, trans, unit_diagonal))


def triangular(a: Tensor, b: Tensor, lower: bool, trans: bool = False, unit: bool = False) -> Tensor:
    return record(SOLVE_TRIANGULAR, (b, a), {"lower": lower, "trans": trans, "unit_diagonal": unit})


def minus_outer(gb: Tensor, out: Tensor, a: Tensor, trans: bool) -> Tensor:
    """``-gb out'``, or its transpose: what a solve sends to its matrix, which a batch may share."""
    shared = a._spec.ndim == 2 and out._spec.ndim > 2
    x, y = (out, gb) if trans else (gb, out)
    return matrix_product(ns.negative(x), y, False, True, shared)


def _triangular_rule_a(
    g: Tensor, out: Tensor, b: Tensor, a: Tensor, lower: bool, trans: bool, unit_diagonal: bool
) -> Tensor:
    gb = triangular(a, g, lower, not trans, unit_diagonal)
    whole = minus_outer(gb, out, a, trans)
    k = 1 if unit_diagonal else 0
    return ns.tril(whole, -k) if lower else ns.triu(whole, k)


def solve_batch(name: str) -> Callable[..., Tensor]:
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


SOLVE_TRIANGULAR: Row = structured(
    "solve_triangular",
    kernels.solve,
    2,
    _triangular_shape,
    rules=(
        lambda g, out, b, a, lower, trans, unit_diagonal: triangular(a, g, lower, not trans, unit_diagonal),
        _triangular_rule_a,
    ),
    in_place=True,
    complex=True,
    linear=(0,),
    batch=solve_batch("solve_triangular"),
    refusal=SINGULAR,
    doc="Right-hand sides (first operand) solved with a triangle of a matrix.",
)


def _solve_triangular_reference(a: Any, b: Any, **kwargs: Any) -> Any:
    from scipy.linalg import solve_triangular

    return solve_triangular(a, b, **kwargs)


TRANS = {0: False, 1: True, 2: True, "N": False, "T": True, "C": True}


@public(
    home="linalg",
    reference=each(_solve_triangular_reference),
    samples=[
        Sample(((3, 3), (3, 2)), prepare=adjusted(4.0)),
        Sample(((3, 3), (3,)), {"lower": True}, prepare=adjusted(4.0)),
        Sample(((3, 3), (3, 2)), {"lower": True, "trans": 1}, prepare=adjusted(4.0)),
        Sample(((3, 3), (3,)), {"trans": "T", "unit_diagonal": True}, prepare=adjusted(4.0)),
        Sample(((3, 3), (3,)), {"trans": "C"}, prepare=adjusted(4.0)),
        Sample(((3, 3), (2, 3, 2)), {"lower": True, "unit_diagonal": True}, prepare=adjusted(4.0)),
        Sample(((2, 3, 3), (2, 3, 1)), {"lower": True}, prepare=adjusted(4.0)),
        Sample(((2, 1, 3, 3), (2, 3, 2)), prepare=adjusted(4.0)),
        Sample(((2, 3, 3), (3,)), prepare=adjusted(4.0)),
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
    trans : {0, 1, 2, "N", "T", "C"}
        Solve with ``a``, with its transpose, or with its conjugate transpose.
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
        raise ValueError(f"solve_triangular: trans must be 0, 1, 2, 'N', 'T' or 'C', not {trans!r}")
    a, b, shape = system("solve_triangular", a, b)
    if trans in (2, "C"):
        a = conjugated(a)
    return reshaped(triangular(a, b, bool(lower), TRANS[trans], bool(unit_diagonal)), shape)
