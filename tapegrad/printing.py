"""Printing tensors as PyTorch prints them.

Four digits, one width for all elements, scientific notation when magnitudes differ by more than 1000
(or exceed 1e8, or fall below 1e-4), an excerpt of large tensors, and at the end what is not the default:
``dtype=``, ``grad_fn=`` or ``requires_grad=True``.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from tapegrad.spec import BOOL, COMPLEX128, FLOAT64, INT64

if TYPE_CHECKING:
    from tapegrad.tensor import Tensor

__all__ = ["format_tensor"]

LINE_WIDTH = 80
PRECISION = 4
THRESHOLD = 1000  # elements: larger tensors are excerpted
EDGE = 3  # elements shown at each end of an excerpted axis


def format_tensor(t: Tensor) -> str:
    """Return the text of a tensor.

    Inside a function that is being recorded for replay this shows the value without guarding it.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.tensor([[1.0, 2.5], [-3.0, 4.0]], requires_grad=True)
    tensor([[ 1.0000,  2.5000],
            [-3.0000,  4.0000]], requires_grad=True)
    >>> tg.tensor([1, 2], dtype=tg.int32)
    tensor([1, 2], dtype=int32)
    """
    array = t._peek()
    prefix = "tensor("
    notes = []
    if array.size == 0:
        body = "[]"
        if array.ndim != 1:
            notes.append(f"size={array.shape}")
    else:
        shown = _excerpt(array) if array.size > THRESHOLD else array
        body = _rows(array, _formatter(shown), len(prefix))
    quiet = (FLOAT64,) if array.size == 0 else (FLOAT64, INT64, BOOL, COMPLEX128)
    if array.dtype not in quiet:
        notes.append(f"dtype={array.dtype.name}")
    if not t.is_leaf:
        notes.append(f"grad_fn={t.grad_fn!r}")
    elif t.requires_grad:
        notes.append("requires_grad=True")
    return _with_notes(prefix + body, notes, len(prefix))


def _with_notes(text: str, notes: list[str], indent: int) -> str:
    length = len(text) - text.rfind("\n") - 1
    for note in notes:
        if length + len(note) + 3 > LINE_WIDTH:
            text += ",\n" + " " * indent + note
            length = indent + len(note)
        else:
            text += ", " + note
            length += len(note) + 2
    return text + ")"


def _excerpt(array: np.ndarray) -> np.ndarray:
    """The elements that an excerpt shows."""
    for axis in range(array.ndim):
        if array.shape[axis] > 2 * EDGE:
            ends = [*range(EDGE), *range(-EDGE, 0)]
            array = np.take(array, ends, axis)
    return array


def _formatter(values: np.ndarray) -> Callable[[Any], str]:
    """Choose one format for all of ``values``."""
    text = _element_format(values)
    measured = values
    if values.dtype.kind == "f":  # as PyTorch: zeros and non-finite values do not widen the columns
        measured = values[np.isfinite(values) & (values != 0)]
    width = max((len(text(v)) for v in measured.ravel().tolist()), default=1)
    return lambda value: text(value).rjust(width)


def _element_format(values: np.ndarray) -> Callable[[Any], str]:
    if values.dtype.kind == "c":
        real, imag = _element_format(values.real), _element_format(np.abs(values.imag))
        return lambda v: f"{real(v.real)}{'-' if math.copysign(1.0, v.imag) < 0 else '+'}{imag(abs(v.imag))}j"
    if values.dtype.kind != "f":
        return str
    sizes = np.abs(values[np.isfinite(values)].astype(np.float64))
    sizes = sizes[sizes > 0]
    if not sizes.size:
        return lambda v: f"{v:.0f}." if math.isfinite(v) else str(v)
    low, high = float(sizes.min()), float(sizes.max())
    whole = bool((sizes == np.floor(sizes)).all())
    if high / low > 1000 or high > 1e8 or (low < 1e-4 and not whole):
        return lambda v: f"{v:.{PRECISION}e}"
    if whole:
        return lambda v: f"{v:.0f}." if math.isfinite(v) else str(v)
    return lambda v: f"{v:.{PRECISION}f}"


def _rows(array: np.ndarray, form: Callable[[Any], str], indent: int, excerpt: bool | None = None) -> str:
    if excerpt is None:
        excerpt = array.size > THRESHOLD
    if array.ndim == 0:
        return form(array.item())
    cut = excerpt and array.shape[0] > 2 * EDGE
    parts = [array[:EDGE], array[-EDGE:]] if cut else [array]
    if array.ndim == 1:
        words = [[form(v) for v in part.tolist()] for part in parts]
        line = words[0] + ([" ..."] + words[1] if cut else [])
        per_line = max(1, (LINE_WIDTH - indent) // (len(words[0][0]) + 2)) if words[0] else 1
        lines = [", ".join(line[i : i + per_line]) for i in range(0, len(line), per_line)]
        return "[" + (",\n" + " " * (indent + 1)).join(lines) + "]"
    blocks = [_rows(block, form, indent + 1, excerpt) for block in parts[0]]
    if cut:
        blocks += ["..."] + [_rows(block, form, indent + 1, excerpt) for block in parts[1]]
    separator = "," + "\n" * (array.ndim - 1) + " " * (indent + 1)
    return "[" + separator.join(blocks) + "]"
