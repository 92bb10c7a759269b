"""Runs commands on a node through the API server: starts a Job, runs them in its pod, ends it.

It uses kubectl, with the caller's permissions. The Job is deleted whatever happens; if this program
is killed, the Job's own deadline ends it. The API server's audit log records arguments, so they
must not contain secrets.
"""

from __future__ import annotations

import json
import os
import select
import signal
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from k3os import names
from k3os.cluster import node_pod
from k3os.cluster.kubectl import (
    NODES,
    RIGHTS,
    Forbidden,
    Kubectl,
    NotThere,
    as_user_error,
    parsed,
)
from k3os.cluster.node import NodeView, parse_node
from k3os.cluster.objects import conditions, inside, text
from k3os.cluster.pulled_image import NAME_LABEL, Pulled, pulled_image
from k3os.config.spelling import nearest
from k3os.errors import UserError, visible
from k3os.system.run import CommandError, Stream, attached, run

START_SECONDS = 60.0
LOOK_SECONDS = 0.5
PODS = f"/api/v1/namespaces/{names.NAMESPACE}/pods"
EVENTS = f"/api/v1/namespaces/{names.NAMESPACE}/events"
REVIEW = {
    "apiVersion": "authorization.k8s.io/v1",
    "kind": "SelfSubjectAccessReview",
    "spec": {
        "resourceAttributes": {
            "namespace": names.NAMESPACE,
            "verb": "create",
            "resource": "pods",
            "subresource": "exec",
        }
    },
}
# what kubectl adds if the program failed
ENDED = b"command terminated with exit code "


@dataclass(frozen=True)
class OnNode:
    """A pod on a node that waits for commands."""

    kubectl: Kubectl
    pod: str

    def show(self, program: Sequence[str]) -> int:
        """Print its output line by line while it runs; returns its exit code. Raises UserError."""
        try:
            stream = Stream(self._command(program))
        except CommandError as error:
            raise as_user_error(error) from error
        with closing(stream):
            while not stream.over:
                select.select([stream], [], [])
                for line in stream.read():
                    print(visible(line.decode(errors="replace")), flush=True)
            code, errors = stream.end()
        if code and ENDED not in errors:  # kubectl itself failed
            raise as_user_error(CommandError(stream.argv, code, errors))
        if words := _said(errors):
            print(visible(words), file=sys.stderr)
        return code

    def output(self, program: Sequence[str], seconds: float) -> bytes:
        """Returns its output. Raises UserError with its error message if it fails."""
        try:
            return run(self._command(program), errors_apart=True, timeout=seconds)
        except CommandError as error:
            if error.timed_out:
                raise UserError(
                    f"it did not end within {seconds:.0f} s", "is the node or the network busy?"
                ) from error
            words = _said(error.output)
            if error.returncode != 1 or ENDED in error.output:
                raise UserError(f"it failed: {words or error.how}") from error
            raise as_user_error(error) from error

    def attach(self, program: Sequence[str]) -> int:
        """With our terminal, or our standard input if there is none. Raises UserError."""
        flags = ("--stdin", "--tty") if sys.stdin.isatty() else ("--stdin",)
        try:
            return attached(self._command(program, *flags))
        except CommandError as error:
            raise as_user_error(error) from error

    def _command(self, program: Sequence[str], *flags: str) -> list[str]:
        whole = [*node_pod.PROGRAM, *program]
        return self.kubectl.inside(self.pod, node_pod.CONTAINER, whole, *flags)


def _said(output: bytes) -> str:
    """Without what kubectl adds."""
    lines = [line for line in output.splitlines() if not line.startswith(ENDED)]
    return b"\n".join(lines).decode(errors="replace").strip()


def find(kubectl: Kubectl, name: str) -> NodeView:
    """A node on which commands can be run. Raises UserError."""
    name = name.removeprefix("node/").removeprefix("nodes/")
    try:
        body = kubectl.object(f"{NODES}/{quote(name, safe='')}")
    except NotThere as error:
        raise UserError(f"there is no node {name!r}", _meant(kubectl, name)) from error
    view = view_of(kubectl, body)
    if not view.k3os:
        raise UserError(
            f"{name} has not reported that it runs k3OS",
            "`kubectl k3os nodes` shows which nodes do",
        )
    if not view.image:
        raise UserError(
            f"{name} has no operator image, which commands run in",
            "`sudo k3os status` there says why; `k3os.operator: true` in its configuration "
            "overrides that",
        )
    ready = conditions(body).get("Ready", {})
    why = text(ready.get("message")) or text(ready.get("reason"))
    if ready.get("status") == "Unknown":
        raise UserError(
            f"{name} is not Ready, and its kubelet has gone silent: {why}",
            "no pod can start there: use ssh, its screen or its serial port",
        )
    if not view.ready:
        print(f"{name} is not Ready: {visible(why)}; trying anyway", file=sys.stderr)
    return view


def view_of(kubectl: Kubectl, body: Mapping[str, Any]) -> NodeView:
    """A Node, with the image for its pods if there is one. Raises UserError."""
    view = parse_node(body)
    return view if view.image else parse_node(body, from_registry(kubectl))


def from_registry(kubectl: Kubectl) -> Pulled | None:
    """The operator's image, if any node can pull it. Raises UserError."""
    selector = quote(f"{NAME_LABEL}={names.OPERATOR}", safe="")
    return pulled_image(kubectl.objects(f"{PODS}?labelSelector={selector}").values())


def _meant(kubectl: Kubectl, name: str) -> str:
    try:
        known = sorted(kubectl.objects(NODES))
    except Forbidden:  # listing them needs another permission
        return "`kubectl get nodes` lists them"
    meant = nearest(name, known)
    return f"did you mean {meant}?" if meant else f"there are: {', '.join(known)}"


def check_rights(kubectl: Kubectl) -> None:
    """Raises Forbidden if the user may not start pods on nodes."""
    review = kubectl.run("create", "--filename=-", "--output=json", stdin=_json(REVIEW))
    if inside(parsed(review.encode()), "status", "allowed") is False:
        what = f"create pods/exec in the namespace {names.NAMESPACE}"
        raise Forbidden(f"you may not {what}", RIGHTS)


@contextmanager
def on_node(kubectl: Kubectl, node: NodeView, seconds: int) -> Iterator[OnNode]:
    """A pod on the node, for at most this long. kubectl: without a namespace. Raises UserError."""
    check_rights(kubectl)
    name = f"k3os-command-{os.urandom(5).hex()}"
    there_may_be_one = True
    try:
        try:
            kubectl.run("create", "--filename=-", stdin=_json(node_pod.job(node, name, seconds)))
        except (Forbidden, NotThere) as error:
            there_may_be_one = False
            if isinstance(error, Forbidden):
                raise
            raise UserError(
                f"this cluster has no namespace {names.NAMESPACE}", "is the operator installed?"
            ) from error
        yield OnNode(kubectl, _started(kubectl, node, name))
    finally:
        if there_may_be_one:
            _remove(kubectl, name, seconds)


def _started(kubectl: Kubectl, node: NodeView, name: str) -> str:
    """The pod of that Job, once it runs. Raises UserError."""
    end = time.monotonic() + START_SECONDS
    path = f"{PODS}?labelSelector={quote(f'{node_pod.LABEL}={name}', safe='')}"
    while True:
        pods = kubectl.objects(path)
        for pod, body in pods.items():
            if node_pod.is_running(body):
                return pod
            if why := node_pod.failure(body):
                raise _failed(kubectl, node, pod, why)
        if time.monotonic() >= end:
            break
        time.sleep(LOOK_SECONDS)
    late = f"the pod on {node.name} does not run after {START_SECONDS:.0f} s"
    for pod, body in pods.items():
        waits = node_pod.waiting(body) or "the kubelet has not picked it up"
        told = _event(kubectl, pod)
        raise UserError(
            f"{late}: {waits}{f'; {told}' if told else ''}",
            f"`kubectl describe node {node.name}` says how the node is",
        )
    told = _event(kubectl, name) or "Kubernetes has not created one for the Job"
    raise UserError(f"{late}: {told}", "is the cluster's controller manager running?")


def _failed(kubectl: Kubectl, node: NodeView, pod: str, why: str) -> UserError:
    if node_pod.TOO_OLD in why:
        return UserError(
            f"{node.name} has k3OS {node.k3os}, which is too old for this command",
            "upgrade it, or use ssh",
        )
    told = _event(kubectl, pod)
    return UserError(
        f"the pod on {node.name} cannot run: {why}{f'; {told}' if told else ''}",
        f"`kubectl describe node {node.name}` says how the node is",
    )


def _event(kubectl: Kubectl, name: str) -> str:
    """The newest warning about an object, "" for none."""
    path = f"{EVENTS}?fieldSelector={quote(f'involvedObject.name={name}', safe='')}"
    try:
        return node_pod.last_warning(list(kubectl.objects(path).values()))
    except UserError as error:
        return f"its events cannot be read: {error.message}"


def _remove(kubectl: Kubectl, name: str, seconds: int) -> None:
    with undisturbed():
        try:
            kubectl.run(
                *("delete", "jobs.batch", name, f"--namespace={names.NAMESPACE}"),
                *("--cascade=background", "--wait=false", "--ignore-not-found"),
            )
        except UserError as error:
            print(
                f"kubectl k3os: the Job {name} in {names.NAMESPACE} stays: {error.message}; it "
                f"ends {seconds} s after its start, and is deleted then",
                file=sys.stderr,
            )


@contextmanager
def undisturbed() -> Iterator[None]:
    """Ignore signals: after Ctrl-C, this is the cleanup."""
    ignored = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {each: signal.signal(each, signal.SIG_IGN) for each in ignored}
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


def _json(body: Mapping[str, Any]) -> bytes:
    return json.dumps(body).encode()
