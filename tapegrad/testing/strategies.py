"""Hypothesis strategies for arrays and tensors (need the optional package ``hypothesis``)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tapegrad.ops.table import REAL, Domain, ns
from tapegrad.testing.table import MARGIN, interval

if TYPE_CHECKING:
    from hypothesis.strategies import SearchStrategy

__all__ = ["arrays", "broadcastable_shapes", "tensors"]


def broadcastable_shapes(
    count: int = 2, max_dims: int = 3, max_side: int = 4, min_side: int = 0
) -> SearchStrategy[tuple[tuple[int, ...], ...]]:
    """Tuples of ``count`` shapes that broadcast together.

    Parameters
    ----------
    count : int
        How many shapes.
    max_dims, max_side, min_side : int
        Bounds on their dimensions; sides of 0 and 1 occur.

    Examples
    --------
    >>> import tapegrad as tg
    >>> from hypothesis import given
    >>> @given(tg.testing.broadcastable_shapes(2))
    ... def test(shapes):
    ...     np.broadcast_shapes(*shapes)
    """
    from hypothesis.extra import numpy as extra

    strategy = extra.mutually_broadcastable_shapes(
        num_shapes=count, min_side=min_side, max_side=max_side, max_dims=max_dims
    )
    return strategy.map(lambda found: found.input_shapes)


def arrays(
    shape: Any = None,
    dtype: Any = "float64",
    domain: Domain = REAL,
    elements: Any = None,
    reach: float = 4.0,
) -> SearchStrategy[np.ndarray]:
    """Arrays whose elements lie where an operand's derivative exists.

    Parameters
    ----------
    shape : tuple of int or strategy, optional
        Default: any shape of at most three short axes.
    dtype : dtype
        Floating, integer or bool.
    domain : Domain
        For floating dtypes: open interval and the kinks to stay away from.
    elements : strategy, optional
        Overrides the elements.
    reach : float
        How far to go along an unbounded axis.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.testing.arrays((2,)).example().shape  # doctest: +SKIP
    (2,)
    """
    from hypothesis import strategies as st
    from hypothesis.extra import numpy as extra

    dtype = np.dtype(dtype)
    if shape is None:
        shape = extra.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4)
    if elements is None and dtype.kind == "f":
        low, high, avoid = interval(domain, reach)
        low, high = float(dtype.type(low)), float(dtype.type(high))
        elements = st.floats(low, high, allow_nan=False, allow_subnormal=False, width=8 * dtype.itemsize)
        if avoid:
            elements = elements.filter(lambda v: all(abs(v - kink) >= MARGIN for kink in avoid))
    elif elements is None and dtype.kind in "iu":
        info = np.iinfo(dtype)
        elements = st.integers(max(info.min, -100), min(info.max, 100))
    elif elements is None:
        elements = st.booleans()
    return extra.arrays(dtype, shape, elements=elements)


def tensors(
    shape: Any = None,
    dtype: Any = "float64",
    domain: Domain = REAL,
    requires_grad: bool = False,
    elements: Any = None,
) -> SearchStrategy:
    """Tensors: `arrays`, wrapped.

    Examples
    --------
    >>> import tapegrad as tg
    >>> from hypothesis import given
    >>> @given(tg.testing.tensors((3,), requires_grad=True))
    ... def test(x):
    ...     tg.testing.check_grads(tg.sin, [x])
    """
    return arrays(shape, dtype, domain, elements).map(
        lambda values: ns.tensor(values, requires_grad=requires_grad)
    )
