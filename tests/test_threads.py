"""Every thread has a tape of its own; leaves may be shared."""

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import tapegrad as tg


def test_gradients_from_shared_leaves():
    x = tg.tensor(np.linspace(0.1, 1.0, 50), requires_grad=True)
    values = x.detach().numpy().copy()

    def work(k):
        for _ in range(40):
            loss = (tg.sin(x * k) * x).sum()
            (g,) = tg.autograd.grad(loss, x)
            np.testing.assert_allclose(
                g.numpy(), np.sin(k * values) + k * values * np.cos(k * values), rtol=1e-10, atol=1e-12
            )
        return k

    with ThreadPoolExecutor(8) as pool:
        assert sorted(pool.map(work, range(1, 9))) == list(range(1, 9))
    assert x.grad is None


def test_backward_into_leaves_of_each_thread():
    def work(k):
        x = tg.tensor([float(k), 1.0], requires_grad=True)
        for _ in range(20):
            x.grad = None
            (x * x * x).sum().backward()
            assert x.grad.tolist() == pytest.approx([3.0 * k * k, 3.0])
        return True

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(work, range(8)))


def test_shared_constants_and_first_use_together():
    """All threads start at once on functions that may have to be compiled."""
    barrier = threading.Barrier(4)
    c = tg.tensor(np.ones(3))

    def work(_):
        barrier.wait()
        x = tg.tensor([0.1, 0.2, 0.3], requires_grad=True)
        tg.expm1(tg.log1p(x * c)).sum().backward()
        return x.grad.tolist()

    with ThreadPoolExecutor(4) as pool:
        for g in pool.map(work, range(4)):
            assert g == pytest.approx([1.0, 1.0, 1.0])


def test_grad_mode_is_per_thread():
    def work():
        return tg.is_grad_enabled()

    with tg.no_grad(), ThreadPoolExecutor(1) as pool:
        assert pool.submit(work).result()


def test_result_of_another_thread_is_refused():
    """Its history lives on that thread's tape: an error, never a wrong gradient."""
    made, done = threading.Event(), threading.Event()
    box = []

    def work():
        x = tg.tensor([1.0, 2.0], requires_grad=True)
        box.append(x * 2)
        made.set()
        done.wait(10)

    thread = threading.Thread(target=work, name="maker")
    thread.start()
    try:
        assert made.wait(10)
        y = tg.tensor([1.0, 1.0], requires_grad=True)
        with pytest.raises(RuntimeError, match="maker"):
            (box[0] * y).sum().backward()
    finally:
        done.set()
        thread.join()


def test_computed_value_of_another_thread_can_be_used():
    def work():
        x = tg.tensor([1.0, 2.0]) * 3
        x.tolist()
        return x

    with ThreadPoolExecutor(1) as pool:
        x = pool.submit(work).result()
        y = tg.tensor([1.0, 1.0], requires_grad=True)
        (x * y).sum().backward()
    assert y.grad.tolist() == [3.0, 6.0]
