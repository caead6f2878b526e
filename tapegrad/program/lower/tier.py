"""When a program is lowered, and by whom: at once, or by one thread in the background when it is hot.

An instance counts its replays down (``vm.LEFT``); at zero its caller asks for machine code here.  After how
many replays that pays was measured (decision 0011).  The thread ends when there is nothing to do, and a
forked child starts its own.
"""

from __future__ import annotations

import atexit
import gc
import os
import threading
import time
import weakref
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tapegrad.program.program import Program

__all__ = ["TIERS", "NoRoom", "begin", "breathe", "llvm_works", "lower", "request", "working"]

TIERS = ("auto", "interpret", "native")
REPLAYS = 4000  # and at least: long programs have gained a third of what compiling costs by then
FIXED = 1_500_000  # replays times operations before anything at all is compiled
BREATH = 0.0005  # seconds of Python after which the thread lets others run
IDLE = 2.0  # seconds that the thread waits for more

working = threading.RLock()  # held while LLVM works: forking and leaving wait for it
_waiting = threading.Condition()
_queue: deque[weakref.ref[Program]] = deque()
_now: weakref.ref[Program] | None = None  # what the thread is lowering
_thread: threading.Thread | None = None
_leaving = False
_last_breath = 0.0


class NoRoom(Exception):
    """The code memory of the process is used up, or the process is ending."""


@contextmanager
def llvm_works() -> Iterator[None]:
    """Where LLVM is called."""
    with working:
        if _leaving:
            raise NoRoom("the process is ending")
        yield


def begin(program: Program, tier: str) -> None:
    """Say how a new program is to be run; with ``"native"`` it is lowered here and now."""
    if tier == "native":
        if program.tier == "interpret":
            lower(program)
    elif tier == "auto":
        program.left = REPLAYS + FIXED // max(len(program.trace), 1)


def request(program: Program) -> None:
    """Have a program lowered in the background."""
    global _thread
    with _waiting:
        if program.tier != "interpret" or not program.left or _leaving:
            return
        program.tier, program.left = "lowering", 0
        _queue.append(weakref.ref(program))
        if _thread is None:
            _thread = threading.Thread(target=_work, name="tapegrad lowering", daemon=True)
            _thread.start()
        _waiting.notify()


def lower(program: Program) -> None:
    """Give a program its native twin, if it has scalars and LLVM can compile them; never an error."""
    program.tier, program.left = "lowering", 0
    try:
        twin = _twin(program)
        if twin.code is not None:
            program.become(twin)
    except Exception:  # whatever it is: the program runs as it did
        pass
    finally:
        if program.native is None:
            program.tier = "interpret"


def _twin(program: Program) -> Program:
    kind = type(program)
    try:
        return kind(program.trace, optimised=True, lower=True)
    except NoRoom:
        gc.collect()  # programs that nobody uses may be waiting for it
        return kind(program.trace, optimised=True, lower=True)


def breathe() -> None:
    """Let other threads run Python, if this is the thread in the background and has run for a while.

    Without it each replay, which gives the interpreter lock away, would wait 5 ms for getting it back.
    """
    global _last_breath
    if threading.current_thread() is _thread:
        now = time.perf_counter()
        if now - _last_breath > BREATH:
            time.sleep(1e-6)
            _last_breath = time.perf_counter()


def _work() -> None:
    global _now, _thread
    while True:
        with _waiting:
            _now = None
            if not _queue and not _leaving:
                _waiting.wait(IDLE)
            if not _queue or _leaving:
                _thread = None
                return
            _now = _queue.popleft()
        program = _now()
        if program is not None:
            lower(program)
        del program


def _leave() -> None:
    """Do not let the process end while LLVM works in a thread."""
    global _leaving
    _leaving = True
    if working.acquire(timeout=10.0):
        working.release()  # whoever comes next finds that the process is ending


atexit.register(_leave)


def _after_fork() -> None:
    global _waiting, _thread, _now
    _waiting, _thread = threading.Condition(), None
    if _now is not None:  # the thread that was lowering it is the parent's
        _queue.appendleft(_now)
        _now = None


def _acquire() -> None:
    working.acquire()


def _release() -> None:
    working.release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_acquire, after_in_parent=_release, after_in_child=_release)
    os.register_at_fork(after_in_child=_after_fork)
