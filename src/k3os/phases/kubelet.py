"""k3os.kubelet: a file in the directory from which k3s 1.32 and newer configures its kubelet
(docs.k3s.io, "Kubelet Configuration"). Older ones only accept arguments, and get nothing.

Files there are read in the order of their names; arguments (--kubelet-arg) override them.
"""

from __future__ import annotations

from k3os.config.by_version import obstacle
from k3os.config.dump import json_for_yaml
from k3os.config.kubelet import DIRECTORY, KEY, as_object
from k3os.config.kubelet_values import fitting
from k3os.phases.actions import Action, OwnFile, Refused
from k3os.phases.k3s import data_directory
from k3os.phases.shutdown import k3s_version

TYPE_CHECKING = False
if TYPE_CHECKING:
    from k3os.config.load import Config
    from k3os.phases.node import Node

NAME = "60-k3os.conf"
HEAD = "# written by k3os from k3os.kubelet\n"


def plan(config: Config, node: Node) -> list[Action]:
    value = config.get(KEY)
    fields = config.entries(KEY)
    if value is None or not fields:
        return []
    fields, refused = fitting(fields)
    path = f"{data_directory(config)}/{DIRECTORY}/{NAME}"
    if why := obstacle(KEY, k3s_version(node)):
        hint = "write `--kubelet-arg=NAME=VALUE` in k3os.k3s_args"
        return [Refused(KEY, value.place, f"write {path}", why, hint)]
    whole = {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        **as_object(fields),
    }
    data = HEAD.encode() + json_for_yaml(whole)
    actions: list[Action] = [
        Refused(f"{KEY}.{name}", value.place, f"set {name}", why, hint)
        for name, why, hint in refused
    ]
    return [*actions, OwnFile(KEY, value.place, path, data)]
