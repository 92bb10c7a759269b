"""`k3os run`, called from scripts."""

import os
import subprocess
import sys
import time

import pytest

from k3os.system.run import CommandError, run
from tests.vm.node import BOOT


@pytest.fixture
def k3os_run(images, tmp_path):
    def call(*options, timeout=2 * BOOT):
        command = [sys.executable, "-m", "k3os", "run", "--no-build", *options]
        environment = {
            "ARTIFACTS": str(images.iso.parent),
            "PYTHONPATH": os.path.abspath("src"),
        }
        return run(command, env=environment, cwd=str(tmp_path), timeout=timeout).decode()

    return call


def test_it_shows_the_whole_boot_with_a_config_and_ends_when_k3s_runs(k3os_run, tmp_path):
    (tmp_path / "config.yaml").write_text("hostname: from-my-config\n")
    output = k3os_run("--config", "config.yaml", "--until", "k3s", "--timeout", str(BOOT))
    assert "k3OS: version" in output
    assert "from-my-config login:" in output
    assert "k3os: reached k3s after" in output
    assert (tmp_path / "dist" / "vm-logs" / "run.log").exists()


def test_the_keys_that_it_names_leave_the_machine(images, tmp_path):
    command = [sys.executable, "-m", "k3os", "run", "--no-build"]
    environment = {**os.environ, "ARTIFACTS": str(images.iso.parent)}
    environment["PYTHONPATH"] = os.path.abspath("src")
    pipe = subprocess.PIPE
    with subprocess.Popen(
        command, env=environment, cwd=tmp_path, stdin=pipe, stdout=pipe, text=True
    ) as process:
        try:
            assert process.stdin is not None
            assert process.stdout is not None
            for line in process.stdout:
                if "leave:" in line:
                    assert "Ctrl-a, then x" in line
                if "GRUB" in line or "k3OS:" in line or "Booting" in line:
                    break
            process.stdin.write("\x01x")
            process.stdin.flush()
            process.stdout.read()
            assert process.wait(30) == 0
        finally:
            process.kill()


def test_a_point_not_reached_in_time_is_a_failure_with_the_end_of_the_log(k3os_run):
    start = time.monotonic()
    with pytest.raises(CommandError) as error:
        k3os_run("--until", "k3s", "--timeout", "3")
    assert error.value.returncode == 1
    assert b"did not come in 3 s" in error.value.output
    assert b"run.log" in error.value.output
    assert time.monotonic() - start < 30


def test_a_config_with_an_error_is_refused_before_anything_starts(k3os_run, tmp_path):
    (tmp_path / "config.yaml").write_text("hostname: [a, b]\n")
    with pytest.raises(CommandError) as error:
        k3os_run("--config", "config.yaml", "--until", "k3s", timeout=20)
    assert error.value.returncode == 1
    assert b"config.yaml:1:" in error.value.output


def test_a_missing_artifact_is_an_error_with_the_remedy(k3os_run, images, monkeypatch):
    monkeypatch.setattr(images, "iso", images.iso.parent / "nothere" / "k3os-amd64.iso")
    with pytest.raises(CommandError) as error:
        k3os_run("--until", "login", timeout=20)
    assert b"is missing; build it first" in error.value.output
