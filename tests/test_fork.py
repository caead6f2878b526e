"""A forked child can go on computing."""

import gc
import os
import signal
import threading
import warnings

import numpy as np
import pytest

import tapegrad as tg

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")


def gradient(x):
    x.grad = None
    (tg.sin(x) * x).sum().backward()
    return x.grad.tolist()


def in_child(function):
    """Run ``function`` in a forked child; return whether it returned a true value."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # other tests' threads
        pid = os.fork()
    if pid == 0:
        gc.disable()  # what other tests left behind is not to be finalised here
        code = 1
        try:
            code = 0 if function() else 2
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def test_child_computes_the_same_gradient():
    x = tg.tensor([0.5, 1.5], requires_grad=True)
    expected = gradient(x)
    assert in_child(lambda: gradient(x) == expected)
    assert gradient(x) == expected


def test_child_finishes_what_the_parent_recorded():
    x = tg.tensor([2.0, 3.0], requires_grad=True)
    y = (x * x).sum()

    def child():
        y.backward()
        return x.grad.tolist() == [4.0, 6.0]

    assert in_child(child)
    y.backward()
    assert x.grad.tolist() == [4.0, 6.0]


def test_child_uses_functions_new_to_the_process():
    x = tg.tensor([0.25], requires_grad=True)

    def child():
        tg.atanh(x).sum().backward()
        return abs(x.grad.item() - 1 / (1 - 0.0625)) < 1e-12

    assert in_child(child)


def test_child_of_a_process_whose_threads_are_replaying():
    f = tg.compile(lambda x: tg.sin(x).sum())
    x = np.linspace(0.0, 1.0, 100_000)
    replay, stop = f.bind(x), threading.Event()

    def work():
        while not stop.is_set():
            replay()

    threads = [threading.Thread(target=work) for _ in range(6)]
    for t in threads:
        t.start()

    def child():
        signal.alarm(20)  # a hang would be for ever
        return bool(replay() > 0) and f(x) > 0

    try:
        assert all(in_child(child) for _ in range(5))
    finally:
        stop.set()
        for t in threads:
            t.join()
