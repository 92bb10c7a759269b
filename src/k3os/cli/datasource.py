"""`k3os datasource probe`: what each data source would give; nothing is written or applied.

Secrets are masked. A script is shown only by its interpreter and size, since any of its lines may
contain a secret.
"""

from __future__ import annotations

import sys

from k3os.cli import options
from k3os.errors import UserError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from k3os.datasource.found import Found
    from k3os.datasource.search import Answer
    from k3os.datasource.userdata import Part

HELP = """\
usage: k3os datasource probe [NAME...]   show what these data sources would give; without names,
                                         those of the configuration, or else all
"""


def main(argv: list[str]) -> int:
    """Exit code 0 when a source gives something, 1 when none does, 2 for wrong usage."""
    words, _ = options.read(HELP, argv)
    from k3os.datasource.platforms import by_auto, chosen
    from k3os.datasource.search import search

    names = _known(words[1:]) or _configured() or _all()
    answers = search(chosen(names), _say, ask_all=True, by_auto=by_auto(names))
    for answer in answers:
        print("\n".join(lines(answer)))
    return 0 if any(answer.found is not None for answer in answers) else 1


def _known(names: list[str]) -> list[str]:
    """The names, unchanged. Raises UserError for one that is not a data source."""
    from k3os.config.schema import DATA_SOURCES
    from k3os.config.spelling import nearest

    for name in names:
        if name not in DATA_SOURCES:
            likely = nearest(name, DATA_SOURCES)
            known = f"known: {', '.join(DATA_SOURCES)}"
            hint = f"did you mean {likely}?" if likely else known
            raise UserError(f"there is no data source {name!r}", hint)
    return names


def _configured() -> list[str]:
    from k3os.config.load import load_config
    from k3os.phases.table import DATA_SOURCES

    return load_config()[0].texts(DATA_SOURCES)


def _all() -> list[str]:
    """Every source once, under the first of its names."""
    from k3os.datasource.platforms import SOURCES

    return list({source.module: name for name, source in reversed(SOURCES.items())}.values())[::-1]


def _say(line: str) -> None:
    print(f"k3os: {line}", file=sys.stderr)


def lines(answer: Answer) -> list[str]:
    """The output for people."""
    head = f"{answer.name} ({answer.seconds:.1f} s): "
    if answer.found is None:
        return [head + ("" if answer.is_broken else "not there: ") + answer.reason]
    return [f"{head}{answer.found}", *(f"  {line}" for line in described(answer.found))]


def described(found: Found) -> list[str]:
    """Hostname, keys, and what the userdata holds."""
    from k3os.datasource.userdata import parts

    shown = [f"hostname: {found.hostname}"] if found.hostname else []
    shown += [f"ssh key: {short_key(key)}" for key in found.ssh_keys]
    shown += [f"problem: {problem}" for problem in found.problems]
    try:
        usable, left_out = parts(found.userdata)
    except UserError as error:
        return [*shown, f"userdata: cannot be used: it {error}"]
    for part in usable:
        shown += part_lines(part)
    return shown + [f"userdata: left out: {line}" for line in left_out]


def short_key(key: str) -> str:
    """The key's type, the end of its data, and its comment."""
    words = key.split()
    start = next(index for index, word in enumerate(words) if word.startswith("AAAA"))
    return " ".join([*words[:start], f"…{words[start][-8:]}", *words[start + 1 :]])


def part_lines(part: Part) -> list[str]:
    """A script's first line and size, or a config.yaml in the format of `k3os config --dump`."""
    if part.is_script:
        first = part.data.partition(b"\n")[0].decode(errors="replace")
        return [f"userdata: a script, {first}, {len(part.data)} bytes"]
    from k3os.config.check import check_text
    from k3os.config.dump import dump_yaml
    from k3os.config.load import Config

    values, problems = check_text(part.data, "userdata")
    shown = ["userdata: a config.yaml"]
    shown += [f"  {line}" for line in dump_yaml(Config(values)).splitlines()]
    return shown + [f"  problem: {problem}" for problem in problems]
