"""Where the value of a Secret may be used in a NodePool's configuration."""

from typing import Any

import pytest

from k3os.cluster.spec import read_pool

REF = {"name": "s", "valueFrom": {"secretKeyRef": {"name": "office", "key": "a.b_C-d"}}}
S = "$(secret.s)"


def problems(config: dict[str, Any], *secrets: Any, override: bool = False) -> tuple[str, ...]:
    spec: dict[str, Any] = {"config": config, "secrets": list(secrets or [REF])}
    if override:
        spec = {**spec, "config": {}, "overrides": [{"nodeSelector": {}, "config": config}]}
    return read_pool({"metadata": {"name": "p"}, "spec": spec}).problems


def file(**more: Any) -> dict[str, Any]:
    return {
        "write_files": [{"path": "/etc/a", "content": f"x={S}\n", "permissions": "0600"} | more]
    }


HIDDEN = [
    {"k3os": {"password": S}},
    {"k3os": {"token": S}},
    {"k3os": {"wifi": [{"name": "home", "passphrase": S}]}},
    {"k3os": {"wifi": [{"ssid": "home", "psk": S}]}},
    {"k3os": {"environment": {"HTTP_PROXY": f"http://user:{S}@proxy:3128"}}},
    {"k3os": {"registries": {"configs": {"r:1": {"auth": {"username": "u", "password": S}}}}}},
    {"k3os": {"k3s_args": ["server", f"--datastore-endpoint=postgres://u:{S}@db/k3s"]}},
    file(),
    file(content=S),
    file(content=S, encoding="b64"),
    file(permissions="0640", owner="root:adm"),
]
SEEN = [
    ({"hostname": f"a-{S}"}, "hostname"),
    ({"run_cmd": [f"curl -H {S} https://x"]}, "run_cmd[0]"),
    ({"k3os": {"labels": {"a": S}}}, "k3os.labels.a"),
    ({"k3os": {"wifi": [{"name": S, "passphrase": "long enough"}]}}, "k3os.wifi[0].name"),
    ({"k3os": {"sysctls": {"vm.swappiness": S}}}, "k3os.sysctls.vm.swappiness"),
    ({"k3os": {"k3s_args": ["server", f"--node-label={S}"]}}, "k3os.k3s_args[1]"),
    ({"nobody": {"knows": S}}, "nobody.knows"),
    (file(path=f"/etc/{S}"), "write_files[0].path"),
]


@pytest.mark.parametrize("override", [False, True])
@pytest.mark.parametrize("config", HIDDEN)
def test_a_secret_may_stand_where_its_value_is_never_shown(config: dict, override: bool) -> None:
    assert problems(config, override=override) == ()


@pytest.mark.parametrize("override", [False, True])
@pytest.mark.parametrize(("config", "where"), SEEN)
def test_a_secret_may_not_stand_where_it_would_be_seen(config, where, override) -> None:
    found = problems(config, override=override)
    start = "spec.overrides[0].config: " if override else ""
    assert any(each.startswith(f"{start}{where}: ") for each in found), found


@pytest.mark.parametrize(
    "permissions", [None, "0644", "0604", "0601", "0660x", "644", 644, "0o644", "0777"]
)
def test_a_file_with_a_secret_is_for_nobody_else_to_read(permissions: Any) -> None:
    more = {} if permissions is None else {"permissions": permissions}
    config = file(**more)
    if permissions is None:
        del config["write_files"][0]["permissions"]
    found = problems(config)
    assert any("/etc/a" in each and "0600" in each for each in found) or "0660x" in str(found)
    # a file without a secret may have any mode
    config["write_files"][0]["content"] = "x"
    assert not any("0600" in each for each in problems(config))


X = "$(node.annotations['x'])"


@pytest.mark.parametrize(
    ("config", "where"),
    [
        ({"run_cmd": [f'echo "{X}"']}, "run_cmd[0]"),
        ({"runcmd": f"echo {X}"}, "run_cmd[0]"),
        ({"boot_cmd": ["true", f"x='{X}'"]}, "boot_cmd[1]"),
        ({"k3os": {"upgrade": {"check": [X]}}}, "k3os.upgrade.check[0]"),
        ({"run_cmd": [["echo", X]]}, ""),
        ({"run_cmd": ["echo $(node.name) $(node.labels['x'])"]}, ""),
        ({"run_cmd": ["echo $A"], "k3os": {"environment": {"A": X}}}, ""),
    ],
)
def test_no_shell_reads_an_annotation(config: dict, where: str) -> None:
    """People who may annotate nodes are not root on them, and no quoting is safe for any text."""
    found = problems(config)
    assert [each.partition(": ")[0] for each in found] == ([where] if where else [])
    assert all("a list" in each for each in found)


@pytest.mark.parametrize(
    ("secrets", "problem"),
    [
        ([{"name": "s"}], "spec.secrets[0].valueFrom.secretKeyRef.name: is missing"),
        ([{**REF, "name": "a b"}], "spec.secrets[0].name: 'a b' is none"),
        ([REF, REF], "spec.secrets[1].name: 's' is given twice"),
        (["s"], "spec.secrets[0]: must be a map"),
        (
            [{"name": "s", "valueFrom": {"secretKeyRef": {"name": "../x", "key": "k"}}}],
            "spec.secrets[0].valueFrom.secretKeyRef.name: '../x' is none",
        ),
        (
            [{"name": "s", "valueFrom": {"secretKeyRef": {"name": "x", "key": "a/b"}}}],
            "spec.secrets[0].valueFrom.secretKeyRef.key: 'a/b' is none",
        ),
        ([{**REF, "name": "t"}], "`$(secret.s)` is in no entry of spec.secrets"),
    ],
)
def test_a_reference_that_is_none_is_named(secrets: list, problem: str) -> None:
    assert any(problem in each for each in problems(HIDDEN[0], *secrets))


def test_what_is_no_name_of_a_secret_is_named() -> None:
    assert (
        "is not a secret; write $(secret.NAME)" in problems({"k3os": {"token": "$(secret.a b)"}})[0]
    )
    assert problems({"k3os": {"token": "$$(secret.a)"}}) == ()
