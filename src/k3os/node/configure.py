"""Apply a phase of the configuration to this node, and say if k3s must be restarted for it."""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from k3os.config.load import Config
    from k3os.phases.node import Node
    from k3os.phases.phase_report import ActionResult

    # root, directory of /k3os/system, kernel command line (None: that of the running kernel)
    Sources = tuple[str, str, str | None]


# what `k3os config` waits for at boot: checks of certificates need the right time
ONLINE = ["systemctl", "start", "network-online.target", "k3os-clock.service"]


def apply(
    phase: str,
    sources: Sources,
    *,
    when_online: bool = False,
    again: bool = False,
    restart: bool = False,
) -> int:
    """Returns the exit code after saying what was done. Raises UserError.

    when_online: once the configuration is read, wait for the network, or the end of its time limit.
    again: skip commands that have succeeded. restart: restart k3s if a change needs it.
    """
    from k3os.config.kernel_args import KEY
    from k3os.config.key import READY, RUNTIME
    from k3os.phases.apply import apply_phase
    from k3os.phases.kernel_args import REBOOT
    from k3os.phases.phase_report import booted_mode

    root, system, cmdline = sources
    if phase == READY and root == "/":
        wait_for_k3s(sources)
    report = apply_phase(
        phase,
        mode=booted_mode(root),
        root=root,
        system_dir=system,
        cmdline=cmdline,
        say=_complain,
        wait=_wait_until_online if when_online else None,
        data_sources=_ask,
        again=again,
    )
    changed = sum(result.result == "done" for result in report.results)
    print(f"phase {phase}: {changed} changes, {len(report.failed)} failed; see `k3os status`")
    if phase == RUNTIME:
        if any(each.key == KEY and each.reason == REBOOT for each in report.results):
            print(f"reboot for {KEY}: `sudo reboot`")
        tell_k3s(sources, restart=restart)
    return 0 if report.is_fine else 1


def tell_k3s(sources: Sources, *, restart: bool) -> None:
    """Say which changes k3s does not have yet, or restart it for them. Raises UserError."""
    from k3os.phases.changed import not_in_k3s
    from k3os.phases.node import Node

    names = ", ".join(not_in_k3s(Node(sources[0])))
    if names and not restart:
        print(f"restart k3s for {names}: `sudo k3os config --restart`; pods keep running")
    elif names:
        from k3os.config.load import load_config
        from k3os.node import k3s_restart

        k3s_restart.restart_for_configuration(load_config(*sources, cloud=True)[0])
        print(f"k3s was restarted for {names}")


def wait_for_k3s(sources: Sources) -> None:
    """Return once the k3s that the configuration asks for, server or agent, is ready."""
    from k3os.config.load import load_config
    from k3os.k3s import ready
    from k3os.node.boot_health import k3s_is_ready
    from k3os.phases.apply import to_journal
    from k3os.system.console import say

    config = load_config(*sources, cloud=True)[0]
    ready.wait_until_ready(lambda: not k3s_is_ready(config), log=to_journal, say=say)


def _wait_until_online() -> None:
    """systemctl(1) waits for queued jobs, too; both units end by themselves."""
    from k3os.system.run import CommandError, run

    try:
        run(ONLINE)
    except CommandError as error:  # without a network, the node gets its configuration anyway
        _complain(str(error))


def _ask(config: Config, node: Node) -> list[ActionResult]:
    """The data sources, only imported if the configuration names some."""
    from k3os.datasource.runtime import collect

    return collect(config, node)


def _complain(line: str) -> None:
    print(f"k3os: {line}", file=sys.stderr)
