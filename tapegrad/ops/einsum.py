"""``einsum``: diagonals and sums of single operands, then products two by two."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from tapegrad.ops.axes import contiguous, size_of
from tapegrad.ops.contraction import matrix_product
from tapegrad.ops.movement import broadcasted, gather_movement, permuted, reshaped
from tapegrad.ops.record import as_operand, cast, composite
from tapegrad.ops.table import Sample, ns, public, section
from tapegrad.spec import BOOL, INT64, result_dtype
from tapegrad.tensor import Tensor

section("products of matrices and vectors")

SPARE = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


def _parse(subscripts: str, shapes: list[tuple[int, ...]]) -> tuple[list[str], str]:
    """Letters of each operand and of the result, with the ellipsis written out."""
    text = subscripts.replace(" ", "")
    left, arrow, right = text.partition("->")
    terms = left.split(",")
    if len(terms) != len(shapes):
        raise ValueError(f"einsum: {len(terms)} terms in {subscripts!r} for {len(shapes)} operands")
    free = [c for c in SPARE if c not in text]
    depth = 0
    for term, shape in zip(terms, shapes):
        letters = term.replace("...", "", 1)
        if "." in letters or not all(c.isalpha() and c.isascii() for c in letters):
            raise ValueError(f"einsum: invalid subscripts {term!r} in {subscripts!r}")
        rest = len(shape) - len(letters)
        if rest < 0 or (rest and "..." not in term):
            raise ValueError(f"einsum: subscripts {term!r} do not fit an operand of shape {shape}")
        depth = max(depth, rest if "..." in term else 0)
    dots = "".join(free[:depth])
    full = []
    for term, shape in zip(terms, shapes):
        rest = len(shape) - len(term.replace("...", "", 1))
        full.append(term.replace("...", dots[depth - rest :] if rest else "", 1))
    if not arrow:
        every = "".join(full)
        out = dots + "".join(sorted(c for c in set(every) - set(dots) if every.count(c) == 1))
    else:
        out = right.replace("...", dots, 1)
        if len(set(out)) < len(out) or not set(out) <= set("".join(full)):
            raise ValueError(f"einsum: result {right!r} of {subscripts!r} has unknown or repeated letters")
    return full, out


def _lengths(terms: list[str], shapes: list[tuple[int, ...]], subscripts: str) -> dict[str, int]:
    lengths: dict[str, int] = {}
    for term, shape in zip(terms, shapes):
        for letter, n in zip(term, shape):
            known = lengths.get(letter, 1)
            if known != 1 and n not in (1, known):
                raise ValueError(
                    f"einsum: {subscripts!r} gives {letter!r} lengths {known} and {n}; shapes {shapes}"
                )
            lengths[letter] = n if known == 1 else known
    return lengths


def _single(x: Tensor, term: str, keep: set[str], lengths: dict[str, int]) -> tuple[Tensor, str]:
    """Take diagonals of repeated letters and sum over letters nobody else has."""
    if len(set(term)) < len(term):
        shape = tuple([lengths[c] for c in term])
        x = broadcasted(x, shape)
        letters = "".join(dict.fromkeys(term))
        steps = contiguous(shape)
        strides = tuple([sum(s for s, c in zip(steps, term) if c == d) for d in letters])
        x = gather_movement(x, tuple([lengths[d] for d in letters]), strides, 0)
        term = letters
    gone = tuple([k for k, c in enumerate(term) if c not in keep])
    if gone:
        factor = 1  # an axis of length one stands for repetition
        for k in gone:
            factor *= lengths[term[k]] if x._spec.shape[k] == 1 else 1
        x = ns.sum(x, axis=gone)
        if factor != 1:
            x = ns.multiply(x, factor)
        term = "".join([c for k, c in enumerate(term) if k not in gone])
    return x, term


def _product(
    x: Tensor, s: str, y: Tensor, t: str, keep: set[str], lengths: dict[str, int]
) -> tuple[Tensor, str]:
    """Multiply two operands, summing over the letters that nobody else has."""
    x, s = _single(x, s, keep | set(t), lengths)
    y, t = _single(y, t, keep | set(s), lengths)
    summed = [c for c in s if c in t and c not in keep]
    # A letter of length one in one operand only is broadcast: treat it as missing there, unless summed.
    for c in summed:
        if x._spec.shape[s.index(c)] != y._spec.shape[t.index(c)]:
            shape = [lengths[d] if d == c else n for d, n in zip(s, x._spec.shape)]
            x = broadcasted(x, tuple(shape))
            shape = [lengths[d] if d == c else n for d, n in zip(t, y._spec.shape)]
            y = broadcasted(y, tuple(shape))
    if not summed:
        letters = s + "".join(c for c in t if c not in s)
        return ns.multiply(_arrange(x, s, letters), _arrange(y, t, letters)), letters
    batch = [c for c in s if c in t and c in keep]
    for c in batch:
        if x._spec.shape[s.index(c)] != y._spec.shape[t.index(c)]:
            x = broadcasted(x, tuple([lengths[d] if d == c else n for d, n in zip(s, x._spec.shape)]))
            y = broadcasted(y, tuple([lengths[d] if d == c else n for d, n in zip(t, y._spec.shape)]))
    free_x, free_y = [c for c in s if c not in t], [c for c in t if c not in s]
    size = dict(zip(s, x._spec.shape)) | dict(zip(t, y._spec.shape))
    b, m, k, n = [size_of(tuple([size[c] for c in part])) for part in (batch, free_x, summed, free_y)]
    # Used as they lie if the order allows, through the product's transpose flags.
    tx = bool(free_x) and list(s) == batch + summed + free_x
    ty = bool(free_y) and list(t) == batch + free_y + summed
    if not tx:
        x = permuted(x, tuple([s.index(c) for c in batch + free_x + summed]))
    if not ty:
        y = permuted(y, tuple([t.index(c) for c in batch + summed + free_y]))
    lead = (b,) if batch else ()
    x = reshaped(x, (*lead, k, m) if tx else (*lead, m, k))
    y = reshaped(y, (*lead, n, k) if ty else (*lead, k, n))
    letters = "".join(batch + free_x + free_y)
    out = matrix_product(x, y, tx, ty)
    return reshaped(out, tuple([size[c] for c in letters])), letters


def _arrange(x: Tensor, s: str, letters: str) -> Tensor:
    """Permute axes into the order of ``letters``, with axes of length one for the missing."""
    present = [c for c in letters if c in s]
    x = permuted(x, tuple([s.index(c) for c in present]))
    size = dict(zip(present, x._spec.shape))
    return reshaped(x, tuple([size.get(c, 1) for c in letters]))


@functools.lru_cache(maxsize=1024)
def _path(
    terms: tuple[str, ...], out: str, lengths: tuple[tuple[str, int], ...]
) -> tuple[tuple[int, int], ...]:
    """Which two operands to multiply next: the pair whose result grows memory the least."""
    size = dict(lengths)
    left = list(terms)
    path = []
    while len(left) > 1:
        best: tuple[int, int, int] | None = None
        for i in range(len(left)):
            for j in range(i + 1, len(left)):
                others = set(out).union(*[t for k, t in enumerate(left) if k not in (i, j)])
                joint = (set(left[i]) | set(left[j])) & others
                grown = size_of(tuple([size[c] for c in joint]))
                for t in (left[i], left[j]):
                    grown -= size_of(tuple([size[c] for c in set(t)]))
                if best is None or grown < best[0]:
                    best = grown, i, j
        assert best is not None
        _, i, j = best
        others = set(out).union(*[t for k, t in enumerate(left) if k not in (i, j)])
        joint_term = "".join(sorted((set(left[i]) | set(left[j])) & others))
        left = [t for k, t in enumerate(left) if k not in (i, j)] + [joint_term]
        path.append((i, j))
    return tuple(path)


@public(
    reference=np.einsum,
    samples=[
        Sample(((3, 4), (4, 2)), prefix=("ij,jk->ik",)),
        Sample(((3, 4), (4, 2)), prefix=("ij,jk",)),
        Sample(((3, 3),), prefix=("ii->i",)),
        Sample(((3, 3),), prefix=("ii",)),
        Sample(((3, 4),), prefix=("ij->ji",)),
        Sample(((2, 3, 4), (2, 4, 5)), prefix=("bij,bjk->bik",)),
        Sample(((2, 3, 4), (2, 5, 4)), prefix=("...ij,...kj->...ik",)),
        Sample(((3,), (4,)), prefix=("i,j->ij",)),
        Sample(((3,), (3, 4), (4,)), prefix=("i,ij,j->",)),
        Sample(((2, 3), (3, 4), (4, 5)), prefix=("ab,bc,cd->ad",)),
        Sample(((2, 3, 3), (3,)), prefix=("bii,i->b",)),
        Sample(((4, 3), (4, 3)), prefix=("ki,kj->ji",)),
    ],
    method=False,
)
@composite
def einsum(subscripts: str, /, *operands: Any, optimize: Any = True) -> Tensor:
    """Sums of products, written with letters for axes.

    Parameters
    ----------
    subscripts : str
        ``"ij,jk->ik"``: letters per operand and for the result; letters missing in the result are
        summed over, repeated ones in an operand take the diagonal, ``...`` stands for axes that
        are broadcast.  Without ``->`` the result has the letters that occur once, sorted.
    operands : array_like
        Several are multiplied two by two, the pair first whose product takes least memory.
    optimize : object
        Accepted for NumPy's sake.

    Raises
    ------
    ValueError
        If the subscripts are malformed or do not fit the shapes.

    Examples
    --------
    >>> import tapegrad as tg
    >>> x = tg.tensor([[1.0, 2.0], [3.0, 4.0]])
    >>> tg.einsum("ij,j->i", x, tg.tensor([1.0, 1.0]))
    tensor([3., 7.])
    """
    if not isinstance(subscripts, str):
        raise TypeError("einsum: the first argument must be the subscripts")
    if len(operands) == 1 and isinstance(operands[0], (list, tuple)) and "," in subscripts:
        operands = tuple(operands[0])
    tensors = [as_operand(x, "einsum") for x in operands]
    if not tensors:
        raise ValueError("einsum: at least one operand is needed")
    dtype = result_dtype(*[x._spec.dtype for x in tensors])
    if dtype is BOOL:
        out = einsum(subscripts, *[cast(x, INT64) for x in tensors])
        return ns.not_equal(out, 0)
    tensors = [cast(x, dtype) for x in tensors]
    shapes = [x._spec.shape for x in tensors]
    terms, out = _parse(subscripts, shapes)
    lengths = _lengths(terms, shapes, subscripts)
    work = list(zip(tensors, terms))
    for i, j in _path(tuple(terms), out, tuple(sorted(lengths.items()))):
        (x, s), (y, t) = work[i], work[j]
        work = [w for k, w in enumerate(work) if k not in (i, j)]
        keep = set(out).union(*[term for _, term in work])
        work.append(_product(x, s, y, t, keep, lengths))
    x, s = work[0]
    x, s = _single(x, s, set(out), lengths)
    x = permuted(x, tuple([s.index(c) for c in out]))
    x = broadcasted(x, tuple([lengths[c] for c in out]))
    return cast(x, dtype) if x._spec.dtype is not dtype else x
