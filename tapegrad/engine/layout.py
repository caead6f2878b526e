"""Columns of the engine's flat arrays: the one place where they are numbered."""

from __future__ import annotations

from tapegrad.spec import DTYPE, ITEMSIZE, NDIM, SHAPE, SHAPE_ID, SIZE
from tapegrad.tape import ADDR, GRAD, OP, OP_MASK, SIG, SPEC, STATE, X, Y, Z

__all__ = [
    "ADDR", "DTYPE", "GRAD", "ITEMSIZE", "NDIM", "OP", "OP_MASK", "SHAPE", "SHAPE_ID", "SIG", "SIZE", "SPEC",
    "STATE", "X", "Y", "Z",
]  # fmt: skip


# What the engine needs to know of a row of the table (``Library.info``).
KIND, ARITY, TYPED_BY, SINK, RULES, USES = 0, 1, 2, 3, 4, 5  # USES: three columns, one per operand
ACCUMULATES = 2  # a bit of RULES: the kernel can add to its result
SPLIT = USES  # of a structured row: how its loop is split (``calls``)
INFO_COLUMNS = 8  # a power of two, like all strides here
KIND_INPUT, KIND_ELEMENTWISE, KIND_STRUCTURED, KIND_MOVEMENT = 0, 1, 2, 3

# Bits of USES: what a rule reads.
USES_OUT, USES_X, USES_Y, USES_Z = 1, 2, 4, 8

# Per slot, scratch of one run (``Work.slots``).
NEED = 0  # the value is wanted by somebody
GROUP = 1  # which group computes it, -1: none
STORE = 2  # where the value will be written, 0: nowhere
ADJ = 3  # where its cotangent is accumulated, 0: only inside a tile
VREG, AREG = 4, 5  # registers of value and cotangent while a region runs
WANT = 6  # phases in which to compute it: BEFORE | DURING | AFTER
ACTIVE = 7  # a cotangent reaches it
REVERSE = 8  # its instruction is run in reverse
CLASS = 9  # memory class of STORE
ADJ_CLASS = 10  # memory class of ADJ
TOUCHED = 11  # its cotangent's memory has been initialised
ROLE = 12  # bits below
SLOT_COLUMNS = 16

ROLE_HELD = 1  # a Tensor stands for it: write the value
ROLE_ROOT = 2  # the backward pass starts here
ROLE_TARGET = 4  # its gradient is delivered
ROLE_WATCHED = 8  # a hook wants the complete cotangent before anything else happens
ROLE_DEPENDS = 16  # a requested input lies below it

BEFORE, DURING, AFTER = 1, 2, 4  # phases: before the reverse loop, inside it, after it

# Memory classes.
NOWHERE, SMALL_HELD, SMALL_SAVED, BIG = 0, 1, 2, 3

# Per group (``Work.groups``).
G_START, G_STOP, G_KIND, G_SPEC, G_PHASES, G_REVERSE = 0, 1, 2, 3, 4, 5
GROUP_COLUMNS = 8

# Results of planning (``Work.totals``).
(
    T_GROUPS, T_MEMBERS, T_HELD, T_SAVED, T_BIG, T_ADJ_HELD, T_ADJ_SAVED, T_ADJ_BIG, T_MISSING, T_TEMPLATES,
    T_ERROR, T_WHERE, T_CHANGED, T_FAILED, T_PHASES,
) = range(15)  # fmt: skip
TOTALS = 16

# Status codes.
USER_STATUS = 1 << 20  # kernels of a user's own operations: from here on, plus the row's number
OK, FREED_ERROR, MUTATED_ERROR, LOST_ERROR, TEMPLATE_ERROR, WIDEN_ERROR = range(6)

# The frame: addresses of all the arrays of a run, so that jitted functions take one argument.
(
    F_CODE, F_SLOTS, F_GROUPS, F_MEMBERS, F_SPECS, F_INFO, F_KERNELS, F_CONSTS, F_STARTS, F_PARAMS, F_BUFFER,
    F_SCRATCH, F_SPANS, F_T_CODE, F_T_SLOTS, F_T_MEMBERS, F_T_CONSTS, F_MEMORY, F_TEMPLATES, F_USES, F_LAST,
    F_BIG, F_FOUND, F_MISSING, F_TOTALS, F_RUN_REGION, F_SELF, F_SHARED,
) = range(28)  # fmt: skip
FRAME = 32

# Scratch of a running region, in words: registers, then lists, then the two programs, then sums.
REGISTERS = 4096
LISTS = 2048
S_LOADS = 2 * REGISTERS
S_STORES = S_LOADS + 2 * LISTS
S_ZEROS = S_STORES + 2 * LISTS
S_FORWARD = S_ZEROS + 2 * LISTS
S_BACKWARD = S_FORWARD + 8 * LISTS
S_SUMS = S_BACKWARD + 8 * LISTS
SCRATCH = S_SUMS + 2 * LISTS
COUNTERS = 32  # words behind it

# What threads share (``blocks``, ``threads``).  Words of the control of one loop: the next block, how many
# there are, how many are done, the status; then the statuses of the blocks.
B_NEXT, B_COUNT, B_DONE, B_STATUS, CONTROL = 0, 1, 8, 9, 16
OVER, COMPLETED = 1, 2  # what a work function returns
RETURNED = 1 << 40  # plus the status: what the callback returns, so that 0 (ctypes, on an exception) is none
INTERRUPTED = -100  # status: an exception waits to be raised (``threads.raise_pending``)

# Words of the process: how many helpers could be had, the function that calls them, where memory comes from,
# what is large, and the work functions of the three kinds of loops.
H_IDLE, H_CALLBACK, H_MALLOC, H_FREE, H_LEAST_LENGTH, H_LEAST_WORK, H_WORK = range(7)
WORK_REGION, WORK_TILES, WORK_CALLS = range(3)
SHARED = 12
LARGE = 1 << 19  # elements times steps: some 0.2 ms, several times what it takes a thread to wake up
LARGE_LENGTH = 1 << 12  # elements: shorter loops are not looked at
