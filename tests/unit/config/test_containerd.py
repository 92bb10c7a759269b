"""k3os.containerd and the user's own templates: what containerd 1 and 2 accept."""

import json

import pytest

from k3os.config.check import check_data, check_text

KEY = "k3os.containerd"
OLD, NEW = "v1.30.1+k3s1", "v1.33.1+k3s1"
V2 = '[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.kata]\nruntime_type = "x"\n'
V3 = '[plugins."io.containerd.cri.v1.runtime".containerd.runtimes.kata]\nruntime_type = "x"\n'
EITHER = '[proxy_plugins.stargz]\ntype = "snapshot"\n'
TEMPLATE = "/var/lib/rancher/k3s/agent/etc/containerd/config.toml.tmpl"


def configured(text):
    return json.dumps({"k3os": {"containerd": text}}).encode()


@pytest.mark.parametrize("text", [V2, V3, EITHER, f"# mine\n{V3}\n[debug] # why\nlevel = 'info'\n"])
def test_tables_are_taken_as_they_are(text):
    values, problems = check_text(configured(text), "c.yaml")
    assert problems == []
    assert values[KEY].data == text


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[plugins", "is not TOML: "),
        ("version = 3\n" + V3, "`version` is outside of a table; leave it out"),
        ("root = '/x'\n" + V3, "`root` is outside of a table"),
        (V2 + V3, "has the names of containerd 1"),
        ('{{ template "base" . }}\n' + V3, "is a template; write the tables"),
        ("# nothing", "has no table in it"),
        # would keep a parser busy for minutes or forever, and is parsed in each phase of a boot
        (f"a{'.c' * 20000} = 1", "has a line that is longer than"),
        ("[a]\n" + "x = 1 # why\n" * 10000, "is larger than"),
        ("[a]\nb = [" + "[\n" * 5000, "is nested too deeply"),
        ('[plugins."io.containerd.grpc.v1.cri"]\nx = 1', "k3s has a table"),
        ("[plugins.'io.containerd.cri.v1.runtime'.containerd]\nx = 1", "k3s has a table"),
        ("[plugins.'io.containerd.internal.v1.opt']\nx = 1", "k3s has a table"),
        (
            "[plugins]\n'io.containerd.cri.v1.runtime'.enable_selinux = true",
            "repeats what k3s writes itself",
        ),
        ("[grpc]\naddress = '/x'", "repeats what k3s writes itself"),
        (
            "[plugins.'io.containerd.cri.v1.images'.pinned_images]\nsandbox = 'x'",
            "repeats what k3s writes itself",
        ),
        (
            "[plugins.'io.containerd.grpc.v1.cri'.containerd.runtimes]\nrunc = {runtime_type = ''}",
            "repeats what k3s writes itself",
        ),
        ("[[plugins.'io.containerd.grpc.v1.cri'.cni]]\nx = 1", "repeats what k3s writes itself"),
        (
            "[ plugins . 'io.containerd.cri.v1.runtime'.containerd.runtimes.runc.options ]\nx = 1",
            "k3s has a table",
        ),
    ],
)
def test_what_containerd_would_end_at_is_left_out(text, words):
    values, problems = check_text(configured(text), "c.yaml")
    assert KEY not in values
    assert [words in str(each) for each in problems] == [True]
    assert str(problems[0]).startswith("c.yaml:1:25: k3os.containerd: ")


@pytest.mark.parametrize(
    ("text", "version", "words"),
    [
        (V3, NEW, ""),
        (V2, NEW, ""),
        (EITHER, NEW, ""),
        (V2, OLD, ""),
        (EITHER, OLD, ""),
        (V3, "", ""),
        (V3, OLD, "k3s v1.30.1 brings containerd 1, which does not know"),
        (V3, "v1.31.5+k3s1", "brings containerd 1"),
        (V3, "v1.31.6+k3s1", ""),
        (V3, "v1.32.1+k3s1", "brings containerd 1"),
        (V3, "v1.32.2+k3s1", ""),
        (EITHER, "v1.27.4+k3s1", "has no template that can be added to"),
        (EITHER, "v1.27.5+k3s1", ""),
        (V3, "1.30", "k3s v1.30 brings containerd 1"),
        (V3, "1.33", ""),
        (EITHER, "v1.22", "has no template that can be added to"),
        (V2, "v1.22.3+k3s1", "has no template that can be added to"),
    ],
)
def test_the_check_knows_which_form_a_k3s_reads(text, version, words):
    found = [str(each) for each in check_data(configured(text), "c.yaml", version) if each.is_error]
    assert [words in each for each in found] == ([True] if words else [])


@pytest.mark.parametrize(
    ("content", "version", "level"),
    [
        ("[plugins.cri]\n", NEW, "error"),
        ("[plugins.cri]\n", "", "warning"),
        ("[plugins.cri]\n", OLD, ""),
        (f"version = 2\n{V2}", NEW, "warning"),
        (f"version = 2\n{V2}", OLD, ""),
        (f'{{{{ template "base" . }}}}\n{V2}', NEW, ""),
    ],
)
def test_an_old_template_that_would_break_a_new_containerd_is_found(content, version, level):
    text = json.dumps({"write_files": [{"path": TEMPLATE, "content": content}]})
    found = check_data(text.encode(), "c.yaml", version)
    said = [each for each in found if "containerd" in each.message]
    assert ["error" if each.is_error else "warning" for each in said] == ([level] if level else [])
    assert all(str(each).startswith("c.yaml:1:") for each in said)


def test_a_template_that_an_old_k3s_does_not_read_is_found():
    path = TEMPLATE.replace("config.toml", "config-v3.toml")
    text = json.dumps({"write_files": [{"path": path, "content": V3}]})
    found = [str(each) for each in check_data(text.encode(), "c.yaml", OLD)]
    assert any(f"k3s {OLD} reads config.toml.tmpl only" in each for each in found)


def test_a_template_of_ones_own_beside_the_key_is_a_warning():
    files = [{"path": TEMPLATE, "content": '{{ template "base" . }}'}]
    text = json.dumps({"write_files": files, "k3os": {"containerd": EITHER}})
    found = [str(each) for each in check_data(text.encode(), "c.yaml")]
    assert any("is written instead of what k3os.containerd says" in each for each in found)
