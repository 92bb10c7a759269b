"""Advice before a configuration is used: on values that are formally right and that a node would
accept, but that k3s, a file or the system behind them would not.

Imported where somebody waits for an answer (check, build, installation), not at boot.
"""

from __future__ import annotations

from k3os.config.unknown import QUOTE, hidden_in
from k3os.config.unmeant import MARKS
from k3os.config.value import Problem, Value, numbered

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

# keys in which such a text may be intended
FREE = (
    "k3os.manifests",
    "write_files",
    "init_cmd",
    "boot_cmd",
    "run_cmd",
    "ready_cmd",
    "k3os.upgrade.check",
)
LONGEST_PLACEHOLDER = 60
FALLBACKS = ("live", "install", "shell")


def advice(values: dict[str, Value], k3s_version: str = "") -> list[Problem]:
    """Warnings and errors beyond those of the check itself. values: of one source, or of all.

    k3s_version: of the k3s that will read them, "" if unknown.
    """
    from k3os.config import by_version, elsewhere, k3s_data, kernel_args, tokens, unusable

    problems = [*contents(values), *elsewhere.files(values), *elsewhere.commands(values)]
    problems += [
        *templates(values),
        *mirror(values),
        *unusable.check(values),
        *kernel_args.advice(values),
        *tokens.check(values),
        *by_version.check(values, k3s_version),
        *k3s_data.of_tools(values, k3s_version),
    ]
    arguments = values.get("k3os.k3s_args")
    if arguments is not None and isinstance(arguments.data, list):
        from k3os.config.k3s_words import check

        problems += check(arguments.data, k3s_version, joins="k3os.server_url" in values)
        problems += logins(arguments.data)
    return problems


def logins(arguments: list[Value]) -> Iterator[Problem]:
    """Passwords in addresses in k3s' arguments for which k3s has no file option."""
    from k3os.config.k3s_flags import secrets_in
    from k3os.errors import discreet

    words = [str(item.data) for item in arguments]
    closed = {at for start, count, *_ in secrets_in(words) for at in range(start, start + count)}
    for at, (item, text) in enumerate(zip(arguments, words, strict=True)):
        if at not in closed and discreet(text, whole=True) != text:
            name = text.partition("=")[0] if text.startswith("-") and "=" in text else "an argument"
            message = f"{name} has a password in it, which everybody on the node can read"
            hint = "for snapshots keep it in a Secret: etcd-s3-config-secret"
            yield Problem(item.place, "k3os.k3s_args", message, hint, is_error=False)


def contents(values: dict[str, Value]) -> Iterator[Problem]:
    """Contents declared as base64 or gzip that are not."""
    from k3os.config.contents import decode

    value = values.get("write_files")
    for index, item in numbered(value):
        assert isinstance(item.data, dict)
        encoding, content = item.data.get("encoding"), item.data.get("content")
        if encoding is None or content is None or not encoding.data:
            continue
        try:
            decode(str(content.data), str(encoding.data))
        except ValueError as error:
            message = str(error).removeprefix("the content ")
            hint = "leave encoding out where the content is a text"
            yield Problem(content.place, f"write_files[{index}].content", message, hint)


def mirror(values: dict[str, Value]) -> Iterator[Problem]:
    """A k3s mirror over plain http, if no checksum is pinned."""
    given = values.get("k3os.environment")
    url = given.data.get("K3S_RELEASES") if given and isinstance(given.data, dict) else None
    if url is None or not str(url.data).lower().startswith("http://"):
        return
    if "k3os.k3s_sums" in values or "k3os.k3s_insecure_http" in values:
        return
    message = "uses http: a k3s from there is refused unless its sum is pinned"
    hint = "write https://, or k3os.k3s_sums (`k3os k3s sums VERSION`)"
    yield Problem(url.place, "k3os.environment.K3S_RELEASES", message, hint, is_error=False)


def templates(values: dict[str, Value]) -> Iterator[Problem]:
    """Placeholders not filled in (`{{ name }}`, `<name>`), and characters that nobody types."""
    for path, value in values.items():
        for name, item, text in _texts(path, value):
            if path in FREE and not name.endswith("].path"):
                continue
            stands = text.strip()
            is_name = stands.startswith("<") and stands.endswith(">")
            if any(mark in text for mark in MARKS[1:]) or (
                is_name and len(stands) < LONGEST_PLACEHOLDER
            ):
                message = "is a template that nobody filled in"
                yield Problem(item.place, name, message, "write the value", is_error=False)
            elif path == "k3os.k3s_args":
                continue
            elif hidden_in(stands[:1]) == QUOTE:
                message = f"begins with {QUOTE}, which is part of the text"
                yield Problem(item.place, name, message, "type the quotes again", is_error=False)
            elif (hidden := hidden_in(text)) and hidden != QUOTE:  # a network may be called Anna’s
                message = f"has {hidden} in it, which is part of the text"
                yield Problem(item.place, name, message, "type it again", is_error=False)


def _texts(path: str, value: Value) -> Iterator[tuple[str, Value, str]]:
    """Path, value and text of each text in a value, however deep."""
    todo = [(path, value)]
    while todo:
        name, item = todo.pop(0)
        if isinstance(item.data, dict):
            todo += [(f"{name}.{key}", each) for key, each in item.data.items()]
        elif isinstance(item.data, list):
            todo += [(f"{name}[{number}]", each) for number, each in numbered(item)]
        elif isinstance(item.data, str):
            yield name, item, item.data


def of_cmdline(text: str) -> list[Problem]:
    """What the boot itself would not understand on a kernel command line."""
    from k3os.config.cmdline import SOURCE, boot_options, split
    from k3os.config.schema import MODES, SECTIONS
    from k3os.config.value import Place

    problems = []

    def wrong(name: str, message: str, hint: str) -> None:
        problems.append(Problem(Place(f"{SOURCE}: {name}"), name, message, hint))

    given = boot_options(text)
    for name, modes in (("k3os.mode", MODES), ("k3os.fallback_mode", FALLBACKS)):
        mode = given.get(name, "")
        if mode and mode not in modes:
            from k3os.config.spelling import nearest

            likely = nearest(mode, modes)
            hint = f"did you mean {likely}?" if likely else f"known: {', '.join(modes)}"
            wrong(name, f"`{mode}` is unknown", hint)
    problems += _twice(split(text))
    for name, value in split(text):
        if name in SECTIONS[1:]:
            meant = "device" if (value or "").startswith("/dev/") else "KEY"
            hint = f"write {name}.{meant}={value or '…'}"
            wrong(name, "is not a key, but has keys below it", hint)
    return problems


def _twice(given: list[tuple[str, str | None]]) -> Iterator[Problem]:
    """A warning for each single-valued key that is given twice."""
    from k3os.config.cmdline import LISTS, NESTED, SOURCE
    from k3os.config.schema import TABLE
    from k3os.config.spelling import fold
    from k3os.config.value import Place

    single = {fold(key.path) for key in TABLE if key.kind not in LISTS + NESTED}
    first: dict[str, str | None] = {}
    for name, value in given:
        key = fold(name)
        if key in single and first.setdefault(key, value) != value:
            message = "is given twice; the last counts"
            yield Problem(Place(f"{SOURCE}: {name}"), name, message, "remove one", is_error=False)
