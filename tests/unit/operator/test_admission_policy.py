"""The API server refuses what the nodes refuse, in the same words."""

import json
from typing import Any

import pytest

from k3os.cluster.spec import parse_pool
from k3os.config.key import BY_NAME
from k3os.config.schema import BY_PATH, TABLE
from k3os.operator.admission_policy import API, NAME, binding, policy
from k3os.operator.admission_policy import LISTS as KINDS_OF_LISTS
from tests.unit.operator.cel_runner import Runner

RUNNER = Runner(policy())
# one key of each group with the same rules for values
ALIKE = {
    (key.kind, key.further, key.values, key.limits, key.fields, key.example[:5]): key.path
    for key in TABLE
}


def config_of(path: str, value: Any) -> dict[str, Any]:
    for name in reversed(path.split(".")):
        value = {name: value}
    return value  # type: ignore[no-any-return]


def pool(config: Any, **meta: Any) -> dict[str, Any]:
    return {"metadata": {"name": "p"} | meta, "spec": {"nodeSelector": {}, "config": config}}


def checked(config: Any) -> str:
    """The message that the operator would write into the NodePool's condition."""
    return "; ".join(parse_pool(pool(config)).problems)


# key, value, message
WRONG = [
    ("hostname", "a_b", "`a_b` is not a valid host name; use letters"),
    ("hostname", "x" * 65, "is not a valid host name"),
    ("hostname", "-a", "is not a valid host name"),
    ("hostname", "localhost.example.com", "is what every machine is called"),
    ("hostname", ["a"], "must be a name, not a list"),
    ("hostname", {"a": "b"}, "must be a name, not a map"),
    ("k3os", "yes", "must be a map of keys, not a text"),
    ("k3os.install", ["a"], "must be a map of keys, not a list"),
    ("k3os.operator", "maybe", "must be true or false, not `maybe`"),
    ("k3os.operator", 2, "must be true or false, not `2`"),
    ("k3os.operator", ["true"], "must be true or false, not a list"),
    ("k3os.swap.pods", "TRUE ish", "must be true or false, not `TRUE ish`"),
    ("k3os.upgrade.timeout", "soon", "must be a number, not `soon`"),
    ("k3os.upgrade.timeout", 1.5, "must be a number, not `1.5`"),
    ("k3os.upgrade.timeout", -1, "must be a number, not `-1`"),
    ("k3os.upgrade.timeout", 29, "29 is out of range; write 30 to 86400"),
    ("k3os.upgrade.timeout", "99999999999", "is out of range"),
    ("k3os.upgrade.timeout", True, "must be a number, not `true`"),
    ("k3os.shutdown.grace_period", "soon", "`soon` is not a duration; write e.g. `45s`"),
    ("k3os.shutdown.grace_period", "11m", "`11m` is out of range; write 0s to 600s"),
    ("k3os.shutdown.grace_period", 601, "`601` is out of range"),
    ("k3os.shutdown.critical_grace_period", {"s": 5}, "must be a duration, not a map"),
    ("k3os.hardening", "CIS2", "`CIS2` is unknown; known: cis"),
    ("k3os.lockdown", "all", "known: integrity, confidentiality"),
    ("k3os.lockdown", ["integrity"], "must be a text, not a list"),
    ("k3os.swap.zram", "lots", "must be auto, off, a size or a percentage, not `lots`"),
    ("k3os.swap.zram", "401%", "401% is out of range; write 1% to 400%"),
    ("k3os.swap.zram", "8M", "8M is out of range; write 16M to 1024G"),
    ("k3os.swap.zram", "1025 G", "1025 G is out of range"),
    ("k3os.password", ["a"], "must be a text, not a list"),
    ("k3os.password", "a\nb", "has more than one line; write it in one line"),
    ("k3os.token", {"a": "b"}, "must be a text, not a map"),
    ("k3os.server_url", "server", "`server` is not a URL; write e.g. `https://server:6443`"),
    ("k3os.server_url", "10.0.0.1:6443", "write e.g. `https://10.0.0.1:6443`"),
    ("k3os.server_url", "a b", "is not a URL"),
    ("k3os.server_url", ["https://a:6443"], "must be an address, not a list"),
    ("k3os.install.device", "sda", "`sda` is not an absolute path; write `/dev/sda`"),
    ("k3os.install.device", "dev/sda", "write `/dev/sda`"),
    ("k3os.install.device", "/dev/../sda", "`..` in a path is not allowed"),
    ("k3os.install.config_url", "x", "is not a URL"),
    ("k3os.install.config_url", "/../x", "`..` in a path is not allowed"),
    ("k3os.install.iso_url", "host/x.iso", "is not a URL"),
    ("k3os.install.iso_url", "x.iso", "write e.g. `https://server/path`"),
    ("k3os.install.tty", "tty S0", "is not a console"),
    ("k3os.modules", {"a": "b", "c": "d"}, "must be a list, not a map; begin each item with `- `"),
    ("k3os.modules", ["kvm", ["a"]], "k3os.modules[1]: must be a text, not a list"),
    ("k3os.modules", [{"a": "b", "c": "d"}], "k3os.modules[0]: must be a text, not a map"),
    ("k3os.modules", ["kvm", "a\nb"], "k3os.modules[1]: has more than one line"),
    ("k3os.ntp_servers", [["a"]], "must be a text, not a list"),
    ("k3os.dns_nameservers", ["1.1.1.1", "dns.example.com"], "[1]: `dns.example.com` is not an IP"),
    ("k3os.dns_nameservers", ["256.1.1.1"], "is not an IP address; write an address"),
    ("run_cmd", [{"a": "b", "c": "d"}], "must be a command: a text, or a list of words, not a map"),
    ("run_cmd", {"a": "b", "c": "d"}, "must be a list, not a map"),
    (
        "k3os.data_sources",
        ["aws", "xyzzy"],
        "k3os.data_sources[1]: `xyzzy` is unknown; known: auto",
    ),
    ("k3os.data_sources", [["aws"]], "must be a name, not a list"),
    ("k3os.sysctls", "vm.swappiness", "must be a map, not a text; write `name: value` lines"),
    ("k3os.sysctls", {"vm.a": ["1"]}, "k3os.sysctls.vm.a: must be a text, not a list"),
    ("k3os.sysctls", {"vm.a": "1\n2"}, "k3os.sysctls.vm.a: has more than one line"),
    ("k3os.labels", {"a b": "c"}, "`a b` is not a valid Kubernetes name"),
    ("k3os.labels", {"a": "b c"}, "`b c` is not a valid Kubernetes value"),
    ("k3os.labels", {"a": "x" * 64}, "is not a valid Kubernetes value"),
    ("k3os.labels", {"Ex.com/a": "b"}, "`Ex.com` is not a valid Kubernetes prefix"),
    ("k3os.labels", {"ex.com/": "b"}, "has no name; write letters"),
    ("k3os.labels", {"kubernetes.io/role": "x"}, "is one of Kubernetes' own labels"),
    ("k3os.labels", {"node-role.kubernetes.io/w": "x"}, "kubectl label node NAME"),
    ("k3os.environment", {"a-b": "c"}, "is not a valid variable name; write a_b"),
    ("k3os.environment", {"1": "c"}, "write letters, digits and `_`"),
    ("k3os.environment", {"A": {"b": "c"}}, "k3os.environment.A: must be a text, not a map"),
    ("k3os.k3s_sums", {"v1.33": "0" * 64}, "is not a version of k3s"),
    ("k3os.k3s_sums", {"v1.33.1+k3s1": "0" * 63}, "is not a SHA-256"),
    ("k3os.taints", ["a=b"], "`a=b` is not a taint; write `key=value:Effect`"),
    ("k3os.taints", ["a=b:noschedule"], "write `a=b:NoSchedule`"),
    ("k3os.taints", ["=b:NoSchedule"], "is not a taint"),
    ("k3os.taints", ["a=b:NoSchedule,c:NoExecute"], "write each as an item of the list"),
    ("k3os.taints", ["a=b c:NoSchedule"], "`b c` is not a valid Kubernetes value"),
    ("k3os.taints", ["x y=b:NoSchedule"], "`x y` is not a valid Kubernetes name"),
    ("k3os.ca_certificates", ["abc"], "is not a certificate in PEM form"),
    ("k3os.ca_certificates", ["-----BEGIN PRIVATE KEY-----"], "contains a private key"),
    ("write_files", "x", "write_files[0]: must be a map, not a text; write `path: …` and so on"),
    ("write_files", [{"content": "x"}], "write_files[0]: has no path; write `path: …`"),
    ("write_files", [{"path": "/etc/"}], "`/etc/` is a directory"),
    ("write_files", [{"path": "C:\\x"}], "is not a Linux path"),
    ("write_files", [{"path": "/a", "content": ["x"]}], "write_files[0].content: must be a text"),
    ("write_files", [{"path": "/a", "owner": "a/b"}], "is not an owner"),
    ("write_files", [{"path": "/a", "permissions": "rwx"}], "`rwx` is not a file mode"),
    ("write_files", [{"path": "/a", "encoding": "zip"}], "`zip` is unknown; known: text/plain"),
    (
        *("write_files", [{"path": "/a"}, {"path": "/b", "append": "x", "owner": "a b"}]),
        "write_files[1]: is left out because of its append, owner",
    ),
    ("k3os.wifi", [{"passphrase": "x"}], "k3os.wifi[0]: has no ssid"),
    ("k3os.wifi", [{"name": ["x"]}], "k3os.wifi[0].ssid: must be a text, not a list"),
]


@pytest.mark.parametrize(
    ("path", "value", "words"), WRONG, ids=[f"{path}-{n}" for n, (path, *_) in enumerate(WRONG)]
)
def test_a_wrong_value_is_refused_in_the_words_of_the_check(
    path: str, value: Any, words: str
) -> None:
    config = config_of(path, value)
    refusal = RUNNER.refusal(pool(config))
    assert words in refusal
    assert refusal == checked(config)


# structures for k3s, the kubelet and containerd, which only the operator checks
OF_K3S = {"mirrors", "endpoints", "rewrites", "registry configs", "map"}
OF_K3S |= {"images", "manifests", "kubelet", "toml"}
OF_DISKS = {"mount options"}


def test_every_kind_of_value_is_in_the_table() -> None:
    """Except kinds whose rules CEL cannot express."""
    kinds = {key.kind for key in TABLE} | {field.kind for key in TABLE for field in key.fields}
    by_path = {key.path: key for key in TABLE}
    seen = {by_path[path].kind for path, *_ in WRONG if path in by_path}
    entries = [field for path in ("write_files", "k3os.wifi") for field in by_path[path].fields]
    seen |= {field.kind for field in entries if not field.fields}
    left = {"networks", "addresses", "hosts", "routes", "ssh keys", "arguments"}
    left |= {"fixed address", "router"}
    assert kinds - seen == {*left, *OF_K3S, *OF_DISKS}


# whatever somebody might write as a key's value
TEXTS = [
    *("", " ", "\t", "\n", "true", "Yes", " on ", "y", "auto", "OFF", "1", "007", "0644", "0o644"),
    *("45s", "1h30m", "512M", "2 GiB", "50%", "50 %", "a", "A.b-c", "a_b", "a b", "a,b", "a=b"),
    *("a:b", "=", ":", "a=b:c", "a\n", "a\nb", "a\rb", "a\x07b", "ä", "“a”", "a\u00a0b"),
    *("{{ a }}", "${a}", "$A", "$(a)", "~/x", "/", "/a", "/a/", "/a/..", "a/../b", "../a"),
    *("/dev/sda", "dev/sda", "\\a", "`a`", '["a"]', "https://a", "https://a b", "a.iso", "://"),
    *("http://u:p@h/x", "u:p@h", "a://", "ftp://a/b", "10.0.0.1", "10.0.0.256", "::1"),
    *("fe80::1%eth0", "10.0.0.1/24", "localhost", "k=v:NoSchedule", "k:NoExecute", "a:1:b"),
    *("k=v:noexecute", "k=v:Never", "github:a", "cis", "CIS", "aws", "ttyS0,9600", "PATH"),
    *("x" * 63, "x" * 64, "x" * 65, "x" * 500, "a." * 40, "-----BEGIN CERTIFICATE-----"),
]
LISTS: list[Any] = [
    *([], [None], [""], ["a"], ["a", "b"], ["a b", 5], [["a"]], [["ls", "-l"]], [{}], ["a\nb"]),
    *([{"a": "b"}], [{"a": "b", "c": "d"}], ["k=v:NoSchedule"], ["k=v:NoSchedule", "k"]),
    *(["aws", "a"], [{"path": "/a", "content": "x\ny"}], [{"path": "a"}], [{"path": "~a/b"}]),
    *([{"path": "/a", "permissions": 420}], [{"path": "/a", "mode": "x"}], [{"Path": "/a"}]),
    *([{"path": "/a", "source": "x", "owner": "/"}], [{"path": "/a/..", "owner": ""}]),
    *([{"name": "home", "psk": "x"}], [{"ssid": "a", "name": "b"}], [{"path": "/a", "append": 2}]),
]
MAPS: list[Any] = [
    *({}, {"a": "b"}, {"a": None}, {"a": ["b"]}, {"a": {"b": "c"}}, {"a b": "c"}, {"": "a"}),
    *({"$a": "b"}, {"kubernetes.io/a": "b"}, {"node.kubernetes.io/a": "b"}, {"export A": "b"}),
    *({"PATH": "$PATH:/x"}, {"v1.33.1+k3s1": "0" * 64}, {"path": "/a"}, {"eth0": {"mtu": 5}}),
    *({"eth0": {"address": "dhcp"}}, {"eth0": "dhcp"}, {"eth0": {"adress": "x"}}),
]
NUMBERS: list[Any] = [None, True, False, 0, 1, 7, 64, 420, 644, 988, 90000, -1, 1.5]
VALUES: list[Any] = [*NUMBERS, *TEXTS, *LISTS, *MAPS]
NEAREST = "did you mean"


def test_nothing_is_refused_that_the_check_takes_and_nothing_in_other_words() -> None:
    """Of several wrong items, only those that CEL can check. That is most of them; the operator
    does the rest: other spellings, templates, networks, ssh keys."""
    refused = both = 0
    for kind, path in [*((key[0], path) for key, path in ALIKE.items()), ("", "k3os")]:
        for value in VALUES:
            wanted = checked(config_of(path, value))
            refusal = RUNNER.refusal(pool(config_of(path, value)))
            if kind not in OF_K3S:
                refused, both = refused + bool(wanted), both + bool(refusal)
            parts = refusal.split("; ") if refusal else []
            if NEAREST in wanted:  # CEL cannot find the most similar name
                parts = [each for each in parts if not each.startswith("known: ")]
            assert set(parts) <= set(wanted.split("; ")), (path, value)
    assert both / refused > 0.75, (both, refused)


def test_all_that_is_wrong_is_said_at_once() -> None:
    config = {"hostname": "a_b", "k3os": {"operator": "maybe", "labels": {"a b": "c"}}}
    refusal = RUNNER.refusal(pool(config))
    assert sorted(refusal.split("; ")) == sorted(checked(config).split("; "))


def test_what_is_not_about_the_configuration_is_let_through() -> None:
    """A NodePool with an old error in its configuration can still be paused and deleted."""
    bad, other = pool({"hostname": "a_b"}), pool({"hostname": "a_c"})
    assert RUNNER.refusal(bad, other)
    paused = {**bad, "spec": bad["spec"] | {"strategy": {"paused": True}}}
    assert RUNNER.refusal(paused, bad) == ""
    assert RUNNER.refusal(pool({"hostname": "a_b"}, deletionTimestamp="now"), other) == ""
    assert RUNNER.refusal({"metadata": {}, "spec": {}}) == ""
    assert RUNNER.refusal(pool({}), bad) == ""


def test_a_secret_is_in_no_message() -> None:
    secret = "hunter2"
    for path in ("k3os.password", "k3os.token", "k3os.environment", "k3os.wifi", "write_files"):
        for value in (f"{secret}\nx", [secret], {"A b": secret}, [{"psk": [secret], "content": 5}]):
            assert secret not in RUNNER.refusal(pool(config_of(path, value)))


@pytest.mark.parametrize("text", ["$(node.name)", "$(node.labels['a.b/c'])", "x$(secret.t)"])
@pytest.mark.parametrize("path", sorted(ALIKE.values()))
def test_what_is_known_of_each_node_only_is_left_to_its_check(path: str, text: str) -> None:
    key = BY_PATH[path]
    entry = {field.name: text for field in key.fields if not field.fields}
    shapes: dict[str, Any] = {"text map": {"a": text}, "maps": [entry]}
    shapes |= {kind: {"a": entry} for kind in BY_NAME} | {kind: [text] for kind in KINDS_OF_LISTS}
    assert RUNNER.refusal(pool(config_of(path, shapes.get(key.kind, text)))) == ""


def test_the_objects_are_as_the_api_wants_them() -> None:
    found, bound = policy(), binding()
    assert (found["apiVersion"], bound["apiVersion"]) == (API, API)
    assert bound["spec"] == {"policyName": NAME, "validationActions": ["Deny"]}
    assert found["metadata"]["name"] == bound["metadata"]["name"] == NAME
    assert found["spec"]["failurePolicy"] == "Ignore"
    names = [each["name"] for each in found["spec"]["variables"]]
    assert len(set(names)) == len(names)
    assert all(name.isidentifier() for name in names)
    # the parser's limits for an expression: characters and nesting
    for each in found["spec"]["variables"]:
        assert len(each["expression"]) < 50_000
        assert depth(each["expression"]) < 100, each["name"]
    assert len(json.dumps(found)) < 200_000


def depth(text: str) -> int:
    """The nesting depth of brackets."""
    now = most = 0
    for sign in text:
        now += (sign in "([{") - (sign in ")]}")
        most = max(most, now)
    return most
