"""The file that saved tapes are kept in: a zip archive of one JSON text and plain arrays.

It is a subset of zip that leaves nothing to choose: members are stored uncompressed, one after the
other, without dates, and each array's header is the one that its shape and dtype imply. So the same
content always gives the same bytes, and whatever is not exactly the archive of its members is refused.
The archive's comment ends with the SHA-256 of all bytes before it.

    header.json     what it is, and shape and dtype of each array
    arrays/0.npy    in NumPy's format 1.0, C-contiguous, little-endian
    arrays/1.npy
"""

from __future__ import annotations

import hashlib
import json
import struct
import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from tapegrad.ops.axes import size_of
from tapegrad.spec import BOOL, DTYPES, MAX_DIMS
from tapegrad.tape import TapeError

__all__ = ["LARGEST_FILE", "pack", "unpack"]

COMMENT = b"tapegrad tape, SHA-256 of the bytes before: "
DIGEST = 64  # hexadecimal digits
LIMIT = (1 << 32) - 1  # bytes: what a zip archive without extensions can hold
MOST_MEMBERS = (1 << 16) - 1
LARGEST_FILE = LIMIT + (1 << 24)  # members, and what describes them
HEADER = "header.json"

LOCAL = struct.Struct("<4s5H3I2H")
CENTRAL = struct.Struct("<4s6H3I5H2I")
END = struct.Struct("<4s4H2IH")
DATE = (1 << 5) | 1  # 1 January 1980
BY_NAME = {d.name: d for d in DTYPES}


# --- arrays ---------------------------------------------------------------------------------------


def _npy_header(dtype: np.dtype, shape: tuple[int, ...]) -> bytes:
    """What comes before an array's elements in NumPy's format 1.0."""
    kind = dtype.newbyteorder("<").str
    text = f"{{'descr': {kind!r}, 'fortran_order': False, 'shape': {shape!r}, }}"
    text += " " * (-(10 + len(text) + 1) % 64) + "\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text.encode("ascii")


def _array_bytes(array: np.ndarray) -> bytes:
    little = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
    return _npy_header(array.dtype, array.shape) + little.tobytes()


def _array_of(name: str, data: memoryview, described: Any) -> np.ndarray:
    """The array of a member, which must be what the header says it is."""
    ok = isinstance(described, list) and len(described) == 2 and isinstance(described[1], list)
    _require(ok and isinstance(described[0], str) and described[0] in BY_NAME, f"{name}: no such dtype")
    dtype, lengths = BY_NAME[described[0]], described[1]
    ok = len(lengths) <= MAX_DIMS and all(type(n) is int and 0 <= n <= LIMIT for n in lengths)
    _require(ok, f"{name}: no such shape")
    shape = tuple(lengths)
    start = _npy_header(dtype, shape)
    size = size_of(shape) * dtype.itemsize
    _require(
        len(data) == len(start) + size and data[: len(start)] == start,
        f"{name}: not {dtype} of shape {shape}",
    )
    array = np.frombuffer(data[len(start) :], dtype.newbyteorder("<")).reshape(shape)
    # NumPy counts truths by adding bytes up, so any other byte would do harm there
    _require(
        dtype != BOOL or not size or int(array.view(np.uint8).max()) <= 1, f"{name}: bytes that are no truths"
    )
    return array.astype(dtype)  # a copy: aligned, writeable, and in this machine's byte order


# --- the archive ----------------------------------------------------------------------------------


def _archive(members: Sequence[tuple[str, bytes | memoryview]]) -> bytes:
    """The archive of some members, its digest still zeros."""
    parts: list[bytes | memoryview] = []
    central, at = b"", 0
    for name, data in members:
        raw = name.encode("ascii")
        crc, n = zlib.crc32(data), len(data)
        if at + n > LIMIT or len(members) > MOST_MEMBERS:
            raise ValueError("save: the recorded paths and their arrays are larger than 4 GiB, or too many")
        parts += [LOCAL.pack(b"PK\3\4", 20, 0, 0, 0, DATE, crc, n, n, len(raw), 0), raw, data]
        central += (
            CENTRAL.pack(b"PK\1\2", 20, 20, 0, 0, 0, DATE, crc, n, n, len(raw), 0, 0, 0, 0, 0, at) + raw
        )
        at += LOCAL.size + len(raw) + n
    count = len(members)
    if at > LIMIT:
        raise ValueError("save: the recorded paths and their arrays are larger than 4 GiB")
    end = END.pack(b"PK\5\6", 0, 0, count, count, len(central), at, len(COMMENT) + DIGEST)
    return b"".join([*parts, central, end, COMMENT, b"0" * DIGEST])


def pack(header: dict[str, Any], arrays: Sequence[np.ndarray]) -> bytes:
    """The bytes of a file.

    Parameters
    ----------
    header : dict
        What JSON can hold; ``arrays`` is added to it.
    arrays : sequence of ndarray
        Of the dtypes that tapegrad computes with.

    Raises
    ------
    ValueError
        If they are larger than 4 GiB.

    Examples
    --------
    >>> import numpy as np
    >>> from tapegrad.saved.container import pack, unpack
    >>> unpack(pack({"name": "f"}, [np.arange(3.0)]))
    ({'name': 'f'}, [array([0., 1., 2.])])
    """
    described = [[a.dtype.name, list(a.shape)] for a in arrays]
    text = json.dumps({**header, "arrays": described}, sort_keys=True, separators=(",", ":"), allow_nan=False)
    members: list[tuple[str, bytes | memoryview]] = [(HEADER, text.encode("ascii"))]
    members += [(f"arrays/{k}.npy", _array_bytes(a)) for k, a in enumerate(arrays)]
    data = _archive(members)
    return data[:-DIGEST] + _digest(data)


def _digest(data: bytes) -> bytes:
    return hashlib.sha256(memoryview(data)[:-DIGEST]).hexdigest().encode("ascii")


def unpack(data: bytes) -> tuple[dict[str, Any], list[np.ndarray]]:
    """Header and arrays of a file's bytes.

    Raises
    ------
    TapeError
        If they are not exactly what `pack` makes.
    """
    _require(len(data) > END.size + len(COMMENT) + DIGEST, "it is too short")
    mark = data[-DIGEST - len(COMMENT) : -DIGEST]
    _require(mark == COMMENT, "it is no saved tape, or its end is missing")
    _require(_digest(data) == data[-DIGEST:], "its SHA-256 does not match")
    members = _members(memoryview(data))
    _require(_archive(members)[:-DIGEST] == data[:-DIGEST], "it is not the archive of its members")
    _require(len(members) > 0 and members[0][0] == HEADER, f"{HEADER} is missing")
    header = _header(bytes(members[0][1]))
    described = header.pop("arrays", None)
    ok = isinstance(described, list) and len(described) == len(members) - 1
    _require(ok, "its arrays are not those of its header")
    arrays = []
    for k, ((name, content), shape) in enumerate(zip(members[1:], described)):
        _require(name == f"arrays/{k}.npy", f"{name!r} is not expected")
        arrays.append(_array_of(name, memoryview(content), shape))
    return header, arrays


def _members(data: memoryview) -> list[tuple[str, bytes | memoryview]]:
    """The members, by their local headers; that nothing else is in the file is checked afterwards."""
    members: list[tuple[str, bytes | memoryview]] = []
    at = 0
    while bytes(data[at : at + 4]) == b"PK\3\4" and at + LOCAL.size <= len(data):
        *_, size, length, _ = LOCAL.unpack_from(data, at)
        start = at + LOCAL.size + length
        _require(length <= 64 and start + size <= len(data), "a member reaches beyond the end")
        name = bytes(data[at + LOCAL.size : start])
        _require(name.isascii(), "a member's name is not ASCII")
        members.append((name.decode("ascii"), data[start : start + size]))
        _require(len(members) <= MOST_MEMBERS, "too many members")
        at = start + size
    return members


def _header(raw: bytes) -> dict[str, Any]:
    try:
        header = json.loads(raw.decode("ascii"), object_pairs_hook=_unique, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise TapeError(f"{HEADER} cannot be read: {error}") from None
    _require(isinstance(header, dict), f"{HEADER} is no object")
    return header


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key stands twice")
    return found


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no number")


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise TapeError(message)
