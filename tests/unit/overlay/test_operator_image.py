"""The script that imports the operator's image into k3s, with the k3s stub."""

import io
import json
import os
import subprocess
import tarfile
import threading
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
SCRIPT = ROOT / "overlay/rootfs/usr/lib/k3os/operator-image"
STUB = ROOT / "tests/stubs/k3s"
NAME, ID = "k3os.invalid/k3os-operator:0.2.0", "sha256:5af"
IMAGES = "run/k3s-stub/containerd-images"


def archive() -> bytes:
    """An archive with the same names as from the image builder's oci.py."""
    text = json.dumps([{"Config": "blobs/sha256/5af", "RepoTags": [NAME], "Layers": []}]).encode()
    with io.BytesIO() as raw:
        with tarfile.open(fileobj=raw, mode="w") as tar:
            entry = tarfile.TarInfo("manifest.json")
            entry.size = len(text)
            tar.addfile(entry, io.BytesIO(text))
        return raw.getvalue()


class Node:
    """A node whose k3s runs; its containerd's record has a line "name labels" per image."""

    def __init__(self, root: Path) -> None:
        self.root = root
        packed = subprocess.run(["zstd", "-qc"], input=archive(), check=True, capture_output=True)
        for name, data in {
            "usr/share/k3os/operator/image.tar.zst": packed.stdout,
            "usr/share/k3os/operator/image-id": f"{ID}\n".encode(),
            "usr/share/k3os/operator/image-name": f"{NAME}\n".encode(),
            "usr/sbin/k3s": f'#!/bin/sh\necho "$*" >>{root}/calls\nexec {STUB} "$@"\n'.encode(),
            "run/k3s-stub/pid": f"{os.getpid()}\n".encode(),
            "calls": b"",
        }.items():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_bytes(data)
            (root / name).chmod(0o755)
        self.told = root / "run/k3os/operator-image"
        self.wanted = root / "run/k3os/report-wanted"
        self.told.parent.mkdir()
        self.socket = root / "run/k3s/containerd/containerd.sock"
        self.socket.parent.mkdir(parents=True)
        os.mknod(self.socket, 0o140600)

    def call(self, patience: int = 0) -> subprocess.CompletedProcess[str]:
        """Run the script. patience: seconds that containerd may take."""
        environment = {**os.environ, "K3OS_ROOT": str(self.root), "K3S_STUB_ROOT": str(self.root)}
        environment["K3OS_PATIENCE"] = str(patience)
        return subprocess.run([SCRIPT], env=environment, text=True, capture_output=True)

    def images(self) -> dict[str, str]:
        path = self.root / IMAGES
        lines = path.read_text().splitlines() if path.exists() else []
        return dict(line.split(" ", 1) for line in lines)

    def calls(self) -> list[str]:
        return (self.root / "calls").read_text().splitlines()


@pytest.fixture
def node(tmp_path: Path) -> Node:
    if os.geteuid() != 0:
        pytest.skip("the stub of ctr answers root only, as the real one does")
    return Node(tmp_path)


def test_an_image_that_is_not_there_is_imported_and_kept_from_the_garbage_collection(
    node: Node,
) -> None:
    done = node.call()
    assert (done.returncode, done.stdout) == (0, f"imported {NAME}\n"), done.stderr
    assert node.images() == {NAME: "io.cri-containerd.pinned=pinned", ID: ""}
    assert (node.told.read_text(), node.wanted.exists()) == (f"{ID}\n", True)


def test_one_that_is_there_is_left_alone_and_told_of_once_in_a_boot(node: Node) -> None:
    node.call()
    for before in (node.told, node.wanted):
        before.unlink()  # as after a boot
    assert (node.call().returncode, node.wanted.exists()) == (0, True)
    assert node.told.read_text() == f"{ID}\n"
    node.wanted.unlink()
    (node.root / "calls").write_text("")
    done = node.call()
    assert (done.returncode, done.stdout) == (0, "")
    (call,) = node.calls()
    assert call.startswith("ctr -n k8s.io images ls -q ")
    assert not node.wanted.exists()


def test_one_of_the_same_name_with_another_content_is_imported(node: Node) -> None:
    (node.root / IMAGES).write_text(f"{NAME} \nsha256:old \n")
    assert node.call().stdout == f"imported {NAME}\n"
    assert ID in node.images()


def test_the_images_of_other_versions_may_go(node: Node) -> None:
    pinned = "io.cri-containerd.pinned=pinned"
    others = "docker.io/rancher/pause:3.1 io.cri-containerd.pinned=pinned\n"
    (node.root / IMAGES).write_text(f"k3os.invalid/k3os-operator:0.1.0 {pinned}\n{others}")
    node.call()
    images = node.images()
    assert images["k3os.invalid/k3os-operator:0.1.0"] == ""
    assert images[NAME] == images["docker.io/rancher/pause:3.1"] == pinned


def test_one_that_was_imported_and_not_kept_is_kept_from_now_on(node: Node) -> None:
    """After k3s was stopped in between, or a newer version was rolled back."""
    pinned, newer = "io.cri-containerd.pinned=pinned", "k3os.invalid/k3os-operator:0.3.0"
    (node.root / IMAGES).write_text(f"{NAME} \n{ID} \n{newer} {pinned}\n")
    assert node.call().returncode == 0
    images = node.images()
    assert (images[NAME], images[newer]) == (pinned, "")


def test_it_is_not_unpacked_for_a_snapshotter_that_k3s_may_not_have(node: Node) -> None:
    node.call()
    assert "ctr -n k8s.io images import --no-unpack -" in node.calls()


def test_a_containerd_that_comes_after_k3s_api_is_waited_for(node: Node) -> None:
    node.socket.unlink()
    later = threading.Timer(0.5, os.mknod, (node.socket, 0o140600))
    later.start()
    done = node.call(patience=60)
    later.join()
    assert done.stdout == f"imported {NAME}\n"


def test_neither_the_boot_nor_a_trial_waits_for_it() -> None:
    """While a job is running, systemd's state is `starting`, and a trial would fail."""
    unit = (ROOT / "overlay/rootfs/usr/lib/systemd/system/k3os-operator-image.service").read_text()
    assert "Type=exec" in unit.splitlines()


def test_a_k3s_without_containerd_is_told_of(node: Node) -> None:
    node.socket.unlink()
    done = node.call()
    assert done.returncode == 0
    assert "k3s has no containerd of its own here" in done.stdout
    assert node.calls() == []


def test_a_containerd_that_does_not_answer_is_a_failure_that_is_tried_again(node: Node) -> None:
    (node.root / "run/k3s-stub/pid").write_text("none\n")
    done = node.call()
    assert done.returncode != 0
    assert "failed to dial" in done.stderr
    assert not node.told.exists()
    unit = (ROOT / "overlay/rootfs/usr/lib/systemd/system/k3os-operator-image.service").read_text()
    assert "Restart=on-failure" in unit


def test_a_damaged_archive_is_a_failure(node: Node) -> None:
    (node.root / "usr/share/k3os/operator/image.tar.zst").write_bytes(b"nothing of the kind")
    assert node.call().returncode != 0
    assert node.images() == {}
    assert not node.told.exists()


def test_it_is_started_whenever_k3s_is_there() -> None:
    unit = (ROOT / "overlay/rootfs/usr/lib/systemd/system/k3s.service").read_text()
    post = [line for line in unit.splitlines() if line.startswith("ExecStartPost=")]
    assert any(line.endswith("--no-block start k3os-operator-image.service") for line in post)
