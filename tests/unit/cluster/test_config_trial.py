"""The configuration before a NodePool's change: kept, counted, restored, whatever happens in
between."""

import json
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from k3os import paths
from k3os.cluster import config_trial

# thousands of synchronous writes to a disk take half a minute
MEMORY = "/dev/shm" if Path("/dev/shm").is_dir() else None


@pytest.fixture
def root(tmp_path: Path) -> str:
    (tmp_path / config_trial.FRAGMENT[1:]).parent.mkdir(parents=True)
    return str(tmp_path)


def put(root: str, text: str) -> None:
    Path(root + config_trial.FRAGMENT).write_text(text)


def there(root: str) -> str | None:
    path = Path(root + config_trial.FRAGMENT)
    return path.read_text() if path.exists() else None


@pytest.mark.parametrize("before", [None, "{}\n", "x: \u00e9\n"])
def test_after_three_boots_that_came_to_no_end_the_former_one_is_back(
    root: str, before: str | None
) -> None:
    if before is not None:
        put(root, before)
    config_trial.begin("r1", 120, root)
    put(root, "new")
    assert [config_trial.attempt(root) for _ in range(4)] == [120, 120, 120, 0]
    assert there(root) == before
    found = config_trial.taken_back(root)
    assert (found["request"], found["reason"]) == ("r1", config_trial.UNKNOWN)
    assert config_trial.attempt(root) == 0
    assert not config_trial.is_on_trial(root)


def test_a_boot_that_was_not_healthy_is_the_last(root: str) -> None:
    config_trial.begin("r1", 120, root)
    put(root, "new")
    assert config_trial.attempt(root) == 120
    config_trial.fail("k3s is not ready", root)
    assert config_trial.attempt(root) == 0
    assert there(root) is None
    assert config_trial.taken_back(root)["reason"] == "k3s is not ready"


def test_a_second_change_before_the_first_has_proved_itself_goes_back_behind_both(
    root: str,
) -> None:
    put(root, "good")
    config_trial.begin("r1", 120, root)
    put(root, "first")
    config_trial.begin("r2", 120, root)
    put(root, "second")
    config_trial.restore("x", root)
    assert there(root) == "good"


def test_what_is_confirmed_stays_and_is_what_the_next_one_goes_back_to(root: str) -> None:
    config_trial.begin("r1", 120, root)
    put(root, "good")
    config_trial.confirm(root)
    config_trial.confirm(root)
    assert config_trial.attempt(root) == 0
    config_trial.begin("r2", 120, root)
    put(root, "bad")
    config_trial.restore("x", root)
    assert there(root) == "good"


def test_the_record_holds_secrets_and_is_for_root_alone(root: str) -> None:
    put(root, "token")
    config_trial.begin("r1", 120, root)
    assert Path(root + paths.FRAGMENT_TRIAL).stat().st_mode & 0o777 == 0o600
    assert "former" not in config_trial.taken_back(root)
    config_trial.restore("x", root)
    assert "token" not in Path(root + paths.FRAGMENT_TRIAL).read_text()


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(), st.lists) | st.none())
def test_a_record_that_is_none_never_stops_a_boot(tmp_path_factory, value: object) -> None:
    root = str(tmp_path_factory.mktemp("root"))
    path = Path(root + paths.FRAGMENT_TRIAL)
    path.parent.mkdir(parents=True)
    good = {"request": "r", "former": None, "attempts": 1, "seconds": 5, "reason": ""}
    for broken in (value, *({**good, name: value} for name in good)):
        path.write_text(json.dumps(broken))
        config_trial.attempt(root)
        config_trial.fail("x", root)
        config_trial.restore("x", root)


class Life(RuleBasedStateMachine):
    """Requests, boots and their ends in any order: the last good configuration is never lost."""

    def __init__(self) -> None:
        super().__init__()
        self.directory = tempfile.TemporaryDirectory(dir=MEMORY)
        self.root = self.directory.name
        Path(self.root + config_trial.FRAGMENT).parent.mkdir(parents=True)
        self.good: str | None = None
        self.number = 0
        self.boots = 0

    @rule()
    def request(self) -> None:
        self.number += 1
        config_trial.begin(f"r{self.number}", 60, self.root)
        put(self.root, f"config {self.number}")
        self.boots = 0

    @precondition(lambda self: config_trial.is_on_trial(self.root))
    @rule()
    def boot_without_end(self) -> None:
        self.boots += 1
        seconds = config_trial.attempt(self.root)
        assert bool(seconds) == (self.boots <= config_trial.ATTEMPTS)

    @precondition(lambda self: config_trial.is_on_trial(self.root))
    @rule()
    def healthy(self) -> None:
        self.good = there(self.root)
        config_trial.confirm(self.root)

    @precondition(lambda self: config_trial.is_on_trial(self.root))
    @rule()
    def unhealthy(self) -> None:
        config_trial.fail("x", self.root)
        self.boots = config_trial.ATTEMPTS

    @invariant()
    def what_proved_itself_is_there_or_kept(self) -> None:
        if not config_trial.is_on_trial(self.root):
            assert there(self.root) == self.good

    def teardown(self) -> None:
        self.directory.cleanup()


TestLife = Life.TestCase
