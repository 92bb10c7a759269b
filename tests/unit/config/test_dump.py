"""parse → dump → parse is the identity, whatever is in the file."""

import json

import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from k3os.config.check import check_text
from k3os.config.dump import MASK, as_tree, dump_yaml
from k3os.config.load import Config
from k3os.config.value import Value, plain

# any text that YAML can contain; surrogates are not characters
texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=30)
names = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=10)
paths = st.from_regex(r"/[a-z]{1,5}", fullmatch=True)
configs = st.fixed_dictionaries(
    {},
    optional={
        "run_cmd": st.lists(texts | st.lists(texts, min_size=1), max_size=4),
        "write_files": st.lists(
            st.fixed_dictionaries({"path": paths}, optional={"content": texts}), max_size=4
        ),
        "k3os": st.fixed_dictionaries(
            {},
            optional={
                "token": texts,
                "labels": st.dictionaries(names, texts, max_size=4),
                "modules": st.lists(texts, max_size=4),
                "install": st.fixed_dictionaries({"silent": st.booleans()}),
            },
        ),
    },
)


def plains(values: dict[str, Value]) -> dict[str, object]:
    return {path: plain(value) for path, value in values.items()}


@given(configs)
@example({"k3os": {"token": "a\n\n"}})
@example({"k3os": {"token": " a\nb"}})
@example({"k3os": {"token": "a\u2028b\x85c\nd"}})
@example({"k3os": {"labels": {"y": "no", "1": "~", "a: b": "# c"}}})
def test_a_dump_reads_back_as_the_same_configuration(document: dict[str, object]) -> None:
    values, _ = check_text(json.dumps(document).encode(), "x")
    text = dump_yaml(Config(values), show_secrets=True)
    again, problems = check_text(text.encode(), "dump")
    assert not [str(problem) for problem in problems]
    assert plains(again) == plains(values)
    with_places = dump_yaml(Config(values), show_secrets=True, provenance=True)
    assert plains(check_text(with_places.encode(), "dump")[0]) == plains(values)


@given(st.binary(max_size=200) | texts.map(str.encode))
def test_no_bytes_give_a_traceback(data: bytes) -> None:
    check_text(data, "x")


def test_a_dump_is_for_other_yaml_readers_too() -> None:
    values, _ = check_text(
        b"k3os: {labels: {a: yes, b: 1.10}, sysctls: {c: '#x'}, modules: [a b]}", "x"
    )
    assert yaml.safe_load(dump_yaml(Config(values))) == {
        "k3os": {
            "labels": {"a": "yes", "b": "1.10"},
            "sysctls": {"c": "#x"},
            "modules": ["a b"],
        }
    }


def test_secrets_are_masked_until_they_are_asked_for() -> None:
    text = (
        b"write_files: [{path: /x, content: hidden1}]\n"
        b"k3os: {password: hidden2, token: hidden3, environment: {P: hidden4},\n"
        b"  wifi: [{ssid: open, pass: hidden5}],\n"
        b"  k3s_args: [agent, --debug, -t=hidden6, --token, hidden7, '--vpn-auth hidden8']}\n"
    )
    config = Config(check_text(text, "x")[0])
    shown = dump_yaml(config) + json.dumps(as_tree(config))
    assert "hidden" not in shown
    assert MASK in shown
    assert "open" in shown
    assert "--debug" in shown
    assert dump_yaml(config, show_secrets=True).count("hidden") == 8
    assert {"hidden6", "hidden7", "hidden8"} <= set(config.secrets())


def test_no_configuration_is_an_empty_map() -> None:
    assert dump_yaml(Config()) == "{}\n"


def test_an_address_is_shown_without_its_password() -> None:
    text = "k3os: {install: {iso_url: 'http://joe:secret@host/k3os.iso'}}\n"
    config = Config(check_text(text.encode(), "config.yaml")[0])
    assert "iso_url: http://host/k3os.iso" in dump_yaml(config).replace('"', "")
    assert "joe:secret@" in dump_yaml(config, show_secrets=True)
