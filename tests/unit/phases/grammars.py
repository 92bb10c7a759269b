"""Files for other programs, parsed like those programs do. A line that the program would refuse or
misunderstand is an AssertionError. Each grammar is from the page that is named.
"""

from __future__ import annotations

import ipaddress
import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

NAME = r"[A-Za-z_][A-Za-z0-9_]*"


def environment_file(text: str) -> dict[str, str]:
    """systemd.exec(5), EnvironmentFile=; we only write `NAME="…"`."""
    found = {}
    for line in text.split("\n")[:-1]:
        match = re.fullmatch(rf'({NAME})="((?:[^"\\$`\x00]|\\["\\$`])*)"', line)
        assert match, line
        line.encode()  # systemd rejects a whole file with a byte that is not UTF-8
        found[match[1]] = re.sub(r"\\(.)", r"\1", match[2])
    assert text.endswith("\n") or not text
    return found


def words(text: str) -> list[str]:
    """systemd.service(5), "Command lines": how `$K3S_ARGS` is split into arguments."""
    found: list[str] = []
    rest = text
    while rest:
        match = re.match(r"'((?:[^'\\]|\\.)*)'( |$)|([^\s'\"\\]+)( |$)", rest)
        assert match, rest
        quoted, plain = match[1], match[3]
        found.append(re.sub(r"\\(.)", r"\1", quoted) if quoted is not None else plain)
        rest = rest[match.end() :]
    return found


def logins(text: str) -> dict[str, str]:
    """pam_env(8), /etc/environment: pam_env.c, _parse_env_file."""
    found = {}
    for line in text.split("\n"):
        assert not line.endswith("\\"), "goes on in the next line"
        line = line.lstrip(" \t").partition("#")[0].rstrip()
        if not line:
            continue
        name, equals, value = line.removeprefix("export ").partition("=")
        assert equals and re.fullmatch(NAME, name), line
        if value[:1] in ('"', "'"):
            value = value[1:]
            value = value[:-1] if value[-1:] in ('"', "'") else value
        found[name] = value
    return found


def settings(text: str) -> dict[str, str]:
    """sysctl.d(5)."""
    found = {}
    for line in text.split("\n")[:-1]:
        assert line[:1] not in ("#", ";", "-"), line
        name, equals, value = line.partition("=")
        assert equals and re.fullmatch(r"[^\s=*?\[\]]+ ", name), line
        found[name.strip()] = value.strip()
    return found


def shadow(text: str) -> dict[str, str]:
    """shadow(5): nine fields, and a password in the form of crypt(5)."""
    found = {}
    for line in text.split("\n")[:-1]:
        fields = line.split(":")
        assert len(fields) == 9, line
        assert all(each == "" or each.isdecimal() for each in fields[2:]), line
        assert re.fullmatch(r"[!-9<-~]*", fields[1]), line
        found[fields[0]] = fields[1]
    return found


def hosts(text: str) -> dict[str, list[str]]:
    """hosts(5)."""
    found = {}
    for line in text.split("\n"):
        if line and not line.startswith("#"):
            address, *names = line.split()
            ipaddress.ip_address(address)
            assert names and all(is_host(name) for name in names), line
            found[address] = names
    return found


def is_host(name: str) -> bool:
    """RFC 1123."""
    labels = name.split(".")
    return all(re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?", label) for label in labels)


def resolver(text: str) -> list[str]:
    """resolv.conf(5)."""
    found = []
    for line in text.split("\n")[:-1]:
        if line.startswith("#"):
            continue
        word, _, rest = line.partition(" ")
        assert word in ("nameserver", "search"), line
        if word == "nameserver":
            ipaddress.ip_address(rest)
            assert re.fullmatch(r"[0-9a-fA-F.:]+", rest), line
            found.append(rest)
        assert all(re.fullmatch(r"[A-Za-z0-9._-]+", each) for each in rest.split()) or found
    return found


ESCAPES = {"s": " ", "n": "\n", "r": "\r", "t": "\t", "\\": "\\"}


def key_file(text: str) -> dict[str, dict[str, str]]:
    """glib, "Key-value file parser", which connman reads with; with its escapes."""
    found: dict[str, dict[str, str]] = {}
    group: dict[str, str] | None = None
    for line in text.split("\n"):
        if not line or line.startswith("#"):
            continue
        if match := re.fullmatch(r"\[([^\[\]\x00-\x1f]+)\]", line):
            group = found.setdefault(match[1], {})
            continue
        match = re.fullmatch(r"([A-Za-z0-9.]+)=(.*)", line)
        assert match and group is not None, line
        line.encode()
        value = match[2].lstrip(" \t")
        assert not re.search(r"\\(?![snrt\\])", value.replace("\\\\", "")), line
        group[match[1]] = re.sub(r"\\(.)", lambda each: ESCAPES[each[1]], value)
    return found


def rules(text: str) -> list[str]:
    """udev(7); we only write matches and assignments in double quotes."""
    found = []
    pair = r'[A-Z]+(\{[a-z_A-Z]+\})?(==|!=|=|\+=)"[^"\\%{}*?|]*"'
    for line in text.split("\n")[:-1]:
        assert re.fullmatch(rf"{pair}(, {pair})*", line), line
        found.append(line)
    return found


def unit(text: str) -> dict[str, str]:
    """systemd.syntax(7): a drop-in, or a part of logind's configuration."""
    found = {}
    for line in text.split("\n")[:-1]:
        assert re.fullmatch(r"#.*|\[[A-Z][a-z]+\]|[A-Za-z]+=[^%\\$;]*", line), line
        name, _, value = line.partition("=")
        found[name] = value
    return found


def keys(text: str) -> list[str]:
    """sshd(8), "AUTHORIZED_KEYS FILE FORMAT": a comment, or a key, maybe with options before it."""
    found = []
    for line in text.split("\n")[:-1]:
        if not line.startswith("#"):
            assert re.search(r"(ssh-|ecdsa-|sk-)[a-z0-9@.-]+ AAAA[A-Za-z0-9+/=]+", line), line
            found.append(line)
    return found


def one_line(text: str) -> str:
    """A file with a single word or path."""
    assert text.count("\n") == 1 and text.endswith("\n"), text
    return text[:-1]


def one_map(text: str) -> Any:
    """YAML for the strictest reader: only JSON's escapes, and values keep their types."""
    found = yaml.safe_load(text)
    assert isinstance(found, dict), text
    json.dumps(found, ensure_ascii=False).encode()
    return found


READERS: dict[str, Callable[[str], Any]] = {
    "etc/environment": logins,
    "etc/hostname": one_line,
    "etc/hosts": hosts,
    "etc/shadow": shadow,
    "etc/connman/main.conf": key_file,
    "var/lib/connman/*": key_file,
    "etc/rancher/k3s/k3s.env": environment_file,
    "etc/rancher/k3s/config.yaml": one_map,
    "etc/rancher/k3s/config.yaml.d/*.yaml": one_map,
    "kubelet.conf.d/*": one_map,
    "etc/sysctl.d/*": settings,
    "etc/systemd/*/*.conf": unit,
    "run/systemd/system/*/*.conf": unit,
    "etc/udev/rules.d/*": rules,
    "home/rancher/.ssh/authorized_keys": keys,
    "run/k3os/k3s.args": environment_file,
    "run/k3os/k3s.token": one_line,
    "run/k3os/joins": one_line,
    "run/k3os/resolv.conf": resolver,
    "run/connman/resolv.conf": resolver,
    "var/lib/rancher/k3os/hostname": one_line,
    "var/lib/rancher/k3os/node-name": one_line,
}
# our own files: JSON, or not read by other programs; passwd and group are not written
OURS = ("k3os/", "proc/", "etc/passwd", "etc/group")
OURS += tuple(f"run/k3os/{name}" for name in ("written", "boot-has", "k3s-wants", "k3s-has"))


def read_all(root: Path) -> dict[str, Any]:
    """Parse every file below root like the program that reads it."""
    found: dict[str, Any] = {}
    everything = [Path(where, name) for where, _, names in os.walk(root) for name in names]
    for path in sorted(each for each in everything if os.path.isfile(each)):
        name = path.relative_to(root)
        if str(name).startswith(OURS) or name.suffix == ".json":
            continue
        readers = [reader for pattern, reader in READERS.items() if name.match(pattern)]
        assert readers, f"no grammar for {name}"
        found[str(name)] = readers[0](path.read_bytes().decode("utf-8", "surrogateescape"))
    return found
