"""Commands accept what their help says, and typos get a suggestion."""

import importlib
import re
from pathlib import Path

import pytest

from k3os.cli.main import COMMANDS, main
from k3os.cli.options import Usage, Words, read

# a command whose help is by argparse has its own
HELP = {
    name: module.HELP
    for name, (path, *_) in COMMANDS.items()
    if hasattr(module := importlib.import_module(path), "HELP")
}
OPTIONS = [(name, option) for name, text in HELP.items() for option in Words(text).takes_value]

UNITS = Path(__file__).parents[3] / "overlay/rootfs/usr/lib/systemd/system"
CALL = re.compile(r"^Exec\w+=.*?/usr/sbin/k3os ([^;\n]+)", re.MULTILINE)
# commands that systemd starts: unit and arguments
CALLS = [
    (unit.name, found.split())
    for unit in sorted(UNITS.rglob("*.*"))
    if unit.is_file()
    for found in CALL.findall(unit.read_text())
    if found != "install --automatic"  # handled before arguments are parsed
]


@pytest.mark.parametrize("unit,words", CALLS, ids=lambda each: str(each))
def test_a_unit_calls_a_command_with_options_that_it_takes(unit: str, words: list[str]) -> None:
    module = importlib.import_module(COMMANDS[words[0]][0])
    if hasattr(module, "HELP"):
        read(module.HELP, words[1:], hidden=getattr(module, "HIDDEN", ()))
    else:
        module.parser().parse_args(words[1:])


def first(name: str) -> list[str]:
    return [*Words(HELP[name]).first[:1]]


@pytest.mark.parametrize("name,option", OPTIONS, ids=map(" ".join, OPTIONS))
def test_an_option_of_the_help_is_read_wherever_it_stands(name: str, option: str) -> None:
    text, before = HELP[name], first(name)
    if Words(text).takes_value[option]:
        for argv in ([option, "x=y"], [f"{option}=x=y"]):
            assert read(text, [*before, *argv]) == (before, {option: "x=y"})
            assert read(text, [*argv, *before]) == (before, {option: "x=y"})
        with pytest.raises(Usage, match=f"{option} needs a value"):
            read(text, [*before, option])
    else:
        assert read(text, [option, *before]) == (before, {option: "yes"})
        with pytest.raises(Usage, match=f"{option} takes no value"):
            read(text, [*before, f"{option}=x"])


@pytest.mark.parametrize("name,option", OPTIONS, ids=map(" ".join, OPTIONS))
def test_a_slip_in_an_option_names_the_one_that_was_meant(name: str, option: str) -> None:
    slip = option[:-2] + option[-1]
    if slip in Words(HELP[name]).takes_value or len(option) < len("--json"):
        pytest.skip("another option")
    with pytest.raises(Usage) as caught:
        read(HELP[name], [*first(name), slip])
    assert f"unknown option {slip}" in str(caught.value)
    assert "did you mean --" in str(caught.value)
    assert f"`k3os {name} --help` explains it" in str(caught.value)


@pytest.mark.parametrize("name", HELP)
@pytest.mark.parametrize("asked", [["--help"], ["-h"], ["whatever", "--help"]], ids=" ".join)
def test_help_is_there_on_any_machine(name: str, asked: list[str], capsys) -> None:
    assert main([name, *asked]) == 0
    assert capsys.readouterr().out == HELP[name]


# what a person typed -> the message
SLIPS = {
    ("status", "--jsno"): "unknown option --jsno; did you mean --json?",
    ("status", "now"): "unexpected word 'now'",
    ("status", "--json", "--verify"): "--verify and --json exclude each other",
    ("status", "--running"): "--running goes with --verify",
    ("clock",): "a word is missing: wait",
    ("clock", "wait", "soon"): "'soon' is not a number of seconds up to 86400",
    ("reset", "--force=yes"): "unknown option --force",
    ("overlay", "delete"): "unknown word 'delete'",
    ("install", "--confg", "x"): "unknown option --confg; did you mean --config?",
    ("install", "/dev/sda"): "unexpected word '/dev/sda'",
    ("upgrade", "--rolback"): "unknown option --rolback; did you mean --rollback?",
    ("upgrade",): "a word is missing: SRC, --k3os, --k3s or --rollback",
    ("upgrade", "x", "--k3s", "y"): "SRC and --k3s exclude each other",
    ("upgrade", "x", "--reboot", "--no-reboot"): "--reboot and --no-reboot exclude each other",
    ("upgrade", "--rollback", "--insecure"): "--rollback and --insecure exclude each other",
    ("upgrade", "x", "--with-data"): "--with-data goes with --rollback",
    ("k3s", "sum", "v1"): "unknown word 'sum'; did you mean sums?",
    ("k3s", "sums"): "a word is missing",
    ("k3s", "version", "--announce"): "--announce goes with fetch alone",
    ("migrate", "--writ", "x"): "unknown option --writ; did you mean --write?",
    ("datasource", "proble"): "unknown word 'proble'; did you mean probe?",
    ("network", "shwo"): "unknown word 'shwo'; did you mean show?",
    ("network", "show", "eth0"): "unexpected word 'eth0'",
    ("network", "show", "--jsno"): "unknown option --jsno; did you mean --json?",
    ("network", "links", "--json"): "--json goes with show",
    ("network", "--settle"): "unknown option --settle; did you mean settle?",
    ("operator", "run", "--log-format", "xml"): "--log-format is json or text",
    ("operator", "run", "--port", "x"): "'x' is not a valid number",
    ("config", "chek", "x"): "unknown word 'chek'; did you mean check?",
    ("config", "migrate", "x"): "that command is `k3os migrate FILE`",
    ("config", "--dump", "x"): "unknown word 'x'",
}


@pytest.mark.parametrize("argv,said", SLIPS.items(), ids=map(" ".join, SLIPS))
def test_wrong_usage_is_one_line_with_what_was_meant(argv, said, monkeypatch, capsys) -> None:
    monkeypatch.setattr("k3os.system.os_release.os_id", lambda root: "k3os")
    monkeypatch.setattr("k3os.phases.environment.adopt_configured", lambda: None)
    assert main([*argv]) == 2
    explained = f"`k3os {argv[0]} --help` explains it"
    error = capsys.readouterr().err
    assert error in (
        f"k3os: error: {said} {explained}\n",
        f"k3os: error: {said}; {explained}\n",
    )
