"""Saving and loading compiled functions."""

import json
import os
import subprocess
import sys
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numba
import numpy as np
import pytest
from branching import CASES
from corruption import made, same
from tracing import random_program

import tapegrad as tg
from tapegrad.ops.table import PUBLIC
from tapegrad.saved.container import DIGEST, _archive, _digest, _members, pack, unpack
from tapegrad.saved.loaded import loads
from tapegrad.saved.saving import dumps
from tapegrad.testing.table import draw_sample
from tapegrad.trace import TRUTH

pytestmark = pytest.mark.filterwarnings("ignore::tapegrad.GuardWarning")
INTENSE = os.environ.get("TAPEGRAD_HYPOTHESIS") == "intense"


def through(f, max_bytes=1 << 30):
    """What saving and loading makes of a compiled function."""
    return loads(dumps(f), max_bytes)


# --- round trips ----------------------------------------------------------------------------------

SAMPLES = [(n, k) for n, p in PUBLIC.items() for k in range(len(p.samples))]


@pytest.mark.parametrize("name, k", SAMPLES, ids=lambda v: str(v))
def test_public_functions_give_the_same_bits(name, k):
    public = PUBLIC[name]
    operands, bind = draw_sample(public.samples[k], np.random.default_rng(0))
    again, _ = draw_sample(public.samples[k], np.random.default_rng(1))
    f = tg.compile(lambda *xs: bind(public.function)(*xs))
    expected = f(*operands)
    g = through(f)
    assert same(g(*operands), expected)
    try:
        other = f(*again)
    except (ValueError, IndexError):
        return
    if f.stats().recordings == 1:  # no other path was taken
        assert same(g(*again), other)


@pytest.mark.parametrize("seed", range(200 if INTENSE else 20))
def test_random_programs_with_gradient(seed):
    f, points = random_program(seed, steps=20)
    compiled = tg.compile(tg.value_and_grad(f, argnums=tuple(range(len(points[0])))))
    compiled(*points[0])
    loaded = through(compiled)
    for arrays in points:
        assert same(loaded(*arrays), compiled(*arrays))


@pytest.mark.parametrize("name", CASES)
def test_branching_functions(name):
    case = CASES[name]
    rng = np.random.default_rng(1)
    f = tg.compile(lambda *arguments: case.f(tg, *arguments))
    calls = [case.sample(rng) for _ in range(12)]
    results = [f(*arguments) for arguments in calls]
    if f.stats().fallbacks:
        pytest.skip("called without compiling")
    g = through(f)
    for arguments, expected in zip(calls, results):
        assert same(g(*arguments), expected)
    assert g.stats().recordings == 0 and g.stats().replays >= len(calls)


def test_corpus_of_the_fuzzer():
    for f, calls in made():
        g = through(f)
        for args, kwargs in calls:
            assert same(g(*args, **kwargs), f(*args, **kwargs))


def test_a_saved_file_is_the_same_every_time(tmp_path):
    f = tg.compile(lambda x: tg.softmax(x, axis=0) @ x)
    f(np.arange(3.0))
    f.save(tmp_path / "a.tape")
    f.save(tmp_path / "b.tape")
    tg.load(tmp_path / "a.tape").save(tmp_path / "c.tape")
    a, b, c = ((tmp_path / name).read_bytes() for name in ("a.tape", "b.tape", "c.tape"))
    assert a == b and len(os.listdir(tmp_path)) == 3
    assert tg.load(tmp_path / "c.tape")(np.arange(3.0)) == f(np.arange(3.0))
    assert unpack(c)[0]["entries"] == unpack(a)[0]["entries"]


def test_numpy_reads_the_arrays(tmp_path):
    f = tg.compile(lambda x: x + np.arange(3.0))
    f(np.ones(3))
    f.save(tmp_path / "f.tape")
    with np.load(tmp_path / "f.tape") as file:
        assert any(np.array_equal(file[name], np.arange(3.0)) for name in file.files if name != "header.json")
        header = json.loads(file["header.json"])
    assert header["format"] == "tapegrad tape" and "add" in header["operations"]


class Pair(NamedTuple):
    first: object
    second: object


@dataclass(frozen=True)
class Record:
    x: object
    label: str


def test_containers_statics_and_constants():
    def f(pair, options, scale=1.0, *, mode="a", when=None):
        x = pair.first * options["w"][0] * scale
        if mode == "b":
            x = -x
        return Record(x, mode), [3, 2.5, None, np.float32(1.5), (1 + 2j), {"y": pair.second + 1, "z": b"\0"}]

    compiled = tg.compile(f, static_argnames=("when",))
    pair, options = Pair(np.arange(3.0), 2.0), {"w": (np.ones(3), [1.0, 2.0])}
    calls = [
        ((pair, options), {}),
        ((pair, options, 2.0), {"mode": "b"}),
        ((pair, options), {"when": (1, -0.0, frozenset("ab"), None, True)}),
        ((pair, options), {"when": float("nan"), "scale": 3}),
    ]
    results = [compiled(*args, **kwargs) for args, kwargs in calls]
    loaded = through(compiled)
    for (args, kwargs), (record, rest) in zip(calls, results):
        again, others = loaded(*args, **kwargs)
        assert type(again) is Record and again.label == record.label and same(again.x, record.x)
        assert others[:5] == rest[:5] and type(others[3]) is np.float32 and others[5] == rest[5]
    with pytest.raises(tg.TapeError, match=r"nothing was recorded for .*when=\(1, 0.0"):
        loaded(pair, options, when=(1, 0.0, frozenset("ab"), None, True))


def test_static_positions_survive():
    def f(x, n):
        return x * n

    compiled = tg.compile(f, static_argnums=1)
    compiled(np.ones(2), 3)
    loaded = through(compiled)
    assert loaded(np.ones(2), 3).tolist() == [3.0, 3.0]
    with pytest.raises(tg.TapeError, match="nothing was recorded"):
        loaded(np.ones(2), 4)


def test_captured_arrays_are_saved_by_value():
    weights = np.array([1.0, 2.0])
    bias = tg.tensor([10.0, 10.0])
    f = tg.compile(lambda x: x * weights + bias)
    assert f(np.ones(2)).tolist() == [11.0, 12.0]
    loaded = through(f)
    weights[:] = 5.0
    assert f(np.ones(2)).tolist() == [15.0, 15.0] and loaded(np.ones(2)).tolist() == [11.0, 12.0]
    assert through(f)(np.ones(2)).tolist() == [15.0, 15.0]


def test_only_what_holds_now_is_saved():
    scale = 2.0

    def f(x):
        return x * scale

    compiled = tg.compile(f)
    compiled(np.ones(2))
    scale = 3.0
    with pytest.raises(RuntimeError, match="does not hold any more"):
        dumps(compiled)
    assert compiled(np.ones(2)).tolist() == [3.0, 3.0]
    assert through(compiled)(np.ones(2)).tolist() == [3.0, 3.0]


# --- what a loaded function does ------------------------------------------------------------------


def branch(x):
    if x.sum() > 0:
        return x * 2.0
    return -x


def loaded_branch(*values):
    f = tg.compile(branch)
    for v in values:
        f(np.full(3, v))
    return through(f)


def test_unknown_signatures_and_outcomes_are_errors():
    g = loaded_branch(1.0)
    with pytest.raises(
        tg.TapeError, match=r"branch: nothing was recorded for \(f64\[4\]\).*only for \(f64\[3\]\)"
    ):
        g(np.ones(4))
    with pytest.raises(tg.TapeError, match="nothing was recorded"):
        g(np.ones(3, np.float32))
    with pytest.raises(tg.TapeError, match=r"branch: the look at test_saving.py:\d+ finds what was not seen"):
        g(-np.ones(3))
    assert g(np.ones(3)).tolist() == [2.0] * 3
    assert g.stats().signatures == 1 and g.stats().guard_failures == 1


def test_paths_are_found_whichever_was_used_last():
    g = loaded_branch(1.0, -1.0)
    for v in (1.0, -1.0, -2.0, 3.0):
        assert g(np.full(3, v)).tolist() == branch(np.full(3, v)).tolist()
    g.clear()
    assert g.stats().traces == 2 and g(np.ones(3)).tolist() == [2.0] * 3


def test_modes_out_and_tape():
    g = loaded_branch(1.0)
    assert isinstance(g(tg.tensor([1.0, 1.0, 1.0])), tg.Tensor)
    out = np.zeros(3)
    assert g(np.ones(3), out=out) is out and out.tolist() == [2.0] * 3
    with pytest.raises(ValueError, match="out has shape"):
        g(np.ones(3), out=np.zeros(2))
    assert "multiply" in str(g.tape) and "test_saving.py:" in str(g.tape)
    assert "branch" in repr(g)


def test_machine_code_can_call_it():
    f = tg.compile(lambda x: (x * x).sum())
    f(np.ones(3))
    replay = through(f).numba
    assert numba.njit(lambda x: replay(x))(np.array([1.0, 2.0, 3.0])) == 14.0


def test_inside_other_recordings_its_operations_are_recorded():
    g = loaded_branch(1.0, -1.0)
    h = tg.compile(lambda x: g(x) + 1.0)
    assert h(np.ones(3)).tolist() == [3.0] * 3 and h(-np.ones(3)).tolist() == [2.0] * 3
    assert h.stats().recordings == 2
    assert through(h)(-np.ones(3)).tolist() == [2.0] * 3


def test_every_operation_can_be_recorded_again():
    for f, calls in made():
        g = through(f)
        h = tg.compile(lambda *args, g=g, **kwargs: g(*args, **kwargs))
        for args, kwargs in calls:
            for a, b in zip(
                np.atleast_1d(_flat(h(*args, **kwargs))), np.atleast_1d(_flat(f(*args, **kwargs)))
            ):
                np.testing.assert_allclose(a, b, rtol=1e-14)


def _flat(value):
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, (tuple, list)):
        return np.concatenate([_flat(v) for v in value])
    return np.zeros(0) if isinstance(value, str) else np.ravel(value).astype(float)


def test_gradients_through_a_loaded_tape_are_refused():
    g = loaded_branch(1.0)
    with pytest.raises(tg.TapeError, match="cannot be differentiated; compile and save value_and_grad"):
        g(tg.tensor([1.0, 1.0, 1.0], requires_grad=True))
    with pytest.raises(tg.TapeError, match="cannot be differentiated"):
        tg.grad(lambda x: g(x).sum())(np.ones(3))


def test_indices_out_of_bounds_are_errors():
    f = tg.compile(lambda x, i: tg.take(x, i))
    i = np.array([0, 2])
    f(np.arange(3.0), i)
    g = through(f)
    assert g(np.arange(3.0), i).tolist() == [0.0, 2.0]
    with pytest.raises(IndexError):
        g(np.arange(3.0), np.array([0, 3]))
    assert g(np.arange(3.0), i).tolist() == [0.0, 2.0]


def test_no_grad_has_recordings_of_its_own():
    f = tg.compile(lambda x: x * 2.0)
    f(np.ones(2))
    with tg.no_grad(), pytest.raises(tg.TapeError, match=r"under no_grad\(\)"):
        through(f)(np.ones(2))
    with tg.no_grad():
        f(np.ones(2))
        assert through(f)(np.ones(2)).tolist() == [2.0, 2.0]


# --- refusing -------------------------------------------------------------------------------------


def test_nothing_recorded_cannot_be_saved(tmp_path):
    f = tg.compile(lambda x: x)
    with pytest.raises(RuntimeError, match="save: nothing is recorded of"):
        f.save(tmp_path / "f.tape")
    assert os.listdir(tmp_path) == []


def test_statics_that_json_cannot_hold(tmp_path):
    f = tg.compile(lambda x, how: how(x))
    f(np.ones(2), tg.sin)
    with pytest.raises(TypeError, match=r"save: a static argument or result of .* cannot be saved"):
        f.save(tmp_path / "f.tape")


def test_an_interrupted_save_leaves_the_old_file(tmp_path, monkeypatch):
    f = tg.compile(lambda x: x + 1.0)
    f(np.ones(2))
    f.save(tmp_path / "f.tape")
    before = (tmp_path / "f.tape").read_bytes()

    def fail(*args):
        raise OSError("no space")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="no space"):
        f.save(tmp_path / "f.tape")
    assert os.listdir(tmp_path) == ["f.tape"] and (tmp_path / "f.tape").read_bytes() == before


def test_missing_files_are_missing(tmp_path):
    with pytest.raises(FileNotFoundError):
        tg.load(tmp_path / "nothing")


@pytest.mark.parametrize("content", [b"", b"PK", b"\0" * 1000, b"PK\3\4" + b"\xff" * 500])
def test_other_files_are_refused(tmp_path, content):
    (tmp_path / "f.tape").write_bytes(content)
    with pytest.raises(tg.TapeError, match=r"load: '.*f.tape' is refused: it is"):
        tg.load(tmp_path / "f.tape")


def test_files_that_are_too_large_are_not_read(tmp_path):
    with open(tmp_path / "f.tape", "wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(tg.TapeError, match="it is too large"):
        tg.load(tmp_path / "f.tape")


def edited(f, change):
    """The saved form with its header and arrays changed, and the right checksum."""
    header, arrays = unpack(dumps(f))
    change(header, arrays)
    return pack(header, arrays)


def refused(data, match, max_bytes=1 << 24):
    with pytest.raises(tg.TapeError, match=match):
        loads(data, max_bytes)


def test_a_newer_format_is_named():
    f = tg.compile(branch)
    f(np.ones(3))
    refused(edited(f, lambda h, a: h.update(version=2)), "version 2 of the format; this tapegrad reads 1")


def test_unknown_keys_and_values_are_refused():
    f = tg.compile(branch)
    f(np.ones(3))
    refused(edited(f, lambda h, a: h.update(more=1)), "the header does not have the keys")
    refused(
        edited(f, lambda h, a: h.update(operations=["input", "nonsense", "x"])), "no operation 'nonsense'"
    )
    refused(edited(f, lambda h, a: h["entries"].append(h["entries"][0])), "a signature stands twice")
    refused(
        edited(f, lambda h, a: h["entries"][0]["paths"].append(h["entries"][0]["paths"][0])), "same outcomes"
    )
    refused(edited(f, lambda h, a: h.update(entries=[])), "nothing is recorded")


def test_deep_nesting_is_refused():
    f = tg.compile(branch)
    f(np.ones(3))

    data = edited(f, lambda h, a: h["entries"][0]["paths"][0].update(result="DEEP"))
    members = _members(memoryview(data))
    for depth in (250, 900, 100_000):
        deep = b'["tuple",[' * depth + b'"*"' + b"]]" * depth
        header = bytes(members[0][1]).replace(b'"DEEP"', deep)
        nested = _archive([(members[0][0], header), *members[1:]])
        refused(nested[:-DIGEST] + _digest(nested), "header.json cannot be read|nested too deeply")


def test_declared_sizes_are_limited():
    f = tg.compile(lambda x: tg.broadcast_to(x, (4, 3)).sum(axis=0))
    f(np.ones(3))

    def enlarge(header, arrays):
        for spec in header["specs"]:
            if spec[1] == [4, 3]:
                spec[1][0] = 1 << 40
        for s in header["signatures"]:
            if "strides" in s[3]:
                s[3]["shape"]["tuple"][0] = 1 << 40

    refused(edited(f, enlarge), "takes more than 16777216 bytes; pass a larger max_bytes")
    g = tg.compile(lambda x: [x + float(k) for k in range(100)])
    g(np.ones(1000))
    refused(dumps(g), "one of its paths takes more than 100000 bytes", 100_000)
    assert len(loads(dumps(g), 10_000_000)(np.ones(1000))) == 100


def test_bytes_that_are_no_truths_are_refused():
    mask = np.array([True, False, True])
    f = tg.compile(lambda x: tg.where(mask, x, 0.0))
    f(np.ones(3))
    data = dumps(f)
    header, arrays = unpack(data)
    k = next(k for k, a in enumerate(arrays) if a.dtype == np.bool_)
    arrays[k] = np.array([7, 0, 1], np.uint8).view(np.bool_)
    refused(pack(header, arrays), "bytes that are no truths")


def test_guards_must_be_what_python_can_see():
    f = tg.compile(branch)
    f(np.ones(3))

    def change(header, arrays):
        guard = header["entries"][0]["paths"][0]["guards"][0]
        assert guard[1] == TRUTH
        guard[2] = 2

    refused(edited(f, change), "a truth is 2")


def test_classes_must_be_loaded_already(monkeypatch):
    f = tg.compile(lambda x: Pair(x, x))
    f(1.0)
    data = edited(f, lambda h, a: h["entries"][0]["paths"][0]["result"].__setitem__(1, "this"))
    assert "this" not in sys.modules
    refused(
        data, "it uses this.Pair with the fields first, second, which is not loaded; import its module first"
    )
    assert "this" not in sys.modules
    refused(edited(f, lambda h, a: h["entries"][0]["paths"][0]["result"].__setitem__(1, "os")), "os.Pair")


# --- custom operations ----------------------------------------------------------------------------


def test_custom_operations_must_be_the_same():
    def one(x):
        return x / (1.0 + abs(x))

    op = tg.custom_op(one, name="saving.soft")
    f = tg.compile(lambda x: op(x) * 2.0)
    f(np.ones(3))
    data = dumps(f)
    assert loads(data)(np.ones(3)).tolist() == [1.0] * 3

    def other(x):
        return x / (2.0 + abs(x))

    changed = tg.custom_op(other, name="saving.soft", replace=True)
    with pytest.raises(tg.TapeError, match=r"'custom:saving\.soft' has other code here"):
        loads(data)
    with pytest.raises(RuntimeError, match="defined anew"):
        dumps(f)
    assert changed is not op
    header, arrays = unpack(data)
    header["operations"] = [n.replace("saving.soft", "saving.none") for n in header["operations"]]
    refused(pack(header, arrays), "custom operation 'custom:saving.none'; define it before loading")


def test_custom_operations_of_arrays():
    def outer(x, y):
        out = np.empty((len(x), len(y)))
        for i in range(len(x)):
            for j in range(len(y)):
                out[i, j] = x[i] * y[j]
        return out

    op = tg.custom_op(outer, name="saving.outer", elementwise=False, shape=lambda a, b: a + b)
    f = tg.compile(lambda x, y: op(x, y) + 1.0)
    expected = f(np.ones(3), np.arange(2.0))
    data = dumps(f)
    assert same(loads(data)(np.ones(3), np.arange(2.0)), expected)
    header, arrays = unpack(data)
    matrix = header["specs"].index(["float64", [3, 2]])
    for s in header["signatures"]:
        s[1][0] = matrix
    refused(pack(header, arrays), r"custom:saving.outer.*operands of \(2, 1\) dimensions")


# --- damage ---------------------------------------------------------------------------------------


def test_damaged_files_never_crash_nor_hang():
    """See `corruption`; 10,000 of them with ``TAPEGRAD_HYPOTHESIS=intense``."""
    script = Path(__file__).with_name("corruption.py")
    first, count = (0, 10_000) if INTENSE else (20_000, 500)
    root = str(Path(tg.__file__).parents[1])
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([root, os.environ.get("PYTHONPATH", "")])}
    run = subprocess.run(
        [sys.executable, str(script), str(first), str(count)],
        capture_output=True,
        text=True,
        env=environment,
        timeout=600,
    )
    assert run.returncode == 0, f"exit status {run.returncode}, {run.stderr[-2000:]}"
    found = json.loads(run.stdout)
    assert sum(found.values()) == count
    assert found["refused"] > count // 2, found
    assert sum(n for kind, n in found.items() if kind != "refused") > count // 100, found


def test_one_bit_anywhere_is_noticed():
    f = tg.compile(branch)
    f(np.ones(3))
    data = dumps(f)
    step = 1 if INTENSE else 37
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for at in range(0, len(data), step):
            damaged = data[:at] + bytes([data[at] ^ 1 << at % 8]) + data[at + 1 :]
            with pytest.raises(tg.TapeError):
                loads(damaged)
        for length in range(0, len(data), step):
            with pytest.raises(tg.TapeError):
                loads(data[:length])
