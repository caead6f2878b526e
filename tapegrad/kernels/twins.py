"""One function, several bodies: decorators that name the body for a kind of operand.

A function of scalars is compiled for one dtype of operands at a time (``tapegrad._jit``).  Its module may
say ``OPERANDS = np.float64`` or ``np.float32``: what its functions compute in, whatever they are called
with.  Otherwise that follows the kernel.  Float literals and float globals have that dtype too, as Python
numbers beside NumPy's arrays have; constants of type ``np.float64`` stay as they are.
"""

from __future__ import annotations

import math
from collections.abc import Callable

__all__ = ["integers", "single", "within"]


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


def within(quick: Callable, low: float, high: float = math.inf) -> Callable[[Callable], Callable]:
    """Name a quicker form of the decorated function, for tiles all of which lies in ``low <= x <= high``."""

    def attach(function: Callable) -> Callable:
        function.quick, function.range = quick, (low, high)  # type: ignore[attr-defined]
        return function

    return attach
