"""Products of matrices and vectors: ``matmul``, ``tensordot`` and their relatives.

The two rows take transpose flags, so derivatives never copy a transposed matrix:

    out = X @ Y;  dX = g @ Y.T,  dY = X.T @ g        (Giles 2008, section 2.2.2)

``reduce`` adds the products of a batch up: the derivative for an operand that the batch shares.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from tapegrad.kernels import blas
from tapegrad.ops.axes import also_named, axes_tuple, axis_index, size_of
from tapegrad.ops.blas import bits_of, capsule_address
from tapegrad.ops.movement import broadcasted, permuted, reshaped
from tapegrad.ops.record import as_operand, cast, composite, conjugated, record
from tapegrad.ops.table import Out, Sample, ns, public, structured
from tapegrad.spec import (
    BOOL,
    COMPLEX64,
    COMPLEX128,
    FLOAT32,
    FLOAT64,
    INT64,
    Spec,
    broadcast_shapes,
    real_dtype,
    result_dtype,
)
from tapegrad.tensor import Tensor

__all__ = ["matmul", "matrix_product"]


def _target(dtype: np.dtype, routine: str) -> int:
    letter = {FLOAT64: "d", FLOAT32: "s", COMPLEX128: "z", COMPLEX64: "c"}.get(dtype)
    return 0 if letter is None else capsule_address("cython_blas", letter + routine)


@functools.cache
def _most() -> int:
    """Multiplications up to which our own tiles are tried: above, a library would use many threads."""
    threads = os.environ.get("OPENBLAS_NUM_THREADS") or os.environ.get("OMP_NUM_THREADS") or ""
    count = int(threads) if threads.isdecimal() else os.cpu_count() or 1
    return 1 << 62 if count <= 2 else 1 << 22


LETTERS = ord("N"), ord("T")
INT32_MAX = 2**31 - 1


def _matmul_shape(x: Spec, y: Spec, tx: bool, ty: bool, reduce: bool) -> Out:
    m, k = x.shape[-2:][::-1] if tx else x.shape[-2:]
    k2, n = y.shape[-2:][::-1] if ty else y.shape[-2:]
    if k != k2:
        raise ValueError(
            f"matmul: mismatch in the contracted dimension, shapes {x.shape} and {y.shape}: {k} and {k2}"
        )
    batch_shape = x.shape[:-2] or y.shape[:-2]
    batch = size_of(batch_shape)
    step_x = size_of(x.shape[-2:]) if x.ndim > 2 else 0
    step_y = size_of(y.shape[-2:]) if y.ndim > 2 else 0
    out = (m, n) if reduce else (*batch_shape, m, n)
    size_out = size_of(out)
    dtype = x.dtype
    step_out = 0 if reduce else m * n
    if step_x and not step_y and not tx and not reduce:
        m, batch = m * batch, 1  # rows of all matrices meet the same y: one product
    elif reduce and tx and not ty and step_x and step_y:
        k, batch = k * batch, 1  # the sum over the batch is a longer inner sum
    if max(m, n, k) > INT32_MAX:
        raise ValueError(f"matmul: shapes {x.shape} and {y.shape} are too large for BLAS")
    ld_x, ld_y = (m if tx else k), (k if ty else n)
    one = bits_of(1.0, real_dtype(dtype))
    params: tuple[int, ...] = (
        _target(dtype, "gemm"), LETTERS[ty], LETTERS[tx], n, m, k, one, max(ld_y, 1), max(ld_x, 1), 0, one,
        batch, step_x, step_y, step_out, tx, ty, x.size, y.size, size_out, dtype.itemsize,
        _most(), 0,
    )  # fmt: skip
    if dtype.kind == "c":
        params += (one, 0, 0, 0)  # 1 and 0 as complex numbers, which may be two words each
    return Out(out, dtype, params)


def _matmul_add_shape(base: Spec, x: Spec, y: Spec, tx: bool, ty: bool, reduce: bool) -> Out:
    out = _matmul_shape(x, y, tx, ty, reduce)
    if base.shape != out.shape or base.dtype is not out.dtype or not base.floating:
        raise ValueError(f"matmul_add: a product of shape {out.shape} cannot be added to {base!r} in place")
    return out._replace(params=(*out.params[:-1], 1))


def _matvec_shape(x: Spec, v: Spec, tx: bool) -> Out:
    m, k = x.shape[-2:][::-1] if tx else x.shape[-2:]
    if v.shape != (k,):
        raise ValueError(f"matmul: mismatch in the contracted dimension, shapes {x.shape} and {v.shape}")
    dtype = x.dtype
    out = (*x.shape[:-2], m)
    batch, size_out = size_of(x.shape[:-2]), size_of(out)
    if not tx:
        m, batch = m * batch, 1
    rows, columns = (m, k) if tx else (k, m)  # of the column-major matrix that lies in memory
    if max(m, k) > INT32_MAX:
        raise ValueError(f"matmul: shape {x.shape} is too large for BLAS")
    target = 0 if dtype.kind == "c" else _target(dtype, "gemv")
    params = (
        target, LETTERS[not tx], rows, columns, bits_of(1.0, real_dtype(dtype)), max(rows, 1), 1, 0,
        batch, m * k, 0, m, tx, m, k, x.size, v.size, size_out, dtype.itemsize,
    )  # fmt: skip
    return Out(out, dtype, params)


def matrix_product(x: Tensor, y: Tensor, tx: bool = False, ty: bool = False, reduce: bool = False) -> Tensor:
    return record(MATMUL, (x, y), {"tx": tx, "ty": ty, "reduce": reduce})


def _mv(x: Tensor, v: Tensor, tx: bool = False) -> Tensor:
    return record(MATVEC, (x, v), {"tx": tx})


def _matmul_rule_x(g: Tensor, out: Tensor, x: Tensor, y: Tensor, tx: bool, ty: bool, reduce: bool) -> Tensor:
    shared = x._spec.ndim == 2 and max(g._spec.ndim, y._spec.ndim) > 2
    return matrix_product(y, g, ty, True, shared) if tx else matrix_product(g, y, False, not ty, shared)


def _matmul_rule_y(g: Tensor, out: Tensor, x: Tensor, y: Tensor, tx: bool, ty: bool, reduce: bool) -> Tensor:
    shared = y._spec.ndim == 2 and max(g._spec.ndim, x._spec.ndim) > 2
    return matrix_product(g, x, True, tx, shared) if ty else matrix_product(x, g, not tx, False, shared)


def _matvec_rule_x(g: Tensor, out: Tensor, x: Tensor, y: Tensor, tx: bool) -> Tensor:
    shape = g._spec.shape
    if tx:
        return reshaped(y, (y._spec.size, 1)) * reshaped(g, (*shape[:-1], 1, shape[-1]))
    return reshaped(g, (*shape, 1)) * y


def _matvec_rule_v(g: Tensor, out: Tensor, x: Tensor, y: Tensor, tx: bool) -> Tensor:
    k = y._spec.size
    if x._spec.ndim == 2:
        return _mv(x, g, not tx)
    if not tx:
        rows = g._spec.size
        return _mv(reshaped(x, (rows, k)), reshaped(g, (rows,)), True)
    wide = x * reshaped(g, (*g._spec.shape[:-1], 1, g._spec.shape[-1]))
    axes = tuple([a for a in range(x._spec.ndim) if a != x._spec.ndim - 2])
    return ns.sum(wide, axis=axes)


def _matmul_batch(
    n: int, batched: Sequence[bool], x: Tensor, y: Tensor, tx: bool, ty: bool, reduce: bool
) -> Tensor:
    ndim = [t._spec.ndim - b for t, b in zip((x, y), batched)]
    inner = x._spec.shape[batched[0] : -2] if ndim[0] > 2 else y._spec.shape[batched[1] : -2]
    both = []
    for t, b, d in zip((x, y), batched, ndim):
        if d == 2 and not b and not reduce:  # meets every matrix of the other operand
            both.append(t)
            continue
        shape = t._spec.shape
        if d == 2 and inner:
            t = reshaped(t, (*shape[:-2], *[1] * len(inner), *shape[-2:]))
        both.append(broadcasted(t, (n, *inner, *shape[-2:])))
    out = matrix_product(both[0], both[1], tx, ty)
    return ns.sum(out, axis=tuple(range(1, 1 + len(inner)))) if reduce else out


def _matvec_batch(n: int, batched: Sequence[bool], x: Tensor, v: Tensor, tx: bool) -> Tensor:
    if not batched[1]:
        return _mv(x, v, tx)
    inner = x._spec.shape[batched[0] : -2]
    if not batched[0] and not inner:
        return matrix_product(v, x, False, not tx)
    column = reshaped(v, (n, *[1] * len(inner), v._spec.shape[1], 1))
    column = broadcasted(column, (n, *inner, v._spec.shape[1], 1))
    out = matrix_product(broadcasted(x, (n, *inner, *x._spec.shape[-2:])), column, tx)
    return reshaped(out, out._spec.shape[:-1])


MATMUL = structured(
    "matmul",
    blas.matmul,
    2,
    _matmul_shape,
    rules=(_matmul_rule_x, _matmul_rule_y),
    linear=(0, 1),
    accumulates=True,
    batch=_matmul_batch,
    complex=True,
    doc="Matrix products of the last two axes, operands optionally transposed.",
)
MATMUL_ADD = structured(  # what a pass makes of ``base + x @ y``
    "matmul_add",
    blas.matmul,
    3,
    _matmul_add_shape,
    rules=(
        lambda g, out, base, x, y, tx, ty, reduce: g,
        lambda g, out, base, x, y, tx, ty, reduce: _matmul_rule_x(g, out, x, y, tx, ty, reduce),
        lambda g, out, base, x, y, tx, ty, reduce: _matmul_rule_y(g, out, x, y, tx, ty, reduce),
    ),
    in_place=True,
    doc="The first operand with the matrix products of the other two added.",
)
MATVEC = structured(
    "matvec",
    blas.matvec,
    2,
    _matvec_shape,
    rules=(_matvec_rule_x, _matvec_rule_v),
    linear=(0, 1),
    batch=_matvec_batch,
    split="matvec",
    complex=True,
    doc="Matrices, optionally transposed, times one vector.",
)

# --- public functions -----------------------------------------------------------------------------


def _pair(name: str, x: Any, y: Any) -> tuple[Tensor, Tensor]:
    x, y = as_operand(x, name), as_operand(y, name)
    if x._spec.dtype is not y._spec.dtype:
        dtype = result_dtype(x._spec.dtype, y._spec.dtype)
        x, y = cast(x, dtype), cast(y, dtype)
    return x, y


@public(
    reference=np.matmul,
    samples=[
        Sample(((3, 4), (4, 2))),
        Sample(((4,), (4, 2))),
        Sample(((3, 4), (4,))),
        Sample(((4,), (4,))),
        Sample(((2, 3, 4), (4, 2))),
        Sample(((3, 4), (2, 4, 2))),
        Sample(((2, 3, 4), (2, 4, 2))),
        Sample(((2, 1, 3, 4), (3, 4, 2))),
        Sample(((2, 3, 4), (4,))),
        Sample(((4,), (2, 4, 3))),
        Sample(((3, 0), (0, 2))),
        Sample(((20, 17), (17, 19))),
    ],
    aliases=("mm", "bmm", "mv"),
    also=("linalg",),
)
def matmul(x: Any, y: Any, /) -> Tensor:
    """The matrix product ``x @ y``.

    Parameters
    ----------
    x : array_like, shape (..., m, k) or (k,)
    y : array_like, shape (..., k, n) or (k,)
        Leading axes are broadcast; dtypes are promoted.

    Returns
    -------
    Tensor, shape (..., m, n), without ``m`` or ``n`` for an operand of one axis.

    Raises
    ------
    ValueError
        If an operand has no axes, or ``k`` or the leading axes do not match.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.matmul(tg.tensor([[1.0, 2.0], [3.0, 4.0]]), tg.tensor([1.0, 1.0]))
    tensor([3., 7.])
    """
    x, y = _pair("matmul", x, y)
    a, b = x._spec.shape, y._spec.shape
    if not a or not b:
        raise ValueError(f"matmul: operands must have at least one axis, got shapes {a} and {b}")
    if x._spec.dtype is BOOL:
        return ns.not_equal(matmul(cast(x, INT64), cast(y, INT64)), 0)
    if len(a) == 1 and len(b) == 1:
        return _inner(x, y, "matmul")
    if len(b) == 1:
        return _mv(x, y)
    if len(a) == 1:
        if a[0] != b[-2]:
            raise ValueError(f"matmul: mismatch in the contracted dimension, shapes {a} and {b}")
        return _mv(y, x, True)
    if len(a) > 2 and len(b) > 2 and a[:-2] != b[:-2]:
        batch = broadcast_shapes("matmul", a[:-2], b[:-2])
        x, y = broadcasted(x, (*batch, *a[-2:])), broadcasted(y, (*batch, *b[-2:]))
    return matrix_product(x, y)


@composite
def _inner(x: Tensor, y: Tensor, name: str) -> Tensor:
    if x._spec.shape != y._spec.shape:
        raise ValueError(
            f"{name}: mismatch in the contracted dimension, shapes {x._spec.shape} and {y._spec.shape}"
        )
    return _summed(x * y)


def _summed(products: Tensor, axis: Any = None) -> Tensor:
    """The sum in the products' own dtype, as matrix products have it (`sum` widens small integers)."""
    return cast(ns.sum(products, axis=axis), products._spec.dtype)


@public(
    reference=np.vecdot if hasattr(np, "vecdot") else None,
    samples=[Sample(((3, 4), (3, 4))), Sample(((3, 4), (4,))), Sample(((3, 4), (3, 1)), {"axis": 0})],
    also=("linalg",),
)
@composite
def vecdot(x: Any, y: Any, /, *, axis: int = -1) -> Tensor:
    """The inner product of vectors along an axis; the others are broadcast.

    Of complex vectors, the first is conjugated.

    Raises
    ------
    ValueError
        If the lengths along the axis differ.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.vecdot(tg.tensor([[1.0, 2.0], [3.0, 4.0]]), tg.tensor([1.0, 1.0]))
    tensor([3., 7.])
    """
    x, y = _pair("vecdot", x, y)
    a, b = x._spec.shape, y._spec.shape
    if axis >= 0:
        axis = axis_index("vecdot", axis, min(len(a), len(b))) - min(len(a), len(b))
    p, q = axis_index("vecdot", axis, len(a)), axis_index("vecdot", axis, len(b))
    if a[p] != b[q]:
        raise ValueError(f"vecdot: mismatch along axis {axis}, shapes {a} and {b}")
    return _summed(conjugated(x) * y, axis)


@public(
    reference=np.dot,
    samples=[
        Sample(((4,), (4,))),
        Sample(((3, 4), (4, 2))),
        Sample(((), (3,))),
        Sample(((2, 3, 4), (5, 4, 2))),
        Sample(((2, 3), (3,))),
    ],
)
@composite
def dot(x: Any, y: Any, /) -> Tensor:
    """NumPy's ``dot``: the product of scalars, vectors or matrices.

    In general it sums over the last axis of ``x`` and the last but one of ``y``.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.dot(tg.tensor([1.0, 2.0]), tg.tensor([3.0, 4.0]))
    tensor(11.)
    """
    x, y = _pair("dot", x, y)
    if x._spec.ndim == 0 or y._spec.ndim == 0:
        return ns.multiply(x, y)
    if y._spec.ndim <= 2:
        return matmul(x, y)
    return tensordot(x, y, axes=((x._spec.ndim - 1,), (y._spec.ndim - 2,)))


@public(
    reference=np.inner,
    samples=[Sample(((4,), (4,))), Sample(((2, 3), (4, 3))), Sample(((2, 3), (3,)))],
)
@composite
def inner(x: Any, y: Any, /) -> Tensor:
    """NumPy's ``inner``: sums over the last axes of both.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.inner(tg.tensor([1.0, 2.0]), tg.tensor([3.0, 4.0]))
    tensor(11.)
    """
    x, y = _pair("inner", x, y)
    if x._spec.ndim == 0 or y._spec.ndim == 0:
        return ns.multiply(x, y)
    return tensordot(x, y, axes=((x._spec.ndim - 1,), (y._spec.ndim - 1,)))


@public(
    reference=np.outer,
    samples=[Sample(((3,), (4,))), Sample(((2, 2), (3,)))],
    aliases=("ger",),
    also=("linalg",),
)
@composite
def outer(x: Any, y: Any, /) -> Tensor:
    """All products of an element of ``x`` and one of ``y``, which are flattened.

    Returns
    -------
    Tensor, shape (x.size, y.size).

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.outer(tg.tensor([1.0, 2.0]), tg.tensor([3.0, 4.0])).tolist()
    [[3.0, 4.0], [6.0, 8.0]]
    """
    x, y = _pair("outer", x, y)
    return ns.multiply(reshaped(x, (x._spec.size, 1)), reshaped(y, (y._spec.size,)))


@public(
    reference=np.kron,
    samples=[Sample(((2, 2), (3,))), Sample(((2, 3), (3, 2)))],
    method=False,
    also=("linalg",),
)
@composite
def kron(x: Any, y: Any, /) -> Tensor:
    """The Kronecker product: ``x`` with each element replaced by its product with ``y``.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.kron(tg.tensor([1.0, 2.0]), tg.tensor([1.0, 10.0]))
    tensor([ 1., 10.,  2., 20.])
    """
    x, y = _pair("kron", x, y)
    ndim = max(x._spec.ndim, y._spec.ndim)
    a = (1,) * (ndim - x._spec.ndim) + x._spec.shape
    b = (1,) * (ndim - y._spec.ndim) + y._spec.shape
    spread_a = tuple([n for k in a for n in (k, 1)])
    spread_b = tuple([n for k in b for n in (1, k)])
    out = ns.multiply(reshaped(x, spread_a), reshaped(y, spread_b))
    return reshaped(out, tuple([m * n for m, n in zip(a, b)]))


@public(
    reference=np.tensordot,
    samples=[
        Sample(((2, 3, 4), (3, 4, 2))),
        Sample(((2, 3), (3, 2)), {"axes": 1}),
        Sample(((2, 3), (4,)), {"axes": 0}),
        Sample(((2, 3, 4), (4, 2, 5)), {"axes": ((0, 2), (1, 0))}),
    ],
    method=False,
    also=("linalg",),
)
@also_named(dims="axes")
def tensordot(x: Any, y: Any, /, axes: Any = 2) -> Tensor:
    """Sum products over pairs of axes.

    Parameters
    ----------
    axes : int or (axes of x, axes of y)
        An integer pairs so many last axes of ``x`` with the first of ``y``.

    Returns
    -------
    Tensor, with the remaining axes of ``x``, then those of ``y``.

    Raises
    ------
    ValueError
        If paired lengths differ.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.tensordot(tg.ones((2, 3)), tg.ones((3, 4)), axes=1).shape
    (2, 4)
    """
    x, y = _pair("tensordot", x, y)
    a, b = x._spec.shape, y._spec.shape
    if isinstance(axes, int):
        if not 0 <= axes <= min(len(a), len(b)):
            raise ValueError(f"tensordot: axes={axes} does not fit shapes {a} and {b}")
        of_x, of_y = list(range(len(a) - axes, len(a))), list(range(axes))
    else:
        pair = [list(s) if isinstance(s, (tuple, list)) else [s] for s in axes]
        of_x = [axis_index("tensordot", s, len(a)) for s in pair[0]]
        of_y = [axis_index("tensordot", s, len(b)) for s in pair[1]]
        axes_tuple("tensordot", tuple(of_x), len(a)), axes_tuple("tensordot", tuple(of_y), len(b))
    if [a[k] for k in of_x] != [b[k] for k in of_y]:
        raise ValueError(f"tensordot: lengths of axes {of_x} and {of_y} differ for shapes {a} and {b}")
    free_x = [k for k in range(len(a)) if k not in of_x]
    free_y = [k for k in range(len(b)) if k not in of_y]
    summed = size_of(tuple([a[k] for k in of_x]))
    shape_x, shape_y = tuple([a[k] for k in free_x]), tuple([b[k] for k in free_y])
    # An operand that already has its summed axes in front is used transposed instead of moved.
    tx = bool(free_x) and of_x + free_x == list(range(len(a)))
    ty = bool(free_y) and free_y + of_y == list(range(len(b)))
    left = x if tx else permuted(x, tuple(free_x + of_x))
    right = y if ty else permuted(y, tuple(of_y + free_y))
    m, n = size_of(shape_x), size_of(shape_y)
    left = reshaped(left, (summed, m) if tx else (m, summed))
    right = reshaped(right, (n, summed) if ty else (summed, n))
    if x._spec.dtype is BOOL:
        out = ns.not_equal(matrix_product(cast(left, INT64), cast(right, INT64), tx, ty), 0)
    else:
        out = matrix_product(left, right, tx, ty)
    return reshaped(out, shape_x + shape_y)
