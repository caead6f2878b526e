"""No loop of any length grows the process."""

import gc
import os

import numpy as np
import pytest

import tapegrad as tg

STATM = "/proc/self/statm"
pytestmark = pytest.mark.skipif(not os.path.exists(STATM), reason="needs /proc")
LIMIT = 20 << 20


def resident():
    with open(STATM) as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def growth(step, warm_up, steps):
    for _ in range(warm_up):
        step()
    gc.collect()
    before = resident()
    for _ in range(steps):
        step()
    gc.collect()
    return resident() - before


def test_loop_with_backward():
    w = tg.tensor(np.ones(100), requires_grad=True)

    def step():
        loss = (tg.sin(w) * w).sum()
        loss.backward()
        with tg.no_grad():
            w.sub_(0.01 * w.grad)
        w.grad = None

    assert growth(step, 3000, 12_000) < LIMIT


def test_loop_without_backward():
    """Leaves require grad and nobody ever calls ``backward()``."""
    w = tg.tensor(np.ones(100), requires_grad=True)

    def step():
        return (tg.exp(-w) * w).sum().item()

    assert growth(step, 5000, 15_000) < LIMIT


def test_loop_without_looking():
    w = tg.tensor(np.ones(100), requires_grad=True)

    def step():
        tg.tanh(w) * 2.0

    assert growth(step, 10_000, 40_000) < LIMIT


def test_recurrence_without_grad():
    state = tg.tensor(np.ones(1000))

    def step():
        nonlocal state
        state = state * 0.5 + 1.0

    assert growth(step, 5000, 30_000) < LIMIT


def test_recurrence_under_no_grad():
    w, state = tg.tensor(np.ones(200), requires_grad=True), tg.tensor(np.zeros(200))

    def step():
        nonlocal state
        with tg.no_grad():
            state = tg.tanh(state + w)

    assert growth(step, 5000, 20_000) < LIMIT


def test_in_place_accumulation():
    total, w = tg.zeros(100), tg.tensor(np.ones(100), requires_grad=True)

    def step():
        total.add_((w * 2.0).detach())

    assert growth(step, 5000, 20_000) < LIMIT


def test_large_results_are_released():
    w = tg.tensor(np.ones(200_000), requires_grad=True)

    def step():
        loss = (tg.sin(w) * w).sum()
        loss.backward()
        w.grad = None

    assert growth(step, 20, 60) < LIMIT


def test_large_results_without_backward_are_released():
    w = tg.tensor(np.ones(200_000), requires_grad=True)

    def step():
        y = tg.sin(w)
        (y * y).sum().item()
        return y

    assert growth(step, 150, 150) < 64 << 20


def test_graph_is_kept_while_it_is_held():
    """Reclaiming must not touch what can still be differentiated."""
    x = tg.tensor([0.5], requires_grad=True)
    kept = [tg.sin(x) * k for k in range(50)]
    junk = tg.tensor([1.0], requires_grad=True)
    for _ in range(30_000):
        junk * 2.0
    sum(kept[1:], kept[0]).backward()
    assert x.grad.item() == pytest.approx(np.cos(0.5) * sum(range(50)))
