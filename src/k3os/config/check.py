"""One source's nodes against the schema: checked values, and all problems at once.

`k3os config check` and the image build call `check_files`; it needs no root and no node.
"""

from __future__ import annotations

from k3os.config import kinds
from k3os.config.kinds import Check
from k3os.config.scalars import KIND_WORDS
from k3os.config.schema import BY_PATH, CHILDREN, SECTIONS
from k3os.config.value import Node, Place, Problem, Value, Wrong
from k3os.system.collector import uncollected

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable


def check_tree(root: Node | None) -> tuple[dict[str, Value], list[Problem]]:
    """Canonical path -> value for what is right in a source, and a problem for what is not."""
    check = Check()
    values: dict[str, Value] = {}
    if root is not None:
        _section(check, "", root, values)
        _shutdown(check, values)
        users = next((users for name, users in root.pairs if name.text == "users"), None)
        if users is not None:
            from k3os.config.cloud_init import with_users

            values = with_users(check, users, values)
    if "write_files" in values or "k3os.labels" in values:
        from k3os.config.upgrades import leftovers

        check.problems += leftovers(values)
    if "write_files" in values:
        from k3os.config.k3s_files import overwritten

        check.problems += overwritten(values)
    return values, check.problems


def _section(check: Check, section: str, node: Node, values: dict[str, Value]) -> None:
    if node.is_unset():
        return
    if node.kind != "map":
        from k3os.config.unknown import hidden_in

        strange = hidden_in(node.text)
        hint = f"there is {strange} in it: type the line again" if strange else ""
        wrong = Wrong(node.place, f"must be a map of keys, not {KIND_WORDS[node.kind]}", hint)
        check.error(section, wrong)
        return
    for path, child in kinds.resolve(check, node, CHILDREN[section], section).items():
        if path in SECTIONS:
            _section(check, path, child, values)
            continue
        value = check.value(BY_PATH[path], child, path)
        if value is not None:
            values[path] = value


def _shutdown(check: Check, values: dict[str, Value]) -> None:
    """The time for critical pods is the last part of the time for all pods."""
    whole, part = "k3os.shutdown.grace_period", "k3os.shutdown.critical_grace_period"
    if whole in values and part in values:
        from k3os.config.duration import parse

        most = str(values[whole].data)
        if parse(str(values[part].data)) > parse(most):
            message = f"is more than {whole}, which includes it"
            check.error(part, Wrong(values.pop(part).place, message, f"write {most} or less"))


def check_text(data: bytes, source: str) -> tuple[dict[str, Value], list[Problem]]:
    """Values and problems of one YAML text. Never raises."""
    from k3os.config import yamltext

    try:
        root, problems = yamltext.read(data, source)
        values, more = check_tree(root)
    except Exception as error:  # a bug triggered by one source must not lose the others
        return {}, [bug(error, source)]
    return values, problems + more


def check_cmdline(text: str) -> tuple[dict[str, Value], list[Problem]]:
    """Values and problems of a kernel command line. Never raises."""
    from k3os.config.cmdline import SOURCE, parse

    try:
        return check_tree(parse(text))
    except Exception as error:
        return {}, [bug(error, SOURCE)]


def bug(error: Exception, source: str) -> Problem:
    """The report when a bug keeps a source from being read."""
    from k3os.system.bug import report

    return Problem(Place(source), "", f"cannot be looked at: {report(error)}")


def read_limited(path: str) -> tuple[bytes, Problem | None]:
    """A file, or why not; at most one byte more than the limit, so that the excess shows."""
    from k3os.config.yamltext import LARGEST

    try:
        with open(path, "rb") as file:
            return file.read(LARGEST + 1), None
    except OSError as error:
        return b"", Problem(Place(path), "", f"cannot be read: {error.strerror}")


# keys that become files of k3s; one of them is checked for all
FILES_OF_K3S = (
    *("k3os.registries.mirrors", "k3os.registries.configs", "k3os.embedded_registry"),
    *("k3os.manifests", "k3os.kubelet", "k3os.containerd"),
)
# keys that may contradict the rest of a configuration
CONTRADICTING = (
    *("write_files", "k3os.k3s_args", "k3os.environment", "k3os.hardening", *FILES_OF_K3S),
    *("k3os.disks", "k3os.mounts"),
)


def contradictions(key: str) -> list[Callable[[dict[str, Value]], list[Problem]]]:
    """The functions that check a key of CONTRADICTING against the rest. Call it only if the key is
    set, since it imports their modules."""
    if key == "write_files":
        from k3os.config import k3s_data, k3s_files

        return [k3s_files.contradictions, k3s_data.of_files]
    if key == "k3os.k3s_args":
        from k3os.config import k3s_data, k3s_files

        return [k3s_files.contradicting, k3s_data.of_arguments]
    if key == "k3os.environment":
        from k3os.config.k3s_data import of_environment as found
    elif key == "k3os.hardening":
        from k3os.config.hardening import contradictions as found
    elif key in ("k3os.disks", "k3os.mounts"):

        def found(values: dict[str, Value]) -> list[Problem]:
            from k3os.config.storage import conflicts

            # both are checked at once
            return [] if key == "k3os.mounts" and "k3os.disks" in values else conflicts(values)

    else:
        from k3os.config.k3s_files_of_keys import contradictions as of_key

        def found(values: dict[str, Value]) -> list[Problem]:
            return of_key(key, values)

    return [found]


def check_data(data: bytes, source: str, k3s_version: str = "") -> list[Problem]:
    """Every problem of one YAML text, in the order of the text, with advice for people."""
    from k3os.config.advice import advice

    values, problems = check_text(data, source)
    for key in filter(values.__contains__, CONTRADICTING):
        for contradict in contradictions(key):
            problems += contradict(values)
    problems += advice(values, k3s_version)
    return sorted(problems, key=lambda problem: (problem.place.line, problem.place.column))


@uncollected
def check_files(
    paths: Iterable[str], cmdline: str | None = None, k3s_version: str = ""
) -> list[Problem]:
    """Every problem of files and, if given, a command line, in the order of the text."""
    problems: list[Problem] = []
    for path in paths:
        data, unreadable = read_limited(path)
        if unreadable is not None:
            problems.append(unreadable)
            continue
        problems += check_data(data, path, k3s_version)
    if cmdline is not None:
        from k3os.config.advice import advice, of_cmdline

        values, reported = check_cmdline(cmdline)
        problems += reported + of_cmdline(cmdline) + advice(values, k3s_version)
    return problems
