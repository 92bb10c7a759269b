"""Files of a machine need not be UTF-8: nodes never read them in a way that an invalid byte can
stop."""

from __future__ import annotations

import ast
from pathlib import Path

SRC = Path(__file__).parents[3] / "src" / "k3os"
BUILDERS = {"image", "operator", "vm"}
# these handle it: k3s cannot read such a file, either; our own record is JSON
STRICT = {"cluster/config_trial.py", "k3s/settings.py"}


def strict_reads(path: Path) -> list[int]:
    """The lines with open(…) in text mode without errors=."""
    found = []
    for call in ast.walk(ast.parse(path.read_text())):
        if not (isinstance(call, ast.Call) and isinstance(call.func, ast.Name)):
            continue
        if call.func.id != "open" or any(each.arg == "errors" for each in call.keywords):
            continue
        mode = ast.unparse(call.args[1]) if len(call.args) > 1 else "'r'"
        if mode.strip("'\"") in ("r", "r+"):
            found.append(call.lineno)
    return found


def test_every_text_that_a_node_reads_may_have_any_byte() -> None:
    found = []
    for path in sorted(SRC.rglob("*.py")):
        name = str(path.relative_to(SRC))
        if name.split("/")[0] not in BUILDERS and name not in STRICT:
            found += [f"{name}:{line}" for line in strict_reads(path)]
    assert found == []
