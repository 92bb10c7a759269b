"""Every command that downloads something uses k3os.environment, no matter how it was called."""

import ast
import functools
import os
import sys
import types
from pathlib import Path

import pytest

from k3os.cli import main
from k3os.phases import environment

SOURCE = Path(environment.__file__).parents[2]
MODULES = {
    ".".join(path.relative_to(SOURCE).with_suffix("").parts): path
    for path in (SOURCE / "k3os").rglob("*.py")
}
CLIENTS = ("k3os.system.http", "k3os.system.ftp")
# imports each data source by its name
BY_NAME = "datasource"
# import the HTTP client, but are exceptions
OTHERS = {
    **dict.fromkeys(("build", "run", "remaster", "image"), "not on a node"),
    "extension": "`add` applies k3os.environment itself, the rest fetches nothing on a node",
    "config": "applies k3os.environment itself: test_fetched_keys.py",
    "confirm": "asks the kubelet on this host",
}


@functools.cache
def imports(path: Path) -> set[str]:
    """All k3os modules that a module imports at run time; `shown` only changes a text."""
    found: set[str] = set()

    def look(node: ast.AST) -> None:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.dump(child.test):
                continue
            if isinstance(child, ast.ImportFrom):
                names = {alias.name for alias in child.names}
                if names != {"shown"}:
                    found.update(
                        {child.module or "", *(f"{child.module}.{each}" for each in names)}
                    )
            look(child)

    look(ast.parse(path.read_text()))
    return found & MODULES.keys()


def reached(module: str) -> set[str]:
    found: set[str] = set()
    todo = [module]
    while todo:
        name = todo.pop()
        if name not in found:
            found.add(name)
            todo += imports(MODULES[name])
    return found


def test_every_command_that_can_fetch_something_is_known() -> None:
    fetching = {
        name
        for name, (module, _, _) in main.COMMANDS.items()
        if reached(module).intersection(CLIENTS)
    }
    assert {*fetching, BY_NAME} == {*main.DOWNLOADING, *OTHERS}


PROXY = "http://proxy.test:3128"
CONFIG = f"k3os: {{environment: {{https_proxy: '{PROXY}', K3S_RELEASES: 'http://mirror.test'}}}}"


@pytest.fixture
def node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A running k3OS, and a process without the variables, as started by sudo."""
    system = tmp_path / "k3os/system"
    system.mkdir(parents=True)
    (system / "config.yaml").write_text(CONFIG)
    (tmp_path / "status.json").write_text("{}")
    from k3os.config import load

    real = load.load_config

    def load_config(*_: object, cloud: bool) -> object:
        return real(str(tmp_path), "/k3os/system", "", cloud=cloud)

    monkeypatch.setattr("k3os.system.os_release.os_id", lambda root: "k3os")
    monkeypatch.setattr(load, "load_config", load_config)
    monkeypatch.setattr(environment, "STATUS", str(tmp_path / "status.json"))
    monkeypatch.setattr(environment, "_adopted", {})
    monkeypatch.setattr(os, "environ", {"PATH": "/usr/bin:/bin"})
    return tmp_path


def called(monkeypatch: pytest.MonkeyPatch, command: str) -> dict[str, str]:
    """The environment in which a command runs."""
    seen: dict[str, str] = {}

    def run(argv: list[str]) -> int:
        assert argv == ["word"]
        seen.update(os.environ)
        return 0

    module = types.ModuleType(main.COMMANDS[command][0])
    module.main = run  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, module.__name__, module)
    assert main.main([command, "word"]) == 0
    return seen


@pytest.mark.parametrize("command", sorted(main.COMMANDS))
def test_a_command_that_downloads_has_the_nodes_environment(
    node: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    found = called(monkeypatch, command)
    expected = (PROXY, "http://mirror.test") if command in main.DOWNLOADING else (None, None)
    assert (found.get("https_proxy"), found.get("K3S_RELEASES")) == expected


@pytest.mark.parametrize(
    ("name", "value"), [("HTTPS_PROXY", "http://mine.test"), ("https_proxy", "")]
)
def test_what_the_caller_has_set_wins(
    node: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    os.environ[name] = value
    found = called(monkeypatch, "upgrade")
    assert found[name] == value
    assert PROXY not in found.values()
    assert found["K3S_RELEASES"] == "http://mirror.test"


def test_what_the_configuration_has_anew_replaces_what_it_had(node: Path) -> None:
    environment.adopt_configured()
    environment.adopt({"https_proxy": "http://other.test"})
    assert os.environ["https_proxy"] == "http://other.test"


def test_elsewhere_than_on_a_node_nothing_is_taken(
    node: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (node / "status.json").unlink()
    assert "https_proxy" not in called(monkeypatch, "k3s")
