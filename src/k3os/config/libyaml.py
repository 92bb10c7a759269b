"""libyaml's parser, as PyYAML binds it (pyyaml.org, `yaml.CParser`), without the rest of PyYAML.

`import yaml` compiles regular expressions and brings a second parser, constructors and emitters:
a third of the time of `k3os config --dump`, paid again in the initrd and in every later phase.
The extension itself wants no more of its package than classes of tokens, events, nodes and errors.
So it gets a package that has these, and that becomes the whole of PyYAML as soon as anybody asks it
for anything else: `import yaml` is for everybody what it always was.
"""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from importlib.machinery import ModuleSpec
    from types import ModuleType
    from typing import Any

# these are quick to import, and the extension takes its classes from them
LIGHT = ("error", "tokens", "events", "nodes")
# these are not, and it takes one class of each, which it raises
HEAVY = {
    "reader": "ReaderError",
    "scanner": "ScannerError",
    "parser": "ParserError",
    "composer": "ComposerError",
    "constructor": "ConstructorError",
    "emitter": "EmitterError",
    "serializer": "SerializerError",
    "representer": "RepresenterError",
}


def events(text: str) -> Iterator[Any]:
    """The events of a text, as `yaml.parse` gives them. Raises what `error_class` returns."""
    parser = _parser()(text)
    try:
        while parser.check_event():
            yield parser.get_event()
    finally:
        parser.dispose()


def error_class() -> type[Exception]:
    """YAMLError; of its subclasses only the attributes are the known ones."""
    _parser()
    from yaml.error import YAMLError

    return YAMLError


def _parser() -> Callable[[str], Any]:
    if "yaml" not in sys.modules:
        # the protocol of `import`, without importlib.util and what that imports
        found = (finder.find_spec("yaml", None) for finder in sys.meta_path)
        spec = next(filter(None, found), None)
        if spec is not None:
            _import_light(spec)
    import yaml

    try:
        from yaml._yaml import CParser
    except ImportError:  # a PyYAML without libyaml
        return yaml.SafeLoader
    return CParser


def _import_light(spec: ModuleSpec) -> None:
    """Make the package, and have the extension look into it."""
    package = type(sys)("yaml")
    package.__spec__, package.__loader__, package.__file__ = spec, spec.loader, spec.origin
    package.__path__ = list(spec.submodule_search_locations or ())
    package.__package__ = "yaml"
    sys.modules["yaml"] = package
    try:
        for name in LIGHT:
            __import__(f"yaml.{name}")
        _lend_errors(package)
        __import__("yaml._yaml")
    except ImportError:
        for name in [each for each in sys.modules if each.partition(".")[0] == "yaml"]:
            del sys.modules[name]
        return
    for name in HEAVY:
        delattr(package, name)
    package.__dict__["__getattr__"] = lambda name: _completed(package, name)


def _lend_errors(package: ModuleType) -> None:
    """In the place of the modules HEAVY: what has their errors' classes, or such as have the same
    attributes."""
    error = sys.modules["yaml.error"]

    def begin(self: Any, name: str, position: int, *_: object) -> None:
        self.name, self.position = name, position

    reader = type("ReaderError", (error.YAMLError,), {"__init__": begin})
    for name, of_it in HEAVY.items():
        known = reader if name == "reader" else error.MarkedYAMLError
        setattr(package, name, type(name, (), {of_it: known}))


def _completed(package: ModuleType, name: str) -> object:
    """An attribute of the whole package. Raises AttributeError."""
    del package.__dict__["__getattr__"]
    spec = package.__spec__
    assert spec is not None and spec.loader is not None
    spec.loader.exec_module(package)
    for module, error in HEAVY.items():
        setattr(sys.modules["yaml._yaml"], error, getattr(sys.modules[f"yaml.{module}"], error))
    return getattr(package, name)
