"""Memory of programs: nothing is read that was not written, or that something else was written over.

An interpreter of a program's words, independent of the machine's, runs them on symbols: each byte of memory
knows which byte of which value it holds, and values are named by the operation and by the bytes that it
read.  If two names are equal, the same was computed from the same; so what a program's results, guards and
operands are is compared with what the trace says, whatever order, places and buffers were chosen.
"""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tapegrad as tg
from tapegrad.engine.kernel_table import elementwise_out, library
from tapegrad.engine.tiles import N_DTYPES, TILE, WHICH
from tapegrad.ops.table import INPUT, ROWS, Kind, rows
from tapegrad.program import vm
from tapegrad.program.emit import kernels_of
from tapegrad.program.program import Program
from tapegrad.program.regions import BUFFER_STEP
from tapegrad.program.schedule import BATCH_LIMIT
from tapegrad.spec import DTYPES
from tapegrad.spec import table as spec_table
from tapegrad.testing.table import row_function
from tapegrad.trace import INTEGER, OP, SIG, TRUTH, VALUE, Guard, X, Z
from tests.tracing import random_program, trace_of, with_gradient

UNSET, LITERAL = -1, 0  # who owns a byte: nobody; itself (its value stands beside it); else a name
FLOAT, BOOL = 10, 0


class Names:
    """Numbers for what was computed; and what operations do to symbols."""

    def __init__(self):
        self.of = {"literal": LITERAL}
        addresses = library.kernels.reshape(-1)
        first = {}
        for index in np.flatnonzero(addresses).tolist():
            first.setdefault(int(addresses[index]), index)
        self.by_address = first
        self.addresses = addresses

    def name(self, *what):
        return self.of.setdefault(what, len(self.of))

    def id(self, value):
        return self.name(value[0].tobytes(), value[1].tobytes())

    def fresh(self, nbytes, *what):
        """A value of some bytes that an operation computes."""
        return np.full(nbytes, self.name(*what)), np.arange(nbytes)

    def kernel(self, index):
        return self.by_address.get(int(self.addresses[index]), index) if self.addresses[index] else index

    def elementwise(self, index, shape, operands, shapes):
        """One row over ``shape``."""
        row, dtype = rows[index // (N_DTYPES * WHICH)], DTYPES[index // WHICH % N_DTYPES]
        size = int(np.prod(shape))
        given = []
        for value, own in zip(operands, shapes):
            n = int(np.prod(own))
            how = () if n == size else ("each",) if n == 1 else (own, shape)
            given.append((self.id(value), *how))
        if row.name in ("add", "multiply"):
            given.sort(key=repr)
        nbytes = size * np.dtype(elementwise_out(row, dtype)).itemsize
        return self.fresh(nbytes, self.kernel(index), size, *given)

    def structured(self, kernel, trace, i, operands, params, raw):
        """One row that is not elementwise; what only moves elements is followed byte by byte."""
        row, spec = trace.row(i), trace.spec(i)
        item, static = spec.dtype.itemsize, trace.signatures[int(trace.code[i, SIG])].static
        if row.kind is Kind.MOVEMENT:
            at = _walk(static, raw, item)
            return operands[0][0][at], operands[0][1][at]
        values = operands[-1]
        if row.name in ("scatter_strided", "add_strided") and len(values[0]) == item == 8:
            base, offset = _literal(bytes(spec.nbytes)) if row.name[0] == "s" else map(np.copy, operands[0])
            part = slice(8 * raw, 8 * raw + 8)
            if row.name == "add_strided":
                add = _index("add")
                values = self.elementwise(add, (), [(base[part], offset[part]), values], [(), ()])
            base[part], offset[part] = values
            return base, offset
        if row.name == "set_strided":
            (base, offset), at = map(np.copy, operands[0]), _walk(static, raw, item)
            base[at], offset[at] = values
            return base, offset
        return self.fresh(spec.nbytes, self.kernel(kernel), spec.id, params, raw, *map(self.id, operands))


def _walk(static, offset, item):
    """The bytes of a strided walk."""
    at = np.full(static["shape"], offset)
    for axis, (n, stride) in enumerate(zip(static["shape"], static["strides"])):
        at = at + (np.arange(n) * stride).reshape(-1, *[1] * (len(static["shape"]) - axis - 1))
    return (item * at.reshape(-1, 1) + np.arange(item)).reshape(-1)


def _literal(data):
    return np.zeros(len(data), np.int64), np.frombuffer(data, np.uint8).astype(np.int64)


def _number(value, dtype):
    return np.array(value).astype(dtype).tobytes()


def _index(name, dtype=FLOAT):
    return (ROWS[name].op * N_DTYPES + dtype) * WHICH


def meaning(trace, names):
    """The value of each slot, as the trace says."""
    kernel, _ = kernels_of(trace)
    argument = {slot: k for k, slot in enumerate(trace.inputs)}
    out = []
    for i, line in enumerate(trace.code.tolist()):
        row, spec = trace.row(i), trace.spec(i)
        operands = line[X : X + row.arity]
        if row is INPUT:
            known = i in trace.constants
            value = (
                _literal(trace.constants[i].tobytes())
                if known
                else names.fresh(spec.nbytes, "in", argument[i])
            )
        elif row.kind is Kind.ELEMENTWISE:
            dtype = DTYPES[int(kernel[i]) // WHICH % N_DTYPES]
            values = [out[o] if o >= 0 else _literal(_number(trace.consts[-o - 1], dtype)) for o in operands]
            shapes = [trace.spec(o).shape if o >= 0 else () for o in operands]
            value = names.elementwise(int(kernel[i]), spec.shape, values, shapes)
        elif row.name == "sum_all":
            value = names.fresh(spec.nbytes, "sum", names.id(out[operands[0]]))
        else:
            params = trace.signatures[line[SIG]].params or (0,)
            raw = line[Z] if row.arity < 3 else 0
            values = [out[o] for o in operands]
            value = names.structured(int(kernel[i]), trace, i, values, tuple(params), raw)
        out.append(value)
    return out


class Watched(Program):
    """A program that remembers which of its memory is fixed."""

    def _freeze(self, slots, far, place):
        self.fixed = [(at, np.ascontiguousarray(a).tobytes()) for at, a in self.emitter.fixed]
        near = [(int(place[s]), k) for s, kind, k in slots if kind == "constant" and not far[s]]
        self.fixed += [(at, self.trace.constants[k].tobytes()) for at, k in near]
        super()._freeze(slots, far, place)


class Machine:
    """Runs words on symbols; fails where the memory is misused."""

    def __init__(self, program):
        self.p, self.names = program, Names()
        self.meaning = meaning(program.trace, self.names)
        self.spaces = {0: self.space(program.memory_bytes)}
        self.fixed = np.zeros(program.memory_bytes, bool)
        for at, data in program.fixed:
            assert not self.fixed[at : at + len(data)].any(), "two fixed values share memory"
            self.put((0, at), _literal(data))
            self.fixed[at : at + len(data)] = True
        for k, at, spec in program.near_inputs:
            self.put((0, at), self.names.fresh(spec.nbytes, "in", k))
        for number, k in program.far_inputs:
            spec = program.input_specs[k]
            self.spaces[number + 1] = self.names.fresh(spec.nbytes, "in", k)
        for number, a in program.far_constants:
            self.spaces[number + 1] = _literal(a.tobytes())
        for k, number in program.far_outputs.items():
            self.spaces[number + 1] = self.space(program.output_specs[k].nbytes)
        self.read_only = {n + 1 for n, _ in (*program.far_inputs, *program.far_constants)}

    @staticmethod
    def space(nbytes):
        return np.full(nbytes, UNSET), np.zeros(nbytes, np.int64)

    def get(self, where, nbytes):
        base, offset = self.spaces[where[0]]
        at = slice(where[1], where[1] + nbytes)
        assert where[1] >= 0 and where[1] + nbytes <= len(base), "read outside of the memory"
        assert not (base[at] == UNSET).any(), "read before it was written"
        return base[at].copy(), offset[at].copy()

    def put(self, where, value):
        base, offset = self.spaces[where[0]]
        at = slice(where[1], where[1] + len(value[0]))
        assert at.start >= 0 and at.stop <= len(base), "written outside of the memory"
        if where[0] == 0:
            assert not self.fixed[at].any(), "written over what is fixed"
        else:
            assert where[0] not in self.read_only, "written over an argument or a constant"
        base[at], offset[at] = value

    def pointer(self, k):
        return tuple(self.p.pointers[k])

    def scalar(self, k, nbytes=8):
        return self.get((0, 8 * k), nbytes)

    def call(self, index, out, operands):
        """An elementwise kernel on scalars."""
        row, dtype = rows[index // (N_DTYPES * WHICH)], DTYPES[index // WHICH % N_DTYPES]
        values = [
            self.scalar(o, 1 if k < row.typed_by else dtype.itemsize)
            for k, o in enumerate(operands[: row.arity])
        ]
        self.put((0, 8 * out), self.names.elementwise(index, (), values, [()] * row.arity))

    def run(self):
        p, trace, words = self.p, self.p.trace, self.p.words.tolist()
        inline = {op: name for name, op in vm.INLINE.items()}
        numbers = self.p.numbers.tolist()
        tested = set()
        pc = 0
        while words[pc] != vm.END:
            op, w = words[pc], words[pc + 1 :]
            if op in inline:
                row = ROWS[inline[op]]
                index = _index(row.name, BOOL if row.name.startswith("logical") else FLOAT)
                self.call(index, w[0], w[1:])
                pc += 2 + row.arity
            elif op in (vm.MULTIPLY_ADD, vm.MULTIPLY_SUBTRACT, vm.SUBTRACT_MULTIPLY):
                a, b, c = map(self.scalar, w[1:4])
                made = self.names.elementwise(_index("multiply"), (), [a, b], [(), ()])
                pair = [c, made] if op == vm.SUBTRACT_MULTIPLY else [made, c]
                outer = _index("add" if op == vm.MULTIPLY_ADD else "subtract")
                self.put((0, 8 * w[0]), self.names.elementwise(outer, (), pair, [(), ()]))
                pc += 5
            elif op in (vm.MASKED_MULTIPLY, vm.MASKED_DIVIDE):
                a, b, c = map(self.scalar, w[1:4])
                inner = _index("multiply" if op == vm.MASKED_MULTIPLY else "divide")
                made = self.names.elementwise(inner, (), [b, c], [(), ()])
                made = self.names.elementwise(_index("unless_zero"), (), [a, made], [(), ()])
                self.put((0, 8 * w[0]), made)
                pc += 5
            elif op == vm.MOVE:
                self.put((0, 8 * w[0]), self.scalar(w[1]))
                pc += 3
            elif op == vm.CALL:
                self.call(w[0], w[1], w[2:5])
                pc += 6
            elif op == vm.BATCH:
                index, arity, n = w[:3]
                assert n <= BATCH_LIMIT
                calls = [w[3 + k * (arity + 1) :][: arity + 1] for k in range(n)]
                read = [[self.scalar(o) for o in call[1:]] for call in calls]  # all before any is written
                for call, values in zip(calls, read):
                    self.put((0, 8 * call[0]), self.names.elementwise(index, (), values, [()] * arity))
                pc += 4 + n * (arity + 1)
            elif op == vm.REGION:
                self.region(self.p.regions[w[0] :].tolist())
                pc += 2
            elif op == vm.STRUCTURED:
                self.structured(*w[:8])
                pc += 9
            elif op == vm.TEST:
                assert self.same(self.scalar(w[0], 1), trace.guards[w[2]].slot)
                tested.add(w[2])
                pc += 5
            elif op == vm.GUARD:
                spec = trace.spec(trace.guards[w[5]].slot)
                assert DTYPES[w[2]] == spec.dtype and numbers[w[4]] == spec.nbytes
                assert self.same(self.get(self.pointer(w[1]), spec.nbytes), trace.guards[w[5]].slot)
                tested.add(w[5])
                pc += 8
            elif op == vm.COPY:
                n = numbers[w[2]]
                self.apart((self.pointer(w[0]), n), (self.pointer(w[1]), n))
                self.put(self.pointer(w[0]), self.get(self.pointer(w[1]), n))
                pc += 4
            else:
                assert op == vm.ZERO
                self.put(self.pointer(w[0]), _literal(bytes(numbers[w[1]])))
                pc += 3
        assert tested == set(range(len(trace.guards)))
        for k, at in p.near_outputs:
            assert self.same(self.get((0, at), p.output_specs[k].nbytes), trace.outputs[k])
        for k, number in p.far_outputs.items():
            assert self.same(self.get((number + 1, 0), p.output_specs[k].nbytes), trace.outputs[k])

    def same(self, value, slot):
        return all(np.array_equal(a, b) for a, b in zip(value, self.meaning[slot]))

    @staticmethod
    def apart(a, b):
        """Two places (space, offset) with their sizes do not overlap."""
        (space, at), n = a
        (other, start), m = b
        assert space != other or at + n <= start or start + m <= at or not (n and m), "overlapping places"

    def structured(self, kernel, out, *operands_and_rest):
        trace = self.p.trace
        *operands, params, raw, i = operands_and_rest
        row, line = trace.row(i), trace.code[i].tolist()
        slots = line[X : X + row.arity]
        places = [(self.pointer(o), trace.spec(s).nbytes) for o, s in zip(operands, slots)]
        target = self.pointer(out), trace.spec(i).nbytes
        for k, place in enumerate(places):
            if not (row.in_place and k == 0 and place[0] == target[0]):
                self.apart(target, place)
        count = len(trace.signatures[line[SIG]].params or (0,))
        base, offset = self.get(self.pointer(params), 8 * count)
        assert (base == LITERAL).all()
        found = tuple(offset.astype(np.uint8).view(np.int64).tolist())
        values = [self.get(*place) for place in places]
        value = self.names.structured(kernel, trace, i, values, found, int(self.p.numbers[raw]))
        self.put(target[0], value)

    def region(self, record):
        length, tile, n_registers, n_steps, n_splats, _, spec, _ = record[:8]
        assert 1 <= tile <= TILE
        shape = spec_table.by_id[spec].shape
        assert int(np.prod(shape)) == length
        flat = record[8 : 8 + 2 * n_registers]
        registers = [(flat[2 * r], flat[2 * r + 1]) for r in range(n_registers)]
        steps = [record[8 + 2 * n_registers + vm.STEP * s :][: vm.STEP] for s in range(n_steps)]
        buffers, kept, shapes = {}, set(), {}
        read, written, sums = [], {}, []  # places in memory

        def store(r, value, shape_of_value, itemsize):
            where, step = registers[r]
            shapes[r] = shape_of_value
            if where < 0:
                assert (-1 - where) % BUFFER_STEP == 0 and tile * itemsize <= BUFFER_STEP
                assert -1 - where + BUFFER_STEP <= self.p.buffer_bytes and step == 0
                assert -1 - where not in kept, "written over what all tiles read"
                buffers[-1 - where] = value
                return
            place = self.pointer(where), length * itemsize
            assert step == itemsize * tile
            for other in (*read, *written.values()):
                self.apart(place, other)
            written[r] = place
            self.put(place[0], value)

        def load(r, itemsize):
            where, step = registers[r]
            if where < 0:
                assert -1 - where in buffers, "a buffer is read before it was written"
                return buffers[-1 - where], shapes[r]
            place = self.pointer(where), length * itemsize
            assert step == itemsize * tile
            inside = [w for w in written.values() if w == place]
            if not inside:
                outside(*place)
            return self.get(*place), shape

        def outside(where, nbytes):
            for other in written.values():
                self.apart((where, nbytes), other)
            read.append((where, nbytes))
            return self.get(where, nbytes)

        for fn, r, pointer, _, _, itemsize, _, _ in steps[:n_splats]:
            assert fn == vm.SPLAT
            store(r, outside(self.pointer(pointer), itemsize), shape if length == 1 else (), itemsize)
            kept.add(-1 - registers[r][0])
        for fn, out, x, y, z, a, b, _ in steps[n_splats:]:
            if fn == vm.LOAD:
                small = spec_table.by_id[b]
                store(out, outside(self.pointer(x), small.nbytes), small.shape, a)
            elif fn == vm.SUM:
                value, _ = load(x, DTYPES[a].itemsize)
                sums.append(
                    (self.pointer(z), self.names.fresh(DTYPES[a].itemsize, "sum", self.names.id(value)))
                )
            else:
                index = self.names.by_address[fn]
                row, dtype = rows[index // (N_DTYPES * WHICH)], DTYPES[index // WHICH % N_DTYPES]
                sizes = [1 if k < row.typed_by else dtype.itemsize for k in range(row.arity)]
                given = [load(r, n) for r, n in zip((x, y, z), sizes)]
                value = self.names.elementwise(index, shape, [v for v, _ in given], [s for _, s in given])
                store(out, value, shape, np.dtype(elementwise_out(row, dtype)).itemsize)
        for place, value in sums:  # written when all tiles have run
            self.put(place, value)


def check(trace):
    program = Watched(trace)
    Machine(program).run()
    return program


def guarded(trace, rng):
    """A trace with a few looks at random slots."""
    guards = []
    for slot in rng.integers(len(trace), size=4).tolist():
        spec = trace.spec(slot)
        if spec.size == 1:
            guards.append(Guard(slot, (TRUTH, INTEGER)[rng.integers(2)], 1))
        else:
            guards.append(Guard(slot, VALUE, bytes(spec.nbytes)))
    return replace(trace, guards=guards)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6))
def test_random_programs_read_what_the_trace_reads(seed):
    f, points = random_program(seed, steps=20)
    trace = trace_of(with_gradient(f), *points[0])
    check(trace)
    check(guarded(trace, np.random.default_rng(seed)))


def opcodes(program):
    """Which instructions there are, walking over the words."""
    from tapegrad.program.emit import LENGTHS

    words, pc, found = program.words.tolist(), 0, []
    while words[pc] != vm.END:
        found.append(words[pc])
        if words[pc] == vm.BATCH:
            pc += 4 + (words[pc + 2] + 1) * words[pc + 3]
        else:
            pc += int(LENGTHS[words[pc]])
    return found


masked = row_function(ROWS["unless_zero"])


def scalars(x):
    """A long stretch of scalars: batches, fused products, values that die while others are made."""
    values = [x[k] for k in range(12)]
    for k in range(60):
        a, b, c = values[k % 12], values[(5 * k + 1) % 12], values[(7 * k + 3) % 12]
        made = (tg.sin(a) * b + c, a - b * c, b * a - c, masked(a, b * c), tg.where(a < b, a, c * b))[k % 5]
        values[(3 * k) % 12] = masked(c, tg.exp(-made * made) / b) if k % 7 == 0 else made
    return tg.stack(values).sum()


def regions(x, y):
    """Wide regions with many temporaries, broadcast operands and sums."""
    total = tg.tensor(0.0)
    for k in range(12):
        x = tg.sin(x) * y + tg.exp(-x * x) * (0.1 * k) - y.sum(axis=0, keepdims=True) / (x * x + 1.0)
        total = total + (x * y).sum()
    return total + tg.cumulative_sum(x.reshape(-1))[-1]


def in_place(x):
    """Rows whose kernels write over their operand, while views and old values are still read."""
    buffer = tg.zeros(40)
    for k in range(8):
        old = buffer[3:20]
        buffer[k : k + 9] = tg.sin(x[k : k + 9]) * (1.0 + k)
        buffer[5] = old.sum() + x[k]
        buffer[0:3] = buffer[24:27]
        buffer[tg.asarray([1, 7, 30])] = old[:3] * 2.0
        if k % 3 == 0:
            buffer = buffer + old[0]
    return (buffer * buffer).sum() + old.sum()


def small_types(x):
    """Views that begin between words, of values that are written over afterwards."""
    flags = x > 0.0
    part = flags[1:]
    part[3:] = True
    single = x.astype("float32") * 2.0
    window = single[1:]
    window[0] = 7.0
    whole = x.astype("int64")
    whole[2:] = whole[:-2] + 1
    return tg.where(part, x[1:], window.astype("float64")).sum() + (whole * 1.0).sum() + single[1]


N = {"near": 60, "far": 700, "several tiles": 9000}


@pytest.mark.parametrize("n", N.values(), ids=N)
@pytest.mark.parametrize("f", [in_place, small_types], ids=lambda f: f.__name__)
def test_rows_that_write_over_their_operand(f, n):
    program = check(trace_of(with_gradient(f), np.ones(n)))
    assert vm.STRUCTURED in opcodes(program)
    check(trace_of(f, np.ones(n)))


def test_stretches_of_scalars():
    trace = trace_of(with_gradient(scalars), np.ones(12))
    found = opcodes(check(trace)) + opcodes(check(trace_of(scalars, np.ones(12))))
    fused = {
        vm.MULTIPLY_ADD,
        vm.MULTIPLY_SUBTRACT,
        vm.SUBTRACT_MULTIPLY,
        vm.MASKED_MULTIPLY,
        vm.MASKED_DIVIDE,
    }
    assert {vm.BATCH, *fused} <= set(found)
    outcomes = [i for i in range(len(trace)) if trace.spec(i).dtype.kind == "b" and trace.spec(i).size == 1]
    rng = np.random.default_rng(0)
    looks = rng.choice(outcomes, 12).tolist()  # in no order
    found = opcodes(check(replace(trace, guards=[Guard(i, TRUTH, 1) for i in looks])))
    assert vm.TEST in found


@pytest.mark.parametrize("shape", [(6, 7), (30, 40), (90, 100)], ids=str)
def test_regions_that_use_buffers_again(shape):
    trace = trace_of(with_gradient(regions), np.ones(shape), np.ones(shape))
    program = check(trace)
    assert vm.REGION in opcodes(program)
    assert program.buffer_bytes // BUFFER_STEP < (trace.code[:, OP] == ROWS["multiply"].op).sum()


@pytest.mark.parametrize("n", N.values(), ids=N)
def test_results_that_are_arguments_views_or_each_other(n):
    def f(x, y):
        z = x * y
        return x, z, z, z[1:], z[3], y.reshape(-1, 1), tg.cumulative_sum(z), z.sum(), tg.ones(5)

    check(trace_of(f, np.ones(n), np.ones(n)))
