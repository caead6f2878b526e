"""Saved tapes, damaged in thousands of ways: every one is refused, or runs within bounds.

``python corruption.py FIRST COUNT`` tries seeds ``FIRST`` to ``FIRST + COUNT``, each of them one damaged
file, and prints what became of them. Before each it writes the seed to standard error, so that a crash
says which one it was; a hang ends in a traceback. Half of the files keep their checksum (they must be
refused), half get the right one again, as a malicious file would have.
"""

import faulthandler
import hashlib
import json
import random
import sys
import warnings
from collections import Counter

import numpy as np

import tapegrad as tg
from tapegrad.ops.table import ROWS
from tapegrad.saved.container import DIGEST, pack, unpack
from tapegrad.saved.loaded import loads
from tapegrad.saved.saving import dumps

MAX_BYTES = 1 << 24
SECONDS = 60  # for one file
CALL_ERRORS = (tg.TapeError, IndexError, ValueError)  # what a verified tape's own operations may raise

rng = np.random.default_rng(0)
x5, m45, big = rng.random(5), rng.random((4, 5)), rng.random(3000)
index = np.array([0, 3, 1])


def arithmetic(x, y):
    return tg.sin(x) * 2.0 + y / (1.0 + x), tg.where(x > y, x, y)


def shapes(m, x):
    parts = tg.concat([m.T @ m, tg.stack([x] * 5)], axis=1)
    return {"p": parts[::2, ::-1].sum(axis=0), "s": tg.softmax(m, axis=1), "r": m.reshape(2, 10)}, m @ x


def indexing(x, i):
    y = tg.zeros(5)
    y[i] = x[i] * x[1]
    y[1:4] += x[2]
    return y, tg.sort(x), tg.cumsum(x), tg.take_along_axis(x, tg.argsort(x), 0), tg.searchsorted(x, y)


def branches(x, mode="a", n=2):
    if x.sum() > 2.5:
        x = x * n
    k = int(x[0] * 10)
    if mode == "a" and k % 2:
        return x[k % 5], mode
    return tg.logsumexp(x), mode


def long(x):
    return (x * x + 0.5).sum(), x[7] * x[8], tg.max(x), x.astype("float32") + 1


def energy(x):
    total = 0.0
    for i in range(5):
        total = total + tg.exp(-x[i]) * x[(i + 1) % 5] ** 2
    return total


def made():
    """A few compiled functions that have been called, with the arguments."""
    gradient = tg.value_and_grad(energy)
    cases = [
        (tg.compile(arithmetic), [((x5, x5[::-1].copy()), {}), ((0.5, 1.5), {})]),
        (tg.compile(shapes), [((m45, x5), {})]),
        (tg.compile(indexing), [((x5, index), {})]),
        (tg.compile(branches), [((x5 * s,), {"mode": m}) for s in (0.2, 0.5, 1.0, 2.0) for m in "ab"]),
        (tg.compile(long), [((big,), {})]),
        (tg.compile(gradient), [((x5,), {})]),
    ]
    for f, calls in cases:
        for args, kwargs in calls:
            f(*args, **kwargs)
    return cases


# --- damage without the right checksum ------------------------------------------------------------


def flip_bit(data, r):
    at = r.randrange(len(data))
    return data[:at] + bytes([data[at] ^ 1 << r.randrange(8)]) + data[at + 1 :]


def change_byte(data, r):
    at = r.randrange(len(data))
    return data[:at] + bytes([r.randrange(256)]) + data[at + 1 :]


def cut(data, r):
    return data[: r.randrange(len(data))]


def cut_inside(data, r):
    first, last = sorted(r.sample(range(len(data)), 2))
    return data[:first] + data[last:]


def insert(data, r):
    at = r.randrange(len(data) + 1)
    return data[:at] + r.randbytes(r.randrange(1, 64)) + data[at:]


def blank(data, r):
    first, last = sorted(r.sample(range(len(data)), 2))
    return data[:first] + bytes(last - first) + data[last:]


def swap_members(data, r):
    starts = [k for k in range(len(data)) if data.startswith(b"PK", k)]
    a, b, c = sorted(r.sample(starts, 3))
    return data[:a] + data[b:c] + data[a:b] + data[c:]


def repeat_member(data, r):
    a, b = sorted(r.sample([k for k in range(len(data)) if data.startswith(b"PK", k)], 2))
    return data[:b] + data[a:b] + data[b:]


RAW = (flip_bit, change_byte, cut, cut_inside, insert, blank, swap_members, repeat_member)


def with_digest(data):
    """The same bytes with the right checksum at the end."""
    return data[:-DIGEST] + hashlib.sha256(data[:-DIGEST]).hexdigest().encode()


# --- damage with the right checksum ---------------------------------------------------------------

NUMBERS = [
    0,
    1,
    2,
    -1,
    3,
    5,
    7,
    16,
    64,
    255,
    1000,
    4096,
    1 << 16,
    1 << 31,
    (1 << 31) - 1,
    -(1 << 31),
    1 << 32,
]
NUMBERS += [1 << 40, 1 << 47, 1 << 48, 1 << 62, (1 << 63) - 1, -(1 << 63), 1 << 63, 1 << 64, -5, -(1 << 40)]
WORDS = [
    "float64",
    "float32",
    "int64",
    "bool",
    "int8",
    "uint64",
    "*",
    "tuple",
    "dict",
    "input",
    "custom:f",
    "",
]
KEYS = [
    "axis",
    "axes",
    "shape",
    "strides",
    "width",
    "n",
    "stride",
    "blocks",
    "spec",
    "static",
    "tuple",
    "float",
]


def leaves(node, path=()):
    """Every place in a JSON document."""
    yield path
    items = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, child in items:
        yield from leaves(child, (*path, key))


def changed(value, r):
    """Another value in place of one in a JSON document."""
    if r.random() < 0.1:
        return r.choice([None, True, False, 0.5, "x", [], {}, [value], {"tuple": [value]}, 1 << 70, "1" * 50])
    if isinstance(value, bool) or value is None:
        return r.choice([True, False, None, 0, 1])
    if isinstance(value, int):
        return r.choice([value + 1, value - 1, -value, 2 * value, r.choice(NUMBERS), r.randrange(40)])
    if isinstance(value, str):
        return r.choice([*WORDS, r.choice(list(ROWS)), r.choice(list(ROWS)), value + "x", value[::-1]])
    if isinstance(value, list) and value:
        k = r.randrange(len(value))
        again = value[:k] + value[k + 1 :] if r.random() < 0.5 else [*value[:k], r.choice(value), *value[k:]]
        return r.choice([again, value[::-1], []])
    if isinstance(value, dict) and value:
        key = r.choice(list(value))
        rest = {k: v for k, v in value.items() if k != key}
        return r.choice([rest, {**rest, r.choice(KEYS): value[key]}, {**value, r.choice(KEYS): value[key]}])
    return r.choice([1, "x", [1]])


def edit_header(header, arrays, r):
    places = list(leaves(header))
    for _ in range(r.choice([1, 1, 1, 2, 4])):
        path = r.choice(places)
        if not path:
            continue
        node = header
        try:
            for key in path[:-1]:
                node = node[key]
            node[path[-1]] = changed(node[path[-1]], r)
        except (LookupError, TypeError):
            continue  # an earlier edit has removed it


def edit_arrays(header, arrays, r):
    whole = [k for k, a in enumerate(arrays) if a.size and a.ndim == 2 and a.dtype == np.int64]
    k = r.choice(whole) if r.random() < 0.7 else r.choice([k for k, a in enumerate(arrays) if a.size])
    a = arrays[k] = arrays[k].copy()
    for _ in range(r.choice([1, 1, 2, 3])):
        at = tuple([r.randrange(n) for n in a.shape])
        if a.dtype.kind in "iu":
            old = int(a[at])
            new = r.choice([old + 1, old - 1, -old - 1, r.randrange(30), r.choice(NUMBERS)])
            info = np.iinfo(a.dtype)
            a[at] = min(max(new, info.min), info.max)
        elif a.dtype.kind == "f":
            a[at] = r.choice([np.nan, np.inf, -np.inf, 0.0, -1.0, 1e300, 1e18])
        else:
            a[at] = not a[at]


def edit_row(header, arrays, r):
    """Exchange an operation, an operand, a shape or a signature for another that exists."""
    path = r.choice(r.choice(header["entries"])["paths"])
    rows = arrays[path["rows"]] = arrays[path["rows"]].copy()
    for _ in range(r.choice([1, 1, 2])):
        i = r.randrange(len(rows))
        column = r.choice([0, 1, 2, 2, 3, 3, 4, 5])
        many = [len(header["operations"]), len(header["specs"]), i, i, i, len(header["signatures"])][column]
        rows[i, column] = r.randrange(max(1, many)) if r.random() < 0.9 else -r.randrange(1, 4)


def edit_static(header, arrays, r):
    """Change a number among the static arguments, or the operands of a signature."""
    if not header["signatures"]:
        return
    signature = r.choice(header["signatures"])
    if r.random() < 0.2:
        signature[1][0] = r.randrange(len(header["specs"]))
        return
    places = []
    for path in leaves(signature[3]):
        node = signature[3]
        for key in path[:-1]:
            node = node[key]
        if path and type(node[path[-1]]) in (int, bool):
            places.append((node, path[-1]))
    if places:
        node, key = r.choice(places)
        old = node[key]
        node[key] = not old if isinstance(old, bool) else r.choice([old + 1, old - 1, -old, r.randrange(6)])


def reshape_array(header, arrays, r):
    k = r.randrange(len(arrays))
    a = arrays[k]
    choice = r.randrange(4)
    if choice == 0:
        arrays[k] = a.reshape(-1)[: r.randrange(a.size + 1)].copy()
    elif choice == 1:
        arrays[k] = a.astype(r.choice(["float64", "int64", "float32", "uint8", "bool"]))
    elif choice == 2:
        arrays[k] = a.reshape(a.shape[::-1]).copy()
    else:
        arrays[k] = r.choice(arrays)


def swap_arrays(header, arrays, r):
    a, b = r.randrange(len(arrays)), r.randrange(len(arrays))
    arrays[a], arrays[b] = arrays[b], arrays[a]


EDITS = (
    edit_header,
    edit_header,
    edit_row,
    edit_row,
    edit_row,
    edit_static,
    edit_static,
    edit_arrays,
    edit_arrays,
)
EDITS += (reshape_array, swap_arrays)


def edited(data, r):
    header, arrays = unpack(data)
    header = json.loads(json.dumps(header))
    for _ in range(r.choice([1, 1, 2])):
        r.choice(EDITS)(header, arrays, r)
    return pack(header, arrays)


# --- trying it ------------------------------------------------------------------------------------


def same(a, b):
    if isinstance(a, dict):
        return isinstance(b, dict) and a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    if isinstance(a, (tuple, list)):
        return isinstance(b, (tuple, list)) and len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, str):
        return a == b
    a, b = np.asarray(a), np.asarray(b)
    return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()


def damage(data, r):
    """Another file, and whether it has the right checksum."""
    while True:
        way = r.randrange(10)
        try:
            damaged = r.choice(RAW)(data, r) if way < 6 else edited(data, r)
        except (ValueError, TypeError, LookupError, OverflowError):
            continue  # JSON, or an array, cannot hold what was to be written
        if damaged != data:
            return (with_digest(damaged), True) if way == 5 else (damaged, way > 5)


def attempt(seed, tapes):
    """What becomes of the damaged file with a number."""
    r = random.Random(seed)
    data, calls, expected = r.choice(tapes)
    damaged, signed = damage(data, r)
    try:
        g = loads(damaged, MAX_BYTES)
    except tg.TapeError:
        return "refused"
    assert signed, f"seed {seed}: a damaged file was accepted"
    results = []
    for args, kwargs in calls:
        try:
            results.append(g(*args, **kwargs))
        except CALL_ERRORS:
            return "refused when called"
    return "same results" if all(map(same, results, expected)) else "another program"


def main(first, count):
    faulthandler.enable()
    warnings.simplefilter("ignore")
    tapes = []
    for f, calls in made():
        data = dumps(f)
        g = loads(data, MAX_BYTES)
        expected = [g(*args, **kwargs) for args, kwargs in calls]
        assert all(same(a, f(*args, **kwargs)) for a, (args, kwargs) in zip(expected, calls))
        tapes.append((data, calls, expected))
    found = Counter()
    for seed in range(first, first + count):
        print(f"seed {seed}", file=sys.stderr, flush=True)
        faulthandler.dump_traceback_later(SECONDS, exit=True)
        found[attempt(seed, tapes)] += 1
    faulthandler.cancel_dump_traceback_later()
    print(json.dumps(found))


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
