"""Which version is older."""

from itertools import pairwise

import pytest

from k3os.generation.versions import is_older

ASCENDING = (
    "v1.9.9+k3s1 v1.33.1-rc1+k3s1 v1.33.1+k3s1 v1.33.1+k3s2 v1.33.2+k3s1 v1.34.0+k3s1 v2.0.0"
).split()


@pytest.mark.parametrize(("older", "newer"), list(pairwise(ASCENDING)))
def test_versions_are_ordered_by_their_numbers(older, newer):
    assert is_older(older, newer)
    assert not is_older(newer, older)
    assert not is_older(older, older)


def test_what_is_no_number_is_neither_older_nor_newer():
    assert not is_older("custom-0123456789ab", "v1.33.1+k3s1")
    assert not is_older("v1.33.1+k3s1", "custom-0123456789ab")
