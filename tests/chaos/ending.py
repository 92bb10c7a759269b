"""How a run must end: in what is wanted, or in a failure that is told, and then in silence."""

from datetime import datetime
from typing import TYPE_CHECKING, Any

from k3os import names
from k3os.cluster.node import parse_node
from k3os.cluster.spec import read_pool
from k3os.cluster.target import plain
from k3os.cluster.views import REQUEST_LABEL
from tests.chaos.checker import is_busy, is_cordoned, is_ready
from tests.chaos.store import Body, state_of

if TYPE_CHECKING:
    from tests.chaos.world import World


def problems(world: "World", *, all_updated: bool) -> list[str]:
    """What is not as it should be now that all is quiet. all_updated: nothing is in the way of
    anything that is wanted."""
    found = [each for node in world.store.all("nodes") for each in _of_node(world, node)]
    for pool in world.store.all("nodepools"):
        name = pool["metadata"]["name"]
        found += [f"NodePool {name}: {each}" for each in _of_pool(world, pool, all_updated)]
    return found


def _of_node(world: "World", node: Body) -> list[str]:
    name, state = node["metadata"]["name"], state_of(node, names.ROLLOUT)
    found = []
    if is_busy(node):
        found.append(f"{name} is still being changed: {state}")
    if is_cordoned(node):
        excused = state.get("cordoned") and not is_ready(node)
        if not excused:
            found.append(f"{name} is left cordoned: {state}")
    elif state.get("cordoned"):
        found.append(f"{name} is said to be cordoned, and is not")
    if state and state["pool"] not in {
        each["metadata"]["name"] for each in world.store.all("nodepools")
    }:
        found.append(f"{name} is still remembered for a NodePool that is gone: {state}")
    return found


def _of_pool(world: "World", pool: Body, all_updated: bool) -> list[str]:
    status: dict[str, Any] = pool.get("status") or {}
    wanted = pool["spec"]["nodeSelector"]["matchLabels"]
    members = [
        each
        for each in world.store.all("nodes")
        if wanted.items() <= each["metadata"]["labels"].items()
    ]
    updated = [
        each
        for each in members
        if world.checker.has_wanted(each, pool)
        and not world.machines[each["metadata"]["name"]].trial
    ]
    found = []
    counts = {
        "observedGeneration": pool["metadata"]["generation"],
        "nodes": len(members),
        "ready": sum(map(is_ready, members)),
        "updated": len(updated),
    }
    for field, count in counts.items():
        if status.get(field) != count:
            found.append(f"status.{field} is {status.get(field)}, not {count}")
    phase, text = status.get("phase"), str(status)
    if (phase == "Updated") != (len(updated) == len(members) > 0) and phase != "Failed":
        if members:
            found.append(f"phase {phase} with {len(updated)} of {len(members)} updated")
    degraded = {each["type"]: each for each in status.get("conditions") or []}.get("Degraded", {})
    stated = status.get("waiting") or degraded.get("status") == "True"
    if len(updated) < len(members) and not stated:
        found.append(f"not all is as wanted, and nothing says why: {text}")
    for node in members:
        name, state = node["metadata"]["name"], state_of(node, names.ROLLOUT)
        own = read_pool(pool).target.of(parse_node(node)).plain_digest
        is_of_now = plain(state.get("target", "")) == own
        if state.get("step") == "Failed" and is_of_now and name not in text:
            found.append(f"{name} failed ({state['reason']}), and the status does not name it")
    if all_updated and phase != "Updated":
        found.append(f"it is not Updated, and nothing is in its way: {text}")
    return found


def leftovers(world: "World", seconds: float) -> list[str]:
    """Requests of which nothing is to be left: there are passwords in them. seconds: how old one
    may be, by the API server's clock, which may have been wrong when it was made."""
    found = []
    for key, body in world.store.kept.items():
        made = datetime.fromisoformat(body["metadata"]["creationTimestamp"]).timestamp()
        ours = REQUEST_LABEL in (body["metadata"].get("labels") or {})
        if ours and key[0] in ("jobs", "secrets", "pods") and made + seconds < world.store.clock():
            found.append(f"{key[0]} {key[2]} is left: {body}")
    return found
