"""k3os.password: rancher's, hashed, in /etc/shadow (shadow(5), crypt(5)).

The initrd has no accounts, so the initrd phase only reports that the boot phase will set it.
"""

from __future__ import annotations

import os

from k3os.config.value import Place
from k3os.phases.actions import DONE, UNCHANGED, Action, Later
from k3os.phases.managed_block import lines_of
from k3os.phases.node import USER

TYPE_CHECKING = False
if TYPE_CHECKING:
    from k3os.config.load import Config
    from k3os.phases.node import Node

KEY = "k3os.password"
SHADOW = "/etc/shadow"
LIBRARY = "libcrypt.so.1"
METHODS = ("1", "2a", "2b", "2y", "5", "6", "7", "y", "gy", "md5", "sha1")
# in any part of a hash, crypt(5); a colon would start another field of SHADOW
FORBIDDEN = frozenset(" :;*!\\")
ALPHABET = "./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


def plan(config: Config, node: Node) -> list[Action]:
    value = config.get(KEY)
    if value is None or not value.data:
        return []
    if node.phase == "initrd":
        why = "the initrd has no accounts; set in the boot phase"
        return [Later(KEY, value.place, f"set the password of {USER}", why)]
    return [SetPassword(value.place, str(value.data))]


def is_crypt(text: str) -> bool:
    """Whether a text has a valid crypt format; anything else is a clear-text password."""
    if not text.isascii() or not text.isprintable() or set(text) & FORBIDDEN:
        return False
    parts = text.split("$")
    if len(parts) < 4 or parts[0] or parts[1] not in METHODS or not parts[-1]:
        return False
    return len(parts[-1]) >= 22 and all(character in ALPHABET for character in parts[-1])


class SetPassword(Action):
    """Sets one field of one line, if it is different."""

    __slots__ = ("_left", "password")

    def __init__(self, place: Place, password: str) -> None:
        super().__init__(KEY, place)
        self.password = password
        self._left = ""

    @property
    def thing(self) -> str:
        return f"password {USER}"

    def traces(self) -> tuple[str, str | None]:
        from k3os.system.digest import mark_of

        return mark_of(self._left.encode()), None

    def describe(self) -> str:
        return f"set the password of {USER}"

    def perform(self, node: Node) -> str:
        from k3os.errors import UserError

        self._left = field(node)
        if not self._left:
            raise UserError(f"there is no user {USER} in {SHADOW}")
        if matches(self.password, self._left):
            return UNCHANGED
        self._left = self.password if is_crypt(self.password) else hashed(self.password)
        set_field(node, self._left)
        return DONE


def field(node: Node, path: str = SHADOW) -> str:
    """rancher's password field, "" without such a line."""
    lines = [line.split(":") for line in lines_of(node.read(path))]
    return next((each[1] for each in lines if each[0] == USER and len(each) > 1), "")


def set_field(node: Node, text: str) -> None:
    """Replace the field; the rest of the file stays byte for byte. Raises OSError."""
    from k3os.system.files import atomic_write

    lines = [line.split(":") for line in lines_of(node.read(SHADOW))]
    for each in lines:
        if each[0] == USER and len(each) > 1:
            each[1] = text
    path = node.path(SHADOW)
    status = os.stat(path)
    data = "\n".join([*(":".join(each) for each in lines), ""]).encode(errors="surrogateescape")
    uid, gid = (status.st_uid, status.st_gid) if os.geteuid() == 0 else (-1, -1)
    atomic_write(path, data, mode=status.st_mode & 0o7777, uid=uid, gid=gid)


def matches(password: str, stored: str) -> bool:
    """Whether this is the current password."""
    if is_crypt(password):
        return password == stored
    return is_crypt(stored) and crypt(password, stored) == stored


def hashed(password: str) -> str:
    """SHA-512 crypt, which every libcrypt supports. Raises UserError if nothing can hash."""
    from k3os.errors import UserError
    from k3os.system.run import CommandError, run

    salt = "".join(ALPHABET[byte & 63] for byte in os.urandom(16))
    digest = crypt(password, f"$6${salt}$")
    if is_crypt(digest):
        return digest
    try:
        output = run(["openssl", "passwd", "-6", "-stdin"], stdin=password.encode() + b"\n")
        digest = output.decode().strip()
    except CommandError:
        digest = ""
    if not is_crypt(digest):
        raise UserError("neither libcrypt nor openssl can hash it", "give it in crypt form")
    return digest


def crypt(password: str, setting: str) -> str:
    """crypt(3), "" if there is no library or it refuses. Python has had none since 3.13."""
    import ctypes

    try:
        function = ctypes.CDLL(LIBRARY).crypt
    except (OSError, AttributeError):
        return ""
    function.restype = ctypes.c_char_p
    function.argtypes = [ctypes.c_char_p, ctypes.c_char_p]
    digest: bytes | None = function(password.encode(errors="surrogateescape"), setting.encode())
    return (digest or b"").decode(errors="replace")
