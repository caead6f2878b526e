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
from tapegrad.compiled.function import compile as compile
from tapegrad.compiled.recording import GuardWarning as GuardWarning
from tapegrad.engine.threads import get_num_threads as get_num_threads
from tapegrad.engine.threads import set_num_threads as set_num_threads
from tapegrad.ops import namespace as _namespace
from tapegrad.tape import TapeError as TapeError
from tapegrad.transforms import checkpoint as checkpoint
from tapegrad.transforms import elementwise_grad as elementwise_grad
from tapegrad.transforms import grad as grad
from tapegrad.transforms import hessian as hessian
from tapegrad.transforms import hvp as hvp
from tapegrad.transforms import jacfwd as jacfwd
from tapegrad.transforms import jacobian as jacobian
from tapegrad.transforms import jacrev as jacrev
from tapegrad.transforms import jvp as jvp
from tapegrad.transforms import value_and_grad as value_and_grad
from tapegrad.transforms import vjp as vjp
from tapegrad.transforms import vmap as vmap

__version__ = "0.1.0"
__array_api_version__ = "2024.12"

_grad_mode = ("autograd", "detect_anomaly", "enable_grad", "is_grad_enabled", "no_grad", "set_grad_enabled")
_transforms = (
    "checkpoint", "elementwise_grad", "grad", "hessian", "hvp", "jacfwd", "jacobian", "jacrev", "jvp",
    "value_and_grad", "vjp", "vmap",
)  # fmt: skip
_compiled = ("GuardWarning", "TapeError", "compile")
_threads = ("get_num_threads", "set_num_threads")
_late = ("custom_op", "fft", "linalg", "load", "special", "stats", "testing")  # imported when first used

globals().update(_namespace.exports)
__all__ = sorted([*_namespace.exports, *_grad_mode, *_transforms, *_compiled, *_threads, *_late])


def __getattr__(name: str) -> Any:
    if name == "custom_op":
        from tapegrad.custom.elementwise import custom_op

        return custom_op
    if name == "load":
        from tapegrad.saved.loaded import load

        return load
    if name in _late:
        from importlib import import_module

        return import_module(f"tapegrad.{name}")
    raise AttributeError(f"module 'tapegrad' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
