"""The images for pods of a lab: made from busybox, with the names that k3s asks for."""

import shutil

import pytest

from k3os.system.run import run
from tests.oci_layout import Layout
from tests.real import images


@pytest.mark.parametrize(
    ("short", "full"),
    [
        ("rancher/mirrored-pause:3.6", "docker.io/rancher/mirrored-pause:3.6"),
        ("pause:3", "docker.io/library/pause:3"),
        ("k3os.io/lab/workload:1", "k3os.io/lab/workload:1"),
        ("localhost/a:1", "localhost/a:1"),
        ("registry:5000/a:1", "registry:5000/a:1"),
    ],
)
def test_names_are_as_containerd_keeps_them(short, full):
    assert images.normal(short) == full


@pytest.fixture
def busybox(tmp_path, monkeypatch):
    """A fake that lists two applets; only `make test-real` installs the real one."""
    program = tmp_path / "busybox"
    program.write_text('#!/bin/sh\nprintf "busybox\\nsh\\nsleep\\n"\n')
    program.chmod(0o755)
    monkeypatch.setattr(images, "BUSYBOX", program)
    monkeypatch.setattr(images, "pause_program", lambda directory: program)
    return program


def test_there_is_an_archive_for_each_pause_image_and_one_for_the_workload(tmp_path, busybox):
    (tmp_path / "out").mkdir()
    made = images.make({"rancher/pause:3.1", "rancher/pause:3.6"}, tmp_path / "out")
    layouts = [Layout(path) for path in made]
    names = ["docker.io/rancher/pause:3.1", "docker.io/rancher/pause:3.6", images.WORKLOAD]
    assert [each.name for each in layouts] == names
    entries = [each.config["config"]["Entrypoint"] for each in layouts]
    assert entries == [["/pause"], ["/pause"], ["/bin/sh"]]
    members = layouts[0].members()
    assert members["bin/sh"].linkname == "busybox"
    assert members["bin/busybox"].isfile()
    assert members["pause"].mode == 0o755


@pytest.mark.skipif(shutil.which("cc") is None, reason="a C compiler comes with `make test-real`")
def test_the_pause_program_ends_when_it_is_told_to(tmp_path):
    program = images.pause_program(tmp_path)
    command = f"{program} & p=$!; sleep 0.3; kill -TERM $p; wait $p"
    run([shutil.which("sh") or "sh", "-c", command], timeout=20)
