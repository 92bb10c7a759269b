"""The rollout as a whole: its promises hold, no matter what fails and when the operator dies."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from k3os.cluster.drain import Load
from k3os.cluster.node import CHANGING, CHECKING, FAILED, RequestResult, State, parse_state
from k3os.cluster.progress import progress
from k3os.cluster.request import Wanted
from k3os.cluster.spec import Drain, Pool, Strategy
from k3os.cluster.target import Target, is_updated
from k3os.cluster.turns import Cluster
from k3os.cluster.views import JobView, PodView
from k3os.cluster.window import Window
from k3os.operator.decisions import Eviction, NewJob, NodePatch, NoJob, Said
from k3os.operator.rollout import decide, decide_all, finished, orphans
from k3os.operator.status import status
from tests.unit.cluster import objects
from tests.unit.operator.simulator import (
    FATES,
    FINE,
    JOB_FAILS,
    NEVER_COMES,
    NO_SUCH,
    ROLLED_BACK,
    STUCK_PODS,
    World,
    node,
)

NEW = Target(k3os=Wanted("v1.1.0", "https://example.com/v1.1.0"))
CONFIG = Target(config={"k3os": {"sysctls": {"vm.max_map_count": "262144"}}})


def pool(target: Target = NEW, **strategy) -> Pool:
    return Pool("all", "uid", 1, {}, target, Strategy(**strategy))


def world(*names: str, servers: int = 0, fates: dict[str, str] | None = None) -> World:
    nodes = {f"s{number}": node(f"s{number}", server=True) for number in range(servers)}
    nodes |= {name: node(name) for name in names}
    chosen = {name: (fates or {}).get(name, FINE) for name in nodes}
    return World(nodes, chosen)


def roll(found: World, wanted: Pool, rounds: int = 400) -> None:
    """Run until nothing happens any more."""
    for _ in range(rounds):
        found.reconcile(wanted)
        if (
            not found.busy()
            and not decide(wanted, found.cluster(), found.loads(), found.jobs, found.now).decisions
        ):
            return
        found.live()
    raise AssertionError(f"no end: {found.busy()}")


def roll_to(found: World, step: str, rounds: int = 20) -> None:
    """Run until the first node is in this step."""
    for _ in range(rounds):
        found.reconcile(pool())
        if any(each.state and each.state.step == step for each in found.nodes.values()):
            return
        found.live()
    raise AssertionError(f"never {step}")


NOT_PULLED = "ErrImagePull: registry.example.com/k3os:1: not found"


@pytest.mark.parametrize("step", [CHECKING, CHANGING])
def test_a_job_whose_pod_cannot_run_says_why_long_before_the_deadline(step: str) -> None:
    found = world("a")
    roll_to(found, step)
    found.reconcile(pool())
    (request,) = found.jobs
    found.jobs[request] = replace(found.jobs[request], waits=NOT_PULLED)
    found.reconcile(pool())
    assert found.events[-1] == Said("JobBlocked", NOT_PULLED, "a", warning=True)
    said = len(found.events)
    found.jobs[request] = replace(found.jobs[request], waits="ImagePullBackOff: Back-off")
    done = len(found.done)
    found.reconcile(pool())
    assert (len(found.events), len(found.done)) == (said, done), "no write for each attempt"
    shown = status(pool(), found.cluster(), "", found.now, {})
    told = {each["type"]: each for each in shown["conditions"]}["Progressing"]
    assert (told["status"], told["reason"]) == ("False", "JobBlocked")
    assert told["message"] == f"a: {NOT_PULLED}"
    seen = objects.node("a", state={"step": step, "message": NOT_PULLED})
    (row,) = progress("workers", [objects.pool()], [seen]).rows
    assert row.message == NOT_PULLED
    late = replace(found, now=found.now + 10_000)
    late.reconcile(pool())
    state = late.nodes["a"].state
    assert state is not None
    assert (state.reason, state.message.partition(": ")[2]) == (
        "ProgressDeadlineExceeded",
        NOT_PULLED,
    )


def test_what_kept_a_job_from_running_is_forgotten_when_it_runs() -> None:
    found = world("a")
    roll_to(found, CHECKING)
    found.reconcile(pool())
    (request,) = found.jobs
    for waits, reason in ((NOT_PULLED, "JobBlocked"), ("", ""), (NOT_PULLED, "JobBlocked")):
        found.jobs[request] = replace(found.jobs[request], waits=waits)
        found.reconcile(pool())
        state = found.nodes["a"].state
        assert state is not None and (state.reason, state.message) == (reason, waits)
    roll(found, pool())
    assert found.nodes["a"].state is None


def test_all_nodes_come_to_the_target_and_take_pods_again() -> None:
    found = world("a", "b", "c", servers=3)
    roll(found, pool())
    assert all(is_updated(each, NEW) for each in found.nodes.values())
    assert not any(each.unschedulable or each.state for each in found.nodes.values())


def test_servers_come_first_and_one_by_one() -> None:
    found = world("a", "b", servers=3)
    roll(found, pool(max_unavailable=5))
    order = [each.node for each in found.done if isinstance(each, NewJob) and not each.dry_run]
    assert sorted(order[:3]) == ["s0", "s1", "s2"]
    assert sorted(order[3:]) == ["a", "b"]


def test_configuration_that_needs_no_boot_drains_and_cordons_nothing() -> None:
    found = world("a", "b")
    found.pods["a"] = [PodView("default", "web", "ReplicaSet")]
    roll(found, pool(CONFIG))
    assert all(each.config_hash == CONFIG.config_hash for each in found.nodes.values())
    assert not any(isinstance(each, Eviction) for each in found.done)
    assert not any(isinstance(each, NodePatch) and each.unschedulable for each in found.done)
    assert not any(each.reboot for each in found.done if isinstance(each, NewJob))


def test_a_node_that_finds_it_needs_a_boot_is_drained_first() -> None:
    found = world("a", "b", fates={"a": "asks for a boot"})
    found.pods["a"] = [PodView("default", "web", "ReplicaSet")]
    roll(found, pool(CONFIG))
    kinds = [type(each).__name__ for each in found.done if not isinstance(each, Said)]
    assert kinds.index("Eviction") > kinds.index("NewJob")
    jobs = [each for each in found.done if isinstance(each, NewJob) and each.node == "a"]
    assert [each.reboot for each in jobs] == [False, True]
    assert is_updated(found.nodes["a"], CONFIG)
    assert not found.nodes["a"].unschedulable


def test_a_failed_node_is_tried_again_when_its_annotation_is_removed() -> None:
    """As documented: the same target, a new request."""
    found = world("a", "b", fates={"a": JOB_FAILS})
    roll(found, pool())
    node = found.nodes["a"]
    assert node.state and node.state.step == FAILED
    found.nodes["a"], found.fates["a"] = replace(node, state=None), "fine"
    roll(found, pool())
    assert all(is_updated(each, pool().target) for each in found.nodes.values())
    jobs = [each for each in found.done if isinstance(each, NewJob) and not each.dry_run]
    assert len({each.request for each in jobs if each.node == "a"}) == 2


@pytest.mark.parametrize(
    ("fate", "reason"),
    [
        (ROLLED_BACK, "RolledBack"),
        (JOB_FAILS, "JobFailed"),
        (NEVER_COMES, "ProgressDeadlineExceeded"),
        (STUCK_PODS, "DrainTimeout"),
        (NO_SUCH, "CheckFailed"),
    ],
)
def test_a_failure_stops_the_pool_and_says_why(fate: str, reason: str) -> None:
    found = world("a", "b", "c", fates={"a": fate})
    found.pods["a"] = [PodView("default", "web", "ReplicaSet")]
    roll(found, pool())
    state = found.nodes["a"].state
    assert state and (state.step, state.reason) == (FAILED, reason)
    assert {each.node for each in found.done if isinstance(each, NewJob)} == {"a"}
    assert any(isinstance(each, Said) and each.reason == reason for each in found.events)
    # uncordoned if it still runs; left alone if it did not come back
    assert found.nodes["a"].unschedulable == (fate == NEVER_COMES)
    outcome = decide(pool(), found.cluster(), {}, {}, found.now)
    assert reason in outcome.waiting


def test_a_mended_spec_goes_on_where_the_broken_one_stopped() -> None:
    found = world("a", "b", fates={"a": ROLLED_BACK})
    roll(found, pool())
    found.fates["a"] = FINE
    repaired = Target(k3os=Wanted("v1.1.1"))
    roll(found, pool(repaired))
    assert all(is_updated(each, repaired) for each in found.nodes.values())
    assert not any(each.unschedulable or each.state for each in found.nodes.values())


def test_daemonsets_mirrors_and_finished_pods_do_not_hold_a_drain() -> None:
    found = world("a", fates={"a": STUCK_PODS})
    found.pods["a"] = [
        PodView("kube-system", "proxy", "DaemonSet"),
        PodView("kube-system", "static", "Node", mirror=True),
        PodView("default", "over", "Job", finished=True),
        PodView("k3os-system", "change", "Job", ours=True),
    ]
    roll_to(found, "Draining")
    found.reconcile(pool())
    assert found.nodes["a"].state and found.nodes["a"].state.step == "Changing"


@pytest.mark.parametrize(
    ("pod", "drain", "words"),
    [
        (PodView("default", "bare"), Drain(), "has no controller"),
        (
            PodView("default", "cache", "ReplicaSet", empty_dir=True),
            Drain(delete_empty_dir_data=False),
            "would lose its emptyDir",
        ),
    ],
)
def test_pods_that_would_be_lost_stop_a_drain_before_anything_is_evicted(
    pod: PodView, drain: Drain, words: str
) -> None:
    found = world("a")
    found.pods["a"] = [pod, PodView("default", "web", "ReplicaSet")]
    roll(found, pool(drain=drain))
    assert not any(isinstance(each, Eviction) for each in found.done)
    assert words in found.nodes["a"].state.message  # type: ignore[union-attr]
    assert not found.nodes["a"].unschedulable


def test_a_cordon_of_somebody_else_stays() -> None:
    found = world("a")
    found.nodes["a"] = replace(found.nodes["a"], unschedulable=True)
    roll(found, pool())
    assert is_updated(found.nodes["a"], NEW)
    assert found.nodes["a"].unschedulable


def test_a_pool_that_goes_leaves_its_nodes_as_they_are_and_uncordoned() -> None:
    found = world("a", "b")
    roll_to(found, "Changing")
    found.reconcile(pool())
    assert found.nodes["a"].unschedulable
    begun = set(found.jobs)
    for decision in orphans(found.cluster(), ["another"]):
        found.apply(pool(), decision)
    assert not any(each.unschedulable or each.state for each in found.nodes.values())
    assert len(begun - set(found.jobs)) == 1, "the Job that had not done anything yet"


def test_a_node_that_is_rebooting_when_its_pool_goes_is_uncordoned_once_it_is_back() -> None:
    found = world("a")
    roll_to(found, "Waiting")
    assert not found.nodes["a"].ready
    assert not orphans(found.cluster(), [])
    while not found.nodes["a"].ready:
        found.live()
    for decision in orphans(found.cluster(), []):
        found.apply(pool(), decision)
    assert not found.nodes["a"].unschedulable
    assert found.nodes["a"].state is None


def test_nothing_is_drained_for_a_version_that_does_not_exist() -> None:
    found = world("a", "b", fates={"a": NO_SUCH})
    found.pods["a"] = [PodView("default", "web", "ReplicaSet")]
    roll(found, pool())
    assert not any(isinstance(each, Eviction) for each in found.done)
    assert not any(isinstance(each, NodePatch) and each.unschedulable for each in found.done)
    assert found.nodes["a"].state.message == "404 Not Found"  # type: ignore[union-attr]


def test_a_node_whose_pods_are_not_known_yet_is_not_taken_for_drained() -> None:
    found = world("a")
    roll_to(found, "Draining")
    outcome = decide(pool(), found.cluster(), {}, found.jobs, found.now)
    assert outcome.decisions == ()
    assert decide(pool(), found.cluster(), {"a": Load([])}, found.jobs, found.now).decisions


def test_a_node_that_says_it_reboots_is_waited_for_also_when_the_reboot_killed_its_job() -> None:
    found = world("a")
    roll_to(found, "Changing")
    request = found.nodes["a"].state.request  # type: ignore[union-attr]
    rebooting = RequestResult(request, "Rebooting", "")
    found.nodes["a"] = replace(found.nodes["a"], last=rebooting, config_hash=NEW.config_hash)
    found.jobs[request] = JobView(request, done=False, message="killed")
    found.reconcile(pool())
    assert found.nodes["a"].state.step == "Waiting"  # type: ignore[union-attr]
    found.nodes["a"] = replace(found.nodes["a"], k3os="v1.1.0")
    found.reconcile(pool())
    assert found.nodes["a"].unschedulable, "on trial until the node says that it succeeded"


def test_a_node_that_may_restart_any_time_is_not_let_go_because_the_spec_changed() -> None:
    """Its Job has ended, but the news that it reboots has not arrived yet."""
    found = world("a", "b")
    roll_to(found, "Changing")
    state = found.nodes["a"].state
    assert state is not None
    found.jobs[state.request] = JobView(state.request, done=True, state="Rebooting", told=True)
    found.reconcile(pool())
    other = pool(Target(k3os=Wanted("v1.2.0", "https://example.com/v1.2.0")))
    for _ in range(3):
        found.reconcile(other)
        assert found.nodes["a"].unschedulable
        assert not found.nodes["b"].state, "one at a time"
    found.nodes["a"] = replace(found.nodes["a"], boot_id="1", k3os="v1.1.0")
    found.reconcile(other)
    assert not found.nodes["a"].unschedulable


def test_what_is_given_up_does_nothing_later() -> None:
    found = world("a")
    roll_to(found, "Changing")
    found.reconcile(pool())
    (request,) = (each for each in found.jobs if not each.endswith("-check"))
    found.now += 3600
    found.reconcile(pool())
    assert found.nodes["a"].state.step == FAILED  # type: ignore[union-attr]
    assert request not in found.jobs


@pytest.mark.parametrize("step", ["Checking", "Draining"])
def test_a_member_is_let_go_when_etcd_cannot_spare_it_any_more(step: str) -> None:
    """Another member went down while this one was checked or drained."""
    found = world(servers=3)
    found.pods["s0"] = [PodView("default", "web", "ReplicaSet")]
    found.fates["s0"] = STUCK_PODS
    roll_to(found, step)
    found.nodes["s2"] = replace(found.nodes["s2"], ready=False)
    found.reconcile(pool())
    assert found.nodes["s0"].state is None
    assert not found.nodes["s0"].unschedulable
    assert any(isinstance(each, Said) and "etcd has 2 of 3" in each.message for each in found.done)
    for _ in range(3):
        assert not found.reconcile(pool()).decisions
    found.nodes["s2"] = replace(found.nodes["s2"], ready=True)
    found.reconcile(pool())
    assert found.nodes["s0"].state is not None


def test_a_node_is_let_go_before_it_is_drained_when_others_went_by_themselves() -> None:
    found = world("a", "b", "c")
    roll_to(found, "Checking")
    found.nodes["c"] = replace(found.nodes["c"], ready=False)
    found.reconcile(pool())
    assert found.nodes["a"].state is None
    found.reconcile(pool())
    assert not found.busy()
    found.nodes["c"] = replace(found.nodes["c"], ready=True)
    roll(found, pool())
    assert all(is_updated(each, NEW) for each in found.nodes.values())


def test_a_node_is_begun_with_when_its_version_is_not_on_trial_any_more() -> None:
    """Its answer would be that another version is on trial: a failure, which stops the rollout."""
    found = world("a")
    found.nodes["a"] = replace(found.nodes["a"], trial=True)
    outcome = found.reconcile(pool())
    assert not found.busy()
    assert "a: its version is still on trial" in outcome.waiting
    found.nodes["a"] = replace(found.nodes["a"], trial=False)
    found.reconcile(pool())
    assert found.busy()


def test_a_job_goes_when_its_result_is_written_down_and_not_before() -> None:
    found = world("a")
    roll_to(found, "Checking")
    found.reconcile(pool())
    (check,) = found.jobs
    found.live()
    assert found.jobs[check].done
    assert finished(found.cluster(), found.jobs) == [], "nobody has read it yet"
    found.reconcile(pool())
    assert finished(found.cluster(), found.jobs) == [NoJob(check)]
    leaving = {check: replace(found.jobs[check], leaving=True)}
    assert finished(found.cluster(), leaving) == [], "it is on its way"
    running = {"other": JobView("other")}
    assert finished(found.cluster(), running) == [], "it may still do something"
    roll(found, pool())
    assert found.jobs == {}


def test_nothing_begins_while_paused_or_outside_of_the_window() -> None:
    found = world("a")
    assert decide(pool(paused=True), found.cluster(), {}, {}, found.now).waiting == "it is paused"
    # 1,800,000,000 is Friday 2027-01-15 08:00 UTC
    window = Window(start=120, duration=3600, days=("Sat",))
    outcome = decide(pool(window=window), found.cluster(), {}, {}, found.now)
    assert outcome.decisions == ()
    assert outcome.wake == 18 * 3600
    assert decide(pool(window=window), found.cluster(), {}, {}, found.now + 18 * 3600).decisions


def test_nobody_touches_a_node_that_two_pools_match() -> None:
    found = world("a", "b")
    cluster = Cluster(found.cluster().nodes, frozenset({"a"}))
    outcome = decide(pool(max_unavailable=2), cluster, {}, {}, found.now)
    assert {each.node for each in outcome.decisions} == {"b"}  # type: ignore[union-attr]


def test_two_pools_do_not_begin_with_two_servers_at_once() -> None:
    found = world(servers=3)
    names = ({"kubernetes.io/hostname": "s0"}, {"kubernetes.io/hostname": "s1"})
    pools = [
        replace(pool(), name=str(number), selector={"matchLabels": labels})
        for number, labels in enumerate(names)
    ]
    one, other = decide_all(pools, found.cluster(), {}, {}, found.now)
    assert any(isinstance(each, NodePatch) for each in one.decisions)
    assert other.decisions == ()
    assert other.waiting == "servers are changed one at a time"


def test_a_pool_whose_configuration_has_errors_begins_nothing() -> None:
    broken = replace(
        pool(), problems=("spec.config:2:1: hostname: `a_b` is not a valid host name",)
    )
    outcome = decide(broken, world("a").cluster(), {}, {}, 0.0)
    assert outcome.decisions == ()
    assert "a_b" in outcome.waiting


def test_an_annotation_that_somebody_broke_is_none() -> None:
    assert parse_state("{") is None
    assert parse_state('{"step": "Dancing"}') is None
    state = State("p", "t", FAILED, "r", 1, 2, reason="x")
    assert parse_state(state.as_json()) == state


@st.composite
def worlds(draw) -> World:
    servers = draw(st.sampled_from([0, 1, 3, 5]))
    workers = [f"w{number}" for number in range(draw(st.integers(0, 6)))]
    found = world(*workers, servers=servers)
    for name in found.nodes:
        found.fates[name] = draw(st.sampled_from([FINE] * 6 + list(FATES)))
        found.pods[name] = [
            PodView("default", f"{name}-{number}", "ReplicaSet") for number in range(2)
        ]
    return found


@settings(max_examples=150, deadline=None)
@given(worlds(), st.sampled_from([1, 2, "50%", "100%"]), st.sampled_from([NEW, CONFIG]), st.data())
def test_its_promises_hold_whenever_it_is_killed(found, limit, target, data) -> None:
    wanted = pool(target, max_unavailable=limit)
    most = wanted.strategy.limit(len(found.nodes))
    servers = [name for name, each in found.nodes.items() if each.etcd]
    quiet = 0
    for _ in range(600):
        die_after = data.draw(st.sampled_from([None, None, None, 0, 1, 2]))
        outcome = found.reconcile(wanted, die_after=die_after)
        busy = found.busy()
        assert len(found.absent()) <= most
        assert sum(each.control_plane for each in busy) <= 1
        if len(servers) >= 3:
            there = [name for name in servers if found.nodes[name].ready]
            gone = {each.name for each in busy} & set(servers)
            assert len(set(there) - gone) >= len(servers) // 2 + 1
        left = [each for each in found.jobs.values() if each.done is not None]
        quiet = quiet + 1 if not (busy or left or outcome.decisions) else 0
        if quiet > 3:
            break
        found.live()
    else:
        raise AssertionError("no end")
    failed = [each for each in found.nodes.values() if each.state and each.state.step == FAILED]
    if not failed:
        assert all(is_updated(each, target) for each in found.nodes.values())
    for each in found.nodes.values():
        assert not each.unschedulable or not each.ready
        jobs = [order for order, _ in found.owners.values() if order.node == each.name]
        assert sum(not order.dry_run for order in jobs) <= 2
