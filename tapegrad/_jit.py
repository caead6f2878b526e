"""Compiled code, from the cache or from Numba, which is imported only if something is missing there.

Two kinds of compiled code exist:

* *engine functions* (the planner, the interpreter loops): ``@jit`` builtins that Python calls;
* *kernels*: C functions known to the engine only by address, so that a table of plain ``int64``
  selects them.

Both are made one by one, on first use, and kept in one folder whose name hashes everything the machine
code depends on: every source file of the package, the versions of Python, NumPy, Numba and llvmlite, and the
CPU with its features.  Files appear by ``os.replace``, so processes may race; a folder that cannot be
written is only read, and what it lacks is compiled in each process.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import os
import platform
import struct
import sys
import tempfile
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import llvmlite
import numpy as np

from tapegrad import _machine
from tapegrad._machine import W_CODE, W_DTYPES
from tapegrad.kernels.memory import (
    allocate,
    array,
    at,
    copy_bytes,
    fetch_add,
    fill_bytes,
    give_back,
    invoke,
    relax,
    release,
    spill,
    stack,
    take,
    words,
)

__all__ = [
    "CACHE_DIR", "CACHE_ORIGIN", "allocate", "array", "at", "compiled", "copy_bytes", "fetch_add",
    "fill_bytes", "foreign", "give_back", "invoke", "jit", "kernel", "relax", "release", "spill",
    "stack", "take", "words",
]  # fmt: skip

# --- the cache folder -----------------------------------------------------------------------------


# What machine code is made from; the command line and the printing are not.
_COMPILED = (
    "_*.py", "spec.py", "tape.py", "trace.py", "engine/*.py", "kernels/**/*.py", "ops/*.py", "program/*.py",
    "program/passes/*.py",
)  # fmt: skip
# Numba's settings that change what it makes.
_SETTINGS = ["NUMBA_" + s for s in ("OPT", "CPU_NAME", "CPU_FEATURES", "LOOP_VECTORIZE", "SLP_VECTORIZE")]


def _fingerprint() -> str:
    digest = hashlib.sha256()
    root = Path(__file__).parent
    for path in sorted({p for part in _COMPILED for p in root.glob(part)}):
        digest.update(str(path.relative_to(root)).encode())
        digest.update(path.read_bytes())
    for part in (
        sys.version,
        platform.machine(),
        np.__version__,
        importlib.metadata.version("numba"),
        llvmlite.__version__,
        *_machine.host(),
        *(os.environ.get(name, "") for name in _SETTINGS),
    ):
        digest.update(part.encode())
        digest.update(b"\0")
    return digest.hexdigest()[:20]


def _cache_root() -> Path:
    chosen = os.environ.get("TAPEGRAD_CACHE_DIR")
    if chosen:
        return Path(chosen)
    base = os.environ.get("NUMBA_CACHE_DIR")
    if base:
        return Path(base) / "tapegrad"
    return Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "tapegrad"


def _open_cache() -> tuple[Path | None, str]:
    """Return the cache folder and where it came from, or ``None`` where nothing is writable."""
    name = _fingerprint()
    candidates = [(_cache_root(), "configured")]
    owner = os.getuid() if hasattr(os, "getuid") else "user"
    candidates.append((Path(tempfile.gettempdir()) / f"tapegrad-{owner}", "temporary"))
    for root, origin in candidates:
        folder = root / name
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            if hasattr(os, "getuid") and folder.stat().st_uid != os.getuid():
                continue  # cached code is executed: never load what another user wrote
            if os.access(folder, os.R_OK | os.X_OK):
                return folder, origin
        except OSError:
            continue
    return None, "none"


CACHE_DIR, CACHE_ORIGIN = _open_cache()
compiled: dict[str, float] = {}  # kernel name -> seconds, for those this process compiled


_HEADER = struct.Struct("<II")  # checksum of the rest, length of the list of symbols


def _read(name: str) -> tuple[bytes, list[str]] | None:
    """An object file of the cache, and the symbols that it needs."""
    if CACHE_DIR is None:
        return None
    try:
        data = (CACHE_DIR / (name + ".code")).read_bytes()
    except OSError:
        return None
    check, n = _HEADER.unpack_from(data) if len(data) > _HEADER.size else (-1, 0)
    rest = data[_HEADER.size :]
    if zlib.crc32(rest) != check:
        return None
    return rest[n:], json.loads(rest[:n])


def _write(name: str, code: bytes, needs: list[str]) -> None:
    if CACHE_DIR is None:
        return
    listed = json.dumps(needs).encode()
    data = listed + code
    try:
        fd, temporary = tempfile.mkstemp(dir=CACHE_DIR)
        with os.fdopen(fd, "wb") as file:
            file.write(_HEADER.pack(zlib.crc32(data), len(listed)) + data)
        os.replace(temporary, CACHE_DIR / (name + ".code"))
    except OSError:
        pass  # read-only or full: the code works, it is only not remembered


def _load(name: str, make: Callable[[], tuple[bytes, list[str]]]) -> int:
    """The address of function ``name``: from the cache, or of what ``make`` compiles."""
    found = _read(name)
    if found is None:
        start = time.perf_counter()
        found = make()
        _write(name, *found)
        compiled[name] = time.perf_counter() - start
    code, needs = found
    missing = _machine.symbols_missing(needs)
    if missing:
        raise RuntimeError(f"tapegrad: this process lacks {', '.join(missing)}, which {name} calls")
    return _machine.link(code, name)[0]


# --- kernels --------------------------------------------------------------------------------------

_kernels: dict[str, tuple[int, Any]] = {}  # name -> address, and what must live with it


def kernel(
    name: str,
    function: Callable,
    n_args: int,
    names: dict[str, Any] | Callable[[], dict[str, Any]],
    fastmath: bool = False,
) -> int:
    """Compile (or load) ``function`` as a C function of ``n_args`` integers; return its address.

    Parameters
    ----------
    name : str
        Unique name, also the file in the cache.
    function : callable
        Plain Python kernel.  Its globals are overridden by ``names`` (dtypes, inner functions).
    n_args : int
        Number of ``int64`` arguments; the result is an ``int64`` status, 0 for success.
    names : dict or callable
        Globals to substitute, e.g. ``{"T": np.float32}``, or what returns them, called if there is
        something to compile.
    fastmath : bool
        Allow reassociation, for sums that must vectorise.
    """
    found = _kernels.get(name)
    if found is None:
        with _machine.lock:
            found = _kernels.get(name)
            if found is None:

                def make() -> tuple[bytes, list[str]]:
                    from tapegrad import _compile

                    scope = names() if callable(names) else names
                    return _compile.kernel(name, function, n_args, scope, fastmath)

                found = _kernels[name] = (_load(name, make), None)
    return found[0]


def cached(name: str) -> bool:
    """Whether a kernel is there without compiling it."""
    return name in _kernels or (CACHE_DIR is not None and (CACHE_DIR / (name + ".code")).exists())


def foreign(name: str, function: Callable, n_args: int, names: dict[str, Any]) -> int:
    """Compile a kernel around a user's own code; return its address.

    The cache does not keep it: its name could mean something else to another program.
    """
    with _machine.lock:
        if name not in _kernels:
            from tapegrad import _compile

            start = time.perf_counter()
            kept, address = _compile.foreign(name, function, n_args, names)
            _kernels[name] = (address, kept)
            compiled[name] = time.perf_counter() - start
        return _kernels[name][0]


# --- engine functions -----------------------------------------------------------------------------

engine: dict[Any, Callable] = {}  # builtin -> what it was made from


def kind_of(value: Any) -> str:
    """What compiled code takes an argument for: ``i``, ``f``, or an array's dtype and dimensions."""
    if isinstance(value, np.ndarray):
        if not value.flags.c_contiguous:
            raise TypeError("engine functions take C-contiguous arrays")
        return f"{value.dtype.str}:{value.ndim}"
    if isinstance(value, (int, np.integer, np.bool_)):
        return "i"
    if isinstance(value, (float, np.floating)):
        return "f"
    raise TypeError(f"engine functions take numbers and arrays, not {type(value).__name__}")


def jit(function: Callable) -> Any:
    """Compile an engine function (called from Python or from other engine functions).

    Called from Python it takes integers, floats and C-contiguous arrays, which it trusts to be as large as
    it reads; it returns an integer or a float.  It must not raise, nor make arrays.
    """
    name = f"{function.__module__.removeprefix('tapegrad.')}.{function.__qualname__}"
    others: dict[tuple, Any] = {}

    def resolve(*arguments: Any) -> Any:
        kinds = tuple([kind_of(a) for a in arguments])
        # two dtypes may be equal and not the same: the C code compares addresses
        key = tuple([id(a.dtype) if isinstance(a, np.ndarray) else 0 for a in arguments]), kinds
        with _machine.lock:
            call = others.get(key)
            if call is None:
                call, place = (builtin, words) if not others else _machine.builtin(name, resolve)
                symbol = f"{name}({','.join(kinds)})".translate(_SYMBOL)

                def make() -> tuple[bytes, list[str]]:
                    from tapegrad import _compile

                    return _compile.builtin(symbol, function, kinds)

                if symbol not in _addresses:
                    _addresses[symbol] = _load(symbol, make)
                for k, a in enumerate(arguments):
                    if isinstance(a, np.ndarray):
                        place[W_DTYPES + k] = id(a.dtype)
                        _dtypes.append(a.dtype)
                place[W_CODE] = _addresses[symbol]
                others[key] = call
        return call(*arguments)

    builtin, words = _machine.builtin(name, resolve)
    engine[builtin] = function
    return builtin


_addresses: dict[str, int] = {}
_dtypes: list[np.dtype] = []  # their addresses are compared with
_SYMBOL = str.maketrans({"(": "-", ")": "", ",": "_", ":": "", "<": "", ">": "", "|": ""})


# --- forking --------------------------------------------------------------------------------------


def _compiler_lock() -> Any:
    module = sys.modules.get("numba.core.compiler_lock")
    return getattr(module, "global_compiler_lock", None)


_held: list[Any] = []


def _before_fork() -> None:
    # A child forked while another thread compiles would wait for that thread, which it does not have.
    _machine.lock.acquire()
    lock = _compiler_lock()
    if lock is not None:
        lock.acquire()
    _held.append(lock)


def _after_fork() -> None:
    lock = _held.pop()
    if lock is not None:
        lock.release()
    _machine.lock.release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_parent=_after_fork, after_in_child=_after_fork)
