"""System extensions in the early boot: mounted, checked, and laid beneath the image's own files.

Everything is there before systemd starts: units, udev rules, programs. The image's layer is the
first one of each overlay (Documentation/filesystems/overlayfs.rst), so no extension hides a file
of the system. One that is damaged or does not fit costs itself, and says so; nothing here may keep
a node from booting. Imported only where a generation has extensions.
"""

import json
import os

from k3os.errors import visible
from k3os.generation import extension_fit as fit
from k3os.paths import EXTENSION_ROOTS, EXTENSIONS
from k3os.system import mounts
from k3os.system.console import say
from k3os.system.files import atomic_write
from k3os.system.mounts import MS_RDONLY

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

SUFFIX = ".raw"
LONGEST = 300
# what the kernel's own image has: an extension adds to it, and its modules.dep and the like, which
# were made for both, come first
BESIDE_KERNEL = {"modules": True, "firmware": False}
USERS = "usr/lib/sysusers.d"


class Extension:
    """root: where it is mounted. is_seen: its /usr is part of the system. reason: why not, or why
    not all of it, "" for one that is as it should be."""

    __slots__ = ("name", "root", "version", "is_seen", "reason")

    def __init__(self, name: str) -> None:
        self.name = name
        self.root = f"{EXTENSION_ROOTS}/{name}"
        self.version = ""
        self.is_seen = False
        self.reason = ""

    def try_to(self, do: "Callable[[Extension], str]") -> None:
        """do: returns why it cannot, or ""; what it raises is a reason, too."""
        if self.reason:
            return
        try:
            reason = do(self)
        except OSError as error:
            reason = error.strerror or str(error)
        except Exception as error:
            from k3os.system.bug import report

            reason = report(error)
        if reason:
            extent = "only a part of it is there" if self.is_seen else "it is left out"
            self.reason = f"{extent}: {visible(reason)[:LONGEST]}"
            say(f"the extension {self.name}: {self.reason}")

    def has(self, path: str) -> bool:
        return os.path.isdir(f"{self.root}/{path}")


class Extensions:
    """Those of the generation that boots, in the order of their names."""

    def __init__(self, directory: str, image: str) -> None:
        """Mount them. directory: has a link to each; image: the mounted root file system."""
        self.image = image
        self.all = [Extension(name.removesuffix(SUFFIX)) for name in sorted(os.listdir(directory))]
        for each in self.all:
            each.try_to(lambda this: self._mount(this, directory))
        # modules.dep and the like of two of them would exclude each other
        for each in [each for each in self.active if each.has(fit.MODULES)][1:]:
            each.try_to(lambda _: "another one has modules of the kernel, too")

    @property
    def active(self) -> list[Extension]:
        return [each for each in self.all if not each.reason]

    def _mount(self, each: Extension, directory: str) -> str:
        path = f"{directory}/{each.name}{SUFFIX}"
        if not fit.is_name(each.name):
            return "this is not a valid name for an extension"
        if not os.path.exists(path):
            return "its file is missing"
        try:
            mounts.mount_image(path, each.root)
        except OSError as error:
            return f"it cannot be mounted, perhaps it is damaged: {error.strerror}"
        system = os.uname()
        try:
            reason = fit.obstacle(each.root, each.name, self.image, system.machine, system.release)
            # a directory that cannot be read would break the same one of the system
            for _ in () if reason else fit.paths(each.root):
                continue
            if not reason:
                each.version = fit.version_of(fit.release_of(each.root, each.name))
        except OSError as error:
            return reason_of_damage(error)
        return reason

    def show_usr(self, target: str) -> bool:
        """/usr of the image with theirs behind it; whether there is one."""
        layers = [f"{self.image}/usr", *(f"{each.root}/usr" for each in self.active)]
        if len(layers) == 1 or not self._overlay(target, layers):
            return False
        for each in self.active:
            each.is_seen = True
        return True

    def show_rest(self, root: str) -> None:
        """What is not of /usr alone, below the new root, and a report of all. Raises OSError."""
        self._show_beside_kernel(f"{root}/usr/lib")
        for each in self.active:
            if each.has("opt"):
                each.try_to(lambda this: _show_directories(f"{this.root}/opt", f"{root}/opt"))
        known = {each.name: {"version": each.version, "reason": each.reason} for each in self.all}
        atomic_write(EXTENSIONS, json.dumps(known, indent=1).encode() + b"\n")

    def _show_beside_kernel(self, libraries: str) -> None:
        """Modules and firmware, over those of the kernel that are shown there already."""
        for name, is_first in BESIDE_KERNEL.items():
            own = f"{libraries}/{name}"
            layers = [
                f"{each.root}/usr/lib/{name}" for each in self.active if each.has(f"usr/lib/{name}")
            ]
            if layers:
                self._overlay(own, [*layers, own] if is_first else [own, *layers])

    def _overlay(self, target: str, layers: list[str]) -> bool:
        try:
            mounts.mount("extensions", target, "overlay", MS_RDONLY, f"lowerdir={':'.join(layers)}")
        except OSError as error:
            reason = f"no overlay is possible at {target}: {error.strerror}"
            for each in self.active:
                each.try_to(lambda _: reason)
            return False
        return True


def reason_of_damage(error: OSError) -> str:
    return f"it is damaged: {error.strerror or error}"


def _show_directories(source: str, target: str) -> str:
    names = sorted(os.listdir(source))
    for name in names:
        if os.path.isdir(f"{target}/{name}") and os.listdir(f"{target}/{name}"):
            return f"/opt/{name} has files already, which it would hide"
    for name in names:
        os.makedirs(f"{target}/{name}", exist_ok=True)
        mounts.bind(f"{source}/{name}", f"{target}/{name}")
    return ""


def user_files() -> list[str]:
    """sysusers.d(5) of those that are there. Raises OSError."""
    with open(EXTENSIONS, errors="replace") as file:
        known = json.load(file)
    found = []
    for name, entry in sorted(known.items()):
        directory = f"{EXTENSION_ROOTS}/{name}/{USERS}"
        if not entry["reason"] and os.path.isdir(directory):
            found += [f"{directory}/{each}" for each in sorted(os.listdir(directory))]
    return found


def add_users() -> None:
    """The users that they need: each boot makes /etc anew. Raises OSError, CommandError."""
    if files := user_files():
        from k3os.system.run import run

        run(["systemd-sysusers", *files], timeout=60)
