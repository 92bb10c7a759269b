"""`k3os config`: show, check or apply the configuration.

`k3os config --dump` has a time budget.
"""

from __future__ import annotations

import os
import sys

from k3os.cli import options
from k3os.errors import UserError
from k3os.paths import LOCAL_CONFIG, OWN_SYSTEM, STATE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from k3os.config.value import Problem

HELP = """\
usage: k3os config [OPTION...]             apply the runtime phase
       k3os config --restart               the same, then restart k3s if needed; pods keep running
       k3os config --initrd | --boot       apply another phase
       k3os config --again                 the runtime phase without the commands that succeeded
       k3os config --ready                 wait until k3s is ready, then run ready_cmd
       k3os config --dump | --dump-json    show the merged configuration, apply nothing
       k3os config diff FILE [--as PLACE]  what FILE would change on this node, and when
       k3os config try FILE [--for TIME] [--as PLACE] [--restart]
                                           apply FILE, and undo it unless you keep it in time
       k3os config keep | back             keep what is being tried; undo it now
       k3os config check FILE... [--cmdline TEXT] [--k3s VERSION] [--strict] [--json]
       k3os config schema                  print a JSON Schema (2020-12) of config.yaml for editors
       k3os config reference               print the tables of the reference in Markdown

options:
  --dry-run        print what would be done, do nothing
  --provenance     with --dump: say where each value comes from
  --show-secrets   with --dump, --dump-json: do not mask passwords, tokens and contents
  --root DIR       work on the file tree in DIR instead of /
  --system DIR     where config.yaml of the medium is; default /k3os/system
  --cmdline TEXT   use TEXT instead of the kernel's command line
  --for TIME       with try: e.g. 90s, 10m, 1h; default 5m
  --as PLACE       with diff and try: the node's file that FILE replaces, or a new file in
                   /var/lib/rancher/k3os/config.d; default /var/lib/rancher/k3os/config.yaml
  --k3s VERSION    with check: the k3s version that will read it; default the pinned one
  --strict         with check: warnings count as errors
  --json           with check: a list of objects with file, line, column, key, severity, message
                   and hint, for editors and CI
"""
# --format=json is the older form of --json, with other names
# --expired=yes: from the timer that takes back a configuration that was tried
# --when-online=yes: from k3os-config.service, which loads while the network is still coming up
HIDDEN = ("--format", "--expired", "--when-online")
ACTIONS = ("check", "diff", "try", "keep", "back", "schema", "reference")


def main(argv: list[str]) -> int:
    """Exit code 0, 1 for errors in the configuration or in applying it, 2 for wrong usage."""
    words, given = options.read(HELP, argv, hidden=HIDDEN)
    if words[:1] == ["check"]:
        return check(words[1:], given)
    if words[:1] == ["diff"]:
        options.count(HELP, words, 2, 2)
        return diff(words[1], given)
    if words[:1] == ["try"]:
        options.count(HELP, words, 2, 2)
        return try_it(words[1], given)
    if words[:1] in (["keep"], ["back"]):
        options.count(HELP, words, 1, 1)
        return keep_or_back(words[0], given)
    if words[:1] == ["migrate"]:
        raise options.wrong(HELP, "that command is `k3os migrate FILE`")
    if words:
        options.known(HELP, words[0], ACTIONS)
        options.count(HELP, words, 1, 1)
        return schema() if words == ["schema"] else reference()
    if "--dump" in given or "--dump-json" in given:
        return dump(given)
    return apply(given)


def _sources(given: dict[str, str]) -> tuple[str, str, str | None]:
    root = given.get("--root", "/")
    return root, given.get("--system", OWN_SYSTEM), given.get("--cmdline")


def dump(given: dict[str, str]) -> int:
    from k3os.config.load import load_config

    config, problems = load_config(*_sources(given), cloud=True)
    for problem in problems:
        print(problem, file=sys.stderr)
    show = "--show-secrets" in given
    if "--dump-json" in given:
        import json

        from k3os.config.dump import as_tree

        print(json.dumps(as_tree(config, show_secrets=show), indent=2, ensure_ascii=False))
    else:
        from k3os.config.dump import dump_yaml

        text = dump_yaml(config, show_secrets=show, provenance="--provenance" in given)
        sys.stdout.write(text)
    return 1 if any(problem.is_error for problem in problems) else 0


def diff(path: str, given: dict[str, str]) -> int:
    """Exit code 1 when this file or another one of the node has errors. Raises UserError."""
    from k3os.config.difference import lines
    from k3os.config.load import load_config

    place = _place(given, "no node reads its configuration from there")
    if not os.path.isfile(path):
        raise UserError("there is no such file", "name the new config.yaml", path)
    sources = _sources(given)
    before, old_problems = load_config(*sources, cloud=True)
    after, problems = load_config(*sources, cloud=True, instead=(place, path))
    known = {str(problem) for problem in old_problems if not problem.is_error}
    for problem in problems:
        if str(problem) not in known:
            print(problem, file=sys.stderr)
    for line in [*lines(before, after)] or ["nothing changes"]:
        print(line)
    return 1 if any(problem.is_error for problem in problems) else 0


def try_it(path: str, given: dict[str, str]) -> int:
    """Raises UserError."""
    from k3os.cluster.config_trial import FRAGMENT
    from k3os.config.duration import parse
    from k3os.node import config_try
    from k3os.system.os_release import check_node

    text = given.get("--for", "5m")
    seconds = parse(text)
    if not config_try.SHORTEST <= seconds <= config_try.LONGEST:
        raise options.wrong(HELP, f"--for takes a time from 10s to 24h, not {text!r}")
    # the medium is read-only, and the fragment belongs to the NodePool
    place = _place(given, "nothing can be tried there", f"{OWN_SYSTEM}/config.yaml", FRAGMENT)
    check_node()
    return config_try.begin(path, place, seconds, _sources(given), restart="--restart" in given)


def _place(given: dict[str, str], wrong: str, *others: str) -> str:
    """The file of the node that `--as` names; `others` are refused, too. Raises UserError."""
    from k3os.config.difference import PLACES

    place = given.get("--as", LOCAL_CONFIG)
    if PLACES.fullmatch(place) is None or place in others:
        hint = f"--as takes {LOCAL_CONFIG}, or a file in {STATE}/config.d"
        raise UserError(wrong, hint, place)
    return place


def keep_or_back(word: str, given: dict[str, str]) -> int:
    from k3os.node import config_try
    from k3os.system.os_release import check_node

    check_node()
    if word == "keep":
        return config_try.keep()
    return config_try.back(
        _sources(given), "nobody kept it in time" if "--expired" in given else ""
    )


def check(paths: list[str], given: dict[str, str]) -> int:
    from k3os.config.check import check_files

    style = "--json" if "--json" in given else given.get("--format", "text")
    if style not in ("text", "json", "--json"):
        raise options.wrong(HELP, "--format is text or json")
    if not paths and "--cmdline" not in given:
        raise options.wrong(HELP, "check needs a file")
    problems = check_files(paths, given.get("--cmdline"), k3s_version(given))
    if style == "text":
        for problem in problems:
            print(problem)
    else:
        import json

        listed = [for_editors(each) if style == "--json" else each.as_dict() for each in problems]
        print(json.dumps(listed, indent=2, ensure_ascii=False))
    return 1 if any("--strict" in given or problem.is_error for problem in problems) else 0


def k3s_version(given: dict[str, str]) -> str:
    """The version given by option, else the one that an image of this k3OS gets."""
    if "--k3s" in given:
        from k3os.config.k3s_table import minor

        if minor(given["--k3s"]) == (0, 0):
            raise options.wrong(HELP, "--k3s takes a version, e.g. v1.33.1+k3s1 or 1.33")
        return given["--k3s"]
    from k3os.k3s.source import pinned

    return pinned().version


def for_editors(problem: Problem) -> dict[str, str | int]:
    """One object of --json. line and column count from 1; 0 means the file or command line."""
    return {
        "file": problem.place.source,
        "line": problem.place.line,
        "column": problem.place.column,
        "key": problem.key,
        "severity": "error" if problem.is_error else "warning",
        "message": problem.message,
        "hint": problem.hint,
    }


def schema() -> int:
    import json

    from k3os.config.jsonschema import json_schema

    print(json.dumps(json_schema(), indent=2, ensure_ascii=False))
    return 0


def reference() -> int:
    from k3os.config.reference import markdown

    print(markdown(), end="")
    return 0


def apply(given: dict[str, str]) -> int:
    """Apply a phase, or print its actions."""
    from k3os.config.key import BOOT, INITRD, READY, RUNTIME

    chosen = [phase for phase in (INITRD, BOOT, READY) if f"--{phase}" in given]
    phase = chosen[0] if chosen else RUNTIME
    sources = _sources(given)
    if "--dry-run" in given:
        from k3os.config.load import load_config
        from k3os.phases.apply import plan_phase, sources_with_errors
        from k3os.phases.node import Node
        from k3os.phases.phase_report import booted_mode

        # as if the data sources gave the same as last time
        config, problems = load_config(*sources, cloud=phase == "runtime")
        for problem in problems:
            print(problem, file=sys.stderr)
        if phase == "runtime" and config.texts("k3os.data_sources"):
            names = ", ".join(config.texts("k3os.data_sources"))
            place = config.values["k3os.data_sources"].place
            print(f"k3os.data_sources: ask {names}, then what they give is merged  ({place})")
        node = Node(sources[0], phase, booted_mode(sources[0]))
        node.ours.unsure = sources_with_errors(problems)
        for action in plan_phase(config, node):
            print(f"{action.key}: {action.describe()}  ({action.place})")
        return 1 if any(problem.is_error for problem in problems) else 0
    if sources[0] == "/":
        from k3os.system.os_release import check_node

        check_node()
    from k3os.node import configure

    return configure.apply(
        phase,
        sources,
        when_online="--when-online" in given,
        again="--again" in given,
        restart="--restart" in given,
    )
