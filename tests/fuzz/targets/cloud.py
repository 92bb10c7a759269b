"""Cloud data: userdata in all its forms, what metadata services answer, media, the firmware."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

from k3os.errors import UserError
from tests.fuzz.target import target
from tests.fuzz.targets import scratch

FORMS = "#!/bin/sh #cloud-config #include Content-Type: MIME-Version: multipart/mixed; boundary="


@target("userdata", raises=(UserError,), words=f"{FORMS} base64 text/x-shellscript --BOUNDARY--")
def userdata(data: bytes) -> object:
    """Parts, each as it is then kept and read."""
    from k3os.cli.datasource import part_lines
    from k3os.config.check import check_text
    from k3os.config.cloud_init import too_late
    from k3os.datasource.found import Found
    from k3os.datasource.store import keep
    from k3os.datasource.userdata import parts
    from k3os.phases.node import Node

    usable, left_out = parts(data)
    for part in usable:
        part_lines(part)
        if not part.is_script:
            too_late(check_text(part.data, "userdata")[0])
    node = Node(str(scratch.directory() / "cloud"))
    return left_out, keep(node, Found("nocloud", userdata=data), usable)


@target("metadata", raises=(UserError,), words="local-hostname: public-keys: openssh-key: - ")
def metadata(data: bytes) -> object:
    """meta-data of NoCloud and Hetzner, meta_data.json of OpenStack and its config drive."""
    from k3os.config.check import check_text
    from k3os.datasource import configdrive, nocloud
    from k3os.datasource.found import Found
    from k3os.datasource.store import metadata as kept

    found = []
    for module in (nocloud, configdrive):
        try:
            hostname, keys, *_ = module.described(data, "x")
        except UserError:
            continue
        found.append(Found("x", hostname, keys))
        assert not [each for each in check_text(kept(found[-1]), "x")[1] if each.is_error]
    return [str(each) for each in found]


@target(
    "services", words='"hostname": "public_keys": "ssh_keys": "compute": "osProfile": "publicKeys"'
)
def services(data: bytes) -> object:
    """What the services of all platforms may answer, each path with the same bytes."""
    from k3os.datasource.platforms import SOURCES, fetch
    from k3os.datasource.query import Query

    found: list[object] = []
    with _answering(data):
        for name, source in SOURCES.items():
            if source.is_local:
                continue
            try:
                found.append(fetch(name)(Query()))
            except UserError as error:
                found.append(str(error))
    return found


@contextmanager
def _answering(data: bytes) -> Iterator[None]:
    def get(self: Any, path: str, **_: Any) -> bytes:
        return data

    with (
        patch("k3os.datasource.service.Service.get", get),
        patch("k3os.datasource.azure.custom_data", lambda **_: b""),
    ):
        yield


@target("azure-cd", raises=(UserError,), words="<CustomData> </CustomData> <ns1:CustomData>")
def azure_cd(data: bytes) -> object:
    from k3os.datasource.azure import read

    scratch.file(data, "azure/ovf-env.xml")
    return read(str(scratch.directory() / "azure"))


@target("kept-cloud-data")
def kept_cloud_data(data: bytes) -> object:
    """What an earlier boot left, after a power cut or a person."""
    from k3os.datasource.store import kept
    from k3os.phases.node import Node

    root = "kept/var/lib/rancher/k3os/datasource"
    scratch.file(data, f"{root}/source.json")
    scratch.file(data, f"{root}/metadata.yaml")
    scratch.file(b"#!/bin/sh\n", f"{root}/userdata.raw")
    return kept(Node(str(scratch.directory() / "kept")), ["nocloud", "aws"])


@target("firmware", words="Amazon EC2 Google Compute Engine OpenStack Nova Hetzner")
def firmware(data: bytes) -> object:
    """DMI's strings, of which each file has one."""
    from k3os.datasource.platforms import chosen

    names = ("sys_vendor", "product_name", "product_uuid", "chassis_asset_tag")
    for number, name in enumerate(names):
        line = (data.split(b"\n") + [b""] * len(names))[number]
        scratch.file(line, f"dmi/{name}")
    return chosen(["auto"], str(scratch.directory() / "dmi"))
