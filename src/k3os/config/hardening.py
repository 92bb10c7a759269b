"""What k3os.hardening requires of the rest of a configuration. It decides nothing and writes
nothing; phases/hardening.py does.

Kubernetes, kubelet, "protectKernelDefaults": it exits if one of these has another value.
"""

from __future__ import annotations

from k3os.config.value import Problem

TYPE_CHECKING = False
if TYPE_CHECKING:
    from k3os.config.value import Value

KEY, SYSCTLS = "k3os.hardening", "k3os.sysctls"
# the kubelet's; k3OS sets them anyway, and the last two are the kernel's defaults
NEEDED = {
    "vm.overcommit_memory": "1",
    "vm.panic_on_oom": "0",
    "kernel.panic": "10",
    "kernel.panic_on_oops": "1",
    "kernel.keys.root_maxkeys": "1000000",
    "kernel.keys.root_maxbytes": "25000000",
}


def other_sysctls(values: dict[str, Value]) -> dict[str, Value]:
    """The k3os.sysctls with which a kubelet that insists on its own values does not start."""
    given = values.get(SYSCTLS)
    if given is None or not isinstance(given.data, dict):
        return {}
    return {
        name: value
        for name, value in given.data.items()
        if str(value.data).strip() != NEEDED.get(name.replace("/", "."), str(value.data).strip())
    }


def contradictions(values: dict[str, Value]) -> list[Problem]:
    """Warnings, if the profile is set."""
    if KEY not in values:
        return []
    return [
        Problem(
            value.place,
            f"{SYSCTLS}.{name}",
            f"is not what {KEY} asks for, so the kubelet is not told to insist on its settings",
            f"leave it out, or write {NEEDED[name.replace('/', '.')]}",
            is_error=False,
        )
        for name, value in other_sysctls(values).items()
    ]
