"""k3os.containerd: a template for k3s' containerd that consists of k3s' own and the user's tables,
in the format for the version that runs (docs.k3s.io, "Configuring containerd").

If write_files writes such a template itself, the user's is used.
"""

from __future__ import annotations

from k3os.config.containerd import BASE, DIRECTORY, KEY, TEMPLATES, template, version
from k3os.paths import K3S_LINK
from k3os.phases.actions import Action, OwnFile, Refused
from k3os.phases.k3s import data_directory
from k3os.phases.write_files import paths
from k3os.system.links import resolve

TYPE_CHECKING = False
if TYPE_CHECKING:
    from k3os.config.load import Config
    from k3os.phases.node import Node


def plan(config: Config, node: Node) -> list[Action]:
    value = config.get(KEY)
    if value is None:
        return []
    directory = f"{data_directory(config)}/{DIRECTORY}"
    if paths(config) & {f"{directory}/{name}" for name in TEMPLATES.values()}:
        return []
    text = str(value.data)
    try:
        # …/v1.33.1+k3s1/k3s
        which = template(text, version(resolve(node.root, K3S_LINK).split("/")[-2]))
    except ValueError as error:
        message, _, hint = str(error).partition("; ")
        what = "add to the configuration of containerd"
        return [Refused(KEY, value.place, what, message, hint)]
    whole = f"{BASE}\n\n# written by k3os from {KEY}\n{text.rstrip()}\n"
    data = whole.encode(errors="surrogateescape")
    return [OwnFile(KEY, value.place, f"{directory}/{TEMPLATES[which]}", data, 0o600)]
