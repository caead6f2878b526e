"""What goes with Fourier transforms: frequencies, and the order in which spectra are looked at."""

from __future__ import annotations

import operator
from typing import Any

import numpy as np

from tapegrad.ops.axes import axis_index
from tapegrad.ops.dtypes import check_device
from tapegrad.ops.record import as_operand, composite
from tapegrad.ops.table import Sample, ns, public
from tapegrad.spec import FLOAT64
from tapegrad.tensor import Tensor, tensor_from_array

__all__ = ["fftfreq", "fftshift", "ifftshift", "rfftfreq"]


def _frequencies(name: str, n: Any, d: Any, dtype: Any, device: Any, numbers: Any) -> Tensor:
    check_device(name, device)
    try:
        n = operator.index(n)
    except TypeError:
        raise ValueError(f"{name}: n should be an integer, not {n!r}") from None
    if n < 1:
        raise ValueError(f"{name}: n must be at least 1, not {n}")
    wanted = FLOAT64 if dtype is None else np.dtype(dtype)
    if wanted.kind != "f":
        raise TypeError(f"{name}: dtype must be a real floating one, not {wanted}")
    multiples = numbers(n)
    if isinstance(d, Tensor):
        out = ns.multiply(tensor_from_array(multiples.astype(np.float64)), 1.0 / (n * d))
        return out if dtype is None else ns.astype(out, wanted)
    return tensor_from_array((multiples * (1.0 / (n * d))).astype(wanted))


@public(home="fft", differentiable=False)
@composite
def fftfreq(n: int, d: Any = 1.0, *, dtype: Any = None, device: Any = None) -> Tensor:
    """The frequencies of the numbers that `fft` gives, in cycles per unit of the sample spacing.

    Parameters
    ----------
    n : int
        Length of the transform.
    d : float or Tensor
        Sample spacing; the result is differentiable by it.
    dtype : dtype, optional
        A real floating one, by default float64.
    device : {None, "cpu"}

    Returns
    -------
    Tensor, shape (n,)

    Raises
    ------
    ValueError
        If ``n`` is not an integer from 1, or ``device`` is unknown.
    TypeError
        If ``dtype`` is not a real floating one.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.fft.fftfreq(5, d=0.1)
    tensor([ 0.,  2.,  4., -4., -2.])
    """
    return _frequencies("fftfreq", n, d, dtype, device, lambda n: (np.arange(n) + n // 2) % n - n // 2)


@public(home="fft", differentiable=False)
@composite
def rfftfreq(n: int, d: Any = 1.0, *, dtype: Any = None, device: Any = None) -> Tensor:
    """The frequencies of the ``n // 2 + 1`` numbers that `rfft` gives; arguments are those of `fftfreq`.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.fft.rfftfreq(4, d=0.5)
    tensor([0.0000, 0.5000, 1.0000])
    """
    return _frequencies("rfftfreq", n, d, dtype, device, lambda n: np.arange(n // 2 + 1))


def _shifted(name: str, x: Any, axes: Any, back: bool) -> Tensor:
    x = as_operand(x, name)
    ndim = x._spec.ndim
    if axes is None:
        axes = range(ndim)
    axes = tuple([axis_index(name, a, ndim) for a in (axes if np.iterable(axes) else (axes,))])
    by = [x._spec.shape[a] // 2 for a in axes]
    return ns.roll(x, tuple([-n if back else n for n in by]), axes) if axes else x


SAMPLES = (Sample(((5,),)), Sample(((3, 4),), {"axes": 0}), Sample(((2, 3, 4),), {"axes": (0, 2)}))


@public(home="fft", reference=np.fft.fftshift, samples=SAMPLES)
@composite
def fftshift(x: Any, /, axes: Any = None) -> Tensor:
    """Move the frequency zero to the middle of a spectrum.

    Parameters
    ----------
    x : array_like
    axes : int or sequence of int, optional
        By default all.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.fft.fftshift(tg.fft.fftfreq(5, d=0.2))
    tensor([-2., -1.,  0.,  1.,  2.])
    """
    return _shifted("fftshift", x, axes, False)


@public(home="fft", reference=np.fft.ifftshift, samples=SAMPLES)
@composite
def ifftshift(x: Any, /, axes: Any = None) -> Tensor:
    """Undo `fftshift`: move what is in the middle to the front.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.fft.ifftshift(tg.tensor([-2.0, -1.0, 0.0, 1.0, 2.0]))
    tensor([ 0.,  1.,  2., -2., -1.])
    """
    return _shifted("ifftshift", x, axes, True)
