"""A node's Job: what it contains, how it runs, and how its result is read."""

import json
import os
from dataclasses import replace

from k3os import names
from k3os.cluster.node import parse_node
from k3os.cluster.pulled_image import Pulled
from k3os.cluster.request import Wanted, parse
from k3os.cluster.spec import Pool, Strategy
from k3os.cluster.target import Target
from k3os.operator import host, payload
from k3os.operator.decisions import NewJob
from k3os.operator.job import answer, job, name_of, parse_job, request_of, secret
from tests.unit.operator.simulator import IMAGE, node

TARGET = Target(k3os=Wanted("v1.1.0", "https://example.com"), config={"hostname": "a"})
POOL = Pool("pool", "uid", 1, {}, TARGET, Strategy(progress_deadline=77))
NODE = node("a")
ORDER = NewJob("a", "digest-" + "a" * 250, reboot=True)


def pod(text: str, code: int = 0) -> dict:
    ended = {"exitCode": code, "message": text}
    return {"status": {"containerStatuses": [{"state": {"terminated": ended}}]}}


def ended(kind: str) -> dict:
    body = job(ORDER, POOL, node("a"))
    return {**body, "status": {"conditions": [{"type": kind, "status": "True", "message": "m"}]}}


def test_the_request_is_one_that_a_node_obeys() -> None:
    found = parse(
        json.dumps(request_of(replace(ORDER, request="r"), POOL, NODE, TARGET.config)).encode()
    )
    assert (found.k3os, found.config, found.reboot) == (TARGET.k3os, TARGET.config, True)


def test_what_the_request_says_is_in_the_secret_only() -> None:
    assert "hostname" in secret(ORDER, POOL, NODE, TARGET.config)["stringData"]["request.json"]
    assert "hostname" not in json.dumps(job(ORDER, POOL, node("a")))


def test_the_names_are_short_enough_and_the_same_for_the_same_request() -> None:
    assert len(name_of(ORDER.request)) < 64
    assert name_of(ORDER.request) == name_of(ORDER.request) != name_of("other")


def test_the_pod_goes_to_its_node_past_cordons_with_the_image_that_is_there() -> None:
    spec = job(ORDER, POOL, node("a", k3os="v1.0.0+7"))["spec"]
    inner = spec["template"]["spec"]
    assert (inner["nodeName"], inner["tolerations"]) == ("a", [{"operator": "Exists"}])
    assert inner["containers"][0]["image"] == IMAGE
    assert inner["containers"][0]["imagePullPolicy"] == "Never"
    assert (spec["backoffLimit"], spec["activeDeadlineSeconds"]) == (0, 77)
    assert inner["automountServiceAccountToken"] is False
    assert inner["volumes"][0]["secret"]["defaultMode"] == 0o400


def test_a_node_without_an_image_pulls_the_operators_and_one_with_its_own_does_not() -> None:
    other = Pulled("r.example/op:1", "IfNotPresent", ("registry",))
    own = {names.IMAGE: IMAGE}
    for notes, image, policy, secrets in (
        ({}, "r.example/op:1", "IfNotPresent", [{"name": "registry"}]),
        (own, IMAGE, "Never", None),
    ):
        body = {"metadata": {"name": "a", "annotations": notes}}
        inner = job(ORDER, POOL, parse_node(body, other))["spec"]["template"]["spec"]
        (container,) = inner["containers"]
        assert (container["image"], container["imagePullPolicy"]) == (image, policy)
        assert inner.get("imagePullSecrets") == secrets
    assert parse_node({"metadata": {"name": "a"}}).image == ""


def test_a_job_of_somebody_else_is_none_of_ours() -> None:
    assert parse_job({"metadata": {"name": "backup"}}, None) is None


def test_the_answer_is_the_last_line_and_a_job_without_one_says_what_kubernetes_says() -> None:
    text = 'upgrading\n{"state": "Failed", "message": "no space"}\n'
    view = parse_job(ended("Failed"), pod(text, 1))
    assert view is not None
    assert (view.done, view.state, view.message, view.told) == (False, "Failed", "no space", True)
    silent = parse_job(ended("Failed"), None)
    assert silent is not None
    assert (silent.done, silent.message, silent.told) == (False, "m", False)
    running = parse_job(job(ORDER, POOL, node("a")), None)
    assert running is not None
    assert running.done is None


def test_words_that_are_no_json_are_kept() -> None:
    assert answer(pod("Traceback\nOSError: full")) == {"message": "OSError: full"}
    assert answer({"status": {}}) == {}


def test_a_long_result_is_cut_where_it_stays_json() -> None:
    long = json.dumps({"id": "x", "state": "Failed", "message": "y" * 9000}).encode()
    found = payload.last_line(b"noise\n" + long + b"\n")
    assert len(found) <= payload.LONGEST
    assert json.loads(found)["state"] == "Failed"


def test_the_request_is_written_for_root_alone(tmp_path, monkeypatch) -> None:
    entered: list[int] = []
    monkeypatch.setattr(payload.os, "setns", entered.append, raising=False)
    monkeypatch.setattr(payload.os, "chdir", lambda _: None)
    monkeypatch.setenv("PATH", os.environ["PATH"])
    payload.enter("/run/k3os/request-1.json", b"{}", str(tmp_path), "/proc/self")
    written = tmp_path / "run/k3os/request-1.json"
    assert written.read_bytes() == b"{}"
    assert written.stat().st_mode & 0o777 == 0o600
    assert len(entered) == len(host.NAMESPACES)
    for door in entered:
        os.close(door)


def test_a_job_that_runs_says_what_its_pod_waits_for_if_it_waits_for_ever() -> None:
    body = job(ORDER, POOL, NODE)
    for reason, message, waits in (
        ("ContainerCreating", "", ""),
        ("ImagePullBackOff", "Back-off pulling image", "ImagePullBackOff: Back-off pulling image"),
    ):
        state = {"waiting": {"reason": reason, "message": message}}
        view = parse_job(body, {"status": {"containerStatuses": [{"state": state}]}})
        assert view is not None and (view.done, view.waits) == (None, waits)
    view = parse_job(body, None)
    assert view is not None and view.waits == ""
