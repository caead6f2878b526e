"""Log-densities and distribution functions of the usual distributions, as SciPy parametrises them.

Each distribution is an object with the methods that its row in ``tapegrad.ops.stats`` makes possible:
``logpdf``, ``pdf`` (``logpmf``, ``pmf`` for counts), ``cdf``, ``sf``, ``logcdf``, ``logsf``, ``ppf``.  All
arguments may be Tensors, arrays or numbers, and gradients flow to each.  Called with parameters alone, it
keeps them.

>>> import tapegrad as tg
>>> tg.stats.norm.logpdf(tg.tensor([0.0, 1.0]), loc=0.0, scale=2.0)
tensor([-1.6121, -1.7371])
>>> rate = tg.tensor(2.0, requires_grad=True)
>>> tg.sum(tg.stats.poisson.logpmf([1, 4], rate)).backward()
>>> rate.grad
tensor(0.5000)
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tapegrad.ops.namespace import spaces

SHORT = {"weibull": "weibull_min"}  # further names


class Distribution:
    """A distribution: its methods are plain functions."""

    def __init__(self, name: str, methods: dict[str, Callable]) -> None:
        self.__name__ = name
        self.__dict__.update(methods)
        listed = ", ".join(f"`{m}`" for m in methods)
        self.__doc__ = f"{name}: {listed}; see their documentation for arguments."

    def __repr__(self) -> str:
        return f"<tapegrad.stats.{self.__name__}>"

    def __call__(self, *parameters: Any, **named: Any) -> Frozen:
        """Fix the parameters: ``norm(0.0, 2.0).logpdf(x)`` is ``norm.logpdf(x, 0.0, 2.0)``."""
        return Frozen(self, parameters, named)


class Frozen:
    """A distribution with its parameters."""

    def __init__(self, distribution: Distribution, parameters: tuple, named: dict[str, Any]) -> None:
        self._distribution, self._parameters, self._named = distribution, parameters, named

    def __getattr__(self, name: str) -> Callable:
        if name.startswith("_"):
            raise AttributeError(name)
        method = getattr(self._distribution, name)  # its error, if there is none
        return lambda x, /: method(x, *self._parameters, **self._named)

    def __repr__(self) -> str:
        given = [repr(p) for p in self._parameters] + [f"{n}={v!r}" for n, v in self._named.items()]
        return f"{self._distribution!r}({', '.join(given)})"


def _distributions() -> dict[str, Distribution]:
    methods: dict[str, dict[str, Callable]] = {}
    for name, function in spaces["stats"].items():
        distribution, method = name.split(".")
        methods.setdefault(distribution, {})[method] = function
    made = {name: Distribution(name, found) for name, found in methods.items()}
    return made | {short: made[name] for short, name in SHORT.items()}


globals().update(_distributions())
__all__ = sorted(_distributions())
