"""What `verify` lets through stays within its operands: kernels run in plain Python with bounds checked."""

import importlib
import os
import random
from collections import Counter
from types import FunctionType

import numpy as np
import pytest

from tapegrad.ops.axes import contiguous, size_of
from tapegrad.ops.table import ROWS, Kind, rows
from tapegrad.spec import BOOL, intern_spec
from tapegrad.tape import TapeError
from tapegrad.trace import _check_strides
from tapegrad.verify import CHECKS, signature_of

INTENSE = os.environ.get("TAPEGRAD_HYPOTHESIS") == "intense"
TRIES = 10_000 if INTENSE else 1000  # per row
STRUCTURED = [r for r in rows if r.kind is Kind.STRUCTURED and r.user is None]
OUT, X, P = 1 << 40, 2 << 40, 9 << 40
DTYPES = ("float64", "float32", "int64", "int32", "uint8", "bool")


def test_every_structured_row_is_verified():
    assert {r.name for r in STRUCTURED} == set(CHECKS)


class Memory:
    """An array that refuses what lies outside, and notes what has been written."""

    def __init__(self, data):
        self.data, self.written = data, set()

    def __getitem__(self, k):
        assert 0 <= k < len(self.data), f"reads element {k} of {len(self.data)}"
        return self.data[k]

    def __setitem__(self, k, value):
        assert 0 <= k < len(self.data), f"writes element {k} of {len(self.data)}"
        self.written.add(int(k))
        self.data[k] = value


def checked(kernel, t, to, memory):
    """The kernel, with ``memory`` (by address) in place of raw memory."""

    def array(address, n, dtype):
        found = memory[int(address)]
        assert np.dtype(dtype).itemsize == found.data.itemsize, f"{found.data.dtype} taken for {dtype}"
        # unused operands are 0; what a kernel says about p's length is an upper bound
        assert address == P or n <= len(found.data), f"{n} elements of {len(found.data)}"
        return found

    space: dict = {}
    pending = [kernel]
    space.update(importlib.import_module(kernel.__module__).__dict__)
    space.update(importlib.import_module("tapegrad.kernels.reduce").__dict__ | space)
    for name, value in list(space.items()):
        if isinstance(value, FunctionType) and value.__module__.startswith("tapegrad.kernels."):
            space[name] = FunctionType(value.__code__, space, name, value.__defaults__)
    space.update(array=array, T=t, TO=to)
    return FunctionType(pending[0].__code__, space)


def draw_shape(r, most=3):
    return tuple([r.choice([0, 1, 1, 2, 2, 3, 4]) for _ in range(r.randrange(most + 1))])


def draw_static(r, row, specs):
    """Static arguments that are right, or nearly so."""
    x = specs[0]

    def near(*values):
        return r.choice(values) + (r.choice([-1, 1, 2]) if r.random() < 0.1 else 0)

    shape, strides = draw_shape(r), ()
    if r.random() < 0.7:
        shape = r.choice(specs).shape
    strides = r.choice(
        [contiguous(shape), tuple([r.randrange(-2, 4) for _ in shape]), contiguous(shape)[::-1]]
    )
    axis = near(*range(max(x.ndim, 1)))
    first = near(*range(max(x.ndim, 1)))
    indices = specs[-1].size
    static = {
        "axis": axis,
        "axes": r.choice([(axis,), tuple(range(first, x.ndim)), (first, first + 1), (first, axis)]),
        "shape": r.choice([shape, *[s.shape for s in specs], (*specs[-1].shape, r.randrange(3))]),
        "in_shape": draw_shape(r),
        "strides": strides,
        "width": near(1, 1, 2, 3, max(x.size // max(indices, 1), 0)),
        "n": near(0, 1, 2, 3, x.size),
        "stride": near(1, 2, 5),
        "blocks": near(0, 1, x.size, 7),
    }
    for flag in ("keepdims", "unique", "reverse", "exclusive", "descending", "right", "tx", "ty", "reduce"):
        static[flag] = r.random() < 0.5
    names = STATIC[row.name]
    return {k: static[k] for k in names}


STATIC = {
    "add_strided": ("shape", "strides"),
    "argsort": ("descending",),
    "barrier": (),
    "clear_strided": ("shape", "strides"),
    "concat2": ("axis",),
    "cumulative_prod": ("axis", "exclusive"),
    "cumulative_sum": ("axis", "reverse"),
    "gather": ("width", "shape"),
    "gather_along": ("axis",),
    "index_clear": ("width",),
    "index_put": ("width", "unique"),
    "last_writes": ("blocks",),
    "linear_recurrence": ("axis", "reverse"),
    "log_softmax": ("axis",),
    "matmul": ("tx", "ty", "reduce"),
    "matvec": ("tx",),
    "scatter_add": ("width", "shape"),
    "scatter_along": ("axis", "n"),
    "scatter_strided": ("in_shape", "shape", "strides"),
    "searchsorted": ("right",),
    "set_strided": ("shape", "strides"),
    "softmax": ("axis",),
    "stack2": ("axis",),
    "sum_all": (),
    "wrap_index": ("n", "stride"),
    **dict.fromkeys(("sum", "prod", "max", "min", "any", "all", "argmax", "argmin"), ("axes", "keepdims")),
    **dict.fromkeys(("logsumexp", "norm2"), ("axes", "keepdims")),
}
INDEXED = {
    "gather": 1,
    "scatter_add": 1,
    "index_put": 2,
    "index_clear": 1,
    "gather_along": 1,
    "scatter_along": 1,
}
INDEXED |= {"last_writes": 0, "wrap_index": 0}
PARTLY = ("last_writes", "argsort")  # part of their result is room to work in


def draw_specs(r, row):
    """Operands that fit together more often than chance would have it."""
    shape = draw_shape(r)
    dtype = r.choice(DTYPES[:2] if r.random() < 0.6 else DTYPES)
    specs = []
    for k in range(row.arity):
        own = shape if r.random() < 0.6 else draw_shape(r)
        if row.name in ("matmul", "matvec") and r.random() < 0.8:
            own = tuple(
                [
                    r.choice([1, 2, 2, 3])
                    for _ in range(1 if row.name == "matvec" and k else r.choice([2, 2, 3]))
                ]
            )
        kind = "int64" if INDEXED.get(row.name) == k and r.random() < 0.95 else dtype
        specs.append(intern_spec(own, np.dtype(r.choice(DTYPES) if r.random() < 0.05 else kind)))
    if row.name == "searchsorted" and r.random() < 0.8:
        specs[0] = intern_spec((r.randrange(5),), specs[0].dtype)
    return tuple(specs)


def storage(dtype, bits):
    return np.dtype(f"u{dtype.itemsize}").type if bits else np.uint8 if dtype == BOOL else dtype.type


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("row", STRUCTURED, ids=lambda row: row.name)
def test_kernels_stay_within_verified_operands(row):
    r = random.Random(row.name)
    found = Counter()
    for _ in range(TRIES):
        specs = draw_specs(r, row)
        static = draw_static(r, row, specs)
        try:
            signature = signature_of(row, specs, static)
            q = 0
            if row.wants_raw:
                q = r.choice([0, 0, 1, 2, 5, -1])
                _check_strides(row.name, static["shape"], static["strides"], q, signature.out.size)
        except TapeError:
            found["refused"] += 1
            continue
        memory = {P: Memory(np.array(signature.params or (0,), np.int64))}
        if row.name in ("matmul", "matvec"):
            memory[P].data[0] = 0  # no library: plain loops
        out = signature.out
        t, to = storage(specs[row.typed_by].dtype, row.bits), storage(out.dtype, row.bits)
        for k, spec in enumerate(specs):
            index = INDEXED.get(row.name) == k and spec.dtype == np.int64
            drawn = [
                r.choice([0, 0, 1, 1, 2, 3, -1, 1 << 40] if index else [0, 1, 2, 3]) for _ in range(spec.size)
            ]
            memory[X + k] = Memory(np.array(drawn, np.int64 if index else storage(spec.dtype, row.bits)))
        memory[OUT] = Memory(np.full(out.size, 99, np.float64).astype(to))
        addresses = [X + k if k < len(specs) else 0 for k in range(3)]
        status = checked(row.forward, t, to, memory)(OUT, *addresses, P, q)
        assert status in (0, 1)
        if status == 0 and row.name not in PARTLY:
            assert len(memory[OUT].written) == out.size, f"{specs} {static}: not all of {out!r} is written"
        found["ran"] += 1
    assert found["ran"] > TRIES // 100, found


@pytest.mark.parametrize("name", ["getitem", "strided"])
def test_movements_stay_within_their_operand(name):
    r = random.Random(name)
    row, kernel = ROWS[name], importlib.import_module("tapegrad.kernels.move").gather
    ran = 0
    for _ in range(TRIES):
        spec = intern_spec(draw_shape(r), np.dtype("float64"))
        shape = draw_shape(r)
        strides = tuple([r.randrange(-3, 5) for _ in shape])
        q = r.randrange(-1, 8)
        try:
            signature = signature_of(row, (spec,), {"shape": shape, "strides": strides})
            _check_strides(name, shape, strides, q, spec.size)
        except TapeError:
            continue
        memory = {OUT: Memory(np.zeros(signature.out.size)), X: Memory(np.zeros(spec.size))}
        memory[P] = Memory(np.array(signature.params, np.int64))
        assert checked(kernel, np.float64, np.float64, memory)(OUT, X, 0, 0, P, q) == 0
        assert len(memory[OUT].written) == size_of(shape)
        ran += 1
    assert ran > TRIES // 100


BAD = [
    ("softmax", [(2, 3)], {"axis": 2}),
    ("softmax", [(2, 3)], {"axis": -1}),
    ("softmax", [(2, 3)], {"axis": True}),
    ("softmax", [(2, 3)], {"axis": 1, "more": 1}),
    ("sum", [(2, 3)], {"axes": (), "keepdims": False}),
    ("sum", [(2, 3, 4)], {"axes": (0, 2), "keepdims": False}),
    ("sum", [(2, 3)], {"axes": (1, 0), "keepdims": False}),
    ("sum", [(2, 3)], {"axes": (0,), "keepdims": 1}),
    ("stack2", [(2, 3), (3, 2)], {"axis": 0}),
    ("concat2", [(2,), (3,)], {"axis": 1}),
    ("scatter_strided", [(4,)], {"in_shape": (2,), "shape": (3,), "strides": (1,)}),
    ("add_strided", [(4,), (2,)], {"shape": (3,), "strides": (1,)}),
    ("set_strided", [(4,), (3,)], {"shape": (3,), "strides": (1, 1)}),
    ("clear_strided", [(4,)], {"shape": (3,), "strides": (1 << 62,)}),
    ("clear_strided", [(4,)], {"shape": (-3,), "strides": (1,)}),
    ("linear_recurrence", [(4,), (3,)], {"axis": 0, "reverse": False}),
    ("matmul", [(2, 2, 3), (4, 3, 2)], {"tx": False, "ty": False, "reduce": False}),
    ("matvec", [(2, 3), (4,)], {"tx": False}),
    ("max", [(2, 0)], {"axes": (1,), "keepdims": False}),
    ("argsort", [()], {"descending": False}),
    ("searchsorted", [(2, 2), (2,)], {"right": False}),
]


@pytest.mark.parametrize("name, shapes, static", BAD, ids=lambda v: str(v))
def test_what_public_functions_establish_is_required(name, shapes, static):
    specs = tuple([intern_spec(s, np.dtype("float64")) for s in shapes])
    with pytest.raises(TapeError, match=f"^{name}"):
        signature_of(ROWS[name], specs, static)


@pytest.mark.parametrize("name, dtypes", [
    ("gather", ("float64", "float64")), ("gather", ("float64", "int32")), ("concat2", ("float64", "float32")),
    ("matmul", ("bool", "bool")), ("sum_all", ("int64",)), ("softmax", ("int64",)), ("norm2", ("int64",)),
])  # fmt: skip
def test_dtypes_that_are_never_recorded_are_refused(name, dtypes):
    specs = tuple([intern_spec((2, 2), np.dtype(d)) for d in dtypes])
    static = {
        "gather": {"width": 1, "shape": (2, 2)},
        "concat2": {"axis": 0},
        "matmul": {"tx": False, "ty": False, "reduce": False},
        "softmax": {"axis": 0},
        "norm2": {"axes": (0,), "keepdims": False},
    }.get(name, {})
    with pytest.raises(TapeError, match=name):
        signature_of(ROWS[name], specs, static)
