"""Discrete cosine and sine transforms of types 1 to 4, made of Fourier transforms, with SciPy's arguments.

Types 2 and 3 take one real transform of the same length (Makhoul 1980), type 4 a complex one of half of it,
type 1 one of a signal with its mirror image.  Sines are cosines of numbers in another order and with other
signs.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from typing import Any

import numpy as np

from tapegrad.ops.axes import axis_index
from tapegrad.ops.fft import from_half, resized, to_half, transform
from tapegrad.ops.fourier import length_of, lengths_of, of_scipy
from tapegrad.ops.record import as_inexact, cast, composite
from tapegrad.ops.table import Sample, ns, public
from tapegrad.spec import complex_dtype
from tapegrad.tensor import Tensor, tensor_from_array

__all__ = ["dct", "dctn", "dst", "dstn", "idct", "idctn", "idst", "idstn"]

# --- pieces ---------------------------------------------------------------------------------------


def _times(x: Tensor, axis: int, factors: np.ndarray) -> Tensor:
    """``x`` times numbers along an axis, in its own precision."""
    narrow = x._spec.dtype.itemsize == (8 if x._spec.kind == "c" else 4)
    dtype = {"c": (np.complex128, np.complex64), "f": (np.float64, np.float32)}[factors.dtype.kind][narrow]
    shape = [-1 if k == axis else 1 for k in range(x._spec.ndim)]
    return ns.multiply(x, tensor_from_array(factors.astype(dtype).reshape(shape)))


def _cut(x: Tensor, axis: int, start: int | None = None, stop: int | None = None, step: int = 1) -> Tensor:
    return x[(slice(None),) * axis + (slice(start, stop, step),)]


def _zipped(even: Tensor, odd: Tensor, axis: int, n: int) -> Tensor:
    """Numbers by turns; of ``even`` there may be one more."""
    m = (n + 1) // 2
    pair = ns.stack([even, resized(odd, axis, m)], axis=axis + 1)
    shape = even._spec.shape
    return _cut(ns.reshape(pair, (*shape[:axis], 2 * m, *shape[axis + 1 :])), axis, 0, n)


def _turns(k: np.ndarray, n: float) -> np.ndarray:
    """``exp(-i pi k / n)``."""
    return np.exp(-1j * np.pi * (k / n))


def _signs(n: int) -> np.ndarray:
    return 1.0 - 2.0 * (np.arange(n) % 2)


# --- the transforms, without a factor -------------------------------------------------------------


def _cosine_1(x: Tensor, axis: int, n: int) -> Tensor:
    mirror = ns.flip(_cut(x, axis, 1, -1), axis=axis)
    return ns.real(to_half(ns.concat([x, mirror], axis=axis), axis, False))


def _cosine_2(x: Tensor, axis: int, n: int) -> Tensor:
    parts = [_cut(x, axis, 0, None, 2), ns.flip(_cut(x, axis, 1, None, 2), axis=axis)]
    z = _times(
        to_half(ns.concat(parts, axis=axis), axis, False), axis, 2.0 * _turns(np.arange(n // 2 + 1), 2 * n)
    )
    back = ns.flip(_cut(ns.imag(z), axis, 1, (n + 1) // 2), axis=axis)
    return ns.concat([ns.real(z), ns.negative(back)], axis=axis)


def _cosine_3(x: Tensor, axis: int, n: int) -> Tensor:
    h = n // 2
    back = _cut(ns.flip(x, axis=axis), axis, 0, h)
    back = ns.concat([ns.zeros_like(_cut(x, axis, 0, 1)), back], axis=axis)
    z = _times(ns.complex(_cut(x, axis, 0, h + 1), ns.negative(back)), axis, _turns(-np.arange(h + 1), 2 * n))
    weights = np.full(h + 1, 2.0)
    weights[0] = 1.0
    if n % 2 == 0:
        weights[-1] = 1.0
    v = from_half(_times(z, axis, weights), axis, n, True)
    return _zipped(_cut(v, axis, 0, n - h), _cut(ns.flip(v, axis=axis), axis, 0, h), axis, n)


def _cosine_4(x: Tensor, axis: int, n: int) -> Tensor:
    if n % 2:
        k = np.arange(n)
        z = resized(_times(cast(x, complex_dtype(x._spec.dtype)), axis, _turns(k, 2 * n)), axis, 2 * n)
        z = _cut(transform(z, axis, False), axis, 0, n)
        return ns.real(_times(z, axis, 2.0 * _turns(2 * k + 1, 4 * n)))
    turns = _turns(8 * np.arange(n // 2) + 1, 8 * n)
    z = ns.complex(_cut(x, axis, 0, None, 2), _cut(ns.flip(x, axis=axis), axis, 0, None, 2))
    z = _times(transform(_times(z, axis, turns), axis, False), axis, 2.0 * turns)
    return _zipped(ns.real(z), ns.flip(ns.negative(ns.imag(z)), axis=axis), axis, n)


def _sine_1(x: Tensor, axis: int, n: int) -> Tensor:
    zero = ns.zeros_like(_cut(x, axis, 0, 1))
    odd = ns.concat([zero, x, zero, ns.negative(ns.flip(x, axis=axis))], axis=axis)
    return ns.negative(_cut(ns.imag(to_half(odd, axis, False)), axis, 1, n + 1))


def _sine_2(x: Tensor, axis: int, n: int) -> Tensor:
    return ns.flip(_cosine_2(_times(x, axis, _signs(n)), axis, n), axis=axis)


def _sine_3(x: Tensor, axis: int, n: int) -> Tensor:
    return _times(_cosine_3(ns.flip(x, axis=axis), axis, n), axis, _signs(n))


def _sine_4(x: Tensor, axis: int, n: int) -> Tensor:
    return _times(_cosine_4(ns.flip(x, axis=axis), axis, n), axis, _signs(n))


KINDS: dict[tuple[bool, int], Callable[[Tensor, int, int], Tensor]] = {
    (False, 1): _cosine_1, (False, 2): _cosine_2, (False, 3): _cosine_3, (False, 4): _cosine_4,
    (True, 1): _sine_1, (True, 2): _sine_2, (True, 3): _sine_3, (True, 4): _sine_4,
}  # fmt: skip


# --- factors and arguments ------------------------------------------------------------------------


def _ends(sine: bool, kind: int, n: int) -> tuple[np.ndarray | None, np.ndarray | None]:
    """What numbers are multiplied by, before and after, to make the matrix orthogonal but for a factor."""
    before, after = np.ones(n), np.ones(n)
    end = n - 1 if sine else 0
    if not sine and kind == 1:
        before[[0, -1]], after[[0, -1]] = math.sqrt(2.0), math.sqrt(0.5)
        return before, after
    if kind == 2:
        after[end] = math.sqrt(0.5)
        return None, after
    if kind == 3:
        before[end] = math.sqrt(2.0)
        return before, None
    return None, None


def _line(
    name: str, x: Tensor, kind: int, n: int, axis: int, norm: Any, orthogonalize: Any, inverse: bool
) -> Tensor:
    """Transform along one axis, cropped or padded to length ``n``."""
    sine = "dst" in name
    if norm not in (None, "backward", "ortho", "forward"):
        raise ValueError(f'{name}: invalid norm {norm!r}; should be "backward", "ortho" or "forward"')
    n = length_of(name, n)
    if n < 2 and kind == 1 and not sine:
        raise ValueError(f"{name}: type 1 takes at least two data points, not {n}")
    x = resized(x, axis, n)
    if inverse:
        kind = {2: 3, 3: 2}.get(kind, kind)
    before, after = _ends(sine, kind, n) if orthogonalize else (None, None)
    if before is not None:
        x = _times(x, axis, before)
    x = KINDS[sine, kind](x, axis, n)
    length = 2 * n if kind != 1 else 2 * (n + 1) if sine else 2 * (n - 1)
    factor = 1.0 / math.sqrt(length) if norm == "ortho" else 1.0 / length
    if norm == "ortho" or (norm == "forward") != inverse:
        after = np.full(n, factor) if after is None else after * factor
    return x if after is None else _times(x, axis, after)


def _several(
    name: str, x: Any, kind: Any, s: Any, axes: Any, norm: Any, orthogonalize: Any, inverse: bool
) -> Tensor:
    x = as_inexact(x, name)
    if operator.index(kind) not in (1, 2, 3, 4):
        raise ValueError(f"{name}: the type must be 1, 2, 3 or 4, not {kind!r}")
    lengths, axes = lengths_of(name, x, s, axes)
    if orthogonalize is None:
        orthogonalize = norm == "ortho"

    def real(x: Tensor) -> Tensor:
        for n, axis in zip(lengths, axes):
            x = _line(name, x, kind, n, axis, norm, orthogonalize, inverse)
        return x

    return ns.complex(real(ns.real(x)), real(ns.imag(x))) if x._spec.kind == "c" else real(x)


def _one(
    name: str, x: Any, kind: Any, n: Any, axis: Any, norm: Any, orthogonalize: Any, inverse: bool
) -> Tensor:
    x = as_inexact(x, name)
    axis = axis_index(name, axis, x._spec.ndim)
    s = None if n is None else [length_of(name, n)]
    return _several(name, x, kind, s, [axis], norm, orthogonalize, inverse)


# --- the functions --------------------------------------------------------------------------------

LINES = (
    Sample(((5,),)),
    Sample(((6,),), {"type": 4}),
    Sample(((2, 4),), {"type": 1, "norm": "ortho"}),
    Sample(((3, 2),), {"type": 3, "n": 5, "axis": 0, "norm": "forward"}),
    Sample(((5,),), {"type": 4, "norm": "ortho"}),
)
SHAPES = (  # the orthogonal sine transforms of types 2 and 3 are wrong in old versions of SciPy
    Sample(((3, 4),)),
    Sample(((2, 3, 2),), {"type": 3, "s": (4, 2), "axes": (2, 0), "norm": "forward"}),
)


@public(home="fft", reference=of_scipy("dct"), samples=LINES)
@composite
def dct(
    x: Any,
    /,
    type: int = 2,
    n: int | None = None,
    axis: int = -1,
    norm: str | None = None,
    *,
    orthogonalize: bool | None = None,
) -> Tensor:
    """The discrete cosine transform along an axis.

    Parameters
    ----------
    x : array_like
        Of complex numbers, both parts are transformed.
    type : {1, 2, 3, 4}
        Which one; "the" cosine transform is 2, and 3 is its inverse but for a factor.
    n : int, optional
        Length: ``x`` is cropped, or padded with zeros, at the end of the axis.
    axis : int
    norm : {"backward", "ortho", "forward"}
        Which direction has a factor: the inverse one, both, or this one.
    orthogonalize : bool, optional
        Use the definition whose matrix is orthogonal, but for a factor; by default if ``norm`` is "ortho".

    Returns
    -------
    Tensor
        Of the dtype of ``x``; integers become float64.

    Raises
    ------
    ValueError
        If the type, ``n`` or ``norm`` is not one of those.

    Notes
    -----
    SciPy's ``overwrite_x`` and ``workers`` are not supported.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.fft.dct([1.0, 2.0, 3.0], type=1)
    tensor([ 8., -2.,  0.])
    """
    return _one("dct", x, type, n, axis, norm, orthogonalize, False)


@public(home="fft", reference=of_scipy("idct"), samples=LINES)
@composite
def idct(
    x: Any,
    /,
    type: int = 2,
    n: int | None = None,
    axis: int = -1,
    norm: str | None = None,
    *,
    orthogonalize: bool | None = None,
) -> Tensor:
    """The inverse of `dct` with the same arguments.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.fft.idct([8.0, -2.0, 0.0], type=1)
    tensor([1., 2., 3.])
    """
    return _one("idct", x, type, n, axis, norm, orthogonalize, True)


@public(home="fft", reference=of_scipy("dst"), samples=LINES)
@composite
def dst(
    x: Any,
    /,
    type: int = 2,
    n: int | None = None,
    axis: int = -1,
    norm: str | None = None,
    *,
    orthogonalize: bool | None = None,
) -> Tensor:
    """The discrete sine transform along an axis; arguments and errors are those of `dct`.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.fft.dst([1.0, -1.0]).tolist()
    [0.0, 4.0]
    """
    return _one("dst", x, type, n, axis, norm, orthogonalize, False)


@public(home="fft", reference=of_scipy("idst"), samples=LINES)
@composite
def idst(
    x: Any,
    /,
    type: int = 2,
    n: int | None = None,
    axis: int = -1,
    norm: str | None = None,
    *,
    orthogonalize: bool | None = None,
) -> Tensor:
    """The inverse of `dst` with the same arguments.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.fft.idst([0.0, 4.0])
    tensor([ 1., -1.])
    """
    return _one("idst", x, type, n, axis, norm, orthogonalize, True)


@public(home="fft", reference=of_scipy("dctn"), samples=SHAPES)
@composite
def dctn(
    x: Any,
    /,
    type: int = 2,
    s: Any = None,
    axes: Any = None,
    norm: str | None = None,
    *,
    orthogonalize: bool | None = None,
) -> Tensor:
    """`dct` along several axes, by default all, with lengths ``s`` as for `fftn`.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.fft.dctn(tg.ones((2, 2))).tolist()
    [[16.0, 0.0], [0.0, 0.0]]
    """
    return _several("dctn", x, type, s, axes, norm, orthogonalize, False)


@public(home="fft", reference=of_scipy("idctn"), samples=SHAPES)
@composite
def idctn(
    x: Any,
    /,
    type: int = 2,
    s: Any = None,
    axes: Any = None,
    norm: str | None = None,
    *,
    orthogonalize: bool | None = None,
) -> Tensor:
    """The inverse of `dctn` with the same arguments.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.fft.idctn([[16.0, 0.0], [0.0, 0.0]]).tolist()
    [[1.0, 1.0], [1.0, 1.0]]
    """
    return _several("idctn", x, type, s, axes, norm, orthogonalize, True)


@public(home="fft", reference=of_scipy("dstn"), samples=SHAPES)
@composite
def dstn(
    x: Any,
    /,
    type: int = 2,
    s: Any = None,
    axes: Any = None,
    norm: str | None = None,
    *,
    orthogonalize: bool | None = None,
) -> Tensor:
    """`dst` along several axes, by default all, with lengths ``s`` as for `fftn`.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.fft.dstn(tg.ones((2, 3))).shape
    (2, 3)
    """
    return _several("dstn", x, type, s, axes, norm, orthogonalize, False)


@public(home="fft", reference=of_scipy("idstn"), samples=SHAPES)
@composite
def idstn(
    x: Any,
    /,
    type: int = 2,
    s: Any = None,
    axes: Any = None,
    norm: str | None = None,
    *,
    orthogonalize: bool | None = None,
) -> Tensor:
    """The inverse of `dstn` with the same arguments.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.fft.idstn(tg.fft.dstn(tg.ones((2, 3)))).shape
    (2, 3)
    """
    return _several("idstn", x, type, s, axes, norm, orthogonalize, True)
