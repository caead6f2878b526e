"""The tree of recorded paths of one signature.

Nodes are the places where Python looked at a value, edges what was seen there, leaves programs.
"""

from __future__ import annotations

import os
import threading
from operator import attrgetter
from typing import Any

import numpy as np

from tapegrad.compiled.recording import TensorCapture, outcome
from tapegrad.tensor import tensor_from_array
from tapegrad.trace import INTEGER, VALUE, Trace
from tapegrad.tree import LEAF, Structure

__all__ = ["Entry", "Node", "Path"]


shape_of = attrgetter("shape")
WRITEABLE = 0x501  # flags.num: C-contiguous, aligned and writeable
SINGLE, FLAT = 1, 2  # results that are one array or number, or a tuple of these


class Node:
    """Where Python looked at a value; edges by what it saw."""

    __slots__ = ("edges", "path", "recent", "slot")

    def __init__(self) -> None:
        self.slot = -1  # what was looked at
        self.edges: dict[tuple[int, Any], Node] = {}
        self.path: Path | None = None  # the recording that ends here
        self.recent: Path | None = None  # the most recently used one below

    def below(self) -> Path | None:
        """The most recently used path from here on."""
        if self.recent is not None:
            return self.recent
        found = [p for p in (self.path, *[n.below() for n in self.edges.values()]) if p is not None]
        return max(found, key=lambda p: p.used, default=None)


class Path:
    """One recorded way through the function, ready to run.

    Attributes
    ----------
    trace : Trace
        As recorded.
    program
        What runs it.
    structure : Structure
        Of the result; ``results`` says, per leaf, which output it is, or -1 for one of ``fixed``.
    """

    __slots__ = (
        "captures", "contents", "environment", "fixed", "moves", "nodes", "program", "results", "shape",
        "shapes", "sources", "steady", "structure", "trace", "used",
    )  # fmt: skip

    def __init__(
        self, trace: Trace, program: Any, structure: Structure, results: list[int], fixed: list
    ) -> None:
        self.trace, self.program = trace, program
        self.structure, self.results, self.fixed = structure, results, fixed
        self.captures: list[Any] = [capture for _, capture in trace.captures]
        self.sources: list[Any] = [c.source for c in self.captures]
        self.steady = all(c.steady for c in self.captures)
        self.shapes = [c.spec.shape for c in self.captures] if self.steady else []
        self.contents: list[tuple[Any, np.ndarray]] = []  # arrays that NumPy computed with, as they were
        self.environment: Any = None  # by which captured names are followed, and how often it was
        self.moves = 0
        self.nodes: list[Node] = []
        self.used = 0
        plain = all(r >= 0 for r in results)
        self.shape = 0
        if plain and structure is LEAF:
            self.shape = SINGLE
        elif plain and structure.container is tuple and all(c is LEAF for c in structure.children):
            self.shape = FLAT

    def ready(self) -> bool:
        """Whether what was captured can be read: the arrays have their shapes, and their contents, still."""
        return self._follow() and self._same_contents()

    def _follow(self) -> bool:
        """Read what names are bound to now; ``False`` if that does not fit."""
        with _following:
            moves = self.environment.moves if self.environment is not None else 0
            moved = False
            for k, capture in enumerate(self.captures):
                if not capture.fits():
                    return False
                if capture.source is not self.sources[k]:
                    self.sources[k], moved = capture.source, True
            if moved:
                self.steady = self.program.steady = all(c.steady for c in self.captures)
                self.shapes = [c.spec.shape for c in self.captures] if self.steady else []
                self.program.version += 1
            self.moves = moves
        return True

    def still(self) -> bool:
        """The same as `ready`, quicker, if all names are known to be bound as before."""
        if not self.steady:
            return self.ready()
        if self.shapes:
            if self.moves != self.environment.moves:  # another thread has noticed that a name moved
                return self.ready()
            if list(map(shape_of, self.sources)) != self.shapes:
                return False
        return not self.contents or self._same_contents()

    def _same_contents(self) -> bool:
        for site, copy in self.contents:
            now = site.value
            if now.shape != copy.shape or now.dtype != copy.dtype or now.tobytes() != copy.tobytes():
                return False
        return True

    def differentiates(self) -> bool:
        """Whether a captured tensor requires grad."""
        return any(c.source._rg for c in self.captures if isinstance(c, TensorCapture))

    def deliver(self, arrays: list[np.ndarray], tensors: bool) -> Any:
        """The result, in the form that the function gave it."""
        if tensors:
            return self.arrange([tensor_from_array(a) for a in arrays])
        return self.arrange([a if a.shape else a.item() for a in arrays])

    def matches(self, path: Path) -> bool:
        """Whether the results are arrays of the same shapes and dtypes, arranged in the same way."""
        return self is path or (
            self.program.output_specs == path.program.output_specs
            and self.results == path.results
            and self.structure == path.structure
        )

    def fits(self, buffers: list[np.ndarray]) -> bool:
        """Whether a flat result can be written to ``buffers``."""
        specs = self.program.output_specs
        if not self.shape or len(buffers) != len(specs):
            return False
        for a, spec in zip(buffers, specs):
            if a.shape != spec.shape or a.dtype is not spec.dtype or a.flags.num & WRITEABLE != WRITEABLE:
                return False
        return True

    def arrange(self, values: list[Any]) -> Any:
        """Put leaves where they belong."""
        if self.shape == FLAT:
            return tuple(values)
        if self.shape == SINGLE:
            return values[0]
        leaves = [values[r] if r >= 0 else v for r, v in zip(self.results, self.fixed)]
        return self.structure.unflatten(leaves)


_following = threading.Lock()


def _after_fork() -> None:
    global _following
    _following = threading.Lock()  # another thread may have held it


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


class Entry:
    """The recorded paths of one signature."""

    __slots__ = ("paths", "recent", "recorded", "root", "ticks")

    def __init__(self) -> None:
        self.root = Node()
        self.recent: Path | None = None
        self.paths: list[Path] = []
        self.ticks = self.recorded = 0

    def insert(self, path: Path) -> None:
        """Add a path to the tree."""
        node, nodes = self.root, []
        for guard in path.trace.guards:
            nodes.append(node)
            if node.slot != guard.slot and (node.edges or node.path is not None):
                self._drop_below(node)  # recorded when something else was constant
            node.slot = guard.slot
            node = node.edges.setdefault((guard.kind, guard.expected), Node())
        if node.edges or node.path is not None:
            self._drop_below(node)
        node.path = path
        path.nodes = [*nodes, node]
        self.paths.append(path)
        self.recorded += 1
        self.use(path)

    def use(self, path: Path) -> None:
        """Note that a path was used last."""
        self.ticks += 1
        path.used = self.ticks
        self.recent = path
        for node in path.nodes:
            node.recent = path

    def remove(self, path: Path) -> None:
        """Forget a path."""
        if path in self.paths:
            self.paths.remove(path)
        for node in path.nodes:
            if node.recent is path:
                node.recent = None
        path.nodes[-1].path = None
        for before, node in zip(path.nodes[-2::-1], path.nodes[:0:-1]):
            if node.path is not None or node.edges:
                break
            before.edges = {k: n for k, n in before.edges.items() if n is not node}
        if self.recent is path:
            self.recent = self.root.below()

    def _drop_below(self, node: Node) -> None:
        for path in [p for p in self.paths if node in p.nodes]:
            self.remove(path)
        node.edges, node.path, node.recent = {}, None, None

    def next(self, path: Path, k: int, value: np.ndarray) -> Path | None:
        """Where to go on when guard ``k`` of a path has seen another value; ``None``: nobody knows."""
        if k >= len(path.nodes) - 1:
            return None
        kind = path.trace.guards[k].kind
        edges = path.nodes[k].edges
        node = edges.get((kind, outcome(kind, value)))
        if node is None and kind == INTEGER:
            node = edges.get((VALUE, value.tobytes()))
        return None if node is None else node.below()
