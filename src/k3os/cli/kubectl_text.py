"""The output of `kubectl k3os`: tables, the view of a rollout, lines of changes. Pure functions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from k3os.cluster import progress as steps
from k3os.cluster.node import FAILED, NodeView, RequestResult
from k3os.cluster.progress import BUSY, CONFLICT, PENDING, UPDATED, Progress, Row, pool_of
from k3os.system.stamps import utc

Line = tuple[str, str]  # text, style: of k3os.system.screen

STYLES = {FAILED: "bad", CONFLICT: "bad", UPDATED: "good"} | dict.fromkeys(BUSY, "busy")
BAR = 30
UNSEEN = (
    "the operator has not looked at it yet: `kubectl -n k3os-system get pods` shows whether it runs"
)


def age(seconds: float) -> str:
    """A time span in two of its largest units: 7s, 3m05s, 2h10m, 4d03h."""
    whole = max(0, int(seconds))
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02}s"
    if whole < 86400:
        return f"{whole // 3600}h{whole % 3600 // 60:02}m"
    return f"{whole // 86400}d{whole % 86400 // 3600:02}h"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Columns as wide as they must be; the last one is not padded."""
    widths = [max(len(row[column]) for row in [head, *rows]) for column in range(len(head) - 1)]
    return [
        "   ".join(
            [*(text.ljust(width) for text, width in zip(row[:-1], widths, strict=True)), row[-1]]
        ).rstrip()
        for row in [head, *rows]
    ]


def summary(seen: Progress) -> str:
    """One line: how many nodes are in which state."""
    total = len(seen.rows)
    counts = [
        f"{seen.count(UPDATED)} of {total} nodes are updated",
        *_some(seen.count(*BUSY), "changing"),
        *_some(seen.count(FAILED), "failed"),
        *_some(seen.count(CONFLICT), "in conflict"),
        f"{seen.ready} ready",
    ]
    return ", ".join(counts) if total else "the selector matches no node"


def _some(count: int, word: str) -> list[str]:
    return [f"{count} {word}"] if count else []


def bar(seen: Progress, width: int = BAR) -> str:
    """'#' for updated nodes, '>' for those that are changing, '!' for failed ones."""
    total = max(1, len(seen.rows))
    parts = [(UPDATED,), BUSY, (FAILED, CONFLICT)]
    lengths = [seen.count(*part) * width // total for part in parts]
    # one failed node must be visible among a thousand
    lengths = [
        length or min(1, seen.count(*part)) for length, part in zip(lengths, parts, strict=True)
    ]
    lengths[0] = min(lengths[0], width - sum(lengths[1:]))
    text = "".join(sign * length for sign, length in zip("#>!", lengths, strict=True))
    return f"[{text.ljust(width, '.')}]"


def picture(
    seen: Progress, now: float, height: int, trouble: str = "", elapsed: float = 0.0
) -> list[Line]:
    """What fits on a terminal of that height: nodes that need attention first, the rest as a count.

    trouble: why the data may be out of date.
    """
    over = {True: "good", False: "bad", None: "bold"}[steps.ended(seen)]
    lines: list[Line] = [
        (f"NodePool {seen.pool}: {seen.phase}, wanted: {seen.wanted}", over),
        (f"{bar(seen)}  {summary(seen)}  {age(elapsed)}", ""),
    ]
    lines += [(text, "bad") for text in _troubles(seen, trouble)]
    if seen.waiting:
        lines.append((f"waiting: {seen.waiting}", ""))
    if not seen.seen:
        lines.append((UNSEEN, ""))
    if not seen.rows:
        return lines
    # minus a blank line, the header and the cursor's line; one more counts the hidden nodes
    room = max(1, height - len(lines) - 3)
    shown = seen.rows if len(seen.rows) <= room else seen.rows[: max(1, room - 1)]
    head, *texts = table(
        ("NODE", "STEP", "SINCE", "VERSIONS", "MESSAGE"), [cells(row, now) for row in shown]
    )
    lines += [("", ""), (head, "dim")]
    lines += [(text, STYLES.get(row.step, "")) for text, row in zip(texts, shown, strict=True)]
    hidden = seen.rows[len(shown) :]
    if hidden:
        kinds = dict.fromkeys(row.step for row in hidden)
        counted = (f"{sum(row.step == kind for row in hidden)} {kind}" for kind in kinds)
        lines.append((f"... and {len(hidden)} more: {', '.join(counted)}", "dim"))
    return lines


def _troubles(seen: Progress, trouble: str) -> list[str]:
    troubles = [f"degraded: {seen.degraded}"] if seen.degraded else []
    return troubles + ([f"what follows may be old: {trouble}"] if trouble else [])


def cells(row: Row, now: float) -> tuple[str, ...]:
    since = age(now - row.since) if row.since is not None else "-"
    return row.name, row.step, since, row.versions, row.message


def news(before: Progress | None, after: Progress, now: float) -> list[str]:
    """What changed, one line each, for a log. The first time: the pool, and the nodes that are
    neither pending nor updated."""
    known = {row.name: _told(row) for row in before.rows} if before else {}
    lines = []
    for row in after.rows:
        is_new = before is None and row.step not in (PENDING, UPDATED)
        if is_new or (before is not None and known.get(row.name) != _told(row)):
            lines.append(f"{row.name}: {_told(row)}")
    gone = known.keys() - {row.name for row in after.rows}
    lines += [f"{name}: no longer in this NodePool" for name in sorted(gone)]
    if before is None or _of_pool(before) != _of_pool(after):
        lines.append(_of_pool(after))
    return [f"{_stamp(now)} {line}" for line in lines]


def news_of_trouble(before: str, after: str, now: float) -> list[str]:
    """trouble: why the API is unreachable, "" when it is not."""
    if before == after:
        return []
    return [f"{_stamp(now)} {f'no answer: {after}' if after else 'the API answers again'}"]


def _stamp(now: float) -> str:
    return utc(now)


def _told(row: Row) -> str:
    """Without what changes with time alone."""
    versions = f" ({row.versions})" if row.versions else ""
    return f"{row.step}{versions}" + (f": {row.message}" if row.message else "")


def _of_pool(seen: Progress) -> str:
    more = [f"waiting: {seen.waiting}"] if seen.waiting else []
    more += [f"degraded: {seen.degraded}"] if seen.degraded else []
    more += [] if seen.seen else [UNSEEN]
    return "; ".join([f"{seen.pool}: {seen.phase}: {summary(seen)}", *more])


NODE_COLUMNS = ("NAME", "READY", "MODE", "K3OS", "KERNEL", "K3S", "HEALTHY", "POOL", "STEP", "LAST")


def node_table(nodes: Sequence[NodeView], pools: Sequence[Mapping[str, Any]]) -> list[str]:
    """One line per node, then details of the unhealthy ones."""
    lines = table(NODE_COLUMNS, [_node_cells(node, pool_of(node, pools)) for node in nodes])
    unwell = [
        f"{node.name}: {node.health_reason}: {node.health}"
        for node in nodes
        if node.healthy is False
    ]
    return lines + (["", *unwell] if unwell else [])


def _node_cells(node: NodeView, owners: Sequence[str]) -> tuple[str, ...]:
    ready = "yes" if node.ready else "no"
    healthy = {True: "yes", False: f"no ({node.health_reason})", None: "unknown"}[node.healthy]
    return (
        node.name,
        f"{ready}, cordoned" if node.unschedulable else ready,
        node.mode or "-",
        (node.k3os or "-") + (" (on trial)" if node.trial else ""),
        node.kernel or "-",
        node.k3s or "-",
        healthy,
        " and ".join(owners) or "-",
        node.state.step if node.state else "-",
        _last(node.last),
    )


def _last(result: RequestResult | None) -> str:
    if result is None:
        return "-"
    when = f" {result.when}" if result.when else ""
    return f"{result.state}{when}" + (f": {result.message}" if result.message else "")
