"""One function, several bodies: decorators that name the body for a kind of operand.

Bodies for complex operands stand in `kernels.math.holomorphic`; `kernels.scalar` attaches them.

A function of scalars is compiled for one dtype of operands at a time (``tapegrad._jit``).  Its module may
say ``OPERANDS = np.float64`` or ``np.float32``: what its functions compute in, whatever they are called
with.  Otherwise that follows the kernel.  Float literals and float globals have that dtype too, as Python
numbers beside NumPy's arrays have; constants of type ``np.float64`` stay as they are.
"""

from __future__ import annotations

import math
from collections.abc import Callable

__all__ = ["apart", "boxed", "form", "integers", "on_complex", "single", "within"]


def apart(function: Callable) -> Callable:
    """Mark a function with loops or branches of its own: calls of it stay calls.

    Others are written into the loops that call them, so that these can be vectorised.
    """
    function.apart = True  # type: ignore[attr-defined]
    return function


def integers(twin: Callable) -> Callable[[Callable], Callable]:
    """Let ``twin`` stand in for the decorated function where the operands are integers."""

    def attach(function: Callable) -> Callable:
        function.integer = twin  # type: ignore[attr-defined]
        return function

    return attach


def single(twin: Callable) -> Callable[[Callable], Callable]:
    """Let ``twin`` stand in for the decorated function where the operands are float32."""

    def attach(function: Callable) -> Callable:
        function.single = twin  # type: ignore[attr-defined]
        return function

    return attach


def on_complex(twin: Callable) -> Callable[[Callable], Callable]:
    """Let ``twin`` stand in for the decorated function where the operands are complex."""

    def attach(function: Callable) -> Callable:
        function.complex = twin  # type: ignore[attr-defined]
        return function

    return attach


def boxed(quick: Callable) -> Callable[[Callable], Callable]:
    """Name a quicker form of a function of complex numbers, for parts no larger than ``holomorphic.BOX``."""

    def attach(function: Callable) -> Callable:
        function.inside = quick  # type: ignore[attr-defined]
        return function

    return attach


def within(quick: Callable, low: float = -math.inf, high: float = math.inf) -> Callable[[Callable], Callable]:
    """Name a quicker form of the decorated function, for operands ``low <= x <= high``.

    Of several, the one named last (written first) is the most special one.
    """

    def attach(function: Callable) -> Callable:
        function.forms = ((quick, low, high), *getattr(function, "forms", ()))  # type: ignore[attr-defined]
        return function

    return attach


def form(function: Callable, inside: tuple[float, float], complex: bool = False) -> Callable:
    """The quickest form of ``function`` for operands (of complex ones: for parts) that lie ``inside``."""
    if complex:
        function = getattr(function, "complex", function)
        return getattr(function, "inside", function)
    for quick, low, high in getattr(function, "forms", ()):
        if low <= inside[0] and inside[1] <= high:
            return quick
    return function
