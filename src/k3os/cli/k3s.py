"""`k3os k3s`: download k3s on a node whose image has none; print the published sums of versions
(`k3os.k3s_sums`); record a new pinned version.

k3os-k3s-fetch.service calls `fetch` again and again until it succeeds (k3os.node.k3s_fetch).
"""

from __future__ import annotations

import json

from k3os.cli import options
from k3os.errors import UserError
from k3os.node.k3s_fetch import DIRECTORY, MANIFEST, announced, fetch_on_node

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

HELP = f"""\
usage: k3os k3s fetch [--announce | VERSION]
       k3os k3s sums VERSION...
       k3os k3s pin [VERSION...]
       k3os k3s version

  fetch    download k3s (VERSION, else the one of this image's manifest, else the pinned one),
           verify it and place it at {DIRECTORY}/k3s; does nothing when it is there.
           --announce reports progress on the consoles, too, as at boot
  sums     print k3os.k3s_sums of these versions for the configuration of a fleet, which then
           takes them from any mirror and nothing else under their names
  pin      for maintainers, in a checkout: record the hashes of the releases of these versions
           (else of the pinned one) for all architectures in src/k3os/k3s/pinned.json; the first
           becomes the version that an image gets
  version  print the pinned version

K3S_RELEASES=URL names a mirror of the k3s releases, by https or, for versions that are pinned, by
http. http_proxy, https_proxy and no_proxy count, and on a node those of k3os.environment.
"""


def main(argv: list[str]) -> int:
    words, given = options.read(HELP, argv)
    if words[0] == "fetch":
        from k3os.system.os_release import check_node

        check_node()
    if words == ["fetch"] and given:
        announced(DIRECTORY, MANIFEST)
        return 0
    actions: dict[str, Callable[..., object]] = {
        "fetch": lambda version="": fetch_on_node(version, DIRECTORY, MANIFEST),
        "sums": print_sums,
        "pin": pin,
        "version": print_version,
    }
    # action -> the minimum and maximum number of versions after it
    counts = {"fetch": (0, 1), "sums": (1, 100), "pin": (0, 100), "version": (0, 0)}
    least, most = counts[words[0]]
    options.count(HELP, words, 1 + least, 1 + most)
    if given:
        raise options.wrong(HELP, "--announce goes with fetch alone")
    actions[words[0]](*map(_checked_version, words[1:]))
    return 0


def _checked_version(text: str) -> str:
    from k3os.k3s.source import VERSION

    if not VERSION.fullmatch(text):
        raise UserError(f"{text!r} is not a k3s version", "write it like v1.33.1+k3s1")
    return text


def print_version() -> None:
    from k3os.k3s.source import pinned

    print(pinned().version)


def print_sums(*versions: str) -> None:
    """Print them in the format of a config.yaml."""
    from k3os.k3s.fetch import sums_of_release

    lines = ["k3os:", "  k3s_sums:"]
    for version in versions:
        # one hash for each architecture; a cluster may have several
        lines.append(f"    {version}: {' '.join(dict.fromkeys(sums_of_release(version).values()))}")
    print("\n".join(lines))


def pin(*versions: str) -> None:
    """Add the published hashes of all architectures to pinned.json; existing ones stay."""
    from k3os.k3s.fetch import sums_of_release
    from k3os.k3s.source import PINNED, pinned
    from k3os.system.files import atomic_write

    before = pinned()
    versions = versions or (before.version,)
    sums = {**before.sums, **{version: sums_of_release(version) for version in versions}}
    record = json.dumps({"version": versions[0], "sums": sums}, indent=2)
    try:
        atomic_write(str(PINNED), f"{record}\n".encode())
    except OSError as error:
        raise UserError(
            f"{PINNED} cannot be written: {error.strerror}", "pin in a checkout, not on a node"
        ) from error
    print(f"pinned k3s {', '.join(versions)}; commit {PINNED.name}")
