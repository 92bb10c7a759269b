"""Signing what a build publishes: ssh-keygen(1) -Y sign, namespace "k3os".

Without SIGN_KEY nothing is signed, and nodes accept such a release only with --insecure.
"""

from __future__ import annotations

from pathlib import Path

from k3os.errors import UserError
from k3os.generation.signature import NAMESPACE
from k3os.system.run import CommandError, run


def sign(data: bytes, key: Path) -> bytes:
    """The armored signature of data. key: a private key, or a public one whose private key is in
    an agent. Raises UserError."""
    try:
        return run(["ssh-keygen", "-q", "-Y", "sign", "-f", str(key), "-n", NAMESPACE], stdin=data)
    except CommandError as error:
        raise UserError(f"cannot sign: {error}", "give an OpenSSH key", "SIGN_KEY") from error


def public_key(key: Path) -> str:
    """The line in a key's .pub file: "TYPE BASE64 comment". Raises UserError."""
    try:
        if key.suffix == ".pub":
            return key.read_text().strip()
        return run(["ssh-keygen", "-y", "-f", str(key)]).decode().strip()
    except (CommandError, OSError) as error:
        raise UserError(
            f"{key} is not a key: {error}", "give an OpenSSH key", "SIGN_KEY"
        ) from error


def trusted_keys(sign_key: Path | None, files: tuple[Path, ...]) -> str:
    """The keys that the image trusts: its signing key, and those in files (public, one a line)."""
    lines = [public_key(sign_key)] if sign_key is not None else []
    for path in files:
        lines += path.read_text().splitlines()
    return "".join(f"{line}\n" for line in dict.fromkeys(lines) if line.strip())
