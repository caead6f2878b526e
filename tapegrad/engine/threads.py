"""Helpers: the threads that large loops are shared with.

A jitted loop that is large enough (``blocks``) calls `_share` through a C callback, with the address of a
*control* to claim blocks from.  Idle helpers are woken up and claim blocks too; the caller does not wait for
one that wakes up late.  Helpers are Python threads that sleep on a lock, started when they are first needed.
They only run machine code: no two callers can wait for each other, and when all helpers are busy the caller
does all the work.
"""

from __future__ import annotations

import ctypes
import functools
import operator
import os
import threading
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from tapegrad.engine import layout as L
from tapegrad.tape import Tape, current

__all__ = [
    "count_as_large", "get_num_threads", "inline", "inline_at", "raise_pending",
    "set_num_threads", "shared", "shared_at", "work",
]  # fmt: skip

SPINS = 2000  # looks at a word, some 20 us: waking up from a lock takes longer
NAME = "TAPEGRAD_NUM_THREADS"

_WORD = ctypes.c_int64
_Work = ctypes.CFUNCTYPE(_WORD, *[_WORD] * 5)  # releases the GIL
_Callback = ctypes.CFUNCTYPE(_WORD, *[_WORD] * 6)

shared = np.zeros(L.SHARED, np.int64)
inline = np.zeros(L.SHARED, np.int64)  # the same for loops that stay in the thread that runs them
shared_at, inline_at = (a.__array_interface__["data"][0] for a in (shared, inline))
_pending: dict[int, BaseException] = {}  # by thread


class _Helper:
    """A thread that sleeps until it is given a job."""

    __slots__ = ("job", "wake")

    def __init__(self) -> None:
        self.job: _Job | None = None
        self.wake = threading.Lock()
        self.wake.acquire()


class _Pool:
    """The helpers of a process."""

    def __init__(self) -> None:
        self.idle: list[_Helper] = []
        self.started = 0
        # Of callers, from one job to the next: memory, and by thread tapes that nothing was recorded on.
        self.areas: list[np.ndarray] = []
        self.tapes: dict[int, Tape] = {}
        self.lock = threading.Lock()

    def refresh(self) -> None:
        """Tell jitted code how many helpers could be had."""
        n = get_num_threads() - 1
        shared[L.H_IDLE] = min(n, len(self.idle) + max(0, n - self.started))

    def take(self) -> _Helper | None:
        """An idle helper, or a new one, or ``None``."""
        try:
            return self.idle.pop()
        except IndexError:
            return self._start()

    def _start(self) -> _Helper | None:
        with self.lock:
            if self.started >= get_num_threads() - 1:
                return None
            helper = _Helper()
            name = f"tapegrad-helper-{self.started + 1}"
            thread = threading.Thread(target=_serve, args=(self, helper), name=name, daemon=True)
            try:
                thread.start()
            except RuntimeError:  # no more threads, or the interpreter is shutting down
                return None
            self.started += 1
            return helper

    def area(self, nbytes: int) -> np.ndarray:
        """Memory for one caller at a time."""
        try:
            area = self.areas.pop()
        except IndexError:
            area = np.empty(0, np.uint8)
        return area if area.size >= nbytes else np.empty(nbytes, np.uint8)


class _Job:
    """One run of one loop: what a thread needs to take part in it."""

    __slots__ = ("arguments", "control", "done", "nbytes", "work")

    def __init__(self, kind: int, a: int, b: int, count: int, words: int, nbytes: int) -> None:
        self.work = work(kind)
        self.control = np.zeros(L.CONTROL + count * (1 + words), np.int64)
        self.control[L.B_COUNT] = count
        self.arguments = a, b, _address(self.control)
        self.nbytes = nbytes
        self.done = threading.Lock()
        self.done.acquire()

    def run(self, area: np.ndarray, spins: int) -> int:
        """Claim blocks until none is left; nonzero if everything is done then (see ``blocks``)."""
        return self.work(*self.arguments, _address(area), spins)


def _address(a: np.ndarray) -> int:
    return ctypes.addressof(ctypes.c_char.from_buffer(a))


def _serve(pool: _Pool, helper: _Helper) -> None:
    """What a helper does until its pool is given up."""
    area = np.empty(1, np.uint8)
    while True:
        helper.wake.acquire()
        job, helper.job = helper.job, None
        if job is None:
            return
        try:
            if area.size < job.nbytes:
                area = np.empty(job.nbytes, np.uint8)
            if job.run(area, 0) == L.COMPLETED:
                job.done.release()
        except MemoryError:
            pass  # nothing was claimed: the others do it
        job = None  # its memory belongs to who waits for it
        if pool is not _state.pool:
            return
        pool.idle.append(helper)
        pool.refresh()


class _State:
    """What a forked child has its own of."""

    def __init__(self) -> None:
        self.count: int | None = None  # None: not chosen yet
        self.pool = _Pool()


_state = _State()


# --- called by jitted loops -----------------------------------------------------------------------


@functools.cache
def work(kind: int) -> Callable[..., int]:
    """The work function of a kind of loop, to be called from Python; jitted code finds it in ``shared``."""
    from tapegrad import _jit
    from tapegrad.engine.calls import work_calls
    from tapegrad.engine.tiles import work_region
    from tapegrad.program.vm import work_tiles

    function = (work_region, work_tiles, work_calls)[kind]
    address = _jit.kernel(function.__name__, function, 5, {})
    shared[L.H_WORK + kind] = inline[L.H_WORK + kind] = address
    return _Work(address)


def _share(kind: int, a: int, b: int, count: int, words: int, nbytes: int) -> int:
    """Run all blocks of a loop; returns its status plus ``RETURNED``.

    An exception must not leave before the blocks are done.  While this waits, handlers of signals and
    finalizers may run: they get a tape of their own.
    """
    job = area = None
    pool, outer = _state.pool, current.tape
    try:
        spare = pool.tapes.pop(threading.get_ident(), None)
        current.tape = Tape() if spare is None else spare
        job = _Job(kind, a, b, count, words, nbytes)
        area = pool.area(nbytes)
        wanted = min(get_num_threads(), count) - 1
        while wanted > 0:
            helper = pool.take()
            if helper is None:
                break
            helper.job = job
            helper.wake.release()
            wanted -= 1
        pool.refresh()
        if not job.run(area, SPINS):
            job.done.acquire()
        pool.areas.append(area)
        if not len(current.tape):
            pool.tapes[current.tape.ident] = current.tape
        current.tape = outer
        return L.RETURNED + int(job.control[L.B_STATUS])
    except BaseException as error:  # a signal's handler raised (KeyboardInterrupt), or there is no memory
        while True:
            try:
                return _interrupted(job, area, outer, error)
            except BaseException:  # another signal
                continue


def _interrupted(job: _Job | None, area: np.ndarray | None, outer: Tape, error: BaseException) -> int:
    """Let a loop that helpers may be working on come to its end; the exception is raised after that."""
    # a helper may have been taken and not been woken, so all of them are let go
    given_up, _state.pool = _state.pool, _Pool()
    while given_up.idle:
        given_up.idle.pop().wake.release()
    if job is not None and area is not None:
        while not job.run(area, SPINS):
            pass
    current.tape = outer
    _pending[threading.get_ident()] = error
    return L.RETURNED + L.INTERRUPTED


def count_as_large(length: int = L.LARGE_LENGTH, work: int = L.LARGE) -> None:
    """Choose from which size on loops are split, in elements and in elements times steps: for tests.

    Programs that were built keep what was chosen then.
    """
    for a in (shared, inline):
        a[L.H_LEAST_LENGTH], a[L.H_LEAST_WORK] = length, work


def raise_pending(status: int = 0) -> None:
    """Raise what interrupted this thread's last jitted loop, which ended with ``status``."""
    error = _pending.pop(threading.get_ident(), None) if _pending else None
    if error is not None:
        raise error
    if status == L.INTERRUPTED:  # too early for `_share` to note what it was: ctypes has printed it
        raise KeyboardInterrupt


try:
    _callback: Any = _Callback(_share)
    shared[L.H_CALLBACK] = ctypes.cast(_callback, ctypes.c_void_p).value or 0
except (MemoryError, OSError):  # a system that forbids code made at run time: one thread
    _callback = None
for _word, _name in (L.H_MALLOC, "PyMem_RawMalloc"), (L.H_FREE, "PyMem_RawFree"):
    _address_of = ctypes.cast(getattr(ctypes.pythonapi, _name), ctypes.c_void_p)
    shared[_word] = inline[_word] = _address_of.value or 0
count_as_large()


def _after_fork() -> None:
    """A child has no helpers: it makes its own."""
    _state.pool = _Pool()
    _pending.clear()
    _state.pool.refresh()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


# --- how many -------------------------------------------------------------------------------------


def _usable() -> int:
    """How many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0)) or 1
    return os.cpu_count() or 1


def get_num_threads() -> int:
    """The number of threads that large elementwise loops and sums are shared by.

    Returns
    -------
    int
        What `set_num_threads` was given; else the environment variable ``TAPEGRAD_NUM_THREADS``; else the
        number of processor cores that this process may use.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.get_num_threads() >= 1
    True
    """
    if _state.count is None:
        text = os.environ.get(NAME, "").strip()
        chosen = int(text) if text.isdecimal() else 0
        _state.count = chosen or _usable()
        if text and not chosen:
            message = f"{NAME}={text!r} is ignored: expected a positive integer"
            warnings.warn(message, RuntimeWarning, stacklevel=2)
    return _state.count


def set_num_threads(n: int) -> None:
    """Choose how many threads share large elementwise loops and sums.

    The thread that computes is one of them, the others are started when they are first needed.  Results do
    not depend on the number.  Products and decompositions of matrices are the business of the BLAS library,
    which has threads of its own.

    Parameters
    ----------
    n : int
        Positive.  With 1, everything runs in the calling thread.

    Raises
    ------
    TypeError
        If ``n`` is not an integer.
    RuntimeError
        If it is not positive, as in PyTorch.

    Examples
    --------
    >>> import tapegrad as tg
    >>> before = tg.get_num_threads()
    >>> tg.set_num_threads(2)
    >>> tg.get_num_threads()
    2
    >>> tg.set_num_threads(before)
    """
    try:
        if isinstance(n, bool):
            raise TypeError
        count = operator.index(n)
    except TypeError:
        raise TypeError(f"set_num_threads expects an int, but got {type(n).__name__}") from None
    if count <= 0:
        raise RuntimeError("set_num_threads expects a positive integer")
    _state.count = count
    _state.pool.refresh()
