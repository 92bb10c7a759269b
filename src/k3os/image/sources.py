"""Which of our own modules a stage's result can depend on: those that its builder imports.

It reads imports and runs nothing. Modules that only start programs, wait and report do not change a
result and are left out: otherwise a better message would rebuild a kernel. Settings that change a
result are in the stage's key by value.
"""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

import k3os

ROOT = Path(k3os.__file__).parent
NEUTRAL = (
    *("k3os.errors", "k3os.image.cache", "k3os.image.emulation", "k3os.image.progress"),
    *("k3os.image.settings", "k3os.image.sources", "k3os.system"),
)


def closure(*modules: str, root: Path = ROOT) -> list[Path]:
    """The files of these modules ("k3os.image.iso") and of everything they import, in order."""
    found: dict[str, Path] = {}
    waiting = list(modules)
    while waiting:
        name = waiting.pop()
        if name not in found and not is_neutral(name):
            found[name] = path_of(name, root)
            waiting += imports(found[name], root)
    return [path for _, path in sorted(found.items())]


def is_neutral(name: str) -> bool:
    return any(name == each or name.startswith(f"{each}.") for each in NEUTRAL)


def path_of(name: str, root: Path) -> Path:
    """Raises ValueError if it is not one of our modules."""
    path = root.joinpath(*name.split(".")[1:])
    for candidate in (path.with_suffix(".py"), path / "__init__.py"):
        if candidate.is_file():
            return candidate
    raise ValueError(f"{name} is not a module below {root}")


@cache
def imports(path: Path, root: Path) -> tuple[str, ...]:
    """Our modules that a file imports, anywhere in it, except for type checking only."""
    found: dict[str, None] = {}
    waiting: list[ast.AST] = [ast.parse(path.read_text())]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            waiting += node.orelse
            continue
        waiting += ast.iter_child_nodes(node)
        if isinstance(node, ast.Import):
            found |= dict.fromkeys(each.name for each in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found |= dict.fromkeys(_meant(node.module, each.name, root) for each in node.names)
    return tuple(name for name in found if name.partition(".")[0] == "k3os")


def _meant(module: str, name: str, root: Path) -> str:
    """`from a import b`: the module a.b if it exists, else a."""
    if module.partition(".")[0] != "k3os":
        return module
    try:
        path_of(f"{module}.{name}", root)
    except ValueError:
        return module
    return f"{module}.{name}"
