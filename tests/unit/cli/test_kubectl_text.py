"""What `kubectl k3os` shows, as pure text."""

import re

import pytest

from k3os.cli.kubectl_text import UNSEEN, age, bar, news, node_table, picture, summary
from k3os.cluster.node import NodeView, RequestResult, State
from k3os.cluster.progress import Progress, Row

NOW = 1_800_000_000


def seen(*rows, **more):
    values = {"phase": "Updating", "wanted": "k3OS v1.1.0", "seen": True} | more
    return Progress("workers", rows=rows, **values)


def many(count, step="Pending"):
    return [Row(f"node-{number:03}", step) for number in range(count)]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(-3, "0s"), (59, "59s"), (60, "1m00s"), (3725, "1h02m"), (90000, "1d01h"), (8e5, "9d06h")],
)
def test_ages_have_two_units_at_most(seconds, text):
    assert age(seconds) == text


def test_the_summary_counts_what_there_is_and_nothing_else():
    rows = [Row("a", "Updated"), Row("b", "Waiting", ready=False), Row("c", "Failed")]
    text = "1 of 3 nodes are updated, 1 changing, 1 failed, 2 ready"
    assert summary(seen(*rows)) == text
    assert summary(seen()) == "the selector matches no node"


def test_one_failed_node_of_a_thousand_is_seen_in_the_bar():
    rows = [*many(998, "Updated"), Row("x", "Failed"), Row("y", "Draining")]
    assert bar(seen(*rows), 20) == "[" + "#" * 18 + ">!]"
    assert bar(seen(*many(10)), 20) == "[" + "." * 20 + "]"
    assert bar(seen(*many(7, "Updated")), 20) == "[" + "#" * 20 + "]"


def test_a_picture_says_who_is_where_since_when_and_why_it_waits():
    row = Row(
        "node-1", "Draining", NOW - 65, "k3OS v1.0.0 -> v1.1.0", "its pods are being moved away"
    )
    lines = picture(seen(row, waiting="the window is closed"), NOW, 20)
    texts = [text for text, _ in lines]
    assert texts[0] == "NodePool workers: Updating, wanted: k3OS v1.1.0"
    assert "waiting: the window is closed" in texts
    assert texts[-1].split("   ")[:3] == ["node-1", "Draining", "1m05s"]
    assert texts[-1].endswith("k3OS v1.0.0 -> v1.1.0   its pods are being moved away")
    assert lines[-1][1] == "busy"


@pytest.mark.parametrize("height", range(7, 40, 3))
def test_a_picture_is_never_higher_than_the_terminal_and_hides_no_failure(height):
    rows = [Row("bad", "Failed"), *many(20, "Pending"), *many(10, "Updated")]
    lines = picture(seen(*rows), NOW, height)
    assert len(lines) < height
    assert any(text.startswith("bad ") for text, _ in lines)
    shown = sum(text.startswith(("bad", "node-")) for text, _ in lines)
    if shown < 31:
        assert lines[-1][0].startswith(f"... and {31 - shown} more: ")
        assert lines[-1][0].endswith(" Updated")


def test_a_picture_says_when_it_may_be_old_and_when_no_operator_looks():
    texts = [text for text, _ in picture(seen(seen=False), NOW, 20, "connection refused")]
    assert "what follows may be old: connection refused" in texts
    assert UNSEEN in texts


def test_news_are_only_what_changed():
    before = seen(Row("a", "Pending"), Row("b", "Draining", NOW))
    after = seen(Row("a", "Pending"), Row("b", "Changing", NOW + 5))
    assert news(before, before, NOW) == []
    assert news(before, after, NOW) == ["2027-01-15T08:00:00Z b: Changing"]


def test_the_first_news_leave_out_nodes_that_nothing_happens_to():
    found = news(None, seen(*many(500), Row("x", "Failed", NOW, "", "JobFailed: disk")), NOW)
    assert len(found) == 2
    assert found[0].endswith("x: Failed: JobFailed: disk")


def test_news_tell_of_nodes_that_left():
    assert news(seen(Row("a", "Pending")), seen(), NOW)[0].endswith("a: no longer in this NodePool")


def test_the_table_of_nodes_says_what_is_wrong_with_one():
    nodes = [
        NodeView("a", {"role": "w"}, True, True, "v1", "v1.33", kernel="6.12", mode="disk"),
        NodeView(
            *("b", {}, False, False),
            healthy=False,
            health="boot: config.yaml:3: hostname",
            health_reason="NotApplied",
            last=RequestResult("r", "RolledBack", "no k3s", "2026-01-01T00:00:00Z"),
            state=State("p", "t", "Waiting", "r", 0, 0),
        ),
    ]
    pools = [{"metadata": {"name": "p"}, "spec": {"nodeSelector": {"matchLabels": {"role": "w"}}}}]
    head, first, second, blank, words = node_table(nodes, pools)
    assert head.split() == "NAME READY MODE K3OS KERNEL K3S HEALTHY POOL STEP LAST".split()
    cells = re.split(" {3,}", first)
    assert cells == ["a", "yes, cordoned", "disk", "v1", "6.12", "v1.33", "unknown", "p", "-", "-"]
    assert "no (NotApplied)" in second
    assert second.endswith("Waiting   RolledBack 2026-01-01T00:00:00Z: no k3s")
    assert (blank, words) == ("", "b: NotApplied: boot: config.yaml:3: hostname")
