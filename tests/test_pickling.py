"""Pickling and copying compiled functions."""

import copy
import multiprocessing
import os
import pickle
import sys

import numpy as np
import pytest

import tapegrad as tg
from tapegrad.saved.loaded import loads
from tapegrad.saved.saving import dumps


@tg.compile
def decorated(x):
    return x * 3.0


def plain(x):
    return x * 4.0 if x.sum() > 0 else x


GLOBAL = np.array([1.0, 2.0, 3.0])


def uses_a_global(x):
    return x * GLOBAL


class Model:
    def __init__(self, scale):
        self.scale = scale

    @tg.compile
    def predict(self, x):
        return x * self.scale


def call(f, x):
    """What another process finds: the result, and whether it had to record."""
    result = f(x)
    return os.getpid(), np.asarray(result), f.stats().recordings


def test_decorated_functions_are_pickled_by_name():
    decorated(np.ones(3))
    assert pickle.loads(pickle.dumps(decorated)) is decorated


def test_functions_that_depend_on_code_only_bring_their_recordings():
    f = tg.compile(plain)
    f(np.ones(3))
    g = pickle.loads(pickle.dumps(f))
    assert g(np.ones(3)).tolist() == [4.0] * 3 and g.stats().recordings == 0
    assert g(-np.ones(3)).tolist() == [-1.0] * 3 and g.stats().recordings == 1
    assert g(np.ones(2)).tolist() == [4.0] * 2


def test_functions_that_depend_on_values_record_again():
    f = tg.compile(uses_a_global)
    f(np.ones(3))
    g = pickle.loads(pickle.dumps(f))
    assert g(np.ones(3)).tolist() == [1.0, 2.0, 3.0] and g.stats().recordings == 1


@pytest.fixture(autouse=True)
def without_cloudpickle(monkeypatch):
    """Another test may have imported it."""
    monkeypatch.delitem(sys.modules, "cloudpickle", raising=False)


def test_functions_that_do_not_pickle_are_replaced_by_what_is_recorded():
    weights = np.array([1.0, 2.0, 3.0])
    f = tg.compile(lambda x: x * weights)
    with pytest.raises(pickle.PicklingError, match="call it first"):
        pickle.dumps(f)
    f(np.ones(3))
    g = pickle.loads(pickle.dumps(f))
    assert g(np.full(3, 2.0)).tolist() == [2.0, 4.0, 6.0]
    with pytest.raises(tg.TapeError, match="nothing was recorded"):
        g(np.ones(4))
    assert pickle.loads(pickle.dumps(g))(np.ones(3)).tolist() == [1.0, 2.0, 3.0]


def test_methods_are_pickled_with_their_object():
    model = Model(2.0)
    bound = pickle.loads(pickle.dumps(model.predict))
    assert bound(np.ones(2)).tolist() == [2.0, 2.0]
    assert copy.deepcopy(model).predict(np.ones(2)).tolist() == [2.0, 2.0]


def test_deep_copies_are_independent():
    f = tg.compile(plain)
    f(np.ones(3))
    g = copy.deepcopy(f)
    assert g is not f and g(np.ones(2)).tolist() == [4.0, 4.0] and f.stats().signatures == 1
    loaded = loads(dumps(f))
    assert copy.deepcopy({"f": loaded})["f"](np.ones(3)).tolist() == [4.0] * 3


def test_damaged_pickles_are_refused():
    f = tg.compile(lambda x: x + 1.0)
    f(np.ones(3))
    data = bytearray(pickle.dumps(f))
    at = data.index(b"arrays/0.npy") + 100
    data[at] ^= 1
    with pytest.raises(tg.TapeError, match="SHA-256"):
        pickle.loads(bytes(data))


def test_other_processes():
    weights = np.array([1.0, 2.0, 3.0])
    by_name, with_code, recorded = decorated, tg.compile(plain), tg.compile(lambda x: x * weights)
    for f in (by_name, with_code, recorded):
        f(np.ones(3))
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        found = pool.starmap(call, [(f, np.ones(3)) for f in (by_name, with_code, recorded)])
    assert [r.tolist() for _, r, _ in found] == [[3.0] * 3, [4.0] * 3, [1.0, 2.0, 3.0]]
    assert all(pid != os.getpid() for pid, _, _ in found)
    assert [n for _, _, n in found] == [1, 0, 0]


def test_cloudpickle_takes_the_function_along():
    cloudpickle = pytest.importorskip("cloudpickle")
    weights = np.array([1.0, 2.0, 3.0])
    f = tg.compile(lambda x: x * weights[: x.shape[0]])
    f(np.ones(3))
    for g in (pickle.loads(cloudpickle.dumps(f)), cloudpickle.loads(cloudpickle.dumps(f))):
        assert g(np.ones(3)).tolist() == [1.0, 2.0, 3.0]
        assert g(np.ones(2)).tolist() == [1.0, 2.0]
