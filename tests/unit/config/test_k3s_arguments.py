"""A flag of k3s is found in every spelling."""

import json
from collections.abc import Callable

import pytest

from k3os.config.check import check_data, check_text
from k3os.config.k3s_flags import flags
from k3os.config.load import Config
from k3os.phases.embedded_registry import other_runtime
from k3os.phases.k3s import arguments, k3s_settings

FORMS: dict[str, Callable[[str, str], list[str]]] = {
    "one dash": lambda flag, value: [f"-{flag}={value}"],
    "blank": lambda flag, value: [f"--{flag} {value}"],
    "blanks": lambda flag, value: [f"--{flag}   {value}"],
    "line break": lambda flag, value: [f"--{flag}\n{value}"],
    "folded": lambda flag, value: [f"--{flag} {value}\n"],
    "two words": lambda flag, value: [f"--{flag}", value],
}
# a flag, its value, and a key of ours that contradicts it
FLAGS = {
    "data-dir": ("/srv/k3s", {}),
    "node-label": ("region=attic", {"labels": {"region": "cellar"}}),
    "node-taint": ("a=b:NoSchedule", {"taints": ["a=c:NoSchedule"]}),
    "server": ("https://one:6443", {"server_url": "https://two:6443"}),
    "kubelet-arg": ("max-pods=200", {"kubelet": {"maxPods": 100}}),
}


def known(words: list[str], keys: dict[str, object]) -> list[str]:
    """The messages about them, without places, and without those about their form."""
    text = json.dumps({"k3os": {"k3s_args": ["server", *words], **keys}})
    values, _ = check_text(text.encode(), "a")
    said = [f"{each.message}; {each.hint}" for each in check_data(text.encode(), "a")]
    said = [each for each in said if not each.startswith("holds several arguments in one text")]
    settings = k3s_settings(Config(values), "local")
    assert arguments(Config(values))[0] == "server"
    return [f"{settings.get('node-taint')}", *said]


@pytest.mark.parametrize("flag", FLAGS)
@pytest.mark.parametrize("form", FORMS)
def test_a_flag_counts_in_every_form(flag: str, form: str) -> None:
    value, keys = FLAGS[flag]
    plain = known([f"--{flag}={value}"], keys)
    assert len(plain) > 1, "nothing is said of it"
    assert known(FORMS[form](flag, value), keys) == plain


def test_an_empty_value_is_one() -> None:
    assert list(flags(["--data-dir=", "/srv", "--debug", "--token", "a"])) == [
        (0, "data-dir", ""),
        (2, "debug", "--token"),
        (3, "token", "a"),
    ]


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (["--docker"], "--docker"),
        (["-docker"], "--docker"),
        (["--docker=true"], "--docker"),
        (["--docker=false"], ""),
        (["--docker", "--tls-san=a"], "--docker"),
        (["--container-runtime-endpoint\n/run/a.sock"], "--container-runtime-endpoint"),
        (["--tls-san=--docker"], ""),
    ],
)
def test_another_runtime_is_seen(words: list[str], found: str) -> None:
    assert other_runtime(["server", *words]) == found
