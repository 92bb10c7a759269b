"""The JSON schema and the reference come from the same table as the checks."""

from k3os.config.jsonschema import json_schema
from k3os.config.kinds import KINDS
from k3os.config.reference import BEGIN, END, markdown
from k3os.config.schema import TABLE


def test_every_kind_of_the_table_can_be_checked() -> None:
    used = {key.kind for key in TABLE} | {field.kind for key in TABLE for field in key.fields}
    assert used <= set(KINDS)


def test_the_schema_describes_every_key() -> None:
    schema = json_schema()
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    for key in TABLE:
        branch = schema
        for name in key.path.split("."):
            branch = branch["properties"][name]
        assert branch["description"].startswith(key.description)


def test_the_reference_has_a_row_for_every_key_and_field() -> None:
    text = markdown()
    assert text.startswith(BEGIN)
    assert text.endswith(END + "\n")
    for key in TABLE:
        assert text.count(f"| `{key.path}` |") == 1
        for field in key.fields:
            assert f"| `{field.name}`" in text


def test_the_phases_of_the_reference_are_those_of_the_table() -> None:
    row = next(line for line in markdown().splitlines() if line.startswith("| `boot_cmd`"))
    assert row.split("|")[3:6] == ["   ", " x ", "   "]
