"""Recording by machine code: the same rows as Python's form, nothing leaked, nothing crashes."""

import gc
import operator
import sys
import threading

import numpy as np
import pytest

import tapegrad as tg
from tapegrad.ops import fast
from tapegrad.ops.record import elementwise_functions, operator_methods
from tapegrad.ops.table import ROWS
from tapegrad.ops.table import rows as table_rows
from tapegrad.tape import current

tg.ones(2).sum().item()  # the engine is imported
fast.install(compiling=True)
pytestmark = pytest.mark.skipif(not fast.supported(), reason="recording is done in Python here")

ELIGIBLE = [row for row, function in fast._functions if getattr(tg, row.name, None) is function]
OPERANDS = {
    "leaf": lambda: tg.tensor([0.3, 0.6], requires_grad=True),
    "constant": lambda: tg.tensor([0.3, 0.6]),
    "float32": lambda: tg.tensor([0.3, 0.6], dtype=tg.float32, requires_grad=True),
    "number": lambda: tg.tensor(0.5, requires_grad=True),
    "matrix": lambda: tg.tensor([[0.3, 0.6], [0.2, 0.1]], requires_grad=True),
    "integers": lambda: tg.tensor([1, 2]),
    "float": lambda: 0.7,
    "int": lambda: 2,
    "large": lambda: 1 << 70,
    "bool": lambda: True,
    "numpy": lambda: np.array([0.5, 0.25]),
    "list": lambda: [0.5, 0.25],
}


def rows_of(call, *operands):
    """What a call appended, with slots relative to its start, or the type of its error."""
    tape = current.tape
    for o in operands:
        if isinstance(o, tg.Tensor) and o._tape is not tape:
            tape.bind(o)
    start = tape.seal()
    try:
        out = call(*operands)
    except Exception as error:
        return type(error), str(error)
    if out is NotImplemented:
        return "NotImplemented"
    n = tape.seal()
    kinds = []
    for i in range(start, n):
        op, spec, *slots = tape.code[i, :5].tolist()
        arity = table_rows[op & 0xFFFF].arity
        named = [slots[k] - start if slots[k] >= start else slots[k] for k in range(arity)]
        kinds.append((op, spec, [tape.consts[-s - 1] if s < 0 else s for s in named]))
    return kinds, out._spec, out._rg, out._slot - start, out._value is None


@pytest.mark.parametrize("row", ELIGIBLE, ids=lambda r: r.name)
def test_functions_record_what_python_records(row):
    python = elementwise_functions(row)["function"]
    for first in OPERANDS:
        for second in OPERANDS if row.arity == 2 else [""]:
            x = OPERANDS[first]()
            operands = (x, OPERANDS[second]()) if second else (x,)
            assert rows_of(getattr(tg, row.name), *operands) == rows_of(python, *operands), (first, second)


@pytest.mark.parametrize("name", [n for r, f, n, p in fast._operators if f == "function"])
def test_operators_record_what_python_records(name):
    row, _, _, python = next(entry for entry in fast._operators if entry[2] == name)
    for first in OPERANDS:
        x = OPERANDS[first]()
        if not isinstance(x, tg.Tensor):
            continue
        for second in OPERANDS if row.arity == 2 else [""]:
            operands = (x, OPERANDS[second]()) if second else (x,)
            method = getattr(tg.Tensor, name)
            assert rows_of(method, *operands) == rows_of(python, *operands), (first, second)


@pytest.mark.parametrize("name", [n for r, f, n, p in fast._operators if f == "reflected"])
def test_reflected_operators_record_what_python_records(name):
    row, *_ = next(entry for entry in fast._operators if entry[2] == name)
    python = operator_methods(row)["reflected"]
    for first in ("leaf", "constant", "float32", "matrix", "integers"):
        for second in ("float", "int", "large", "bool", "list", "leaf"):
            operands = (OPERANDS[first](), OPERANDS[second]())
            assert rows_of(getattr(tg.Tensor, name), *operands) == rows_of(python, *operands), (first, second)


def test_it_is_installed():
    assert type(tg.Tensor.__mul__).__name__ == "method_descriptor"
    assert "unary" in repr(tg.sin.__code__)


def test_nothing_is_leaked():
    x = tg.tensor([1.0, 2.0], requires_grad=True)
    y = tg.tensor(3.0)
    (x * y).sum().backward()
    code = test_nothing_is_leaked.__code__

    def work(n):
        for _ in range(n):
            z = (x + 1.5) * x - 2 * x
            z = tg.sin(z) / y + x[0]
            del z
        x.sum().item()
        current.tape.run()
        gc.collect()
        watched = (None, True, x, y, x._spec, y._spec, current.tape, code, tg.Tensor, 1.5)
        return np.array([sys.getrefcount(o) for o in watched])

    work(3000)
    before = work(3000)
    after = work(3000)
    assert (np.abs(after - before) < 200).all(), (before, after)


def test_numbers_of_arguments():
    x = tg.tensor([1.0, 2.0])
    for call in (x.__mul__, x.__rmul__, x.__neg__, tg.add, tg.sin, tg.Tensor.__mul__):
        for n in (0, 2, 3, 4, 9):
            if (call, n) in ((tg.add, 2), (x.__neg__, 0)):
                continue
            with pytest.raises(TypeError):
                call(*[x] * (n + (call is tg.Tensor.__mul__)))
    with pytest.raises(TypeError):
        tg.Tensor.__mul__(1.0, x)
    with pytest.raises(TypeError):
        tg.Tensor.__mul__()


def test_half_made_tensors_are_refused():
    broken = tg.Tensor.__new__(tg.Tensor)
    x = tg.tensor([1.0, 2.0])
    for call in (lambda: broken * x, lambda: x * broken, lambda: tg.sin(broken), lambda: broken + 1.0):
        with pytest.raises(AttributeError):
            call()


def test_subclasses_and_foreign_operands_keep_their_own_way():
    class Mine(tg.Tensor):
        pass

    class Foreign:
        def __rmul__(self, other):
            return "foreign"

        __radd__ = __rmul__

    x = tg.tensor([1.0, 2.0])
    assert x * Foreign() == "foreign"
    with pytest.raises(TypeError):
        x * object()
    with pytest.raises(TypeError):
        tg.sin("text")


def test_lines_are_those_of_the_caller():
    x = tg.tensor([1.0, 2.0], requires_grad=True)
    tape = current.tape
    here = sys._getframe().f_lineno
    y = x * x
    z = tg.exp(x)
    w = operator.add(y, z)
    lines = [tape.source(t._slot) for t in (y, z, w)]
    assert lines == [f"test_fast.py:{here + k}" for k in (1, 2, 3)]


def test_limits_and_growth():
    x = tg.tensor([1.0, 2.0], requires_grad=True)
    y = x
    for _ in range(5000):
        y = y * 0.999 + x * 0.001
    y.sum().backward()
    assert np.allclose(x.grad.numpy(), np.float64(0.999**5000 + (1 - 0.999**5000)))


def test_recordings_and_views_meet_python_rows():
    def f(x):
        a = x[0] * x[1] + tg.sin(x[2])
        x = x * 2.0
        x[1] = a
        x += 1.0
        return (x @ x) * a + tg.where(x > 1, x, x * x).sum()

    x = np.array([0.3, 0.8, 1.2])
    g = tg.grad(f)(x)
    h = 1e-6
    central = [(f(x + h * e) - f(x - h * e)) / (2 * h) for e in np.eye(3)]
    assert np.allclose(g, [float(c) for c in central], rtol=1e-7)
    assert np.allclose(tg.compile(tg.grad(f))(x), g, rtol=1e-14)


def test_threads():
    x = tg.tensor(np.linspace(0.1, 1.0, 7), requires_grad=True)
    wrong = []

    def work():
        for _ in range(200):
            y = x
            for _ in range(10):
                y = tg.sin(y) * x + 0.5
            (g,) = tg.autograd.grad(y.sum(), [x])
            if not np.array_equal(g.numpy(), expected):
                wrong.append(g)

    y = x
    for _ in range(10):
        y = tg.sin(y) * x + 0.5
    expected = tg.autograd.grad(y.sum(), [x])[0].numpy()
    threads = [threading.Thread(target=work) for _ in range(6)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not wrong


def test_interrupted_between_rows():
    tape = current.tape
    x = tg.tensor([1.0, 2.0], requires_grad=True)
    y = x * x
    tape.append(ROWS["sin"].op, y._spec.id, y._slot)  # and no Tensor follows
    with pytest.raises(RuntimeError, match="interrupted"):
        (y * 2.0).detach().numpy()
    assert (x * 3.0).tolist() == [3.0, 6.0]


def test_finalizers_that_record():
    x = tg.tensor([1.0, 2.0], requires_grad=True)

    class Recorder:
        def __init__(self):
            self.me = self  # the garbage collector finds it, in the middle of something

        def __del__(self):
            (x * x + 1.0).sum()

    def gradient():
        y = x
        for _ in range(5):
            y = tg.sin(y) * x + 0.5 - 2 / y
        return tg.autograd.grad(y.sum(), [x])[0].tolist()

    before = gc.get_threshold()
    gc.set_threshold(1, 1, 1)
    try:
        found = []
        for _ in range(50):
            Recorder()
            found.append(gradient())
    finally:
        gc.set_threshold(*before)
    assert found == [gradient()] * 50
