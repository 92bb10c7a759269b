"""Whether a system extension fits the system it would extend: who made it for what, and what of it
would be seen.

The rules are those of systemd-sysext(8) and os-release(5) (extension-release), and ours: it adds
files and replaces none. It looks at trees that are mounted already, and changes nothing. PID 1 of
the initrd imports it, when there is an extension.
"""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

RELEASES = "usr/lib/extension-release.d"
PREFIX = "extension-release."
OS_RELEASE = "usr/lib/os-release"
# SYSEXT_LEVEL of our image: another one when the libraries in it become others, with Debian
LEVEL = "debian13"
MODULES = "usr/lib/modules"
# what there may be at the top, and what below /usr would hide what is behind it
TOPS = ("usr", "opt")
CHARACTERS = frozenset("abcdefghijklmnopqrstuvwxyz0123456789._-")
LONGEST_NAME = 64
# `uname -m` to the names that ARCHITECTURE= has (systemd.unit(5), ConditionArchitecture=)
ARCHITECTURES = {"x86_64": "x86-64", "aarch64": "arm64", "armv7l": "arm", "armv8l": "arm"}
# the scopes that one without SYSEXT_SCOPE has
SCOPES = "system portable"


def is_name(text: str) -> bool:
    """Whether an extension may be called so: it becomes a path, and an option of overlayfs."""
    return 0 < len(text) <= LONGEST_NAME and text[0] not in ".-_" and CHARACTERS.issuperset(text)


def read_release(path: str) -> dict[str, str]:
    """The fields of an os-release(5). Raises OSError."""
    fields = {}
    with open(path, errors="surrogateescape") as file:
        for line in file:
            name, equals, value = line.strip().partition("=")
            if equals and name[:1] != "#":
                fields[name] = value.strip("\"'")
    return fields


def release_of(root: str, name: str) -> dict[str, str]:
    """What the extension of that name, mounted at root, says of itself. Raises OSError."""
    return read_release(f"{root}/{RELEASES}/{PREFIX}{name}")


def version_of(release: Mapping[str, str]) -> str:
    """Of the extension itself, "" where it says none."""
    return release.get("IMAGE_VERSION", "")[:LONGEST_NAME]


def names_in(root: str) -> list[str]:
    """What the tree at root calls itself: one name where it is an extension. Raises OSError."""
    directory = f"{root}/{RELEASES}"
    found = os.listdir(directory) if os.path.isdir(directory) else []
    return sorted(each.removeprefix(PREFIX) for each in found if each.startswith(PREFIX))


def obstacle(root: str, name: str, image: str, machine: str, kernel: str) -> str:
    """Why the extension of that name, mounted at root, does not fit, in words; "" where it does.

    image: the root of the system's image; machine: as `uname -m` says it; kernel: its release.
    Raises OSError for a damaged one.
    """
    others = sorted(set(os.listdir(root)) - set(TOPS))
    if others:
        return f"it has /{others[0]}, and only files below /usr and /opt would be seen"
    if name not in names_in(root):
        return f"it has no /{RELEASES}/{PREFIX}{name}"
    release, system = release_of(root, name), read_release(f"{image}/{OS_RELEASE}")
    return (
        _wrong_system(release, system)
        or _wrong_machine(release, machine)
        or _wrong_scope(release)
        or _wrong_kernel(root, kernel)
        or _wrong_opt(root)
    )


def _wrong_system(release: Mapping[str, str], system: Mapping[str, str]) -> str:
    """systemd-sysext(8): ID, then SYSEXT_LEVEL where both have one, else VERSION_ID."""
    made_for = release.get("ID", "")
    if made_for == "_any":
        return ""
    if made_for != system.get("ID"):
        return f"it was made for ID={made_for or 'nothing'}, not for {system.get('ID', 'this')}"
    both = "SYSEXT_LEVEL" in release and "SYSEXT_LEVEL" in system
    field = "SYSEXT_LEVEL" if both else "VERSION_ID"
    if release.get(field) != system.get(field):
        wanted, found = system.get(field, "none"), release.get(field, "none")
        return f"it was made for {field}={found}, this k3OS has {wanted}"
    return ""


def _wrong_machine(release: Mapping[str, str], machine: str) -> str:
    made_for = release.get("ARCHITECTURE", "")
    own = ARCHITECTURES.get(machine, machine)
    if made_for in ("", "_any", own):
        return ""
    return f"it was made for {made_for}, this machine is {own}"


def _wrong_scope(release: Mapping[str, str]) -> str:
    scopes = release.get("SYSEXT_SCOPE", SCOPES).split()
    return "" if "system" in scopes else f"its SYSEXT_SCOPE is {' '.join(scopes)}, not system"


def _wrong_kernel(root: str, kernel: str) -> str:
    directory = f"{root}/{MODULES}"
    found = sorted(os.listdir(directory)) if os.path.isdir(directory) else []
    wrong = [each for each in found if each != kernel]
    if not wrong:
        return ""
    return f"it has modules for the kernel {wrong[0]}, this one is {kernel}"


def _wrong_opt(root: str) -> str:
    """What is in /opt is shown directory by directory."""
    directory = f"{root}/opt"
    names = sorted(os.listdir(directory)) if os.path.isdir(directory) else []
    wrong = [name for name in names if not _is_directory(f"{directory}/{name}")]
    return f"/opt/{wrong[0]} is not a directory" if wrong else ""


def paths(root: str) -> Iterator[str]:
    """Every path below root, relative to it; reads all directories. Raises OSError where one of
    them cannot be read."""

    def raise_it(error: OSError) -> None:
        raise error

    for directory, directories, files in os.walk(root, onerror=raise_it):
        base = directory[len(root) + 1 :]
        for name in (*directories, *files):
            yield f"{base}/{name}" if base else name


def unseen(root: str, image: str) -> list[str]:
    """The paths of the tree at root that would not be seen over the one at image: that one's come
    first. Directories that both have are one. Raises OSError."""
    return [
        path
        for path in paths(root)
        if os.path.lexists(f"{image}/{path}")
        and not (_is_directory(f"{root}/{path}") and _is_directory(f"{image}/{path}"))
    ]


def _is_directory(path: str) -> bool:
    return os.path.isdir(path) and not os.path.islink(path)
