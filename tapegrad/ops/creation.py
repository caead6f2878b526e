"""Making tensors: from data, and filled with constants.

Values are computed when somebody looks, so a tensor must never share memory with an array that the
caller can still write to: `as_tensor`, `asarray` and `from_numpy` copy unless the array is read-only
all the way down (``docs/decisions/0002-no-shared-writable-memory.md``).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tapegrad.methods import as_dtype, astype, clone
from tapegrad.ops.dtypes import check_device
from tapegrad.ops.record import _holds_tensor, as_operand
from tapegrad.ops.table import ns
from tapegrad.spec import BOOL, COMPLEX128, FLOAT64, INT64
from tapegrad.tensor import Tensor, tensor, tensor_from_array

__all__ = [
    "arange",
    "array",
    "as_tensor",
    "asarray",
    "empty",
    "empty_like",
    "eye",
    "from_numpy",
    "full",
    "full_like",
    "ones",
    "ones_like",
    "tensor",
    "zeros",
    "zeros_like",
]


def make(array: np.ndarray, requires_grad: bool) -> Tensor:
    t = tensor_from_array(array)
    return t.requires_grad_() if requires_grad else t


def _shape(name: str, shape: Any, more: tuple = (), dtype: Any = None) -> tuple[tuple[int, ...], Any]:
    """Read ``zeros((2, 3))``, ``zeros(2, 3)`` and NumPy's ``zeros((2, 3), dtype)``."""
    if isinstance(shape, (tuple, list)):
        if len(more) > 1 or (more and dtype is not None):
            raise TypeError(f"{name}: give the shape as one tuple or as separate integers, not both")
        dtype = more[0] if more else dtype
        lengths = tuple(shape)
    else:
        lengths = (shape, *more)
    try:
        lengths = tuple(n.__index__() for n in lengths)
    except AttributeError:
        raise TypeError(f"{name}: a shape is made of integers, not {lengths!r}") from None
    if any(n < 0 for n in lengths):
        raise ValueError(f"{name}: negative dimensions are not allowed, got shape {lengths}")
    return lengths, dtype


# --- from data ------------------------------------------------------------------------------------


def _frozen(array: np.ndarray) -> bool:
    """Whether nobody can write to the array's memory through NumPy."""
    owner: Any = array
    while isinstance(owner, np.ndarray):
        if owner.flags.writeable:
            return False
        owner = owner.base
    return owner is None or isinstance(owner, bytes)


def as_tensor(data: Any, dtype: Any = None, requires_grad: bool = False) -> Tensor:
    """Return ``data`` as a tensor; a tensor of that dtype is returned as it is.

    Parameters
    ----------
    data : array_like or Tensor
        Arrays that are read-only all the way down are shared, everything else is copied.
    dtype : dtype, optional
        Default: the data's, with Python floats giving float64.
    requires_grad : bool
        Whether to record operations on it for differentiation.

    Raises
    ------
    TypeError
        If the data is not numeric.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.as_tensor([1.0, 2.0])
    tensor([1., 2.])
    """
    return asarray(data, dtype=dtype, requires_grad=requires_grad)


def asarray(
    obj: Any, dtype: Any = None, *, copy: bool | None = None, device: Any = None, requires_grad: bool = False
) -> Tensor:
    """Return ``obj`` as a tensor (the array API's spelling of `as_tensor`).

    Parameters
    ----------
    obj : array_like or Tensor
        Arrays that are read-only all the way down are shared, everything else is copied.
    dtype : dtype, optional
        Default: the data's, with Python floats giving float64.
    copy : bool, optional
        ``True`` always copies (through which gradients flow), ``False`` refuses to, ``None`` copies
        where it must.

    Raises
    ------
    ValueError
        If ``copy=False`` and a copy is needed, or the device is not ``"cpu"``.
    TypeError
        If the data is not numeric.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.asarray([1, 2], dtype=tg.float32)
    tensor([1., 2.], dtype=float32)
    """
    check_device("asarray", device)
    wanted = None if dtype is None else as_dtype(dtype, "asarray")
    if isinstance(obj, (list, tuple)) and copy is not False and _holds_tensor(obj):
        obj = as_operand(obj, "asarray")  # stacked, so that gradients flow
    if isinstance(obj, Tensor):
        if wanted is not None and wanted is not obj.dtype:
            if copy is False:
                raise ValueError(f"asarray: converting {obj.dtype} to {wanted} needs a copy")
            obj = astype(obj, wanted)
        elif copy:
            obj = clone(obj)
        return obj.requires_grad_() if requires_grad else obj
    if isinstance(obj, np.ndarray) and not copy and _frozen(obj):
        plain = obj.flags.c_contiguous and obj.flags.aligned and obj.dtype.isnative
        if plain and (wanted is None or wanted == obj.dtype) and obj.dtype.kind in "biufc":
            return make(obj.view(np.ndarray), requires_grad)
    if copy is False:
        raise ValueError(
            "asarray: cannot share this data without a copy; tensors only share contiguous arrays that "
            "nobody can write to (array.flags.writeable = False)"
        )
    return tensor(obj, dtype=wanted, requires_grad=requires_grad)


def array(
    object: Any,
    dtype: Any = None,
    *,
    copy: bool | None = True,
    ndmin: int = 0,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """Make a tensor as NumPy's ``array`` makes an array; gradients flow from tensors in ``object``.

    Parameters
    ----------
    object : array_like or Tensor
        Nested sequences may contain tensors.
    dtype : dtype, optional
        Default: the data's, with Python floats giving float64.
    copy : bool, optional
        As for `asarray`.
    ndmin : int
        The least number of axes; new ones stand in front.

    Examples
    --------
    >>> import tapegrad as tg
    >>> x = tg.tensor(2.0, requires_grad=True)
    >>> tg.array([x, x * x]).sum().backward()
    >>> x.grad
    tensor(5.)
    """
    out = asarray(object, dtype, copy=copy, device=device)
    if out.ndim < ndmin:
        out = ns.reshape(out, (1,) * (ndmin - out.ndim) + out.shape)
    return out.requires_grad_() if requires_grad else out


def from_numpy(array: np.ndarray) -> Tensor:
    """Make a tensor from an array: shared if the array is read-only all the way down, else copied.

    Raises
    ------
    TypeError
        If ``array`` is not an ndarray or its dtype is not supported.

    Examples
    --------
    >>> import numpy as np
    >>> import tapegrad as tg
    >>> tg.from_numpy(np.array([1.0, 2.0]))
    tensor([1., 2.])
    """
    if not isinstance(array, np.ndarray):
        raise TypeError(f"from_numpy: expected an ndarray, not {type(array).__name__!r}")
    as_dtype(array.dtype, "from_numpy")
    return asarray(array)


# --- constants ------------------------------------------------------------------------------------


def zeros(
    shape: Any = (), *lengths: Any, dtype: Any = None, device: Any = None, requires_grad: bool = False
) -> Tensor:
    """A tensor of zeros.

    Parameters
    ----------
    shape : int or tuple of int
    *lengths : int
        ``zeros(2, 3)`` is ``zeros((2, 3))``.
    dtype : dtype, optional
        Default float64.
    requires_grad : bool
        Whether to record operations on it for differentiation.

    Raises
    ------
    ValueError
        If a length is negative.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.zeros(2, 3)
    tensor([[0., 0., 0.],
            [0., 0., 0.]])
    """
    check_device("zeros", device)
    lengths, dtype = _shape("zeros", shape, lengths, dtype)
    return make(np.zeros(lengths, as_dtype(dtype or FLOAT64, "zeros")), requires_grad)


def ones(
    shape: Any = (), *lengths: Any, dtype: Any = None, device: Any = None, requires_grad: bool = False
) -> Tensor:
    """A tensor of ones; arguments as for `zeros`.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.ones(3, requires_grad=True)
    tensor([1., 1., 1.], requires_grad=True)
    """
    check_device("ones", device)
    lengths, dtype = _shape("ones", shape, lengths, dtype)
    return make(np.ones(lengths, as_dtype(dtype or FLOAT64, "ones")), requires_grad)


def empty(
    shape: Any = (), *lengths: Any, dtype: Any = None, device: Any = None, requires_grad: bool = False
) -> Tensor:
    """A tensor to be filled later; arguments as for `zeros`, which it equals (nothing is left to chance).

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.empty(2, 3).shape
    (2, 3)
    """
    check_device("empty", device)
    lengths, dtype = _shape("empty", shape, lengths, dtype)
    return make(np.zeros(lengths, as_dtype(dtype or FLOAT64, "empty")), requires_grad)


def full(
    shape: int | Sequence[int],
    fill_value: Any,
    dtype: Any = None,
    *,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """A tensor filled with one value.

    Parameters
    ----------
    shape : int or tuple of int
    fill_value : number or 0-d tensor
    dtype : dtype, optional
        Default: float64, int64 or bool, as ``fill_value`` is.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.full((2, 2), 7)
    tensor([[7, 7],
            [7, 7]])
    """
    check_device("full", device)
    lengths, _ = _shape("full", shape)
    value = fill_value.item() if isinstance(fill_value, Tensor) else fill_value
    if dtype is None:
        dtype = BOOL if isinstance(value, bool) else INT64 if isinstance(value, int) else FLOAT64
        dtype = COMPLEX128 if isinstance(value, complex) else dtype
        if isinstance(value, np.generic):
            dtype = value.dtype
    return make(np.full(lengths, value, as_dtype(dtype, "full")), requires_grad)


def _like(name: str, x: Any, dtype: Any, device: Any) -> tuple[tuple[int, ...], np.dtype]:
    check_device(name, device)
    t = as_operand(x, name)
    return t.shape, t.dtype if dtype is None else as_dtype(dtype, name)


def zeros_like(x: Any, dtype: Any = None, *, device: Any = None, requires_grad: bool = False) -> Tensor:
    """Zeros of the shape (and, unless given, the dtype) of ``x``.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.zeros_like(tg.tensor([1, 2]))
    tensor([0, 0])
    """
    shape, dtype = _like("zeros_like", x, dtype, device)
    return make(np.zeros(shape, dtype), requires_grad)


def ones_like(x: Any, dtype: Any = None, *, device: Any = None, requires_grad: bool = False) -> Tensor:
    """Ones of the shape (and, unless given, the dtype) of ``x``.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.ones_like(tg.tensor([0.5, 2.0]))
    tensor([1., 1.])
    """
    shape, dtype = _like("ones_like", x, dtype, device)
    return make(np.ones(shape, dtype), requires_grad)


def empty_like(x: Any, dtype: Any = None, *, device: Any = None, requires_grad: bool = False) -> Tensor:
    """A tensor to be filled later, shaped like ``x``; equals `zeros_like`.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.empty_like(tg.ones(2, 3)).shape
    (2, 3)
    """
    return zeros_like(x, dtype, device=device, requires_grad=requires_grad)


def full_like(
    x: Any, fill_value: Any, dtype: Any = None, *, device: Any = None, requires_grad: bool = False
) -> Tensor:
    """One value everywhere, in the shape (and, unless given, the dtype) of ``x``.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.full_like(tg.zeros(2), 0.5)
    tensor([0.5000, 0.5000])
    """
    shape, dtype = _like("full_like", x, dtype, device)
    return full(shape, fill_value, dtype, requires_grad=requires_grad)


# --- grids ----------------------------------------------------------------------------------------


def eye(
    n_rows: int,
    n_cols: int | None = None,
    *,
    k: int = 0,
    dtype: Any = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """Ones on diagonal ``k``, zeros elsewhere; shape ``(n_rows, n_cols)``.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.eye(2)
    tensor([[1., 0.],
            [0., 1.]])
    """
    check_device("eye", device)
    _shape("eye", (n_rows, n_rows if n_cols is None else n_cols))
    return make(np.eye(n_rows, n_cols, k, as_dtype(dtype or FLOAT64, "eye")), requires_grad)


def arange(
    start: float,
    stop: float | None = None,
    step: float = 1,
    *,
    dtype: Any = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """Numbers from ``start`` (default 0) up to, not including, ``stop``.

    Returns
    -------
    Tensor
        1-D; int64 if all arguments are integers, else float64.

    Raises
    ------
    ValueError
        If ``step`` is zero.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.arange(4)
    tensor([0, 1, 2, 3])
    >>> tg.arange(0.0, 1.0, 0.25)
    tensor([0.0000, 0.2500, 0.5000, 0.7500])
    """
    check_device("arange", device)
    if step == 0:
        raise ValueError("arange: step must not be zero")
    ends = (0, start) if stop is None else (start, stop)
    array = np.arange(*[v.item() if isinstance(v, Tensor) else v for v in (*ends, step)])
    wanted = INT64 if array.dtype.kind in "iu" else FLOAT64
    return make(array.astype(wanted if dtype is None else as_dtype(dtype, "arange")), requires_grad)
