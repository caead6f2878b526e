"""Compiled functions for machine code: ``numba``, ``address``, and ``bind``."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

from tapegrad.compiled.captures import Environment
from tapegrad.compiled.paths import Entry, Path

if TYPE_CHECKING:
    from tapegrad.compiled.function import Compiled

__all__ = ["MachineCode"]

MAX_HANDLES = 8


class MachineCode:
    """The part of `Compiled` that leads to calls without Python."""

    _lock: threading.RLock  # type: ignore[valid-type]
    _name: str
    _last: Path | None
    _environments: list[tuple[Environment, OrderedDict[Any, Entry]]]
    _native: OrderedDict[Any, Any]

    @property
    def numba(self) -> Callable:
        """A function for ``@njit`` code that replays what is recorded for the signature used last.

        It takes one argument per array or number of the signature, then one array per result to write to;
        all C-contiguous, of the recorded dtypes and sizes.  If the first result is a float64 number, it is
        returned instead.  Threads may call it at the same time, and it allocates nothing.  Captured
        C-contiguous arrays are read where they lie; captured tensors and other arrays are what they were
        when the attribute was read.  What results are written to must not overlap arguments or captured
        arrays.  The memory is kept for the life of the process.

        Raises
        ------
        RuntimeError
            If nothing is recorded, or what the function captures has changed since.  In ``@njit`` code, if
            the values lead to a path that was not recorded when the attribute was read.
        ValueError
            In ``@njit`` code, if an array has another size than the recorded one.

        Examples
        --------
        >>> import numba, numpy as np
        >>> import tapegrad as tg
        >>> f = tg.compile(tg.value_and_grad(lambda x: (x * x).sum()))
        >>> value, gradient = f(np.array([1.0, 2.0]))
        >>> replay = f.numba
        >>> @numba.njit
        ... def descend(x, steps):
        ...     g = np.empty_like(x)
        ...     for _ in range(steps):
        ...         value = replay(x, g)
        ...         x = x - 0.25 * g
        ...     return value, x
        >>> descend(np.array([1.0, 2.0]), 3)
        (0.3125, array([0.125, 0.25 ]))
        """
        from tapegrad.program.native import njit_function

        return self._made("njit", njit_function)

    @property
    def address(self) -> int:
        """The address of a C function that replays the signature used last; float64 throughout.

        Arguments and results lie packed, one after the other, as `c_signature` tells.  What is said of
        `numba` about captured arrays and memory holds here, too.

        Raises
        ------
        RuntimeError
            If nothing is recorded, or what the function captures has changed since.
        TypeError
            If an argument or result is not float64.

        Examples
        --------
        >>> import ctypes
        >>> import tapegrad as tg
        >>> f = tg.compile(lambda x: x * x)
        >>> f(2.0), f.c_signature
        (4.0, 'double f(int n, double *x)')
        >>> kind = ctypes.CFUNCTYPE(ctypes.c_double, ctypes.c_int, ctypes.POINTER(ctypes.c_double))
        >>> kind(f.address)(1, (ctypes.c_double * 1)(3.0))
        9.0
        """
        from tapegrad.program.native import c_address

        return self._made("c", c_address)[0]

    @property
    def c_signature(self) -> str:
        """What `address` points to.

        ``double f(int n, double *x)`` if the only result is one number (NaN if no recorded path fits), else
        ``int64_t f(const double *x, double *out)``: 0 for success, ``k + 1`` if guard ``k`` failed,
        negative if an index was out of bounds.
        """
        from tapegrad.program.native import c_address

        return self._made("c", c_address)[1]

    def _made(self, what: str, make: Callable[[Any], Any]) -> Any:
        """What was made of the present handle, once."""
        with self._lock:
            path = self._last
            found = next(
                ((w, e) for w, entries in self._environments for e in entries.values() if path in e.paths),
                None,
            )
            if path is None or found is None:
                raise RuntimeError(
                    f"compile: nothing is recorded of {self._name}; call it once with typical arguments"
                )
            environment, entry = found
            changed = None if environment.unchanged() else environment.difference()
            if changed is None and not path.ready():
                changed = "a captured array"
            if changed is not None:
                raise RuntimeError(
                    f"compile: {changed} has changed since {self._name} was called; call it once again"
                )
            handle = self._handle([p for p in entry.paths if p is path or (p.matches(path) and p.ready())])
            if what not in handle.made:
                handle.made[what] = make(handle)
                handle.hot()  # what is made for machine code is made to be called often
            return handle.made[what]

    def _handle(self, paths: list[Path]) -> Any:
        """Some paths of one signature, with results of the same shapes and dtypes, for machine code."""
        from tapegrad.program.native import Handle

        key = frozenset(paths)
        with self._lock:
            handle = self._native.pop(key, None)
            if handle is None or not handle.still():
                handle = Handle([p.program for p in sorted(paths, key=lambda p: -p.used)])
            self._native[key] = handle
            while len(self._native) > MAX_HANDLES:
                self._native.popitem(last=False)
            return handle

    def bind(self, *args: Any, out: Any = None) -> Callable[[], Any]:
        """A function without arguments that replays on the same arrays again and again.

        Parameters
        ----------
        *args : ndarray
            What the function is called with; their elements are read at each call.
        out : ndarray or container of these, optional
            Where results go, at each call.  Default: fresh arrays, used by all calls.

        Returns
        -------
        callable
            Returns ``out``.  Calling it costs a fraction of calling the compiled function.

        Raises
        ------
        TypeError
            If an argument is no array, or not C-contiguous.

        Examples
        --------
        >>> import numpy as np
        >>> import tapegrad as tg
        >>> f = tg.compile(lambda x: 2.0 * x)
        >>> x = np.ones(2)
        >>> double = f.bind(x)
        >>> x[0] = 5.0
        >>> double()
        array([10.,  2.])
        """
        from tapegrad.compiled.bound import Bound

        return Bound(cast("Compiled", self), args, out)
