"""DLPack, both ways, without sharing memory that somebody can write to.

In: what is known to stay as it is is shared, everything else is copied.  Out: a consumer that says what it
wants of copies, and understands version 1.0 of the protocol, which can mark memory as read-only, shares the
value; every other one gets a copy of its own.  Either way ``copy=False`` is the caller's promise that nobody
will write (``docs/decisions/0002-no-shared-writable-memory.md``).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tapegrad.ops.creation import asarray
from tapegrad.ops.dtypes import check_device
from tapegrad.ops.record import as_operand
from tapegrad.spec import dtype_index
from tapegrad.tensor import Tensor, _read_only, tensor_from_array

__all__ = ["METHODS", "from_dlpack"]

CPU = (1, 0)  # DLPack's number for CPU memory, and which of its kind
VERSIONED = np.lib.NumpyVersion(np.__version__) >= "2.1.0"  # NumPy exports read-only memory
UNSAID: Any = object()


def from_dlpack(x: Any, /, *, device: Any = None, copy: bool | None = None) -> Tensor:
    """Make a tensor from an object of another library that speaks DLPack.

    Parameters
    ----------
    x : object with ``__dlpack__``
        An array of NumPy, PyTorch, JAX, ...
    device : {None, "cpu"}
        With ``"cpu"``, the producer is asked to bring the data there.
    copy : bool, optional
        ``None`` shares memory that nobody can write to (a Tensor's, an array's that is read-only all the
        way down, what another library marks as read-only) and copies any other.  ``True`` always copies.
        ``False`` never copies: memory that somebody can write to is shared as well, and the caller
        promises that nobody will as long as the tensor, or what was recorded of it, is used.

    Raises
    ------
    ValueError
        If ``copy=False`` and a copy is needed (other dtypes, memory that is not contiguous), or the device
        is not ``"cpu"``.
    TypeError
        If the dtype is not supported.
    AttributeError
        If ``x`` does not speak DLPack.
    BufferError
        From the producer: if it does not export ``x``, because it requires grad, say.

    Examples
    --------
    >>> import numpy as np
    >>> import tapegrad as tg
    >>> tg.from_dlpack(np.array([1.0, 2.0]))
    tensor([1., 2.])
    """
    check_device("from_dlpack", device)
    if isinstance(x, Tensor):
        _refuse_grad(x)
        return asarray(x.detach(), copy=copy)
    if isinstance(x, np.ndarray) and copy is not False:
        return asarray(x, copy=copy)
    if not hasattr(x, "__dlpack__"):
        raise AttributeError(f"from_dlpack: {type(x).__name__!r} has no __dlpack__ method")
    array = np.from_dlpack(x, device="cpu") if device is not None and VERSIONED else np.from_dlpack(x)
    if array.dtype not in dtype_index:
        raise TypeError(f"from_dlpack: dtype {array.dtype} is not supported")
    plain = array.flags.c_contiguous and array.flags.aligned and array.dtype.isnative
    if copy is False and not plain:
        raise ValueError("from_dlpack: this memory cannot be shared without a copy, which copy=False forbids")
    shared = plain and (copy is False or (copy is None and not array.flags.writeable))
    return as_operand(array) if not shared else tensor_from_array(array)


def _refuse_grad(x: Tensor) -> None:
    if x._rg:
        raise BufferError("Can't export tensors that require gradient, use tensor.detach()")


def dlpack(
    self: Tensor,
    *,
    stream: Any = None,
    max_version: tuple[int, int] | None = None,
    dl_device: tuple[Any, int] | None = None,
    copy: bool | None = UNSAID,
) -> Any:
    """Export the value as a DLPack capsule.

    Parameters
    ----------
    stream : None
        CPU memory has no streams.
    max_version : (int, int), optional
        The newest version of DLPack that the consumer understands; from 1.0 on, memory can be marked as
        read-only.
    dl_device : (int, int), optional
        Where the consumer wants the data: ``(1, 0)``, the CPU.
    copy : bool, optional
        ``True``: a copy.  ``None``, said by the consumer: the value itself, marked as read-only, if
        ``max_version`` allows, else a copy.  ``False``: the value itself in any case; the caller promises
        that nobody will write to it.  Left out, as PyTorch does, which ignores the mark: a copy.

    Raises
    ------
    BufferError
        If the tensor requires grad, or for another device.
    ValueError
        For a stream.
    """
    if stream is not None:
        raise ValueError(f"__dlpack__: CPU memory has no streams, but stream={stream!r} was asked for")
    if dl_device is not None and (int(getattr(dl_device[0], "value", dl_device[0])), dl_device[1]) != CPU:
        raise BufferError(f"__dlpack__: device {dl_device} is not available; the only one is {CPU}, the CPU")
    _refuse_grad(self)
    value = self._realize()
    markable = VERSIONED and max_version is not None and max_version[0] >= 1
    if markable and (copy is None or copy is False):
        return _read_only(value).__dlpack__(max_version=max_version)
    if markable:
        return value.__dlpack__(max_version=max_version, copy=True)
    return (value if copy is False else value.copy()).__dlpack__()


def dlpack_device(self: Tensor) -> tuple[int, int]:
    """DLPack's number for CPU memory."""
    return CPU


METHODS = {"__dlpack__": dlpack, "__dlpack_device__": dlpack_device}
