"""Carry out what the operator asks of this node (cluster/request.py).

The operator's Job runs this on the host. If it is killed at any moment and called again, it
continues: finished parts are not repeated. The last line of its output is the result, as JSON.
"""

from __future__ import annotations

import json
import os
import sys

from k3os.cluster.config_trial import FRAGMENT
from k3os.config.kernel_args import KEY as KERNEL_ARGS
from k3os.errors import UserError
from k3os.system.own_command import run_k3os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from k3os.cluster.node_status import NodeStatus
    from k3os.cluster.request import NodeRequest, Work

# the effect that the fragment on the disk still waits for in this boot: one of impact.ORDER. A
# boot applies all of it, and this file is gone then.
PENDING = "/run/k3os/fragment-pending"
PLANNED, NO_CHANGE, NEEDS_BOOT = "Planned", "NoChange", "RebootRequired"
REBOOT_SECONDS = 5  # time for the Job to report its result
COMMAND_SECONDS = 3600
# arguments of k3os
BACK = ["upgrade", "--rollback", "--no-reboot"]
UPGRADE_ERROR = "/run/k3os/upgrade-error.json"


def carry_out_file(path: str) -> int:
    """Returns the exit code after printing the answer. Raises UserError if there is no file."""
    from k3os import names
    from k3os.cluster.request import parse
    from k3os.system.run import CommandError

    try:
        with open(path, "rb") as file:
            request = parse(file.read())
    except OSError as error:
        raise UserError(f"cannot be read: {error.strerror}", "name a file", path) from error
    except UserError as error:
        return answer("", names.FAILED, str(error), code=error.exit_code)
    try:
        return carry_out(request)
    except (UserError, CommandError, OSError) as error:
        return failed(request, str(error))


def failed(request: NodeRequest, message: str) -> int:
    """The Job gets its answer even if the record cannot be written."""
    from k3os import names
    from k3os.cluster import result
    from k3os.node.cluster_report import request_report

    if not request.dry_run:
        try:
            result.write(result.record(request.id, names.FAILED, message, boot_id()))
        except OSError as error:
            print(f"k3os: the result cannot be kept: {error}", file=sys.stderr)
        request_report()
    return answer(request.id, names.FAILED, message, code=1)


def answer(request: str, state: str, message: str, *, code: int = 0, **more: object) -> int:
    print(json.dumps({"id": request, "state": state, "message": message, **more}), flush=True)
    return code


def carry_out(request: NodeRequest) -> int:
    """Do what is left to do. Raises UserError, CommandError, OSError if some of it fails."""
    from dataclasses import replace

    from k3os import names
    from k3os.cluster import own_node
    from k3os.cluster.request import remaining
    from k3os.node.status import collect

    status = collect()
    if not request.dry_run and (known := already_answered(request, status)):
        code = 1 if known["state"] in (names.FAILED, names.ROLLED_BACK) else 0
        return answer(request.id, known["state"], known["message"], code=code)
    work = remaining(request, status.running, own_node.fragment(), pending())
    told: dict[str, Any] = {"rebootNeeded": work.reboot}
    told["k3sRestart"] = work.restarts_k3s
    told |= about_datastore(request, work, status.running)
    if request.dry_run:
        change_versions(request, work)
        return answer(request.id, PLANNED, described(request, work), **told)
    if work.reboot and not request.reboot:
        return answer(request.id, NEEDS_BOOT, described(request, work), **told)
    if work.is_nothing:
        check_applied(status)
        rename_fragment(request)
        keep(request, names.SUCCEEDED, "nothing to do")
        return answer(request.id, NO_CHANGE, "nothing to change", **told)
    # versions first: if they cannot be fetched, the configuration stays as it was
    change_versions(request, work)
    former = own_node.fragment()
    if work.k3s and not work.reboot and not runs_wanted_k3s(request):
        # an earlier try was killed between the switch and the restart of k3s: a reboot completes it
        work = replace(work, effect="reboot")
        told["rebootNeeded"] = True
        if not request.reboot:
            return answer(request.id, NEEDS_BOOT, described(request, work), **told)
    if work.config:
        write_fragment(request, work.effect)
    if work.reboot:
        tell_kernel(request, work, former, status)
        keep(request, names.REBOOTING, "", wanted_versions(request))
        reboot_soon()
        return answer(request.id, names.REBOOTING, described(request, work), **told)
    if work.config:
        configure_or_take_back(work)
    keep(request, names.SUCCEEDED, described(request, work))
    return answer(request.id, names.SUCCEEDED, described(request, work), **told)


def already_answered(request: NodeRequest, status: NodeStatus) -> dict[str, Any]:
    """The final result if a Job is started again, {} if there is something to do.

    What failed to come up is not tried again. While another request's version is on trial, nothing
    is done and that request's result stays.
    """
    from k3os import names
    from k3os.cluster import result

    answered = result.read()
    known = result.completed(answered, status, boot_id())
    if known.get("request") != request.id:
        message = "another version is on trial; try again when its trial is over"
        return {"state": names.FAILED, "message": message} if status.on_trial else {}
    if known["state"] == names.REBOOTING and known["boot"] == boot_id():
        reboot_soon()  # it may have been killed before scheduling; twice does no harm
    final = (names.FAILED, names.ROLLED_BACK, names.REBOOTING)
    return known if known["state"] in final else {}


def keep(
    request: NodeRequest, state: str, message: str, wanted: dict[str, str] | None = None
) -> None:
    """Record a result and tell the cluster."""
    from k3os.cluster import result
    from k3os.node.cluster_report import request_report

    result.write(result.record(request.id, state, message, boot_id(), wanted))
    request_report()


def described(request: NodeRequest, work: Work) -> str:
    """For people; the content of the configuration is confidential."""
    parts = []
    if work.k3os and request.k3os:
        parts.append(f"k3OS {request.k3os.version}")
    if work.k3s and request.k3s:
        parts.append(f"k3s {request.k3s.version}")
    if work.config:
        parts.append("the configuration")
    return ", ".join(parts) or "nothing"


def about_datastore(request: NodeRequest, work: Work, running: Mapping[str, str]) -> dict[str, str]:
    """What the user should know before k3s goes back, {} for nothing."""
    from k3os.k3s.settings import of_node
    from k3os.node.upgrade import config
    from k3os.upgrade.datastore import going_back

    if not work.k3s or request.k3s is None or not request.rollback:
        return {}
    words = going_back(running.get("k3s", ""), request.k3s.version, of_node(config()))
    return {"datastore": words} if words else {}


def wanted_versions(request: NodeRequest) -> dict[str, str]:
    """As the node's own manifest will name them once they are current."""
    from k3os.node.status import versions
    from k3os.paths import OWN_SYSTEM

    current = versions(OWN_SYSTEM).get("current", {})
    pairs = (("k3os", request.k3os), ("k3s", request.k3s))
    return {name: current.get(name, wanted.version) for name, wanted in pairs if wanted}


def pending() -> str:
    """The effect that the fragment on the disk waits for, "" for none."""
    try:
        with open(PENDING, errors="replace") as file:
            return file.read()
    except FileNotFoundError:
        return ""


def write_fragment(request: NodeRequest, effect: str, path: str = FRAGMENT) -> None:
    """From now on it is on trial. Raises OSError."""
    from k3os.cluster import config_trial
    from k3os.node.upgrade import config, trial_seconds
    from k3os.system.files import atomic_write

    config_trial.begin(request.id, trial_seconds(config()))
    atomic_write(PENDING, effect.encode())
    config_trial.put(text_of_fragment(request), path)


def text_of_fragment(request: NodeRequest) -> bytes | None:
    from k3os.cluster.own_node import fragment_text

    return fragment_text(dict(request.config), request.config_hash) if request.config else None


def rename_fragment(request: NodeRequest) -> None:
    """The same configuration may have a new name in the cluster. Raises OSError."""
    from k3os.cluster import config_trial, own_node

    if request.config_hash and own_node.hash_of_fragment() != request.config_hash:
        config_trial.put(text_of_fragment(request), FRAGMENT)


def upgrade_arguments(request: NodeRequest, work: Work) -> list[str]:
    """For `k3os upgrade`; [] if nothing is to be upgraded."""
    arguments = []
    if work.k3os and request.k3os:
        version = request.k3os.version
        arguments += ["--k3os", f"{request.k3os.url.rstrip('/')}/{version}", "--expect", version]
    if work.k3s and request.k3s:
        arguments += ["--k3s", request.k3s.version]
    if arguments and request.rollback:
        arguments.append("--allow-downgrade")
    if arguments and request.dry_run:
        return [*arguments, "--dry-run"]
    # for k3s alone, the upgrade restarts it, and goes back if it does not become ready
    return [*arguments, "--no-reboot"] if arguments and work.reboot else arguments


def change_versions(request: NodeRequest, work: Work) -> None:
    """A dry run finds out whether it would work. Raises UserError with `k3os upgrade`'s message."""
    arguments = upgrade_arguments(request, work)
    if not arguments:
        return
    mirror = request.k3s.url if request.k3s else ""
    environment: dict[str, str | None] = {"K3S_RELEASES": mirror} if mirror else {}
    output = run_k3os(
        ["upgrade", *arguments], UPGRADE_ERROR, env=environment, timeout=COMMAND_SECONDS
    )
    print(output, end="", flush=True)


def tell_kernel(
    request: NodeRequest, work: Work, former: Mapping[str, Any], status: NodeStatus
) -> None:
    """Let the reboot that is needed anyway apply the kernel's arguments, too; else they would need
    another one. Raises UserError; then the former fragment and versions are back."""
    from k3os.cluster import config_trial
    from k3os.cluster.impact import check

    asked = any(KERNEL_ARGS in check(each)[0] for each in (request.config, former))
    if status.mode != "disk" or not asked:
        return
    try:
        run_k3os(
            ["upgrade", "--kernel-args", "--no-reboot"], UPGRADE_ERROR, timeout=COMMAND_SECONDS
        )
    except UserError as error:
        config_trial.restore(str(error))
        if upgrade_arguments(request, work):  # else any later boot would start the new versions
            try:
                run_k3os(BACK, UPGRADE_ERROR, timeout=COMMAND_SECONDS)
            except UserError as again:
                message = f"{error}; and the former versions did not come back: {again}"
                raise UserError(message, "`sudo k3os upgrade --rollback`") from error
        raise


def runs_wanted_k3s(request: NodeRequest) -> bool:
    from k3os.node.status import collect

    running = collect().running.get("k3s", "")
    return request.k3s is None or request.k3s.is_met_by(running)


def configure_or_take_back(work: Work) -> None:
    """Apply the fragment, or go back to the former one. Raises UserError, CommandError."""
    from k3os.cluster import config_trial
    from k3os.system.run import CommandError

    try:
        configure(work)
    except (UserError, CommandError) as error:
        config_trial.restore(str(error))
        try:
            configure(work)
        except (UserError, CommandError) as again:
            raise UserError(
                f"{error}; and the former configuration does not work either: {again}"
            ) from error
        raise UserError(
            f"{error}; the former configuration is back",
            "`k3os status` on the node shows what only a reboot undoes",
        ) from error
    config_trial.confirm()


def configure(work: Work) -> None:
    """Apply what can be applied now. Raises UserError if part of the fragment fails."""
    from k3os.config.load import load_config
    from k3os.node import k3s_restart
    from k3os.node.status import collect
    from k3os.system.run import run

    run(["k3os", "config"], check=False, timeout=COMMAND_SECONDS)
    check_applied(collect())
    if work.effect == "k3s":
        # also after a k3s upgrade, which started k3s with the old arguments
        k3s_restart.restart_for_configuration(load_config(cloud=True)[0])
    os.unlink(PENDING)


def check_applied(status: NodeStatus) -> None:
    """Raises UserError with each value of the fragment that could not be applied."""
    from k3os.node.status_text import failures_from

    failed = failures_from(status, FRAGMENT)
    if failed:
        raise UserError("; ".join(failed), "`k3os status` on the node says more")


def reboot_soon() -> None:
    from k3os.system.units import run_later

    run_later(REBOOT_SECONDS, "systemctl", "--no-block", "reboot")


def boot_id(path: str = "/proc/sys/kernel/random/boot_id") -> str:
    with open(path, errors="replace") as file:
        return file.read().strip()
