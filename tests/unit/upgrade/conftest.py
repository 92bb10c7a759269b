"""Shares the fixtures of the generation tests: a small installed system, and releases."""

from tests.unit.generation.conftest import no_freezing as no_freezing
from tests.unit.generation.conftest import release as release
from tests.unit.generation.conftest import system as system
