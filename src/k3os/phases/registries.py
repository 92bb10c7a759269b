"""k3os.registries: k3s' registries file, which it reads when it starts (docs.k3s.io, "Private
Registry Configuration"). It may contain passwords.

If write_files writes that file itself, the user's is used. JSON is YAML.
"""

from __future__ import annotations

from k3os.config.dump import json_for_yaml
from k3os.config.k3s_files_of_keys import REGISTRIES, REGISTRIES_FILE
from k3os.config.value import plain
from k3os.phases.actions import Action, OwnFile
from k3os.phases.write_files import paths

TYPE_CHECKING = False
if TYPE_CHECKING:
    from k3os.config.load import Config
    from k3os.phases.node import Node

HEAD = "# written by k3os from k3os.registries\n"


def plan(config: Config, node: Node) -> list[Action]:
    given = {key: value for key in REGISTRIES if (value := config.get(key)) is not None}
    if not given or REGISTRIES_FILE in paths(config):
        return []
    tree = {key.rpartition(".")[2]: plain(each) for key, each in given.items()}
    key, value = next(iter(given.items()))
    data = HEAD.encode() + json_for_yaml(tree)
    return [OwnFile(key, value.place, REGISTRIES_FILE, data, 0o600)]
