"""What kernels rely on, checked again for rows that did not come from tapegrad's own functions.

A row's shape rule checks what a user can get wrong; the rest is established by the public function that
records the row (axes are in range, an index has the right dtype, sizes agree). On a tape read from a
file nothing is established, and kernels do not check: an axis out of range would let them read and write
anywhere. So ``signature_of`` checks for each row everything that its kernel takes for granted, and only
then runs the shape rule. Indices that are data need no check: kernels refuse those out of bounds.

A structured row without an entry in ``CHECKS`` is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from tapegrad.ops.axes import size_of
from tapegrad.ops.fft import table_size
from tapegrad.ops.record import Signature
from tapegrad.ops.table import Kind, Row, rows
from tapegrad.spec import BOOL, DTYPES, INT64, MAX_DIMS, Spec, complex_dtype, intern_spec
from tapegrad.spec import table as spec_table
from tapegrad.tape import TapeError

__all__ = ["CHECKS", "LARGEST", "peak_bytes", "require", "signature_of"]

LARGEST = 1 << 48  # elements of an array, strides, lengths: products of two specs' numbers stay exact
Static = Mapping[str, Any]
Check = Callable[[str, tuple[Spec, ...], Static], None]

CHECKS: dict[str, Check] = {}


def require(condition: bool, message: str) -> None:
    """Raise `TapeError` unless ``condition`` holds."""
    if not condition:
        raise TapeError(message)


def signature_of(row: Row, specs: tuple[Spec, ...], static: dict[str, Any]) -> Signature:
    """The signature of a structured or movement row, verified.

    Parameters
    ----------
    row : Row
        A row of kind ``STRUCTURED`` or ``MOVEMENT``.
    specs : tuple of Spec
        The operands' shapes and dtypes.
    static : dict
        The row's static arguments.

    Returns
    -------
    Signature
        With the parameters that the shape rule gives in this process.

    Raises
    ------
    TapeError
        If the operands or static arguments are not such that the kernel stays within its operands.

    Examples
    --------
    >>> import numpy as np
    >>> from tapegrad.ops.table import ROWS
    >>> from tapegrad.spec import intern_spec
    >>> from tapegrad.saved.verify import signature_of
    >>> signature_of(ROWS["softmax"], (intern_spec((2, 3), np.dtype("float64")),), {"axis": 2})
    Traceback (most recent call last):
    tapegrad.tape.TapeError: softmax: axis 2 is out of bounds for shape (2, 3)
    """
    require(row.kind in (Kind.STRUCTURED, Kind.MOVEMENT), f"{row.name}: takes no signature")
    require(len(specs) == row.arity, f"{row.name}: takes {row.arity} operands, not {len(specs)}")
    if row.kind is Kind.MOVEMENT:
        _movement(row.name, specs, static)
        shape, strides = static["shape"], static["strides"]
        out = intern_spec(shape, specs[0].dtype)
        return Signature(row, specs, dict(static), out, (len(shape), *shape, *strides, specs[0].size))
    if row.user is not None:
        _user(row, specs, static)
    else:
        check = CHECKS.get(row.name)
        require(check is not None, f"{row.name}: cannot be verified")
        check(row.name, specs, static)  # type: ignore[misc]
    try:
        found = row.shape(*specs, **static)  # type: ignore[misc]
    except Exception as error:  # a user's own shape rule may raise anything
        raise TapeError(f"{row.name}: {error}") from error
    dtype = np.dtype(found.dtype)
    _shape(row.name, "shape", tuple(found.shape))
    require(dtype in DTYPES, f"{row.name}: dtype {dtype}")
    params = tuple([int(p) for p in found.params])
    if row.user is not None:
        _user_params(row, specs, found.shape, params)
    return Signature(row, specs, dict(static), intern_spec(tuple(found.shape), dtype), params)


def peak_bytes(trace: Any) -> int:
    """How much memory the values of a trace take together, at most, if rows run in order."""
    n = len(trace)
    lines = trace.code.tolist()
    sizes = [spec_table.by_id[line[1]].nbytes for line in lines]
    last = list(range(n))
    for i, line in enumerate(lines):
        for o in line[2 : 2 + rows[line[0]].arity]:
            if o >= 0:
                last[o] = i
    for i in (*trace.outputs, *(g.slot for g in trace.guards)):
        last[i] = n
    ends: dict[int, int] = {}
    live = peak = 0
    for i in range(n):
        live += sizes[i]
        ends[last[i]] = ends.get(last[i], 0) + sizes[i]
        peak = max(peak, live)
        live -= ends.pop(i, 0)
    return peak


# --- static arguments -----------------------------------------------------------------------------


def _names(name: str, static: Static, *expected: str) -> None:
    require(
        set(static) == set(expected), f"{name}: static arguments {sorted(static)}, not {sorted(expected)}"
    )


def _flag(name: str, static: Static, key: str) -> None:
    require(type(static[key]) is bool, f"{name}: {key} must be true or false, not {static[key]!r}")


def _whole(name: str, what: str, value: Any) -> int:
    ok = type(value) is int and 0 <= value < LARGEST
    require(ok, f"{name}: {what} must be an integer from 0, not {value!r}")
    return int(value)


def _shape(name: str, what: str, shape: Any) -> None:
    ok = type(shape) is tuple and len(shape) <= MAX_DIMS and all(type(n) is int and n >= 0 for n in shape)
    require(ok and size_of(tuple([max(n, 1) for n in shape])) < LARGEST, f"{name}: {what} {shape!r}")


def _strides(name: str, static: Static) -> None:
    _shape(name, "shape", static["shape"])
    strides = static["strides"]
    ok = type(strides) is tuple and all(type(s) is int and abs(s) < LARGEST for s in strides)
    require(ok and len(strides) == len(static["shape"]), f"{name}: strides {strides!r}")


def _axis(name: str, axis: Any, shape: tuple[int, ...], extra: int = 0) -> None:
    ok = type(axis) is int and 0 <= axis < len(shape) + extra
    require(ok, f"{name}: axis {axis!r} is out of bounds for shape {shape}")


# --- operands -------------------------------------------------------------------------------------


def _alike(name: str, x: Spec, y: Spec) -> None:
    require(x.dtype == y.dtype, f"{name}: operands of dtypes {x.dtype} and {y.dtype}")


def _index(name: str, spec: Spec) -> None:
    require(spec.dtype == INT64, f"{name}: indices must be int64, not {spec.dtype}")


def _floating(name: str, spec: Spec) -> None:
    require(spec.floating, f"{name}: the operand must be floating point, not {spec.dtype}")


def _numeric(name: str, spec: Spec) -> None:
    """Sums of truths would be bytes that are no truths."""
    require(spec.dtype != BOOL, f"{name}: operands of dtype bool")


def _same_size(name: str, spec: Spec, size: int) -> None:
    require(spec.size == size, f"{name}: an operand of shape {spec.shape} in place of one of {size} elements")


def _blocks(name: str, width: Any, indices: int, taken: int, size: int) -> None:
    """``indices`` blocks of ``width`` elements, ``taken`` in all, out of ``size``."""
    w = _whole(name, "width", width)
    whole = size % w == 0 if w else size == 0
    require(taken == indices * w and whole, f"{name}: {indices} blocks of {w}, {taken} and {size} elements")


# --- one check per row ----------------------------------------------------------------------------


def _check(*names: str) -> Callable[[Check], Check]:
    def register(check: Check) -> Check:
        for name in names:
            CHECKS[name] = check
        return check

    return register


def _movement(name: str, specs: tuple[Spec, ...], static: Static) -> None:
    _names(name, static, "shape", "strides")
    _strides(name, static)


@_check("scatter_strided")
def _scatter_strided(name: str, specs: tuple[Spec, ...], static: Static) -> None:
    _names(name, static, "in_shape", "shape", "strides")
    _shape(name, "in_shape", static["in_shape"])
    _strides(name, static)
    _same_size(name, specs[0], size_of(static["shape"]))
    _numeric(name, specs[0])


@_check("add_strided", "set_strided")
def _write_strided(name: str, specs: tuple[Spec, ...], static: Static) -> None:
    _movement(name, specs, static)
    _alike(name, *specs)
    if name == "add_strided":
        _numeric(name, specs[0])
    _same_size(name, specs[1], size_of(static["shape"]))


CHECKS["clear_strided"] = _movement


@_check("barrier")
def _barrier(name: str, specs: tuple[Spec, ...], static: Static) -> None:
    _names(name, static)


@_check("gather")
def _gather(name: str, specs: tuple[Spec, ...], static: Static) -> None:
    _names(name, static, "width", "shape")
    _shape(name, "shape", static["shape"])
    x, idx = specs
    _index(name, idx)
    _blocks(name, static["width"], idx.size, size_of(static["shape"]), x.size)


@_check("scatter_add", "scatter_max", "scatter_min")
def _scatter_add(name: str, specs: tuple[Spec, ...], static: Static) -> None:
    _names(name, static, "width", "shape")
    _shape(name, "shape", static["shape"])
    g, idx = specs
    _numeric(name, g)
    _index(name, idx)
    _blocks(name, static["width"], idx.size, g.size, size_of(static["shape"]))


@_check("index_put")
def _index_put(name: str, specs: tuple[Spec, ...], static: Static) -> None:
    _names(name, static, "width", "unique")
    _flag(name, static, "unique")
    x, v, idx = specs
    _index(name, idx)
    _alike(name, x, v)
    _blocks(name, static["width"], idx.size, v.size, x.size)


@_check("index_clear")
def _index_clear(name: str, specs: tuple[Spec, ...], static: Static) -> None:
    _names(name, static, "width")
    x, idx = specs
    _index(name, idx)
    width = _whole(name, "width", static["width"])
    _blocks(name, width, idx.size, idx.size * width, x.size)


@_check("last_writes")
def _last_writes(name: str, specs: tuple[Spec, ...], static: Static) -> None:
    _names(name, static, "blocks")
    _index(name, specs[0])
    _whole(name, "blocks", static["blocks"])


@_check("wrap_index")
def _wrap_index(name: str, specs: tuple[Spec, ...], static: Static) -> None:
    _names(name, static, "n", "stride")
    _index(name, specs[0])
    n, stride = _whole(name, "n", static["n"]), _whole(name, "stride", static["stride"])
    require(n * stride < LARGEST, f"{name}: {n} elements {stride} apart")


@_check("gather_along")
def _gather_along(name: str, specs: tuple[Spec, ...], static: Static) -> None:
    _names(name, static, "axis")
    x, idx = specs
    _index(name, idx)
    axis = static["axis"]
    _axis(name, axis, x.shape)
    ok = x.ndim == idx.ndim and all(a == b or k == axis for k, (a, b) in enumerate(zip(x.shape, idx.shape)))
    require(ok, f"{name}: shapes {x.shape} and {idx.shape} differ in more than axis {axis}")


@_check("scatter_along")
def _scatter_along(name: str, specs: tuple[Spec, ...], static: Static) -> None:
    _names(name, static, "axis", "n")
    g, idx = specs
    _numeric(name, g)
    _index(name, idx)
    _axis(name, static["axis"], g.shape)
    _whole(name, "n", static["n"])
    require(g.shape == idx.shape, f"{name}: shapes {g.shape} and {idx.shape}")


@_check("concat2")
def _concat(name: str, specs: tuple[Spec, ...], static: Static) -> None:
    _names(name, static, "axis")
    _alike(name, *specs)
    _axis(name, static["axis"], specs[0].shape)


@_check("stack2")
def _stack(name: str, specs: tuple[Spec, ...], static: Static) -> None:
    _names(name, static, "axis")
    x, y = specs
    _alike(name, x, y)
    _axis(name, static["axis"], x.shape, 1)
    require(x.shape == y.shape, f"{name}: shapes {x.shape} and {y.shape}")


@_check("sum_all")
def _sum_all(name: str, specs: tuple[Spec, ...], static: Static) -> None:
    _names(name, static)
    _floating(name, specs[0])


@_check("sum", "prod", "max", "min", "any", "all", "argmax", "argmin", "nanargmax", "nanargmin")
def _reduction(name: str, specs: tuple[Spec, ...], static: Static) -> None:
    _names(name, static, "axes", "keepdims")
    _flag(name, static, "keepdims")
    axes, shape = static["axes"], specs[0].shape
    require(type(axes) is tuple and len(axes) > 0, f"{name}: axes {axes!r}")
    for axis in axes:
        _axis(name, axis, shape)
    following = axes == tuple(range(axes[0], axes[0] + len(axes)))
    require(following, f"{name}: axes {axes} are not consecutive")


@_check("logsumexp", "norm2")
def _floating_reduction(name: str, specs: tuple[Spec, ...], static: Static) -> None:
    _floating(name, specs[0])
    _reduction(name, specs, static)


@_check("softmax", "log_softmax", "logcumsumexp")
def _normalised(name: str, specs: tuple[Spec, ...], static: Static) -> None:
    _names(name, static, "axis")
    _floating(name, specs[0])
    _axis(name, static["axis"], specs[0].shape)


@_check("cumulative_sum", "cumulative_prod", "linear_recurrence")
def _scan(name: str, specs: tuple[Spec, ...], static: Static) -> None:
    flag = "exclusive" if name == "cumulative_prod" else "reverse"
    _names(name, static, "axis", flag)
    _flag(name, static, flag)
    _axis(name, static["axis"], specs[0].shape)
    for other in specs[1:]:
        _numeric(name, other)
        _alike(name, specs[0], other)
        require(other.shape == specs[0].shape, f"{name}: shapes {specs[0].shape} and {other.shape}")


@_check("cummax", "cummin")
def _running(name: str, specs: tuple[Spec, ...], static: Static) -> None:
    _names(name, static, "axis")
    _axis(name, static["axis"], specs[0].shape)


@_check("argsort")
def _argsort(name: str, specs: tuple[Spec, ...], static: Static) -> None:
    _names(name, static, "descending")
    _flag(name, static, "descending")
    require(specs[0].ndim > 0, f"{name}: an operand without axes")


@_check("searchsorted")
def _searchsorted(name: str, specs: tuple[Spec, ...], static: Static) -> None:
    _names(name, static, "right")
    _flag(name, static, "right")
    _alike(name, *specs)
    x, v = specs[0].shape, specs[1].shape
    fits = len(x) == 1 or (len(x) > 1 and len(x) == len(v) and x[:-1] == v[:-1])
    require(fits, f"{name}: values of shape {v} in sorted rows of shape {x}")


@_check("matmul")
def _matmul(name: str, specs: tuple[Spec, ...], static: Static) -> None:
    _names(name, static, "tx", "ty", "reduce")
    for key in static:
        _flag(name, static, key)
    x, y = specs
    _matrices(name, x, y)
    require(y.ndim >= 2, f"{name}: shapes {x.shape} and {y.shape}")
    batches = x.ndim == 2 or y.ndim == 2 or x.shape[:-2] == y.shape[:-2]
    require(batches, f"{name}: leading axes of shapes {x.shape} and {y.shape} differ")


@_check("matmul_add")
def _matmul_add(name: str, specs: tuple[Spec, ...], static: Static) -> None:
    _floating(name, specs[0])
    _alike(name, specs[0], specs[1])
    _matmul(name, specs[1:], static)


@_check("matvec")
def _matvec(name: str, specs: tuple[Spec, ...], static: Static) -> None:
    _names(name, static, "tx")
    _flag(name, static, "tx")
    _matrices(name, *specs)


def _matrices(name: str, x: Spec, y: Spec) -> None:
    _alike(name, x, y)
    _numeric(name, x)
    require(x.ndim >= 2, f"{name}: shapes {x.shape} and {y.shape}")


@_check("convolution", "convolution_input", "convolution_weight")
def _convolution(name: str, specs: tuple[Spec, ...], static: Static) -> None:
    sized = () if name == "convolution" else ("size",)
    _names(name, static, "stride", "padding", "dilation", "groups", *sized)
    for key, n, least in (("stride", 2, 1), ("dilation", 2, 1), ("size", 2, 1), ("padding", 4, -LARGEST)):
        values = static.get(key, (1, 1))
        ok = type(values) is tuple and len(values) == n
        ok = ok and all(type(v) is int and least <= v < LARGEST for v in values)
        require(ok, f"{name}: {key} {values!r}")
    padding, groups = static["padding"], static["groups"]
    require(min(padding[0], padding[2]) >= 0, f"{name}: padding {padding}")
    require(type(groups) is int and 0 < groups < LARGEST, f"{name}: groups {groups!r}")
    _alike(name, *specs)
    _numeric(name, specs[0])
    require(all(s.ndim == 4 for s in specs), f"{name}: shapes {specs[0].shape} and {specs[1].shape}")
    kernel = specs[1].shape[2:] if name != "convolution_weight" else static["size"]
    reach = [d * k for d, k in zip(static["dilation"], kernel)]
    require(min(kernel) > 0 and max(reach) < LARGEST, f"{name}: dilated weights of {kernel}")


@_check("max_pool", "sum_pool", "sum_pool_adjoint", "pool_shares", "pool_hits")
def _pooling(name: str, specs: tuple[Spec, ...], static: Static) -> None:
    sized = ("size",) if name == "sum_pool_adjoint" else ()
    _names(name, static, "window", "places", "stride", "padding", "dilation", *sized)
    for key, values in static.items():
        least = 0 if key in ("padding", "size") else 1
        ok = type(values) is tuple and len(values) == 2
        ok = ok and all(type(v) is int and least <= v < LARGEST for v in values)
        require(ok, f"{name}: {key} {values!r}")
    for key, step in (("places", "stride"), ("window", "dilation")):
        reach = max(a * b for a, b in zip(static[key], static[step]))
        require(reach < LARGEST, f"{name}: {key} {static[key]}, {static[step]} apart")
    x = specs[0]
    _numeric(name, x)
    require(x.ndim >= 2, f"{name}: shape {x.shape}")
    for other in specs[1:]:
        _alike(name, x, other)
    if name.startswith("pool_"):
        _, y, z = specs
        places = (*y.shape[:-2], *static["places"])
        fits = y.ndim >= 2 and z.shape == places and x.shape == (places if name == "pool_shares" else y.shape)
        require(fits, f"{name}: shapes {x.shape}, {y.shape} and {z.shape}")
    if name == "sum_pool_adjoint":
        require(x.shape[-2:] == static["places"], f"{name}: shape {x.shape} for places {static['places']}")


@_check("fft", "fft_real", "fft_half")
def _fourier(name: str, specs: tuple[Spec, ...], static: Static) -> None:
    half, real = name == "fft_half", name != "fft"
    _names(name, static, "axis", "inverse", *(("n",) if half else ()))
    _flag(name, static, "inverse")
    x, table = specs
    _axis(name, static["axis"], x.shape)
    n = _whole(name, "n", static["n"] if half else x.shape[static["axis"]])
    require(n > 0, f"{name}: axis {static['axis']} of shape {x.shape} is empty")
    require(x.differentiable, f"{name}: an operand of dtype {x.dtype}")
    wanted = intern_spec((table_size(n, real),), complex_dtype(x.dtype))
    require(table is wanted, f"{name}: {table!r} in place of the roots of unity {wanted!r}")


# --- custom operations ----------------------------------------------------------------------------


def _user(row: Row, specs: tuple[Spec, ...], static: Static) -> None:
    """A user's function of arrays: it is compiled for numbers of dimensions, and for one dtype."""
    name = row.name
    for spec in specs:
        _floating(name, spec)
        _alike(name, specs[0], spec)
    if "shapes" not in static:
        _names(name, static)
        ndims = tuple([s.ndim for s in specs])
        require(ndims == row.user.ndims, f"{name}: operands of {ndims} dimensions")
        return
    _names(name, static, "shapes")
    shapes = static["shapes"]
    require(type(shapes) is tuple, f"{name}: shapes {shapes!r}")
    for shape in shapes:
        _shape(name, "shape", shape)
    ndims = tuple([len(shape) for shape in shapes])
    require(ndims == row.user.ndims, f"{name}: arguments of {ndims} dimensions")
    require(shapes[0] == shapes[1], f"{name}: a cotangent of shape {shapes[0]} for shape {shapes[1]}")


def _user_params(row: Row, specs: tuple[Spec, ...], shape: tuple[int, ...], params: tuple[int, ...]) -> None:
    """The words that the kernel reads are there, and the arguments they describe lie in the operands."""
    code, name = row.user, row.name
    n = len(code.ndims)
    require(len(shape) == code.out_ndim, f"{name}: a result of shape {shape}")
    require(len(params) == n + code.out_ndim + sum(code.ndims), f"{name}: {len(params)} parameters")
    at = n + code.out_ndim
    for k, (ndim, source) in enumerate(zip(code.ndims, code.sources)):
        size = size_of(params[at : at + ndim])
        at += ndim
        if source >= 0:
            fits = params[k] >= 0 and params[k] + size <= specs[source].size
            require(fits, f"{name}: argument {k} is larger than its operand of shape {specs[source].shape}")


from tapegrad.saved import matrices  # noqa: E402, F401  (registers the checks of linear algebra)
