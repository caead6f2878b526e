"""Pickling compiled functions, for other processes (multiprocessing, Dask) and for ``copy``.

What can be imported under its name is pickled by that name, as functions are. Else the function goes
along, if it can be pickled, and the other process records again; what is recorded here goes along too
where that is safe: if the function depends on nothing but code, which is compared. A function that
cannot be pickled is replaced by what was recorded (`loaded.Loaded`).
"""

from __future__ import annotations

import copy
import hashlib
import importlib
import pickle
import sys
import threading
import types
from collections.abc import Callable
from typing import Any

import numpy as np

from tapegrad.compiled.arguments import WeakMethod
from tapegrad.compiled.captures import SIMPLE, Environment
from tapegrad.compiled.function import Compiled
from tapegrad.program.lower.tier import begin
from tapegrad.saved.loaded import Loaded, loads
from tapegrad.saved.reading import MAX_BYTES, read
from tapegrad.saved.saving import dumps
from tapegrad.tape import TapeError

__all__ = ["deepcopy", "reduce"]

CODE = (types.FunctionType, types.BuiltinFunctionType, types.ModuleType, type, np.ufunc, np.dtype, Compiled)
_state = threading.local()


def reduce(compiled: Compiled) -> tuple:
    """What ``Compiled.__reduce__`` returns."""
    if isinstance(compiled, Loaded):
        return loads, (dumps(compiled), compiled._max_bytes, compiled._tier)
    reference = _reference(compiled)
    data = mark = None
    if (
        reference is None
        or reference[0] == "bytes"
        or (reference[0] == "name" and reference[1] == "__main__")
    ):
        data = _recorded(compiled)
    elif reference[0] == "object":
        mark = _fingerprint(compiled.__tapegrad_compiled__)
        data = _recorded(compiled) if mark is not None else None
    if reference is None and data is None:
        raise pickle.PicklingError(
            f"{compiled._name} cannot be pickled: its function cannot be imported by name, and nothing is "
            "recorded that could be pickled in its place; call it first"
        )
    return _rebuild, (reference, data, mark, compiled._name, compiled._options)


def _recorded(compiled: Compiled) -> bytes | None:
    try:
        return dumps(compiled)
    except (RuntimeError, TypeError, ValueError):  # nothing recorded, or nothing that can be saved
        return None


def _reference(compiled: Compiled) -> tuple | None:
    """How the function is found, or made, in another process; ``None`` if it is not."""
    function = compiled.__tapegrad_compiled__
    if isinstance(function, WeakMethod):
        instance, attribute = function.__self__, function.__func__.__name__
        found = getattr(type(instance), attribute, None)
        if isinstance(found, Compiled) and found.__tapegrad_compiled__ is function.__func__:
            return "method", instance, attribute
        return None
    module, name = getattr(compiled, "__module__", ""), getattr(compiled, "__qualname__", "")
    if module and name and _look_up(module, name) is compiled:
        return "name", module, name, _by_value(function) if module == "__main__" else None
    try:
        pickle.dumps(function)
    except Exception:
        by_value = _by_value(function)
        return None if by_value is None else ("bytes", by_value)
    return "object", function


def _bound(instance: Any, name: str) -> types.MethodType:
    """A compiled method's function, bound such that it keeps the object alive."""
    return types.MethodType(getattr(type(instance), name).__tapegrad_compiled__, instance)


def _look_up(module: str, name: str) -> Any:
    found: Any = sys.modules.get(module)
    for part in name.split("."):
        found = getattr(found, part, None)
    return found


def _by_value(function: Callable) -> bytes | None:
    """The function as bytes, where somebody uses cloudpickle."""
    cloudpickle = sys.modules.get("cloudpickle")
    if cloudpickle is None or getattr(_state, "busy", False):  # busy: the function refers to itself
        return None
    _state.busy = True
    try:
        return cloudpickle.dumps(function)
    except Exception:
        return None
    finally:
        _state.busy = False


def _fingerprint(function: Callable) -> str | None:
    """Stands for the code that a function depends on; ``None`` if it depends on anything else."""
    environment = Environment(function)
    reached = [v for group in environment.groups for v in group.expected]
    if (
        environment.sites
        or environment.sets
        or environment.generators
        or not all(isinstance(v, CODE) for v in reached)
    ):
        return None
    parts: list[tuple[str, ...]] = []
    for f in (function, *reached):
        if isinstance(f, types.FunctionType):
            defaults = (*(f.__defaults__ or ()), *(f.__kwdefaults__ or {}).values())
            if not all(isinstance(v, SIMPLE) for v in defaults):
                return None
            parts.append((f.__qualname__, repr(defaults)))
        elif f is function:
            return None
    for code in environment.codes:
        constants = [c for c in code.co_consts if not isinstance(c, types.CodeType)]
        parts.append((code.co_code.hex(), repr(constants), repr(code.co_names)))
    return hashlib.sha256(repr(parts).encode()).hexdigest()


def _rebuild(
    reference: tuple | None, data: bytes | None, mark: str | None, name: str, options: tuple
) -> Compiled:
    """The compiled function, in the process that it was sent to."""
    function = _resolve(reference)
    if isinstance(function, Compiled):
        return function
    if function is None:
        if data is None:
            shown = ".".join(reference[1:3]) if reference is not None else name
            raise TapeError(
                f"{name}: {shown} is not there in this process, and nothing was recorded before pickling"
            )
        return loads(data, tier=options[3])
    compiled = Compiled(function, *options)
    if data is not None and mark is not None and _fingerprint(function) == mark:
        _, entries = read(data, MAX_BYTES)
        for path in (p for e in entries.values() for p in e.paths):
            begin(path.program, compiled._tier)
        compiled._environments.insert(0, (Environment(function), entries))
    return compiled


def _resolve(reference: tuple | None) -> Any:
    if reference is None:
        return None
    kind, *rest = reference
    if kind == "object":
        return rest[0]
    if kind == "method":
        return _bound(rest[0], rest[1])
    by_value = rest[-1]
    if kind == "name":
        module, name = rest[:2]
        if module != "__main__":
            importlib.import_module(module)
        found = _look_up(module, name)
        if isinstance(found, Compiled):
            return found
        if module != "__main__":
            raise TapeError(f"{module}.{name} is no compiled function in this process")
    try:
        return None if by_value is None else pickle.loads(by_value)
    except ImportError:  # cloudpickle is not installed here
        return None


def deepcopy(compiled: Compiled, memo: dict) -> Compiled:
    """What ``Compiled.__deepcopy__`` returns: a copy of the function, with recordings of its own."""
    function = compiled.__tapegrad_compiled__
    if isinstance(function, WeakMethod):
        function = _bound(copy.deepcopy(function.__self__, memo), function.__func__.__name__)
        return Compiled(function, *compiled._options)
    return Compiled(copy.deepcopy(function, memo), *compiled._options)
