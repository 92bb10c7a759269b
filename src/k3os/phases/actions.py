"""The effects that a plan consists of. Each can describe itself and perform itself.

`perform(node)` returns DONE, UNCHANGED or LATER and raises OSError, CommandError or UserError.
Descriptions never contain file contents: they end up in a file that everybody can read.
"""

from __future__ import annotations

import os

from k3os.config.value import Place

TYPE_CHECKING = False
if TYPE_CHECKING:
    from k3os.phases.node import Node

DONE, UNCHANGED, LATER, FAILED = "done", "unchanged", "later", "failed"


class Action:
    """key: the configuration key that it comes from; place: where the key was written."""

    __slots__ = ("key", "note", "place", "result")

    def __init__(self, key: str, place: Place) -> None:
        self.key = key
        self.place = place
        self.note = ""  # set by perform(): what a person should know
        self.result = ""  # set by the runner

    def describe(self) -> str:
        raise NotImplementedError

    def perform(self, node: Node) -> str:
        raise NotImplementedError

    @property
    def thing(self) -> str:
        """What it leaves behind, to be undone when it leaves the configuration (ours.py), or ""."""
        return ""

    def traces(self) -> tuple[str, str | None]:
        """For a thing, after perform: a mark that identifies it, and what was there before."""
        return "", None


class WriteFile(Action):
    """A whole file. uid, gid -1: root's. Missing parents get mode 0755 and, below a home directory,
    the same owner."""

    __slots__ = ("data", "gid", "mode", "path", "uid")

    def __init__(
        self,
        key: str,
        place: Place,
        path: str,
        data: bytes,
        mode: int = 0o644,
        uid: int = 0,
        gid: int = 0,
    ) -> None:
        super().__init__(key, place)
        self.path = path
        self.data = data
        self.mode = mode
        self.uid = uid
        self.gid = gid

    def describe(self) -> str:
        return f"write {self.path} ({len(self.data)} bytes, mode {self.mode:04o})"

    def perform(self, node: Node) -> str:
        from k3os.errors import UserError
        from k3os.system.files import atomic_write

        path = node.entry(self.path)
        if _is_written(path, self.data, self.mode, self.uid, self.gid):
            return UNCHANGED
        try:
            os.makedirs(os.path.dirname(path), exist_ok=True)
            # only root can change owners; a test as another user keeps its own
            uid, gid = (self.uid, self.gid) if os.geteuid() == 0 else (-1, -1)
            atomic_write(path, self.data, mode=self.mode, uid=uid, gid=gid)
        except FileExistsError:
            raise UserError(f"{os.path.dirname(self.path)} is not a directory") from None
        except IsADirectoryError:
            raise UserError(f"{self.path} is a directory") from None
        except OSError as error:
            if error.errno == 30:  # EROFS
                hint = "write below /etc, /var, /home, /opt, /run or /usr/local"
                raise UserError(f"{self.path} is on a read-only file system", hint) from None
            raise
        return DONE


class OwnFile(WriteFile):
    """A file that is removed, or replaced by the image's, when nothing asks for it any more."""

    __slots__ = ()

    @property
    def thing(self) -> str:
        return f"file {self.path}"

    def traces(self) -> tuple[str, str | None]:
        from k3os.system.digest import mark_of

        return mark_of(self.data), None


def _is_written(path: str, data: bytes, mode: int, uid: int, gid: int) -> bool:
    try:
        status = os.lstat(path)
        if status.st_size != len(data) or status.st_mode & 0o170000 != 0o100000:
            return False
        if status.st_mode & 0o7777 != mode:
            return False
        if os.geteuid() == 0 and (status.st_uid, status.st_gid) != (uid, gid):
            return False
        with open(path, "rb") as file:
            return file.read() == data
    except (FileNotFoundError, NotADirectoryError):
        return False


class MakeDirectory(Action):
    """A directory with exactly this owner and mode; its contents stay."""

    __slots__ = ("gid", "mode", "path", "uid")

    def __init__(
        self, key: str, place: Place, path: str, mode: int, uid: int = 0, gid: int = 0
    ) -> None:
        super().__init__(key, place)
        self.path = path
        self.mode = mode
        self.uid = uid
        self.gid = gid

    def describe(self) -> str:
        return f"make {self.path}/ (mode {self.mode:04o})"

    def perform(self, node: Node) -> str:
        from k3os.errors import UserError

        path = node.entry(self.path)
        if os.path.islink(path):
            # otherwise whoever made the link would get its target
            raise UserError(f"{self.path} is a symbolic link", "make it a directory")
        existed = os.path.isdir(path)
        os.makedirs(path, exist_ok=True)
        status = os.stat(path)
        right_owner = os.geteuid() != 0 or (status.st_uid, status.st_gid) == (self.uid, self.gid)
        if existed and right_owner and status.st_mode & 0o7777 == self.mode:
            return UNCHANGED
        if not right_owner:
            os.chown(path, self.uid, self.gid)
        os.chmod(path, self.mode)
        return DONE


class Link(Action):
    """A symbolic link; replaces any file with its name."""

    __slots__ = ("path", "target")

    def __init__(self, key: str, place: Place, path: str, target: str) -> None:
        super().__init__(key, place)
        self.path = path
        self.target = target

    def describe(self) -> str:
        return f"link {self.path} to {self.target}"

    def perform(self, node: Node) -> str:
        from k3os.errors import UserError
        from k3os.system.files import atomic_symlink

        path = node.entry(self.path)
        if os.path.islink(path) and os.readlink(path) == self.target:
            return UNCHANGED
        if os.path.isdir(path) and not os.path.islink(path):
            raise UserError(f"{self.path} is a directory")
        os.makedirs(os.path.dirname(path), exist_ok=True)
        atomic_symlink(self.target, path)
        return DONE


class Remove(Action):
    """A file or link that must not exist; a link's target stays."""

    __slots__ = ("path",)

    def __init__(self, key: str, place: Place, path: str) -> None:
        super().__init__(key, place)
        self.path = path

    def describe(self) -> str:
        return f"remove {self.path}"

    def perform(self, node: Node) -> str:
        try:
            os.unlink(node.entry(self.path))
        except FileNotFoundError:
            return UNCHANGED
        return DONE


class SetKernel(Action):
    """A value in /proc/sys. A missing file may appear with a module in a later phase."""

    __slots__ = ("name", "path", "value", "was")

    def __init__(self, key: str, place: Place, name: str, path: str, value: str) -> None:
        super().__init__(key, place)
        self.name = name
        self.path = path
        self.value = value
        self.was: str | None = None

    def describe(self) -> str:
        return f"set {self.name} to {self.value}"

    def perform(self, node: Node) -> str:
        from k3os.errors import UserError

        path = node.path(self.path)
        try:
            with open(path, errors="replace") as file:
                self.was = " ".join(file.read().split())
                if self.was == " ".join(self.value.split()):
                    return UNCHANGED
        except FileNotFoundError:
            if node.phase != "runtime":
                self.note = "the kernel does not know it yet; tried again in the next phase"
                return LATER
            hint = "check the name with `sysctl -a`; a module it belongs to goes to k3os.modules"
            raise UserError(f"the kernel knows no {self.name}", hint) from None
        except PermissionError:
            pass  # some are write-only, e.g. net.ipv4.route.flush
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_TRUNC)
            try:
                os.write(descriptor, self.value.encode() + b"\n")
            finally:
                os.close(descriptor)
        except OSError as error:
            message = f"the kernel refuses {self.value!r} for {self.name}: {error.strerror}"
            raise UserError(message) from None
        return DONE


class OwnSetting(SetKernel):
    """A value that is set back to the former one when nothing asks for it any more."""

    __slots__ = ()

    @property
    def thing(self) -> str:
        return f"kernel {self.path}"

    def traces(self) -> tuple[str, str | None]:
        return " ".join(self.value.split()), self.was


class LoadModule(Action):
    """modprobe(8) with parameters. A module that is already loaded or built in is fine."""

    __slots__ = ("name", "parameters")

    def __init__(self, key: str, place: Place, name: str, parameters: list[str]) -> None:
        super().__init__(key, place)
        self.name = name
        self.parameters = parameters

    @property
    def thing(self) -> str:
        return f"module {self.name}"

    def describe(self) -> str:
        return " ".join(["load module", self.name, *self.parameters])

    def perform(self, node: Node) -> str:
        from k3os.errors import UserError
        from k3os.system.run import CommandError, run

        if os.path.isdir(node.path(f"/sys/module/{self.name.replace('-', '_')}")):
            return UNCHANGED
        if not node.is_real:
            self.note = "not on this machine"
            return LATER
        try:
            run(["modprobe", "--", self.name, *self.parameters], timeout=60)
        except CommandError as error:
            if node.phase == "initrd":
                self.note = "not in the initrd; tried again in the boot phase"
                return LATER
            lines = error.output.decode(errors="replace").strip().splitlines()
            why = lines[-1] if lines else str(error)
            raise UserError(why, f"check the name with `modinfo {self.name}`") from None
        return DONE


class Later(Action):
    """Something that another phase does; it is in the report instead of silently missing."""

    __slots__ = ("what",)

    def __init__(self, key: str, place: Place, what: str, why: str) -> None:
        super().__init__(key, place)
        self.what = what
        self.note = why

    def describe(self) -> str:
        return self.what

    def perform(self, node: Node) -> str:
        return LATER


class Refused(Action):
    """A value that turned out to be wrong only on this node."""

    __slots__ = ("_thing", "hint", "message", "what")

    def __init__(
        self, key: str, place: Place, what: str, message: str, hint: str = "", thing: str = ""
    ) -> None:
        super().__init__(key, place)
        self._thing = thing  # what was left earlier, when the value was right, stays
        self.what = what
        self.message = message
        self.hint = hint

    @property
    def thing(self) -> str:
        return self._thing

    def describe(self) -> str:
        return self.what

    def perform(self, node: Node) -> str:
        from k3os.errors import UserError

        raise UserError(self.message, self.hint)
