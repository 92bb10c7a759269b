"""The k3s stub reads its configuration and flags like the real one.

Seen: at a real v1.22.3 unless a comment says "source" (pkg/configfilearg, pkg/cli/cmds) or names
an issue of k3s.
"""

import pytest

from tests.unit.stubs.conftest import NEW, OLD

DENIED = 'level=fatal msg="open {}/etc/rancher/k3s/config.yaml: permission denied"'


@pytest.mark.parametrize(
    "words", [("kubectl", "version", "--client"), ("crictl", "ps"), ("--version",)]
)
def test_a_user_who_may_not_read_the_configuration_gets_nowhere(old, words):
    """Not even to the version; K3S_DATA_DIR does not help."""
    old.config(mode=0o600, token="secret")
    for environment in ({}, {"K3S_DATA_DIR": "/x"}):
        answer = old.run(*words, anyone=True, **environment)
        assert (answer.code, answer.out) == (1, "")
        assert DENIED.format(old.root) in answer.err


def test_newer_ones_warn_such_a_user_of_kubectl_and_say_their_version(new):
    """Source; HELP since v1.26.6, the warning since k3s#11237."""
    new.config(mode=0o600, token="secret")
    answer = new.run("kubectl", "version", "--client", anyone=True)
    assert answer.code == 0
    assert "level=warning" in answer.err
    assert "permission denied" in answer.err
    assert new.run("--version", anyone=True).code == 0


def test_a_readable_configuration_lets_everybody_in(old):
    old.config(write_kubeconfig_mode="0644")
    assert old.run("kubectl", "version", "--client", anyone=True).code == 0


def test_a_file_that_was_named_must_be_there(old):
    for command in (("kubectl", "version", "--client"), ("etcd-snapshot", "save")):
        answer = old.run(*command, K3S_CONFIG_FILE="/nonexistent")
        assert answer.code == 1
        assert "open /nonexistent: no such file or directory" in answer.err


@pytest.mark.parametrize("version", [OLD, NEW])
def test_an_unknown_flag_ends_it(make, version):
    answer = make(version).run("server", "--unknown")
    assert answer.code == 1
    assert answer.out.startswith("Incorrect Usage: flag provided but not defined: -unknown\n")
    assert 'level=fatal msg="flag provided but not defined: -unknown"' in answer.err


def test_an_unknown_key_ends_an_old_server_and_a_newer_one_skips_it(make):
    """k3s#4449: since v1.22.4, v1.21.7."""
    old, new = make(OLD), make(NEW)
    for stub in (old, new):
        stub.config(write_kubeconfig_mode="0644", drop_in="a.yaml")
        stub.config(no_such_key="1", drop_in="b.yaml")
    answer = old.run("server")
    assert "flag provided but not defined: -no-such-key" in answer.err
    said = new.start("server")
    assert "Unknown flag --no-such-key found in config.yaml, skipping" in said


@pytest.mark.parametrize("version", [OLD, NEW])
def test_a_key_of_servers_ends_an_agent(make, version):
    """Source: unknown flags of an `agent` are not skipped, at least up to v1.31."""
    stub = make(version)
    stub.config(token="x", server="https://127.0.0.1:9", cluster_cidr="10.0.0.0/8")
    answer = stub.run("agent")
    assert answer.code == 1
    assert "flag provided but not defined: -cluster-cidr" in answer.err


def test_flags_belong_to_their_version(make):
    """Release notes: no-deploy is unknown from v1.26, embedded-registry came with v1.26.13."""
    assert "-embedded-registry" in make(OLD).run("server", "--embedded-registry").err
    assert "-no-deploy" in make(NEW).run("server", "--no-deploy=x").err
    assert "no-deploy=x" in run_given(make(OLD), "--no-deploy=x")
    assert "embedded-registry=true" in run_given(make(NEW), "--embedded-registry")


def run_given(stub, *words: str) -> list[str]:
    stub.start("server", *words)
    return stub.given()


def test_files_beside_the_configuration_come_after_it_and_append_where_they_say_so(new):
    """Source: the last one wins; `key+` appends."""
    new.config(node_label=["a=1"], node_name="first", token="x")
    new.config(node_label=["ignored=1"], drop_in="10.txt")
    new.write("etc/rancher/k3s/config.yaml.d/20.yml", 'node-label+: ["b=2"]\nnode-name: Second\n')
    given = ["node-label=a=1", "node-label=b=2", "node-name=Second", "token=x"]
    assert run_given(new)[:4] == given
    assert (new.root / "run/k3s-stub/node-name").read_text() == "second\n"


def test_arguments_come_after_the_files(new):
    new.config(node_name="of-the-file")
    new.start("server", "--node-name", "of-the-arguments")
    assert (new.root / "run/k3s-stub/node-name").read_text() == "of-the-arguments\n"


def test_a_bare_word_ends_the_flags(old):
    old.start("server", "foo", "--unknown")


def test_the_token_comes_from_its_file(new):
    """Source: the file wins over the value."""
    secret = new.write("token", "of-the-file\n", 0o600)
    assert "token=of-the-file" in run_given(new, f"--token-file={secret}", "--token=other")
    kept = new.root / "var/lib/rancher/k3s/server/token"
    assert kept.read_text().endswith("::server:of-the-file\n")
    assert kept.stat().st_mode & 0o777 == 0o600


def test_an_agent_needs_a_token_and_a_server(old):
    assert "--token is required" in old.run("agent").err
    assert "--server is required" in old.run("agent", "--token=x").err


@pytest.mark.parametrize(
    "text", ["a: {b: 1}\n", 'token: "a: b"\nnode-label: [x, y]\n', "token: 'x'\n"]
)
def test_any_yaml_is_understood(new, text):
    new.write("etc/rancher/k3s/config.yaml", text)
    new.start("server")


def test_what_is_no_command_is_told(old):
    answer = old.run("bogus")
    assert (answer.code, answer.err) == (3, "No help topic for 'bogus'\n")
