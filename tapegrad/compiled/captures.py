"""What a function captures: closure cells, globals, defaults, attributes, containers.

A recording holds for the Python objects that the function reached when it ran.  ``Environment`` finds them,
from the function and recursively from the user's functions it names, and checks quickly whether they are
still the same.  Numbers and strings are compared by value and type, other objects by identity, containers
by their elements.  An array or tensor whose name is bound to another one of the same shape and dtype is
read instead of the old one, without recording anew; arrays that the recording did not use as operands (that
NumPy computed with) are compared by content.
"""

from __future__ import annotations

import contextlib
import dis
import functools
import os
import random
import sys
import sysconfig
import types
from collections.abc import Callable, Iterable, Iterator
from operator import attrgetter, is_, itemgetter
from typing import Any

import numpy as np

import tapegrad
from tapegrad.compiled.executed import Load, names_of, unaccounted
from tapegrad.tensor import Tensor

__all__ = ["Environment", "Site", "attach_sites", "random_line", "typed"]

NUMERIC = (float, complex, np.inexact)  # zeros have signs, NaN equals itself: compare what is printed
LONGEST = 4096  # elements of a container that are watched
FEW = 6
MOST = 20_000  # objects that are looked into
SIMPLE = (bool, int, float, complex, str, bytes, type(None))

RANDOM = (random.Random, np.random.Generator, np.random.RandomState)

_contents = attrgetter("cell_contents")


@functools.cache
def _library_paths() -> tuple[str, ...]:
    paths = [sysconfig.get_paths()[k] for k in ("stdlib", "platstdlib", "purelib", "platlib")]
    own = os.path.dirname(os.path.abspath(tapegrad.__file__))
    return tuple(sorted({os.path.abspath(p) + os.sep for p in (*paths, own)}))


@functools.lru_cache(maxsize=4096)
def _is_library_file(path: str) -> bool:
    return path.startswith("<frozen") or os.path.abspath(path).startswith(_library_paths())


def _is_library_module(module: types.ModuleType | None) -> bool:
    if module is None:
        return True
    path = getattr(module, "__file__", None)
    if path is None:
        return module.__name__ != "__main__" and module.__name__ in sys.builtin_module_names
    return _is_library_file(path)


def typed(value: Any) -> Any:
    """A key that tells equal values apart: ``1``, ``1.0`` and ``True``; zeros of either sign."""
    if isinstance(value, (float, complex)):
        return value.__class__, repr(value)
    if isinstance(value, tuple):
        return value.__class__, tuple([typed(v) for v in value])
    if isinstance(value, frozenset):
        return value.__class__, frozenset([typed(v) for v in value])
    return value.__class__, value


def _same(old: Any, new: Any) -> bool:
    """Whether one object may stand for the other."""
    if old is new:
        return True
    if old.__class__ is not new.__class__:
        return False
    if isinstance(old, (*SIMPLE, np.generic)):
        return repr(old) == repr(new) if isinstance(old, NUMERIC) else bool(old == new)
    if isinstance(old, types.MethodType):
        return old.__func__ is new.__func__ and old.__self__ is new.__self__
    return False


def _alike(old: Any, new: Any) -> bool:
    """Whether a recording made with array or tensor ``old`` can read ``new`` instead."""
    if isinstance(old, Tensor):
        return isinstance(new, Tensor) and old._spec is new._spec and bool(old._rg) == bool(new._rg)
    return isinstance(new, np.ndarray) and old.shape == new.shape and old.dtype == new.dtype


class Site:
    """An array or tensor that the function reaches by name; what is read when a recording used it."""

    __slots__ = ("container", "loads", "names", "value")

    def __init__(self, value: Any, label: str) -> None:
        self.value = value
        self.container = label.partition("[")[0].rpartition(".")[2] if "[" in label else None
        self.names = {label.rpartition(".")[2]}
        self.loads: list[Load] | None = None  # where the code loads its names; ``None``: it has none


class _Group:
    """Some objects that are fetched together, with what they were."""

    __slots__ = ("expected", "getter", "keys", "labels", "sized", "source")

    def __init__(
        self,
        source: Any,
        getter: Callable,
        labels: list[str],
        sized: bool = False,
        keys: Iterable[str] = (),
    ) -> None:
        self.source, self.getter, self.labels, self.sized = source, getter, labels, sized
        self.keys = tuple(keys)  # of a namespace
        self.expected: tuple = tuple(getter(source))


def _at_least_two(getter: Callable, names: Iterable[str]) -> Callable:
    """A getter that returns a tuple also for one name."""
    names = list(names)
    return getter(*names) if len(names) > 1 else getter(names[0], names[0])


def _cells(cells: tuple) -> Iterator:
    return map(_contents, cells)


def _itself(container: Any) -> Any:
    return container


def _pairs(d: dict) -> tuple:
    return (*d, *d.values())


class Environment:
    """Everything that a function reaches by name, as it is now.

    Parameters
    ----------
    function : callable
        The user's function.

    Attributes
    ----------
    sites : dict
        The arrays and tensors among it, by ``id``.
    codes : list of code
        The code of the user's functions among it.
    generators : list
        NumPy's random generators among it.
    containers : dict
        Where the code loads the names of containers that hold arrays.
    """

    def __init__(self, function: Callable) -> None:
        self.used = False  # whether something was recorded with it
        self.moves = 0  # how often a name was bound to another array
        self.groups: list[_Group] = []
        self.sets: list[tuple[Any, frozenset, str]] = []
        self.sites: dict[int, Site] = {}
        self.codes: list[types.CodeType] = []
        self.generators: list[Any] = []
        self.random_names = {"random"}
        self._seen: dict[int, Any] = {}
        self._objects: list[tuple[Any, str]] = []
        self._names: set[str] = set()  # attributes that the code reads
        self._loads: dict[str, list[Load]] = {}
        self._scopes: dict[int, tuple[Any, dict[str, str]]] = {}  # watched names, by namespace
        self._visit(function, getattr(function, "__qualname__", "function"))
        self._attributes()
        for scope, labels in self._scopes.values():
            if labels:
                getter = _at_least_two(itemgetter, labels)
                shown = [*labels.values(), *labels.values()]
                self.groups.append(_Group(scope, getter, shown, keys=labels))
        for site in self.sites.values():
            if all(name.isidentifier() for name in site.names):
                site.loads = [load for name in site.names for load in self._loads.get(name, ())]
                site.container = None
        names = {site.container for site in self.sites.values()}
        self.containers = {name: self._loads[name] for name in names if name in self._loads}
        self._seen.clear()
        self._objects.clear()
        self._index()

    def _index(self) -> None:
        # A few names are compared quickest one by one, many all at once.
        few = [g for g in self.groups if 0 < len(g.keys) <= FEW]
        cells = [g for g in self.groups if g.getter is _cells and len(g.source) <= FEW]
        self._few = [(g.source, key, value) for g in few for key, value in zip(g.keys, g.expected)]
        self._cells = [(cell, value) for g in cells for cell, value in zip(g.source, g.expected)]
        rest = [g for g in self.groups if not (g.sized or g in few or g in cells)]
        self._quick = [(g.getter, g.source, g.expected) for g in rest]
        self._sized = [(g.getter, g.source, g.expected, len(g.expected)) for g in self.groups if g.sized]

    # --- finding ----------------------------------------------------------------------------------

    def _visit(self, value: Any, label: str) -> None:
        """Look into an object, once."""
        if isinstance(value, SIMPLE) or id(value) in self._seen or len(self._seen) > MOST:
            if id(value) in self.sites:
                self.sites[id(value)].names.add(label.rpartition(".")[2])
            return
        self._seen[id(value)] = value
        if isinstance(value, (np.ndarray, Tensor)):
            self.sites[id(value)] = Site(value, label)
        elif isinstance(value, types.FunctionType):
            if not _is_library_file(value.__code__.co_filename):
                self._function(value, label)
            else:
                self._behind(value, label)
        elif isinstance(value, types.MethodType):
            if isinstance(value.__self__, RANDOM):
                self.random_names.add(label.rpartition(".")[2])
            self._visit(value.__func__, label)
            self._visit(value.__self__, label.rpartition(".")[0] or label)
        elif isinstance(value, functools.partial):
            for part in (value.func, value.args, value.keywords):
                self._visit(part, label)
        elif isinstance(value, (list, tuple, set, frozenset, dict)):
            self._container(value, label)
        elif isinstance(value, (np.random.Generator, np.random.RandomState)):
            self.generators.append(value)
            self.random_names.add(label.rpartition(".")[2])
        elif isinstance(value, (staticmethod, classmethod)):
            self._visit(value.__func__, label)
        elif isinstance(value, property):
            self._visit(value.fget, label)
        elif isinstance(value, types.ModuleType):
            if not _is_library_module(value):
                self._objects.append((value, label))
        elif isinstance(value, (types.BuiltinFunctionType, types.BuiltinMethodType)):
            if isinstance(value.__self__, RANDOM):
                self.random_names.add(label.rpartition(".")[2])
        elif not isinstance(value, (np.ufunc, np.dtype, np.generic)):
            self._object(value, label)

    def _behind(self, value: Any, label: str) -> None:
        """A library's function: only the user's functions that it wraps are followed."""
        for cell in getattr(value, "__closure__", None) or ():
            with contextlib.suppress(ValueError):
                inner = cell.cell_contents
                if callable(inner) and not isinstance(inner, type):
                    self._visit(inner, label)
        inner = getattr(value, "__wrapped__", None)
        if inner is not None:
            self._visit(inner, label)

    def _function(self, f: types.FunctionType, label: str) -> None:
        cells = []
        for name, cell in zip(f.__code__.co_freevars, f.__closure__ or ()):
            with contextlib.suppress(ValueError):  # not bound yet
                cells.append((name, cell, cell.cell_contents))
        if cells:
            self.groups.append(_Group(tuple([c for _, c, _ in cells]), _cells, [n for n, _, _ in cells]))
        for name, _, value in cells:
            self._visit(value, name)
        for default in (*(f.__defaults__ or ()), *(f.__kwdefaults__ or {}).values()):
            self._visit(default, f"{label}()")
        self._code(f.__code__, f.__globals__)

    def _code(self, code: types.CodeType, scope: dict[str, Any]) -> None:
        self.codes.append(code)
        labels = self._scopes.setdefault(id(scope), (scope, {}))[1]
        fresh = []
        names = names_of(code)
        for name in names.scope:
            if name in scope and name not in labels:
                fresh.append(name)
                if not (isinstance(scope[name], types.ModuleType) and _is_library_module(scope[name])):
                    labels[name] = name
        self._names.update(names.attributes)
        for name, load in names.loads:
            self._loads.setdefault(name, []).append(load)
        for constant in code.co_consts:
            if isinstance(constant, types.CodeType):
                self._code(constant, scope)
        for name in fresh:
            self._visit(scope[name], name)

    def _container(self, value: Any, label: str) -> None:
        n = len(value)
        if n > LONGEST:
            return
        if isinstance(value, (set, frozenset)):
            self.sets.append((value, frozenset(value), label))
            return
        keys = [repr(k) for k in value] if isinstance(value, dict) else [str(k) for k in range(n)]
        elements = list(value.values()) if isinstance(value, dict) else list(value)
        labels = [f"{label}[{k}]" for k in keys]
        if isinstance(value, dict):
            self.groups.append(_Group(value, _pairs, [label] * n + labels, sized=True))
        elif isinstance(value, list):
            self.groups.append(_Group(value, _itself, labels, sized=True))
        for element, name in zip(elements, labels):
            self._visit(element, name)

    def _object(self, value: Any, label: str) -> None:
        """An object or a class of the user's; attributes are found once all names are known."""
        from tapegrad.compiled.arguments import WeakMethod
        from tapegrad.compiled.function import Compiled

        if isinstance(value, Compiled):
            self._visit(value.__tapegrad_compiled__, label)
            return
        if isinstance(value, WeakMethod):
            self._visit(value.__func__, label)
            self._visit(value.__self__, label.rpartition(".")[0] or label)
            return
        kind = value if isinstance(value, type) else type(value)
        if _is_library_module(sys.modules.get(kind.__module__)):
            if not isinstance(value, type):
                self._behind(value, label)
                if isinstance(getattr(value, "__dict__", None), dict):
                    self._objects.append((value, label))  # a namespace, say
            return
        self._objects.append((value, label))
        for c in kind.__mro__:
            if not _is_library_module(sys.modules.get(c.__module__)):
                for name, entry in list(c.__dict__.items()):
                    if name.startswith("__") and isinstance(entry, types.FunctionType):
                        self._visit(entry, f"{label}.{name}")

    def _attributes(self) -> None:
        """Watch the attributes that the code names, until no new ones turn up."""
        known: set[tuple[int, str]] = set()
        while True:
            names = sorted(self._names)
            fresh = [(v, label, n) for v, label in self._objects for n in names if (id(v), n) not in known]
            if not fresh:
                return
            for value, label, name in fresh:
                known.add((id(value), name))
                self._attribute(value, f"{label}.{name}", name)

    def _attribute(self, value: Any, label: str, name: str) -> None:
        own = getattr(value, "__dict__", None)
        if own is not None and name in own and not isinstance(value, type):
            self._scopes.setdefault(id(own), (own, {}))[1][name] = label
            self._visit(own[name], label)
            return
        if isinstance(value, types.ModuleType):
            return
        for c in (value if isinstance(value, type) else type(value)).__mro__:
            if name not in c.__dict__:
                continue
            entry = c.__dict__[name]
            if hasattr(entry, "__get__") and not isinstance(entry, types.MemberDescriptorType):
                if not _is_library_module(sys.modules.get(c.__module__)):
                    self._scopes.setdefault(id(c), (c.__dict__, {}))[1][name] = label
                    self._visit(entry, label)
            elif hasattr(value, name):  # may yet be overridden in the instance, or is in its slots
                self.groups.append(_Group(value, attrgetter(name, name), [label, label]))
                self._visit(getattr(value, name), label)
            return

    # --- checking ---------------------------------------------------------------------------------

    def unchanged(self) -> bool:
        """Whether everything is the same object as before: the quick answer, ``False`` if unsure."""
        try:
            for source, key, value in self._few:
                if source[key] is not value:
                    return False
            for cell, value in self._cells:
                if cell.cell_contents is not value:
                    return False
            for getter, source, expected in self._quick:
                if not all(map(is_, getter(source), expected)):
                    return False
            for getter, source, expected, n in self._sized:
                now = getter(source)
                if len(now) != n or not all(map(is_, now, expected)):
                    return False
            for source, elements, _ in self.sets:
                if source != elements:
                    return False
        except (KeyError, AttributeError, ValueError):
            return False
        return True

    def difference(self) -> str | None:
        """What has changed such that recordings do not hold any more; ``None`` if they do.

        Equal numbers are accepted, and arrays that can be read instead of the old ones; then the
        environment is brought up to date.
        """
        moved: dict[int, Any] = {}
        fresh: list[tuple[_Group, tuple]] = []
        for group in self.groups:
            try:
                now = tuple(group.getter(group.source))
            except (KeyError, AttributeError, ValueError):
                return group.labels[0]
            if len(now) != len(group.expected):
                return (group.labels or ["a container"])[0].split("[")[0]
            for old, new, label in zip(group.expected, now, group.labels):
                if id(old) in self.sites:
                    if not _alike(old, new) or moved.setdefault(id(old), new) is not new:
                        return label
                elif not _same(old, new):
                    return label
            if not all(map(is_, group.expected, now)):
                fresh.append((group, now))
        for source, elements, label in self.sets:
            if source != elements:
                return label
        targets = {id(new) for new in moved.values()}
        if len(targets) < len(moved) or any(t in self.sites and t not in moved for t in targets):
            return "arrays: several names are bound to one now"
        self.moves += len(moved)  # before anything is brought up to date: other threads look at it last
        for key, new in moved.items():
            self.sites[key].value = new
        self.sites = {id(site.value): site for site in self.sites.values()}
        for group, now in fresh:
            group.expected = now
        self._index()
        return None

    def same(self, other: Environment) -> bool:
        """Whether another environment watches the same objects and finds the same in them."""
        if len(self.groups) != len(other.groups) or [s[1:] for s in self.sets] != [s[1:] for s in other.sets]:
            return False
        return all(
            (x.source is y.source if x.sized else x.labels == y.labels)
            and len(x.expected) == len(y.expected)
            and all(map(is_, x.expected, y.expected))
            for x, y in zip(self.groups, other.groups)
        )

    def absorb_growth(self) -> None:
        """Accept that containers have gained elements: the function added them while it was recorded.

        A change of what was there before, and of a name, is not accepted: what the function returns may
        depend on it, so each call has to see it.
        """
        for group in self.groups:
            if not group.sized:
                continue
            now, was = tuple(group.getter(group.source)), group.expected
            if len(now) <= len(was):
                continue
            if group.getter is _pairs:
                k, n = len(was) // 2, len(now) // 2
                kept = (*now[:k], *now[n : n + k])
                labels = group.labels[:1] * n
            else:
                kept, labels = now[: len(was)], group.labels
            if all(map(is_, kept, was)):
                group.expected = now
                group.labels = labels + ["an element"] * (len(now) - len(labels))
        self.sets = [(s, frozenset(s) if s >= old else old, label) for s, old, label in self.sets]
        self._index()

    def copies(self) -> dict[int, np.ndarray]:
        """What the arrays hold with which NumPy may compute, by ``id`` of the site."""
        sites = [s for s in self.sites.values() if s.loads != [] and isinstance(s.value, np.ndarray)]
        return {id(s): s.value.copy() for s in sites if s.value.dtype.kind in "biufc"}


def attach_sites(
    captures: list[Any],
    environment: Environment,
    copies: dict[int, np.ndarray],
    executed: dict[types.CodeType, set[int]] | None,
) -> list[tuple[Site, np.ndarray]]:
    """Tell captures by which name their array is reached.

    Returns
    -------
    list of (Site, ndarray)
        The arrays among ``copies`` with which NumPy may have computed, too.
    """
    places: dict[int, set[Any]] = {}
    for capture in captures:
        source = capture.source
        site = environment.sites.get(id(source))
        while site is None and isinstance(source, np.ndarray) and source.base is not None:
            source = source.base
            site = environment.sites.get(id(source))
        if site is not None:
            capture.attach(site)
            places.setdefault(id(site), set()).update(capture.places)
    computed_with = set()
    for name, loads in environment.containers.items():
        uses = [places[id(s)] for s in environment.sites.values() if s.container == name and id(s) in places]
        if unaccounted(loads, set().union(*uses), executed, True):
            computed_with.add(name)
    out = []
    for site in environment.sites.values():
        if id(site) in copies:
            used = places.get(id(site))
            if site.loads is None:
                computed = used is None or site.container in computed_with
            else:
                computed = unaccounted(site.loads, used or (), executed)
            if computed:
                out.append((site, copies[id(site)]))
    return out


def random_line(environment: Environment) -> str | None:
    """Where the user's functions name something that draws random numbers, as ``file:line``."""
    for code in environment.codes:
        line = code.co_firstlineno
        for step in dis.get_instructions(code):
            starts = getattr(step, "line_number", None) or step.starts_line
            line = starts if isinstance(starts, int) and not isinstance(starts, bool) else line
            if isinstance(step.argval, str) and step.argval in environment.random_names:
                return f"{os.path.basename(code.co_filename)}:{line}"
    return None
