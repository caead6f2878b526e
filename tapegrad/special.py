"""Special functions, under SciPy's names.

What is here is registered in ``tapegrad.ops`` with ``home="special"``, or with ``also=("special",)`` if
tapegrad itself has it, too.
"""

from tapegrad.ops.namespace import spaces

globals().update(spaces["special"])
__all__ = sorted(spaces["special"])
