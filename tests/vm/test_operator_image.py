"""The operator's image, unpacked and run like a container, but without a container runtime."""

import hashlib
import json
import os
import re

import pytest

from k3os.image.operator import SETTINGS
from k3os.image.operator_base import FILES
from k3os.image.wheels import LOCK
from k3os.names import OPERATOR_UID
from k3os.operator.manifests import Build, as_yaml, image_name
from k3os.system.run import run
from tests.oci_layout import Layout
from tests.vm.conftest import ROOT

# uses the image's data as the operator does: a window's time zone, the API server's certificate
PROGRAM = """
import ssl, sys, zoneinfo
import kopf, lightkube, prometheus_client, yaml
import k3os.operator.app, k3os.operator.payload
import aiohttp, lightkube.models.core_v1, lightkube.resources.core_v1
zoneinfo.ZoneInfo("Europe/Berlin")
assert ssl.create_default_context().cert_store_stats()["x509_ca"] > 50
assert yaml.__with_libyaml__
print(sys.version_info[:2], k3os.__version__)
"""


@pytest.fixture(scope="module")
def layout(images) -> Layout:
    return Layout(images.iso.with_name("k3os-operator-amd64.tar.zst"))


@pytest.fixture(scope="module")
def version(images) -> str:
    manifest = json.loads(images.iso.with_name("k3os-manifest-amd64.json").read_text())
    return manifest["k3os"]


@pytest.fixture(scope="module")
def root(layout, tmp_path_factory):
    directory = tmp_path_factory.mktemp("operator")
    directory.chmod(0o755)  # a container's user is not ours
    layout.unpack(directory)
    return directory


def inside(root, *command: str) -> str:
    """Run a program in the image, with the image's environment, and return its output."""
    environment = dict(pair.split("=", 1) for pair in SETTINGS["Env"])
    wanted: dict[str, str | None] = {**dict.fromkeys(os.environ), **environment}
    wanted["PATH"] = "/usr/sbin:/usr/bin:/sbin:/bin"
    user = ["--userspec", f"{OPERATOR_UID}:{OPERATOR_UID}"] if os.getuid() == 0 else []
    prefix = [] if os.getuid() == 0 else ["unshare", "--map-root-user"]
    return run([*prefix, "chroot", *user, str(root), *command], env=wanted).decode()


def test_the_archive_is_a_valid_image_with_the_name_that_the_deployment_asks_for(layout, version):
    assert layout.name == image_name(version)
    assert layout.config["config"] == json.loads(json.dumps(SETTINGS))
    assert layout.config["config"]["User"] == f"{OPERATOR_UID}:{OPERATOR_UID}"


def test_the_libraries_have_a_layer_of_their_own_and_ours_is_small(layout):
    lower, upper = layout.layers
    assert len(upper) < 3_000_000 < len(lower)


def test_everything_that_the_operator_imports_is_there(root, version):
    output = inside(root, "/usr/bin/python3", "-c", PROGRAM)
    assert output == f"(3, 13) {version}\n"


def test_the_entry_point_is_the_operator(root, version):
    words = SETTINGS["Entrypoint"]
    assert "k3os operator run" in inside(root, *words, "--help")
    image = f"sha256:{'5' * 64}"
    assert inside(root, *words, "manifests", image, "amd64") == as_yaml(
        Build(version, image, "amd64")
    )


def test_no_junk_and_no_program_to_install_more(layout):
    names = set(layout.members())
    bad = re.compile(r"(/pip/|/ensurepip/|/tests?/|\.pyi$|/image/|/vm/|/bin/(sh|bash)$)")
    assert [name for name in names if bad.search(name)] == []
    compiled = [name for name in names if name.endswith(".pyc")]
    ours = [name for name in names if name.endswith(".py")]
    assert len(compiled) > 1000
    assert all("/dist-packages/k3os/" in name for name in ours)


def test_nobody_in_the_container_may_change_a_file(layout):
    writable = [
        name
        for name, info in layout.members().items()
        if not info.issym() and (info.mode & 0o022 or info.uid or info.gid)
    ]
    assert writable == ["tmp"]
    assert f"k3os:x:{OPERATOR_UID}:{OPERATOR_UID}:" in FILES["etc/passwd"]


def test_the_sbom_names_the_libraries(images):
    document = json.loads(images.iso.with_name("k3os-amd64.spdx.json").read_text())
    found = {
        entry["externalRefs"][0]["referenceLocator"]: entry.get("checksums")
        for entry in document["packages"]
    }
    lines = (ROOT / LOCK).read_text().splitlines()
    pinned = [line.split()[0].split("==") for line in lines if "==" in line.split("#")[0]]
    assert len(pinned) > 10
    for name, wanted in pinned:
        (checksum,) = found[f"pkg:pypi/{name}@{wanted}"]
        assert f"--hash=sha256:{checksum['checksumValue']}" in (ROOT / LOCK).read_text()


def test_the_sums_have_the_image(images):
    file = images.iso.with_name("k3os-operator-amd64.tar.zst")
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    assert f"{digest}  {file.name}\n" in images.iso.with_name("sha256sum-amd64.txt").read_text()
