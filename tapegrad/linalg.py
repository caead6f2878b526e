"""Linear algebra: NumPy's names, SciPy's where NumPy has none; matrices are the last two axes.

What is here is registered in ``tapegrad.ops`` with ``home="linalg"``, or with ``also=("linalg",)`` if
tapegrad itself has it, too (products and norms).
"""

from tapegrad.ops.namespace import spaces

globals().update(spaces["linalg"])
__all__ = sorted(spaces["linalg"])
