"""Automatic differentiation for NumPy users: a flat tape and a jitted interpreter.

>>> import tapegrad as tg
>>> x = tg.tensor([2.0, 2.0], requires_grad=True)
>>> y = (x * x).sum()
>>> y.backward()
>>> x.grad
tensor([4., 4.])
"""

from __future__ import annotations

from typing import Any

from tapegrad import autograd as autograd
from tapegrad.autograd import detect_anomaly as detect_anomaly
from tapegrad.autograd import enable_grad as enable_grad
from tapegrad.autograd import is_grad_enabled as is_grad_enabled
from tapegrad.autograd import no_grad as no_grad
from tapegrad.autograd import set_grad_enabled as set_grad_enabled
from tapegrad.ops import namespace as _namespace

__version__ = "0.1.0"
__array_api_version__ = "2024.12"

_grad_mode = ("autograd", "detect_anomaly", "enable_grad", "is_grad_enabled", "no_grad", "set_grad_enabled")
_late = ("testing",)  # imported when first used

globals().update(_namespace.exports)
__all__ = sorted([*_namespace.exports, *_grad_mode, *_late])


def __getattr__(name: str) -> Any:
    if name in _late:
        from importlib import import_module

        return import_module(f"tapegrad.{name}")
    raise AttributeError(f"module 'tapegrad' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
