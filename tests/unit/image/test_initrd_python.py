"""The initrd's Python has everything that checking the configuration imports, which it does,
too."""

import ast
from pathlib import Path

import pytest

import k3os.config
from k3os.image.initrd import UNUSED_PYTHON

# for checking and converting files, and for documentation: no phase imports them
ELSEWHERE = ("migrate.py", "reference.py", "jsonschema.py")
LEFT_OUT = {name.removesuffix(".py") for name in UNUSED_PYTHON}
CHECKS = [
    path
    for path in sorted(Path(k3os.config.__path__[0]).glob("*.py"))
    if path.name not in ELSEWHERE
]


@pytest.mark.parametrize("path", CHECKS, ids=lambda path: path.name)
def test_a_check_finds_what_it_imports_in_the_initrd(path: Path) -> None:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add((node.module or "").partition(".")[0])
    assert not found & LEFT_OUT
