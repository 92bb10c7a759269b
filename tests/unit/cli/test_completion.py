"""Shell completion of `k3os` offers the words of its help."""

import shutil
import subprocess

import pytest

from k3os.cli.completion import bash, fish, known, zsh
from k3os.cli.main import COMMANDS

ROOT = __file__.partition("/tests/")[0]
LAZY = f"{ROOT}/overlay/rootfs/etc/profile.d/k3os-completion.sh"
# what is typed, the last word unfinished -> what bash offers
TYPED = {
    ("sta",): ["status"],
    ("status", "--j"): ["--json"],
    ("upgrade", "--ro"): ["--rollback"],
    ("local", ""): ["start", "stop", "--help"],
    ("k3s", "su"): ["sums"],
    ("migrate", "fil"): [],  # file names: bash's default
}


def offered(script: str, typed: tuple[str, ...]) -> list[str]:
    words = " ".join(f"'{each}'" for each in ("k3os", *typed))
    ask = f"COMP_WORDS=({words}); COMP_CWORD={len(typed)}"
    text = f'{script}\n{ask}\n_k3os\nprintf "%s\\n" "${{COMPREPLY[@]}}"'
    return subprocess.check_output(["bash", "-c", text], text=True).split()


@pytest.mark.parametrize("typed,expected", TYPED.items(), ids=map(" ".join, TYPED))
def test_bash_offers_the_words_of_the_help(typed: tuple[str, ...], expected: list[str]) -> None:
    assert offered(bash(), typed) == expected


def test_all_commands_are_there() -> None:
    assert offered(bash(), ("",)) == [*known()]
    assert {*COMMANDS} - {*known()} == {"init"}, "nobody calls that by hand"


@pytest.mark.parametrize("shell,make", [("zsh", zsh), ("fish", fish)])
def test_other_shells_can_read_it(shell: str, make, tmp_path) -> None:
    text = make()
    for name in known():
        assert name in text
    assert "--rollback" in text or "-l rollback" in text
    if shutil.which(shell) is None:
        pytest.skip(f"no {shell} here: only the words are looked at")
    (tmp_path / "script").write_text(text)
    subprocess.run([shell, "-n", str(tmp_path / "script")], check=True)


def test_a_node_makes_them_when_they_are_first_asked_for(tmp_path) -> None:
    program = tmp_path / "k3os"
    program.write_text(f"#!/bin/sh\ncat <<'END'\n{bash()}END\n")
    program.chmod(0o755)
    script = f"PATH={tmp_path}:$PATH; . {LAZY}; _k3os_words; echo $?; complete -p k3os"
    said = subprocess.check_output(["bash", "-c", script], text=True)
    assert said == "124\ncomplete -o default -F _k3os k3os\n"
    assert subprocess.run(["dash", "-c", f". {LAZY}"], check=False).returncode == 0
