"""Does what k3os.node.k3s_address decides: collects the facts, restarts k3s, says why."""

from __future__ import annotations

import os
import time

from k3os.node.k3s_address import (
    APART,
    GIVEN,
    MESSAGE,
    REGISTERED,
    RESTART,
    SAY,
    TAKEN,
    UNIT,
    Decision,
    Seen,
    bare,
    decide,
)
from k3os.paths import ON_TRIAL

TYPE_CHECKING = False
if TYPE_CHECKING:
    from k3os.config.load import Config

K3S = "k3s.service"
# seconds
TRIAL_POLL, LONGEST_TRIAL = 5.0, 3600.0


def follow() -> Decision:
    """Collect the facts and act on the decision. Raises CommandError, OSError, UserError."""
    from k3os.config.load import load_config
    from k3os.system.console import say
    from k3os.system.run import run

    _outlast_trial()
    config, _ = load_config(cloud=True)
    decision = decide(look(config))
    if decision.what == RESTART:
        _write(TAKEN, decision.address)
        say(decision.words)
        run(["systemctl", "restart", "--no-block", K3S], timeout=30)
    elif decision.what == SAY:
        _tell(decision.words)
    return decision


def _outlast_trial() -> None:
    """Wait for the end of a trial, success or restart, before touching k3s."""
    end = time.monotonic() + LONGEST_TRIAL
    while os.path.exists(ON_TRIAL) and time.monotonic() < end:
        time.sleep(TRIAL_POLL)


def _tell(words: str) -> None:
    """Only once."""
    from k3os.system.console import say
    from k3os.system.files import text_of

    if text_of(MESSAGE) != words:
        _write(MESSAGE, words)
        say(words)


def _write(path: str, text: str) -> None:
    from k3os.system.files import atomic_write

    atomic_write(path, f"{text}\n".encode())


def look(config: Config) -> Seen:
    """Raises CommandError, UserError."""
    from k3os.k3s.settings import data_directory, last, of_node
    from k3os.node.cluster_report import node_name
    from k3os.node.status import addresses
    from k3os.phases.k3s import arguments
    from k3os.system.files import text_of
    from k3os.system.units import properties
    from k3os.upgrade.etcd import is_used

    settings = of_node(config)
    started, since = "ExecMainStartTimestampMonotonic", "InactiveExitTimestampMonotonic"
    k3s = properties(K3S, started, "ActiveState", timeout=30)
    own = properties(UNIT, since, "ActiveState", timeout=30)
    registered = tuple(text_of(REGISTERED).split())
    # if called by hand: now
    changed = int(own.get(since) or 0) if own.get("ActiveState") == "activating" else None
    is_server = arguments(config)[0] == "server"
    return Seen(
        registered,
        tuple(bare(addresses())),
        leading(version=6 if registered and all(":" in each for each in registered) else 4),
        k3s.get("ActiveState", ""),
        {name: last(settings, name) for name in GIVEN if last(settings, name)},
        is_server and is_used(f"{data_directory(settings)}/server/db"),
        changed is not None and int(k3s.get(started) or 0) >= changed - 2_000_000,
        _is_stopping(),
        _taken(),
        node_name(config),
    )


def _is_stopping() -> bool:
    from k3os.system.run import run

    state = run(["systemctl", "is-system-running"], check=False, timeout=30)
    return state.decode(errors="replace").strip() == "stopping"


def _taken() -> tuple[str, float]:
    from k3os.system.files import text_of

    try:
        return text_of(TAKEN), time.time() - os.stat(TAKEN).st_mtime
    except FileNotFoundError:
        return "", APART


def leading(version: int) -> str:
    """The address that k3s takes: of the interface with the effective default route."""
    from k3os.phases.default_routes import DEFAULTS
    from k3os.phases.fallback import MADE_UP
    from k3os.phases.ip_output import addresses, link_of, routes_of
    from k3os.system.numbers import whole

    ways = [each for each in routes_of(version) if each["dst"] in DEFAULTS]
    ways.sort(key=lambda each: whole(each.get("metric", "0")) or 0)
    family = "inet" if version == 4 else "inet6"
    links = addresses()
    for way in ways:
        for given in (link_of(way["dev"], links) or {}).get("addr_info", []):
            is_ours = given.get("family") == family and given.get("scope") == "global"
            if is_ours and not given["local"].startswith(MADE_UP):
                return str(given["local"])
    return ""
