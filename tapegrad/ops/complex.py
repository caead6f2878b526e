"""Complex numbers: their parts, conjugates and angles.

These are the only rows that are not holomorphic; everything else of complex numbers is composed of them
and of rows whose rules hold for real and complex operands alike.  Rules compute the transpose with respect
to ``Re(g * dz)``, without conjugates, and the conversion of a complex number to a real one takes its real
part: so each rule serves forward, in reverse, and whatever the dtype of the operand is
(``docs/decisions/0019-complex.md``).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tapegrad.kernels import scalar as f
from tapegrad.ops.record import as_operand, composite
from tapegrad.ops.table import POSITIVE, Sample, elementwise, ns, public
from tapegrad.tensor import Tensor

__all__ = ["angle", "polar", "view_as_complex", "view_as_real"]

elementwise(
    "real",
    f.real,
    rules=(lambda g, out, x: g,),
    reference=np.real,
    dtype="real",
    complex=True,
    method=False,
    doc="The real part; real numbers stay as they are.",
)
elementwise(
    "imag",
    f.imag,
    rules=(lambda g, out, x: f.times_minus_i(g),),
    reference=np.imag,
    dtype="real",
    complex=True,
    method=False,
    doc="The imaginary part, 0 for real numbers.",
)
elementwise(
    "conj",
    f.conj,
    rules=(lambda g, out, x: f.conj(g),),
    reference=np.conj,
    aliases=("conjugate",),
    complex=True,
    doc="The complex conjugate; real numbers stay as they are.",
)


def _join(x: Any, y: Any) -> Any:
    dtype = np.result_type(np.asarray(x).dtype, np.asarray(y).dtype, np.complex64)
    z = np.empty(np.broadcast_shapes(np.shape(x), np.shape(y)), dtype)
    z.real, z.imag = x, y
    return z


elementwise(
    "complex",
    f.complex,
    rules=(lambda g, out, x, y: g, lambda g, out, x, y: f.times_i(g)),
    reference=_join,
    dtype="complex",
    method=False,
    doc="The complex numbers with real parts `x` and imaginary parts `y`.",
)
for _name, _forward, _rule, _sign in (
    ("times_i", f.times_i, lambda g, out, x: f.times_i(g), 1.0),
    ("times_minus_i", f.times_minus_i, lambda g, out, x: f.times_minus_i(g), -1.0),
):
    elementwise(
        _name,
        _forward,
        rules=(_rule,),
        reference=lambda x, sign=_sign: _join(-sign * np.imag(x), sign * np.real(x)),
        dtype="complex",
        complex=True,
        public=False,
        doc=f"The product with {_sign:.0f}j.",
    )
elementwise(
    "not_negative",
    f.not_negative,
    reference=lambda x: np.real(x) >= 0,
    dtype="test",
    complex=True,
    public=False,
    doc="Whether the real part is at least 0.",
)


@public(
    reference=np.angle,
    samples=(Sample(((5,),), {"deg": True}, differentiable=False), Sample(((2, 3),), dtype="complex128")),
)
@composite
def angle(z: Any, /, deg: bool = False) -> Tensor:
    """The angle of complex numbers in the plane, counted from the positive real axis.

    Parameters
    ----------
    z : Tensor, array_like or number
        Any shape.
    deg : bool
        In degrees rather than radians.

    Returns
    -------
    Tensor
        In the interval from -pi to pi; for real numbers 0 or pi.  The derivative at 0 is 0.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.angle(tg.tensor([1.0 + 1.0j, -1.0]), deg=True)
    tensor([ 45., 180.])
    """
    z = as_operand(z, "angle")
    out = ns.atan2(ns.imag(z), ns.real(z))
    return ns.rad2deg(out) if deg else out


@public(
    reference=lambda r, phi: r * (np.cos(phi) + 1j * np.sin(phi)),
    samples=(Sample(((3,), (2, 3)), domain=POSITIVE),),
    method=False,
)
@composite
def polar(abs: Any, angle: Any, /) -> Tensor:
    """Complex numbers from their magnitudes and angles (in radians), as ``torch.polar``.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.polar(2.0, 0.0)
    tensor(2.+0.j)
    """
    r, phi = as_operand(abs, "polar"), as_operand(angle, "polar")
    return ns.complex(r * ns.cos(phi), r * ns.sin(phi))


@public(
    reference=lambda z: np.stack([z.real, z.imag], axis=-1),
    samples=(Sample(((3,),), dtype="complex128"), Sample(((2, 3),), dtype="complex128")),
)
@composite
def view_as_real(z: Any, /) -> Tensor:
    """Real and imaginary parts along a new last axis of length two.

    Unlike PyTorch's, the result does not share later in-place changes.

    Raises
    ------
    TypeError
        If the operand is not complex.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.view_as_real(tg.tensor([1.0 + 2.0j])).tolist()
    [[1.0, 2.0]]
    """
    z = as_operand(z, "view_as_real")
    if z.dtype.kind != "c":
        raise TypeError(f"view_as_real: the operand must be complex, not {z.dtype}")
    return ns.stack([ns.real(z), ns.imag(z)], axis=-1)


@public(reference=lambda x: x[..., 0] + 1j * x[..., 1], samples=(Sample(((2,),)), Sample(((2, 3, 2),))))
@composite
def view_as_complex(x: Any, /) -> Tensor:
    """Complex numbers from their parts along the last axis, which has length two.

    Unlike PyTorch's, the result does not share later in-place changes.

    Raises
    ------
    ValueError
        If the last axis is not of length two.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.view_as_complex(tg.tensor([[1.0, 2.0]]))
    tensor([1.+2.j])
    """
    x = as_operand(x, "view_as_complex")
    if not x.ndim or x.shape[-1] != 2:
        raise ValueError(f"view_as_complex: the last axis must have length 2, the shape is {x.shape}")
    return ns.complex(x[..., 0], x[..., 1])


@public(differentiable=False, name="is_complex")
def _is_complex(x: Any, /) -> bool:
    """Whether the dtype is a complex one.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.is_complex(tg.tensor(1.0 + 2.0j)), tg.is_complex(tg.tensor(1.0))
    (True, False)
    """
    return as_operand(x, "is_complex").dtype.kind == "c"
