"""Writes the generated parts of README.md: each lies between two marker comments.

What can be generated is generated: the reference from the configuration's schema, the
fields of a NodePool from its schema, the variables from `k3os build --help`, the targets from
`make help`. A unit test keeps them equal.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path

from k3os.system.files import atomic_write
from k3os.system.run import run

ROOT = Path(__file__).resolve().parents[1]


def reference() -> str:
    from k3os.config.reference import markdown

    return markdown()


def targets() -> str:
    output = run(["make", "--no-print-directory", "-C", str(ROOT), "help"]).decode()
    lines = [line[2:] for line in output.splitlines() if line.startswith("  make ")]
    return fenced(lines)


def build_variables() -> str:
    from k3os.cli.build import EPILOG

    text = EPILOG.partition("variables:\n")[2].partition("\n\n")[0]
    return fenced([line[2:] for line in text.splitlines()])


def nodepool() -> str:
    from k3os.operator.reference import markdown

    return markdown()


def metrics() -> str:
    from k3os.operator.metrics import NAMES

    rows = [f"| `{name}` | {what} |" for name, what in NAMES.items()]
    return "\n".join(["| metric | |", "|---|---|", *rows])


def fenced(lines: list[str]) -> str:
    return "\n".join(["```text", *lines, "```"])


GENERATED: dict[str, Callable[[], str]] = {
    "metrics": metrics,
    "nodepool": nodepool,
    "reference": reference,
    "targets": targets,
    "variables": build_variables,
}


def markers(name: str) -> tuple[str, str]:
    """The comments around a generated part; `k3os config reference` prints its own."""
    if name == "reference":
        from k3os.config.reference import BEGIN, END

        return BEGIN, END
    return f"<!-- {name}:begin -->", f"<!-- {name}:end -->"


def with_generated_parts(text: str) -> str:
    """README's text with each generated part as it should be now."""
    for name, generate in GENERATED.items():
        begin, end = markers(name)
        pattern = re.compile(re.escape(begin) + ".*?" + re.escape(end), re.DOTALL)
        inner = generate().strip().removeprefix(begin).removesuffix(end).strip()
        part = f"{begin}\n\n{inner}\n\n{end}"
        text, count = pattern.subn(lambda _, part=part: part, text)
        if count != 1:
            raise SystemExit(f"README.md must have the markers of {name!r} once, not {count} times")
    return text


def main() -> None:
    path = ROOT / "README.md"
    old = path.read_text()
    new = with_generated_parts(old)
    if new != old:
        atomic_write(str(path), new.encode())
        print("README.md: generated parts written")


if __name__ == "__main__":
    sys.exit(main())
