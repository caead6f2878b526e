"""``compile``: record a function once, replay it often.

A *signature* (structure, shapes, dtypes, static values) has a tree of recorded paths (`paths.Entry`).  A call
runs the most recently used one, which checks its guards as it goes; where one fails, the tree says which path
to try next, or the function is recorded again.  What the function captures is checked first
(`captures.Environment`).
"""

from __future__ import annotations

import functools
import inspect
import os
import threading
import warnings
import weakref
from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from tapegrad.compiled.arguments import (
    Static,
    WeakMethod,
    as_array,
    check_apart,
    check_out,
    is_data,
    reference,
)
from tapegrad.compiled.captures import Environment, typed
from tapegrad.compiled.machine import MachineCode
from tapegrad.compiled.paths import Entry, Path
from tapegrad.compiled.record_path import Unrecordable, record_path, warn_of_exact_values
from tapegrad.compiled.recording import GuardWarning
from tapegrad.compiled.state import CompileStats, Fast, Method, Window
from tapegrad.program.lower.tier import TIERS, begin
from tapegrad.spec import intern_spec
from tapegrad.tape import current
from tapegrad.tensor import Tensor, tensor_from_array
from tapegrad.trace import Trace, where
from tapegrad.tree import Structure, flatten

__all__ = ["CompileStats", "Compiled", "compile"]

MAX_SIGNATURES = 128
MAX_ENVIRONMENTS = 8
MAX_INSTANCES = 256
BEHAVED = 257  # flags.num: C-contiguous and aligned
ndarray = np.ndarray


_alive: weakref.WeakSet[Compiled] = weakref.WeakSet()


class Compiled(MachineCode):
    """A function that is recorded once per signature and replayed afterwards; made by `compile`."""

    def __init__(
        self,
        function: Callable,
        static_argnums: int | Iterable[int] = (),
        static_argnames: str | Iterable[str] = (),
        max_traces: int = 64,
        tier: str = "auto",
    ) -> None:
        if not callable(function):
            raise TypeError(f"compile: expected a function, not {type(function).__name__}")
        if max_traces < 1:
            raise ValueError(f"compile: max_traces must be at least 1, not {max_traces}")
        if tier not in TIERS:
            raise ValueError(f"compile: tier must be one of {', '.join(map(repr, TIERS))}, not {tier!r}")
        self.__tapegrad_compiled__ = function
        self._options = (static_argnums, static_argnames, max_traces, tier)
        self._tier = tier
        nums = (static_argnums,) if isinstance(static_argnums, int) else tuple(static_argnums)
        names = (static_argnames,) if isinstance(static_argnames, str) else tuple(static_argnames)
        self._static_nums, self._static_names = self._statics(function, nums, names)
        self._max_traces = max_traces
        self._takes_out = "out" in self._parameters(function)
        functools.update_wrapper(self, function, updated=())
        self._name = getattr(function, "__qualname__", None) or type(function).__name__
        self._instances: OrderedDict[int, tuple[Any, Compiled]] = OrderedDict()
        self._warned: set[tuple[str, int]] = set()
        self._lock = threading.RLock()
        self.clear()
        _alive.add(self)

    @staticmethod
    def _parameters(function: Callable) -> list[str]:
        try:
            return list(inspect.signature(function).parameters)
        except (TypeError, ValueError):
            return []

    def _statics(self, function: Callable, nums: tuple, names: tuple) -> tuple[frozenset, frozenset]:
        parameters = self._parameters(function)
        for n in nums:
            if not isinstance(n, int):
                raise TypeError(f"compile: static_argnums must be integers, not {n!r}")
        try:
            kinds = [p.kind for p in inspect.signature(function).parameters.values()]
        except (TypeError, ValueError):
            kinds = []
        positional = [
            k in (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD) for k in kinds
        ]
        count = sum(positional)
        if parameters and inspect.Parameter.VAR_POSITIONAL not in kinds:
            for n in nums:
                if not -count <= n < count:
                    raise ValueError(
                        f"compile: static_argnums has {n}, but {function!r} takes {count} arguments"
                    )
        if parameters and inspect.Parameter.VAR_KEYWORD not in kinds:
            for name in names:
                if name not in parameters:
                    raise ValueError(
                        f"compile: static_argnames has {name!r}; {function!r} takes {parameters}"
                    )
        positions = {n + count if n < 0 else n for n in nums}
        called = {parameters[n] for n in positions if n < len(parameters)} | set(names)
        positions |= {k for k, name in enumerate(parameters) if name in names and positional[k]}
        return frozenset(positions), frozenset(called)

    def clear(self) -> None:
        """Forget all recordings and statistics."""
        with self._lock:
            self._fast: Fast | None = None
            self._environments: list[tuple[Environment, OrderedDict[Any, Entry]]] = []
            self._windows: OrderedDict[Any, Window] = OrderedDict()
            self._stormy: set[Any] = set()
            self._last: Path | None = None
            self._native: OrderedDict[frozenset[Path], Any] = OrderedDict()  # handles for machine code
            self._recordings = self._replays = self._failures = self._fallbacks = self._evicted = 0

    def stats(self) -> CompileStats:
        """Count recordings, replays, guard failures and so on.

        Returns
        -------
        CompileStats
            As of now; a new one at each call.

        Examples
        --------
        >>> import tapegrad as tg
        >>> square = tg.compile(lambda x: x * x)
        >>> square(3.0), square(4.0)
        (9.0, 16.0)
        >>> square.stats().recordings, square.stats().replays
        (1, 1)
        """
        entries = [e for _, entries in self._environments for e in entries.values()]
        return CompileStats(
            signatures=len(entries),
            traces=sum(len(e.paths) for e in entries),
            recordings=self._recordings,
            replays=self._replays,
            guard_failures=self._failures,
            fallbacks=self._fallbacks,
            evicted=self._evicted,
            tier=self._last.program.tier if self._last is not None else "interpret",
        )

    @property
    def tape(self) -> Trace | None:
        """The most recently recorded or used path, ``None`` before the first; ``print`` it to read it.

        Examples
        --------
        >>> import tapegrad as tg
        >>> f = tg.compile(lambda x: 2.0 * x)
        >>> f(3.0)
        6.0
        >>> [line.split("#")[0].strip() for line in str(f.tape).splitlines()]
        ['%0:f64[] = argument 0', '%1:f64[] = multiply 2.0, %0', 'return %1']
        """
        return self._last.trace if self._last is not None else None

    def save(self, path: Any) -> None:
        """Write what is recorded to a file, without Python code; `tapegrad.load` reads it.

        Parameters
        ----------
        path : path-like
            The file is replaced in one step, or not at all.

        Raises
        ------
        RuntimeError
            If nothing is recorded, or nothing that still holds.
        TypeError
            If a static argument, or a fixed part of a result, is no number, string, or tuple of these.
        OSError
            If the file cannot be written.
        """
        from tapegrad.saved.saving import save

        save(self, path)

    def __reduce__(self) -> Any:
        from tapegrad.saved.pickling import reduce

        return reduce(self)

    def __deepcopy__(self, memo: dict) -> Compiled:
        from tapegrad.saved.pickling import deepcopy

        return deepcopy(self, memo)

    def __repr__(self) -> str:
        return f"<compiled {self._name}>"

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        """Bind to an object, as methods are: each object has recordings of its own."""
        if instance is None:
            return self
        key = id(instance)
        with self._lock:
            known = self._instances.get(key)
            if known is not None and known[0]() is instance:
                self._instances.move_to_end(key)
                return Method(known[1], instance)
            bound = Compiled(WeakMethod(self.__tapegrad_compiled__, instance), *self._bound_options())
            bound._name = self._name
            self._instances[key] = (reference(instance), bound)
            while len(self._instances) > MAX_INSTANCES:
                self._instances.popitem(last=False)
            return Method(bound, instance)

    def _bound_options(self) -> tuple:
        nums = tuple([n - 1 for n in self._static_nums if n > 0])
        return nums, tuple(self._static_names), self._max_traces, self._tier

    # --- calling ----------------------------------------------------------------------------------

    def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
        tape = current.tape
        fast = self._fast
        if (
            fast is not None
            and len(args) == fast.count
            and (not kwargs or (fast.out is not None and len(kwargs) == 1 and kwargs.get("out") is fast.out))
            and not tape.recording
            and not tape.depth
        ):
            for a, wanted in zip(args, fast.wanted):
                if wanted.__class__ is tuple:
                    if (
                        a.__class__ is not ndarray
                        or a.shape != wanted[0]
                        or a.dtype is not wanted[1]
                        or a.flags.num & BEHAVED != BEHAVED
                    ):
                        break
                elif a.__class__ is not wanted:
                    break
            else:
                path = fast.entry.recent
                if (
                    path is not None
                    and tape.grad_enabled is fast.grad_enabled
                    and fast.environment.unchanged()
                    and path.still()
                ):
                    if not kwargs:
                        values = path.program.replay(args)
                        if values is not None:
                            self._replays += 1
                            self._last = path
                            return path.arrange(values)
                    elif path.fits(fast.buffers) and path.program.replay_into(args, fast.buffers):
                        self._replays += 1
                        self._last = path
                        return fast.out
        return self._call(args, kwargs)

    def _call(self, args: tuple, kwargs: dict[str, Any]) -> Any:
        tape = current.tape
        out = None if self._takes_out else kwargs.pop("out", None)
        leaves, structure = self._take_apart(args, kwargs)
        if tape.recording or tape.depth:
            return self._inside(leaves, structure)
        tensors = False
        for leaf in leaves:
            if leaf.__class__ is Tensor:
                tensors = True
                if leaf._rg and tape.grad_enabled:
                    return self._write(self.__tapegrad_compiled__(*args, **kwargs), out)
        arrays, parts = self._arrays(leaves)
        key = (structure, tuple(parts), tape.grad_enabled)
        if key in self._stormy:
            return self._direct(args, kwargs, leaves, structure, tensors, out)
        environment, entries = self._environment(key)
        entry = entries.get(key)
        if entry is None:
            with self._lock:
                entry = entries.setdefault(key, Entry())
                while len(entries) > MAX_SIGNATURES:
                    _, old = entries.popitem(last=False)
                    self._evicted += len(old.paths)
        elif len(entries) > MAX_SIGNATURES // 2:
            entries.move_to_end(key)
        wants_graph = tensors and tape.grad_enabled  # of captured tensors that require grad
        if wants_graph and entry.recent is not None and entry.recent.differentiates():
            return self._write(self.__tapegrad_compiled__(*args, **kwargs), out)
        known = entry.recorded
        try:
            found = self._replay(key, entry, arrays, out)
            if found is None:
                found = self._record_and_replay(
                    key, entry, environment, leaves, structure, arrays, out, known
                )
        except Unrecordable:
            return self._direct(args, kwargs, leaves, structure, tensors, out)
        path, results = found
        if wants_graph and path.differentiates():
            return self._write(self.__tapegrad_compiled__(*args, **kwargs), out)
        self._remember(leaves, key, args, kwargs, out)
        if out is not None:
            return out
        return path.deliver(results, tensors)

    def _take_apart(self, args: tuple, kwargs: dict[str, Any]) -> tuple[list[Any], Structure]:
        nums, names = self._static_nums, self._static_names
        if nums or names:
            args = tuple([Static(a) if k in nums else a for k, a in enumerate(args)])
            kwargs = {k: Static(v) if k in names else v for k, v in kwargs.items()}
        return flatten((args, kwargs), sort=False)  # functions may go through a dict in its own order

    def _arrays(self, leaves: list[Any]) -> tuple[list[np.ndarray], list[Any]]:
        """The array arguments, and what of each leaf belongs to the signature."""
        arrays, parts = [], []
        for leaf in leaves:
            try:
                array = as_array(leaf)
                if array is not None:
                    parts.append(intern_spec(array.shape, array.dtype))
                    arrays.append(array)
                    continue
            except TypeError as error:
                raise TypeError(f"compile: an argument of {self._name}: {error}") from None
            value = leaf.value if leaf.__class__ is Static else leaf
            try:
                part = typed(value)
                hash(part)
            except TypeError:
                kind = "static argument" if leaf.__class__ is Static else "argument"
                raise TypeError(
                    f"compile: a {kind} of {self._name} is a {type(value).__name__}, which is neither an "
                    "array nor hashable; pass arrays, numbers, containers of these, or hashable static values"
                ) from None
            parts.append(part)
        return arrays, parts

    def _inside(self, leaves: list[Any], structure: Structure) -> Any:
        """Called while another function is recorded or transformed: its operations belong there."""
        from tapegrad.ops.record import as_operand

        made = [
            x.value if x.__class__ is Static else as_operand(x, "compile") if is_data(x) else x
            for x in leaves
        ]
        args, kwargs = structure.unflatten(made)
        return self.__tapegrad_compiled__(*args, **kwargs)

    def _entry(self, args: tuple) -> tuple[Environment, Entry | None]:
        """What is recorded for the signature of a call."""
        leaves, structure = self._take_apart(args, {})
        key = (structure, tuple(self._arrays(leaves)[1]), current.tape.grad_enabled)
        environment, entries = self._environment(key)
        return environment, entries.get(key)

    # --- replaying --------------------------------------------------------------------------------

    def _replay(
        self, key: Any, entry: Entry, arrays: list[np.ndarray], out: Any
    ) -> tuple[Path, list[np.ndarray]] | None:
        """Follow the tree; ``None`` where it does not lead on."""
        path = entry.recent
        deepest = -1
        while path is not None:
            if not path.ready():
                self._window(key).reasons["a captured array's shape or contents"] += 1
                with self._lock:
                    entry.remove(path)
                return None
            buffers = misfit = None
            try:
                buffers = None if out is None else self._buffers(path, out)
            except (TypeError, ValueError) as error:  # it may fit the path that the guards lead to
                misfit = error
            try:
                failed, results = (
                    path.program.run(arrays) if buffers is None else path.program.run(arrays, buffers)
                )
            except _refusals() as error:  # by a kernel, of its operands: Python's own run says where
                raise Unrecordable from error
            if failed < 0:
                if misfit is not None:
                    raise misfit
                self._replays += 1
                if entry.recent is not path:
                    with self._lock:
                        entry.use(path)
                self._last = path
                return path, results
            self._failures += 1
            if failed <= deepest:  # the two paths' rounding differs: neither can decide
                raise Unrecordable
            deepest = failed
            with self._lock:
                seen, place = path.program.looked(failed), path.trace.guards[failed].place
                path = entry.next(path, failed, seen)
            if path is None:
                self._window(key).reasons[f"the look at {where(place)}"] += 1
        return None

    def _buffers(self, path: Path, out: Any) -> list[np.ndarray]:
        """The arrays of ``out``, one per output."""
        leaves, structure = flatten(out)
        numbers, wanted = flatten(path.structure.unflatten(path.results))
        if structure != wanted or min(path.results, default=0) < 0:
            raise ValueError(
                f"compile: out must have the structure of the result, {path.structure!r}, not {structure!r}"
            )
        buffers = dict(zip(numbers, leaves))
        for k, slot in enumerate(path.trace.outputs):
            spec = path.trace.spec(slot)
            check_out(buffers[k], spec.shape, spec.dtype)
        check_apart(buffers.values())
        return [buffers[k] for k in range(len(buffers))]

    def _write(self, result: Any, out: Any) -> Any:
        """Copy a result into ``out``, if there is one."""
        if out is None:
            return result
        targets, structure = flatten(out)
        values, own = flatten(result)
        if structure != own:
            raise ValueError(
                f"compile: out must have the structure of the result, {own!r}, not {structure!r}"
            )
        for target, value in zip(targets, values):
            array = value.detach().numpy() if isinstance(value, Tensor) else np.asarray(value)
            check_out(target, array.shape, array.dtype)
            target[...] = array
        return out

    def _environment(self, key: Any) -> tuple[Environment, OrderedDict[Any, Entry]]:
        known = self._environments
        if known and known[0][0].unchanged():
            return known[0]
        with self._lock:
            reason = None
            for k, (environment, entries) in enumerate(self._environments):
                changed = environment.difference()
                if changed is None:
                    if k:
                        self._environments.insert(0, self._environments.pop(k))
                    return environment, entries
                reason = reason or changed
            if reason is not None:
                self._window(key).reasons[f"{reason} has changed"] += 1
            return self._renew(Environment(self.__tapegrad_compiled__))

    def _renew(self, environment: Environment) -> tuple[Environment, OrderedDict[Any, Entry]]:
        self._environments.insert(0, (environment, OrderedDict()))
        while len(self._environments) > MAX_ENVIRONMENTS:
            _, entries = self._environments.pop()
            self._evicted += sum(len(e.paths) for e in entries.values())
        return self._environments[0]

    def _window(self, key: Any) -> Window:
        window = self._windows.get(key)
        if window is None:
            window = self._windows[key] = Window(self._replays)
            if len(self._windows) > 4 * MAX_SIGNATURES:
                self._windows.popitem(last=False)
        return window

    def _remember(
        self, leaves: list[Any], key: Any, args: tuple, kwargs: dict[str, Any], out: Any = None
    ) -> None:
        """Let calls like this one take the fast way."""
        if kwargs or self._static_nums or len(leaves) != len(args) or not self._environments:
            return
        wanted: list[Any] = []
        for a in args:
            if a.__class__ is ndarray and a.dtype.isnative:
                wanted.append((a.shape, a.dtype))
            elif a.__class__ in (float, bool):
                wanted.append(a.__class__)
            else:
                return
        environment, entries = self._environments[0]
        entry = entries.get(key)
        if entry is not None:
            fast = Fast(wanted, entry, environment, key[2])
            if out.__class__ is ndarray or (
                out.__class__ is tuple and all(a.__class__ is ndarray for a in out)
            ):
                fast.out, fast.buffers = out, flatten(out)[0]
            self._fast = fast

    # --- recording --------------------------------------------------------------------------------

    def _record_and_replay(
        self,
        key: Any,
        entry: Entry,
        environment: Environment,
        leaves: list[Any],
        structure: Structure,
        arrays: list[np.ndarray],
        out: Any,
        known: int,
    ) -> tuple[Path, list[np.ndarray]]:
        with self._lock:
            if entry.recorded != known:  # another thread has recorded something meanwhile
                found = self._replay(key, entry, arrays, out)
                if found is not None:
                    return found
            window = self._window(key)
            if window.recordings >= self._max_traces:
                if self._replays - window.began < 4 * window.recordings:
                    self._storm(key, window)
                    raise Unrecordable
                self._windows[key] = window = Window(self._replays)
            if environment.used:  # names that did not exist before may do so now
                now = Environment(self.__tapegrad_compiled__)
                if not now.same(environment):
                    environment, entries = self._renew(now)
                    entry = entries.setdefault(key, Entry())
            environment.used = True
            function = self.__tapegrad_compiled__
            path = record_path(self._name, function, environment, leaves, structure, arrays)
            begin(path.program, self._tier)
            self._recordings += 1
            window.recordings += 1
            warn_of_exact_values(self._name, path.trace, self._warned)
            while len(entry.paths) >= self._max_traces:
                entry.remove(min(entry.paths, key=lambda p: p.used))
                self._evicted += 1
            entry.insert(path)
            self._last = path
            return path, self._first(path, arrays, out)

    def _first(self, path: Path, arrays: list[np.ndarray], out: Any) -> list[np.ndarray]:
        """Run a path right after it was recorded."""
        buffers = None if out is None else self._buffers(path, out)
        try:
            failed, results = path.program.run(arrays, buffers)
        except _refusals() as error:
            raise Unrecordable from error
        if failed >= 0:  # rounding differs from what was seen while recording: the next call may do better
            raise Unrecordable
        return results

    def _storm(self, key: Any, window: Window) -> None:
        self._stormy.add(key)
        for _, entries in self._environments:
            dropped = entries.pop(key, None)
            self._evicted += len(dropped.paths) if dropped is not None else 0
        reasons = ", ".join(reason for reason, _ in window.reasons.most_common(3)) or "its guards"
        warnings.warn(
            f"compile: {self._name} was recorded {window.recordings} times for one signature, because of "
            f"{reasons}; from now on it is called without compiling for these arguments. Keep values "
            "tensors, use tg.where instead of branching, or make what changes an argument (static, if it "
            "has few values)",
            GuardWarning,
            stacklevel=5,
        )

    # --- define-by-run ----------------------------------------------------------------------------

    def _direct(
        self,
        args: tuple,
        kwargs: dict[str, Any],
        leaves: list[Any],
        structure: Structure,
        tensors: bool,
        out: Any,
    ) -> Any:
        """Call the function itself, on tensors; NumPy in, NumPy out all the same."""
        self._fallbacks += 1
        if tensors:
            return self._write(self.__tapegrad_compiled__(*args, **kwargs), out)
        made = []
        for x in leaves:
            array = as_array(x)
            made.append(
                x.value
                if x.__class__ is Static
                else x
                if array is None
                else tensor_from_array(np.array(array))
            )
        args, kwargs = structure.unflatten(made)
        values, shape = flatten(self.__tapegrad_compiled__(*args, **kwargs), sort=False)
        results = []
        for v in values:
            if isinstance(v, (Tensor, np.ndarray)):
                v = np.array(v.detach().numpy() if isinstance(v, Tensor) else v)
                v = v if v.shape else v.item()
            results.append(v)
        return self._write(shape.unflatten(results), out)


@functools.cache
def _refusals() -> Any:
    from tapegrad.program.program import ProgramError

    return ProgramError


def _after_fork() -> None:
    for compiled in list(_alive):
        compiled._lock = threading.RLock()  # another thread may have held it


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def compile(
    f: Callable | None = None,
    *,
    static_argnums: int | Iterable[int] = (),
    static_argnames: str | Iterable[str] = (),
    max_traces: int = 64,
    tier: str = "auto",
) -> Any:
    """Record a function once per signature, and replay it afterwards; call or decorator.

    Parameters
    ----------
    f : callable
        Function of arrays, numbers, Tensors and nested containers of these, to the same.  It is called with
        Tensors; methods can be compiled, too.
    static_argnums : int or sequence of int
    static_argnames : str or sequence of str
        Arguments that are passed on as they are and belong to the signature; they must be hashable.
        Strings, ``None`` and other objects that are no data are static by themselves.
    max_traces : int
        How many paths are kept per signature.  When more recordings than this were made and few replays,
        the function is called without compiling from then on, with a warning.
    tier : {"auto", "interpret", "native"}
        What runs a recorded path: the interpreter, or machine code for its stretches of numbers and small
        arrays, made when it is recorded.  By default that is made in the background once a path has been
        replayed often.  The results are the same.

    Returns
    -------
    Compiled
        Given arrays and numbers it returns fresh arrays, and Python numbers for 0-d results; given a
        Tensor it returns Tensors, through which gradients flow if the Tensor requires grad (the function
        is then simply called).  ``out=`` takes arrays, nested as the result is, to write to.
        ``stats()``, ``tape`` and ``clear()`` show and forget what was recorded; see also ``bind``, ``save``,
        ``numba`` and ``address``.

    Raises
    ------
    TypeError
        When called: if an argument is neither data nor hashable, has an unsupported dtype, or if a result is
        no data.
    ValueError
        If ``static_argnums`` or ``static_argnames`` name no argument, or ``tier`` is unknown; when called, if
        ``out`` has another shape or dtype than the result.
    RuntimeError
        When called: if the function draws random numbers, or changes tensors or arrays that others hold.

    Warns
    -----
    GuardWarning
        If a floating-point value is turned into a Python number (the recording holds for that value only),
        and when the function is not compiled any more because it was recorded too often.

    Notes
    -----
    Python numbers become 0-d float64, int64 or bool tensors, as `tensor` makes them.  Branches on values
    are fine: every look at a value (``bool``, ``int``, ``float``, ``item``, ``tolist``, ``numpy``) is
    checked by each replay, and what is seen for the first time is recorded.  Arrays that the function
    captures are read again at each replay; captured numbers and objects are compared, and so are the
    contents of arrays that NumPy computed with.  Printing a tensor is not a look.  Side effects
    (``print``, appending to a list) happen while recording only.

    Examples
    --------
    >>> import numpy as np
    >>> import tapegrad as tg
    >>> @tg.compile
    ... def f(x):
    ...     return (x * x).sum() if x.sum() > 0 else x.sum()
    >>> f(np.array([1.0, 2.0])), f(np.array([-1.0, -2.0])), f(np.array([3.0, 4.0]))
    (5.0, -3.0, 25.0)
    >>> f.stats().recordings
    2
    """
    if f is None:
        return functools.partial(
            compile,
            static_argnums=static_argnums,
            static_argnames=static_argnames,
            max_traces=max_traces,
            tier=tier,
        )
    return Compiled(f, static_argnums, static_argnames, max_traces, tier)
