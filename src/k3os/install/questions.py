"""The interactive installation: questions on a terminal of 80 columns, including serial ones.

It asks and returns the answers, and writes nothing. Answers become the text of a config.yaml, so
that they go through exactly the same checks.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass, field

from k3os.errors import UserError
from k3os.system import disks
from k3os.system.console import Say
from k3os.system.numbers import whole

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from k3os.system.disks import Device

INSTALL, CONFIGURE = "install", "configure"
WIRELESS = "wl"


@dataclass
class Answers:
    """The answers; "" and [] for none. what: INSTALL or CONFIGURE."""

    what: str = INSTALL
    device: str = ""
    config_url: str = ""
    hostname: str = ""
    server_url: str = ""
    token: str = ""
    password: str = ""
    keys: list[str] = field(default_factory=list)
    wifi: list[tuple[str, str]] = field(default_factory=list)

    def config(self) -> str:
        """The answers as the text of a config.yaml, "" if there are none."""
        from k3os.config.dump import double_quoted

        ours = [
            f"  {name}: {double_quoted(text)}"
            for name, text in (
                ("server_url", self.server_url),
                ("token", self.token),
                ("password", self.password),
            )
            if text
        ]
        if self.wifi:
            ours.append("  wifi:")
            for name, passphrase in self.wifi:
                ours.append(f"  - ssid: {double_quoted(name)}")
                if passphrase:
                    ours.append(f"    passphrase: {double_quoted(passphrase)}")
        lines = [f"hostname: {double_quoted(self.hostname)}"] if self.hostname else []
        if self.keys:
            lines.append("ssh_authorized_keys:")
            lines += [f"- {double_quoted(key)}" for key in self.keys]
        lines += ["k3os:", *ours] if ours else []
        return "\n".join([*lines, ""]) if lines else ""


class Terminal:
    """Asks questions. Raises EOFError and KeyboardInterrupt when a person quits."""

    def __init__(
        self,
        read: Callable[[str], str],
        read_hidden: Callable[[str], str],
        show: Say,
    ) -> None:
        self._read = read
        self._read_hidden = read_hidden
        self.show = show

    def text(self, question: str, wrong: Callable[[str], str] = lambda _: "") -> str:
        """A line; "" for Enter alone. wrong: returns what is wrong with it, "" for nothing."""
        while True:
            answer = self._read(f"{question}: ").strip()
            problem = wrong(answer)
            if not problem:
                return answer
            self.show(f"  {problem}")

    def secret(self, question: str, *, twice: bool = False) -> str:
        """The same without echo; "" for Enter alone."""
        while True:
            answer = self._read_hidden(f"{question}: ")
            if not twice or not answer or self._read_hidden("Once more: ") == answer:
                return answer
            self.show("  the two differ; try again")

    def choice(self, question: str, choices: Sequence[str]) -> int:
        """The index of the choice; Enter alone is the first."""
        self.show(question)
        for number, text in enumerate(choices, 1):
            self.show(f"  {number}. {text}")

        def wrong(answer: str) -> str:
            known = not answer or whole(answer, 1, len(choices)) is not None
            return "" if known else f"type a number from 1 to {len(choices)}"

        return int(self.text("Number [1]", wrong) or 1) - 1

    def yes(self, question: str) -> bool:
        """Enter alone means no."""

        def wrong(answer: str) -> str:
            return "" if answer.lower() in ("", "y", "yes", "n", "no") else "type y or n"

        return self.text(f"{question} [y/N]", wrong).lower() in ("y", "yes")


def ask(
    terminal: Terminal, usable: Sequence[Device], *, has_login: bool, interfaces: Sequence[str]
) -> Answers:
    """All questions. usable: disks that can be installed to; has_login: whether somebody can
    log in even without an answer; interfaces: names of network interfaces."""
    answers = Answers()
    terminal.show("Enter alone takes what is in brackets, or leaves a thing out.\n")
    if usable:
        chosen = terminal.choice(
            "What shall be done?", ("Install to a disk", "Configure this running system")
        )
        answers.what = (INSTALL, CONFIGURE)[chosen]
    else:
        terminal.show("There is no disk to install to; this running system can be configured.")
        answers.what = CONFIGURE
    if answers.what == INSTALL:
        answers.device = ask_disk(terminal, usable)
    answers.config_url = terminal.text("Address or path of a config.yaml, if you have one")
    if answers.config_url:
        return answers
    ask_cluster(terminal, answers)
    ask_login(terminal, answers, has_login=has_login)
    answers.hostname = terminal.text("Host name [made up]", wrong_for("hostname"))
    if any(name.startswith(WIRELESS) for name in interfaces):
        ask_wifi(terminal, answers)
    return answers


def ask_disk(terminal: Terminal, usable: Sequence[Device]) -> str:
    if len(usable) == 1:
        terminal.show(f"The disk is {described(usable[0])}.")
        return usable[0].path
    return usable[terminal.choice("Which disk?", [described(disk) for disk in usable])].path


def described(disk: Device) -> str:
    """A disk and its contents."""
    names = [each.label or each.kind for each in disks.file_systems(disk)]
    return f"{disk}: {', '.join(names) if names else 'empty'}"


def ask_cluster(terminal: Terminal, answers: Answers) -> None:
    chosen = terminal.choice(
        "What is this node?", ("A server, the first of a cluster", "A node that joins a cluster")
    )
    if chosen == 0:
        answers.token = terminal.secret("Token that others join with [made up]")
        return

    def wrong(text: str) -> str:
        return wrong_for("server_url")(text) if text else "type it, e.g. https://server:6443"

    answers.server_url = terminal.text("Address of a server of the cluster", wrong)
    while not (token := terminal.secret("Token of the cluster")):
        terminal.show("  nothing can join without it; a server has it in")
        terminal.show("  /var/lib/rancher/k3s/server/node-token")
    answers.token = token


def ask_login(terminal: Terminal, answers: Answers, *, has_login: bool) -> None:
    while True:
        text = terminal.text(
            "Who may log in by ssh (github:NAME, gitlab:NAME), separated by spaces"
        )
        answers.keys = text.replace(",", " ").split()
        answers.password = terminal.secret("Password of rancher [none]", twice=True)
        if answers.keys or answers.password or has_login:
            return
        terminal.show("  nobody could log in: give a key or a password")


def ask_wifi(terminal: Terminal, answers: Answers) -> None:
    if terminal.yes("Connect to a wireless network?"):
        name = terminal.text("Its name", lambda text: "" if text else "type it")
        answers.wifi = [(name, terminal.secret("Its passphrase [none]"))]


def wrong_for(key: str) -> Callable[[str], str]:
    """The check of a configuration key, used as the check of an answer."""

    def wrong(text: str) -> str:
        from k3os.config.check import check_text
        from k3os.config.dump import double_quoted

        where = (
            f"{key}: {double_quoted(text)}"
            if key == "hostname"
            else (f"k3os: {{{key}: {double_quoted(text)}}}")
        )
        problems = check_text(where.encode(), "answer")[1] if text else []
        return "; ".join(part for each in problems for part in (each.message, each.hint) if part)

    return wrong


def on_this_terminal() -> Terminal:
    """The terminal that we run on. Raises UserError if nobody is there."""
    import getpass

    if not sys.stdin.isatty():
        raise UserError(
            "there is no terminal to answer questions on, so nothing was done",
            "give --silent and what is needed, or k3os.install.silent on the kernel's command line",
        )

    # the terminal is standard input: a service's output goes to the journal
    def show(text: str) -> None:
        os.write(0, f"{text}\n".encode())

    def read(question: str) -> str:
        os.write(0, question.encode())
        line = sys.stdin.readline()
        if not line:
            raise EOFError
        return line.rstrip("\n")

    return Terminal(read, getpass.getpass, show)
