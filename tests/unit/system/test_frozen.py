"""Frozen classes behave like dataclasses: each check also runs on a real dataclass."""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from k3os.system import frozen
from k3os.system.frozen import Frozen

# the same three classes in two forms
OURS = """
class Point(Frozen):
    x: int
    y: int = 2
    names: list = field(default_factory=list)
    SHARED = 3

    @property
    def sum(self):
        return self.x + self.y

class Place(Point):
    z: int = 5
    y: int = 9

class Same(Point):
    pass
"""
THEIRS = OURS.replace("(Frozen)", "").replace("class ", "@dataclass(frozen=True)\nclass ")


def classes(text: str) -> dict[str, Any]:
    found: dict[str, Any] = {"__name__": __name__}
    ours = text is OURS
    found |= {
        "Frozen": Frozen,
        "dataclass": dataclass,
        "field": frozen.field if ours else dataclasses.field,
        "replace": frozen.replace if ours else dataclasses.replace,
    }
    exec(text, found)
    return found


ASKED: dict[str, Callable[[dict[str, Any]], Any]] = {
    "repr": lambda of: repr(of["Point"](1)),
    "repr of a subclass": lambda of: repr(of["Place"](1, z=3)),
    "fields in order": lambda of: repr(of["Place"](1, 2, ["a"], 4)),
    "by name": lambda of: repr(of["Point"](names=["b"], x=4)),
    "a property": lambda of: of["Point"](1).sum,
    "what is no field": lambda of: of["Point"](1).SHARED,
    "equal": lambda of: of["Point"](1) == of["Point"](1, 2, []),
    "not equal": lambda of: of["Point"](1) == of["Point"](2),
    "of another class": lambda of: of["Point"](1) == of["Same"](1),
    "of none": lambda of: of["Point"](1) == (1, 2, []),
    "hash": lambda of: hash(of["Point"](1, 2, ())) == hash(of["Point"](1, 2, ())),
    "hash of a list": lambda of: hash(of["Point"](1)),
    "a list of its own": lambda of: of["Point"](1).names is of["Point"](1).names,
    "replace": lambda of: repr(of["replace"](of["Place"](1), y=7)),
    "replace nothing known": lambda of: of["replace"](of["Place"](1), w=7),
    "set": lambda of: setattr(of["Point"](1), "x", 2),
    "set what is no field": lambda of: setattr(of["Point"](1), "w", 2),
    "delete": lambda of: delattr(of["Point"](1), "x"),
    "none given": lambda of: of["Point"](),
    "too many": lambda of: of["Point"](1, 2, [], 4),
    "twice": lambda of: of["Point"](1, x=1),
    "unknown": lambda of: of["Point"](1, w=1),
}


@pytest.mark.parametrize("what", ASKED)
def test_it_answers_as_a_dataclass_does(what: str) -> None:
    def answer(text: str) -> object:
        try:
            return ASKED[what](classes(text))
        except (TypeError, AttributeError) as error:  # FrozenInstanceError is an AttributeError
            return TypeError if isinstance(error, TypeError) else AttributeError

    assert answer(OURS) == answer(THEIRS)


def test_an_error_names_the_class_and_the_field() -> None:
    of = classes(OURS)
    with pytest.raises(TypeError, match="Point wants the field x"):
        of["Point"]()
    with pytest.raises(TypeError, match="Point has no field w"):
        of["Point"](1, w=2)
    with pytest.raises(AttributeError, match=r"Point\.x cannot be changed"):
        of["Point"](1).x = 2
