"""Fourier transforms: the functions of ``numpy.fft``, made of the rows in `ops.fft`.

A factor, a zero-padded or cropped operand and further axes are operations of their own, so everything has
derivatives of any order.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tapegrad.ops.axes import axis_index
from tapegrad.ops.fft import doubled, factor_of, from_half, resized, to_half, transform
from tapegrad.ops.record import as_inexact, cast, composite
from tapegrad.ops.table import Sample, ns, public
from tapegrad.spec import complex_dtype
from tapegrad.tensor import Tensor

__all__ = [
    "fft", "fft2", "fftn", "hfft", "hfft2", "hfftn", "ifft", "ifft2", "ifftn", "ihfft", "ihfft2", "ihfftn",
    "irfft", "irfft2", "irfftn", "length_of", "lengths_of", "of_scipy", "rfft", "rfft2", "rfftn",
]  # fmt: skip

# --- along one axis -------------------------------------------------------------------------------


def length_of(name: str, n: Any) -> int:
    """A length along an axis, which must be at least 1."""
    try:
        length = operator.index(n)
    except TypeError:
        raise TypeError(f"{name}: n must be an integer, not {n!r}") from None
    if length < 1:
        raise ValueError(f"{name}: invalid number of data points ({length})")
    return length


def _given(name: str, x: Any, out: Any) -> Tensor:
    if out is not None:
        raise TypeError(f"{name}: the argument 'out' is not supported")
    return as_inexact(x, name)


def _operand(name: str, x: Any, axis: Any, out: Any) -> tuple[Tensor, int]:
    x = _given(name, x, out)
    return x, axis_index(name, axis, x._spec.ndim)


def _scaled(x: Tensor, factor: float) -> Tensor:
    return x if factor == 1.0 else ns.multiply(x, factor)


def _c2c(name: str, x: Tensor, n: Any, axis: int, norm: Any, inverse: bool) -> Tensor:
    n = length_of(name, x._spec.shape[axis] if n is None else n)
    factor = factor_of(name, norm, n, inverse)
    x = resized(cast(x, complex_dtype(x._spec.dtype)), axis, n)
    return _scaled(transform(x, axis, inverse), factor)


def _r2c(name: str, x: Tensor, n: Any, axis: int, norm: Any, inverse: bool) -> Tensor:
    if x._spec.kind == "c":
        raise TypeError(f"{name}: the operand must be real, not complex ({x._spec.dtype})")
    n = length_of(name, x._spec.shape[axis] if n is None else n)
    factor = factor_of(name, norm, n, inverse)
    return _scaled(to_half(resized(x, axis, n), axis, inverse), factor)


def _c2r(name: str, z: Tensor, n: Any, axis: int, norm: Any, inverse: bool) -> Tensor:
    n = length_of(name, 2 * (z._spec.shape[axis] - 1) if n is None else n)
    factor = factor_of(name, norm, n, inverse)
    z = resized(cast(z, complex_dtype(z._spec.dtype)), axis, n // 2 + 1)
    return from_half(doubled(z, axis, n, factor), axis, n, inverse)


LINES = (
    Sample(((6,),)),
    Sample(((5, 2),), {"axis": 0}),
    Sample(((2, 3),), {"n": 5, "norm": "ortho"}),
    Sample(((2, 5, 2),), {"n": 4, "axis": 1, "norm": "forward"}),
)


@public(home="fft", reference=np.fft.fft, samples=LINES)
@composite
def fft(x: Any, /, n: int | None = None, axis: int = -1, norm: str | None = None, out: None = None) -> Tensor:
    """The discrete Fourier transform along an axis: ``sum over j of x[j] * exp(-2 pi i j k / n)``.

    Parameters
    ----------
    x : array_like
        Real or complex.
    n : int, optional
        Length: ``x`` is cropped, or padded with zeros, at the end of the axis.  Any length is computed in the
        order of ``n log n`` operations.
    axis : int
    norm : {"backward", "ortho", "forward"}
        Which direction is divided by ``n``: the inverse one, both by its square root, or this one.
    out : None
        Not supported.

    Returns
    -------
    Tensor
        complex128, or complex64 if ``x`` is float32 or complex64.

    Raises
    ------
    ValueError
        If ``n`` is less than 1 or ``norm`` is unknown.
    AxisError
        If there is no such axis.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.fft.fft(tg.tensor([1.0, 0.0, 0.0, 1.0])).tolist()
    [(2+0j), (1+1j), 0j, (1-1j)]
    """
    x, axis = _operand("fft", x, axis, out)
    return _c2c("fft", x, n, axis, norm, False)


@public(home="fft", reference=np.fft.ifft, samples=LINES)
@composite
def ifft(
    x: Any, /, n: int | None = None, axis: int = -1, norm: str | None = None, out: None = None
) -> Tensor:
    """The inverse of `fft`; arguments and errors are the same.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.fft.ifft([2.0, 1.0 + 1.0j, 0.0, 1.0 - 1.0j]).tolist()
    [(1+0j), 0j, 0j, (1+0j)]
    """
    x, axis = _operand("ifft", x, axis, out)
    return _c2c("ifft", x, n, axis, norm, True)


@public(home="fft", reference=np.fft.rfft, samples=LINES)
@composite
def rfft(
    x: Any, /, n: int | None = None, axis: int = -1, norm: str | None = None, out: None = None
) -> Tensor:
    """The first ``n // 2 + 1`` numbers of the transform of real numbers; the others are their conjugates.

    Parameters
    ----------
    x : array_like
        Real.
    n, axis, norm, out
        As for `fft`.

    Returns
    -------
    Tensor
        complex128, or complex64 if ``x`` is float32.

    Raises
    ------
    TypeError
        If ``x`` is complex.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.fft.rfft(tg.tensor([1.0, 0.0, 0.0, 1.0])).tolist()
    [(2+0j), (1+1j), 0j]
    """
    x, axis = _operand("rfft", x, axis, out)
    return _r2c("rfft", x, n, axis, norm, False)


HALVES = (
    Sample(((4,),)),
    Sample(((5, 2),), {"axis": 0, "n": 7}),
    Sample(((2, 3),), {"n": 8, "norm": "ortho"}),
    Sample(((2, 5, 2),), {"n": 6, "axis": 1, "norm": "forward"}),
)


@public(home="fft", reference=np.fft.irfft, samples=HALVES)
@composite
def irfft(
    x: Any, /, n: int | None = None, axis: int = -1, norm: str | None = None, out: None = None
) -> Tensor:
    """The inverse of `rfft`: real numbers from the first half of their transform.

    The imaginary parts of the first number, and of the one in the middle if ``n`` is even, are taken to be
    zero, so their derivatives are.

    Parameters
    ----------
    x : array_like
        ``n // 2 + 1`` numbers along the axis; others are cropped, or zeros are added.
    n : int, optional
        Length of the result, by default ``2 * (m - 1)`` for ``m`` numbers.
    axis, norm, out
        As for `fft`.

    Returns
    -------
    Tensor
        float64, or float32 if ``x`` is complex64.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.fft.irfft([2.0, 1.0 + 1.0j, 0.0])
    tensor([1., 0., 0., 1.])
    """
    x, axis = _operand("irfft", x, axis, out)
    return _c2r("irfft", x, n, axis, norm, True)


@public(home="fft", reference=np.fft.hfft, samples=HALVES)
@composite
def hfft(
    x: Any, /, n: int | None = None, axis: int = -1, norm: str | None = None, out: None = None
) -> Tensor:
    """The transform, which is real, of numbers of which the second half are the first half's conjugates.

    Arguments are those of `irfft`: it is that with conjugates, and the other direction's factor.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.fft.hfft([1.0, 2.0, 1.0])
    tensor([ 6.,  0., -2.,  0.])
    """
    x, axis = _operand("hfft", x, axis, out)
    return _c2r("hfft", x, n, axis, norm, False)


@public(home="fft", reference=np.fft.ihfft, samples=LINES)
@composite
def ihfft(
    x: Any, /, n: int | None = None, axis: int = -1, norm: str | None = None, out: None = None
) -> Tensor:
    """The inverse of `hfft`: the first half of the inverse transform of real numbers.

    Arguments and errors are those of `rfft`.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.fft.ihfft([6.0, 0.0, -2.0, 0.0]).real
    tensor([1., 2., 1.])
    """
    x, axis = _operand("ihfft", x, axis, out)
    return _r2c("ihfft", x, n, axis, norm, True)


# --- along several axes ---------------------------------------------------------------------------


def lengths_of(name: str, x: Tensor, s: Any, axes: Any, half: bool = False) -> tuple[list, list[int]]:
    """NumPy's ``s`` and ``axes``: a length per axis; ``half`` a spectrum may be along the last one."""
    shape = x._spec.shape
    ndim = len(shape)
    if s is not None:
        s = [operator.index(n) for n in (s if np.iterable(s) else (s,))]
    if axes is None:
        axes = range(ndim) if s is None else range(ndim - len(s), ndim)
    axes = [axis_index(name, a, ndim) for a in (axes if np.iterable(axes) else (axes,))]
    if s is None:
        s = [shape[a] for a in axes]
        s[-1:] = [2 * (n - 1) if half else n for n in s[-1:]]
    if len(s) != len(axes):
        raise ValueError(f"{name}: shape {tuple(s)} and axes {tuple(axes)} have different lengths")
    return [shape[a] if n == -1 else n for n, a in zip(s, axes)], axes


def _others(name: str, x: Tensor, lengths: Sequence, axes: Sequence, norm: Any, inverse: bool) -> Tensor:
    """Complex transforms along axes, the last one first."""
    for n, a in list(zip(lengths, axes))[::-1]:
        x = _c2c(name, x, n, a, norm, inverse)
    return x


def _nd_c2c(name: str, x: Any, s: Any, axes: Any, norm: Any, out: Any, inverse: bool) -> Tensor:
    x = _given(name, x, out)
    factor_of(name, norm, 1, inverse)
    return _others(name, x, *lengths_of(name, x, s, axes), norm, inverse)


def _nd_r2c(name: str, x: Any, s: Any, axes: Any, norm: Any, out: Any, inverse: bool) -> Tensor:
    x = _given(name, x, out)
    lengths, axes = _some(name, x, s, axes)
    x = _r2c(name, x, lengths[-1], axes[-1], norm, inverse)
    return _others(name, x, lengths[:-1], axes[:-1], norm, inverse)


def _nd_c2r(name: str, x: Any, s: Any, axes: Any, norm: Any, out: Any, inverse: bool) -> Tensor:
    x = _given(name, x, out)
    lengths, axes = _some(name, x, s, axes, True)
    x = _others(name, x, lengths[:-1], axes[:-1], norm, inverse)
    return _c2r(name, x, lengths[-1], axes[-1], norm, inverse)


def _some(name: str, x: Tensor, s: Any, axes: Any, half: bool = False) -> tuple[list, list[int]]:
    lengths, axes = lengths_of(name, x, s, axes, half)
    if not axes:
        raise ValueError(f"{name}: at least one axis must be transformed, the shape is {x._spec.shape}")
    return lengths, axes


def of_scipy(name: str) -> Callable:
    """SciPy's function, imported when it is called."""

    def reference(*args: Any, **kwargs: Any) -> Any:
        import scipy.fft

        return getattr(scipy.fft, name)(*args, **kwargs)

    return reference


SHAPES = (
    Sample(((3, 4),)),
    Sample(((2, 3, 3),), {"axes": (0, 2), "norm": "ortho"}),
    Sample(((2, 3, 3),), {"s": (4, 2), "axes": (2, 0), "norm": "forward"}),
)
PLANES = (Sample(((3, 4),)), Sample(((2, 3, 2),), {"s": (2, 4), "axes": (-1, 0)}))


@public(home="fft", reference=np.fft.fftn, samples=SHAPES)
@composite
def fftn(x: Any, /, s: Any = None, axes: Any = None, norm: str | None = None, out: None = None) -> Tensor:
    """The discrete Fourier transform along several axes.

    Parameters
    ----------
    x : array_like
        Real or complex.
    s : sequence of int, optional
        Lengths along ``axes``, to which ``x`` is cropped or padded with zeros; -1 is the length there is.
    axes : sequence of int, optional
        By default all, or the last ``len(s)``.  One that is named twice is transformed twice.
    norm : {"backward", "ortho", "forward"}
        As for `fft`.
    out : None
        Not supported.

    Returns
    -------
    Tensor

    Raises
    ------
    ValueError
        If ``s`` and ``axes`` have different lengths, a length is less than 1, or ``norm`` is unknown.
    AxisError
        If there is no such axis.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.fft.fftn(tg.ones((2, 2))).real
    tensor([[4., 0.],
            [0., 0.]])
    """
    return _nd_c2c("fftn", x, s, axes, norm, out, False)


@public(home="fft", reference=np.fft.ifftn, samples=SHAPES)
@composite
def ifftn(x: Any, /, s: Any = None, axes: Any = None, norm: str | None = None, out: None = None) -> Tensor:
    """The inverse of `fftn`; arguments and errors are the same.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.fft.ifftn(tg.ones((2, 2))).real
    tensor([[1., 0.],
            [0., 0.]])
    """
    return _nd_c2c("ifftn", x, s, axes, norm, out, True)


@public(home="fft", reference=np.fft.fft2, samples=PLANES)
@composite
def fft2(x: Any, /, s: Any = None, axes: Any = (-2, -1), norm: str | None = None, out: None = None) -> Tensor:
    """`fftn` along two axes, the last ones unless you say otherwise.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.fft.fft2(tg.ones((5, 2, 2))).shape
    (5, 2, 2)
    """
    return _nd_c2c("fft2", x, s, axes, norm, out, False)


@public(home="fft", reference=np.fft.ifft2, samples=PLANES)
@composite
def ifft2(
    x: Any, /, s: Any = None, axes: Any = (-2, -1), norm: str | None = None, out: None = None
) -> Tensor:
    """The inverse of `fft2`.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.fft.ifft2(tg.ones((5, 2, 2))).shape
    (5, 2, 2)
    """
    return _nd_c2c("ifft2", x, s, axes, norm, out, True)


@public(home="fft", reference=np.fft.rfftn, samples=SHAPES)
@composite
def rfftn(x: Any, /, s: Any = None, axes: Any = None, norm: str | None = None, out: None = None) -> Tensor:
    """The transform of real numbers along several axes: `rfft` along the last, `fft` along the others.

    Parameters
    ----------
    x : array_like
        Real.
    s, axes, norm, out
        As for `fftn`; there must be at least one axis.

    Raises
    ------
    TypeError
        If ``x`` is complex.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.fft.rfftn(tg.ones((4, 4))).shape
    (4, 3)
    """
    return _nd_r2c("rfftn", x, s, axes, norm, out, False)


@public(home="fft", reference=np.fft.irfftn, samples=SHAPES)
@composite
def irfftn(x: Any, /, s: Any = None, axes: Any = None, norm: str | None = None, out: None = None) -> Tensor:
    """The inverse of `rfftn`: `ifft` along all axes but the last, and `irfft` along that.

    Parameters
    ----------
    x : array_like
        Half a spectrum along the last of the axes.
    s : sequence of int, optional
        Lengths of the result along ``axes``.
    axes, norm, out
        As for `fftn`; there must be at least one axis.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.fft.irfftn(tg.fft.rfftn(tg.ones((2, 3))), s=(2, 3), axes=(0, 1))
    tensor([[1., 1., 1.],
            [1., 1., 1.]])
    """
    return _nd_c2r("irfftn", x, s, axes, norm, out, True)


@public(home="fft", reference=np.fft.rfft2, samples=PLANES)
@composite
def rfft2(
    x: Any, /, s: Any = None, axes: Any = (-2, -1), norm: str | None = None, out: None = None
) -> Tensor:
    """`rfftn` along two axes, the last ones unless you say otherwise.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.fft.rfft2(tg.ones((5, 4, 4))).shape
    (5, 4, 3)
    """
    return _nd_r2c("rfft2", x, s, axes, norm, out, False)


@public(home="fft", reference=np.fft.irfft2, samples=PLANES)
@composite
def irfft2(
    x: Any, /, s: Any = None, axes: Any = (-2, -1), norm: str | None = None, out: None = None
) -> Tensor:
    """The inverse of `rfft2`.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.fft.irfft2(tg.ones((5, 4, 3))).shape
    (5, 4, 4)
    """
    return _nd_c2r("irfft2", x, s, axes, norm, out, True)


@public(home="fft", reference=of_scipy("hfftn"), samples=SHAPES)
@composite
def hfftn(x: Any, /, s: Any = None, axes: Any = None, norm: str | None = None, out: None = None) -> Tensor:
    """`hfft` along the last of several axes, after `fft` along the others, as SciPy's; arguments of `irfftn`.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.fft.hfftn(tg.ones((4, 3))).shape
    (4, 4)
    """
    return _nd_c2r("hfftn", x, s, axes, norm, out, False)


@public(home="fft", reference=of_scipy("ihfftn"), samples=SHAPES)
@composite
def ihfftn(x: Any, /, s: Any = None, axes: Any = None, norm: str | None = None, out: None = None) -> Tensor:
    """The inverse of `hfftn`; arguments and errors are those of `rfftn`.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.fft.ihfftn(tg.ones((4, 4))).shape
    (4, 3)
    """
    return _nd_r2c("ihfftn", x, s, axes, norm, out, True)


@public(home="fft", reference=of_scipy("hfft2"), samples=PLANES)
@composite
def hfft2(
    x: Any, /, s: Any = None, axes: Any = (-2, -1), norm: str | None = None, out: None = None
) -> Tensor:
    """`hfftn` along two axes, the last ones unless you say otherwise.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.fft.hfft2(tg.ones((5, 4, 3))).shape
    (5, 4, 4)
    """
    return _nd_c2r("hfft2", x, s, axes, norm, out, False)


@public(home="fft", reference=of_scipy("ihfft2"), samples=PLANES)
@composite
def ihfft2(
    x: Any, /, s: Any = None, axes: Any = (-2, -1), norm: str | None = None, out: None = None
) -> Tensor:
    """The inverse of `hfft2`.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.fft.ihfft2(tg.ones((5, 4, 4))).shape
    (5, 4, 3)
    """
    return _nd_r2c("ihfft2", x, s, axes, norm, out, True)
