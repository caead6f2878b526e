"""How arguments of a NumPy function are passed on to its counterpart: derived from the two signatures.

A parameter of NumPy's that the counterpart has, by name or as a positional one in the same place, is passed
on; any other is refused by its name, unless its value is NumPy's default and so asks for nothing.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from tapegrad.interop.writing import begin, write

__all__ = ["NOTHING", "Passing", "is_default", "names_of", "refuse"]

NOTHING: Any = getattr(np, "_NoValue", object())
POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
NAMED = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


def refuse(name: str, argument: str) -> TypeError:
    """The error for an argument that NumPy has and we do not."""
    return TypeError(f"{name}: the argument {argument!r} is not supported on tensors")


def is_default(value: Any, default: Any) -> bool:
    """Whether a value says no more than leaving the argument out does."""
    if value is default or value is NOTHING:
        return True
    plain = type(value) in (bool, int, float, str) and type(value) is type(default)
    return plain and bool(value == default)


def _signature(function: Callable) -> inspect.Signature | None:
    try:
        return inspect.signature(function)
    except (TypeError, ValueError):  # some of NumPy's compiled functions do not say
        return None


class Passing:
    """The way from the parameters of one NumPy function to those of its counterpart.

    Attributes
    ----------
    target : callable
        The counterpart.
    places : dict
        Where each of NumPy's parameters goes: a position, a name, or ``None`` if it is refused.
    """

    def __init__(self, name: str, function: Callable, target: Callable) -> None:
        self.name, self.target = name, target
        self.signature = _signature(function)
        self.places: dict[str, int | str | None] = {}
        self.direct = 0  # so many arguments in front have the same places
        ours = _signature(target)
        assert ours is not None
        others = _other_names(target)
        own = list(ours.parameters.values())
        self.names = names_of(target)
        self.ordered = [p for p in own if p.kind in POSITIONAL]
        given = self.signature.parameters if self.signature is not None else {}
        self.takes_out = "out" in given and "out" not in self.names
        self.given = [p for p in given.values() if p.kind in POSITIONAL]
        for k, p in enumerate(given.values()):
            if p.kind not in (*POSITIONAL, inspect.Parameter.KEYWORD_ONLY):
                continue
            mine = self.ordered[k] if p.kind in POSITIONAL and k == self.direct < len(self.ordered) else None
            if mine is not None and (
                mine.kind is inspect.Parameter.POSITIONAL_ONLY
                or mine.name == (others.get(p.name) or p.name)
                or (mine.name not in given and is_default(mine.default, p.default))
            ):
                self.places[p.name] = k
                self.direct = k + 1
            else:
                self.places[p.name] = p.name if p.name in self.names else None

    def __call__(self, args: tuple, kwargs: Mapping[str, Any]) -> Any:
        """Call the counterpart with NumPy's arguments."""
        if not kwargs and len(args) <= self.direct and not any(a is NOTHING for a in args):
            return self.target(*args)
        if self.signature is None:
            named = {k: v for k, v in kwargs.items() if v is not NOTHING}
            out = named.pop("out", None)
            for key in named:
                if key not in self.names:
                    raise refuse(self.name, key)
            begin((out,))
            result = self.target(*args, **named)
        else:
            positional, named = self.arguments(args, kwargs)
            out = named.pop("out", None) if self.takes_out else None
            begin((out,))
            result = self.target(*positional, **named)
        return result if out is None else write(self.name, out, result)

    def arguments(self, args: tuple, kwargs: Mapping[str, Any]) -> tuple[list[Any], dict[str, Any]]:
        """Our arguments for NumPy's (which NumPy has compared with its signature already).

        Raises
        ------
        TypeError
            If one is not supported and says more than its default.
        """
        positional: list[Any] = []
        named: dict[str, Any] = {}
        count = len(self.given)
        for parameter, value in zip(self.given, args):
            self._place(parameter, value, positional, named)
        positional.extend(args[count:])
        assert self.signature is not None
        if not kwargs:
            return positional, named
        for key, parameter in self.signature.parameters.items():  # in this order: some go by position
            if key in kwargs and parameter.kind is not inspect.Parameter.VAR_KEYWORD:
                self._place(parameter, kwargs[key], positional, named)
        for key, value in kwargs.items():
            if key not in self.signature.parameters:
                if key not in self.names:
                    raise refuse(self.name, key)
                named[key] = value
        return positional, named

    def _place(
        self, parameter: inspect.Parameter, value: Any, positional: list[Any], named: dict[str, Any]
    ) -> None:
        place = self.places[parameter.name]
        if isinstance(place, int):
            while len(positional) < place:  # left out in between: our own default
                positional.append(self.ordered[len(positional)].default)
            positional.append(value)
        elif value is NOTHING:
            return
        elif parameter.name == "out" and self.takes_out:
            named["out"] = value
        elif place is not None:
            named[place] = value
        elif not is_default(value, parameter.default):
            raise refuse(self.name, parameter.name)


@functools.cache
def names_of(function: Callable) -> frozenset[str]:
    """The names by which a function of ours takes arguments."""
    signature = _signature(function)
    assert signature is not None
    own = {p.name for p in signature.parameters.values() if p.kind in NAMED}
    return frozenset(own | set(_other_names(function)))


def _other_names(function: Any) -> dict[str, str | None]:
    found: dict[str, str | None] = {}
    while function is not None:
        found.update(getattr(function, "other_names", {}))
        function = getattr(function, "__wrapped__", None)
    return found
