"""Machine code of one program: compiled by LLVM, counted, and freed with the program.

LLVM is used as an assembler: a shared target machine turns text into object code, a shared linker maps it.
An engine for each program (MCJIT, as Numba uses it) would keep 700 KB of LLVM's own structures alive each.
"""

from __future__ import annotations

import functools
import itertools
import sys
import weakref
from typing import Any

import llvmlite.binding as llvm
from llvmlite.binding.orcjit import JITLibraryBuilder, create_lljit_compiler

from tapegrad._machine import host
from tapegrad.program.lower.ir import prelude
from tapegrad.program.lower.tier import NoRoom, llvm_works, working

__all__ = ["BUDGET", "Code", "held"]

BUDGET = 64 << 20  # bytes of machine code in the process
LEVEL = 0  # of LLVM's code generator; see decision 0011
MODULE = 4000  # lines of text that are compiled at once: how long a fork has to wait

_alive: weakref.WeakSet[Code] = weakref.WeakSet()
_names = (f"tapegrad_{k}" for k in itertools.count())


def held() -> int:
    """Bytes of machine code that live programs hold."""
    return sum(code.nbytes for code in list(_alive))


@functools.cache
def _machine(level: int) -> Any:
    """What turns text into object code."""
    cpu, features = host()
    target = llvm.Target.from_default_triple()
    return target.create_target_machine(cpu=cpu, features=features, opt=level, jit=True)


@functools.cache
def _linker() -> Any:
    machine = llvm.Target.from_default_triple().create_target_machine(opt=LEVEL, jit=True)
    # the newer of its two linkers needs less memory, and gives it back since LLVM 17
    newer = llvm.llvm_version_info[0] >= 17 and sys.platform != "win32"
    return create_lljit_compiler(machine, use_jit_link=newer)


class Code:
    """Functions in machine code.

    Attributes
    ----------
    addresses : dict
        Name of a function -> its address, good for as long as this object lives.
    nbytes : int
        Size of the object code.

    Parameters
    ----------
    functions : list of (str, str)
        Names and texts.

    Raises
    ------
    NoRoom
        If all programs of the process together would have more than ``BUDGET`` bytes of code.
    RuntimeError
        If LLVM does not compile or link it.
    """

    def __init__(self, functions: list[tuple[str, str]]) -> None:
        self.nbytes = 0
        _alive.add(self)
        library = JITLibraryBuilder()
        for text in _modules(functions):
            with llvm_works():
                data = _assemble(text)
            self.nbytes += len(data)
            if held() > BUDGET:
                raise NoRoom(f"{held() >> 20} MiB of machine code are in use")
            library.add_object_img(data)
        for name, _ in functions:
            library.export_symbol(name)
        with llvm_works():
            code = library.link(_linker(), next(_names))
        self.addresses: dict[str, int] = {name: code[name] for name, _ in functions}
        weakref.finalize(self, _free, code).atexit = False


def _assemble(text: str) -> bytes:
    """Object code of a module, in a context of its own: constants live as long as their context."""
    context = llvm.create_context()
    module = llvm.parse_assembly(text, context)
    try:
        return _machine(LEVEL).emit_object(module)
    finally:
        module.close()
        context.close()


def _free(code: Any) -> None:
    """Give machine code back."""
    # Python may collect garbage anywhere, so waiting for a lock must have an end
    alone = working.acquire(timeout=1.0)
    try:
        code.close()
    finally:
        if alone:
            working.release()


def _modules(functions: list[tuple[str, str]]) -> list[str]:
    """Functions put together to modules."""
    out: list[str] = []
    part: list[str] = []
    lines = 0
    for _, text in functions:
        part.append(text)
        lines += text.count("\n")
        if lines > MODULE:
            out.append(prelude() + "".join(part))
            part, lines = [], 0
    if part:
        out.append(prelude() + "".join(part))
    return out
