"""k3os.registries: what k3s accepts, and what is said about the rest."""

import pytest

from k3os.config.check import check_cmdline, check_data, check_text
from k3os.config.dump import as_tree, dump_yaml
from k3os.config.load import Config
from k3os.config.value import plain

MIRRORS, CONFIGS = "k3os.registries.mirrors", "k3os.registries.configs"
WHOLE = """\
k3os:
  registries:
    mirrors:
      docker.io:
        endpoint: [https://registry.example:5000, 'http://10.0.0.1:5000/v2/hub']
        rewrite: {^library/(.*): mirror/$1}
      "*":
      ghcr.io: {endpoint: https://registry.example}
    configs:
      registry.example:5000:
        auth: {username: puller, password: a-secret-of-it}
        tls: {ca_file: /etc/ssl/mine.pem, insecure_skip_verify: yes}
      "[fd00::1]:5000":
        auth: {auth: bWU6YW5vdGhlci1zZWNyZXQ=}
"""


def test_what_k3s_reads_is_what_was_written():
    values, problems = check_text(WHOLE.encode(), "config.yaml")
    assert problems == []
    assert plain(values[MIRRORS]) == {
        "docker.io": {
            "endpoint": ["https://registry.example:5000", "http://10.0.0.1:5000/v2/hub"],
            "rewrite": {"^library/(.*)": "mirror/$1"},
        },
        "*": {},
        "ghcr.io": {"endpoint": ["https://registry.example"]},
    }
    assert plain(values[CONFIGS])["registry.example:5000"] == {
        "auth": {"username": "puller", "password": "a-secret-of-it"},
        "tls": {"ca_file": "/etc/ssl/mine.pem", "insecure_skip_verify": True},
    }


@pytest.mark.parametrize(
    ("text", "where", "words"),
    [
        ("mirrors: {https://quay.io: {}}", "https://quay", "write `quay.io`"),
        ("mirrors: {docker.io/library: {}}", "docker.io/", "write `docker.io`"),
        ("mirrors: {hub.docker.com: {}}", "hub.", "have another name; write `docker.io`"),
        ("mirrors: {'a b': {}}", "'a b'", "is not the name of a registry"),
        ("mirrors: {'a:70000': {}}", "'a:7", "is not the name of a registry"),
        ("mirrors: {a: {endpoint: b.example}}", "b.example", "write `https://b.example`"),
        ("mirrors: {a: {endpoint: ['https://b', 'ftp://c']}}", "'ftp", "is not an http or https"),
        ("mirrors: {a: {endpoint: 'https://me:pw@b'}}", "'https://me", "write the login into"),
        ("mirrors: {a: {endpiont: 'https://b'}}", "endpiont", "did you mean endpoint?"),
        ("mirrors: {a: {rewrite: {'^(x': y}}}", "y}}", "is not a regular expression"),
        ("mirrors: {a: {rewrite: {'a{1,99999999999}': y}}}", "y}}", "is not a regular expression"),
        ("mirrors: {a: {rewrite: {'^a\\.b': y}}}", "y}}", "write `[.]`, or two"),
        ("mirrors: {a: {rewrite: {'^a\"b': y}}}", "y}}", "containerd reads no"),
        ("mirrors: {a: {rewrite: {'^a': 'b\"'}}}", "'b\"", "containerd reads no"),
        ("mirrors: {a: {rewrite: {'^(?!a)': b}}}", "b}}", "look neither ahead"),
        ("mirrors: {a: {endpoint: 'https://b/\"'}}", "'https", "is not an http or https"),
        ("configs: {a: {tls: {ca_file: '/a\"b'}}}", "'/a", "has a quote or a backslash"),
        ("configs: {a: {auth: {username: me}}}", "me}}", "write `password: …`, too"),
        ("configs: {a: {auth: {password: me}}}", "me}}", "write `username: …`, too"),
        ("configs: {a: {auth: {auth: me}}}", "me}}", "is not base64 of `username:password`"),
        ("configs: {a: {auth: {username: m, password: p, auth: bTpw}}}", "bTpw", "twice"),
        ("configs: {a: {tls: {cert_file: /c}}}", "/c", "write `key_file: …`, too"),
        ("configs: {a: {tls: {ca_file: c.pem}}}", "c.pem", "is not an absolute path"),
        ("configs: {a: {tls: {insecure_skip_verify: maybe}}}", "maybe", "must be true or false"),
        ("configs: {a: {tls: {verify: no}}}", "verify", "unknown key verify"),
    ],
)
def test_an_entry_that_k3s_would_not_take_is_left_out_with_its_place_and_the_reason(
    text, where, words
):
    kind = text.partition(":")[0]
    right = "r.example: {}"
    text = f"k3os: {{registries: {{{text[:-1]}, {right}}}}}}}"
    values, problems = check_text(text.encode(), "config.yaml")
    assert list(plain(values[f"k3os.registries.{kind}"])) == ["r.example"]
    assert words in str(problems[0])
    assert str(problems[0]).startswith(f"config.yaml:1:{text.rindex(where) + 1}:")


def test_no_secret_is_shown_where_configuration_is_even_under_odd_names():
    odd = """\
k3os:
  registries:
    configs:
      auth: {auth: {username: u, password: first-secret}}
      tls: {auth: {auth: bWU6c2Vjb25kLXNlY3JldA==}}
"""
    secrets = ["first-secret", "bWU6c2Vjb25kLXNlY3JldA=="]
    config = Config(check_text(odd.encode(), "config.yaml")[0])
    for text in (dump_yaml(config), str(as_tree(config))):
        assert [each for each in secrets if each in text] == []
        assert "'u'" in text or "username: u" in text
    assert config.secrets() == secrets
    assert "first-secret" in dump_yaml(config, show_secrets=True)


def test_the_command_line_reaches_every_field():
    values, problems = check_cmdline(
        f"{MIRRORS}[docker.io].endpoint=https://a {MIRRORS}[docker.io].endpoint=https://b "
        f"{MIRRORS}[docker.io].rewrite[^a]=b {CONFIGS}[a:5000].auth.username=u "
        f"{CONFIGS}[a:5000].auth.password=p"
    )
    assert problems == []
    assert plain(values[MIRRORS]) == {
        "docker.io": {"endpoint": ["https://a", "https://b"], "rewrite": {"^a": "b"}}
    }
    assert plain(values[CONFIGS]) == {"a:5000": {"auth": {"username": "u", "password": "p"}}}


def test_two_keys_of_any_section_on_a_command_line_both_count():
    values, problems = check_cmdline("k3os.swap.zram=off k3os.swap.pods=true")
    assert problems == []
    assert {path: value.data for path, value in values.items()} == {
        "k3os.swap.zram": "off",
        "k3os.swap.pods": True,
    }


@pytest.mark.parametrize(
    ("text", "place", "words"),
    [
        (
            "write_files: [{path: /etc/rancher/k3s/registries.yaml, content: a}]\n",
            "1:22",
            "is written instead of what k3os.registries says",
        ),
        (
            "write_files: [{path: /etc/rancher/k3s/config.yaml, content: 'private-registry: /'}]\n",
            "1:61",
            "k3s reads the file of private-registry",
        ),
        ("k3s_args: [--private-registry=/a]", "3:14", "k3s reads the file of private-registry"),
        ("k3s_args: ['--private-registry /a']", "3:14", "k3s reads the file of private-registry"),
    ],
)
def test_what_decides_instead_is_a_warning_once(text, place, words):
    ours = "k3os:\n  registries: {mirrors: {a: {}}, configs: {a: {}}}\n"
    text = text + ours if text.startswith("write") else f"{ours}  {text}\n"
    found = [str(each) for each in check_data(text.encode(), "config.yaml") if words in str(each)]
    assert len(found) == 1
    assert found[0].startswith(f"config.yaml:{place}: warning:")


def test_the_file_that_k3s_reads_anyway_is_no_other():
    text = "k3os:\n  registries: {mirrors: {a: {}}}\n  k3s_args: ['--private-registry', '%s']\n"
    text %= "/etc/rancher/k3s/registries.yaml"
    assert not [each for each in check_data(text.encode(), "c") if "no effect" in str(each)]


@pytest.mark.parametrize(
    "text",
    [
        "registries: {mirrors: {a: {endpoint: ['puller:the-secret@b.example']}}}",
        "registries: {mirrors: {a: {endpoint: ['puller:the-secret@b.example/v2']}}}",
        "registries: {mirrors: {'puller:the-secret@b.example': {}}}",
        "registries: {mirrors: {'https://puller:the-secret@b.example/v2': {}}}",
        "registries: {configs: {'puller:the-secret@b.example:5000': {}}}",
        "images: ['puller:the-secret@b.example/images.tar']",
        "images: ['https://puller:the-secret@b.example/images.zip']",
        "images: ['https://puller:the-secret@b.example/a b.tar']",
    ],
)
def test_a_login_at_a_wrong_place_is_never_repeated(text):
    values, problems = check_text(f"k3os: {{{text}}}".encode(), "config.yaml")
    assert problems
    for problem in problems:
        assert "the-secret" not in str(problem.as_dict())
    assert not any(plain(value) for value in values.values())


def test_a_pattern_may_have_the_two_backslashes_that_k3s_wants():
    text = r"k3os: {registries: {mirrors: {a: {rewrite: {'^a\\.b\\((x)\\)': '$1'}}}}}"
    values, problems = check_text(text.encode(), "config.yaml")
    assert problems == []
    assert plain(values[MIRRORS]) == {"a": {"rewrite": {r"^a\\.b\\((x)\\)": "$1"}}}


def test_a_password_is_text_that_k3s_reads():
    """The kernel command line may contain bytes that are not text; k3s would not start with
    them."""
    text = "k3os.registries.configs.a.auth.username=me k3os.registries.configs.a.auth.password="
    values, problems = check_cmdline(f"{text}a\udcffb")
    assert ["not UTF-8" in str(problem) for problem in problems][:1] == [True]
    assert not values.get(CONFIGS) or plain(values[CONFIGS]) == {}
