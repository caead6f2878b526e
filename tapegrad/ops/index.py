"""Indexing: ``x[key]`` and ``x[key] = value`` with NumPy's semantics, and what is like it.

Integers, slices, ``None`` and ``...`` are a movement and give a view.  Arrays of integers and boolean
masks become numbers of blocks, which NumPy itself computes by indexing positions, so its rules and
its errors are NumPy's.  Integer tensors stay operands: a replay reads their new values.
"""

from __future__ import annotations

import functools
import weakref
from sys import _getframe
from typing import Any

import numpy as np

from tapegrad.ops import record
from tapegrad.ops.axes import contiguous, size_of
from tapegrad.ops.gathers import gather, index_put, scatter_add, wrap_index
from tapegrad.ops.movement import (
    BROADCAST_TO,
    GETITEM,
    broadcast_to_layout,
    broadcasted,
    reshaped,
    scatter_movement,
    set_movement,
    view,
)
from tapegrad.ops.record import Signature, as_operand, cast, record_layout
from tapegrad.ops.table import ns
from tapegrad.spec import BOOL, INT64, Spec, broadcast_shapes, intern_spec
from tapegrad.tape import GRAD, current
from tapegrad.tensor import NONLEAF, Extra, Tensor, tensor_from_array

__all__ = ["assign", "getitem", "index", "index_add", "setitem"]

FULL = slice(None)
VIEW_LIMIT = 8192
_plans: dict[tuple[Spec, int], tuple] = {}
_views: dict[tuple[Spec, tuple, tuple], Signature] = {}
_OP, _OPG = GETITEM.op, GETITEM.op | GRAD


def _signature(spec: Spec, shape: tuple[int, ...], strides: tuple[int, ...]) -> Signature:
    static = {"shape": shape, "strides": strides}
    params = (len(shape), *shape, *strides, spec.size)
    return Signature(GETITEM, (spec,), static, intern_spec(shape, spec.dtype), params)


def _plan(spec: Spec, n: int) -> tuple:
    """What ``x[i]`` and ``x[i, j]`` with ``n`` integers need, worked out once per spec."""
    if len(spec.shape) < n:
        raise _too_many("getitem", spec.shape, n)
    shape, strides = spec.shape[n:], contiguous(spec.shape)
    signature = _signature(spec, shape, strides[n:])
    plan = (signature, tuple(zip(spec.shape, strides))[:n], shape, strides[n:])
    _plans[spec, n] = plan
    return plan


def _view_signature(key: tuple) -> Signature:
    if len(_views) >= VIEW_LIMIT:
        _views.clear()  # slices of ever-changing lengths: bounded, and refilled as needed
    _views[key] = signature = _signature(*key)
    return signature


def _too_many(name: str, shape: tuple[int, ...], n: int) -> IndexError:
    return IndexError(
        f"{name}: too many indices for array: array is {len(shape)}-dimensional, but {n} were indexed "
        f"(shape {shape})"
    )


def _out_of_bounds(name: str, i: Any, shape: tuple[int, ...], axis: int) -> IndexError:
    return IndexError(
        f"{name}: index {i} is out of bounds for axis {axis} with size {shape[axis]} (shape {shape})"
    )


def _first_bad(spec: Spec, key: tuple[int, ...]) -> IndexError:
    axis = next(k for k, (i, n) in enumerate(zip(key, spec.shape)) if not -n <= i < n)
    return _out_of_bounds("getitem", key[axis], spec.shape, axis)


def _all_integers(key: tuple) -> bool:
    for i in key:  # noqa: SIM110  (a generator costs more than the loop)
        if i.__class__ is not int:
            return False
    return True


def getitem(x: Tensor, key: Any) -> Tensor:
    """``x[key]``, with NumPy's rules.

    Parameters
    ----------
    x : Tensor
    key : int, slice, None, Ellipsis, integer or boolean array or tensor, or a tuple of these

    Returns
    -------
    Tensor
        A view for basic keys, a copy for arrays.

    Raises
    ------
    IndexError
        If an index is out of bounds, there are too many, or an array is not of integers or booleans.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.tensor([[1.0, 2.0], [3.0, 4.0]])[:, 1]
    tensor([2., 4.])
    """
    spec = x._spec
    if key.__class__ is int:
        plan = _plans.get((spec, 1)) or _plan(spec, 1)
        signature, ((n, step),), shape, strides = plan
        if not -n <= key < n:
            raise _out_of_bounds("getitem", key, spec.shape, 0)
        offset = (key + n if key < 0 else key) * step
    elif key.__class__ is tuple and _all_integers(key):
        signature, axes, shape, strides = _plans.get((spec, len(key))) or _plan(spec, len(key))
        offset = 0
        for i, (n, step) in zip(key, axes):
            if not -n <= i < n:
                raise _first_bad(spec, key)
            offset += (i + n if i < 0 else i) * step
    else:
        found = _basic("getitem", spec.shape, key if key.__class__ is tuple else (key,))
        if found is None:
            return index("getitem", x, key)
        shape, strides, offset = found
        place = (spec, shape, strides)
        signature = _views.get(place) or _view_signature(place)
    out = signature.out
    # The way of scalar loops: everything inline.
    tape = current.tape
    slot = x._slot if x._tape is tape else tape.bind(x)
    epoch, number = signature.bound
    if epoch is not tape.epoch:
        number = tape.bind_signature(signature)
    frame = _getframe(1)
    op, rg = (_OPG, NONLEAF) if x._rg and tape.grad_enabled and out.differentiable else (_OP, 0)
    t = record.append_row(tape, op, out, slot, 0, offset, number, rg, frame.f_code, frame.f_lasti)
    t._extra = mine = Extra()
    base = x._extra
    path = ((GETITEM, shape, strides, offset),)
    if base is None:
        x._extra = base = Extra()
        mine.base, mine.path = x, path
    elif base.base is not None:
        mine.base, mine.path = base.base, base.path + path
        base = base.base._extra or Extra()
    else:
        mine.base, mine.path = x, path
    views = base.views
    if views is None:
        base.views = views = []
    elif len(views) >= 32 and (len(views) & (len(views) - 1)) == 0:
        base.views = views = [r for r in views if r() is not None]
    views.append(weakref.ref(t))
    if out.big:
        tape.note_bytes(out.nbytes)
    return t


# --- reading keys ---------------------------------------------------------------------------------


def _expand(name: str, key: Any, full: tuple[int, ...]) -> tuple[list[Any], bool]:
    """A key as one entry per axis or new axis, and whether it has arrays in it."""
    entries, ndim = list(key) if isinstance(key, tuple) else [key], len(full)
    used, dots, arrays = 0, -1, False
    for k, e in enumerate(entries):
        if e is None:
            continue
        if e is Ellipsis:
            if dots >= 0:
                raise IndexError(f"{name}: an index can only have a single ellipsis ('...')")
            dots = k
        elif isinstance(e, slice):
            if any(isinstance(v, Tensor) for v in (e.start, e.stop, e.step)):
                parts = (e.start, e.stop, e.step)
                entries[k] = e = slice(*[v.__index__() if isinstance(v, Tensor) else v for v in parts])
            _slice_bounds(name, e, 0)
            used += 1
        elif isinstance(e, (int, np.integer)) and not isinstance(e, bool):
            entries[k] = int(e)
            used += 1
        else:
            arrays = True
            entries[k] = e = _as_index(name, e)
            used += e.ndim if e.dtype.kind == "b" else 1
    if used > ndim:
        raise _too_many(name, full, used)
    if dots >= 0:  # an ellipsis that stands for nothing still keeps arrays apart
        kept: list[Any] = [Ellipsis] if arrays else []
        entries[dots : dots + 1] = [FULL] * (ndim - used) or kept
    else:
        entries += [FULL] * (ndim - used)
    return entries, arrays


def _as_index(name: str, e: Any) -> Any:
    """An array-like key entry as an array (masks) or a Tensor (tensors of integers)."""
    if isinstance(e, Tensor):
        if e._spec.dtype is BOOL:
            return e.numpy()
        if e._spec.kind in "iu":
            return e
        raise IndexError(f"{name}: tensors used as indices must be of integer or boolean type")
    if isinstance(e, (list, tuple)) and any(isinstance(v, Tensor) for v in e):
        return _as_index(name, as_operand(list(e), name))
    if isinstance(e, np.ndarray) and e.dtype.kind in "biu" and current.tape.recording:
        return _as_index(name, as_operand(e, name))  # its content may differ at a replay
    a = np.asarray(e)
    if a.size == 0 and not isinstance(e, np.ndarray):
        a = a.astype(np.int64)
    if a.dtype.kind not in "biu":
        if isinstance(e, (str, bytes, float, complex, dict, set)) or a.dtype.kind not in "f":
            raise IndexError(
                f"{name}: only integers, slices (`:`), ellipsis (`...`), None and integer or boolean "
                f"arrays are valid indices, not {type(e).__name__}"
            )
        raise IndexError(f"{name}: arrays used as indices must be of integer (or boolean) type")
    return a


def _slice_bounds(name: str, key: slice, n: int) -> tuple[int, int, int]:
    try:
        return key.indices(n)
    except (TypeError, ValueError) as error:
        raise type(error)(f"{name}: {error}") from None


def _basic(name: str, full: tuple[int, ...], key: tuple) -> tuple | None:
    """Shape, strides and offset of a key of integers, slices and new axes; ``None`` for another."""
    shape: tuple[int, ...] = ()
    strides: tuple[int, ...] = ()
    offset, axis, ndim, dots = 0, 0, len(full), False
    steps = contiguous(full)
    for e in key:
        if e.__class__ is slice:
            if axis == ndim:
                return None
            n, step = full[axis], steps[axis]
            if e.start is e.stop is e.step is None:
                shape += (n,)
                strides += (step,)
            else:
                start, stop, by = _slice_bounds(name, e, n)
                count = -((start - stop) // by)
                if count <= 0:
                    shape += (0,)
                else:
                    shape += (count,)
                    offset += start * step
                strides += (by * step,)
        elif e.__class__ is int:
            if axis == ndim:
                return None
            n = full[axis]
            if not -n <= e < n:
                raise _out_of_bounds(name, e, full, axis)
            offset += (e + n if e < 0 else e) * steps[axis]
        elif e is None:
            shape += (1,)
            strides += (0,)
            continue
        elif e is Ellipsis and not dots:
            dots = True
            end = axis + ndim + 1 - len([k for k in key if k is not None])
            if end < axis:
                return None
            shape += full[axis:end]
            strides += steps[axis:end]
            axis = end
            continue
        else:
            return None
        axis += 1
    if axis < ndim:
        shape += full[axis:]
        strides += steps[axis:]
    if 0 in shape:
        offset = 0
    return shape, strides, offset


@functools.lru_cache(maxsize=256)
def _positions(shape: tuple[int, ...]) -> np.ndarray:
    return np.arange(size_of(shape)).reshape(shape)


def _numbers(name: str, shape: tuple[int, ...], key: tuple, full: tuple[int, ...]) -> np.ndarray:
    """Numbers of the elements of an array of ``shape`` that ``key`` selects."""
    try:
        if size_of(shape) <= 1 << 14:
            flat = _positions(shape)[key]
        else:  # axis by axis, on broadcast views: costs what the result costs
            flat = 0
            for axis, step in enumerate(contiguous(shape)):
                along = np.arange(shape[axis]).reshape((-1,) + (1,) * (len(shape) - axis - 1))
                flat = flat + np.broadcast_to(along, shape)[key] * step
    except IndexError as error:
        raise IndexError(f"{name}: {error} (shape {full})") from None
    return np.ascontiguousarray(flat, np.int64).reshape(np.shape(flat))


def _axes_of(e: Any) -> int:
    """How many axes an entry of a key uses up."""
    if e is None or e is Ellipsis:
        return 0
    return int(e.ndim) if isinstance(e, np.ndarray) and e.dtype.kind == "b" else 1


def _advanced(name: str, x: Tensor, entries: list[Any]) -> tuple[Tensor, int, tuple[int, ...], Any]:
    """Block numbers, width, shape of the result, and the numbers if they are constant."""
    while entries[-1] is Ellipsis or (isinstance(entries[-1], slice) and entries[-1] == FULL):
        entries.pop()
    axes = sum(_axes_of(e) for e in entries)
    lead, tail = x._spec.shape[:axes], x._spec.shape[axes:]
    tensors = [(k, e) for k, e in enumerate(entries) if isinstance(e, Tensor)]
    if not tensors:
        numbers = _numbers(name, lead, tuple(entries), x._spec.shape)
        return tensor_from_array(numbers), size_of(tail), numbers.shape + tail, numbers
    # Numbers of the rest, with zeros where tensors stand, plus what the tensors add.
    known = list(entries)
    for k, e in tensors:
        known[k] = np.zeros(e._spec.shape, np.int64)
    steps = contiguous(lead)
    axis_of, axis = {}, 0
    for k, e in enumerate(entries):
        axis_of[k] = axis
        axis += _axes_of(e)
    if any(lead[axis_of[k]] == 0 and e._spec.size for k, e in tensors):
        raise IndexError(f"{name}: index out of bounds for an axis of size 0 (shape {x._spec.shape})")
    numbers = _numbers(name, lead, tuple(known), x._spec.shape)
    shapes, places = [], []
    for k, e in enumerate(known):
        if isinstance(e, (np.ndarray, int)):
            mask = isinstance(e, np.ndarray) and e.dtype.kind == "b"
            shapes.append((int(e.sum()),) if mask and e.ndim else np.shape(e))
            places.append(k)
    joint = broadcast_shapes(name, *shapes)
    together = places == list(range(places[0], places[-1] + 1))
    before = sum(e is not Ellipsis for e in known[: places[0]]) if together else 0
    after = numbers.ndim - before - len(joint)
    total = tensor_from_array(numbers)
    for k, e in tensors:
        n = lead[axis_of[k]]
        if e._value is not None and e._spec.size and not (-n <= e._value.min() <= e._value.max() < n):
            bad = e._value[(e._value < -n) | (e._value >= n)].flat[0]
            raise _out_of_bounds(name, bad, x._spec.shape, axis_of[k])
        part = wrap_index(cast(e, INT64), n, steps[axis_of[k]])
        part = reshaped(part, e._spec.shape + (1,) * after)
        total = ns.add(total, part)
    return total, size_of(tail), total._spec.shape + tail, None


def index(name: str, x: Tensor, key: Any) -> Tensor:
    """``x[key]`` for any key, on behalf of operation ``name``."""
    entries, arrays = _expand(name, key, x._spec.shape)
    if not arrays:
        layout = _basic(name, x._spec.shape, tuple(entries))
        assert layout is not None
        return view(GETITEM, x, *layout)
    numbers, width, shape, _ = _advanced(name, x, entries)
    return gather(x, numbers, width, shape)


# --- writing --------------------------------------------------------------------------------------


def _fit(name: str, value: Any, x: Tensor, shape: tuple[int, ...]) -> Tensor:
    """A value to be written, as a tensor of ``x``'s dtype that broadcasts to ``shape``."""
    v = as_operand(value, name)
    own = v._spec.shape
    extra = len(own) - len(shape)
    if extra > 0 and all(n == 1 for n in own[:extra]):
        v = reshaped(v, own[extra:])
    ok = v._spec.ndim <= len(shape) and all(
        n in (1, m) for n, m in zip(reversed(v._spec.shape), reversed(shape))
    )
    if not ok:
        raise ValueError(f"{name}: could not broadcast input array from shape {own} into shape {shape}")
    if v._spec.kind == "c" and x._spec.kind != "c":
        raise TypeError(
            f"{name}: complex values do not fit a tensor of dtype {x._spec.dtype}; take real or imag"
        )
    return cast(v, x._spec.dtype)


def setitem(x: Tensor, key: Any, value: Any) -> None:
    """``x[key] = value``, with NumPy's rules; recorded, so gradients flow to ``value``.

    Raises
    ------
    IndexError
        As for reading.
    ValueError
        If the value does not broadcast to the places.
    RuntimeError
        If ``x`` is a leaf that requires grad, outside ``no_grad``.

    Examples
    --------
    >>> import tapegrad as tg
    >>> x = tg.zeros(3)
    >>> x[1:] = tg.tensor([1.0, 2.0])
    >>> x
    tensor([0., 1., 2.])
    """
    x._check_in_place()
    if isinstance(key, Tensor) and key._spec.dtype is BOOL and key._spec.shape == x._spec.shape:
        number = isinstance(value, (bool, int, float))
        if number or (isinstance(value, Tensor) and value._spec.ndim == 0):
            x._take(ns.where(key, _fit("setitem", value, x, ()), x), "index_put_")
            return
    assign("setitem", x, key, value)


def assign(name: str, x: Tensor, key: Any, value: Any) -> None:
    """``x[key] = value`` for any key, on behalf of operation ``name``."""
    full = x._spec.shape
    layout = _basic(name, full, key if isinstance(key, tuple) else (key,))
    if layout is None:
        entries, arrays = _expand(name, key, full)
        layout = None if arrays else _basic(name, full, tuple(entries))
    if layout is not None:
        shape, strides, offset = layout
        v = _fit(name, value, x, shape)
        if shape == x._spec.shape and strides == contiguous(shape):
            new = record_layout(BROADCAST_TO, v, *broadcast_to_layout(v._spec.shape, shape))
        else:
            new = set_movement(x, broadcasted(v, shape), shape, strides, offset)
    else:
        places, width, shape, numbers = _advanced(name, x, entries)
        v = broadcasted(_fit(name, value, x, shape), shape)
        unique = numbers is not None
        if numbers is not None and numbers.size > 1:
            flat = numbers.ravel()
            _, last = np.unique(flat[::-1], return_index=True)
            if last.size < flat.size:  # only the last write counts, for values and for gradients
                last = np.sort(flat.size - 1 - last)
                places = tensor_from_array(flat[last])
                v = gather(v, tensor_from_array(last), width, (last.size, width))
        new = index_put(x, v, places, width, unique)
    x._take(new, "index_put_")


def index_add(name: str, x: Tensor, key: Any, value: Any) -> Tensor:
    """``x`` with ``value`` added to ``x[key]``, to each element as often as the key names it."""
    full = x._spec.shape
    entries, arrays = _expand(name, key, full)
    if not arrays:
        layout = _basic(name, full, tuple(entries))
        assert layout is not None
        shape, strides, offset = layout
        v = broadcasted(_fit(name, value, x, shape), shape)
        added = scatter_movement(v, full, shape, strides, offset)
    else:
        places, width, shape, _ = _advanced(name, x, entries)
        added = scatter_add(broadcasted(_fit(name, value, x, shape), shape), places, width, full)
    return ns.add(x, added)
