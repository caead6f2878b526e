"""NumPy's functions that write into their first argument: recorded, so gradients flow to what is written."""

from __future__ import annotations

from typing import Any

import numpy as np

from tapegrad.ops.axes import size_of
from tapegrad.ops.index import assign
from tapegrad.ops.movement import broadcasted, reshaped
from tapegrad.ops.record import as_operand, record_elementwise
from tapegrad.ops.table import ROWS, Sample, ns, public
from tapegrad.spec import broadcast_shapes
from tapegrad.tensor import Tensor

__all__: list[str] = []

MASK = np.array([[True, False, True, True], [False, True, True, False], [True, False, False, True]])


def _masked(x: Any, values: Any) -> tuple[Any, np.ndarray, Any]:
    return x, MASK, values


def _placed(x: Any, values: Any) -> tuple[Any, np.ndarray, Any]:
    return x, np.array([[3, 0], [-1, 3]]), values


def _writable(name: str, x: Any) -> Tensor:
    if not isinstance(x, Tensor):
        raise TypeError(f"{name}: writes into tensors, not {type(x).__name__}")
    x._check_in_place()
    return x


def _cycled(name: str, values: Any, n: int) -> Tensor:
    """The first ``n`` of the values, which begin again when they are used up."""
    v = as_operand(values, name)
    m = v._spec.size
    if m == 0 and n:
        raise ValueError(f"{name}: cannot write {n} elements from an empty array")
    return ns.take(reshaped(v, (m,)), np.arange(n) % m) if n and m != n else reshaped(v, (m,))[:n]


def _mask(mask: Any) -> np.ndarray:
    return np.asarray(mask.detach().numpy() if isinstance(mask, Tensor) else mask, dtype=bool)


@public(
    reference=np.copyto,
    samples=[
        Sample(((3, 4), (4,)), writes=True),
        Sample(((3, 4), (3, 4)), {"where": MASK}, writes=True),
    ],
    method=False,
)
def copyto(dst: Tensor, src: Any, casting: str = "same_kind", where: Any = True) -> None:
    """Write ``src`` into ``dst``, broadcast and converted, where a mask is true.

    Parameters
    ----------
    dst : Tensor
    src : array_like or Tensor
    casting : str
        What NumPy calls the conversions that are allowed.
    where : array_like of bool

    Raises
    ------
    TypeError
        If ``dst`` is no tensor or the conversion is not allowed.
    ValueError
        If the shapes do not fit.
    RuntimeError
        If ``dst`` is a leaf that requires grad, outside ``no_grad``.

    Examples
    --------
    >>> import tapegrad as tg
    >>> x = tg.zeros(3)
    >>> tg.copyto(x, [1.0, 2.0, 3.0], where=[True, False, True])
    >>> x
    tensor([1., 0., 3.])
    """
    dst = _writable("copyto", dst)
    new, shape = as_operand(src, "copyto"), dst._spec.shape
    weak = isinstance(src, (bool, int, float, complex))
    if not weak and not np.can_cast(new.dtype, dst.dtype, casting):
        raise TypeError(f"copyto: cannot cast from {new.dtype} to {dst.dtype} with casting rule {casting!r}")
    mask = None if where is True else as_operand(where, "copyto")
    for part in (new, mask):
        if part is not None and broadcast_shapes("copyto", part._spec.shape, shape) != shape:
            raise ValueError(f"copyto: could not broadcast from shape {part.shape} into shape {shape}")
    # recorded even where nothing is converted: the tensor must get a slot that is its own
    new = record_elementwise(ROWS[f"astype_{dst.dtype.name}"], (new,))
    if mask is not None:
        new = ns.where(mask, new, dst)
    elif new._spec.shape != shape:
        new = ns.positive(broadcasted(new, shape)) if new._spec.kind != "b" else ns.where(True, new, dst)
    dst._take(new, "copyto")


@public(
    reference=np.putmask,
    samples=[Sample(((3, 4), shape), prepare=_masked, writes=True) for shape in ((3, 4), (5,))],
    method=False,
)
def putmask(x: Tensor, /, mask: Any, values: Any) -> None:
    """Write values where a mask is true, each from its own place (begun again when they are used up).

    Raises
    ------
    ValueError
        If the mask does not have the tensor's size.

    Examples
    --------
    >>> import tapegrad as tg
    >>> x = tg.zeros(3)
    >>> tg.putmask(x, [True, False, True], [1.0, 2.0, 3.0])
    >>> x
    tensor([1., 0., 3.])
    """
    x = _writable("putmask", x)
    shape = x._spec.shape
    chosen = as_operand(mask, "putmask")
    if chosen._spec.size != x._spec.size:
        raise ValueError(
            f"putmask: mask of shape {chosen.shape} and data of shape {shape} must have one size"
        )
    new = reshaped(_cycled("putmask", values, x._spec.size), shape)
    new = record_elementwise(ROWS[f"astype_{x.dtype.name}"], (new,))
    x._take(ns.where(reshaped(chosen, shape), new, x), "putmask")


@public(
    reference=np.place,
    samples=[Sample(((3, 4), shape), prepare=_masked, writes=True) for shape in ((7,), (3,))],
    method=False,
)
def place(arr: Tensor, mask: Any, vals: Any) -> None:
    """Write the first values to the places where a mask is true (looks at the mask).

    Examples
    --------
    >>> import tapegrad as tg
    >>> x = tg.zeros(3)
    >>> tg.place(x, [True, False, True], [1.0, 2.0])
    >>> x
    tensor([1., 0., 2.])
    """
    arr, chosen = _writable("place", arr), _mask(mask)
    if chosen.size != arr._spec.size:
        raise ValueError(
            f"place: mask of shape {chosen.shape} and data of shape {arr.shape} must have one size"
        )
    count = int(np.count_nonzero(chosen))
    assign("place", arr, (chosen.reshape(arr._spec.shape),), _cycled("place", vals, count))


@public(
    reference=np.put,
    samples=[Sample(((3, 4), shape), prepare=_placed, writes=True) for shape in ((4,), (2,))],
    method=False,
    kink="of equal places the last write counts",
)
def put(x: Tensor, ind: Any, v: Any, mode: str = "raise") -> None:
    """Write values to places of the flattened tensor; of equal places the last write counts.

    Parameters
    ----------
    ind : array_like or Tensor of integers
    v : array_like or Tensor
        Begun again when they are used up.
    mode : {"raise", "wrap", "clip"}
        What indices out of bounds mean.

    Examples
    --------
    >>> import tapegrad as tg
    >>> x = tg.zeros(3)
    >>> tg.put(x, [2, 0], [1.0, 2.0])
    >>> x
    tensor([2., 0., 1.])
    """
    x = _writable("put", x)
    n = x._spec.size
    places: Any = ind if isinstance(ind, Tensor) else np.asarray(ind)
    if mode == "wrap":
        places = places % n
    elif mode == "clip":
        places = ns.clip(places, 0, n - 1)
    elif mode != "raise":
        raise ValueError(f"put: mode must be 'raise', 'wrap' or 'clip', not {mode!r}")
    count = size_of(tuple(places.shape))
    flat = ns.reshape(x, (n,))  # a view: writing to it changes x
    assign("put", flat, (places.reshape(count),), _cycled("put", v, count))


@public(
    reference=np.fill_diagonal,
    samples=[
        Sample(((3, 4), (3,)), writes=True),
        Sample(((5, 2), (2,)), {"wrap": True}, writes=True),
        Sample(((2, 2, 2), (2,)), writes=True),
    ],
    method=False,
)
def fill_diagonal(a: Tensor, val: Any, wrap: bool = False) -> None:
    """Write to the main diagonal, where all indices are equal.

    Parameters
    ----------
    a : Tensor, at least two axes
        More than two must be equally long.
    val : number or array_like
        Begun again when they are used up.
    wrap : bool
        For tall matrices: let the diagonal begin again below.

    Examples
    --------
    >>> import tapegrad as tg
    >>> x = tg.zeros((2, 2))
    >>> tg.fill_diagonal(x, [1.0, 2.0])
    >>> x.tolist()
    [[1.0, 0.0], [0.0, 2.0]]
    """
    a = _writable("fill_diagonal", a)
    shape = a._spec.shape
    if len(shape) < 2:
        raise ValueError(f"fill_diagonal: at least two axes are needed, not shape {shape}")
    if len(shape) > 2 and len(set(shape)) > 1:
        raise ValueError(f"fill_diagonal: all axes must be equally long, not of shape {shape}")
    numbers = np.zeros(shape, bool)
    np.fill_diagonal(numbers, True, wrap=wrap)
    places = np.flatnonzero(numbers)
    flat = ns.reshape(a, (a._spec.size,))
    assign("fill_diagonal", flat, (places,), _cycled("fill_diagonal", val, places.size))
