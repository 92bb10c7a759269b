"""A stage's dependencies follow from imports: a changed module rebuilds the stages that use it."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from k3os.image import build, operator
from k3os.image.cache import digest
from k3os.image.sources import NEUTRAL, ROOT, closure, is_neutral, path_of

STAGES = {**build.CODE, "operator-base": operator.CODE}
# the slow stages, and which of them a change of a module rebuilds
EXPENSIVE = ("kernel", "shell", "initrd-base", "loaders", "operator-base")
CHANGES = {
    "k3os.image.tree": EXPENSIVE,
    "k3os.image.kernel": ("kernel", "shell"),
    "k3os.image.microcode": ("kernel", "shell"),
    "k3os.image.elf": ("initrd-base", "operator-base"),
    "k3os.image.rootfs": ("initrd-base", "operator-base"),
    "k3os.image.initrd": ("initrd-base",),
    "k3os.image.loaders": ("loaders",),
    "k3os.image.wheels": ("operator-base",),
    "k3os.image.operator_base": ("operator-base",),
    "k3os.image.operator": (),
    "k3os.image.menu": (),
    "k3os.image.progress": (),
    "k3os.errors": (),
    "k3os.system.run": (),
    "k3os.phases.k3s": (),
}


@pytest.fixture(scope="module")
def loaded() -> dict[str, set[str]]:
    """Stage -> the modules that Python itself loads for it."""
    code = "import importlib, json, sys\nfor name in sys.argv[1:]: importlib.import_module(name)\n"
    code += "print(json.dumps([each for each in sys.modules if each.split('.')[0] == 'k3os']))"
    return {
        stage: set(json.loads(subprocess.check_output([sys.executable, "-c", code, *modules])))
        for stage, modules in {**STAGES, "": NEUTRAL}.items()
    }


@pytest.mark.parametrize("stage", sorted(STAGES))
def test_a_stage_depends_on_all_that_python_loads_for_it(loaded, stage):
    known = set(closure(*STAGES[stage]))
    packages = {name for name in loaded[stage] if path_of(name, ROOT).name == "__init__.py"}
    # modules that only neutral modules use do not change results, either
    wanted = {name for name in loaded[stage] - packages - loaded[""] if not is_neutral(name)}
    assert wanted
    assert {name for name in wanted if path_of(name, ROOT) not in known} == set()


@pytest.fixture(scope="module")
def copy(tmp_path_factory) -> Path:
    target = tmp_path_factory.mktemp("sources") / "k3os"
    return shutil.copytree(ROOT, target, ignore=shutil.ignore_patterns("__pycache__"))


def keys(root: Path) -> dict[str, str]:
    return {stage: digest(*closure(*STAGES[stage], root=root)) for stage in EXPENSIVE}


@pytest.mark.parametrize("module", sorted(CHANGES))
def test_a_module_that_changes_builds_what_uses_it_anew_and_nothing_else(copy, module):
    before, path = keys(copy), path_of(module, copy)
    text = path.read_text()
    path.write_text(f"{text}\nCHANGED = 1\n")
    after = keys(copy)
    path.write_text(text)
    assert tuple(stage for stage in EXPENSIVE if before[stage] != after[stage]) == CHANGES[module]


def test_what_is_imported_for_types_alone_changes_nothing(tmp_path):
    (tmp_path / "a.py").write_text(
        "if TYPE_CHECKING:\n    from k3os import b\n\ndef f():\n    from k3os.c import d\n"
    )
    (tmp_path / "c.py").write_text("d = 1\n")
    assert [path.name for path in closure("k3os.a", root=tmp_path)] == ["a.py", "c.py"]
