"""Diagonals and traces of matrices."""

from __future__ import annotations

from typing import Any

import numpy as np

from tapegrad.ops.record import composite
from tapegrad.ops.table import Sample, ns, public
from tapegrad.tensor import Tensor

__all__ = ["diagonal", "trace"]


@public(
    home="linalg",
    reference=lambda x, offset=0: np.diagonal(x, offset, -2, -1),
    samples=[Sample(((3, 4),)), Sample(((2, 3, 3),), {"offset": -1})],
)
@composite
def diagonal(x: Any, /, *, offset: int = 0) -> Tensor:
    """A diagonal of the last two axes, as the last axis of the result; a view.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.linalg.diagonal(tg.tensor([[[1.0, 2.0], [3.0, 4.0]]])).tolist()
    [[1.0, 4.0]]
    """
    return ns.diagonal(x, offset, -2, -1)


@public(
    home="linalg",
    reference=lambda x, offset=0: np.trace(x, offset, -2, -1),
    samples=[Sample(((3, 4),)), Sample(((2, 3, 3),), {"offset": 1})],
)
@composite
def trace(x: Any, /, *, offset: int = 0) -> Tensor:
    """Sum of a diagonal of the last two axes.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.linalg.trace([[1.0, 2.0], [3.0, 4.0]])
    tensor(5.)
    """
    return ns.trace(x, offset, -2, -1)
