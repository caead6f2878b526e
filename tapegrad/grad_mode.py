"""Grad modes: whether operations are recorded for differentiation, and anomaly detection."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from tapegrad.tape import current

__all__ = ["detect_anomaly", "enable_grad", "is_grad_enabled", "no_grad", "set_grad_enabled"]


class _Mode:
    """A context manager that is also a decorator."""

    def __call__(self, function: Callable) -> Callable:
        @functools.wraps(function)
        def inside(*args: Any, **kwargs: Any) -> Any:
            with self._again():
                return function(*args, **kwargs)

        return inside

    def _again(self) -> Any:
        return type(self)()


class _GradMode(_Mode):
    value: bool

    def __new__(cls, function: Callable | None = None) -> Any:
        self = super().__new__(cls)
        if callable(function):
            self._outer = []
            return self(function)
        return self

    def __init__(self, function: Callable | None = None) -> None:
        self._outer: list[bool] = []

    def __enter__(self) -> None:
        tape = current.tape
        self._outer.append(tape.grad_enabled)
        tape.grad_enabled = self.value

    def __exit__(self, *exc: object) -> None:
        current.tape.grad_enabled = self._outer.pop()


class no_grad(_GradMode):
    """Record nothing for differentiation inside; a context manager or a decorator.

    Examples
    --------
    >>> import tapegrad as tg
    >>> w = tg.tensor([1.0], requires_grad=True)
    >>> with tg.no_grad():
    ...     w -= 0.5
    >>> w
    tensor([0.5000], requires_grad=True)
    """

    value = False


class enable_grad(_GradMode):
    """Record for differentiation again, inside `no_grad`."""

    value = True


class set_grad_enabled(_Mode):
    """Switch recording for differentiation on or off: a function, context manager or decorator.

    Parameters
    ----------
    mode : bool
        Whether to record.
    """

    def __init__(self, mode: bool) -> None:
        self.mode = bool(mode)
        tape = current.tape
        self._outer = tape.grad_enabled
        tape.grad_enabled = self.mode

    def __call__(self, function: Callable) -> Callable:
        current.tape.grad_enabled = self._outer
        return super().__call__(function)

    def _again(self) -> Any:
        return set_grad_enabled(self.mode)

    def __enter__(self) -> None:
        current.tape.grad_enabled = self.mode

    def __exit__(self, *exc: object) -> None:
        current.tape.grad_enabled = self._outer


def is_grad_enabled() -> bool:
    """Whether operations are being recorded for differentiation in this thread."""
    return current.tape.grad_enabled


class detect_anomaly(_Mode):
    """Stop at the first instruction that gives NaN or infinity, forward or in reverse.

    The error names the instruction and the line that recorded it.  Slow: every value and every
    cotangent is written to memory and looked at.

    Raises
    ------
    RuntimeError
        When a value is looked at, or by ``backward()``.
    """

    def __enter__(self) -> None:
        tape = current.tape
        tape.run()
        self._outer = tape.anomaly
        tape.anomaly = True

    def __exit__(self, kind: Any, *exc: object) -> None:
        tape = current.tape
        try:
            if kind is None:
                tape.run()
        finally:
            tape.anomaly = self._outer
