"""Arrays put together from blocks and from cases; triangles' indices."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tapegrad.methods import as_dtype
from tapegrad.ops.movement import broadcasted, reshaped
from tapegrad.ops.record import NUMBERS, as_operand, cast, composite
from tapegrad.ops.table import Sample, ns, public
from tapegrad.spec import BOOL, INT64, broadcast_shapes, result_dtype
from tapegrad.tensor import Tensor, tensor_from_array

# --- blocks ---------------------------------------------------------------------------------------


def _depth(arrays: Any, level: int = 0) -> int:
    """How deeply lists are nested, if all of them are alike."""
    if isinstance(arrays, tuple):
        raise TypeError("block: only lists can be used to arrange blocks, and np.block does not allow tuples")
    if not isinstance(arrays, list):
        return level
    if not arrays:
        raise ValueError("block: lists of blocks must not be empty")
    depths = {_depth(a, level + 1) for a in arrays}
    if len(depths) > 1:
        raise ValueError(f"block: list depths are mismatched: {sorted(depths)}")
    return depths.pop()


def _leaves(arrays: Any) -> list[Any]:
    return [leaf for a in arrays for leaf in _leaves(a)] if isinstance(arrays, list) else [arrays]


def _join(arrays: Any, depth: int, ndim: int) -> Tensor:
    if isinstance(arrays, list):
        return ns.concat([_join(a, depth - 1, ndim) for a in arrays], axis=-depth)
    t = as_operand(arrays, "block")
    return reshaped(t, (1,) * (ndim - t._spec.ndim) + t._spec.shape)


def _four(xs: Sequence[Any]) -> list:
    return [[xs[0], xs[1]], [xs[2], xs[3]]]


@public(
    reference=np.block,
    samples=[
        Sample(((2, 3), (2, 1)), packed=True),
        Sample(((), (2,)), packed=True),
        Sample(((2, 2), (2, 1), (1, 2), (1, 1)), prepare=lambda *xs: (_four(xs),)),
        Sample(((3,), (2,)), prepare=lambda a, b: ([[a], [a]],)),
    ],
    method=False,
)
@composite
def block(arrays: Any) -> Tensor:
    """An array of blocks: the innermost lists are joined along the last axis, those around them before it.

    Parameters
    ----------
    arrays : array_like or nested lists of array_like
        Blocks with fewer axes than others get axes of length one in front.

    Raises
    ------
    ValueError
        If lists are empty or not nested alike, or blocks do not fit.
    TypeError
        If there are tuples among the lists.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.block([[tg.ones((1, 1)), tg.zeros((1, 2))], [tg.full((1, 3), 2.0)]]).tolist()
    [[1.0, 0.0, 0.0], [2.0, 2.0, 2.0]]
    """
    depth = _depth(arrays)
    ndim = max(depth, *[as_operand(leaf, "block")._spec.ndim for leaf in _leaves(arrays)])
    return _join(arrays, depth, ndim)


@public(
    reference=np.dstack,
    samples=[Sample(((3,), (3,)), packed=True), Sample(((2, 1), (2, 1, 3)), packed=True)],
    method=False,
)
@composite
def dstack(arrays: Sequence[Any], /) -> Tensor:
    """Join along the third axis, after giving arrays at least three.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.dstack([tg.zeros(3), tg.ones(3)]).shape
    (1, 3, 2)
    """
    return ns.concat([ns.atleast_3d(a) for a in arrays], axis=2)


# --- cases ----------------------------------------------------------------------------------------

FIRST, SECOND = np.array([True, False, False, True]), np.array([True, True, False, False])


@public(
    reference=np.select,
    samples=[
        Sample(((4,), (4,)), prefix=([FIRST, SECOND],), packed=True),
        Sample(((2, 1), ()), {"default": 3}, prefix=([FIRST, SECOND],), packed=True),
    ],
    method=False,
)
@composite
def select(condlist: Sequence[Any], choicelist: Sequence[Any], default: Any = 0) -> Tensor:
    """From each place, the element of the choice whose condition is the first that is true there.

    Parameters
    ----------
    condlist : sequence of array_like of bool
    choicelist : sequence of array_like
        As many.  All of them are broadcast against each other.
    default : array_like
        Taken where no condition is true.

    Raises
    ------
    ValueError
        If there are no conditions, or another number of choices.
    TypeError
        If a condition is not boolean.

    Examples
    --------
    >>> import tapegrad as tg
    >>> x = tg.tensor([0.0, 1.0, 2.0, 3.0])
    >>> tg.select([x < 1, x > 2], [-x, x**2], default=7.0)
    tensor([-0.,  7.,  7.,  9.])
    """
    if len(condlist) != len(choicelist):
        raise ValueError(
            f"select: list of cases must be same length as list of conditions: {len(choicelist)} choices for "
            f"{len(condlist)} conditions"
        )
    if not len(condlist):
        raise ValueError("select: with an empty condition list is not possible")
    conditions = [as_operand(c, "select") for c in condlist]
    for k, c in enumerate(conditions):
        if c._spec.dtype is not BOOL:
            raise TypeError(f"select: condition {k} must be boolean, not {c.dtype}")
    *values, default = everything = [
        v if v.__class__ in NUMBERS else as_operand(v, "select") for v in (*choicelist, default)
    ]
    dtype = result_dtype(*[v._spec.dtype if isinstance(v, Tensor) else v for v in everything])
    shapes = [t._spec.shape for t in (*conditions, *everything) if isinstance(t, Tensor)]
    out = broadcasted(_as(default, dtype), broadcast_shapes("select", *shapes))
    for condition, value in zip(reversed(conditions), reversed(values)):
        out = ns.where(condition, _as(value, dtype), out)
    return out


def _as(value: Any, dtype: np.dtype) -> Tensor:
    return cast(value, dtype) if isinstance(value, Tensor) else tensor_from_array(np.array(value, dtype))


def _cases(x: Any) -> tuple:
    return x, [x < -1, x > 1], [lambda v: -v, lambda v: v * v, 2]


@public(reference=np.piecewise, samples=[Sample(((5,),), prepare=_cases)], method=False)
@composite
def piecewise(x: Any, condlist: Any, funclist: Sequence[Any], *args: Any, **kw: Any) -> Tensor:
    """A function defined by cases.

    Parameters
    ----------
    x : array_like
    condlist : sequence of array_like of bool, or one
        Where each function counts; of several conditions that are true the last one does.
    funclist : sequence of callables and numbers
        One for each condition, and one more, if given, for where none is true (default 0).
    *args, **kw
        Passed on to the functions.

    Returns
    -------
    Tensor of ``x``'s shape and dtype, as NumPy's.

    Raises
    ------
    ValueError
        If the number of functions does not fit.

    Notes
    -----
    Functions are called with all of ``x``, where NumPy passes the elements that meet the condition, so they
    must work element by element.  What they do elsewhere matters neither for values nor for gradients.

    Examples
    --------
    >>> import tapegrad as tg
    >>> x = tg.tensor([-4.0, 4.0], requires_grad=True)
    >>> tg.piecewise(x, [x < 0, x >= 0], [lambda v: -v, tg.sqrt]).sum().backward()
    >>> x.grad
    tensor([-1.0000,  0.2500])
    """
    x = as_operand(x, "piecewise")
    single = not isinstance(condlist, (list, tuple)) or not len(condlist)
    single = single or (np.ndim(_shaped(condlist[0])) == 0 and x._spec.ndim != 0)
    conditions = [cast(as_operand(c, "piecewise"), BOOL) for c in ([condlist] if single else condlist)]
    n = len(conditions)
    if len(funclist) not in (n, n + 1):
        raise ValueError(
            f"piecewise: with {n} condition(s), {n} or {n + 1} functions are expected, not {len(funclist)}"
        )
    shape, dtype = x._spec.shape, x._spec.dtype
    pieces = list(funclist)
    other = pieces.pop() if len(funclist) == n + 1 else 0

    def value(piece: Callable | Any) -> Tensor:
        found = as_operand(piece(x, *args, **kw) if callable(piece) else piece, "piecewise")
        return broadcasted(cast(found, dtype), shape)

    out = value(other)
    for condition, piece in zip(conditions, pieces):
        out = ns.where(condition, value(piece), out)
    return out


def _shaped(value: Any) -> Any:
    return np.empty(value._spec.shape, bool) if isinstance(value, Tensor) else value


# --- classes --------------------------------------------------------------------------------------


@public(reference=None, samples=[], differentiable=False, method=False)
@composite
def one_hot(x: Any, num_classes: int = -1, *, dtype: Any = None) -> Tensor:
    """Ones at the numbered places of a new last axis, zeros elsewhere.

    Parameters
    ----------
    x : array_like of integers
    num_classes : int
        Length of the new axis; -1 for one more than the greatest number, which is looked at then.
    dtype : dtype, optional
        Default int64, as PyTorch's.

    Raises
    ------
    TypeError
        If ``x`` is not of integers.
    IndexError
        If a number that is known already is out of bounds.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.one_hot(tg.tensor([2, 0])).tolist()
    [[0, 0, 1], [1, 0, 0]]
    """
    x = as_operand(x, "one_hot")
    if x._spec.kind not in "iu":
        raise TypeError(f"one_hot: classes must be integers, not {x.dtype}")
    n = operator.index(num_classes)
    if n < 0:
        value = x.numpy()
        n = int(value.max()) + 1 if value.size else 0
    known = x._value
    if known is not None and known.size and not 0 <= known.min() <= known.max() < n:
        raise IndexError(f"one_hot: classes from {known.min()} to {known.max()} are out of bounds for {n}")
    hit = ns.equal(reshaped(x, (*x._spec.shape, 1)), tensor_from_array(np.arange(n)))
    return cast(hit, INT64 if dtype is None else as_dtype(dtype, "one_hot"))


@public(
    reference=lambda numbers, rows: rows[numbers],
    samples=[Sample(((4, 3),), prefix=(np.array([[0, 3], [1, 1]]),))],
    method=False,
)
def embedding(input: Any, weight: Any) -> Tensor:
    """PyTorch's ``embedding``: rows of ``weight``, by number.

    Parameters
    ----------
    input : array_like of integers
    weight : array_like, shape (rows, features)

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.embedding([1, 0], tg.tensor([[1.0, 2.0], [3.0, 4.0]])).tolist()
    [[3.0, 4.0], [1.0, 2.0]]
    """
    w = as_operand(weight, "embedding")
    if w._spec.ndim != 2:
        raise ValueError(f"embedding: weights must have two axes, not shape {w.shape}")
    return ns.take(w, input, axis=0)


# --- indices --------------------------------------------------------------------------------------


def _tensors(arrays: Sequence[np.ndarray]) -> tuple[Tensor, ...]:
    return tuple([tensor_from_array(a) for a in arrays])


@public(reference=np.tri, samples=[], differentiable=False, method=False)
def tri(N: int, M: int | None = None, k: int = 0, dtype: Any = None) -> Tensor:
    """Ones on and below diagonal ``k``, zeros above; shape ``(N, M)``.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.tri(2, 3).tolist()
    [[1.0, 0.0, 0.0], [1.0, 1.0, 0.0]]
    """
    return tensor_from_array(np.tri(N, M, k, dtype=as_dtype(np.float64 if dtype is None else dtype, "tri")))


@public(reference=np.tril_indices, samples=[], differentiable=False, method=False)
def tril_indices(n: int, k: int = 0, m: int | None = None) -> tuple[Tensor, Tensor]:
    """Rows and columns of the elements on and below diagonal ``k`` of an ``(n, m)`` matrix.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.tensor([[1.0, 2.0], [3.0, 4.0]])[tg.tril_indices(2)]
    tensor([1., 3., 4.])
    """
    return _tensors(np.tril_indices(n, k, m))  # type: ignore[return-value]


@public(reference=np.triu_indices, samples=[], differentiable=False, method=False)
def triu_indices(n: int, k: int = 0, m: int | None = None) -> tuple[Tensor, Tensor]:
    """Rows and columns of the elements on and above diagonal ``k`` of an ``(n, m)`` matrix.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.tensor([[1.0, 2.0], [3.0, 4.0]])[tg.triu_indices(2)]
    tensor([1., 2., 4.])
    """
    return _tensors(np.triu_indices(n, k, m))  # type: ignore[return-value]


@public(reference=np.diag_indices, samples=[], differentiable=False, method=False)
def diag_indices(n: int, ndim: int = 2) -> tuple[Tensor, ...]:
    """Indices of the main diagonal of an array that is ``n`` long along ``ndim`` axes.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.diag_indices(3)
    (tensor([0, 1, 2]), tensor([0, 1, 2]))
    """
    return _tensors(np.diag_indices(n, ndim))


@public(reference=np.indices, samples=[], differentiable=False, method=False)
def indices(dimensions: Sequence[int], dtype: Any = None, sparse: bool = False) -> Any:
    """The indices of a grid: along a new first axis, or, ``sparse``, as a tuple to be broadcast.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.indices((2, 2)).tolist()
    [[[0, 0], [1, 1]], [[0, 1], [0, 1]]]
    """
    found = np.indices(dimensions, as_dtype(np.int64 if dtype is None else dtype, "indices"), sparse)
    return _tensors(found) if sparse else tensor_from_array(found)
