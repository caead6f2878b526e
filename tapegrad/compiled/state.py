"""What a compiled function keeps beside its recordings: statistics, the fast way in, bound methods."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tapegrad.compiled.captures import Environment
from tapegrad.compiled.paths import Entry

if TYPE_CHECKING:
    from tapegrad.compiled.function import Compiled

__all__ = ["CompileStats", "Fast", "Method", "Window"]


@dataclass
class CompileStats:
    """What a compiled function has done so far.

    Attributes
    ----------
    signatures, traces : int
        How many are kept now.
    recordings, replays : int
        How often the function was recorded; how often an earlier recording answered a call.
    guard_failures : int
        How often a replay saw another value than its recording.
    fallbacks : int
        Calls that were answered by calling the function itself.
    evicted : int
        Paths that were given up for newer ones.
    tier : str
        What runs the path used last: ``"interpret"``, ``"lowering"`` while machine code is made in the
        background, or ``"native"``.
    """

    signatures: int = 0
    traces: int = 0
    recordings: int = 0
    replays: int = 0
    guard_failures: int = 0
    fallbacks: int = 0
    evicted: int = 0
    tier: str = "interpret"


class Window:
    """How recording has gone lately, for one signature."""

    __slots__ = ("began", "reasons", "recordings")

    def __init__(self, began: int) -> None:
        self.began = began  # how many replays there had been
        self.recordings = 0
        self.reasons: Counter[str] = Counter()


class Fast:
    """What a call must look like to be answered without taking its arguments apart."""

    __slots__ = ("buffers", "count", "entry", "environment", "grad_enabled", "out", "wanted")

    def __init__(self, wanted: list[Any], entry: Entry, environment: Environment, grad_enabled: bool) -> None:
        self.wanted, self.entry, self.environment = wanted, entry, environment
        self.count, self.grad_enabled = len(wanted), grad_enabled
        self.out: Any = None  # what the last call wrote to, and the arrays in it
        self.buffers: list[np.ndarray] = []


class Method:
    """A compiled method bound to its object, which it keeps alive; all else is the compiled function's."""

    __slots__ = ("__weakref__", "_compiled", "_instance")

    def __init__(self, compiled: Compiled, instance: Any) -> None:
        self._compiled, self._instance = compiled, instance

    def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
        return self._compiled(*args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._compiled, name)

    def __reduce__(self) -> Any:
        return self._compiled.__reduce__()

    def __deepcopy__(self, memo: dict) -> Any:
        return self._compiled.__deepcopy__(memo)

    def __repr__(self) -> str:
        return repr(self._compiled)
