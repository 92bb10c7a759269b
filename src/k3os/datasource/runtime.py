"""The runtime phase's work on k3os.data_sources before it is planned: ask, keep, report.

If no source answers, the result of the same sources in an earlier boot of this machine is used, and
the report says so. Nothing here stops the phase.
"""

from __future__ import annotations

from k3os.config.load import FOUND
from k3os.datasource import once, store
from k3os.datasource.found import Found, combine
from k3os.datasource.platforms import by_auto, chosen
from k3os.datasource.search import Answer, search
from k3os.datasource.userdata import Part, parts
from k3os.errors import UserError
from k3os.phases.actions import DONE, FAILED, LATER, UNCHANGED
from k3os.phases.phase_report import ActionResult
from k3os.phases.table import DATA_SOURCES
from k3os.system.console import Say
from k3os.system.console import say as say_on_console

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from k3os.config.load import Config
    from k3os.config.value import Place
    from k3os.phases.node import Node


def collect(
    config: Config,
    node: Node,
    *,
    ask: Callable[[list[str], Say], list[Answer]] | None = None,
    say: Say = say_on_console,
) -> list[ActionResult]:
    """A result for each source that was asked, and the overall outcome. ask: for tests."""
    place = config.values[DATA_SOURCES].place
    wanted = config.texts(DATA_SOURCES)
    if ask is None and not node.is_real:
        reason = "not on this machine"
        return [ActionResult(DATA_SOURCES, f"ask {', '.join(wanted)}", place, LATER, reason)]
    dmi = node.path("/sys/class/dmi/id")
    names, unnamed = chosen(wanted, dmi), by_auto(wanted, dmi)
    answers = ask(names, say) if ask is not None else search(names, say, by_auto=unnamed)
    known = once.reuse_known(answers, unnamed, store.known(node), say) if unnamed else {}
    found = [answer.found for answer in answers if answer.found is not None]
    results = [_result(answer, place) for answer in answers]
    earlier = None
    if not found or any(each.problems for each in found):
        earlier = store.kept(node, names)
    if found:
        return results + _keep(node, combine(found), earlier, known, place, say)
    if earlier is not None:
        return results + _use_again(node, earlier, place, say)
    store.publish(node, Found(""))
    # `auto` is in images that boot anywhere: finding no platform and no medium is no error
    outcome = UNCHANGED if "auto" in wanted else FAILED
    what = "find cloud data"
    reason = f"none of {', '.join(names)} is there"
    if any(answer.is_broken for answer in answers):
        reason = "no source could be used"
    say(f"no cloud data: {reason}")
    return [*results, ActionResult(DATA_SOURCES, what, place, outcome, reason)]


def _result(answer: Answer, place: Place) -> ActionResult:
    reason = f"gives {answer.found}" if answer.found is not None else answer.reason
    if answer.found is None and not answer.is_broken:
        reason = f"not there: {reason}"
    outcome = FAILED if answer.is_broken else UNCHANGED
    return ActionResult(
        DATA_SOURCES, f"ask {answer.name}", place, outcome, f"{reason}, {answer.seconds:.1f} s"
    )


def _keep(
    node: Node,
    found: Found,
    earlier: store.Kept | None,
    known: dict[str, Found],
    place: Place,
    say: Say,
) -> list[ActionResult]:
    """earlier: where userdata comes from if the source has some, but failed to return it; known:
    results of the media that are read once."""
    say(f"cloud data from {found.source}: {found}")
    results = []
    for problem in found.problems:
        say(f"cloud data from {found.source}: {problem}")
        what = f"ask {found.source} for all it has"
        results.append(ActionResult(DATA_SOURCES, what, place, FAILED, problem))
    if earlier is not None and earlier.found.userdata and not found.userdata:
        found.userdata = earlier.found.userdata
        what = f"use the userdata that {earlier.found.source} gave before"
        results.append(
            ActionResult(DATA_SOURCES, what, place, UNCHANGED, f"it is of {earlier.when}")
        )
    usable: list[Part] = []
    what = f"use what {found.source} gives"
    try:
        usable, warnings = parts(found.userdata)
        for warning in warnings:
            results.append(ActionResult(DATA_SOURCES, "read the userdata", place, FAILED, warning))
    except UserError as error:
        results.append(ActionResult(DATA_SOURCES, "read the userdata", place, FAILED, str(error)))
        say(f"the userdata of {found.source} cannot be used: {error}")
    try:
        store.publish(node, found)
        changed = store.keep(node, found, usable, known)
    except OSError as error:
        reason = f"{error.filename or FOUND}: {error.strerror}"
        return [*results, ActionResult(DATA_SOURCES, what, place, FAILED, reason)]
    except Exception as error:  # the sources' own results are reported anyway
        from k3os.system.bug import report

        return [
            *results,
            ActionResult(DATA_SOURCES, what, place, FAILED, report(error), is_bug=True),
        ]
    return [*results, ActionResult(DATA_SOURCES, what, place, DONE if changed else UNCHANGED)]


def _use_again(node: Node, earlier: store.Kept, place: Place, say: Say) -> list[ActionResult]:
    source = earlier.found.source
    reason = f"nothing answers; this is what {source} gave on {earlier.when}: {earlier.found}"
    say(f"cloud data: {reason}")
    store.publish(node, earlier.found)
    return [ActionResult(DATA_SOURCES, f"use what {source} gave before", place, UNCHANGED, reason)]
