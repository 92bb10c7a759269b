"""One run: faults, healing, silence; then what every node can have, and silence again."""

import asyncio
import logging
import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tests.chaos import ending
from tests.chaos.checker import is_busy
from tests.chaos.clock import simulated
from tests.chaos.disturbances import Disturbances
from tests.chaos.mutations import broken
from tests.chaos.process import simulated_requests
from tests.chaos.scenario import Scenario
from tests.chaos.world import World

QUIET = 600.0  # seconds without a write of the operator, while no node is being changed
BOUND = 12 * 3600.0  # seconds in which all must come to that
STRAYS = 2.3 * 3600  # seconds: a request that nobody owns is deleted two hours after it was made
LOOK = 10.0


@dataclass
class Result:
    """violations: none in a run that is as it should be. text: for people who look for why."""

    seed: int
    violations: list[str] = field(default_factory=list)
    text: str = ""
    counts: Counter[str] = field(default_factory=Counter)
    steps: Counter[str] = field(default_factory=Counter)
    hours: float = 0.0
    seconds: float = 0.0


class _Log(logging.Handler):
    """The operator's words, the last ones. error: called with those that are a fault of ours."""

    def __init__(self, now: Callable[[], float], error: Callable[[str], None]) -> None:
        super().__init__(logging.INFO)
        self.lines: deque[str] = deque(maxlen=400)
        self._now, self._error = now, error

    def emit(self, record: logging.LogRecord) -> None:
        text = self.format(record)
        self.lines.append(f"{self._now():9.1f} {text}")
        if record.levelno >= logging.ERROR:
            self._error(f"the operator's log: {text}")


def run(seed: int, without: str = "") -> Result:
    """without: of mutations.MUTATIONS, what the operator lacks."""
    began = time.process_time()
    scenario = Scenario(seed)
    result = Result(seed)
    with simulated() as loop:
        world = World(scenario, loop)
        handler = _Log(lambda: loop.now, world.checker.violated)
        logger = logging.getLogger("k3os.operator")
        logger.addHandler(handler)
        logger.setLevel(logging.INFO)
        disturbances = Disturbances(world)
        try:
            with broken(without), simulated_requests(world.chance):
                loop.run_until_complete(_drive(world, disturbances))
                _end(loop)
        except Exception as error:
            world.checker.violated(f"the run broke: {error!r}")
            raise
        finally:
            logger.removeHandler(handler)
    result.violations = world.checker.violations
    result.counts, result.steps = world.faults.counts, world.checker.steps
    result.hours = loop.now / 3600
    result.seconds = time.process_time() - began
    if result.violations:
        result.text = _told(world, disturbances, handler)
    return result


def _end(loop: Any) -> None:
    tasks = asyncio.all_tasks(loop)
    for task in tasks:
        task.cancel()
    loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))


async def _drive(world: World, disturbances: Disturbances) -> None:
    world.build()
    checker = world.checker
    work = asyncio.get_running_loop().create_task(disturbances.run(world.scenario.seconds))
    while not work.done() and not checker.violations:
        await asyncio.sleep(LOOK)
    work.cancel()
    disturbances.heal()
    if not await _until_quiet(world):
        return
    for each in ending.problems(world, all_updated=False):
        checker.violated(f"all is quiet, but {each}")
    if checker.violations:
        return
    disturbances.repair()
    world.scenario.bad.clear()
    world.scenario.sick.clear()
    disturbances.want_the_last()
    if not await _until_quiet(world):
        return
    found = ending.problems(world, all_updated=True)
    if world.scenario.seed % 4 == 0:  # hours that cost time, and are the same in each run
        await asyncio.sleep(STRAYS)
        found += ending.leftovers(world, STRAYS)
    for each in found:
        checker.violated(f"all is repaired and quiet, but {each}")


async def _until_quiet(world: World) -> bool:
    end, checker = world.loop.now + BOUND, world.checker
    count, since = checker.count, world.loop.now
    while not checker.violations:
        await asyncio.sleep(LOOK)
        if checker.count != count or any(map(is_busy, world.store.all("nodes"))):
            count, since = checker.count, world.loop.now
        if world.loop.now - since >= QUIET:
            return True
        if world.loop.now >= end:
            busy = [each["metadata"]["name"] for each in world.store.all("nodes") if is_busy(each)]
            checker.violated(f"{BOUND / 3600:.0f} h after the faults it still writes; busy: {busy}")
    return False


def _told(world: World, disturbances: Disturbances, handler: _Log) -> str:
    scenario, pools = world.scenario, world.store.all("nodepools")
    parts = {
        "nodes": [
            f"{each.name} {each.labels} etcd={each.node.etcd} up={each.up} {each.versions} "
            f"{each.fragment} {each.result} {world.state(each.name)}"
            for each in world.machines.values()
        ],
        "NodePools at the beginning": [str(scenario.pools)],
        "NodePools": [f"{each['spec']} {each.get('status')}" for each in pools],
        "what happened": [*disturbances.told, *(f"bad {scenario.bad} sick {scenario.sick}",)],
        "the operator's writes": list(world.checker.writes)[-120:],
        "the operator's log": list(handler.lines)[-120:],
    }
    return "\n".join(
        f"-- {title}\n" + "\n".join(f"   {each}" for each in lines)
        for title, lines in parts.items()
    )
