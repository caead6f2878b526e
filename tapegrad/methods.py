"""What a ``Tensor`` has besides the methods derived from the table.

Conversions, copies, filling in place, iteration, and the protocols through which NumPy calls us.
``ops.namespace`` attaches these functions to the class.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from tapegrad.ops.record import OPERAND_TYPES, as_operand, conjugated, record_elementwise
from tapegrad.ops.table import ROWS, ns
from tapegrad.spec import DTYPES, dtype_index
from tapegrad.tensor import Tensor, tensor_from_array

if TYPE_CHECKING:
    from types import ModuleType

__all__ = ["METHODS", "PROPERTIES", "as_dtype", "cast_method", "clone"]

TORCH_CASTS = {
    "bool": "bool",
    "char": "int8",
    "short": "int16",
    "int": "int32",
    "long": "int64",
    "byte": "uint8",
    "float": "float32",
    "double": "float64",
    "cfloat": "complex64",
    "cdouble": "complex128",
}


def as_dtype(dtype: Any, name: str = "astype") -> np.dtype:
    """Return the supported NumPy dtype that ``dtype`` names.

    Raises
    ------
    TypeError
        If tapegrad does not compute with it.
    """
    found = np.dtype(dtype)
    if found not in dtype_index:
        known = ", ".join(d.name for d in DTYPES)
        raise TypeError(f"{name}: dtype {found} is not supported; use one of {known}")
    return DTYPES[dtype_index[found]]


# --- copies and conversions -----------------------------------------------------------------------


def clone(self: Tensor) -> Tensor:
    """A copy that gradients flow through.

    Returns
    -------
    Tensor
        Same shape and dtype; later in-place changes of either do not touch the other.

    Examples
    --------
    >>> import tapegrad as tg
    >>> x = tg.tensor([1.0, 2.0], requires_grad=True)
    >>> y = x.clone()
    >>> y *= 3.0
    >>> y.sum().backward()
    >>> x.grad
    tensor([3., 3.])
    """
    return record_elementwise(ROWS[f"astype_{self._spec.dtype.name}"], (self,))


def astype(self: Tensor, dtype: Any, copy: bool = True) -> Tensor:
    """Convert to another dtype; gradients flow between floating and complex dtypes.

    Of complex numbers, real dtypes take the real part (with NumPy's ``ComplexWarning``).

    Parameters
    ----------
    dtype : dtype
        Anything that names a supported NumPy dtype.
    copy : bool
        Whether to copy a tensor that has the dtype already.

    Raises
    ------
    TypeError
        If the dtype is not supported.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.tensor([1.7, -1.7]).astype(tg.int64)
    tensor([ 1, -1])
    """
    wanted = as_dtype(dtype)
    if not copy and self._spec.dtype is wanted:
        return self
    if self._spec.kind == "c" and wanted.kind in "iuf":
        warnings.warn(
            "Casting complex values to real discards the imaginary part; take real if that is meant",
            np.exceptions.ComplexWarning,
            stacklevel=2,
        )
    return record_elementwise(ROWS[f"astype_{wanted.name}"], (self,))


def to(self: Tensor, target: Any = None, *, dtype: Any = None, device: Any = None) -> Tensor:
    """PyTorch's conversion: to a dtype, to another tensor's dtype, or to the device ``"cpu"``.

    Returns the tensor itself where there is nothing to convert.

    Raises
    ------
    ValueError
        If the device is not ``"cpu"``.
    """
    if isinstance(target, Tensor):
        target = target.dtype
    if isinstance(target, str) and target.split(":")[0] in ("cpu", "cuda", "mps"):
        target, device = None, target
    if device is not None and str(device) != "cpu":
        raise ValueError(f'to: device {device!r} is not available; the only one is "cpu"')
    wanted = dtype if dtype is not None else target
    return self if wanted is None else astype(self, wanted, copy=False)


def type_(self: Tensor, dtype: Any = None) -> Any:
    """The dtype's name, or, given a dtype, the tensor converted to it."""
    return self._spec.dtype.name if dtype is None else astype(self, dtype, copy=False)


def type_as(self: Tensor, other: Tensor) -> Tensor:
    """Convert to the dtype of ``other``."""
    return astype(self, other.dtype, copy=False)


def cast_method(name: str, dtype: str) -> Callable[[Tensor], Tensor]:
    """Build PyTorch's ``t.double()`` and its like."""
    row = ROWS[f"astype_{dtype}"]
    wanted = np.dtype(dtype)

    def method(self: Tensor) -> Tensor:
        return self if self._spec.dtype is wanted else record_elementwise(row, (self,))

    method.__name__ = name
    method.__qualname__ = f"Tensor.{name}"
    method.__doc__ = f"Convert to {dtype} (the tensor itself if it has that dtype)."
    return method


def contiguous(self: Tensor) -> Tensor:
    """The tensor itself: every value is stored in C order."""
    return self


def is_contiguous(self: Tensor) -> bool:
    """Always true: every value is stored in C order."""
    return True


def element_size(self: Tensor) -> int:
    """Bytes per element."""
    return self.itemsize


def is_floating_point(self: Tensor) -> bool:
    """Whether the dtype is a floating one."""
    return self._spec.floating


def cpu(self: Tensor) -> Tensor:
    """The tensor itself."""
    return self


def to_device(self: Tensor, device: Any, /, *, stream: Any = None) -> Tensor:
    """The tensor itself, which is on the only device, ``"cpu"``.

    Raises
    ------
    ValueError
        For another device, or a stream.
    """
    if stream is not None:
        raise ValueError(f"to_device: CPU memory has no streams, but stream={stream!r} was asked for")
    if str(device) != "cpu":
        raise ValueError(f'to_device: device {device!r} is not available; the only one is "cpu"')
    return self


def view(self: Tensor, *shape: Any) -> Tensor:
    """Reshape, as PyTorch's ``view``; with a dtype, convert nothing and refuse.

    Raises
    ------
    TypeError
        If called with a dtype: reinterpreting memory is not differentiable.
    """
    if len(shape) == 1 and not isinstance(shape[0], (int, np.integer, tuple, list)):
        raise TypeError("view: reinterpreting memory as another dtype is not supported; use astype")
    return ns.reshape(self, *shape)


def view_as(self: Tensor, other: Tensor) -> Tensor:
    """Reshape to the shape of ``other``."""
    return ns.reshape(self, other.shape)


def where(self: Tensor, condition: Any, other: Any) -> Tensor:
    """The tensor's elements where ``condition`` is true, else those of ``other``."""
    return ns.where(condition, self, other)


# --- in place -------------------------------------------------------------------------------------


def zero_(self: Tensor) -> Tensor:
    """Set every element to zero, in place.

    Raises
    ------
    RuntimeError
        If the tensor is a leaf that requires grad, outside `no_grad`.
    """
    self._check_in_place()
    spec = self._spec
    return self._take(tensor_from_array(np.zeros(spec.shape, spec.dtype)), "zero_")


def fill_(self: Tensor, value: Any) -> Tensor:
    """Set every element to a number (or 0-d tensor), in place.

    Raises
    ------
    ValueError
        If ``value`` is not a scalar.
    RuntimeError
        If the tensor is a leaf that requires grad, outside `no_grad`.
    """
    x = as_operand(value, "fill_")
    if x.ndim:
        raise ValueError(f"fill_: only fills with a scalar, not with a value of shape {x.shape}")
    return _assign(self, x, "fill_")


def copy_(self: Tensor, source: Any) -> Tensor:
    """Copy values from ``source`` (broadcast, converted to this dtype), in place.

    Raises
    ------
    ValueError
        If the shape of ``source`` does not broadcast to this one.
    RuntimeError
        If the tensor is a leaf that requires grad, outside `no_grad`.
    """
    return _assign(self, as_operand(source, "copy_"), "copy_")


def _assign(self: Tensor, x: Tensor, name: str) -> Tensor:
    self._check_in_place()
    spec = self._spec
    if x._spec.kind == "c" and spec.kind != "c":
        raise TypeError(f"{name}: complex values cannot be copied to a tensor of dtype {spec.dtype}")
    # Recorded even where nothing is converted: the tensor must get a slot that is its own.
    new = record_elementwise(ROWS[f"astype_{spec.dtype.name}"], (x,))
    if new.shape != spec.shape:
        try:
            fits = np.broadcast_shapes(new.shape, spec.shape) == spec.shape
        except ValueError:
            fits = False
        if not fits:
            raise ValueError(f"{name}: cannot broadcast a value of shape {x.shape} into shape {spec.shape}")
        new = clone(ns.broadcast_to(new, spec.shape))
    return self._take(new, name)


# --- as a sequence --------------------------------------------------------------------------------


def iterate(self: Tensor) -> Iterator[Tensor]:
    """Iterate over the first axis.

    Raises
    ------
    TypeError
        If the tensor is 0-d.
    """
    if not self._spec.shape:
        raise TypeError("iteration over a 0-d tensor")
    return map(self.__getitem__, range(self._spec.shape[0]))  # from C: places name the user's line


def contains(self: Tensor, value: Any) -> bool:
    """Whether some element equals ``value``."""
    return bool((self == value).numpy().any())


# --- operators the table does not have ------------------------------------------------------------


def matmul(self: Tensor, other: Any) -> Any:
    """``self @ other``."""
    return ns.matmul(self, other) if isinstance(other, OPERAND_TYPES) else NotImplemented


def rmatmul(self: Tensor, other: Any) -> Any:
    """``other @ self``."""
    return ns.matmul(other, self) if isinstance(other, OPERAND_TYPES) else NotImplemented


def imatmul(self: Tensor, other: Any) -> Any:
    """``self @= other``."""
    if not isinstance(other, OPERAND_TYPES):
        return NotImplemented
    self._check_in_place()
    return self._take(ns.matmul(self, other), "matmul_")


def divmod_(self: Tensor, other: Any) -> Any:
    """``divmod(self, other)``."""
    return ns.floor_divide(self, other), ns.remainder(self, other)


def rdivmod(self: Tensor, other: Any) -> Any:
    """``divmod(other, self)``."""
    return ns.floor_divide(other, self), ns.remainder(other, self)


def round_(self: Tensor, ndigits: int | None = None) -> Tensor:
    """``round(self)``, halves to even."""
    return ns.round(self, ndigits or 0)


# --- protocols ------------------------------------------------------------------------------------


def array_namespace(self: Tensor, /, *, api_version: str | None = None) -> ModuleType:
    """The module ``tapegrad`` (the array API's entry point).

    Raises
    ------
    ValueError
        For a version of the standard that is not known: the latest is ``tapegrad.__array_api_version__``.
    """
    import tapegrad

    if api_version not in (None, "2021.12", "2022.12", "2023.12", tapegrad.__array_api_version__):
        raise ValueError(f"__array_namespace__: version {api_version!r} of the array API is not known")
    return tapegrad


def transposed(self: Tensor) -> Tensor:
    """The tensor with its axes reversed (a view)."""
    return ns.permute_dims(self, tuple(range(self._spec.ndim))[::-1])


def matrix_transposed(self: Tensor) -> Tensor:
    """The tensor with its last two axes exchanged (a view)."""
    ndim = self._spec.ndim
    if ndim < 2:
        raise ValueError(f"mT: needs at least 2 dimensions, not shape {self._spec.shape}")
    return ns.permute_dims(self, (*range(ndim - 2), ndim - 1, ndim - 2))


METHODS: dict[str, Callable] = {
    "clone": clone,
    "copy": clone,
    "__copy__": clone,
    "astype": astype,
    "to": to,
    "type": type_,
    "type_as": type_as,
    "contiguous": contiguous,
    "is_contiguous": is_contiguous,
    "element_size": element_size,
    "is_floating_point": is_floating_point,
    "cpu": cpu,
    "to_device": to_device,
    "view": view,
    "view_as": view_as,
    "reshape_as": view_as,
    "where": where,
    "zero_": zero_,
    "fill_": fill_,
    "fill": fill_,
    "copy_": copy_,
    "__iter__": iterate,
    "__contains__": contains,
    "__matmul__": matmul,
    "__rmatmul__": rmatmul,
    "__imatmul__": imatmul,
    "__divmod__": divmod_,
    "__rdivmod__": rdivmod,
    "__round__": round_,
    "__array_namespace__": array_namespace,
}


def real(self: Tensor) -> Tensor:
    """The real part; the tensor itself if it is real."""
    return ns.real(self) if self._spec.kind == "c" else self


def imag(self: Tensor) -> Tensor:
    """The imaginary part; zeros for a real tensor, as in NumPy."""
    return ns.imag(self)


def adjoint(self: Tensor) -> Tensor:
    """The conjugate of the tensor with its last two axes exchanged."""
    return conjugated(matrix_transposed(self))


def adjoint_matrix(self: Tensor) -> Tensor:
    """The conjugate transpose of a matrix."""
    if self._spec.ndim not in (0, 2):
        raise RuntimeError(f"tensor.H is only supported on matrices; this tensor has shape {self.shape}")
    return conjugated(transposed(self))


PROPERTIES = {
    "H": adjoint_matrix, "T": transposed, "imag": imag, "mH": adjoint, "mT": matrix_transposed, "real": real,
}  # fmt: skip
