"""Nested containers of arrays: tuples, lists, dicts, named tuples and dataclasses.

``flatten`` takes a container apart into its leaves and a structure, ``Structure.unflatten`` puts it
together again.  Whatever is not a container is a leaf: arrays, numbers, Tensors, strings, ``None``.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import Any

__all__ = ["LEAF", "Structure", "flatten", "tree_map"]


class Structure:
    """How leaves are nested: hashable, and equal if containers, keys and nesting are.

    Attributes
    ----------
    count : int
        The number of leaves.
    """

    __slots__ = ("children", "container", "count", "hash", "keys")

    container: type | None  # ``None``: a leaf
    keys: tuple  # of a dict, or names of fields
    children: tuple[Structure, ...]
    count: int
    hash: int

    def __init__(self, container: type | None, keys: tuple, children: tuple[Structure, ...]) -> None:
        self.container, self.keys, self.children = container, keys, children
        self.count = 1 if container is None else sum([c.count for c in children])
        self.hash = hash((container, keys, children))

    def __hash__(self) -> int:
        return self.hash

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        return (
            isinstance(other, Structure)
            and self.hash == other.hash
            and self.container is other.container
            and self.keys == other.keys
            and self.children == other.children
        )

    def __repr__(self) -> str:
        if self.container is None:
            return "*"
        parts = [repr(c) for c in self.children]
        if self.container is tuple:
            return f"({', '.join(parts)}{',' if len(parts) == 1 else ''})"
        if self.container is list:
            return f"[{', '.join(parts)}]"
        if self.container is dict:
            return "{" + ", ".join(f"{k!r}: {p}" for k, p in zip(self.keys, parts)) + "}"
        return f"{self.container.__name__}({', '.join(f'{k}={p}' for k, p in zip(self.keys, parts))})"

    def unflatten(self, leaves: Sequence[Any]) -> Any:
        """The container with these leaves.

        Raises
        ------
        ValueError
            If their number is not ``count``.

        Examples
        --------
        >>> from tapegrad.tree import flatten
        >>> leaves, structure = flatten({"a": 1.0, "b": [2.0, 3.0]})
        >>> structure.unflatten([10 * x for x in leaves])
        {'a': 10.0, 'b': [20.0, 30.0]}
        """
        if len(leaves) != self.count:
            raise ValueError(f"unflatten: {self!r} has {self.count} leaves, not {len(leaves)}")
        return leaves[0] if self.container is None else _build(self, iter(leaves))

    def paths(self) -> list[str]:
        """How each leaf is reached, as one would write it: ``[0]['a'].b``."""
        if self.container is None:
            return [""]
        named = self.container not in (tuple, list, dict)
        steps = self.keys if self.keys else range(len(self.children))
        return [
            (f".{k}" if named else f"[{k!r}]") + rest
            for k, child in zip(steps, self.children)
            for rest in child.paths()
        ]


LEAF = Structure(None, (), ())


def _build(structure: Structure, leaves: Iterator[Any]) -> Any:
    container = structure.container
    if container is None:
        return next(leaves)
    parts = [_build(c, leaves) for c in structure.children]
    if container is tuple:
        return tuple(parts)
    if container is list:
        return parts
    if container is dict:
        return dict(zip(structure.keys, parts))
    if issubclass(container, tuple):
        return container(*parts)
    out = object.__new__(container)
    for key, part in zip(structure.keys, parts):
        object.__setattr__(out, key, part)  # frozen dataclasses too, and no __init__ runs again
    return out


def flatten(value: Any, sort: bool = True) -> tuple[list[Any], Structure]:
    """Take a nested container apart.

    Parameters
    ----------
    value : any
        Tuples, lists, dicts, named tuples and dataclasses are containers; the rest are leaves.
    sort : bool
        Take dicts in the order of their keys, if these are strings, so that the order in which they
        were filled does not matter.

    Returns
    -------
    leaves : list
    structure : Structure
        ``structure.unflatten(leaves)`` is an equal container.

    Raises
    ------
    ValueError
        If a container holds itself.

    Examples
    --------
    >>> from tapegrad.tree import flatten
    >>> flatten((1.0, {"b": 2.0, "a": [3.0]}))
    ([1.0, 3.0, 2.0], (*, {'a': [*], 'b': *}))
    """
    leaves: list[Any] = []
    try:
        structure = _take_apart(value, leaves, sort)
    except RecursionError:
        raise ValueError("flatten: the container is nested too deeply, or holds itself") from None
    return leaves, structure


def _take_apart(value: Any, leaves: list[Any], sort: bool) -> Structure:
    if isinstance(value, (tuple, list)):
        fields = getattr(value, "_fields", None)
        children = tuple([_take_apart(v, leaves, sort) for v in value])
        if fields is not None and isinstance(value, tuple):
            return Structure(type(value), tuple(fields), children)
        return Structure(tuple if isinstance(value, tuple) else list, (), children)
    if isinstance(value, dict):
        keys = tuple(value)
        if sort and all(k.__class__ is str for k in keys):
            keys = tuple(sorted(keys))
        return Structure(dict, keys, tuple([_take_apart(value[k], leaves, sort) for k in keys]))
    if hasattr(value, "__dataclass_fields__") and not isinstance(value, type):
        names = tuple([f.name for f in dataclasses.fields(value)])
        children = tuple([_take_apart(getattr(value, n), leaves, sort) for n in names])
        return Structure(type(value), names, children)
    leaves.append(value)
    return LEAF


def tree_map(function: Callable, value: Any) -> Any:
    """Apply a function to every leaf of a nested container.

    Examples
    --------
    >>> from tapegrad.tree import tree_map
    >>> tree_map(lambda x: 2 * x, {"a": (1, 2)})
    {'a': (2, 4)}
    """
    leaves, structure = flatten(value)
    return structure.unflatten([function(x) for x in leaves])
