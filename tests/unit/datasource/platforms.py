"""The metadata services of the platforms on a local site, according to their documentation.

Each function adds one platform's pages. They refuse what the real one refuses: a missing header, an
unknown or old token, a wrong method, an unprivileged source port.
"""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable

from tests.unit.local_server import Handler, Page, Site

LIFETIME = (1, 21600)  # of an EC2 token, in seconds


class Given:
    """The data that the platform has for this machine."""

    def __init__(self, hostname: str, keys: list[str], userdata: bytes) -> None:
        self.hostname = hostname
        self.keys = keys
        self.userdata = userdata


def body(data: str | bytes, **headers: str) -> Page:
    raw = data if isinstance(data, bytes) else data.encode()
    return lambda handler: handler.answer(200, raw, **headers)


def optional(data: bytes, **headers: str) -> Page:
    """404 if there is no data, as on all platforms."""
    return body(data, **headers) if data else lambda handler: handler.answer(404)


def only_get(page: Page) -> Page:
    return lambda handler: page(handler) if handler.command == "GET" else handler.answer(405)


def add(site: Site, pages: dict[str, Page], guard: Callable[[Page], Page] = only_get) -> None:
    for path, page in pages.items():
        site.pages[path] = guard(page)


def aws(
    site: Site,
    given: Given,
    *,
    version_1: bool = False,
    clock: Callable[[], float] = time.monotonic,
) -> None:
    """version_1: a request without a token is answered, too."""
    tokens: dict[str, float] = {}

    def token(handler: Handler) -> None:
        seconds = int(handler.headers.get("X-aws-ec2-metadata-token-ttl-seconds") or 0)
        if handler.command != "PUT":
            handler.answer(405)
        elif handler.headers.get("X-Forwarded-For"):
            handler.answer(403)
        elif not LIFETIME[0] <= seconds <= LIFETIME[1]:
            handler.answer(400)
        else:
            fresh = f"token-{len(tokens)}=="
            tokens[fresh] = clock() + seconds
            handler.answer(200, fresh.encode())

    def with_token(page: Page) -> Page:
        def guarded(handler: Handler) -> None:
            shown = handler.headers.get("X-aws-ec2-metadata-token")
            if shown is None and version_1:
                page(handler)
            elif shown is None or tokens.get(shown, 0) <= clock():
                handler.answer(401)
            else:
                only_get(page)(handler)

        return guarded

    root = "/latest/meta-data/"
    listing = "ami-id\nhostname\nlocal-hostname\n" + ("public-keys/\n" if given.keys else "")
    names = "\n".join(f"{number}=key {number}" for number in range(len(given.keys)))
    pages = {root: body(listing), f"{root}local-hostname": body(given.hostname)}
    pages[f"{root}public-keys/"] = optional(names.encode())
    for number, key in enumerate(given.keys):
        pages[f"{root}public-keys/{number}/openssh-key"] = body(key + "\n")
    pages["/latest/user-data"] = optional(given.userdata)
    add(site, pages, with_token)
    site.pages["/latest/api/token"] = token


def gcp(site: Site, given: Given, *, blocked: bool = False) -> None:
    def with_flavor(page: Page) -> Page:
        def guarded(handler: Handler) -> None:
            wrong = handler.headers.get("X-Forwarded-For")
            if handler.headers.get("Metadata-Flavor") != "Google" or wrong:
                handler.answer(403, b"Missing Metadata-Flavor:Google header.")
            else:
                only_get(page)(handler)

        return guarded

    flavor = {"Metadata_Flavor": "Google"}
    root = "/computeMetadata/v1"
    expiring = 'me:ssh-rsa AAAAB3Nza google-ssh {"userName":"me","expireOn":"2026-01-01T00:00:00Z"}'
    lines = [f"user{number}:{key}" for number, key in enumerate(given.keys)]
    pages = {
        f"{root}/instance/hostname": body(given.hostname, **flavor),
        f"{root}/instance/attributes/ssh-keys": body("\n".join([*lines[:1], expiring]), **flavor),
        f"{root}/project/attributes/ssh-keys": body("\n".join(lines[1:]), **flavor),
        f"{root}/instance/attributes/user-data": optional(given.userdata, **flavor),
    }
    if blocked:
        pages[f"{root}/instance/attributes/block-project-ssh-keys"] = body("TRUE", **flavor)
    add(site, pages, with_flavor)


def openstack(site: Site, given: Given) -> None:
    metadata = {
        "uuid": "d8e02d56-2648-49a3-bf97-6be8f1204f38",
        "hostname": given.hostname,
        "name": given.hostname.partition(".")[0],
        "public_keys": {f"key{number}": f"{key}\n" for number, key in enumerate(given.keys)},
    }
    root = "/openstack/latest"
    add(
        site,
        {
            f"{root}/meta_data.json": body(json.dumps(metadata)),
            f"{root}/user_data": optional(given.userdata),
        },
    )


def packet(site: Site, given: Given) -> None:
    metadata = {"id": "2885032e", "hostname": given.hostname, "ssh_keys": given.keys}
    pages = {"/metadata": body(json.dumps(metadata)), "/userdata": optional(given.userdata)}
    add(site, pages)


def scaleway(site: Site, given: Given, *, any_port: bool = False) -> None:
    """any_port: for a network that changes the source port on the way."""

    def from_root(handler: Handler) -> None:
        if handler.client_address[1] >= 1024 and not any_port:
            handler.answer(403)
        else:
            optional(given.userdata)(handler)

    keys = [{"key": key, "fingerprint": "2048 MD5:…"} for key in given.keys]
    metadata = {"id": "9e0c", "hostname": given.hostname, "ssh_public_keys": keys, "tags": []}
    pages = {
        "/conf?format=json": body(json.dumps(metadata)),
        "/user_data/cloud-init": from_root,
    }
    add(site, pages)


def vultr(site: Site, given: Given) -> None:
    metadata = {
        "hostname": given.hostname,
        "instance-v2-id": "36e9cf60",
        "public-keys": "\n".join(given.keys) + "\n",
    }
    pages = {"/v1.json": body(json.dumps(metadata)), "/latest/user-data": optional(given.userdata)}
    add(site, pages)


def digitalocean(site: Site, given: Given) -> None:
    metadata: dict[str, object] = {"droplet_id": 2756294, "hostname": given.hostname}
    metadata["public_keys"] = given.keys
    if given.userdata:
        metadata["user_data"] = given.userdata.decode()
    add(site, {"/metadata/v1.json": body(json.dumps(metadata))})


def hetzner(site: Site, given: Given) -> None:
    keys = "".join(f"- {key}\n" for key in given.keys)
    text = f"availability-zone: hel1-dc2\nhostname: {given.hostname}\ninstance-id: 42\n"
    text += f"public-keys:\n{keys}" if keys else "public-keys: []\n"
    root = "/hetzner/v1"
    add(site, {f"{root}/metadata": body(text), f"{root}/userdata": optional(given.userdata)})


def azure(site: Site, given: Given) -> None:
    def with_header(page: Page) -> Page:
        def guarded(handler: Handler) -> None:
            asked = handler.headers.get("Metadata", "").lower() == "true"
            if not asked or handler.headers.get("X-Forwarded-For"):
                handler.answer(400, b'{"error": "Bad request. Required metadata header missing"}')
            else:
                only_get(page)(handler)

        return guarded

    compute = {
        "name": "vm-name",
        "osProfile": {"adminUsername": "me", "computerName": given.hostname},
        "publicKeys": [{"keyData": key, "path": "/home/me/.ssh/x"} for key in given.keys],
        "userData": base64.b64encode(given.userdata).decode(),
        "customData": "",
    }
    page = body(json.dumps({"compute": compute, "network": {}}))
    add(site, {"/metadata/instance?api-version=2021-02-01": page}, with_header)


PLATFORMS = {
    "aws": aws,
    "gcp": gcp,
    "openstack": openstack,
    "packet": packet,
    "scaleway": scaleway,
    "vultr": vultr,
    "digitalocean": digitalocean,
    "hetzner": hetzner,
    "azure": azure,
}
