"""Merging: a table with every key, and associativity for everything."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from k3os.config.check import check_text
from k3os.config.merge import merge
from k3os.config.schema import TABLE
from k3os.config.value import Value, plain
from tests.certificate import PEM

# key: (weakest, middle, strongest, result), as YAML
REPLACED = ("a", "b", "c", "c")
LISTS = ("[a, b]", "[c, a]", "d", ["a", "b", "c", "d"])
HEX = "0123456789abcdef" * 4

CASES: dict[str, tuple[str, str, str, object]] = {
    "ssh_authorized_keys": (
        "['github:a', 'github:b']",
        "['github:c', 'github:a']",
        "gh:d",
        ["github:a", "github:b", "github:c", "gh:d"],
    ),
    "write_files": (
        "[{path: /a, content: 1}, {path: /b}]",
        "[{path: /a, content: 2}]",
        "[{path: /c}, {path: /a, content: 3}]",
        [{"path": "/a", "content": "3"}, {"path": "/b"}, {"path": "/c"}],
    ),
    "hostname": REPLACED,
    "init_cmd": LISTS,
    "boot_cmd": LISTS,
    "run_cmd": ("[a, a]", "[[b, c], a]", "[[b, c], d]", ["a", "a", ["b", "c"], "d"]),
    "ready_cmd": LISTS,
    "k3os.data_sources": ("[auto, cdrom]", "[nocloud]", "[cdrom]", ["cdrom"]),
    "k3os.modules": LISTS,
    "k3os.sysctls": ("{a: 1, b: 1}", "{b: 2}", "{c: 3}", {"a": "1", "b": "2", "c": "3"}),
    "k3os.ntp_servers": ("[a, b]", "[b]", "[c]", ["c"]),
    "k3os.dns_nameservers": ("[1.1.1.1, '::1']", "[8.8.8.8]", "[9.9.9.9]", ["9.9.9.9"]),
    "k3os.network": (
        "{eth0: {address: 10.0.0.2/8, mtu: 1400}, eth1: dhcp}",
        "{eth0: {gateway: 10.0.0.1, mtu: 9000}}",
        "{eth1: {address: fd00::1/64}}",
        {
            "eth0": {"address": ["10.0.0.2/8"], "mtu": "9000", "gateway": ["10.0.0.1"]},
            "eth1": {"address": ["fd00::1/64"]},
        },
    ),
    "k3os.wifi": (
        "[{ssid: a, pass: x}, {ssid: b}]",
        "[{name: a}]",
        "[{ssid: c}]",
        [{"ssid": "a"}, {"ssid": "b"}, {"ssid": "c"}],
    ),
    "k3os.password": REPLACED,
    "k3os.server_url": ("https://a", "https://b", "https://c", "https://c"),
    "k3os.token": REPLACED,
    "k3os.labels": ("{a: 1, b: 1}", "{b: 2}", "{a: 3}", {"a": "3", "b": "2"}),
    "k3os.k3s_args": ("[server, a]", "[agent]", "[server, b]", ["server", "b"]),
    "k3os.k3s_sums": (
        f"{{v1.1.1+k3s1: {HEX}, v1.1.2+k3s1: {HEX}}}",
        f"{{v1.1.1+k3s1: '{HEX[::-1]} {HEX}'}}",
        f"{{v1.1.2+k3s1: {HEX[::-1]}}}",
        {"v1.1.1+k3s1": f"{HEX[::-1]} {HEX}", "v1.1.2+k3s1": HEX[::-1]},
    ),
    "k3os.k3s_insecure_http": ("true", "false", "no", False),
    "k3os.operator": ("true", "false", "no", False),
    "k3os.environment": ("{a: 1, b: 1}", "{b: 2}", "{a: 3}", {"a": "3", "b": "2"}),
    "k3os.ca_certificates": (
        json.dumps([PEM]),
        json.dumps([PEM * 2, PEM]),
        json.dumps([PEM]),
        [PEM, PEM * 2],
    ),
    "k3os.registries.mirrors": (
        "{a: {endpoint: ['https://a'], rewrite: {x: y}}, b: {}}",
        "{a: {endpoint: ['https://b']}}",
        "{a: {rewrite: {z: y}}, c: {}}",
        {"a": {"endpoint": ["https://b"], "rewrite": {"x": "y", "z": "y"}}, "b": {}, "c": {}},
    ),
    "k3os.registries.configs": (
        "{a: {auth: {username: u, password: p}}}",
        "{a: {tls: {ca_file: /a}}}",
        "{a: {auth: {username: v, password: q}}}",
        {"a": {"auth": {"username": "v", "password": "q"}, "tls": {"ca_file": "/a"}}},
    ),
    "k3os.kubelet": (
        "{maxPods: 3, evictionHard: {memory.available: 1Mi, nodefs.available: 2Mi}}",
        "{maxPods: 4}",
        "{evictionHard: {nodefs.available: 3Mi}}",
        {"maxPods": "4", "evictionHard": {"memory.available": "1Mi", "nodefs.available": "3Mi"}},
    ),
    "k3os.containerd": (
        '"[debug]\\nlevel=\\"a\\""',
        '"[debug]\\nlevel=\\"b\\""',
        '"[debug]\\nlevel=\\"c\\""',
        '[debug]\nlevel="c"',
    ),
    "k3os.images": ("[/a.tar, /b.tgz]", "[/c.tar]", "[/b.tgz]", ["/a.tar", "/b.tgz", "/c.tar"]),
    "k3os.embedded_registry": ("true", "no", "yes", True),
    "k3os.manifests": (
        "{a: 'https://a/1', b: /b}",
        "{a: 'https://a/2'}",
        "{c: /c}",
        {"a": "https://a/2", "b": "/b", "c": "/c"},
    ),
    "k3os.taints": (
        "['a:NoSchedule']",
        "['b:NoSchedule']",
        "['a:NoSchedule']",
        ["a:NoSchedule", "b:NoSchedule"],
    ),
    "k3os.kernel_args": ("[a=1, b]", "[c]", "[b, a=1]", ["b", "a=1"]),
    "k3os.lockdown": ("integrity", "confidentiality", "integrity", "integrity"),
    "k3os.lock_modules": ("true", "no", "yes", True),
    "k3os.hardening": ("cis", "cis", "cis", "cis"),
    "k3os.shutdown.grace_period": ("10s", "1m", "20", "20"),
    "k3os.shutdown.critical_grace_period": ("1s", "2s", "3s", "3s"),
    "k3os.disks": (
        "[{device: /dev/a, filesystem: ext4, label: a, mount: /srv/a}]",
        "[{device: /dev/b, filesystem: swap, label: b}]",
        "[{device: /dev/c, filesystem: xfs, label: a, mount: /srv/c}]",
        [
            {"device": "/dev/c", "filesystem": "xfs", "label": "a", "mount": "/srv/c"},
            {"device": "/dev/b", "filesystem": "swap", "label": "b"},
        ],
    ),
    "k3os.mounts": (
        "[{what: LABEL=a, where: /srv/a}]",
        "[{what: 'nas:/b', where: /srv/b}]",
        "[{what: LABEL=c, where: /srv/a/}]",
        [{"what": "LABEL=c", "where": "/srv/a"}, {"what": "nas:/b", "where": "/srv/b"}],
    ),
    "k3os.swap.zram": ("auto", "50%", "off", "off"),
    "k3os.swap.pods": ("true", "no", "yes", True),
    "k3os.install.device": ("/a", "/b", "/c", "/c"),
    "k3os.install.config_url": ("http://a", "http://b", "http://c", "http://c"),
    "k3os.install.iso_url": ("http://a", "http://b", "http://c", "http://c"),
    "k3os.install.insecure": ("true", "false", "yes", True),
    "k3os.install.silent": ("true", "false", "yes", True),
    "k3os.install.force_efi": ("true", "true", "no", False),
    "k3os.install.no_boot_entry": ("true", "true", "no", False),
    "k3os.install.no_format": ("true", "false", "on", True),
    "k3os.install.no_cmdline": ("true", "false", "on", True),
    "k3os.install.tty": REPLACED,
    "k3os.install.debug": ("true", "false", "1", True),
    "k3os.install.power_off": ("true", "false", "true", True),
    "k3os.upgrade.timeout": ("60", "70", "80", "80"),
    "k3os.upgrade.check": LISTS,
}


def test_the_table_has_every_key() -> None:
    assert sorted(CASES) == sorted(key.path for key in TABLE)


def source(path: str, text: str) -> dict[str, Value]:
    document = text
    for name in reversed(path.split(".")):
        document = f"{{{name}: {document}}}"
    values, problems = check_text(document.encode(), "config.yaml")
    assert not problems, [str(problem) for problem in problems]
    return values


@pytest.mark.parametrize("path", sorted(CASES))
def test_three_sources_merge_by_the_rule_of_the_key(path: str) -> None:
    *texts, expected = CASES[path]
    weak, middle, strong = (source(path, str(text)) for text in texts)
    assert plain(merge(merge(weak, middle), strong)[path]) == expected
    assert plain(merge(weak, merge(middle, strong))[path]) == expected


def test_a_merged_value_remembers_the_source_of_each_part() -> None:
    weak, _ = check_text(b"k3os: {labels: {a: x}}", "weak.yaml")
    strong, _ = check_text(b"k3os: {labels: {b: y}}", "strong.yaml")
    labels = merge(weak, strong)["k3os.labels"].data
    assert isinstance(labels, dict)
    assert [value.place.source for value in labels.values()] == ["weak.yaml", "strong.yaml"]


short = st.sampled_from("abc")
sources = st.fixed_dictionaries(
    {},
    optional={
        "labels": st.dictionaries(short, short),
        "modules": st.lists(short),
        "k3s_args": st.lists(short),
        "wifi": st.lists(st.builds(lambda name, key: {"ssid": name, "pass": key}, short, short)),
    },
)


@given(sources, sources, sources)
def test_merge_is_associative(one: object, two: object, three: object) -> None:
    import json

    a, b, c = (
        check_text(json.dumps({"k3os": each}).encode(), "x")[0] for each in (one, two, three)
    )
    left, right = merge(merge(a, b), c), merge(a, merge(b, c))
    assert {path: plain(value) for path, value in left.items()} == {
        path: plain(value) for path, value in right.items()
    }
