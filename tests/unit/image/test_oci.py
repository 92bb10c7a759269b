"""The archive of an OCI image: its metadata is correct, and its bytes are reproducible."""

import dataclasses
import json
from pathlib import Path

from k3os.image.oci import Image, image_id, write_archive, write_layer
from k3os.image.tree import Tree
from k3os.system.run import run
from tests.oci_layout import Layout

IMAGE = Image("example.org/one:1.2", "arm64", 1_700_000_000, {"User": "1:1", "Cmd": ["x"]})


def layers(directory: Path, upper: bytes = b"upper") -> Path:
    """An archive of two layers, the upper one with a file of the lower one."""
    directory.mkdir()
    lower = Tree()
    lower.file("etc/one", b"lower" * 1000)
    lower.file("etc/two", b"two", 0o600, 7, 8)
    lower.link("lib", "usr/lib")
    higher = Tree()
    higher.file("etc/one", upper)
    found = [
        write_layer(tree, name, directory / f"{name}.zst", 5)
        for name, tree in (("lower", lower), ("upper", higher))
    ]
    write_archive(IMAGE, found, directory / "image.tar.zst")
    return directory / "image.tar.zst"


def test_the_archive_is_a_valid_layout_with_what_was_put_in(tmp_path: Path) -> None:
    layout = Layout(layers(tmp_path / "a"))
    assert layout.name == "example.org/one:1.2"
    assert layout.config["architecture"] == "arm64"
    assert layout.config["config"] == {"User": "1:1", "Cmd": ["x"]}
    assert layout.config["created"] == "2023-11-14T22:13:20Z"
    assert [each["created_by"] for each in layout.config["history"]] == ["lower", "upper"]
    two = layout.members()["etc/two"]
    assert (two.mode, two.uid, two.gid, two.mtime) == (0o600, 7, 8, 5)
    root = tmp_path / "root"
    root.mkdir()
    layout.unpack(root)
    assert (root / "etc/one").read_bytes() == b"upper"


def test_an_image_is_called_by_the_digest_of_its_configuration(tmp_path: Path) -> None:
    archive = layers(tmp_path / "a")
    layout = Layout(archive)
    tree = Tree()
    tree.file("etc/one", b"upper")
    one = write_layer(tree, "upper", tmp_path / "one.zst", 5)
    assert image_id(IMAGE, [one]) != image_id(IMAGE, [one, one])
    (only,) = json.loads(layout.files["manifest.json"])
    lower_and_upper = [
        dataclasses.replace(one, unpacked=each.removeprefix("sha256:"), purpose=purpose)
        for each, purpose in zip(
            layout.config["rootfs"]["diff_ids"], ("lower", "upper"), strict=True
        )
    ]
    known = image_id(IMAGE, lower_and_upper)
    assert only["Config"] == f"blobs/{known.replace(':', '/')}"


def test_the_same_trees_give_the_same_bytes_and_no_file_is_left_over(tmp_path: Path) -> None:
    first, second = layers(tmp_path / "a"), layers(tmp_path / "b")
    assert first.read_bytes() == second.read_bytes()
    left = {path.name for path in first.parent.iterdir()}
    assert left == {"lower.zst", "upper.zst", "image.tar.zst"}


def test_another_upper_layer_leaves_the_lower_ones_digest_alone(tmp_path: Path) -> None:
    first, second = (Layout(layers(tmp_path / name, name.encode())) for name in "ab")
    digests = [each.config["rootfs"]["diff_ids"] for each in (first, second)]
    assert digests[0][0] == digests[1][0]
    assert digests[0][1] != digests[1][1]


def test_one_stream_comes_out_of_all_frames(tmp_path: Path) -> None:
    """tar reads it to the end, too: nothing follows its end marker."""
    archive = layers(tmp_path / "a")
    listed = run(["tar", "--zstd", "-tf", str(archive)]).decode().split()
    assert len(listed) == 7
    assert listed[:3] == ["oci-layout", "index.json", "manifest.json"]


def test_the_time_of_the_image_is_that_of_the_build(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    layer = write_layer(Tree(), "empty", tmp_path / "a" / "f", 0)
    later = dataclasses.replace(IMAGE, epoch=0)
    write_archive(later, [layer], tmp_path / "a" / "image")
    assert Layout(tmp_path / "a" / "image").config["created"] == "1970-01-01T00:00:00Z"
