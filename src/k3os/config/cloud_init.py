"""Where config.yaml and cloud-init's cloud-config differ in part.

https://cloudinit.readthedocs.io/en/latest/reference/modules.html#users-and-groups
"""

from __future__ import annotations

from k3os.config.key import RUNTIME
from k3os.config.merge import merge
from k3os.config.schema import BY_PATH
from k3os.config.spelling import fold
from k3os.config.ssh_keys import keys
from k3os.config.value import Node, Problem, Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from k3os.config.kinds import Check

KEY = "ssh_authorized_keys"
# the only keys in no phase that are not read whenever needed, userdata included
INSTALLER = "k3os.install."


def with_users(check: Check, users: Node, values: dict[str, Value]) -> dict[str, Value]:
    """The values plus the ssh keys of the first user that has some; that user becomes rancher."""
    listed = users.items if users.kind == "list" else [users]
    taken = ""
    for index, user in enumerate(listed):
        for name, value in user.pairs:
            if name.kind != "scalar" or fold(name.text) != fold(KEY) or value.kind == "null":
                continue
            path = f"users[{index}].{KEY}"
            if taken:
                hint = f"write {KEY} at the top level for who may log in"
                check.warn(name.place, path, f"is not used: {taken} was taken for rancher", hint)
                continue
            from k3os.config.value import Wrong

            try:
                ssh_keys = keys(check, BY_PATH[KEY], value, path)
            except Wrong as wrong:
                check.error(path, wrong)
                continue
            taken = path
            hint = f"write {KEY} at the top level"
            check.warn(name.place, path, "is taken for the user rancher", hint)
            values = merge(values, {KEY: ssh_keys})
    return values


def too_late(values: dict[str, Value]) -> list[Problem]:
    """A warning for each key in userdata that is no longer read when userdata arrives."""
    late = [path for path in values if _is_early(path)]
    late += [path for path in ("k3os.data_sources",) if path in values]
    hint = "write it into the medium's config.yaml or on the kernel's command line"
    return [
        Problem(
            values[path].place,
            path,
            "comes too late in userdata, which is read in the runtime phase",
            "write it into run_cmd" if path in ("init_cmd", "boot_cmd") else hint,
            is_error=False,
        )
        for path in late
    ]


def _is_early(path: str) -> bool:
    phases = BY_PATH[path].phases
    return RUNTIME not in phases if phases else path.startswith(INSTALLER)
