"""The manual pages match --help and the schema, with any version of Python."""

import io
import re
import tarfile

import pytest

from k3os.cli.main import COMMANDS
from k3os.config.schema import TABLE
from k3os.image.help_text import Item, ask, parse, render
from k3os.image.manual import INTERNAL, archive, pages

EPOCH = 1_700_000_000
BY_HAND = """\
usage: k3os thing [--long-option] [-o PATH]
       k3os thing --again     do it once more

What it does,
in two lines.

  --short            does one thing
  --as-long-as-it-is leaves no room for two spaces
    --nested N       below another; goes on
                     in the next line

k3os thing --short
"""
# what argparse prints in Python 3.11, and from 3.13 on
ARGPARSE = """\
usage: k3os thing [-h] [-o PATH] NAME

options:
  -h, --help  show this help message and exit
  {}
              where it goes
"""


@pytest.fixture(scope="module")
def made():
    return pages(EPOCH)


def test_every_command_has_a_page_and_is_named_in_the_first(made):
    for name in COMMANDS.keys() - set(INTERNAL):
        assert f"k3os-{name}.1" in made
        assert f"k3os-{name} (1)" in made["k3os.1"]
    assert {"k3os.1", "kubectl-k3os.1", "k3os-config.5"} <= made.keys()
    assert len(made) == len(COMMANDS) - len(INTERNAL) + 3


def test_every_option_of_a_help_is_on_its_page(made):
    for name in COMMANDS.keys() - set(INTERNAL):
        plain = made[f"k3os-{name}.1"].replace("\\-", "-")
        options = set(re.findall(r"(?<![\w-])--[a-z][\w-]+", ask(name)))
        assert [option for option in options if option not in plain] == []


def test_every_key_and_field_is_on_the_page_of_the_configuration(made):
    page = made["k3os-config.5"]
    for key in TABLE:
        assert f'.BR "{key.path}" ' in page
        for field in key.fields:
            assert f'.BR "{field.name}" ' in page
            assert [value for value in field.values if value.replace("-", "\\-") not in page] == []


def test_the_exit_codes_are_those_of_the_reference(made):
    assert re.findall(r"^\.B (\d)$", made["k3os-status.1"], re.MULTILINE) == ["0", "1", "2"]
    assert "over in that time" in made["kubectl-k3os.1"]


def test_a_page_is_one_for_man(made):
    """A title, a name for whatis(1), and only macros of man(7)."""
    known = {".TH", ".SH", ".TP", ".B", ".BR", ".PP", ".EX", ".EE", ".RS", ".RE", ".br"}
    for name, text in made.items():
        lines = text.splitlines()
        assert lines[0].startswith(".TH "), name
        assert lines[1] == ".SH NAME"
        assert " \\- " in lines[2]
        assert {line.split()[0] for line in lines if line.startswith((".", "'"))} <= known, name
        assert "2023-11-14" in lines[0].replace("\\-", "-")


def test_the_archive_is_the_same_each_time_and_unpacks_to_where_man_looks(made):
    data = archive(EPOCH)
    assert data == archive(EPOCH)
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        assert {member.name for member in tar} == {
            f"man/man{name.rpartition('.')[2]}/{name}" for name in made
        }


def test_a_help_by_hand_is_understood():
    found = parse(BY_HAND)
    assert found.usage[1] == "k3os thing --again     do it once more"
    text, options, example = found.blocks
    assert text.lines == ("What it does,", "in two lines.")
    assert [item.name for item in options.items] == [
        *("--short", "--as-long-as-it-is", "  --nested N"),
    ]
    assert options.items[2].text == "below another; goes on in the next line"
    assert example.kind == "example"


def test_a_help_of_argparse_is_the_same_in_every_version():
    old = render(ARGPARSE.format("-o PATH, --output PATH"))
    assert old == render(ARGPARSE.format("-o, --output PATH"))
    assert Item("-o, --output PATH", "where it goes") in parse(old).blocks[0].items
