"""Secrets in a node's target: placeholders and seals, and values only at the very end."""

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from k3os.cluster.impact import check, fragment_hash
from k3os.cluster.node import NodeView
from k3os.cluster.secret_refs import (
    NoSecret,
    SecretRef,
    parse_refs,
    seal_of,
    value_of,
    written_refs,
)
from k3os.cluster.target import Target, changes, is_updated, parse_target, plain
from k3os.config.dump import as_tree
from k3os.config.load import Config
from tests.unit.cluster.test_spec_config import REF

REFERENCE = SecretRef("s", "office", "a.b_C-d")
CONFIG = {"k3os": {"wifi": [{"name": "home", "passphrase": "$(secret.s)"}]}}
VALUE = "topsecret-passphrase"
KEY = b"k" * 32


def view(**more: str) -> NodeView:
    return NodeView("a", {}, ready=True, unschedulable=False, k3os="v1", k3s="v1", **more)


def target(seal: str | None = None, **spec: object) -> Target:
    found = parse_target({"config": CONFIG, "secrets": [REF]} | spec)
    return Target(
        *(found.k3os, found.k3s, found.config, found.overrides, "", found.refs),
        seals=None if seal is None else {"s": seal},
    )


def test_references_are_read_as_they_are_written() -> None:
    assert parse_refs([REF]) == (REFERENCE,)
    assert written_refs([REFERENCE]) == [REF]
    assert parse_refs([{"name": "s"}, "x", None]) == parse_refs(None) == ()


@pytest.mark.parametrize(
    ("data", "value"),
    [
        ({"a.b_C-d": base64.b64encode(b"x").decode()}, "x"),
        ({"a.b_C-d": base64.b64encode("ü\n".encode()).decode()}, "ü\n"),
        ({"a.b_C-d": ""}, None),
        ({"a.b_C-d": base64.b64encode(b"\xff\xfe").decode()}, None),
        ({"a.b_C-d": "no base64!"}, None),
        ({"a.b_C-d": 7}, None),
        ({"other": "eA=="}, None),
        (None, None),
    ],
)
def test_a_value_is_a_text_or_named_as_missing(data: object, value: str | None) -> None:
    if value is not None:
        assert value_of(REFERENCE, {"data": data}) == value
        return
    with pytest.raises(NoSecret) as caught:
        value_of(REFERENCE, {"data": data})
    for part in ("k3os-system", "office", "a.b_C-d"):
        assert part in str(caught.value)


def test_a_seal_is_of_the_value_and_of_no_use_without_its_key() -> None:
    assert seal_of(KEY, VALUE) == seal_of(KEY, VALUE)
    assert len({seal_of(KEY, VALUE), seal_of(KEY, "other"), seal_of(b"j" * 32, VALUE)}) == 3


def test_another_value_is_another_target_of_the_same_spec() -> None:
    one, two, unknown = (target(seal).of(view()) for seal in ("1", "2", None))
    assert one.digest != two.digest and one.config_hash != two.config_hash
    assert plain(one.digest) == plain(two.digest) == unknown.digest
    assert target("1").digest != target("2").digest
    assert target("1").plain_digest == target(None).digest
    node = view(config_hash=one.config_hash)
    assert is_updated(node, target("1"))
    assert changes(node, target("2")) == ["configuration"]
    # without access to Secrets, the spec decides
    assert is_updated(node, target(None))
    assert not is_updated(view(config_hash=fragment_hash({"hostname": "x"})), target(None))
    assert unknown.is_named(one.digest) and not one.is_named(two.digest)


def test_only_the_secrets_that_a_node_gets_count_for_it() -> None:
    override = {"nodeSelector": {"matchLabels": {"room": "1"}}, "config": CONFIG}
    one, two = (target(seal, config={"hostname": "h"}, overrides=[override]) for seal in "12")
    assert one.of(view()).refs == () and one.of(view()).digest == two.of(view()).digest
    other = NodeView("b", {"room": "1"}, ready=True, unschedulable=False)
    assert one.of(other).refs == (REFERENCE,)
    assert one.of(other).digest != two.of(other).digest


def test_a_secret_that_nobody_uses_is_not_asked_for() -> None:
    assert parse_target({"config": {"hostname": "h"}, "secrets": [REF]}).refs == ()


def test_the_value_comes_last_and_is_in_nothing_else() -> None:
    wanted = target(seal_of(KEY, VALUE))
    own = wanted.of(view())
    config, fault = wanted.filled(view(), {"s": VALUE})
    assert fault == "" and config["k3os"]["wifi"] == [{"name": "home", "passphrase": VALUE}]
    for each in (wanted, own):
        assert VALUE not in repr(each) + each.digest + each.config_hash
    # the hash of the configuration with the value is not in it, either
    assert own.config_hash.partition("-")[0] != fragment_hash(config)


S = "$(secret.s)"
URL = "https://user:$(secret.s)@host"
TOP, SECRET = "Zx9Qw7Lm", "Pk3Rt5Yv"
ODD = [
    f"{TOP} --{SECRET}",
    f"--{TOP} --{SECRET}",
    f"a: [{TOP}\n- {SECRET}",
    f"{TOP}\n{SECRET}",
    f"{TOP}\r\n{SECRET}",
    f"{TOP}@x/{SECRET}",
    f"{TOP}/x@{SECRET}",
    f"http://{TOP}:8080/@{SECRET}",
    f"{TOP}\0{SECRET}",
    f"{TOP}{SECRET}\n",
    " \n",
]
PLACES = [
    {"k3os": {"password": S}},
    {"k3os": {"token": S}},
    {"k3os": {"environment": {"http_proxy": f"http://user:{S}@proxy:3128"}}},
    {"k3os": {"wifi": [{"name": "home", "passphrase": S}]}},
    {"k3os": {"k3s_args": ["--token", S]}},
    {"k3os": {"k3s_args": [f"--token={S}"]}},
    {"k3os": {"k3s_args": f"server --token {S}"}},
    {"k3os": {"k3s_args": [f"--datastore-endpoint=postgres://u:{S}@h/db"]}},
    {"k3os": {"server_url": f"{URL}:6443"}},
    {"k3os": {"ca_certificates": [URL]}},
    {"ssh_authorized_keys": [URL]},
    {"run_cmd": [f"curl {URL}/"]},
    {"run_cmd": [["curl", f"{URL}/"]]},
]


@pytest.mark.parametrize("value", ODD)
@pytest.mark.parametrize("config", PLACES)
def test_no_value_comes_out_of_the_place_that_hides_it(config: dict, value: str) -> None:
    """Nothing of an odd value is shown, and it stays one value: it cannot become another argument
    of k3s."""
    wanted = target("1", config=config)
    own = wanted.of(view())
    assert own.refs and not own.fault
    filled, fault = wanted.filled(view(), {"s": value})
    assert not any(part in fault for part in (TOP, SECRET))
    if not fault:
        shown, marked = (as_tree(Config(check(each)[0])) for each in (filled, dict(own.config)))
        assert shown == marked


def test_a_value_that_breaks_the_configuration_is_named_by_its_secret() -> None:
    second = {"name": "t", "valueFrom": {"secretKeyRef": {"name": "other", "key": "k"}}}
    config = {"k3os": {"token": "$(secret.t)", "server_url": f"{URL}:6443"}}
    wanted = target("1", config=config, secrets=[REF, second])
    _, fault = wanted.filled(view(), {"s": f"{TOP}\n", "t": "the-token"})
    assert "k3os-system/office/a.b_C-d" in fault and "other" not in fault
    assert "ends with a line break" in fault


PARTS = ["$(secret.s)", "$(sec", "ret.s)", "$(", "$", "secret.s", ")", "$$(secret.s)"]


@given(st.dictionaries(st.sampled_from("ab"), st.sampled_from(PARTS), min_size=2))
def test_no_value_of_a_node_brings_a_secret_to_it(notes: dict[str, str]) -> None:
    text = "$(node.annotations['a'])$(node.annotations['b'])$(node.annotations['a'])"
    config = {"write_files": [{"path": "/etc/a", "permissions": "0600", "content": f"{text}\n"}]}
    wanted = target("1", config={**config, **CONFIG})
    node = NodeView("a", {}, ready=True, unschedulable=False, annotations=notes)
    filled, fault = wanted.filled(node, {"s": VALUE})
    assert fault == ""
    assert VALUE not in json.dumps(filled["write_files"])
    assert filled["write_files"][0]["content"] == f"{notes['a']}{notes['b']}{notes['a']}\n"
