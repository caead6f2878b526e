"""Elementwise primitives without derivatives: comparison, tests, logic, bits; and dtype conversion."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tapegrad.kernels import scalar as f
from tapegrad.ops.table import elementwise, section
from tapegrad.spec import DTYPES

__all__: list[str] = []

_forward: Callable  # of one operand or of two

section("comparison")

for _name, _forward, _reference, _short, _sign in (
    ("equal", f.equal, np.equal, "eq", "=="),
    ("not_equal", f.not_equal, np.not_equal, "ne", "!="),
    ("less", f.less, np.less, "lt", "<"),
    ("less_equal", f.less_equal, np.less_equal, "le", "<="),
    ("greater", f.greater, np.greater, "gt", ">"),
    ("greater_equal", f.greater_equal, np.greater_equal, "ge", ">="),
):
    elementwise(
        _name,
        _forward,
        reference=_reference,
        dtype="bool",
        aliases=(_short,),
        operator=_short,
        complex=_short in ("eq", "ne"),  # complex numbers have no order
        doc=f"Whether `x {_sign} y`.",
    )

for _name, _forward, _reference, _doc in (
    ("isnan", f.isnan, np.isnan, "Whether `x` is not a number."),
    ("isinf", f.isinf, np.isinf, "Whether `x` is an infinity of either sign."),
    ("isfinite", f.isfinite, np.isfinite, "Whether `x` is neither infinite nor NaN."),
    ("signbit", f.signbit, np.signbit, "Whether the sign is negative, that of -0.0 included."),
):
    elementwise(_name, _forward, reference=_reference, dtype="test", complex=_name != "signbit", doc=_doc)

elementwise(
    "nextafter",
    f.nextafter,
    reference=np.nextafter,
    dtype="float",
    doc="The floating-point number after `x` in the direction of `y`.",
)

section("logic and bits")

for _name, _forward, _reference, _doc in (
    ("logical_and", f.logical_and, np.logical_and, "Whether both are nonzero."),
    ("logical_or", f.logical_or, np.logical_or, "Whether at least one is nonzero."),
    ("logical_xor", f.logical_xor, np.logical_xor, "Whether exactly one is nonzero."),
    ("logical_not", f.logical_not, np.logical_not, "Whether `x` is zero."),
):
    elementwise(_name, _forward, reference=_reference, dtype="logical", complex=True, doc=_doc)

for _name, _forward, _reference, _alias, _operator, _doc in (
    ("bitwise_and", f.bitwise_and, np.bitwise_and, (), "and", "Bits set in both."),
    ("bitwise_or", f.bitwise_or, np.bitwise_or, (), "or", "Bits set in either."),
    ("bitwise_xor", f.bitwise_xor, np.bitwise_xor, (), "xor", "Bits set in exactly one."),
    (
        "bitwise_invert",
        f.bitwise_invert,
        np.invert,
        ("invert", "bitwise_not"),
        "invert",
        "Every bit turned over; for booleans, `logical_not`.",
    ),
    (
        "bitwise_left_shift",
        f.bitwise_left_shift,
        np.left_shift,
        ("left_shift",),
        "lshift",
        "Bits moved to the left by `y` places; 0 if none stays.",
    ),
    (
        "bitwise_right_shift",
        f.bitwise_right_shift,
        np.right_shift,
        ("right_shift",),
        "rshift",
        "Bits moved to the right by `y` places, copies of the sign following.",
    ),
):
    elementwise(
        _name, _forward, reference=_reference, dtype="bits", aliases=_alias, operator=_operator, doc=_doc
    )

# --- conversion, and what only tapegrad records ---------------------------------------------------

for _dtype in DTYPES:
    _forward = {
        "b": f.truth, "i": f.cast_signed, "u": f.cast_unsigned, "f": f.cast_floating, "c": f.identity,
    }[_dtype.kind]  # fmt: skip
    elementwise(
        f"astype_{_dtype.name}",
        _forward,
        rules=(lambda g, out, x: g,),
        reference=lambda x, dtype=_dtype: np.asarray(x).astype(dtype),
        dtype=f"cast:{_dtype.name}",
        complex=True,
        public=False,
        doc=f"Conversion to {_dtype.name}; the cotangent is converted back.",
    )
elementwise(
    "detach",
    f.identity,
    reference=np.positive,
    complex=True,
    public=False,
    doc="The same value without history.",
)
elementwise(
    "argument",
    f.identity,
    reference=np.positive,
    complex=True,
    public=False,
    doc="What a transform differentiates by: a leaf with the value of its operand.",
)
elementwise(
    "function_result",
    f.identity,
    rules=(lambda g, out, x: g,),
    reference=np.positive,
    complex=True,
    public=False,
    doc="A result of a user's `Function`; `tape.functions` says what its derivative belongs to.",
)
elementwise(
    "replace_value",
    f.second,
    rules=(lambda g, out, x, y: g, None),
    reference=lambda x, y: np.asarray(y),
    complex=True,
    public=False,
    doc="The value of `y` with the history of `x`: what assigning to `.data` leaves.",
)
