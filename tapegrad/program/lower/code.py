"""Machine code of one program: compiled by LLVM, counted, and freed with the program."""

from __future__ import annotations

import functools
import weakref
from typing import Any

import llvmlite.binding as llvm

from tapegrad.program.lower.ir import prelude
from tapegrad.program.lower.tier import NoRoom, llvm_works, working

__all__ = ["BUDGET", "Code", "held"]

BUDGET = 64 << 20  # bytes of machine code in the process
LEVEL = 0  # of LLVM's code generator; see decision 0011
MODULE = 4000  # lines of text that are compiled at once: how long a fork has to wait

_alive: weakref.WeakSet[Code] = weakref.WeakSet()


def held() -> int:
    """Bytes of machine code that live programs hold."""
    return sum(code.nbytes for code in list(_alive))


@functools.cache
def _host() -> tuple[Any, str, str]:
    from numba import config

    # the machine that Numba compiles for, which users may choose (NUMBA_CPU_NAME)
    cpu = config.CPU_NAME or llvm.get_host_cpu_name()
    features = config.CPU_FEATURES
    if features is None:
        features = "" if config.CPU_NAME else llvm.get_host_cpu_features().flatten()
    return llvm.Target.from_default_triple(), cpu, features


class Code:
    """Functions in machine code.

    Attributes
    ----------
    addresses : dict
        Name of a function -> its address, good for as long as this object lives.
    nbytes : int
        Size of the machine code.

    Parameters
    ----------
    functions : list of (str, str)
        Names and texts.

    Raises
    ------
    NoRoom
        If all programs of the process together would have more than ``BUDGET`` bytes of code.
    RuntimeError
        If LLVM does not compile it.
    """

    def __init__(self, functions: list[tuple[str, str]]) -> None:
        self.nbytes = 0
        self.addresses: dict[str, int] = {}
        sizes: list[int] = []
        _alive.add(self)
        target, cpu, features = _host()
        with llvm_works():
            machine = target.create_target_machine(cpu=cpu, features=features, opt=LEVEL, jit=True)
            # a context of its own: constants live as long as their context
            context = llvm.create_context()
            engine = llvm.create_mcjit_compiler(llvm.parse_assembly("", context), machine)
            engine.set_object_cache(lambda _, data: sizes.append(len(data)))
            weakref.finalize(self, _free, engine, context).atexit = False
        for text in _modules(functions):
            with llvm_works():
                module = llvm.parse_assembly(text, context)
                engine.add_module(module)
                engine.finalize_object()
            self.nbytes = sum(sizes)
            if held() > BUDGET:
                raise NoRoom(f"{held() >> 20} MiB of machine code are in use")
        with llvm_works():
            for name, _ in functions:
                self.addresses[name] = engine.get_function_address(name)


def _free(engine: Any, context: Any) -> None:
    """Give the machine code back; the context must still be there when its modules go."""
    # Python may collect garbage anywhere, so waiting for a lock must have an end
    alone = working.acquire(timeout=1.0)
    try:
        engine.close()
        context.close()
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
