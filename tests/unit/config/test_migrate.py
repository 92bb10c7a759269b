"""`k3os migrate`: the result means the same, keeps comments, and needs no further migration."""

from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from k3os.cli.migrate import main
from k3os.cli.options import Usage
from k3os.cluster.spec import parse_pool
from k3os.config.check import check_text
from k3os.config.migrate import meaning, migrate, successor
from k3os.errors import UserError
from tests.unit.config.foreign.test_original import YAML

BROKEN = sorted((Path(__file__).parent / "broken").glob("*.yaml"))
OLD = """\
#cloud-config
sshAuthorizedKeys: github:someone   # me
write_files:
# for the disk
- path: etc/conf.d/dmcrypt   # relative
  permissions: 420
  content: |
    # a comment of the file's
    a=1
k3os:
  wifi:
  - name: attic
    password: a secret # of the attic
  k3s_args: server --no-deploy traefik   # small
  labels:
    k3os.io/upgrade: latest # for the controller
    region: attic
  install:
    silent: y
"""
NEW = """\
#cloud-config
ssh_authorized_keys: github:someone   # me
write_files:
# for the disk
- path: /etc/conf.d/dmcrypt   # relative
  permissions: '0644'
  content: |
    # a comment of the file's
    a=1
k3os:
  wifi:
  - ssid: attic
    passphrase: a secret # of the attic
  k3s_args: [server, "--disable", traefik]   # small
  labels:
    # k3os.io/upgrade: latest # for the controller
    region: attic
  install:
    silent: true
"""
SAID = """\
f:2: sshAuthorizedKeys is called ssh_authorized_keys
f:5: etc/conf.d/dmcrypt is /etc/conf.d/dmcrypt
f:6: permissions 420 are '0644'
f:12: name is called ssid
f:13: password is called passphrase
f:14: k3s_args is a list
f:16: the label k3os.io/upgrade is a comment: nothing reads it
f:16: a NodePool does this now:
  apiVersion: k3os.io/v1alpha1
  kind: NodePool
  metadata: {name: all}
  spec:
    nodeSelector: {matchLabels: {}}
    k3os: {channel: latest, url: ADDRESS-OF-THE-RELEASES}
    k3s: {channel: https://update.k3s.io/v1-release/channels/stable}
f:19: silent: y is true
"""


def test_an_old_file_gets_its_new_form_with_its_comments() -> None:
    text, changes = migrate(OLD.encode(), "f")
    assert text == NEW
    assert "\n".join([*changes, ""]) == SAID


def test_a_file_in_its_new_form_stays_as_it_is() -> None:
    assert migrate(NEW.encode(), "f") == (NEW, [])
    assert check_text(NEW.encode(), "f")[1] == []


def test_an_item_of_several_arguments_becomes_items_at_the_same_dash() -> None:
    text, _ = migrate(
        b"k3os:\n  k3s_args:\n    -\n      --disable a --x\n    - --no-deploy b # c\n"
        b"    - |\n      --y 1\n      --z\n    - --end\n",
        "f",
    )
    assert text == (
        'k3os:\n  k3s_args:\n    -\n      "--disable"\n    - a\n    - "--x"\n'
        '    - "--disable"\n    - b # c\n    - "--y"\n    - "1"\n    - "--z"\n    - --end\n'
    )


@pytest.mark.parametrize("path", YAML, ids=lambda path: path.name)
def test_the_new_form_says_the_same_and_has_nothing_left_to_migrate(path: Path) -> None:
    text, changes = migrate(path.read_bytes(), path.name)
    assert meaning(text.encode(), "f") == meaning(path.read_bytes(), "f")
    assert migrate(text.encode(), "f")[0] == text
    warned = [each for each in check_text(text.encode(), "f")[1] if not each.is_error]
    assert not any("several arguments" in each.message for each in warned)
    assert not any("is not an absolute path" in each.message for each in warned)
    assert text == path.read_text() or changes


@pytest.mark.parametrize("path", BROKEN, ids=lambda path: path.name)
def test_a_broken_file_is_refused_in_one_line_or_says_the_same(path: Path) -> None:
    try:
        text, _ = migrate(path.read_bytes(), path.name)
    except UserError as error:
        assert "\n" not in str(error)
        return
    assert meaning(text.encode(), "f") == meaning(path.read_bytes(), "f")


def test_an_anchor_is_not_lost_but_left_to_a_person() -> None:
    old = b"k3os:\n  install: {silent: &yes y, debug: *yes}\n"
    text, changes = migrate(old, "f")
    assert text == old.decode()
    assert changes == ["f:2: fix this by hand: silent: y is true"]


ARGUMENTS = st.lists(
    st.sampled_from(
        [
            *("server", "--disable traefik", "--no-deploy=traefik", "--node-label a=b --tls-san c"),
            *("agent --node-ip 1.2.3.4", "--no-flannel", "--x='a b' --y", "-v 3", "it's --z"),
            "--kubelet-arg=a=b\n--kubelet-arg c=d\n",
        ]
    ),
    max_size=5,
)
FILES = st.fixed_dictionaries(
    {},
    optional={
        "writeFiles": st.lists(
            st.fixed_dictionaries(
                {"path": st.sampled_from(["etc/x", "./y", "/z", "a b", "ü: #"])},
                optional={
                    "permissions": st.sampled_from([644, 420, 0o644, "0600", "7"]),
                    "content": st.text("a\n#:-\"' "),
                },
            ),
            max_size=3,
        ),
        "hostname": st.sampled_from(["", "node"]),
        "k3os": st.fixed_dictionaries(
            {},
            optional={
                "k3s-arg": ARGUMENTS | ARGUMENTS.map(" ".join),
                "labels": st.dictionaries(
                    st.sampled_from(["k3os.io/upgrade", "plan.upgrade.cattle.io/x", "a", "b"]),
                    st.just("c"),
                ),
                "install": st.fixed_dictionaries(
                    {}, optional={"silent": st.sampled_from([True, "y", "OFF", "n", 1, ""])}
                ),
            },
        ),
    },
)


@given(FILES, st.sampled_from([True, False, None]), st.sampled_from([2, 4]))
def test_any_file_of_the_old_kind_says_the_same_afterwards(
    tree: dict[str, object], flow: bool | None, indent: int
) -> None:
    old = yaml.safe_dump(tree, default_flow_style=flow, indent=indent, allow_unicode=True).encode()
    if not tree:
        return
    try:
        text, _ = migrate(old, "f")
    except UserError as error:
        assert "anchors" not in str(error), old.decode()
        return
    assert meaning(text.encode(), "f") == meaning(old, "f")
    assert migrate(text.encode(), "f")[0] == text


def test_the_successors_of_flags_keep_their_values() -> None:
    assert [successor(word) for word in ("--no-deploy=a", "--cluster-secret", "--no-flannel")] == [
        "--disable=a",
        "--token",
        "--flannel-backend=none",
    ]


def test_the_nodepool_that_it_names_is_one() -> None:
    from k3os.config.upgrades import NODEPOOL

    pool = parse_pool(yaml.safe_load("\n".join(NODEPOOL)))
    assert pool.name == "all"


# the end of what the check still reports about it
FOUND = (
    "write_files[0].path: k3OS starts services with systemd, not with OpenRC; write a unit, "
    "e.g. /etc/systemd/system/NAME.service, and start it in run_cmd\n"
)


def test_the_command_prints_the_text_and_says_the_rest_elsewhere(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(OLD)
    assert main([str(path)]) == 0
    shown = capsys.readouterr()
    assert shown.out == NEW
    assert shown.err.startswith(SAID.replace("f:", f"{path}:"))
    (found,) = shown.err.removeprefix(SAID.replace("f:", f"{path}:")).splitlines(keepends=True)
    assert found.endswith(FOUND)
    assert path.read_text() == OLD


def test_it_writes_the_file_with_its_mode_and_keeps_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(OLD)
    path.chmod(0o600)
    assert main(["--write", str(path)]) == 0
    assert path.read_text() == NEW
    old = tmp_path / "config.yaml.old"
    assert old.read_text() == OLD
    assert [each.stat().st_mode & 0o777 for each in (path, old)] == [0o600, 0o600]
    path.write_text(OLD)
    with pytest.raises(UserError, match="is there already"):
        main(["--write", str(path)])


def test_what_is_no_configuration_is_refused_with_its_place(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text("hostname: [\n")
    with pytest.raises(UserError) as caught:
        main([str(path)])
    assert caught.value.where.startswith(f"{path}:2:1")
    path.write_text("")
    with pytest.raises(UserError, match="there is nothing in it"):
        main([str(path)])
    with pytest.raises(Usage, match="a word is missing"):
        main([])
    with pytest.raises(Usage, match="unknown option --unknown"):
        main(["--unknown"])


def test_an_empty_document_before_the_configuration_stays() -> None:
    assert migrate(b"---\n---\nhost-name: a\n", "c")[0] == "---\n---\nhostname: a\n"


def test_what_the_check_still_finds_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(
        "k3os:\n  k3sArgs: [server, --flannel-backend, ipsec]\nrun_cmd: [apk add curl]\n"
        "write_files:\n- {path: /etc/inittab, content: x}\n"
    )
    assert main([str(path)]) == 1
    said = capsys.readouterr().err
    assert "does not have the backend ipsec" in said
    assert "`apk`: k3OS has no package manager" in said
    assert "write_files[0].path" in said


@pytest.mark.parametrize(
    "old,new",
    [
        ("[--no-flannel]", '["--flannel-backend=none"]'),
        ("[--flannel-backend, wireguard]", '[--flannel-backend, "wireguard-native"]'),
        ("[--flannel-backend, vxlan]", "[--flannel-backend, vxlan]"),
        ("[--node-name, wireguard]", "[--node-name, wireguard]"),
        ("['--flannel-backend wireguard']", '["--flannel-backend", "wireguard-native"]'),
        ("['--no-deploy', traefik]", '["--disable", traefik]'),
    ],
)
def test_a_flag_gets_its_successor_whether_its_value_is_in_one_word_or_two(
    old: str, new: str
) -> None:
    text, _ = migrate(f"k3os: {{k3s_args: {old}}}\n".encode(), "c")
    assert text == f"k3os: {{k3s_args: {new}}}\n"


def test_a_change_of_an_argument_shows_both_but_no_secret() -> None:
    text = b"k3os: {k3s_args: [--no-flannel, --cluster-secret=geheim, --flannel-backend=wireguard]}"
    _, said = migrate(text, "c")
    assert said == [
        "c:1: --no-flannel is --flannel-backend=none",
        "c:1: --cluster-secret is --token",
        "c:1: --flannel-backend=wireguard is --flannel-backend=wireguard-native",
    ]


def test_lines_that_are_added_end_as_the_others_do() -> None:
    text, _ = migrate(b"k3os:\r\n  k3s_args:\r\n  - server --disable=traefik\r\n", "c")
    assert text == 'k3os:\r\n  k3s_args:\r\n  - server\r\n  - "--disable=traefik"\r\n'
