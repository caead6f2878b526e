"""Diagonals, traces, powers, and products of several matrices."""

from __future__ import annotations

import itertools
import operator
from collections.abc import Sequence
from typing import Any

import numpy as np

from tapegrad.ops.axes import axis_index, contiguous, size_of
from tapegrad.ops.linalg.arguments import adjusted
from tapegrad.ops.linalg.solve import inv, solve
from tapegrad.ops.movement import RESHAPE, broadcasted, narrow, permuted, reshaped
from tapegrad.ops.record import as_operand, cast, composite, record_layout
from tapegrad.ops.table import Sample, ns, public, section
from tapegrad.spec import broadcast_shapes, result_dtype
from tapegrad.tensor import Tensor, tensor_from_array

__all__ = ["cross", "diagonal", "matrix_power", "multi_dot", "tensorinv", "tensorsolve", "trace"]

section("products of matrices and vectors")


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
    reference=lambda x, offset=0, dtype=None: np.trace(x, offset, -2, -1, dtype),
    samples=[
        Sample(((3, 4),)),
        Sample(((2, 3, 3),), {"offset": 1}),
        Sample(((2, 2),), {"dtype": "int64"}, dtype="int32"),
    ],
)
@composite
def trace(x: Any, /, *, offset: int = 0, dtype: Any = None) -> Tensor:
    """Sum of a diagonal of the last two axes.

    Parameters
    ----------
    x : array_like, shape (..., m, n)
    offset : int
        0 is the main diagonal, positive ones lie above it.
    dtype : dtype, optional
        To add up in.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.linalg.trace([[1.0, 2.0], [3.0, 4.0]])
    tensor(5.)
    """
    if dtype is not None:
        x = ns.astype(x, dtype)
    return ns.trace(x, offset, -2, -1)


@public(
    reference=np.linalg.cross if hasattr(np.linalg, "cross") else None,
    samples=[
        Sample(((3,), (3,))),
        Sample(((2, 3), (3,))),
        Sample(((3, 2), (3, 1)), {"axis": 0}),
    ],
    also=("linalg",),
)
@composite
def cross(x: Any, y: Any, /, *, axis: int = -1) -> Tensor:
    """The cross product of vectors of three elements along an axis; other axes are broadcast.

    Raises
    ------
    ValueError
        If there are not three elements along the axis (NumPy's cross products of two are deprecated).

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.cross(tg.tensor([1.0, 0.0, 0.0]), tg.tensor([0.0, 1.0, 0.0]))
    tensor([0., 0., 1.])
    """
    x, y = as_operand(x, "cross"), as_operand(y, "cross")
    dtype = result_dtype(x._spec.dtype, y._spec.dtype)
    shape = broadcast_shapes("cross", x._spec.shape, y._spec.shape)
    k = axis_index("cross", axis, len(shape))
    axes = [k - len(shape) + t._spec.ndim for t in (x, y)]
    if min(axes) < 0 or any(t._spec.shape[a] != 3 for t, a in zip((x, y), axes)):
        raise ValueError(
            f"cross: shapes {x.shape} and {y.shape} do not have three elements each along axis {axis}"
        )
    x, y = cast(x, dtype), cast(y, dtype)

    def turned(t: Tensor, a: int, by: int) -> Tensor:
        parts = [narrow(t, a, by, 3 - by), narrow(t, a, 0, by)]
        return ns.concatenate(parts, axis=a)

    a, b = axes
    return turned(x, a, 1) * turned(y, b, 2) - turned(x, a, 2) * turned(y, b, 1)


@public(
    home="linalg",
    reference=np.linalg.matrix_power,
    samples=[
        Sample(((3, 3),), args=(0,), differentiable=False),
        Sample(((3, 3),), args=(1,)),
        Sample(((3, 3),), args=(5,)),
        Sample(((2, 2, 2),), args=(3,)),
        Sample(((2, 2),), args=(-2,), prepare=adjusted(9.0)),
        Sample(((2, 2),), args=(3,), dtype="int64"),
    ],
)
@composite
def matrix_power(x: Any, n: int, /) -> Tensor:
    """A power of square matrices, by repeated squaring; negative powers by way of the inverse.

    Parameters
    ----------
    x : array_like, shape (..., n, n)
    n : int

    Raises
    ------
    ValueError
        If the last two axes are not square.
    TypeError
        If ``n`` is not an integer.
    numpy.linalg.LinAlgError
        When the value is computed, if ``n`` is negative and a matrix is singular.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.linalg.matrix_power(tg.tensor([[1.0, 1.0], [0.0, 1.0]]), 5).tolist()
    [[1.0, 5.0], [0.0, 1.0]]
    """
    try:
        n = operator.index(n)
    except TypeError:
        raise TypeError(f"matrix_power: the exponent must be an integer, not {type(n).__name__}") from None
    x = as_operand(x, "matrix_power")
    shape = x._spec.shape
    if len(shape) < 2 or shape[-1] != shape[-2]:
        raise ValueError(f"matrix_power: the last two axes must be square, not of shape {shape}")
    if n < 0:
        x, n = inv(x), -n
    if n == 0:
        return broadcasted(tensor_from_array(np.eye(shape[-1], dtype=x._spec.dtype)), shape)
    out = None
    while n:
        if n & 1:
            out = x if out is None else ns.matmul(out, x)
        n >>= 1
        x = ns.matmul(x, x) if n else x
    return record_layout(RESHAPE, out, shape, contiguous(shape), 0)  # type: ignore[arg-type]


@public(
    home="linalg",
    reference=np.linalg.multi_dot,
    samples=[
        Sample(((2, 3), (3, 4)), packed=True),
        Sample(((2, 3), (3, 4), (4, 1)), packed=True),
        Sample(((3,), (3, 4), (4, 2), (2,)), packed=True),
        Sample(((2, 5), (5, 1), (1, 4), (4, 2), (2, 3)), packed=True),
    ],
)
@composite
def multi_dot(arrays: Sequence[Any], /) -> Tensor:
    """The product of several matrices, in the order that needs the fewest multiplications.

    Parameters
    ----------
    arrays : sequence of array_like
        Matrices; the first and the last may be vectors, a row and a column.

    Raises
    ------
    ValueError
        If there are fewer than two, or shapes do not fit.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.linalg.multi_dot([tg.ones((10, 2)), tg.ones((2, 20)), tg.ones(20)]).shape
    (10,)
    """
    factors = [as_operand(a, "multi_dot") for a in arrays]
    if len(factors) < 2:
        raise ValueError(f"multi_dot: at least two operands are needed, not {len(factors)}")
    shapes = [t._spec.shape for t in factors]
    row, column = len(shapes[0]) == 1, len(shapes[-1]) == 1
    if row:
        factors[0] = reshaped(factors[0], (1, *shapes[0]))
    if column:
        factors[-1] = reshaped(factors[-1], (*shapes[-1], 1))
    sizes = [t._spec.shape for t in factors]
    if any(len(s) != 2 for s in sizes) or any(a[1] != b[0] for a, b in itertools.pairwise(sizes)):
        raise ValueError(f"multi_dot: shapes {', '.join(map(str, shapes))} do not fit")
    lengths = [sizes[0][0], *[s[1] for s in sizes]]
    cuts = _cuts(lengths)

    def product(i: int, j: int) -> Tensor:
        return factors[i] if i == j else ns.matmul(product(i, cuts[i, j]), product(cuts[i, j] + 1, j))

    out = product(0, len(factors) - 1)
    return reshaped(out, (*lengths[:1][row:], *lengths[-1:][column:]))


def _cuts(lengths: list[int]) -> dict[tuple[int, int], int]:
    """Where to cut the chain from matrix ``i`` to ``j`` (Cormen et al., section 15.2)."""
    n = len(lengths) - 1
    cost = {(i, i): 0 for i in range(n)}
    cuts = {}
    for span in range(1, n):
        for i in range(n - span):
            j = i + span
            cost[i, j], cuts[i, j] = min(
                (cost[i, k] + cost[k + 1, j] + lengths[i] * lengths[k + 1] * lengths[j + 1], k)
                for k in range(i, j)
            )
    return cuts


@public(
    home="linalg",
    reference=np.linalg.tensorsolve,
    samples=[
        Sample(((2, 3, 6), (2, 3))),
        Sample(((2, 6, 3), (2, 3)), {"axes": (1,)}),
    ],
)
@composite
def tensorsolve(a: Any, b: Any, /, axes: Any = None) -> Tensor:
    """Solve ``tensordot(a, x, x.ndim) = b``.

    Parameters
    ----------
    a : array_like, shape b.shape + Q, with as many elements in ``Q`` as in ``b``
    b : array_like
    axes : tuple of int, optional
        Axes of ``a`` that are moved to the end first.

    Returns
    -------
    Tensor, shape Q

    Raises
    ------
    ValueError
        If the shapes do not fit.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.linalg.tensorsolve(2.0 * tg.eye(4).reshape(2, 2, 4), tg.ones((2, 2)))
    tensor([0.5000, 0.5000, 0.5000, 0.5000])
    """
    a, b = as_operand(a, "tensorsolve"), as_operand(b, "tensorsolve")
    ndim = a._spec.ndim
    if axes is not None:
        moved = [axis_index("tensorsolve", k, ndim) for k in axes]
        a = permuted(a, tuple([k for k in range(ndim) if k not in moved] + moved))
    shape = a._spec.shape[b._spec.ndim :]
    n = size_of(shape)
    if a._spec.size != n * n or b._spec.size != n:
        raise ValueError(f"tensorsolve: shapes {a.shape} and {b.shape} do not make a square system")
    return reshaped(solve(reshaped(a, (n, n)), reshaped(b, (n,))), shape)


@public(
    home="linalg",
    reference=np.linalg.tensorinv,
    samples=[Sample(((4, 2, 2),), {"ind": 1}), Sample(((2, 3, 6),))],
)
@composite
def tensorinv(a: Any, /, ind: int = 2) -> Tensor:
    """The inverse with respect to ``tensordot(a, x, ind)``.

    Parameters
    ----------
    a : array_like
        With as many elements in the first ``ind`` axes as in the others.
    ind : int

    Raises
    ------
    ValueError
        If ``ind`` is not positive, or the shape is not square in that sense.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.linalg.tensorinv(tg.eye(4).reshape(4, 2, 2), ind=1).shape
    (2, 2, 4)
    """
    a = as_operand(a, "tensorinv")
    shape = a._spec.shape
    if ind <= 0:
        raise ValueError(f"tensorinv: ind must be positive, not {ind}")
    n = size_of(shape[ind:])
    if size_of(shape[:ind]) != n:
        raise ValueError(f"tensorinv: shape {shape} is not square, cut after {ind} axes")
    return reshaped(inv(reshaped(a, (n, n))), shape[ind:] + shape[:ind])
