"""What `verify` lets through stays within its operands: kernels run in plain Python with bounds checked."""

import importlib
import os
import random
from collections import Counter

import numpy as np
import pytest
from bounds import OUT, Fake, Memory, P, Real, X, checked

from tapegrad.ops.axes import contiguous, size_of
from tapegrad.ops.fft import table_size
from tapegrad.ops.table import ROWS, Kind, rows
from tapegrad.saved.verify import CHECKS, peak_bytes, signature_of
from tapegrad.spec import BOOL, intern_spec, real_dtype
from tapegrad.tape import TapeError
from tapegrad.trace import Guard, Trace, _check_strides

INTENSE = os.environ.get("TAPEGRAD_HYPOTHESIS") == "intense"
TRIES = 10_000 if INTENSE else 1000  # per row
STRUCTURED = [r for r in rows if r.kind is Kind.STRUCTURED and r.user is None]
DTYPES = ("float64", "float32", "int64", "int32", "uint8", "bool")


def test_every_structured_row_is_verified():
    assert {r.name for r in STRUCTURED} == set(CHECKS)


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
        "mode": near(0, 1, 2),
    }
    for flag in (
        "keepdims", "unique", "reverse", "exclusive", "descending", "right", "tx", "ty", "reduce", "lower",
        "trans", "unit_diagonal", "upper", "inverse", "diagonal",
    ):  # fmt: skip
        static[flag] = r.random() < 0.5
    if row.name in CONVOLUTIONS:
        static |= draw_geometry(r, row, specs)
    if row.name in TRANSFORMS:
        static["axis"] = near(0, 1)
        static["n"] = near(1, *[2 * (m - 1) + r.randrange(2) for m in x.shape])
    elif row.name in POOLS:
        static |= draw_windows(r, specs)
    names = STATIC[row.name]
    return {k: static[k] for k in names}


def draw_geometry(r, row, specs):
    """Of a convolution whose weights are 2 x 2 and whose results are 2 x 3, or nearly so."""
    fitting = [g for g in GEOMETRIES if image_size(*g) == specs[0].shape[2:]]
    stride, dilation, padding = r.choice(fitting or GEOMETRIES)
    size = {"convolution_input": image_size(stride, dilation, padding), "convolution_weight": (2, 2)}
    found = {
        "stride": stride,
        "dilation": dilation,
        "padding": padding,
        "groups": 2 if specs[0].ndim == 4 and specs[0].shape[1] > 1 and r.random() < 0.5 else 1,
        "size": size.get(row.name, (1, 1)),
    }
    if r.random() < 0.1:
        key = r.choice(list(found))
        found[key] = r.choice([0, 3, (1,), (1, 0), (-1, 2), (2, 2, 2, -1), (1 << 50, 1), True, (4, 4), "1"])
    return found


def image_size(stride, dilation, padding):
    """Of results of 2 x 3 and weights of 2 x 2."""
    each = zip((2, 3), stride, dilation, padding[::2], padding[1::2])
    return tuple([(n - 1) * s + d + 1 - before - after for n, s, d, before, after in each])


GEOMETRIES = [
    ((1, 1), (1, 1), (0, 0, 0, 0)),
    ((2, 1), (1, 1), (0, 1, 1, 0)),
    ((3, 2), (2, 1), (1, 1, 0, 2)),
    ((1, 3), (1, 2), (1, 0, 0, 0)),
    ((2, 2), (2, 2), (2, 0, 1, 1)),
]


def draw_windows(r, specs):
    """Of 2 x 3 windows in the last two axes of some array, or nearly so."""
    found = {key: (r.randrange(1, 4), r.randrange(1, 4)) for key in ("window", "stride", "dilation")}
    found |= {"places": (2, 3), "padding": (r.randrange(3), r.randrange(3)), "size": draw_shape(r, 2)}
    if r.random() < 0.1:
        found[r.choice(list(found))] = r.choice([0, (1,), (1, 0), (-1, 2), (1 << 47, 5), True, (4, 4), "1"])
    return found


POOLS = ("max_pool", "sum_pool", "sum_pool_adjoint", "pool_shares", "pool_hits")
TRANSFORMS = ("fft", "fft_real", "fft_half")
CONVOLUTIONS = ("convolution", "convolution_input", "convolution_weight")


STATIC = {
    "add_strided": ("shape", "strides"),
    "argsort": ("descending",),
    "barrier": (),
    "apart": ("mode",),
    "basis_free": ("diagonal",),
    **dict.fromkeys(("cholesky", "cholesky_adjoint", "lu", "lu_sign", "det", "log_abs_det", "log_det"), ()),
    **dict.fromkeys(("complement", "expm", "expm_derivative", "qr", "svd", "svdvals"), ()),
    **dict.fromkeys(("eigh", "eigvalsh"), ("upper",)),
    **dict.fromkeys(("svd_factors", "untied", "eigenvalues", "singular_values", "eig", "eigvals"), ()),
    **dict.fromkeys(("general_eigenvalues", "untied_complex", "regular"), ()),
    "apart_complex": ("mode",),
    "svd_solve": ("trans",),
    "solve_triangular": ("lower", "trans", "unit_diagonal"),
    "solve": ("trans",),
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
    "matmul_add": ("tx", "ty", "reduce"),
    "matvec": ("tx",),
    **dict.fromkeys(("scatter_add", "scatter_max", "scatter_min"), ("width", "shape")),
    "scatter_along": ("axis", "n"),
    "scatter_strided": ("in_shape", "shape", "strides"),
    "searchsorted": ("right",),
    "set_strided": ("shape", "strides"),
    **dict.fromkeys(("softmax", "cummax", "cummin", "logcumsumexp"), ("axis",)),
    "stack2": ("axis",),
    **dict.fromkeys(POOLS, ("window", "places", "stride", "padding", "dilation")),
    "sum_pool_adjoint": ("window", "places", "stride", "padding", "dilation", "size"),
    **dict.fromkeys(("fft", "fft_real"), ("axis", "inverse")),
    "fft_half": ("axis", "n", "inverse"),
    "convolution": ("stride", "padding", "dilation", "groups"),
    **dict.fromkeys(CONVOLUTIONS[1:], ("size", "stride", "padding", "dilation", "groups")),
    "sum_all": (),
    "wrap_index": ("n", "stride"),
    **dict.fromkeys(("sum", "prod", "max", "min", "any", "all", "argmax", "argmin"), ("axes", "keepdims")),
    **dict.fromkeys(("logsumexp", "norm2", "nanargmax", "nanargmin"), ("axes", "keepdims")),
}
INDEXED = {
    "gather": 1,
    "scatter_add": 1,
    "scatter_max": 1,
    "scatter_min": 1,
    "index_put": 2,
    "index_clear": 1,
    "gather_along": 1,
    "scatter_along": 1,
}
LINALG = {  # square matrices, their factors, right-hand sides; rectangular ones, values, factors
    "cholesky": "a", "cholesky_adjoint": "aa", "lu": "a", "lu_sign": "f", "det": "af", "log_abs_det": "af",
    "log_det": "af",
    "solve_triangular": "ba", "solve": "baf", "eigh": "a", "eigvalsh": "a", "expm": "a",
    "expm_derivative": "aa", "svd": "r", "svdvals": "r", "qr": "r", "complement": "r", "svd_factors": "rt",
    "svd_solve": "crs", "apart": "rv", "basis_free": "ra",
    "untied": "rv", "eigenvalues": "ae", "singular_values": "rs", "eig": "a", "eigvals": "a",
    "general_eigenvalues": "ae", "apart_complex": "ru", "untied_complex": "ru", "regular": "bf",
}  # fmt: skip
LIBRARY = ("eigh", "eigvalsh", "svd", "svdvals", "svd_factors", "svd_solve", "qr", "complement", "expm",
           "expm_derivative", "eig", "eigvals")  # fmt: skip
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
    if row.name == "matmul_add" and r.random() < 0.8:
        (m, k, n), batch = [r.choice([1, 2, 2, 3]) for _ in range(3)], r.choice([(), (2,)])
        swap = [r.random() < 0.3, r.random() < 0.3]
        shapes = (m, n), (k, m) if swap[0] else (m, k), (n, k) if swap[1] else (k, n)
        specs = [
            intern_spec((*batch, *s), np.dtype("float32" if dtype == "float32" else "float64"))
            for s in shapes
        ]
    if row.name in LINALG and r.random() < 0.8:
        batch, n = r.choice([(), (), (2,), (0,)]), r.choice([0, 1, 2, 3])
        m = r.choice([n, n, r.randrange(5)])
        kinds = {
            "a": (*batch, n, n), "f": (*batch, n + 1, n), "b": (*batch, n, r.randrange(3)),
            "e": (*batch, n * n + n), "r": (*batch, m, n), "t": batch, "v": (*batch, n), "u": (*batch, n),
            "s": (*batch, (m + 1 + n) * min(m, n)),
            "c": (*batch, r.choice([m, n]), r.randrange(3)),
        }  # fmt: skip
        dtype = np.dtype(r.choice((*DTYPES[:2], "complex128", "complex64") if row.complex else DTYPES[:2]))
        real = real_dtype(dtype)  # of tolerances and values
        specs = [intern_spec(kinds[k], real if k in "tv" else dtype) for k in LINALG[row.name]]
    if row.name in POOLS and r.random() < 0.8:
        image, dtype = (*r.choice([(), (2,), (0,)]), r.randrange(4), r.randrange(5)), specs[0].dtype
        places = (*image[:-2], 2, 3)
        shapes = {"sum_pool_adjoint": (places,), "pool_shares": (places, image, places)}
        shapes = shapes.get(row.name, (image, image, places)[: row.arity])
        specs = [intern_spec(s, dtype) for s in shapes]
    if row.name in CONVOLUTIONS and r.random() < 0.9:
        n, c, f, groups = r.choice([0, 1, 2]), r.choice([0, 1, 2]), r.choice([0, 1, 2]), r.choice([1, 1, 2])
        image, weight = (n, c * groups, *image_size(*r.choice(GEOMETRIES))), (f * groups, c, 2, 2)
        result = (n, f * groups, 2, 3)
        shapes = ((image, weight), (result, weight), (image, result))[CONVOLUTIONS.index(row.name)]
        specs = [intern_spec(s, np.dtype(r.choice(("float64", "float32")))) for s in shapes]
        if r.random() < 0.9:
            specs[1] = intern_spec(shapes[1], specs[0].dtype)
    if row.name in TRANSFORMS and r.random() < 0.95:
        n = r.choice([*range(1, 11), *range(1, 11), 18, 40, 64, 67])
        length = n // 2 + 1 if row.name == "fft_half" else n
        shape = r.choice([(length,), (length, 1), (length, 2), (1, length), (3, length), (length, 0)])
        pairs = (("float64", "complex128"), ("float32", "complex64"))
        real, whole = map(np.dtype, r.choice(pairs))
        size = near_size(r, table_size(n, row.name != "fft"))
        specs = [intern_spec(shape, real if row.name == "fft_real" else whole), intern_spec((size,), whole)]
    if row.name == "searchsorted" and r.random() < 0.8:
        rows = r.choice([(), (2,), (0,)])
        specs[0] = intern_spec((*rows, r.randrange(5)), specs[0].dtype)
        if rows:
            specs[1] = intern_spec((*rows, r.randrange(3)), specs[0].dtype)
    return tuple(specs)


def near_size(r, n):
    return n + (r.choice([-1, 1]) if n and r.random() < 0.05 else 0)


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
        if row.name in ("matmul", "matmul_add", "matvec"):
            memory[P].data[0] = 0  # no library: plain loops
        out = signature.out
        if row.name in LIBRARY:
            _run_over_real_memory(r, row, signature, specs)
            found["ran"] += 1
            continue
        t, to = storage(specs[row.typed_by].dtype, row.bits), storage(out.dtype, row.bits)
        for k, spec in enumerate(specs):
            index = INDEXED.get(row.name) == k and spec.dtype == np.int64
            drawn = [
                r.choice([0, 0, 1, 1, 2, 3, -1, 1 << 40] if index else [0, 1, 2, 3]) for _ in range(spec.size)
            ]
            memory[X + k] = Memory(np.array(drawn, np.int64 if index else storage(spec.dtype, row.bits)))
        memory[OUT] = Memory(np.full(out.size, 99, np.float64).astype(to))
        addresses = [X + k if k < len(specs) else 0 for k in range(3)]
        fake = Fake(memory)
        status = checked(row.forward, t, to, fake)(OUT, *addresses, P, q)
        assert status in (0, 1) or row.refusal or row.underivable
        assert not fake.rooms, "room to work in is not given back"
        if status == 0 and row.name not in PARTLY:
            assert len(memory[OUT].written) == out.size, f"{specs} {static}: not all of {out!r} is written"
        found["ran"] += 1
    assert found["ran"] > TRIES // 100, found


def _run_over_real_memory(r, row, signature, specs):
    """The same for a kernel that calls libraries."""
    memory, untouched = Real(), 12345.5
    p, _ = memory.place(np.array(signature.params, np.int64))
    spread = [
        memory.place(np.array([r.choice([0.0, 1.0, 2.0, 3.0, 0.25]) for _ in range(s.size)], s.dtype))[0]
        for s in specs
    ]
    out, written = memory.place(np.full(signature.out.size, untouched, signature.out.dtype))
    forward = getattr(row.forward, "complex", row.forward) if specs[0].kind == "c" else row.forward
    kernel = checked(forward, specs[0].dtype.type, signature.out.dtype.type, memory)
    status = kernel(out, *spread, *[0] * (3 - len(spread)), p, 0)
    assert status >= 0
    memory.check()
    assert status > 0 or not (written == untouched).any(), f"{specs}: not all of the result is written"


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
        assert checked(kernel, np.float64, np.float64, Fake(memory))(OUT, X, 0, 0, P, q) == 0
        assert len(memory[OUT].written) == size_of(shape)
        ran += 1
    assert ran > TRIES // 100


PLAIN = {"stride": (1, 1), "padding": (0, 0, 0, 0), "dilation": (1, 1), "groups": 1}
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
    ("convolution", [(1, 1, 4, 4), (1, 1, 5, 2)], PLAIN),
    ("convolution", [(1, 1, 4, 4), (1, 2, 2, 2)], PLAIN),
    ("convolution", [(1, 1, 4, 4), (1, 1, 2, 2)], {**PLAIN, "padding": (0, 0, -1, 1)}),
    ("convolution", [(1, 1, 4, 4), (1, 1, 2, 2)], {**PLAIN, "dilation": (1 << 48, 1)}),
    ("convolution_input", [(1, 1, 3, 3), (1, 1, 2, 2)], {**PLAIN, "size": (4, 5)}),
    ("convolution_weight", [(1, 1, 4, 4), (1, 1, 3, 3)], {**PLAIN, "size": (2, 3)}),
    ("convolution_weight", [(1, 1, 4, 4), (2, 1, 3, 3)], {**PLAIN, "size": (2, 2)}),
    ("fft", [(4,), (3,)], {"axis": 0, "inverse": False}),
    ("fft_real", [(4,), (3,)], {"axis": 0, "inverse": False}),
    ("fft_half", [(3,), (2,)], {"axis": 0, "inverse": False, "n": 4}),
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


# --- traces ---------------------------------------------------------------------------------------


def trace_of_one(name, operands, out, static=None, z=0, consts=(), **more):
    """A trace of inputs and one row; operands are specs, or -k for constant ``k - 1``."""
    specs = [intern_spec(s, np.dtype(d)) for s, d in [o for o in operands if not isinstance(o, int)]]
    lines = [[ROWS["input"].op, s.id, 0, 0, 0, 0] for s in specs]
    slots = iter(range(len(specs)))
    row = [ROWS[name].op, intern_spec(out[0], np.dtype(out[1])).id, 0, 0, z, 0]
    for k, o in enumerate(operands):
        row[2 + k] = o if isinstance(o, int) else next(slots)
    signatures = [] if static is None else [signature_of(ROWS[name], tuple(specs), static)]
    code = np.array([*lines, row], np.int64)
    inputs = list(range(len(specs)))
    return Trace(code, np.array(consts, np.float64), signatures, inputs, [len(specs)], **more)


F0, F3, I3, B3, U3 = ((), "float64"), ((3,), "float64"), ((3,), "int64"), ((3,), "bool"), ((3,), "uint8")


def test_good_traces_pass():
    for trace in (
        trace_of_one("add", [F3, F3], F3),
        trace_of_one("add", [I3, -1], I3, consts=[2.0]),
        trace_of_one("where", [B3, F3, -1], F3, consts=[np.nan]),
        trace_of_one("strided", [F3], ((2,), "float64"), {"shape": (2,), "strides": (-1,)}, z=2),
    ):
        trace.check()
        assert peak_bytes(trace) == sum(trace.spec(i).nbytes for i in range(len(trace)))


@pytest.mark.parametrize("match, make", [
    ("elements 0 to 2 of 2", lambda: trace_of_one("scatter_strided", [((2, 3), "float64")], ((2,), "float64"),
                                                  {"in_shape": (2,), "shape": (2, 3), "strides": (0, 1)})),
    ("elements -1 to 2 of 3", lambda: trace_of_one("strided", [F3], ((4,), "float64"),
                                                   {"shape": (4,), "strides": (-1,)}, z=2)),
    ("the constant 2.5 is no int64", lambda: trace_of_one("add", [I3, -1], I3, consts=[2.5])),
    ("the constant nan is no int64", lambda: trace_of_one("add", [I3, -1], I3, consts=[np.nan])),
    ("the constant 300.0 is no uint8", lambda: trace_of_one("add", [U3, -1], U3, consts=[300.0])),
    ("no constant 1", lambda: trace_of_one("add", [F3, -2], F3, consts=[1.0])),
    ("operands of dtype bool", lambda: trace_of_one("add", [B3, B3], B3)),
    ("operands of dtype int64", lambda: trace_of_one("exp", [I3], I3)),
    ("operands of dtype float64", lambda: trace_of_one("bitwise_and", [F3, F3], F3)),
    ("only constants", lambda: trace_of_one("add", [-1, -1], ((), "float64"), consts=[1.0])),
    ("must be boolean", lambda: trace_of_one("where", [F3, F3, F3], F3)),
    ("must be boolean", lambda: trace_of_one("where", [-1, F3, F3], F3, consts=[1.0])),
    ("operands of dtypes", lambda: trace_of_one("add", [F3, I3], F3)),
    ("result has shape", lambda: trace_of_one("add", [F3, F3], ((4,), "float64"))),
    ("result is float32", lambda: trace_of_one("add", [F3, F3], ((3,), "float32"))),
    ("guard of %1: it cannot be 2", lambda: trace_of_one("sum_all", [F3], F0, {}, guards=[Guard(1, 0, 2)])),
    ("guard of %0: it cannot be 1", lambda: trace_of_one("sum_all", [F3], F0, {}, guards=[Guard(0, 0, 1)])),
    ("24 bytes expected", lambda: trace_of_one("exp", [F3], F3, guards=[Guard(1, 2, b"1234")])),
    ("the constant %0 is not", lambda: trace_of_one("exp", [F3], F3, constants={0: np.zeros(2)})),
])  # fmt: skip
def test_malformed_traces_are_refused(match, make):
    trace = make()
    if trace.constants:
        trace.inputs.clear()
    with pytest.raises(TapeError, match=match):
        trace.check()


def test_parameters_must_be_those_of_the_arguments():
    trace = trace_of_one("sum", [F3], ((), "float64"), {"axes": (0,), "keepdims": False})
    trace.check()
    trace.signatures[0].params = (1, 4, 1)
    with pytest.raises(TapeError, match="sum: its parameters are not those of its arguments"):
        trace.check()
