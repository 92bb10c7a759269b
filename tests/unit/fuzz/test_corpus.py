"""No input of the corpus breaks the promises of its target."""

from __future__ import annotations

import pytest

from tests.fuzz.session import CORPUS, check
from tests.fuzz.targets import TARGETS


def test_each_target_has_a_corpus_and_each_corpus_a_target() -> None:
    assert sorted(path.name for path in CORPUS.iterdir()) == sorted(TARGETS)
    assert all(any((CORPUS / name).iterdir()) for name in TARGETS)


@pytest.mark.parametrize("name", TARGETS)
def test_no_input_of_the_corpus_breaks_a_promise(name: str) -> None:
    files = sorted((CORPUS / name).iterdir())
    found = {path.name: check(TARGETS[name], path.read_bytes()) for path in files}
    assert {path: fault.trace for path, fault in found.items() if fault is not None} == {}
