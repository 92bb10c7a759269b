"""System extensions in the early boot: mount them, check them, lay them beneath the image's files.

Everything is there before systemd starts: units, udev rules, programs. The image's layer is the
first one of each overlay (Documentation/filesystems/overlayfs.rst), so no extension hides a file of
the system. A damaged or unsuitable one is left out and reported; nothing here may keep a node from
booting. Imported only if a generation has extensions.
"""

import json
import os

from k3os.errors import visible
from k3os.generation import extension_fit as fit
from k3os.paths import EXTENSION_ROOTS, EXTENSIONS
from k3os.system import mounts
from k3os.system.console import say
from k3os.system.files import atomic_write, read_object
from k3os.system.mounts import MS_RDONLY

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

SUFFIX = ".raw"
LONGEST = 300
# below /usr/lib -> whether extensions come first: modules do, since their modules.dep and the like
# were made for the kernel's modules, too
BESIDE_KERNEL = {"modules": True, "firmware": False}
USERS = "usr/lib/sysusers.d"


class Extension:
    """root: where it is mounted. is_seen: its /usr is part of the system. reason: why it, or a part
    of it, is missing, "" if all is well."""

    __slots__ = ("name", "root", "version", "is_seen", "reason")

    def __init__(self, name: str) -> None:
        self.name = name
        self.root = f"{EXTENSION_ROOTS}/{name}"
        self.version = ""
        self.is_seen = False
        self.reason = ""

    def try_to(self, do: "Callable[[Extension], str]") -> None:
        """do: returns why it cannot, or ""; an exception is a reason, too."""
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
    """Those of the generation that boots, sorted by name."""

    def __init__(self, directory: str, image: str) -> None:
        """Mount them. directory: has a link to each; image: the mounted root file system."""
        self.image = image
        self.all = [Extension(name.removesuffix(SUFFIX)) for name in sorted(os.listdir(directory))]
        for each in self.all:
            each.try_to(lambda this: self._mount(this, directory))
        # two of them would hide each other's modules.dep and the like
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
            # an unreadable directory would break the system's directory in the same place
            for _ in () if reason else fit.paths(each.root):
                continue
            if not reason:
                each.version = fit.version_of(fit.release_of(each.root, each.name))
        except OSError as error:
            return reason_of_damage(error)
        return reason

    def show_usr(self, target: str) -> bool:
        """Mount the image's /usr with theirs beneath it; whether there is any."""
        layers = [f"{self.image}/usr", *(f"{each.root}/usr" for each in self.active)]
        if len(layers) == 1 or not self._overlay(target, layers):
            return False
        for each in self.active:
            each.is_seen = True
        return True

    def show_rest(self, root: str) -> None:
        """Mount the rest below the new root, and write a report of all. Raises OSError."""
        self._show_beside_kernel(f"{root}/usr/lib")
        for each in self.active:
            if each.has("opt"):
                each.try_to(lambda this: _show_directories(f"{this.root}/opt", f"{root}/opt"))
        known = {each.name: {"version": each.version, "reason": each.reason} for each in self.all}
        atomic_write(EXTENSIONS, json.dumps(known, indent=1).encode() + b"\n")

    def _show_beside_kernel(self, libraries: str) -> None:
        """Add modules and firmware to those of the kernel, which are mounted already."""
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
    """The sysusers.d(5) files of active extensions. Raises OSError."""
    found = []
    for name, entry in sorted(read_object(EXTENSIONS).items()):
        directory = f"{EXTENSION_ROOTS}/{name}/{USERS}"
        if not entry["reason"] and os.path.isdir(directory):
            found += [f"{directory}/{each}" for each in sorted(os.listdir(directory))]
    return found


def add_users() -> None:
    """Create the users that they need, since each boot makes a new /etc. Raises OSError,
    CommandError."""
    if files := user_files():
        from k3os.system.run import run

        run(["systemd-sysusers", *files], timeout=60)
