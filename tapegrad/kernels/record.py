"""Recording one elementwise operation, in machine code that works on Python objects.

``record_elementwise`` is the C code behind ``x * y`` and ``tg.sin(x)``: it has the signature of
``METH_FASTCALL``, holds the GIL, and does what `ops.record.elementwise_functions` does in Python for the
common case, in 100 ns instead of 440.  Whatever it is not sure of it hands to that Python function, before
anything has changed.

Objects are addresses; ``at(object)[k]`` is the word ``k`` of one.  `ops.fast` fills the two tables of words:
one for the operation, one that all share (where attributes lie, what CPython's functions are called).
"""

from __future__ import annotations

from tapegrad.kernels.memory import at, int64, invoke, stack, word

__all__ = ["COMMON", "OPERATION", "append_row", "record_elementwise"]

# Words of an operation.
OPERATION = ("op", "op_grad", "arity", "reflected", "named", "python", "common")
OP, OP_GRAD, ARITY, REFLECTED, NAMED, PYTHON, SHARED = range(len(OPERATION))

# Words that all share: types and constants, offsets of attributes (in words), functions of CPython.
COMMON = (
    "tensor_type", "float_type", "int_type", "none", "true", "false", "zero", "two", "current",
    "tape_name", "getframe", "one",
    "t_tape", "t_slot", "t_spec", "t_rg", "t_value", "t_extra", "s_id", "s_floating", "s_big", "s_joined",
    "p_tensors", "p_places", "p_consts", "p_code", "p_offsets", "p_limit", "p_grad_enabled",
    "GetAttr", "IncRef", "DecRef", "GenericAlloc", "AsLong", "AsLongOverflow", "FromLong",
    "Append", "GetFrame", "GetCode", "GetLasti", "Vectorcall", "GetItem",
)  # fmt: skip
(
    TENSOR, FLOAT, INT, NONE, TRUE, FALSE, ZERO, TWO, CURRENT, TAPE_NAME, GETFRAME, ONE,
    T_TAPE, T_SLOT, T_SPEC, T_RG, T_VALUE, T_EXTRA, S_ID, S_FLOATING, S_BIG, S_JOINED,
    P_TENSORS, P_PLACES, P_CONSTS, P_CODE, P_OFFSETS, P_LIMIT, P_GRAD_ENABLED,
    GET_ATTR, INC_REF, DEC_REF, GENERIC_ALLOC, AS_LONG, AS_LONG_OVERFLOW, FROM_LONG, APPEND, GET_FRAME,
    GET_CODE, GET_LASTI, VECTORCALL, GET_ITEM,
) = range(len(COMMON))  # fmt: skip

# Words of objects whose layout CPython and NumPy fix (`_machine.Layout`).
TYPE, SIZE, DATA, SHAPE = 1, 2, 2, 4
EXACT_INT = 1 << 53  # integers up to here are exact as float64
COLUMNS = 8
ROW_ARGUMENTS = 10  # tape, op, spec, x, y, z, signature, rg, code, offset


def _size(objects):
    """The length of a list."""
    return at(objects)[SIZE]


def _room(a):
    """The length of an array's first axis."""
    return at(at(a)[SHAPE])[0]


def _number_fits(c, value):
    """Whether an object is a Python number that a constant can stand for."""
    kind = at(value)[TYPE]
    if kind == c[FLOAT]:
        return True
    if kind != c[INT]:
        return False
    overflow = stack(1)
    overflow[0] = 0
    whole = invoke(c[AS_LONG_OVERFLOW], (value, word(overflow)))
    return overflow[0] & 0xFFFFFFFF == 0 and -EXACT_INT <= whole <= EXACT_INT


def hand_on(w, c, args, n):
    """Let Python's form of the operation do it."""
    return invoke(c[VECTORCALL], (w[PYTHON], args, n, int64(0)))


def has_room(c, tape):
    """Whether a row can be written into the tape's arrays now."""
    p = at(tape)
    slot = _size(p[c[P_TENSORS]])
    room = _room(p[c[P_CODE]])
    return (
        _size(p[c[P_PLACES]]) == slot
        and slot < room
        and _room(p[c[P_OFFSETS]]) > room
        and slot < invoke(c[AS_LONG], (p[c[P_LIMIT]],))
    )


def write(c, tape, slot, op, spec, x, y, z, signature, code, offset):
    """Write a row, and note where it was recorded."""
    p = at(tape)
    row = at(at(p[c[P_CODE]])[DATA] + 8 * COLUMNS * slot)
    row[0], row[1] = op, invoke(c[AS_LONG], (at(spec)[c[S_ID]],))
    row[2], row[3], row[4], row[5] = x, y, z, signature
    row[6] = row[7] = int64(0)
    offsets = at(at(p[c[P_OFFSETS]])[DATA])
    offsets[slot] = offset
    offsets[_room(p[c[P_CODE]])] = slot + 1  # how far rows are in place
    invoke(c[APPEND], (p[c[P_PLACES]], code))


def finish(c, t, tape, slot, spec, rg):
    """Fill a fresh Tensor, and let the tape hold it; ``tape`` is a reference that the Tensor takes over."""
    o = at(t)
    o[c[T_TAPE]] = tape
    o[c[T_SLOT]] = invoke(c[FROM_LONG], (slot,))
    o[c[T_SPEC]], o[c[T_RG]] = spec, rg
    o[c[T_VALUE]] = o[c[T_EXTRA]] = c[NONE]
    invoke(c[INC_REF], (spec,))
    invoke(c[INC_REF], (rg,))
    invoke(c[INC_REF], (c[NONE],))
    invoke(c[INC_REF], (c[NONE],))
    invoke(c[APPEND], (at(tape)[c[P_TENSORS]], t))


def append_row(me, args, n):
    """``ops.record.append_row``: any row, given as numbers."""
    w = at(at(me)[DATA])
    c = at(w[SHARED])
    a = at(args)
    if n == ROW_ARGUMENTS:
        t = invoke(c[GENERIC_ALLOC], (c[TENSOR], int64(0)))
        if t == 0:
            return t
        tape, spec = a[0], a[2]
        if has_room(c, tape):
            slot = _size(at(tape)[c[P_TENSORS]])
            write(
                c, tape, slot, invoke(c[AS_LONG], (a[1],)), spec, invoke(c[AS_LONG], (a[3],)),
                invoke(c[AS_LONG], (a[4],)), invoke(c[AS_LONG], (a[5],)), invoke(c[AS_LONG], (a[6],)), a[8],
                invoke(c[AS_LONG], (a[9],)),
            )  # fmt: skip
            invoke(c[INC_REF], (tape,))
            finish(c, t, tape, slot, spec, a[7])
            return t
        invoke(c[DEC_REF], (t,))
    return hand_on(w, c, args, n)


def record_elementwise(me, args, n):
    """``PyObject *record(PyObject *words, PyObject **args, Py_ssize_t n)``."""
    w = at(at(me)[DATA])
    c = at(w[SHARED])
    a = at(args)
    arity = w[ARITY]
    x = a[0]
    if n != arity or at(x)[TYPE] != c[TENSOR]:
        return hand_on(w, c, args, n)
    spec = at(x)[c[T_SPEC]]
    if spec == 0 or at(spec)[c[S_FLOATING]] != c[TRUE]:
        return hand_on(w, c, args, n)
    y = int64(0)
    y_tensor = False
    if arity == 2:
        y = a[1]
        y_tensor = at(y)[TYPE] == c[TENSOR]
        if y_tensor:
            other = at(y)[c[T_SPEC]]
            if other == 0:
                spec = other
            elif other != spec:
                spec = invoke(c[GET_ITEM], (at(spec)[c[S_JOINED]], other))
        known = spec != 0 and w[REFLECTED] == 0 if y_tensor else _number_fits(c, y)
        if not known:
            return hand_on(w, c, args, n)
    if at(spec)[c[S_BIG]] != c[FALSE]:
        return hand_on(w, c, args, n)
    # What may start the garbage collector, and so run any code, comes before the tape is looked at.
    t = invoke(c[GENERIC_ALLOC], (c[TENSOR], int64(0)))
    if t == 0:
        return t
    if w[NAMED]:  # called through a Python function, whose caller is meant
        frame = invoke(c[VECTORCALL], (c[GETFRAME], c[ONE], int64(1), int64(0)))
    else:
        frame = invoke(c[GET_FRAME], (int64(0),))
        if frame != 0:
            invoke(c[INC_REF], (frame,))
    tape = invoke(c[GET_ATTR], (c[CURRENT], c[TAPE_NAME]))
    if frame == 0 or tape == 0:
        invoke(c[DEC_REF], (t,))
        if frame != 0:
            invoke(c[DEC_REF], (frame,))
        if tape != 0:
            invoke(c[DEC_REF], (tape,))
        if w[NAMED] == 0 and frame == 0 and tape != 0:
            return hand_on(w, c, args, n)
        return int64(0)
    p = at(tape)
    slot = _size(p[c[P_TENSORS]])
    fits = at(x)[c[T_TAPE]] == tape and (not y_tensor or at(y)[c[T_TAPE]] == tape)
    if not fits or not has_room(c, tape):
        invoke(c[DEC_REF], (t,))
        invoke(c[DEC_REF], (frame,))
        invoke(c[DEC_REF], (tape,))
        return hand_on(w, c, args, n)
    first = invoke(c[AS_LONG], (at(x)[c[T_SLOT]],))
    second = int64(0)
    grad = at(x)[c[T_RG]] != c[ZERO]
    if y_tensor:
        second = invoke(c[AS_LONG], (at(y)[c[T_SLOT]],))
        grad = grad or at(y)[c[T_RG]] != c[ZERO]
    elif arity == 2:
        invoke(c[APPEND], (p[c[P_CONSTS]], y))
        second = -_size(p[c[P_CONSTS]])
        if w[REFLECTED]:
            first, second = second, first
    grad = grad and p[c[P_GRAD_ENABLED]] == c[TRUE]
    code = invoke(c[GET_CODE], (frame,))
    lasti = invoke(c[GET_LASTI], (frame,)) & 0xFFFFFFFF
    invoke(c[DEC_REF], (frame,))
    lasti = lasti if lasti < 0x80000000 else int64(-1)
    write(c, tape, slot, w[OP_GRAD] if grad else w[OP], spec, first, second, int64(0), int64(0), code, lasti)
    invoke(c[DEC_REF], (code,))
    finish(c, t, tape, slot, spec, c[TWO] if grad else c[ZERO])
    return t
