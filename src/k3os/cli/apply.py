"""`k3os apply FILE`: carry out what the operator asks of this node (cluster/request.py).

The operator's Job calls it on the host. Killed at any moment and called again it goes on: what
is there already is not done again. The last line of its output is the result, as JSON.
"""

from __future__ import annotations

import json
import os
import sys

from k3os.cluster.report import FRAGMENT
from k3os.errors import UserError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from k3os.cluster.request import Request, Work

USAGE = """\
usage: k3os apply FILE

Carry out a request of the k3OS operator: other versions, a part of the configuration. The last
line of the output is the result, as JSON. Exit code 1: it failed, 2: no request a node can obey.
"""
PLANNED, NO_CHANGE, NEEDS_BOOT = "Planned", "NoChange", "RebootRequired"
REBOOT_SECONDS = 5  # until then the Job has told its result
COMMAND_SECONDS = 3600
READY_SECONDS = 300


def main(argv: list[str]) -> int:
    """Exit code 0, 1, 2. Raises UserError only for wrong use of the command itself."""
    if argv in (["-h"], ["--help"]):
        print(USAGE, end="")
        return 0
    if len(argv) != 1:
        print(USAGE, end="", file=sys.stderr)
        return 2
    if os.geteuid() != 0:
        raise UserError("only root may change this node", "the operator's Job calls it")
    from k3os.cluster import names, result
    from k3os.cluster.request import parse

    try:
        with open(argv[0], "rb") as file:
            request = parse(file.read())
    except OSError as error:
        raise UserError(f"cannot be read: {error.strerror}", "name a file", argv[0]) from error
    except UserError as error:
        return answer("", names.FAILED, str(error), code=error.exit_code)
    try:
        return carry_out(request)
    except UserError as error:
        if not request.dry_run:
            result.write(result.record(request.id, names.FAILED, str(error), boot_id()))
            publish()
        return answer(request.id, names.FAILED, str(error), code=1)


def answer(request: str, state: str, message: str, *, code: int = 0, **more: object) -> int:
    print(json.dumps({"id": request, "state": state, "message": message, **more}), flush=True)
    return code


def carry_out(request: Request) -> int:
    """Do what is left to do. Raises UserError when something of it fails."""
    from k3os.cli.status import collect
    from k3os.cluster import names, report, result
    from k3os.cluster.request import remaining

    status = collect()
    known = result.completed(result.read(), status, boot_id())
    if known.get("request") == request.id and known["state"] in (names.FAILED, names.ROLLED_BACK):
        # its Job was started again; what did not come up once is not tried on and on
        return answer(request.id, known["state"], known["message"], code=1)
    work = remaining(request, status["versions"]["running"], report.fragment())
    told = {"rebootNeeded": work.reboot, "k3sRestart": work.k3s or work.effect == "k3s"}
    if request.dry_run:
        return answer(request.id, PLANNED, described(request, work), **told)
    if work.reboot and not request.reboot:
        return answer(request.id, NEEDS_BOOT, described(request, work), **told)
    if work.is_nothing:
        result.write(result.record(request.id, names.SUCCEEDED, "nothing to do", boot_id()))
        publish()
        return answer(request.id, NO_CHANGE, "it is so already", **told)
    if work.config:
        write_fragment(request)
    change_versions(request, work)
    if not work.reboot:
        configure(work)
        result.write(
            result.record(request.id, names.SUCCEEDED, described(request, work), boot_id())
        )
        publish()
        return answer(request.id, names.SUCCEEDED, described(request, work), **told)
    result.write(
        result.record(request.id, names.REBOOTING, "", boot_id(), wanted_versions(request))
    )
    publish()
    reboot_soon()
    return answer(request.id, names.REBOOTING, described(request, work), **told)


def described(request: Request, work: Work) -> str:
    """For people; the configuration's content is nobody's business."""
    found = []
    if work.k3os and request.k3os:
        found.append(f"k3OS {request.k3os.version}")
    if work.k3s and request.k3s:
        found.append(f"k3s {request.k3s.version}")
    if work.config:
        found.append("the configuration")
    return ", ".join(found) or "nothing"


def wanted_versions(request: Request) -> dict[str, str]:
    """As the node's own manifest names them once they are the current ones."""
    from k3os.cli.status import SYSTEM, versions

    current = versions(SYSTEM).get("current", {})
    pairs = (("k3os", request.k3os), ("k3s", request.k3s))
    return {name: current.get(name, wanted.version) for name, wanted in pairs if wanted}


def write_fragment(request: Request, path: str = FRAGMENT) -> None:
    """Raises OSError."""
    from k3os.cluster.impact import canonical
    from k3os.system.files import atomic_write, sync_directory

    if request.config:
        os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
        atomic_write(path, canonical(request.config), mode=0o600, sync=True)
    elif os.path.exists(path):
        os.unlink(path)
        sync_directory(os.path.dirname(path))


def upgrade_arguments(request: Request, work: Work) -> list[str]:
    """Of `k3os upgrade`; [] when nothing is to be upgraded."""
    arguments = []
    if work.k3os and request.k3os:
        version = request.k3os.version
        arguments += ["--k3os", f"{request.k3os.url.rstrip('/')}/{version}", "--expect", version]
    if work.k3s and request.k3s:
        arguments += ["--k3s", request.k3s.version]
    # k3s alone is restarted by the upgrade, and put back when it does not become ready
    return [*arguments, "--no-reboot"] if arguments and work.reboot else arguments


def change_versions(request: Request, work: Work) -> None:
    """Raises UserError with the words of `k3os upgrade`."""
    from k3os.system.run import CommandError, run

    arguments = upgrade_arguments(request, work)
    if not arguments:
        return
    mirror = request.k3s.url if request.k3s else ""
    environment: dict[str, str | None] = {"K3S_RELEASES": mirror} if mirror else {}
    try:
        output = run(["k3os", "upgrade", *arguments], env=environment, timeout=COMMAND_SECONDS)
    except CommandError as error:
        text = error.output.decode(errors="replace").strip()
        raise UserError(text.rpartition("error: ")[2] or str(error)) from error
    print(output.decode(errors="replace"), end="", flush=True)


def configure(work: Work) -> None:
    """Apply what can be applied now. Raises UserError when something of the fragment fails."""
    from k3os.cli.status import collect, failures
    from k3os.system.run import run

    if not work.config:
        return
    run(["k3os", "config"], check=False, timeout=COMMAND_SECONDS)
    failed = [line for line in failures(collect()) if FRAGMENT in line]
    if failed:
        raise UserError("; ".join(failed), "`k3os status` on the node says more")
    if work.effect == "k3s" and not work.k3s:
        restart_k3s()


def restart_k3s() -> None:
    """Raises UserError when it is not ready in time. Pods go on."""
    from k3os.cli.confirm import k3s_is_ready, wait
    from k3os.config.load import load_config
    from k3os.system.run import CommandError, run

    config, _ = load_config(cloud=True)
    try:
        run(["systemctl", "restart", "k3s.service"], timeout=READY_SECONDS)
        missing = wait([lambda: k3s_is_ready(config)], READY_SECONDS)
    except CommandError as error:
        missing = str(error)
    if missing:
        raise UserError(f"k3s did not come back with the new configuration: {missing}")


def reboot_soon() -> None:
    from k3os.system.run import run

    command = ["systemd-run", "-q", f"--on-active={REBOOT_SECONDS}"]
    run([*command, "systemctl", "--no-block", "reboot"], timeout=30)


def publish() -> None:
    """Tell the cluster now; that it cannot be told is no failure of the request."""
    from k3os.system.run import run

    run(["systemctl", "--no-block", "start", "k3os-report.service"], check=False, timeout=30)


def boot_id(path: str = "/proc/sys/kernel/random/boot_id") -> str:
    with open(path) as file:
        return file.read().strip()
