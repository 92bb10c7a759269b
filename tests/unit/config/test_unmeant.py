"""Typos that are valid but mean something else: each is reported, with what the author meant."""

import pytest

from k3os.config.advice import advice
from k3os.config.check import check_text
from k3os.config.value import plain

KEY = "AAAAC3NzaC1lZDI1NTE5AAAAIESqSmllcg5QoT7KRLnwkEjK+b6OXXcVEGqm+GR8EOwX"


def said(text: str) -> list[str]:
    values, problems = check_text(text.encode(), "c")
    return [str(each) for each in [*problems, *advice(values, "v1.33.1")]]


ARGUMENTS = {
    "a value of the list before": (
        "[server, --kube-controller-manager-arg, address=0.0.0.0, bind-address=0.0.0.0]",
        "write --kube-controller-manager-arg=bind-address=0.0.0.0",
    ),
    "a flag's name with a value": (
        "[server, --kubelet-arg, a=b, config=/etc/kubelet.yaml]",
        "write --kubelet-arg=config=/etc/kubelet.yaml",
    ),
    "another component": ("[--disable, traefik, servicelb]", "write --disable=servicelb"),
    "a flag without its dashes": ("[--disable, traefik, cluster-init]", "write --cluster-init"),
    "after a switch": ("[--cluster-init, tls-san=a]", "write --tls-san=a"),
}


@pytest.mark.parametrize("words,hint", ARGUMENTS.values(), ids=ARGUMENTS)
def test_a_word_without_a_flag_is_given_the_one_that_was_meant(words: str, hint: str) -> None:
    assert [line.rpartition("; ")[2] for line in said(f"k3os: {{k3s_args: {words}}}")] == [hint]


TEMPLATES = {
    "a name": "hostname: ${hostname}",
    "in a name": "hostname: k8s-${name}",
    "of Jinja, quoted": 'hostname: "{{ name }}"',
    "a password": "k3os: {password: '${password}'}",
    "a token": "k3os: {token: '${token}'}",
    "an address": "k3os: {server_url: 'https://${server}:6443'}",
    "keys": "ssh_authorized_keys: ${jsonencode(keys)}",
    "one key": "ssh_authorized_keys: ['${key}']",
    "an account": "ssh_authorized_keys: ['github:${user}']",
    "labels": "k3os: {labels: '${labels}'}",
    "a label": "k3os: {labels: {a: '${region}'}}",
    "taints": "k3os: {taints: ['${taint}']}",
    "modules": "k3os: {modules: '${modules}'}",
    "name servers": "k3os: {dns_nameservers: ['${dns}']}",
    "time servers": "k3os: {ntp_servers: ['${ntp}']}",
    "a disk": "k3os: {install: {device: '${disk}'}}",
    "a truth": "k3os: {install: {silent: '${silent}'}}",
    "a place": "k3os: {install: {config_url: '${url}'}}",
    "a source": "k3os: {data_sources: ['${source}']}",
    "a wireless network": "k3os: {wifi: [{name: '${ssid}', passphrase: '${psk}'}]}",
    "an interface": "k3os: {network: {eth0: {address: '${ip}'}}}",
    "a mode": "write_files: [{path: /a, permissions: '${mode}'}]",
    "an owner": "write_files: [{path: /a, owner: '${owner}'}]",
    "a variable": "k3os: {environment: {A: '${a.b}'}}",
}


@pytest.mark.parametrize("text", TEMPLATES.values(), ids=TEMPLATES)
def test_a_template_is_said_to_be_one_whatever_it_stands_for(text: str) -> None:
    lines = said(text)
    assert any("is a template that nobody filled in" in line for line in lines)
    others = [line for line in lines if "template" not in line and "left out" not in line]
    assert others == []


TAINTS = {
    "effect in small letters": ("a=b:noschedule", "write `a=b:NoSchedule`"),
    "without an effect": ("a=b", "write `key=value:Effect`"),
    "several in one": ("'a=b:NoSchedule,c=d:NoExecute'", "write each as an item of the list"),
    "as in a Node": (
        "{key: dedicated, value: db, effect: NoSchedule}",
        "write `dedicated=db:NoSchedule`",
    ),
    "as in a Node, without a value": (
        "{key: a/b, effect: NoExecute, timeAdded: x}",
        "write `a/b:NoExecute`",
    ),
    "as in a toleration": ("{key: a, operator: Exists}", "write `key=value:Effect`"),
}


@pytest.mark.parametrize("taint,hint", TAINTS.values(), ids=TAINTS)
def test_a_taint_in_another_form_is_shown_in_ours(taint: str, hint: str) -> None:
    (line,) = said(f"k3os: {{taints: [{taint}]}}")
    assert line.startswith("c:1:17: k3os.taints[0]: ")
    assert hint in line


USUAL = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@pytest.mark.parametrize(
    "text,path",
    [
        ("$PATH:/opt/bin", f"{USUAL}:/opt/bin"),
        ("/opt/bin:${PATH}", f"/opt/bin:{USUAL}"),
        ("/opt/bin", "/opt/bin"),
    ],
)
def test_a_search_path_is_extended_as_a_shell_would(text: str, path: str) -> None:
    values, problems = check_text(f"k3os: {{environment: {{PATH: '{text}'}}}}".encode(), "c")
    assert plain(values["k3os.environment"]) == {"PATH": path}
    assert [each.key for each in problems] == ["k3os.environment.PATH"] * ("$" in text)


@pytest.mark.parametrize("text", ["$HOME/bin:$PATH", "$(cat /x)", "${PATH:-/x}"])
def test_a_search_path_that_would_find_no_program_is_left_out(text: str) -> None:
    values, problems = check_text(f"k3os: {{environment: {{PATH: '{text}', A: b}}}}".encode(), "c")
    assert plain(values["k3os.environment"]) == {"A": "b"}
    assert [(each.key, each.is_error) for each in problems] == [("k3os.environment.PATH", True)]


COMMANDS = {
    "kubectl before k3s": ("run_cmd: [kubectl apply -f /x]", "k3s is not started yet"),
    "waiting for it": (
        "run_cmd: ['until kubectl get nodes; do sleep 1; done']",
        "write it into ready_cmd",
    ),
    "k3s' own": ("boot_cmd: [[k3s, kubectl, get, nodes]]", "write it into ready_cmd"),
    "crictl": ("run_cmd: ['crictl images']", "write it into ready_cmd"),
    "helm": ("run_cmd: [helm install a b]", "HelmChart"),
    "k3s installed again": ("run_cmd: ['curl -sfL https://get.k3s.io | sh -']", "k3OS starts k3s"),
    "k3s started again": ("run_cmd: [nohup k3s server &]", "k3OS starts k3s"),
    "an init script": ("run_cmd: [/etc/init.d/k3s-service restart]", "with OpenRC"),
    "in a chain": ("run_cmd: ['sed -i s/a/b/ /x && /etc/init.d/a start']", "with OpenRC"),
    "Alpine's set-up": ("run_cmd: [setup-timezone -z UTC]", "this is not Alpine"),
}


@pytest.mark.parametrize("text,what", COMMANDS.values(), ids=COMMANDS)
def test_a_command_that_does_nothing_here_is_said_with_what_does(text: str, what: str) -> None:
    (line,) = said(text)
    assert "warning: " in line
    assert what in line


@pytest.mark.parametrize(
    "text",
    [
        "ready_cmd: [kubectl apply -f /x, k3s kubectl get nodes, crictl images]",
        "run_cmd: [k3s --version, modprobe nbd, mount /dev/sdb /data, echo kubectl]",
        "run_cmd: ['mkdir -p /var/lib/x && cp /a /b', k3s check-config, hostname]",
    ],
)
def test_a_command_that_works_is_left_alone(text: str) -> None:
    assert said(text) == []


FILES = {
    "/bin/x": "/usr is read-only",
    "/sbin/x": "/usr is read-only",
    "/lib/modules/x": "/usr is read-only",
    "/k3os/system/config.yaml": "is read-only",
    "/etc/passwd": "nobody could log in",
    "/etc/shadow": "nobody could log in",
    "/etc/udhcpc/udhcpc.conf": "connman",
}


@pytest.mark.parametrize("path", FILES)
def test_a_file_that_nothing_reads_here_is_said(path: str) -> None:
    (line,) = said(f"write_files: [{{path: {path}, content: x}}]")
    assert "warning: write_files[0].path: " in line
    assert FILES[path] in line


VALUES = {
    "modules in one text": ("k3os: {modules: 'kvm, nbd'}", "`kvm,` is not a module"),
    "a module's file": ("k3os: {modules: [br_netfilter.ko]}", "write `br_netfilter`"),
    "a module's path": ("k3os: {modules: [/lib/modules/x/nbd.ko.xz]}", "write `nbd`"),
    "a module's command": ("k3os: {modules: [modprobe kvm]}", "write `kvm`"),
    "a sysctl with its value": (
        "k3os: {sysctl: {'kernel.panic = 10': ''}}",
        "is not a kernel setting",
    ),
    "a sysctl of sysctl.d": (
        "k3os: {sysctl: {-net.ipv4.ip_forward: 1}}",
        "is not a kernel setting",
    ),
    "a sysctl with a comment": ("k3os: {sysctl: {a.b: '1 # on'}}", "has a comment in it"),
    "an ISO by ftp": ("k3os: {install: {iso_url: ftp://a/b.iso}}", "http or https"),
    "an ISO without an address": ("k3os: {install: {iso_url: k3os.iso}}", "https://server/path"),
    "a configuration by nfs": ("k3os: {install: {config_url: nfs://a/b}}", "https, ftp"),
    "a short passphrase": ("k3os: {wifi: [{name: a, passphrase: short}]}", "8 to 63"),
    "a directory": ("write_files: [{path: /etc/, content: x}]", "is a directory"),
    "a directory of all": ("write_files: [{path: /, content: x}]", "is a directory"),
    "above the root": ("write_files: [{path: ../etc/x, content: x}]", "`..` in a path"),
    "somebody's home": ("write_files: [{path: ~rancher/x}]", "write `/home/rancher/x`"),
    "a variable's home": ("write_files: [{path: $HOME/x}]", "write `/home/rancher/x`"),
    "a shell's home": ("write_files: [{path: '${HOME}/x'}]", "write `/home/rancher/x`"),
    "Windows": ("write_files: [{path: 'C:\\x', content: x}]", "is not a Linux path"),
    "a user who is not there": ("write_files: [{path: /x, owner: 'pi:pi'}]", "no user `pi`"),
    "a name for an address": ("k3os: {dns_nameservers: [dns.google]}", "e.g. `1.1.1.1`"),
    "a time server in brackets": ("k3os: {ntp_servers: ['[::1]']}", "write `::1`"),
    "a time server with a port": ("k3os: {ntp_servers: ['[2001:db8::1]:123']}", "`2001:db8::1`"),
    "sources in one text": ("k3os: {data_sources: 'aws,cdrom'}", "as an item of the list"),
    "sources on one line": ("k3os: {data_sources: aws cdrom}", "as an item of the list"),
    "a list in quotes": ('k3os: {k3s_args: \'["server", "-v"]\'}', "without the quotes"),
    "a true word with a blank": ("k3os: {install: {silent: 'true '}}", ""),
}


@pytest.mark.parametrize("text,what", VALUES.values(), ids=VALUES)
def test_a_value_that_nothing_here_could_use_is_said(text: str, what: str) -> None:
    lines = said(text)
    assert [what for line in lines if what in line] == [what] * bool(what)
    assert len([line for line in lines if "left out" not in line]) == bool(what)


FORMS = {
    "a flag with a colon": (
        "k3os: {k3s_args: [server, {--disable: traefik}]}",
        "k3os.k3s_args[1]: is a map because of its `: `; write `--disable=…`",
    ),
    "a forge with a blank": (
        "ssh_authorized_keys: ['', {github: me}]",
        "ssh_authorized_keys[1]: is a map because of its `: `; write `github:me`, without a blank",
    ),
    "a forge alone": ("ssh_authorized_keys: [github: ]", "write `github:NAME`, without a blank"),
    "a key's comment": (f"ssh_authorized_keys: [ssh-ed25519 {KEY} a: b]", "put the line in quotes"),
    "a module": ("k3os: {modules: [nbd: 8]}", "put the line in quotes: `- 'nbd: …'`"),
    "a name of nothing": ("k3os: {labels: {'': x}}", "a key must be a text, not an empty one"),
}


@pytest.mark.parametrize("text,what", FORMS.values(), ids=FORMS)
def test_what_yaml_takes_for_a_map_is_said_with_what_was_meant(text: str, what: str) -> None:
    (line,) = said(text)
    assert what in line


@pytest.mark.parametrize(
    "text,key",
    [
        ("k3os: {taints: ['', 'a', 'a=b c:NoSchedule', 'x:NoSchedule']}", "k3os.taints[2]"),
        ("k3os: {dns_nameservers: [1.1.1.1, '', [], x]}", "k3os.dns_nameservers[3]"),
        ("k3os: {ntp_servers: ['', 'a b']}", "k3os.ntp_servers[1]"),
        ("write_files: ['', null, {content: x}]", "write_files[2]"),
        ("ssh_authorized_keys: [null, octocat]", "ssh_authorized_keys[1]"),
        ("k3os: {data_sources: [aws, '', x]}", "k3os.data_sources[2]"),
    ],
)
def test_an_item_is_counted_as_it_was_written(text: str, key: str) -> None:
    _, problems = check_text(text.encode(), "c")
    assert key in [each.key for each in problems]


def test_what_is_said_about_an_item_counts_those_that_were_left_out() -> None:
    text = """\
write_files:
- {content: x}
- {path: /etc/inittab, content: x}
- {path: /x, content: x, owner: pi}
- {path: /y, content: x, encoding: b64}
- {path: /var/lib/rancher/k3s/server/manifests/traefik.yaml, content: x}
- {path: /z, content: "upgrade.cattle.io/ kind: Plan"}
run_cmd: [{a: b, c: d}, apk add x]
k3os:
  k3s_args: ['', {a: b, c: d}, --x]
  modules: ['', nbd.ko]
  wifi: [null, {name: a, passphrase: b}]
"""
    values, problems = check_text(text.encode(), "c")
    keys = {each.key for each in [*problems, *advice(values)] if not each.is_error}
    keys |= {each.key for each in advice(values)}
    assert keys == {
        "write_files[1].path",
        "write_files[2].owner",
        "write_files[3].content",
        "write_files[4].path",
        "write_files[5].content",
        "run_cmd[1]",
        "k3os.k3s_args[2]",
        "k3os.modules[1]",
        "k3os.wifi[1].passphrase",
    }


HIDDEN = {
    "typographic quotes": ("“", "”", "a typographic quote"),
    "a no-break space": ("", "\u00a0", "a no-break space"),
    "an invisible letter": ("\u200b", "", "an invisible character"),
}
CHECKED = {
    "a name": "hostname: {}node1{}",
    "a number": "k3os: {{upgrade: {{timeout: {}600{}}}}}",
    "a truth": "k3os: {{install: {{silent: {}true{}}}}}",
    "a duration": "k3os: {{shutdown: {{grace_period: {}30s{}}}}}",
    "an address": "k3os: {{server_url: {}https://a:6443{}}}",
    "a name server": "k3os: {{dns_nameservers: [{}10.0.0.1{}]}}",
    "a taint": "k3os: {{taints: [{}a=b:NoSchedule{}]}}",
    "a label": "k3os: {{labels: {{a: {}b{}}}}}",
    "an interface": "k3os: {{network: {{eth0: {{address: {}10.0.0.1/24{}}}}}}}",
    "a mode": "write_files: [{{path: /a, content: x, permissions: {}0644{}}}]",
}


@pytest.mark.parametrize("before,after,what", HIDDEN.values(), ids=HIDDEN)
@pytest.mark.parametrize("line", CHECKED.values(), ids=CHECKED)
def test_what_a_word_processor_put_into_a_value_is_named(
    line: str, before: str, after: str, what: str
) -> None:
    clean, strange = line.format("", ""), line.format(before, after)
    assert said(clean) == []
    # whitespace of any kind at the end of a text is removed
    assert any(what in each for each in said(strange)) or values(strange) == values(clean)


def values(text: str) -> object:
    return {name: plain(value) for name, value in check_text(text.encode(), "c")[0].items()}


def test_a_sign_that_nobody_sees_is_named_in_a_path_and_left_alone_in_a_text() -> None:
    (line,) = said("write_files: [{path: /a\u200bb, content: 'x\u200by'}]")
    assert "write_files[0].path: has an invisible character in it" in line
    assert said("k3os: {wifi: [{name: Anna’s, passphrase: abcdefgh}]}") == []
