"""Nested containers: taking apart, putting together, comparing structures."""

from collections import OrderedDict, namedtuple
from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tapegrad.tree import LEAF, flatten, tree_map

Point = namedtuple("Point", "x y")
Other = namedtuple("Other", "x y")


@dataclass(frozen=True)
class Frozen:
    a: float
    b: object = None


@dataclass
class Counted:
    a: float
    made: int = field(default=0, init=False)

    def __post_init__(self):
        self.made += 1


def leaves():
    return st.one_of(st.floats(allow_nan=False), st.integers(), st.text(max_size=3), st.none())


def containers():
    return st.recursive(
        leaves(),
        lambda inner: st.one_of(
            st.lists(inner, max_size=3),
            st.lists(inner, max_size=3).map(tuple),
            st.dictionaries(st.text(max_size=2), inner, max_size=3),
            st.tuples(inner, inner).map(lambda p: Point(*p)),
            st.tuples(st.floats(allow_nan=False), inner).map(lambda p: Frozen(*p)),
        ),
        max_leaves=12,
    )


@given(containers())
def test_round_trip(value):
    found, structure = flatten(value)
    assert len(found) == structure.count == len(structure.paths())
    again = structure.unflatten(found)
    assert again == value
    assert type(again) is type(value)


@given(containers(), containers())
def test_structures_are_equal_exactly_when_containers_are_alike(a, b):
    def shape(value):
        if isinstance(value, dict):
            return dict, tuple((k, shape(value[k])) for k in sorted(value))
        if isinstance(value, (tuple, list)):
            return type(value), tuple(map(shape, value))
        if isinstance(value, Frozen):
            return Frozen, shape(value.a), shape(value.b)
        return "leaf"

    first, second = flatten(a)[1], flatten(b)[1]
    assert (first == second) == (shape(a) == shape(b))
    if first == second:
        assert hash(first) == hash(second)


def test_order_of_dicts_does_not_matter():
    a, first = flatten({"x": 1.0, "y": 2.0})
    b, second = flatten({"y": 2.0, "x": 1.0})
    assert (a, first) == (b, second)


def test_keys_of_other_types():
    assert flatten({2: "b", 1: "a"})[1].unflatten([10, 20]) == {2: 10, 1: 20}


def test_named_tuples_of_different_types_differ():
    assert flatten(Point(1, 2))[1] != flatten(Other(1, 2))[1]
    assert flatten(Point(1, 2))[1] != flatten((1, 2))[1]


def test_an_array_is_a_leaf():
    x = np.ones(3)
    found, structure = flatten(x)
    assert found[0] is x
    assert structure is LEAF


def test_dataclass_is_rebuilt_without_running_its_init():
    value = Counted(1.0)
    found, structure = flatten(value)
    assert found == [1.0, 1]
    again = structure.unflatten([2.0, 1])
    assert (again.a, again.made) == (2.0, 1)


def test_class_itself_is_a_leaf():
    assert flatten(Frozen)[1] is LEAF


def test_ordered_dict_becomes_a_dict():
    assert flatten(OrderedDict(b=1, a=2))[1] == flatten({"a": 2, "b": 1})[1]


def test_paths_name_the_leaves():
    _, structure = flatten((1, {"k": [2, Point(3, Frozen(4.0))]}))
    assert structure.paths() == ["[0]", "[1]['k'][0]", "[1]['k'][1].x", "[1]['k'][1].y.a", "[1]['k'][1].y.b"]


def test_repr_shows_the_nesting():
    assert repr(flatten((1, [2], {"a": Point(3, 4)}))[1]) == "(*, [*], {'a': Point(x=*, y=*)})"


def test_wrong_number_of_leaves():
    _, structure = flatten((1, 2))
    with pytest.raises(ValueError, match=r"unflatten: \(\*, \*\) has 2 leaves, not 3"):
        structure.unflatten([1, 2, 3])


def test_container_that_holds_itself():
    value = []
    value.append(value)
    with pytest.raises(ValueError, match="holds itself"):
        flatten(value)


def test_tree_map():
    assert tree_map(lambda x: x + 1, {"a": (1, [2])}) == {"a": (2, [3])}
