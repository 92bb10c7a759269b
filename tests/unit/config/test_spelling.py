"""Our replacements for re and difflib, which take 5 ms to import, give the same results."""

import re
from difflib import get_close_matches

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from k3os.config.k3s_flags import SECRETS, flag_and_value, masked
from k3os.config.spelling import fold, nearest

NAMES = st.text("aelnost-_", max_size=8) | st.sampled_from([*SECRETS, "tokn", "datastor-endpoint"])


@given(NAMES, st.lists(NAMES, max_size=6))
@example("", [""])
def test_the_nearest_name_is_the_one_that_difflib_finds(name: str, known: list[str]) -> None:
    by_fold = {fold(each): each for each in known}
    expected = get_close_matches(fold(name), by_fold, n=1, cutoff=0.7)
    assert nearest(name, known) == (by_fold[expected[0]] if expected else "")


WORDS = st.text("-=t \n\x1cA0\u2003", max_size=7) | st.text(max_size=5)


@given(WORDS | WORDS.map("--token".__add__) | WORDS.map("-t".__add__))
@example("--token=")
@example("--token \n a")
def test_a_flag_is_what_the_expression_says(word: str) -> None:
    match = re.fullmatch(r"(?s)--?([a-z0-9-]+)(?:(=|\s+)(.*))?", word)
    name, value = flag_and_value(word)
    if match is None:
        assert (name, value) in (("", None), ("", value))
    elif match[1].strip("-"):
        assert (name, value) == (match[1], match[3])


@pytest.mark.parametrize(
    ("word", "shown"),
    [
        ("--disable=traefik", "--disable=traefik"),
        ("--token=x", "--token=********"),
        ("--tokn=x", "--tokn=********"),
        ("--datastore-endpont=x", "--datastore-endpont=********"),
    ],
)
def test_a_misspelt_secret_is_masked(word: str, shown: str) -> None:
    assert masked(["server", word]) == ["server", shown]
