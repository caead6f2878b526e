"""Columns of the engine's flat arrays: the one place where they are numbered."""

from __future__ import annotations

from tapegrad.spec import DTYPE, ITEMSIZE, NDIM, SHAPE, SHAPE_ID, SIZE
from tapegrad.tape import ADDR, GRAD, OP, OP_MASK, SIG, SPEC, STATE, X, Y, Z

__all__ = [
    "ADDR", "DTYPE", "GRAD", "ITEMSIZE", "NDIM", "OP", "OP_MASK", "SHAPE", "SHAPE_ID", "SIG", "SIZE", "SPEC", "STATE",
    "X", "Y", "Z",
]  # fmt: skip


# What the engine needs to know of a row of the table (``Library.info``).
KIND, ARITY, TYPED_BY, SINK, RULES, USES = 0, 1, 2, 3, 4, 5  # USES: three columns, one per operand
INFO_COLUMNS = 8
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
SLOT_COLUMNS = 13

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
GROUP_COLUMNS = 6

# Results of planning (``Work.totals``).
T_GROUPS, T_HELD, T_SAVED, T_BIG, T_ADJ_HELD, T_ADJ_SAVED, T_ADJ_BIG, T_MISSING, T_ERROR, T_WHERE = range(10)
TOTALS = 16

# Status codes.
OK, FREED_ERROR, MUTATED_ERROR, LOST_ERROR = 0, 1, 2, 3
