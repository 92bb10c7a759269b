"""The support archive: it is complete, and contains no secrets."""

import base64
import io
import json
import os
import tarfile
from urllib.parse import quote

import pytest

from k3os.cli import support as command
from k3os.config.k3s_flags import MASK
from k3os.config.load import load_config
from k3os.node import support
from k3os.node.redaction import FILES, known_secrets, redacted

TOKEN = "planted-token-of-the-cluster"
HASH = f"K10{'a' * 64}::server:planted-server-part"
PLANTED = {
    "token": TOKEN,
    "password": "planted/pass word",
    "passphrase": "planted-passphrase",
    "registry": 'planted"registry',
    "login": "planted-login",
    "argument": "planted-s3-key",
    "content": "planted content of a file",
    "pair": "planted-pair",
    "key": "MIIplantedKey",
    "short": "pl4n",
}
CONFIG = f"""\
hostname: node-1
write_files:
  - path: /etc/app.conf
    content: |
      {PLANTED["content"]}
      db_password: {PLANTED["pair"]}
      -----BEGIN PRIVATE KEY-----
      {PLANTED["key"]}
      -----END PRIVATE KEY-----
k3os:
  token: {TOKEN}
  password: {PLANTED["password"]}
  server_url: https://server.example:6443
  wifi:
    - {{name: home, passphrase: {PLANTED["passphrase"]}}}
  registries:
    configs:
      registry.example:
        auth:
          username: me
          password: '{PLANTED["registry"]}'
  k3s_args: [server, --etcd-s3-secret-key={PLANTED["argument"]}]
  environment:
    https_proxy: http://me:{PLANTED["login"]}@proxy.example:3128
    SHORT_PASSWORD: {PLANTED["short"]}
"""


@pytest.fixture
def node(tmp_path, monkeypatch):
    """A node's secrets. Every program in PARTS prints all of them, in the forms that programs
    use."""
    system = tmp_path / "k3os/system"
    system.mkdir(parents=True)
    (system / "config.yaml").write_text(CONFIG)
    for path in FILES:
        (tmp_path / path[1:]).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path[1:]).write_text(f"{HASH}\n")
    config, problems = load_config(str(tmp_path), "/k3os/system", "")
    assert not [each for each in problems if each.is_error], problems
    shown = []
    for secret in [*PLANTED.values(), HASH, "planted-server-part"]:
        encoded = base64.b64encode(secret.encode()).decode()
        shown += [secret, json.dumps({"x": secret}), quote(secret, safe=""), encoded]
    shown += ["all is well", f"token={TOKEN}0", "Authorization: Bearer planted.other.token"]
    shown += ['{"client_secret": "planted-elsewhere"}', "root:$6$salt$plantedhash:1::"]
    shown += ["GET https://u:planted-url@host.example/x", "eyJhbGciOiJSUzI1NiJ9.planted-payload.x"]
    (tmp_path / "said").write_text("\n".join(shown) + "\n")
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in {argv[0] for argv in support.PARTS.values()} - {"crictl"}:
        program = programs / name
        program.write_text(f'#!/bin/sh\nexec /bin/cat "{tmp_path}/said"\n')
        program.chmod(0o755)
    monkeypatch.setenv("PATH", str(programs))
    return tmp_path, known_secrets(config, str(tmp_path))


def test_no_secret_is_in_any_part_in_any_form(node):
    _, secrets = node
    files = support.collect(secrets)
    assert files.keys() == support.PARTS.keys()
    for name, data in files.items():
        text = data.decode()
        if name == "containers.txt":
            assert text == "\ncrictl ps --all: is not installed\n"
            continue
        assert "all is well" in text
        assert "host.example/x" in text
        for secret in [*PLANTED.values(), "planted-server-part", "planted"]:
            encoded = base64.b64encode(secret.encode()).decode().rstrip("=")
            for form in (secret, json.dumps(secret)[1:-1], quote(secret, safe=""), encoded):
                assert form not in text, (name, secret, form)


def test_every_secret_of_the_configuration_is_known_and_nothing_else(node):
    _, secrets = node
    assert {TOKEN, PLANTED["password"], PLANTED["argument"], PLANTED["pair"]} <= secrets
    for harmless in ("node-1", "server", "home", "me", "registry.example", "/etc/app.conf"):
        assert harmless not in secrets


def test_a_short_secret_is_masked_as_a_word_only():
    assert redacted("pl4n xpl4n pl4ned (pl4n)", {"pl4n"}) == f"{MASK} xpl4n pl4ned ({MASK})"


def test_what_is_no_secret_stays():
    text = "k3s[1]: tokens are fine; 3 secrets synced\nlevel=info msg=ok https://a.example:6443/x\n"
    assert redacted(text, {"another-value"}) == text


def test_a_part_that_hangs_or_fails_says_so_and_keeps_what_it_said(monkeypatch):
    monkeypatch.setattr(support, "SECONDS", 0.5)
    hangs = ("sh", "-c", "echo begun; sleep 60")
    monkeypatch.setattr(support, "PARTS", {"a": hangs, "b": ("sh", "-c", "echo no; exit 3")})
    files = support.collect(set())
    assert files["a"].startswith(b"begun\n")
    assert files["a"].endswith(b"timed out\n")
    assert files["b"].startswith(b"no\n")
    assert files["b"].endswith(b"exited with 3\n")


def test_json_of_a_node_that_is_not_well_is_still_json(monkeypatch):
    """`k3os status` and `k3os network show` exit with 1 then."""
    whole, half = ("sh", "-c", "echo '{}'; exit 1"), ("sh", "-c", "echo '{'; exit 1")
    monkeypatch.setattr(support, "PARTS", {"a.json": whole, "b.json": half, "c.txt": whole})
    files = support.collect(set())
    assert files["a.json"] == b"{}\n"
    assert files["b.json"].endswith(b"exited with 1\n")
    assert files["c.txt"].endswith(b"exited with 1\n")


def test_of_a_part_that_is_too_long_the_end_is_kept(monkeypatch):
    monkeypatch.setattr(support, "MOST", 8)
    monkeypatch.setattr(support, "PARTS", {"a": ("sh", "-c", "echo beginning; echo the end")})
    assert support.collect(set())["a"] == b"the end\n"


def test_the_archive_is_for_its_owner_alone_and_has_a_name(node, monkeypatch, capsys):
    root, _ = node
    monkeypatch.chdir(root)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert command.main(["--output", "found.tar.gz"]) == 0
    assert capsys.readouterr().out == "found.tar.gz\n"
    path = root / "found.tar.gz"
    assert path.stat().st_mode & 0o777 == 0o600
    with tarfile.open(fileobj=io.BytesIO(path.read_bytes())) as tar:
        assert {each.name for each in tar} == {f"{os.uname().nodename}/{n}" for n in support.PARTS}
        assert {each.mode for each in tar} == {0o600}


def test_only_root_may(monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(Exception, match="only root can read all of it"):
        command.main([])
