"""Reference functions of SciPy's, which is imported when one is called: importing tapegrad stays quick."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

__all__ = ["special"]


def special(name: str, function: Callable | None = None) -> Callable:
    """``scipy.special.<name>``, or ``function(scipy.special, *arguments)``."""

    def reference(*args: Any, **kwargs: Any) -> Any:
        import scipy.special

        if function is not None:
            return function(scipy.special, *args, **kwargs)
        return getattr(scipy.special, name)(*args, **kwargs)

    reference.__name__ = name
    return reference
