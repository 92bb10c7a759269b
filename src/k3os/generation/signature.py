"""Who signed a release: OpenSSH signatures, ssh-keygen(1) -Y, PROTOCOL.sshsig.

It verifies and never signs. Keys are read from files with one key per line, like a .pub file or an
allowed signers file; the namespace is "k3os", so that no other signature by a key counts.
"""

from __future__ import annotations

import os
import tempfile

from k3os.errors import UserError
from k3os.paths import STATE
from k3os.system.run import CommandError, run

NAMESPACE = IDENTITY = "k3os"
# keys of the image, then those that the node's administrator adds
IMAGE_KEYS = "/usr/share/k3os/release-keys"
NODE_KEYS = f"{STATE}/release-keys"
KEY_TYPES = ("ssh-", "ecdsa-", "sk-")


def read_keys(paths: list[str]) -> list[str]:
    """The public keys in files, which may be missing: "TYPE BASE64" each."""
    keys = []
    for path in paths:
        try:
            with open(path, errors="replace") as file:
                lines = file.read().splitlines()
        except FileNotFoundError:
            continue
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(
                f"cannot be read: {error}", "give a file of public keys", path
            ) from error
        for line in lines:
            words = line.split("#")[0].split()
            while words and not words[0].startswith(KEY_TYPES):
                words.pop(0)  # an allowed signers file has principals and options first
            if len(words) >= 2:
                keys.append(f"{words[0]} {words[1]}")
    return keys


def verify(data: bytes, signature: bytes, keys: list[str], where: str) -> None:
    """Raises UserError unless one of keys signed data. where: what is being verified."""
    if not signature:
        raise UserError(
            "is not signed",
            "take a signed release, or give --insecure if you know where it comes from",
            where,
        )
    if not keys:
        raise UserError(
            "is signed, but this node knows no key to verify it with",
            f"put the public key into {NODE_KEYS}, give --verify-key FILE, or --insecure",
            where,
        )
    with tempfile.TemporaryDirectory(prefix="k3os-signature.") as scratch:
        signers, signed = os.path.join(scratch, "signers"), os.path.join(scratch, "signature")
        with open(signers, "w") as file:
            file.writelines(f'{IDENTITY} namespaces="{NAMESPACE}" {key}\n' for key in keys)
        with open(signed, "wb") as binary:
            binary.write(signature)
        command = ["ssh-keygen", "-Y", "verify", "-q", "-f", signers, "-I", IDENTITY]
        try:
            run([*command, "-n", NAMESPACE, "-s", signed], stdin=data, timeout=60)
        except CommandError as error:
            if error.returncode == 127:
                raise UserError("ssh-keygen is not installed", "it verifies signatures") from error
            raise UserError(
                "has a wrong signature: it was made by none of the keys that this node trusts",
                "do not use it until you know why; more keys: --verify-key FILE",
                where,
            ) from error
