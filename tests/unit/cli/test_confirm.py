"""The end of a trial that failed: the machine restarts, whatever still works."""

import pytest

from k3os.cli import confirm
from k3os.system import power, run


@pytest.mark.parametrize("systemd_hangs", [False, True])
def test_the_machine_restarts_also_when_systemd_hangs(monkeypatch, systemd_hangs):
    done = []

    def ask(argv: list[str], **_: object) -> bytes:
        done.append(argv[0])
        if systemd_hangs:
            raise run.CommandError(argv, 1)
        return b""

    monkeypatch.setattr(run, "run", ask)
    monkeypatch.setattr(power, "reboot", lambda: done.append("reboot(2)"))
    confirm.restart()
    assert done == (["systemctl", "reboot(2)"] if systemd_hangs else ["systemctl"])


def test_what_is_still_missing_at_the_end_is_told():
    clock = iter(range(100))
    said = confirm.wait(
        [lambda: "", lambda: "k3s' API server is not ready"],
        5,
        monotonic=lambda: next(clock),
        sleep=lambda _: None,
    )
    assert said == "k3s' API server is not ready (after 5 s)"
