"""When a changed fragment of a NodePool needs a reboot, a restart of k3s, or nothing."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from k3os.cluster.impact import canonical, check, fragment_hash, impact
from k3os.config.key import AT_BOOT, NOW, RESTART
from k3os.config.schema import TABLE

MIRROR = {"path": "/etc/rancher/k3s/registries.yaml"}


@pytest.mark.parametrize(
    ("new", "old", "wanted"),
    [
        ({"k3os": {"sysctls": {"vm.max_map_count": "262144"}}}, None, NOW),
        ({"k3os": {"labels": {"tier": "gold"}}}, {"k3os": {"labels": {"tier": "iron"}}}, NOW),
        ({"k3os": {"k3sArgs": ["--disable=traefik"]}}, {}, RESTART),
        ({"k3os": {"environment": {"https_proxy": "http://p"}}}, None, RESTART),
        ({"write_files": [{"path": "/etc/rancher/k3s/registries.yaml"}]}, None, RESTART),
        (None, {"writeFiles": [{"path": "/etc/rancher/k3s/registries.yaml"}]}, RESTART),
        (
            {"write_files": [MIRROR, {**MIRROR, "content": "b", "append": True}]},
            {
                "write_files": [
                    {**MIRROR, "content": "a"},
                    {**MIRROR, "content": "b", "append": True},
                ]
            },
            RESTART,
        ),
        ({"write_files": [{"path": "/etc/motd"}]}, None, NOW),
        ({"bootcmd": ["true"]}, None, AT_BOOT),
        (None, {"boot_cmd": ["true"]}, AT_BOOT),
        ({"boot_cmd": ["true"], "k3os": {"token": "x"}}, {"bootCmd": "true"}, RESTART),
        ({"hostname": "a"}, {"hostname": "a"}, NOW),
        ({}, None, NOW),
    ],
)
def test_the_schema_says_what_a_change_asks_for(new: object, old: object, wanted: str) -> None:
    assert impact(new, old) == wanted


def test_every_key_says_when_it_counts() -> None:
    assert {key.effect for key in TABLE} == {NOW, RESTART, AT_BOOT}


TREES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=8,
)


@given(TREES)
def test_any_fragment_has_an_impact_and_problems_but_no_traceback(fragment: object) -> None:
    assert impact(fragment) in (NOW, RESTART, AT_BOOT)
    assert isinstance(check(fragment)[1], list)


@given(st.dictionaries(st.text(max_size=5), st.integers(), min_size=2))
def test_the_same_content_in_another_order_is_the_same(fragment: dict[str, int]) -> None:
    other = dict(reversed(fragment.items()))
    assert fragment_hash(fragment) == fragment_hash(other)
    assert json.loads(canonical(fragment)) == fragment


@pytest.mark.parametrize("code", [*range(0x7F, 0xA0), 0x2028, 0xFEFF, 0xFFFE, 0xFFFF, 0x1F600])
def test_a_character_that_yaml_does_not_take_as_it_is_arrives(code: int) -> None:
    text = f"a{chr(code)}b\n"
    values, problems = check({"write_files": [{"path": "/etc/a", "content": text}]})
    assert problems == []
    (entry,) = values["write_files"].data
    assert entry.data["content"].data == text


def test_a_bad_fragment_is_named_with_its_key() -> None:
    problems = check({"k3os": {"sysctls": ["no map"]}}, "spec.config")[1]
    assert [str(each).split(":")[0] for each in problems] == ["spec.config"]
    assert problems[0].key == "k3os.sysctls[0]"
