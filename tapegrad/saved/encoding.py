"""Python values, containers and source lines as JSON: what saved tapes say besides numbers.

JSON has no tuples, no bytes and no exact floats; those are objects of one key that names the kind:
``{"tuple": [1, 2]}``, ``{"float": "0x1.8p+0"}``. Nothing is imported and nothing is called to decode a
value, except that named tuples and dataclasses are looked up among the modules that are loaded already.
"""

from __future__ import annotations

import dataclasses
import sys
from typing import Any

import numpy as np

from tapegrad.tape import TapeError
from tapegrad.tree import LEAF, Structure

__all__ = ["SavedLine", "decode_structure", "decode_value", "encode_structure", "encode_value"]

NAMED_TYPES: dict[str, type] = {
    t.__name__: t for t in (bool, int, float, complex, str, bytes, tuple, list, dict, frozenset)
}
SCALARS = "biufc"
DEEPEST = 200  # how deeply containers may be nested: putting them together recurses


class SavedLine:
    """Stands for a code object where only ``file:line`` is known."""

    __slots__ = ("co_filename", "co_firstlineno")

    def __init__(self, file: str, line: int) -> None:
        self.co_filename, self.co_firstlineno = file, line

    def co_lines(self) -> list[tuple[int, int, int]]:
        """As code objects have it: every instruction belongs to the one line."""
        return [(0, 1 << 31, self.co_firstlineno)]


# --- values ---------------------------------------------------------------------------------------


def encode_value(value: Any) -> Any:
    """A number, string, tuple or the like as JSON.

    Raises
    ------
    TypeError
        If it is none of those.

    Examples
    --------
    >>> from tapegrad.saved.encoding import decode_value, encode_value
    >>> encode_value((1, 0.5))
    {'tuple': [1, {'float': '0x1.0000000000000p-1'}]}
    >>> decode_value(encode_value((1, 0.5)))
    (1, 0.5)
    """
    kind: Any = type(value)
    if value is None or kind in (bool, int, str):
        return value
    if kind is float:
        return {"float": value.hex()}
    if kind is complex:
        return {"complex": [value.real.hex(), value.imag.hex()]}
    if kind is bytes:
        return {"bytes": value.hex()}
    if kind is tuple:
        return {"tuple": [encode_value(v) for v in value]}
    if kind is frozenset:
        return {"set": sorted([encode_value(v) for v in value], key=repr)}
    if isinstance(value, np.generic) and value.dtype.kind in SCALARS:
        return {"scalar": [value.dtype.newbyteorder("<").str, value.tobytes().hex()]}
    if isinstance(value, np.dtype) and value.kind in SCALARS:
        return {"dtype": value.newbyteorder("<").str}
    if isinstance(value, type) and NAMED_TYPES.get(value.__name__) is value:
        return {"type": value.__name__}
    raise TypeError(f"a {kind.__name__} cannot be saved")


def decode_value(code: Any) -> Any:
    """The value that `encode_value` encoded.

    Raises
    ------
    TapeError
        If the JSON is not one that `encode_value` makes.
    """
    if code is None or type(code) in (bool, int, str):
        return code
    if type(code) is dict and len(code) == 1:
        ((kind, content),) = code.items()
        try:
            return _DECODERS[kind](content)
        except (KeyError, ValueError, TypeError, OverflowError):
            pass
    raise TapeError(f"{str(code)[:80]!r} is no saved value")


def _number(text: Any) -> float:
    if type(text) is not str:
        raise TypeError
    return float.fromhex(text)


def _scalar(content: Any) -> np.generic:
    name, text = content
    (value,) = np.frombuffer(bytes.fromhex(text), _dtype(name))
    return value


def _dtype(name: Any) -> np.dtype:
    if type(name) is not str or len(name) > 4 or name[1:2] not in tuple(SCALARS):
        raise TypeError
    return np.dtype(name).newbyteorder("=")


def _listed(content: Any) -> list[Any]:
    if type(content) is not list:
        raise TypeError
    return [decode_value(v) for v in content]


def _complex(content: Any) -> complex:
    real, imaginary = content
    return complex(_number(real), _number(imaginary))


_DECODERS: dict[str, Any] = {
    "float": _number,
    "complex": _complex,
    "bytes": bytes.fromhex,
    "tuple": lambda content: tuple(_listed(content)),
    "set": lambda content: frozenset(_listed(content)),
    "scalar": _scalar,
    "dtype": _dtype,
    "type": lambda content: NAMED_TYPES[content],
}


# --- containers -----------------------------------------------------------------------------------

_PLAIN = {"tuple": tuple, "list": list}


def encode_structure(structure: Structure, depth: int = 0) -> Any:
    """How leaves are nested, as JSON: ``"*"`` is a leaf.

    Raises
    ------
    TypeError
        If a key of a dict cannot be saved, or containers are nested too deeply.
    """
    if depth > DEEPEST:
        raise TypeError(f"containers nested more than {DEEPEST} deep cannot be saved")
    container: Any = structure.container
    if container is None:
        return "*"
    children = [encode_structure(c, depth + 1) for c in structure.children]
    if container in (tuple, list):
        return [container.__name__, children]
    if container is dict:
        return ["dict", [encode_value(k) for k in structure.keys], children]
    return ["named", container.__module__, container.__qualname__, list(structure.keys), children]


def decode_structure(code: Any, depth: int = 0) -> Structure:
    """The structure that `encode_structure` encoded.

    Raises
    ------
    TapeError
        If the JSON is not one that `encode_structure` makes, or the class of a named tuple or dataclass is
        not there: import its module before loading.
    """
    if code == "*":
        return LEAF
    if depth > DEEPEST:
        raise TapeError("containers are nested too deeply")
    _require(type(code) is list and len(code) > 1 and type(code[-1]) is list, "a container")
    kind = code[0]
    children = tuple([decode_structure(c, depth + 1) for c in code[-1]])
    if kind in ("tuple", "list"):
        _require(len(code) == 2, "a container")
        return Structure(_PLAIN[kind], (), children)
    if kind == "dict":
        _require(len(code) == 3 and type(code[1]) is list, "a dict")
        keys = tuple([decode_value(k) for k in code[1]])
        _require(len(set(keys)) == len(keys) == len(children), "a dict's keys")
        return Structure(dict, keys, children)
    _require(kind == "named" and len(code) == 5, "a container")
    module, name, names = code[1:4]
    ok = type(names) is list and all(type(n) is str for n in names) and len(names) == len(children)
    _require(ok and type(module) is str and type(name) is str, "a container")
    return Structure(_container(module, name, tuple(names)), tuple(names), children)


def _container(module: str, name: str, names: tuple[str, ...]) -> type:
    """A named tuple or dataclass of a module that is loaded already: a file must not import anything."""
    found: Any = sys.modules.get(module)
    for part in name.split("."):
        found = getattr(found, "__dict__", {}).get(part)
    fields: Any = None
    if isinstance(found, type) and issubclass(found, tuple):
        fields = getattr(found, "_fields", None)
    elif isinstance(found, type) and dataclasses.is_dataclass(found):
        fields = tuple([f.name for f in dataclasses.fields(found)])
    if fields != names:
        raise TapeError(
            f"it uses {module}.{name} with the fields {', '.join(names)}, which is not loaded; "
            "import its module first"
        )
    return found


def _require(condition: bool, what: str) -> None:
    if not condition:
        raise TapeError(f"{what} is not as saved tapes have it")
