"""libyaml's parser, as PyYAML binds it (pyyaml.org, `yaml.CParser`), without the rest of PyYAML.

`import yaml` compiles regular expressions and loads a second parser, constructors and emitters: a
third of the time of `k3os config --dump`, and again in the initrd and in every later phase. The
extension itself needs only the package's classes of tokens, events, nodes and errors. So it gets a
package with just these, which turns into the whole of PyYAML as soon as anything else is used: for
everybody else, `import yaml` works as usual.
"""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from importlib.machinery import ModuleSpec
    from types import ModuleType
    from typing import Any

# quick to import; the extension uses their classes
LIGHT = ("error", "tokens", "events", "nodes")
# slow to import; the extension only raises one exception class of each
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
    """YAMLError; of its subclasses only the attributes are guaranteed."""
    _parser()
    from yaml.error import YAMLError

    return YAMLError


def _parser() -> Callable[[str], Any]:
    if "yaml" not in sys.modules:
        # what `import` does, without importlib.util and its imports
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
    """Create the package, and let the extension import from it."""
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
    """Instead of the modules HEAVY: objects with their exception classes, or with classes that have
    the same attributes."""
    error = sys.modules["yaml.error"]

    def begin(self: Any, name: str, position: int, *_: object) -> None:
        self.name, self.position = name, position

    reader = type("ReaderError", (error.YAMLError,), {"__init__": begin})
    for name, of_it in HEAVY.items():
        known = reader if name == "reader" else error.MarkedYAMLError
        setattr(package, name, type(name, (), {of_it: known}))


def _completed(package: ModuleType, name: str) -> object:
    """Load the whole package, and return an attribute. Raises AttributeError."""
    del package.__dict__["__getattr__"]
    spec = package.__spec__
    assert spec is not None and spec.loader is not None
    spec.loader.exec_module(package)
    for module, error in HEAVY.items():
        setattr(sys.modules["yaml._yaml"], error, getattr(sys.modules[f"yaml.{module}"], error))
    return getattr(package, name)
