"""Why a text is not YAML: the cause, not the place where the parser noticed it.

Imported only if a text cannot be parsed.
"""

from __future__ import annotations

from k3os.config.unknown import hidden_in
from k3os.config.unmeant import FILL_IN, MARKS, TEMPLATE
from k3os.config.value import Place, Problem

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

# the parser's message -> what is wrong, what to write
EXPLAINED = (
    (
        "mapping values are not allowed",
        "a second `:` in one line, or a wrong indentation",
        "put a text that contains `: ` in quotes",
    ),
    (
        "could not find expected ':'",
        "this line is not `key: value`",
        "write `key: value`, or indent the line if it continues a text",
    ),
    ("did not find expected key", "the indentation is wrong", "align it with the keys above"),
    ("did not find expected '-'", "a list item is missing its `-`", "begin each item with `- `"),
    ("cannot start any token", "a text cannot begin with this character", "put it in quotes"),
)


def explain(error: Exception, text: str, source: str, too_deep: str) -> Problem:
    """The problem of a YAMLError."""
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    if mark is None:  # a character that YAML does not allow; the error has only its position
        position = int(getattr(error, "position", 0) or 0)
        line = text.count("\n", 0, position) + 1
        column = position - text.rfind("\n", 0, position)
        message = "there is a control character here"
        hint = 'write it as an escape in double quotes, e.g. "\\x01"'
        return Problem(Place(source, line, column), "", message, hint)
    said = str(getattr(error, "problem", "") or getattr(error, "context", ""))
    if "maximum nesting depth" in said:  # newer versions of libyaml have their own limit
        return Problem(Place(source, mark.line + 1, mark.column + 1), "", too_deep)
    lines = text.splitlines()
    place, message, hint = _cause(error, mark, said, lines, text)
    line, column = place
    return Problem(Place(source, line + 1, column + 1), "", f"is not YAML: {message}", hint)


_Cause = tuple[tuple[int, int], str, str]


def _cause(error: Exception, mark: Any, said: str, lines: list[str], text: str) -> _Cause:
    here = (mark.line, mark.column)
    line = lines[mark.line] if mark.line < len(lines) else ""
    if "\t" in line[: mark.column + 1] and not line[: mark.column].strip():
        return here, "there is a tab in the indentation", "use spaces"
    opened = getattr(error, "context_mark", None)
    what = str(getattr(error, "context", ""))
    if "quoted scalar" in what and opened is not None:
        return _at(opened), "a quote that is opened here is never closed", "close the quote"
    if (quote := _open_quote(text, mark)) is not None:
        message = f"a quote that is opened here ends in line {quote[1] + 1} only"
        return quote[0], message, "close the quote where its text ends"
    for number in (mark.line, mark.line - 1):
        near = lines[number] if 0 <= number < len(lines) else ""
        if hidden := hidden_in(near):
            return (
                (number, _first_strange(near)),
                f"there is {hidden} in this line",
                "type it again",
            )
    if any(sign in line for sign in MARKS):
        return here, f"this line {TEMPLATE}", FILL_IN
    if "expected ',' or" in said and opened is not None:
        bracket = line_of(lines, opened.line)[opened.column : opened.column + 1]
        message = f"a `{bracket}` that is opened here is never closed, or a comma is missing"
        return _at(opened), f"{message} before line {mark.line + 1}", "close the bracket"
    return _from_table(said, here, line)


def _from_table(said: str, here: tuple[int, int], line: str) -> _Cause:
    item = line.strip()
    head = item.removeprefix("- ").partition(": ")[0]
    if "mapping values" in said and item.startswith("- ") and "'" not in head:
        hint = f"put the line in quotes: `- '{head}: …'`"
        return here, "a second `:` in one line", hint
    for part, message, hint in EXPLAINED:
        if part in said:
            return here, message, hint
    return here, said, ""


def line_of(lines: list[str], number: int) -> str:
    return lines[number] if number < len(lines) else ""


def _at(mark: Any) -> tuple[int, int]:
    return mark.line, mark.column


def _first_strange(line: str) -> int:
    return next(index for index, sign in enumerate(line) if hidden_in(sign))


def _open_quote(text: str, mark: Any) -> tuple[tuple[int, int], int] | None:
    """Start and last line of a quoted text that ends, lines later, just before the parser gave up:
    its author probably meant to close it earlier."""
    import yaml

    loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    quoted = None
    try:
        for token in yaml.scan(text, Loader=loader):
            if (token.start_mark.line, token.start_mark.column) >= _at(mark):
                break
            if getattr(token, "style", None) in ("'", '"'):
                quoted = token
    except yaml.YAMLError:
        pass  # the actual mistake: only what precedes it matters
    if quoted is None or quoted.start_mark.line == quoted.end_mark.line:
        return None
    if mark.line - quoted.end_mark.line > 1:
        return None
    return _at(quoted.start_mark), quoted.end_mark.line
