"""``check_grads``: derivatives of any order against central differences.

``check_grads`` compares gradients with central differences of the function itself, and then does the
same for the gradient, up to the order asked for: by induction every derivative is checked against
values only.  Differences are always taken in float64, whatever the dtype under test, so float32
gradients are held to float32's accuracy and not to that of float32 differences.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from tapegrad.ops.table import ns

if TYPE_CHECKING:
    from tapegrad.tensor import Tensor

__all__ = ["TOLERANCE", "GradientError", "check_grads"]


class Tolerance(NamedTuple):
    """What a gradient may differ by: ``atol + rtol * |value|``."""

    atol: float
    rtol: float


# The one place that says how exact gradients have to be.
TOLERANCE = {"float64": Tolerance(1e-7, 1e-6), "float32": Tolerance(1e-4, 3e-4)}
STEP = 6e-6  # cube root of float64's epsilon: balances truncation and rounding of a central difference
FULL = 64  # operands up to this size are differenced in every coordinate, larger ones in a direction


class GradientError(AssertionError, RuntimeError):
    """A gradient that differs from finite differences.

    An ``AssertionError`` for test runners, a ``RuntimeError`` as PyTorch's ``gradcheck`` raises.

    Attributes
    ----------
    order : int
        Order of the derivative that failed: 1 for the gradient itself.
    operand : str
        Which operand, e.g. ``"operand 1"``.
    position : tuple of int
        Index into the operand.
    analytic, numeric : float
        The value from the reverse sweep and from finite differences.
    """

    def __init__(
        self,
        order: int,
        operand: str,
        position: tuple[int, ...],
        analytic: float,
        numeric: float,
        mode: str,
        other: str = "central differences give",
    ) -> None:
        self.order, self.operand, self.position = order, operand, position
        self.analytic, self.numeric = analytic, numeric
        super().__init__(
            f"derivative of order {order} with respect to {operand} is wrong at position {position}: "
            f"{mode} gives {analytic!r}, {other} {numeric!r}"
        )


# --- check_grads ----------------------------------------------------------------------------------


def check_grads(
    f: Callable,
    args: Sequence[Any],
    order: int = 2,
    modes: Sequence[str] = ("rev",),
    eps: float | None = None,
    atol: float | None = None,
    rtol: float | None = None,
    seed: int = 0,
) -> None:
    """Check the derivatives of ``f`` at ``args`` against central differences.

    Operands of at most 64 elements are checked in every coordinate, larger ones in a random direction
    (and, where that fails, the wrong coordinate is found by bisection).

    Parameters
    ----------
    f : callable
        Function of tensors that returns a tensor or a tuple of tensors.
    args : sequence
        Arrays, tensors and floats, any shapes.  Those of floating and complex dtype are differentiated
        (complex ones by their parts, along a last axis of length two); anything else (integer and boolean
        arrays, ints, strings) is passed on.
    order : int
        Highest order of derivative; every order from the second uses ``create_graph=True``.
    modes : sequence of {"rev", "fwd"}
        Sweeps to check.
    eps : float, optional
        Step of the differences, relative to ``max(1, |x|)``.
    atol, rtol : float, optional
        Tolerances; default by dtype (``tapegrad.testing.TOLERANCE``).
    seed : int
        Seed of the random cotangents and directions.

    Raises
    ------
    GradientError
        Names the operand, the position, both values and the order.
    ValueError
        If a mode is unknown or no argument is floating point.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.testing.check_grads(lambda x, y: tg.sin(x) * y, [[0.5, 1.0], 2.0])
    """
    Check(modes, eps, atol, rtol, seed).run(f, args, order)


class Check:
    """One call of ``check_grads``: its settings, and what it has seen."""

    def __init__(
        self,
        modes: Sequence[str] = ("rev",),
        eps: float | None = None,
        atol: float | None = None,
        rtol: float | None = None,
        seed: int = 0,
    ) -> None:
        unknown = set(modes) - {"rev", "fwd"}
        if unknown:
            raise ValueError(f"check_grads: unknown modes {sorted(unknown)}; use 'rev' and 'fwd'")
        self.modes, self.eps, self.atol, self.rtol = modes, eps or STEP, atol, rtol
        self.rng = np.random.default_rng(seed)
        self.checks = 0
        self.error = 0.0  # largest difference seen, relative to max(1, |value|)

    def run(self, f: Callable, args: Sequence[Any], order: int) -> None:
        f, values = _by_parts(f, [as_value(a) for a in args])
        names = [f"operand {k}" for k in range(len(values))]
        if not any(map(active, values)):
            raise ValueError("check_grads: no argument is of floating dtype")
        self._order(f, values, names, 1, order)

    def _order(self, f: Callable, values: list, names: list[str], order: int, highest: int) -> None:
        inputs, outs = _call(f, values)
        weights = [np.asarray(self.rng.uniform(0.5, 1.5, o.shape), o.dtype) for o in outs]
        wide = [v.astype(np.float64) if active(v) else v for v in values]
        dtype = "float32" if any(active(v) and v.dtype == np.float32 for v in values) else "float64"
        tolerance = TOLERANCE[dtype]
        if self.atol is not None:
            tolerance = tolerance._replace(atol=self.atol)
        if self.rtol is not None:
            tolerance = tolerance._replace(rtol=self.rtol)

        def scalar(changed: list) -> tuple[float, float]:
            """The weighted sum of all outputs, and the sum of its terms' magnitudes."""
            terms = [
                np.asarray(w, np.float64) * to_array(o)
                for w, o in zip(weights, _call(f, changed)[1], strict=True)
            ]
            return sum(float(t.sum()) for t in terms), sum(float(np.abs(t).sum()) for t in terms)

        if "rev" in self.modes:
            grads = gradients(outs, list(filter(active, inputs)), weights)
            found = iter(grads)
            for k, v in enumerate(wide):
                if active(v):
                    g = next(found)
                    analytic = np.zeros(v.shape) if g is None else to_array(g).astype(np.float64)
                    if analytic.shape != v.shape:
                        raise AssertionError(
                            f"derivative of order {order} with respect to {names[k]} has shape "
                            f"{analytic.shape}, not {v.shape}"
                        )
                    self._operand(scalar, wide, k, names[k], analytic, order, tolerance)
        if "fwd" in self.modes:
            self._forward(f, values, wide, scalar, weights, order, tolerance)
        if order < highest:
            recorded = gradient_function(f, len(values))
            further = [*values, *weights]
            if "rev" in self.modes:
                differentiated = [n for n, v in zip(names, values, strict=True) if active(v)]
                checked = list(zip(differentiated, grads, strict=True))
                self._recorded(recorded, further, checked, order, tolerance)
            names = [*names, *(f"cotangent {k}" for k in range(len(weights)))]
            self._order(recorded, further, names, order + 1, highest)

    def _recorded(
        self, recorded: Callable, values: list, checked: list, order: int, tolerance: Tolerance
    ) -> None:
        """Gradients recorded with ``create_graph=True`` are those of the compiled sweep.

        The next order differentiates them, and would not notice that they are wrong.
        """
        found = [to_array(g) for g in _call(recorded, values)[1]]
        expected = [(name, to_array(g)) for name, g in checked if g is not None]
        for got, (name, wanted) in zip(found, expected, strict=True):
            for position in np.ndindex(wanted.shape):
                x, y = float(got[position]), float(wanted[position])
                self.checks += 1
                if not abs(x - y) <= tolerance.atol + tolerance.rtol * abs(y):
                    raise GradientError(
                        order, name, position, x, y, "create_graph=True", "the compiled sweep gives"
                    )

    def _operand(
        self,
        scalar: Callable,
        values: list,
        k: int,
        name: str,
        analytic: np.ndarray,
        order: int,
        tolerance: Tolerance,
    ) -> None:
        size = analytic.size
        if size <= FULL:
            for i in range(size):
                direction = np.zeros(size)
                direction[i] = 1.0
                self._compare(scalar, values, k, name, analytic, direction, order, tolerance)
            return
        direction = self.rng.uniform(0.5, 1.5, size) * self.rng.choice([-1.0, 1.0], size)
        try:
            self._compare(scalar, values, k, name, analytic, direction, order, tolerance)
        except GradientError:
            low, high = 0, size  # invariant: the direction restricted to [low, high) disagrees
            while high - low > 1:
                middle = (low + high) // 2
                part = np.zeros(size)
                part[low:middle] = direction[low:middle]
                try:
                    self._compare(scalar, values, k, name, analytic, part, order, tolerance)
                    low = middle
                except GradientError:
                    high = middle
            part = np.zeros(size)
            part[low] = 1.0
            self._compare(scalar, values, k, name, analytic, part, order, tolerance)
            raise

    def _compare(
        self,
        scalar: Callable,
        values: list,
        k: int,
        name: str,
        analytic: np.ndarray,
        direction: np.ndarray,
        order: int,
        tolerance: Tolerance,
    ) -> None:
        numeric, noise = _difference(scalar, values, {k: direction.reshape(analytic.shape)}, self.eps)
        expected = float(analytic.ravel() @ direction)
        position = np.unravel_index(int(np.abs(direction).argmax()), analytic.shape or (1,))
        self._judge(
            expected,
            numeric,
            noise,
            order,
            name,
            tuple(int(i) for i in position) if analytic.shape else (),
            tolerance,
            "reverse mode",
        )

    def _forward(
        self,
        f: Callable,
        values: list,
        wide: list,
        scalar: Callable,
        weights: list,
        order: int,
        tolerance: Tolerance,
    ) -> None:
        for k, v in enumerate(values):
            if not active(v):
                continue
            direction = self.rng.uniform(-1.0, 1.0, v.shape)

            def one(x: Any, k: int = k) -> tuple:
                # all of them require grad: a gradient, which higher orders check, is taken by all
                given = [
                    ns.tensor(u, requires_grad=active(u)) if isinstance(u, np.ndarray) else u for u in values
                ]
                given[k] = x
                return tuple(floating(f(*given)))

            _, tangents = ns.jvp(one, (ns.tensor(v),), (ns.tensor(direction.astype(v.dtype)),))
            got = sum(float((w * to_array(t)).sum()) for w, t in zip(weights, tangents, strict=True))
            numeric, noise = _difference(scalar, wide, {k: direction}, self.eps)
            self._judge(got, numeric, noise, order, f"operand {k}", (), tolerance, "forward mode")

    def _judge(
        self,
        analytic: float,
        numeric: float,
        noise: float,
        order: int,
        name: str,
        position: tuple[int, ...],
        tolerance: Tolerance,
        mode: str,
    ) -> None:
        self.checks += 1
        magnitude = max(abs(analytic), abs(numeric))
        difference = abs(analytic - numeric)
        allowed = tolerance.atol + tolerance.rtol * magnitude + noise
        if not difference <= allowed:  # also when either is NaN
            raise GradientError(order, name, position, analytic, numeric, mode)
        self.error = max(self.error, difference / max(1.0, magnitude))


def _difference(scalar: Callable, values: list, directions: dict, eps: float) -> tuple[float, float]:
    """Central difference of ``scalar`` along ``directions``, and a bound on its rounding error."""
    up, down = list(values), list(values)
    step = eps
    for k, direction in directions.items():
        moved = direction != 0
        step *= max(1.0, float(np.abs(values[k][moved]).max(initial=0.0)))
        step /= max(1.0, float(np.abs(direction).max(initial=0.0)))
    for k, direction in directions.items():
        up[k] = np.asarray(values[k] + step * direction)
        down[k] = np.asarray(values[k] - step * direction)
    (high, size_high), (low, size_low) = scalar(up), scalar(down)
    noise = 16 * np.finfo(np.float64).eps * max(size_high, size_low) / step
    return (high - low) / (2 * step), noise


def as_value(a: Any) -> Any:
    from tapegrad.tensor import Tensor

    if isinstance(a, Tensor):
        return np.array(a.detach().numpy())
    if isinstance(a, (float, complex, np.ndarray, np.generic, list)):
        return np.array(a)
    return a


def _by_parts(f: Callable, values: list) -> tuple[Callable, list]:
    """``f`` as a function of real arrays: complex ones have their parts along a last axis."""
    paired = [isinstance(v, np.ndarray) and v.dtype.kind == "c" for v in values]
    if not any(paired):
        return f, values
    parts = [
        np.stack([v.real, v.imag], axis=-1) if pair else v for v, pair in zip(values, paired, strict=True)
    ]

    def of_parts(*given: Any) -> Any:
        return f(*[ns.view_as_complex(x) if pair else x for x, pair in zip(given, paired, strict=True)])

    return of_parts, parts


def active(v: Any) -> bool:
    dtype = getattr(v, "dtype", None)
    return dtype is not None and dtype.kind == "f"


def to_array(t: Tensor) -> np.ndarray:
    return np.asarray(t.detach().numpy())


def flattened(out: Any) -> list:
    """Results, also those in tuples within tuples."""
    return [part for o in out for part in flattened(o)] if isinstance(out, (tuple, list)) else [out]


def floating(out: Any) -> list:
    outs = flattened(out)
    outs = [ns.view_as_real(o) if is_tensor(o) and o.dtype.kind == "c" else o for o in outs]
    return [o for o in outs if active(o)]


def _call(f: Callable, values: list) -> tuple[list, list]:
    inputs = [ns.tensor(v, requires_grad=active(v)) if isinstance(v, np.ndarray) else v for v in values]
    return inputs, floating(f(*inputs))


def gradients(outs: list, inputs: list, weights: list, create_graph: bool = False) -> list:
    """Gradients of the outputs; ``None`` where nothing depends on an input."""
    live = [
        (o, w if is_tensor(w) else ns.tensor(w))
        for o, w in zip(outs, weights, strict=True)
        if o.requires_grad
    ]
    if not live:
        return [None] * len(inputs)
    return list(
        ns.autograd.grad(
            [o for o, _ in live],
            inputs,
            [w for _, w in live],
            create_graph=create_graph,
            allow_unused=True,
        )
    )


def is_tensor(v: Any) -> bool:
    from tapegrad.tensor import Tensor

    return isinstance(v, Tensor)


def gradient_function(f: Callable, n: int) -> Callable:
    """The gradient of ``f`` as a function of its ``n`` inputs and the outputs' cotangents."""

    def gradient(*inputs: Any) -> tuple:
        outs = floating(f(*inputs[:n]))
        found = gradients(outs, list(filter(active, inputs[:n])), list(inputs[n:]), create_graph=True)
        return tuple(g for g in found if g is not None)

    return gradient
