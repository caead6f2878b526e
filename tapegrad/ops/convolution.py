"""Convolutions: three rows, each bilinear and the adjoint of the other two.

    out[n, f, i, j] = sum over c, k, l of x[n, c, i s + k d - p, j s + l d - p] * w[f, c, k, l]

with strides s, dilation d and padding p, zero outside of the image.  ``convolution(x, w)`` is that;
``convolution_input(g, w)`` its adjoint by ``x`` (the transposed convolution), ``convolution_weight(x, g)``
its adjoint by ``w``.  So derivatives of any order are convolutions again, and there is one kernel.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from tapegrad.kernels import convolution as kernels
from tapegrad.ops.movement import all_batched, permuted, reshaped
from tapegrad.ops.record import record
from tapegrad.ops.table import ROWS, Out, Row, ns, structured
from tapegrad.spec import Spec
from tapegrad.tensor import Tensor

__all__ = ["adjoint_by_input", "convolution", "out_length"]

Pair = tuple[int, int]
Static = dict[str, Any]

# --- shapes ---------------------------------------------------------------------------------------


def out_length(n: int, k: int, before: int, after: int, stride: int, dilation: int) -> int:
    """How many places a window of ``k`` elements has in ``n`` padded ones."""
    return (n + before + after - dilation * (k - 1) - 1) // stride + 1


def _geometry(
    image: tuple[int, ...], weight: tuple[int, ...], stride: Pair, padding: Sequence[int], dilation: Pair
) -> Pair:
    """Height and width of the result."""
    top, bottom, left, right = padding
    return (
        out_length(image[-2], weight[-2], top, bottom, stride[0], dilation[0]),
        out_length(image[-1], weight[-1], left, right, stride[1], dilation[1]),
    )


def _out(
    mode: int, dtype: Any, image: tuple, weight: tuple, places: Pair, stride: Pair, padding: tuple,
    dilation: Pair, groups: int,
) -> Out:  # fmt: skip
    n, _, h, w = image
    f, c, kh, kw = weight
    result = (n, f, *places)
    shape = (result, image, weight)[mode]
    params = (
        mode, n, groups, c, f // groups, h, w, kh, kw, *places, *stride, padding[0], padding[2], *dilation,
    )  # fmt: skip
    return Out(shape, dtype, params)


def _check_channels(name: str, image: tuple, weight: tuple, groups: int) -> None:
    if image[1] != weight[1] * groups or weight[0] % groups:
        raise ValueError(
            f"{name}: {image[1]} channels of shape {image} and weights of shape {weight} do not fit "
            f"{groups} groups"
        )


def _forward_shape(x: Spec, w: Spec, stride: Pair, padding: tuple, dilation: Pair, groups: int) -> Out:
    _check_channels("convolution", x.shape, w.shape, groups)
    places = _geometry(x.shape, w.shape, stride, padding, dilation)
    if min(places) < 1:
        raise ValueError(
            f"convolution: weights of shape {w.shape} are larger than the padded image of shape {x.shape}"
        )
    static = (stride, padding, dilation, groups)
    return _out(kernels.FORWARD, x.dtype, x.shape, w.shape, places, *static)


def _input_shape(
    g: Spec, w: Spec, size: Pair, stride: Pair, padding: tuple, dilation: Pair, groups: int
) -> Out:
    image = (g.shape[0], w.shape[1] * groups, *size)
    _check_channels("convolution_input", image, w.shape, groups)
    places = _geometry(image, w.shape, stride, padding, dilation)
    if g.shape[1:] != (w.shape[0], *places) or min(places) < 1:
        raise ValueError(
            f"convolution_input: shape {g.shape} is not that of a result of {image} and weights {w.shape}"
        )
    return _out(kernels.INPUT, g.dtype, image, w.shape, places, stride, padding, dilation, groups)


def _weight_shape(
    x: Spec, g: Spec, size: Pair, stride: Pair, padding: tuple, dilation: Pair, groups: int
) -> Out:
    weight = (g.shape[1], x.shape[1] // groups, *size)
    _check_channels("convolution_weight", x.shape, weight, groups)
    places = _geometry(x.shape, weight, stride, padding, dilation)
    if (g.shape[0], *g.shape[2:]) != (x.shape[0], *places) or min(places) < 1:
        raise ValueError(
            f"convolution_weight: shape {g.shape} is not that of a result of {x.shape} and weights {weight}"
        )
    return _out(kernels.WEIGHT, x.dtype, x.shape, weight, places, stride, padding, dilation, groups)


# --- rows -----------------------------------------------------------------------------------------


def by_parts(function: Callable, x: Tensor, y: Tensor) -> Tensor:
    """A bilinear function of complex operands, from that of real ones."""
    a, b, c, d = ns.real(x), ns.imag(x), ns.real(y), ns.imag(y)
    return ns.complex(function(a, c) - function(b, d), function(a, d) + function(b, c))


def convolution(x: Tensor, w: Tensor, static: Static) -> Tensor:
    """Record a convolution; ``static`` holds the four words of ``GEOMETRY``."""
    if x._spec.kind == "c":
        return by_parts(lambda x, w: convolution(x, w, static), x, w)
    return record(CONVOLUTION, (x, w), {k: static[k] for k in GEOMETRY})


def adjoint_by_input(g: Tensor, w: Tensor, size: tuple[int, ...], static: Static) -> Tensor:
    """Record a convolution's adjoint by an image of height and width ``size``."""
    if g._spec.kind == "c":
        return by_parts(lambda g, w: adjoint_by_input(g, w, size, static), g, w)
    return record(CONVOLUTION_INPUT, (g, w), {"size": size, **{k: static[k] for k in GEOMETRY}})


def _by_weight(x: Tensor, g: Tensor, size: tuple[int, ...], static: Static) -> Tensor:
    return record(CONVOLUTION_WEIGHT, (x, g), {"size": size, **{k: static[k] for k in GEOMETRY}})


GEOMETRY = ("stride", "padding", "dilation", "groups")


def _side(n: int, t: Tensor, axis: int) -> Tensor:
    """The lanes of a batch as further groups of channels along ``axis`` of what one lane has."""
    shape = t._spec.shape[1:]
    if axis == 0:
        return reshaped(t, (n * shape[0], *shape[1:]))
    axes = (1, 0, *range(2, len(shape) + 1))
    return reshaped(permuted(t, axes), (shape[0], n * shape[1], *shape[2:]))


def _apart(n: int, t: Tensor, axis: int) -> Tensor:
    """Undo `_side`."""
    shape = t._spec.shape
    if axis == 0:
        return reshaped(t, (n, shape[0] // n, *shape[1:]))
    t = reshaped(t, (shape[0], n, shape[1] // n, *shape[2:]))
    return permuted(t, (1, 0, *range(2, len(shape) + 1)))


def _images_batch(name: str) -> Any:
    """Of images and results: lanes are more images, unless weights differ; then they are groups."""

    def batch(n: int, batched: Sequence[bool], x: Tensor, w: Tensor, **static: Any) -> Tensor:
        if not batched[1]:
            lanes, images = x._spec.shape[:2]
            out = record(ROWS[name], (reshaped(x, (lanes * images, *x._spec.shape[2:])), w), static)
            return reshaped(out, (lanes, images, *out._spec.shape[1:]))
        shared = not batched[0] and name == "convolution" and static["groups"] == 1
        if shared:  # more outputs of the same images
            return _apart(n, record(ROWS[name], (x, _side(n, w, 0)), static), 1)
        x, w = all_batched(n, batched, x, w)
        static = {**static, "groups": n * static["groups"]}
        out = record(ROWS[name], (_side(n, x, 1), _side(n, w, 0)), static)
        return _apart(n, out, 1)

    return batch


def _weight_batch(n: int, batched: Sequence[bool], x: Tensor, g: Tensor, **static: Any) -> Tensor:
    if not batched[0] and static["groups"] == 1:
        return _apart(n, record(CONVOLUTION_WEIGHT, (x, _side(n, g, 1)), static), 0)
    x, g = all_batched(n, batched, x, g)
    static = {**static, "groups": n * static["groups"]}
    return _apart(n, record(CONVOLUTION_WEIGHT, (_side(n, x, 1), _side(n, g, 1)), static), 0)


CONVOLUTION: Row = structured(
    "convolution",
    kernels.convolution,
    2,
    _forward_shape,
    rules=(
        lambda g, out, x, y, **static: adjoint_by_input(g, y, x._spec.shape[2:], static),
        lambda g, out, x, y, **static: _by_weight(x, g, y._spec.shape[2:], static),
    ),
    linear=(0, 1),
    batch=_images_batch("convolution"),
    split="images",
    doc="Images (images, channels, height, width) convolved with weights (outputs, channels, height, width).",
)
CONVOLUTION_INPUT: Row = structured(
    "convolution_input",
    kernels.convolution,
    2,
    _input_shape,
    rules=(
        lambda g, out, x, y, size, **static: convolution(g, y, static),
        lambda g, out, x, y, size, **static: _by_weight(g, x, y._spec.shape[2:], static),
    ),
    linear=(0, 1),
    batch=_images_batch("convolution_input"),
    split="images",
    doc="A convolution's adjoint by the images: cotangents of its result, and weights.",
)
CONVOLUTION_WEIGHT: Row = structured(
    "convolution_weight",
    kernels.convolution,
    2,
    _weight_shape,
    rules=(
        lambda g, out, x, y, size, **static: adjoint_by_input(y, g, x._spec.shape[2:], static),
        lambda g, out, x, y, size, **static: convolution(x, g, static),
    ),
    linear=(0, 1),
    batch=_weight_batch,
    split="images",
    doc="A convolution's adjoint by the weights: images, and cotangents of its result.",
)
