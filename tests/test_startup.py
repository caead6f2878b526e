"""Cold starts and warm ones: the short way through Numba, the cache folder, and what warmup leaves to do."""

import os
import subprocess
import sys

import numpy as np
import pytest

from tapegrad import _jit
from tapegrad.kernels.memory import array, at, int64

_compile = pytest.importorskip("tapegrad._compile")
_lowering = pytest.importorskip("tapegrad._lowering")


# --- the short way means what Numba means ---------------------------------------------------------


def loops(out, x, y, z):
    o, a = at(out), at(x)
    n = 0
    for i in range(3, 40, 7):
        for j in range(i, -5, -3):
            n += i * j - (j // 4) * (i % 5)
    for _ in range(0):
        n = -1
    for k in (y, z, 5):
        n = n * 31 + (k << 2 | 1) ^ 9
    i = 0
    while i < 5 and (a[i] != 3 or i > 100):
        i += 1
    o[0], o[1], o[2] = n, i, min(y, z) - max(y, -z)
    return i


def choices(out, x, y, z):
    o = at(out)
    between = y < z
    both = between and z & 6
    o[0] = both
    o[1] = y if y > z else -z
    o[2] = y in (1, 3, z)
    o[3] = y not in (2, 4)
    o[4] = not between
    o[5] = int64(7) if z else between
    if y == 2:
        return 1
    return between


def numbers(out, x, y, z):
    o, a, b = array(out, 9, np.float64), array(x, 4, np.float64), array(x, 8, np.float32)
    half = np.float32(0.1)
    o[0] = a[0] / (y - y) + 1
    o[1] = b[2] * half + 0.1
    o[2] = a[1] * 0 if a[0] > 0 else b[3] * half
    o[3] = y / z
    o[4] = np.uint64(0x9E3779B97F4A7C15) >> np.uint64(y & 63)
    o[5] = y // (z - z)
    o[6] = -a[2] % 3
    o[7] = abs(a[3]) + float(y)
    o[8] = np.float32(a[0] * 1.1) + int64(a[1])
    return int(a[2] * 100)


def several(out, x, y, z):
    o = at(out)
    o[0], o[1] = helper(y, True), helper(z, y > z)
    return helper(3, False)


def helper(n, flag):
    if flag:
        return n * 2
    return n


helper.__module__ = "tapegrad.helpers"  # what kernels call is jitted if it is the package's own


def run(function, name, y, z):
    code, needs = _compile.kernel(name, function, 4, {}, False)
    assert not _jit._machine.symbols_missing(needs)
    (target,) = _jit._machine.link(code, name)
    out, x = np.zeros(16), np.array([1.25, -3.75, 0.3, -2.5, 5.0, 3.0, 1.0, 2.0])
    status = _jit.invoke(target, (out.ctypes.data, x.ctypes.data, y, z))
    return status, out.view(np.int64).tolist()


@pytest.mark.parametrize("function", [loops, choices, numbers, several])
def test_both_ways_give_the_same(function, monkeypatch):
    name = function.__name__
    _lowering.refused.clear()
    points = [(2, 3), (7, -4), (0, 5), (-9, 2), (3, 3)]
    short = [run(function, f"short_{name}_{k}", *p) for k, p in enumerate(points)]
    assert _lowering.refused == {}
    _compile._jitted.clear()  # helpers were compiled the short way
    monkeypatch.setattr(_lowering, "short", lambda state: None)
    long = [run(function, f"long_{name}_{k}", *p) for k, p in enumerate(points)]
    _compile._jitted.clear()
    assert short == long


def changes_type(n):
    total = 0
    for i in range(n):
        total = total + 0.5 * i
    return int(total)


def test_what_the_short_way_lacks_takes_the_long_one():
    _lowering.refused.clear()
    code, _ = _compile.kernel("changes_type", changes_type, 1, {}, False)
    assert "total" in _lowering.refused.pop("changes_type")
    assert _jit.invoke(*_jit._machine.link(code, "changes_type"), (5,)) == 5


def test_engine_functions_may_take_the_long_way(monkeypatch):
    # with an array among the arguments: Numba counts references to it, and must find that it need not
    monkeypatch.setattr(_lowering, "short", lambda state: None)
    from tapegrad.engine import walk

    name = "long_clear"
    _, needs = _compile.builtin(name, _jit.engine[walk.clear], ("<i8:1", "i", "i"))
    assert not [n for n in needs if n.startswith("NRT")]
    _compile._jitted.clear()


def test_the_engine_takes_the_short_way():
    from tapegrad.engine import interpret, plan, tiles

    _lowering.refused.clear()
    _compile.kernel("run_region", tiles.run_region, 10, {}, False)
    frame = "<i8:1"
    _compile.builtin("plan", _jit.engine[plan.plan], (frame,) + ("i",) * 6)
    _compile.builtin("reverse_loop", _jit.engine[interpret.reverse_loop], (frame, "i", "i"))
    assert _lowering.refused == {}


# --- the cache folder -----------------------------------------------------------------------------

PROBE = """
import sys
from tapegrad import _jit
def probe(n):
    return n * 2 + 1
address = _jit.kernel("probe", probe, 1, {})
assert _jit.invoke(address, (20,)) == 41
print(sorted(_jit.compiled), _jit.CACHE_DIR)
"""


def process(code, cache, wait=True):
    environment = {**os.environ, "TAPEGRAD_CACHE_DIR": str(cache)}
    child = subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    )
    return finish(child) if wait else child


def finish(child):
    out, error = child.communicate(timeout=300)
    assert child.returncode == 0, error
    return out.strip()


@pytest.mark.parametrize(
    "damage",
    [
        lambda b: b"",
        lambda b: b[:5],
        lambda b: b[:-7],
        lambda b: b[:99] + b"\xff" + b[100:],
        lambda b: b[::-1],
    ],
    ids=["empty", "no header", "cut off", "one byte", "reversed"],
)
def test_damaged_files_are_compiled_again(tmp_path, damage):
    assert process(PROBE, tmp_path).startswith("['probe']")
    (path,) = tmp_path.rglob("probe.code")
    whole = path.read_bytes()
    path.write_bytes(damage(whole))
    assert process(PROBE, tmp_path).startswith("['probe']")
    assert process(PROBE, tmp_path).startswith("[]")
    assert len(path.read_bytes()) == len(whole)


def test_a_folder_that_cannot_be_written_is_read(tmp_path):
    refuse = "import tempfile\ndef no(**k):\n    raise PermissionError(30, 'read-only')\n"
    read_only = refuse + PROBE.replace("address =", "tempfile.mkstemp = no\naddress =")
    assert process(read_only, tmp_path).startswith("['probe']")
    assert not list(tmp_path.rglob("probe.code"))
    process(PROBE, tmp_path)
    assert process(read_only, tmp_path).startswith("[]")


def test_a_cache_that_is_no_folder_is_replaced_by_another(tmp_path):
    taken = tmp_path / "file"
    taken.write_text("")
    assert "file" not in process(PROBE, taken).split("] ")[1]


def test_processes_may_race(tmp_path):
    racing = [process(PROBE, tmp_path, wait=False) for _ in range(3)]
    assert all("]" in finish(child) for child in racing)
    assert process(PROBE, tmp_path).startswith("[]")
    (folder,) = tmp_path.iterdir()
    assert [path.name for path in folder.iterdir()] == ["probe.code"]


# --- after warmup ---------------------------------------------------------------------------------

REHEARSAL = """
from tapegrad.cli.warmup import rehearse
for _, part in rehearse("float64"):
    part()
"""

FIRST_MODEL = """
import sys
import numpy as np
import tapegrad as tg
X = np.linspace(-2, 2, 30).reshape(10, 3)
y = (X[:, 0] > 0.5) * 1.0
def loss(w, b):
    z = X @ w + b
    return tg.mean(tg.logaddexp(z, 0.0) - y * z)
w, b = tg.tensor(np.zeros(3), requires_grad=True), tg.tensor(0.0, requires_grad=True)
loss(w, b).backward()
value, (gw, gb) = tg.compile(tg.value_and_grad(loss, argnums=(0, 1)))(np.zeros(3), 0.0)
assert np.allclose(gw, w.grad.numpy()) and np.allclose(value, np.log(2))
print("numba" in sys.modules)
"""


def test_after_the_rehearsal_no_process_needs_numba():
    cache = _jit.CACHE_DIR.parent
    process(REHEARSAL, cache)
    assert process(FIRST_MODEL, cache) == "False"
