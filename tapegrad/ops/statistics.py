"""Covariances, and counting in bins."""

from __future__ import annotations

import math
import operator
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

from tapegrad.ops.gathers import scatter_add
from tapegrad.ops.movement import reshaped
from tapegrad.ops.record import as_inexact, as_operand, cast, composite, conjugated
from tapegrad.ops.table import Domain, Sample, ns, public
from tapegrad.spec import INT64, result_dtype
from tapegrad.tensor import Tensor, tensor_from_array

# --- covariances ----------------------------------------------------------------------------------


def _weights(name: str, what: str, given: Any, n: int) -> Tensor:
    w = as_inexact(given, name)
    if w._spec.ndim != 1:
        raise RuntimeError(f"{name}: cannot handle multidimensional {what}: shape {w.shape}")
    if w._spec.size != n:
        raise RuntimeError(f"{name}: incompatible numbers of samples and {what}: {n} and {w._spec.size}")
    if w._value is not None and (w._value < 0).any():
        raise ValueError(f"{name}: {what} cannot be negative")
    return w


def _variables(name: str, m: Any, y: Any, rowvar: bool) -> Tensor:
    """One row per variable."""
    rows: list[Tensor] = []
    for given in (m,) if y is None else (m, y):
        x = as_inexact(given, name)
        shape = x._spec.shape
        if len(shape) > 2:
            raise ValueError(f"{name}: takes arrays of up to two axes, not of shape {x.shape}")
        x = reshaped(x, (1,) * (2 - len(shape)) + shape)
        turned = not rowvar and (x._spec.shape[0] != 1 if rows else len(shape) == 2)  # as NumPy decides it
        rows.append(ns.matrix_transpose(x) if turned else x)
    return rows[0] if y is None else ns.concat(rows, axis=0)


@public(
    reference=np.cov,
    samples=[
        Sample(((3, 5),)),
        Sample(((5,), (5,)), {"bias": True}),
        Sample(((5, 2),), {"rowvar": False, "ddof": 0}),
        Sample(((2, 4),), {"aweights": np.float32([1, 2, 1, 3]), "fweights": [1, 2, 1, 1]}),
        Sample(((6,),)),
    ],
    method=False,
)
@composite
def cov(
    m: Any,
    y: Any = None,
    rowvar: bool = True,
    bias: bool = False,
    ddof: float | None = None,
    fweights: Any = None,
    aweights: Any = None,
    *,
    dtype: Any = None,
) -> Tensor:
    """The covariance matrix of variables, as NumPy's.

    Parameters
    ----------
    m : array_like
        One variable, or a matrix of them.
    y : array_like, optional
        Further variables.
    rowvar : bool
        Whether rows are variables and columns observations, or the other way round.
    bias : bool
        Whether to divide by the number of observations; default that less one.
    ddof : float, optional
        What to subtract from that number; overrides ``bias``.
    fweights, aweights : array_like, optional
        How often each observation occurred; how much weight it has (gradients reach these).
    dtype : dtype, optional
        To compute in.

    Returns
    -------
    Tensor, a matrix, or a scalar for a single variable.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.cov(tg.tensor([[0.0, 1.0, 2.0], [2.0, 1.0, 0.0]])).tolist()
    [[1.0, -1.0], [-1.0, 1.0]]
    """
    if ddof is not None and ddof != int(ddof):
        raise ValueError(f"cov: ddof must be integer, not {ddof}")
    x = _variables("cov", m, y, rowvar)
    x = x if dtype is None else ns.astype(x, dtype)
    n = x._spec.shape[1]
    ddof = (0 if bias else 1) if ddof is None else ddof
    w = None
    if fweights is not None:
        f = as_operand(fweights, "cov")
        if f._value is not None and (f._value != np.around(f._value)).any():
            raise TypeError("cov: fweights must be integer")
        w = _weights("cov", "fweights", fweights, n)
    if aweights is not None:
        a = _weights("cov", "aweights", aweights, n)
        w = a if w is None else w * a
    if w is None:
        total: Any = float(n)
        mean = ns.mean(x, axis=1, keepdims=True)
        factor = total - ddof
    else:
        w = cast(w, x._spec.dtype)
        total = ns.sum(w)
        mean = ns.sum(x * w, axis=1, keepdims=True) / total
        if ddof == 0:
            factor = total
        elif aweights is None:
            factor = total - ddof
        else:
            factor = total - ddof * ns.sum(w * cast(a, x._spec.dtype)) / total
    if isinstance(factor, float) and factor <= 0:
        warnings.warn("cov: degrees of freedom <= 0", RuntimeWarning, stacklevel=3)
        factor = 0.0
    d = x - mean
    out = ns.matmul(d, conjugated(ns.matrix_transpose(d if w is None else d * w))) / factor
    return ns.squeeze(out)


@public(
    reference=np.corrcoef,
    samples=[Sample(((3, 5),)), Sample(((5,), (5,))), Sample(((5, 2),), {"rowvar": False})],
    method=False,
)
@composite
def corrcoef(x: Any, y: Any = None, rowvar: bool = True, *, dtype: Any = None) -> Tensor:
    """Correlation coefficients of variables: `cov`, divided by standard deviations.

    Parameters
    ----------
    x, y, rowvar, dtype
        As for `cov`.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.corrcoef(tg.tensor([[0.0, 1.0, 2.0], [4.0, 2.0, 0.0]])).tolist()
    [[1.0, -1.0], [-1.0, 1.0]]
    """
    c = cov(x, y, rowvar, dtype=dtype)
    if c._spec.ndim == 0:
        return ns.divide(c, c)
    scale = ns.diagonal(c)
    scale = ns.sqrt(ns.real(scale) if c._spec.kind == "c" else scale)
    c = c / reshaped(scale, (scale._spec.size, 1)) / scale
    if c._spec.kind == "c":
        return ns.complex(ns.clip(ns.real(c), -1.0, 1.0), ns.clip(ns.imag(c), -1.0, 1.0))
    return ns.clip(c, -1.0, 1.0)


# --- bins -----------------------------------------------------------------------------------------


def _edges(name: str, x: Tensor, bins: Any, range: Any, weighted: bool) -> Tensor:
    """Edges of the bins; those that depend on the data are constants."""
    if isinstance(bins, str):
        if weighted:
            raise TypeError(f"{name}: bins={bins!r} is not supported for weighted data")
        return tensor_from_array(np.histogram_bin_edges(x.detach().numpy(), bins, range))
    if not isinstance(bins, (Tensor, np.ndarray, list, tuple)) or np.ndim(_plain(bins)) == 0:
        try:
            n = operator.index(_plain(bins))
        except TypeError:
            raise TypeError(f"{name}: bins must be an integer, a string, or an array, not {bins!r}") from None
        if n < 1:
            raise ValueError(f"{name}: bins must be positive, when an integer, not {n}")
        dtype = x._spec.dtype if x._spec.floating else np.dtype("float64")
        if range is not None:
            first, last = map(float, range)
            if first > last:
                raise ValueError(f"{name}: max must be larger than min in range parameter, got {range}")
            if not math.isfinite(first) or not math.isfinite(last):
                raise ValueError(f"{name}: supplied range of [{first}, {last}] is not finite")
            if first == last:
                first, last = first - 0.5, last + 0.5
            return tensor_from_array(np.linspace(first, last, n + 1, dtype=dtype))
        if x._spec.size == 0:
            return tensor_from_array(np.linspace(0.0, 1.0, n + 1, dtype=dtype))
        low, high = (cast(f(x).detach(), dtype) for f in (ns.min, ns.max))
        half = cast(ns.equal(low, high), dtype) * 0.5
        low, high = low - half, high + half
        steps = tensor_from_array(np.arange(n + 1, dtype=dtype))
        inner = steps * ((high - low) / n) + low
        return ns.where(ns.equal(steps, float(n)), high, inner)
    edges = as_operand(bins, name)
    if edges._spec.ndim != 1 or edges._spec.size < 1:
        raise ValueError(f"{name}: bins must be 1d, when an array, not of shape {edges.shape}")
    if edges._value is not None and (np.diff(edges._value) < 0).any():
        raise ValueError(f"{name}: bins must increase monotonically, when an array")
    return edges.detach()


def _plain(value: Any) -> Any:
    return value.detach().numpy() if isinstance(value, Tensor) and value._spec.ndim == 0 else value


def _numbers(x: Tensor, edges: Tensor) -> Tensor:
    """The bin of each element, from 1; the last one is closed, 0 and one more are outside."""
    x, n = x.detach(), edges._spec.size - 1
    dtype = result_dtype(x._spec.dtype, edges._spec.dtype)
    x, edges = cast(x, dtype), cast(edges, dtype)
    place = ns.searchsorted(edges, x, side="right")
    return ns.where(ns.equal(x, ns.take(edges, n)), n, place)


def _totals(name: str, numbers: Tensor, weights: Any, shape: tuple[int, ...]) -> Tensor:
    """Counts (or sums of weights) in bins that have two more along each axis, for what is outside."""
    n = math.prod(s + 2 for s in shape)
    flat = reshaped(cast(numbers, INT64), (numbers._spec.size,))
    if weights is None:
        w = tensor_from_array(np.ones(flat._spec.shape, np.int64))
    else:
        w = as_operand(weights, name)
        if w._spec.shape != numbers._spec.shape:
            raise ValueError(f"{name}: weights of shape {w.shape} should have the shape {numbers.shape}")
        w = reshaped(cast(w, INT64) if w._spec.kind == "b" else w, flat._spec.shape)
    total = reshaped(scatter_add(w, flat, 1, (n,)), tuple([s + 2 for s in shape]))
    return total[tuple([slice(1, s + 1) for s in shape])]


def _normed(total: Tensor, edges: Sequence[Tensor]) -> Tensor:
    """Densities: totals divided by the bins' sizes and their sum."""
    total = as_inexact(total, "histogram")
    out = total / ns.sum(total)
    for k, e in enumerate(edges):
        widths = ns.diff(cast(e, total._spec.dtype))
        out = out / reshaped(widths, (widths._spec.size,) + (1,) * (len(edges) - k - 1))
    return out


@public(
    reference=np.histogram,
    samples=[
        Sample(((6,),), {"bins": 3}, differentiable=False),
        Sample(((2, 4),), {"bins": np.int8([-2, 0, 1, 4])}, differentiable=False),
        Sample(((4,),), prefix=(np.int8([0, 3, 1, 2]), [0, 1, 5], None, True), domain=Domain(0.5, 2.0)),
    ],
    method=False,
)
@composite
def histogram(
    x: Any, /, bins: Any = 10, range: Any = None, density: bool | None = None, weights: Any = None
) -> tuple[Tensor, Tensor]:
    """How many elements lie in each bin, as NumPy's ``histogram``.

    Gradients flow to the weights.  Counts are constant in the data, and edges taken from it are, too.

    Parameters
    ----------
    x : array_like
        Flattened.
    bins : int, str or array_like
        How many bins of equal width, one of NumPy's estimators (which look at the data), or their edges.
    range : (float, float), optional
        Where bins begin and end, if ``bins`` is a number; default the data's extremes.
    density : bool, optional
        Whether to divide by the bins' widths and by the sum, so that the integral is one.
    weights : array_like, optional
        Of ``x``'s shape: what each element counts.

    Returns
    -------
    (Tensor, Tensor)
        One value per bin (int64, unless there are weights or densities are asked for), and the edges.  The
        last bin includes its right edge.

    Raises
    ------
    ValueError
        If edges decrease, the range is not finite, or weights have another shape.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.histogram(tg.tensor([1.0, 2.0, 1.0]), bins=[0, 1, 2, 3])
    (tensor([0, 2, 1]), tensor([0, 1, 2, 3]))
    """
    x = as_operand(x, "histogram")
    x = cast(x, np.dtype("uint8")) if x._spec.kind == "b" else x
    edges = _edges("histogram", x, bins, range, weights is not None)
    total = _totals("histogram", _numbers(x, edges), weights, (edges._spec.size - 1,))
    return (_normed(total, [edges]) if density else total), edges


POINTS = np.int8([[0, 1], [3, 2], [1, 0], [2, 3]])
BINS = [np.int8([0, 2, 4]), np.int8([0, 1, 4])]


@public(
    reference=np.histogram2d,
    samples=[
        Sample(((6,), (6,)), {"bins": (2, 3)}, differentiable=False),
        Sample(((4,),), prefix=(POINTS[:, 0], POINTS[:, 1], BINS, None, True), domain=Domain(0.5, 2.0)),
    ],
    method=False,
)
@composite
def histogram2d(
    x: Any, y: Any, bins: Any = 10, range: Any = None, density: bool | None = None, weights: Any = None
) -> tuple[Tensor, Tensor, Tensor]:
    """How many points of the plane lie in each bin, as NumPy's ``histogram2d``.

    Gradients flow to the weights.

    Parameters
    ----------
    x, y : array_like, one axis
        The points' coordinates.
    bins : int or array_like, or a pair of these
        How many bins, or their edges, for both axes or for each.
    range : pair of (float, float), optional
    density, weights
        As for `histogram`.

    Returns
    -------
    (Tensor, Tensor, Tensor)
        Values, as floats, rows for ``x`` and columns for ``y``; the edges of both.

    Raises
    ------
    ValueError
        If ``x`` and ``y`` are not vectors of one length.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.histogram2d([0.0, 1.0, 1.0], [0.0, 1.0, 1.0], bins=2)[0].tolist()
    [[1.0, 0.0], [0.0, 2.0]]
    """
    name = "histogram2d"
    points = [as_operand(x, name), as_operand(y, name)]
    if points[0]._spec.ndim != 1 or points[0]._spec.shape != points[1]._spec.shape:
        shapes = f"{points[0].shape} and {points[1].shape}"
        raise ValueError(f"{name}: x and y must be vectors of the same length, not of shapes {shapes}")
    pair = isinstance(bins, (list, tuple)) and len(bins) == 2
    total, edges = _grid(name, points, bins if pair else (bins, bins), range, density, weights)
    return total, edges[0], edges[1]


def _grid(
    name: str, points: Sequence[Tensor], bins: Sequence[Any], range: Any, density: Any, weights: Any
) -> tuple[Tensor, list[Tensor]]:
    """Values in the bins of a grid, and its edges."""
    ranges = (None,) * len(points) if range is None else range
    if len(bins) != len(points) or len(ranges) != len(points):
        raise ValueError(
            f"{name}: the dimension of bins ({len(bins)}) and range ({len(ranges)}) must be equal to that of "
            f"the sample, {len(points)}"
        )
    edges = [_edges(name, p, b, r, True) for p, b, r in zip(points, bins, ranges)]
    shape = tuple([e._spec.size - 1 for e in edges])
    place = _numbers(points[0], edges[0])
    for p, e in zip(points[1:], edges[1:]):
        place = place * (e._spec.size + 1) + _numbers(p, e)
    total = _totals(name, place, weights, shape)
    if not total._spec.differentiable:
        total = cast(total, as_inexact(points[0], name)._spec.dtype)
    return (_normed(total, edges) if density else total), edges


@public(
    reference=np.histogramdd,
    samples=[
        Sample(((6, 2),), {"bins": (2, 3)}, differentiable=False),
        Sample(((4,),), prefix=(POINTS, BINS, None, True), domain=Domain(0.5, 2.0)),
    ],
    method=False,
)
@composite
def histogramdd(
    sample: Any, bins: Any = 10, range: Any = None, density: bool | None = None, weights: Any = None
) -> tuple[Tensor, tuple[Tensor, ...]]:
    """How many points of space lie in each bin, as NumPy's ``histogramdd``.  Gradients flow to the weights.

    Parameters
    ----------
    sample : array_like, shape (n, d), or sequence of d vectors
        The points: a row each, or their coordinates one by one.
    bins : int, or sequence of int or array_like
        How many bins, or their edges, for all axes or for each.
    range : sequence of (float, float) or None, optional
    density, weights
        As for `histogram`.

    Returns
    -------
    (Tensor, tuple of Tensor)
        Values, as floats, and the edges along each axis.

    Raises
    ------
    ValueError
        If there are not as many bins or ranges as axes, or vectors differ in length.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.histogramdd([[0.0, 0.0], [1.0, 1.0], [1.0, 1.0]], bins=2)[0].tolist()
    [[1.0, 0.0], [0.0, 2.0]]
    """
    name = "histogramdd"
    if isinstance(sample, (list, tuple)) and any(isinstance(v, (np.ndarray, Tensor)) for v in sample):
        points = [as_operand(v, name) for v in sample]
    else:
        matrix = as_operand(sample, name)
        matrix = reshaped(matrix, (matrix._spec.size, 1)) if matrix._spec.ndim == 1 else matrix
        if matrix._spec.ndim != 2:
            raise ValueError(f"{name}: the sample must have two axes, not shape {matrix.shape}")
        points = list(ns.unstack(matrix, axis=1))
    if any(p._spec.ndim != 1 or p._spec.shape != points[0]._spec.shape for p in points):
        raise ValueError(
            f"{name}: coordinates must be vectors of one length, not {[p.shape for p in points]}"
        )
    each = bins if isinstance(bins, (list, tuple)) else (bins,) * len(points)
    total, edges = _grid(name, points, each, range, density, weights)
    return total, tuple(edges)


@public(
    reference=np.histogram_bin_edges,
    samples=[Sample(((6,),), {"bins": 3}, differentiable=False)],
    method=False,
    differentiable=False,
)
@composite
def histogram_bin_edges(x: Any, /, bins: Any = 10, range: Any = None, weights: Any = None) -> Tensor:
    """The edges of the bins that `histogram` would use, arguments as there; constants.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.histogram_bin_edges(tg.tensor([0.0, 4.0]), bins=2)
    tensor([0., 2., 4.])
    """
    x = as_operand(x, "histogram_bin_edges")
    return _edges("histogram_bin_edges", x, bins, range, weights is not None)
