"""Immutable classes of named fields, like those of `@dataclass(frozen=True)`.

For commands that a node runs again and again, such as `k3os report`: dataclasses imports `inspect`
and compiles code for each class, together a quarter of that command's start. Elsewhere dataclasses
are fine, and can do more. The fields are a class's annotations, as there
(docs.python.org/3/library/dataclasses.html).
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from dataclasses import field as field
    from typing import Any, ClassVar, TypeVar, dataclass_transform

    Any_Frozen = TypeVar("Any_Frozen", bound="Frozen")
else:

    class field:  # noqa: N801  # as it is called there
        """The default of a field that is created for each object."""

        def __init__(self, *, default_factory: Callable[[], object]) -> None:
            self.default_factory = default_factory

    def dataclass_transform(**_: object) -> Callable[[type], type]:
        """For type checkers only."""
        return lambda cls: cls


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
class Frozen:
    """The base of such a class. Objects are equal if their class and their fields are."""

    field_names: ClassVar[tuple[str, ...]] = ()

    def __init_subclass__(cls) -> None:
        own = vars(cls).get("__annotations__", {})
        cls.field_names = (*dict.fromkeys((*cls.field_names, *own)),)

    def __init__(self, *given: Any, **named: Any) -> None:
        cls = type(self)
        if len(given) > len(cls.field_names):
            raise TypeError(f"{cls.__name__} has {len(cls.field_names)} fields, not {len(given)}")
        values = self.__dict__  # bypasses __setattr__
        values.update(zip(cls.field_names, given, strict=False))
        for name, value in named.items():
            if name in values or name not in cls.field_names:
                raise TypeError(f"{cls.__name__} has no field {name}, or it is given twice")
            values[name] = value
        for name in cls.field_names:
            if name not in values:
                values[name] = _default(cls, name)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"{type(self).__name__}.{name} cannot be changed")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"{type(self).__name__}.{name} cannot be removed")

    def _values(self) -> tuple[Any, ...]:
        return tuple(self.__dict__[name] for name in self.field_names)

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return self._values() == other._values()

    def __hash__(self) -> int:
        return hash(self._values())

    def __repr__(self) -> str:
        shown = (f"{name}={self.__dict__[name]!r}" for name in self.field_names)
        return f"{type(self).__qualname__}({', '.join(shown)})"


def _default(cls: type, name: str) -> object:
    try:
        default = getattr(cls, name)
    except AttributeError:
        raise TypeError(f"{cls.__name__} wants the field {name}") from None
    return default.default_factory() if isinstance(default, field) else default  # type: ignore[arg-type]


def replace(known: Any_Frozen, **changes: Any) -> Any_Frozen:
    """A copy with other values of some fields."""
    return type(known)(**{**known.__dict__, **changes})
