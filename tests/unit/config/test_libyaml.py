"""PyYAML's extension without the rest of PyYAML, each time in an interpreter that has neither."""

import json
import subprocess
import sys
from typing import Any

import pytest
import yaml

from k3os.config import libyaml
from k3os.config.yamltext import read

TEXTS = {
    "all": "a: &x [1, 'two', \"three\"]\nb: {c: *x}\nd: |\n  text\n---\nsecond: 1\n",
    "empty": "",
    "a list that never ends": "a: [1, 2\nb: 3\n",
    "a quote that never ends": "a: 'b\n",
    "a tab": "a:\n\t- b\n",
    "a control character": "a: b\x01\n",
    "an alias of nothing": "a: *b\n",
}
NOT_NEEDED = ("reader", "scanner", "parser", "constructor", "resolver", "emitter", "representer")


def answer(code: str) -> Any:
    """Run Python code in its own interpreter, and return its variable `result`."""
    code = f"import sys\n{code}\nimport json\nprint(json.dumps(result))"
    command = [sys.executable, "-ISc", "import sys; sys.path[:] = sys.argv[2:]; exec(sys.argv[1])"]
    command += [code, *sys.path]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)


def test_a_configuration_is_read_without_the_rest_of_pyyaml_and_without_re() -> None:
    code = "from k3os.config.yamltext import read\nroot, problems = read(b'hostname: a', 'x')\n"
    code += "result = [root.pairs[0][1].text, *sys.modules]"
    text, *known = answer(code)
    assert text == "a"
    assert "yaml._yaml" in known
    assert not {"re", *(f"yaml.{name}" for name in NOT_NEEDED)} & {*known}


@pytest.mark.parametrize("name", TEXTS)
def test_it_says_of_a_text_what_the_whole_pyyaml_says(name: str) -> None:
    """This process has the whole PyYAML: yaml is imported above."""
    code = "from k3os.config.yamltext import read\n"
    code += f"root, problems = read({TEXTS[name].encode()!r}, 'x')\n"
    code += "result = [str(each) for each in problems]"
    _, problems = read(TEXTS[name].encode(), "x")
    assert answer(code) == [str(each) for each in problems]


@pytest.mark.parametrize("name", TEXTS)
def test_its_events_are_those_of_yaml_parse(name: str) -> None:
    def told(events: Any) -> list[str]:
        found = []
        try:
            found += map(str, events)
        except yaml.YAMLError as error:
            found.append(str(getattr(error, "problem_mark", error)))
        return found

    assert told(libyaml.events(TEXTS[name])) == told(
        yaml.parse(TEXTS[name], Loader=yaml.CSafeLoader)
    )


def test_who_imports_yaml_afterwards_has_all_of_it_and_one_kind_of_errors() -> None:
    code = """
from k3os.config import libyaml
first = [type(event).__name__ for event in libyaml.events("a: 1")]
light = "yaml.scanner" not in sys.modules
import yaml
loaded = yaml.safe_load("a: [1, 2.5, true, 2020-01-01]")["a"][:3]
caught = []
for loader in (yaml.SafeLoader, yaml.CSafeLoader):
    try:
        yaml.load("a: 'b", Loader=loader)
    except yaml.scanner.ScannerError as error:
        caught.append(error.problem)
    try:
        yaml.load(b"a: \\xff", Loader=loader)
    except yaml.reader.ReaderError as error:
        caught.append(error.position)
try:
    list(libyaml.events("a: 'b"))
except yaml.scanner.ScannerError as error:
    caught.append(libyaml.error_class() is yaml.YAMLError)
dumped = yaml.dump({"a": [1]}, Dumper=yaml.CSafeDumper)
result = [first[2], light, loaded, caught, dumped, hasattr(yaml, "no_such")]
"""
    first, light, loaded, caught, dumped, strange = answer(code)
    assert first == "MappingStartEvent"
    assert light is True
    assert loaded == [1, 2.5, True]
    assert caught == ["found unexpected end of stream", 3] * 2 + [True]
    assert dumped == "a:\n- 1\n"
    assert strange is False


def test_from_yaml_import_and_a_module_of_it_are_there_afterwards() -> None:
    code = "from k3os.config import libyaml\nlist(libyaml.events('a'))\n"
    code += "import yaml.nodes, yaml.resolver\nfrom yaml import YAMLError, safe_dump\n"
    code += "result = [yaml.resolver.Resolver.__name__, safe_dump(1), "
    code += "YAMLError is libyaml.error_class(), yaml.__with_libyaml__]"
    assert answer(code) == ["Resolver", "1\n...\n", True, True]


def test_without_libyaml_pyyamls_own_parser_reads() -> None:
    code = "sys.modules['yaml._yaml'] = None\nfrom k3os.config.yamltext import read\n"
    code += "good, bad = read(b'a: [b]', 'x'), read(b'a: [b', 'x')\n"
    code += "result = [good[0].pairs[0][0].text, 'yaml.scanner' in sys.modules, "
    code += "len(good[1]), len(bad[1])]"
    assert answer(code) == ["a", True, 0, 1]


def test_without_pyyaml_the_import_says_so() -> None:
    code = "sys.path[:] = [path for path in sys.path if 'site-packages' not in path]\n"
    code += "from k3os.config import libyaml\n"
    code += "try:\n    list(libyaml.events('a'))\n"
    code += "except ModuleNotFoundError as error:\n    result = error.name"
    assert answer(code) == "yaml"
