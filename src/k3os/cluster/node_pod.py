"""A pod that is root on one node, and the Job with which `kubectl k3os` runs commands there.

Pure: objects in and out; no secrets go into them. Formats: batch/v1 Job, core/v1 Pod
(kubernetes.io, "API reference"). A Job, not a bare pod: if nobody is left to delete it, it ends at
its deadline and is deleted soon after ("Automatic Cleanup for Finished Jobs" there).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from k3os import names
from k3os.cluster.node import NodeView
from k3os.cluster.objects import inside, maps, text
from k3os.cluster.pulled_image import NEVER

# of pods on the nodes: root on their node, no permissions in the cluster
NODE_ACCOUNT = "k3os-node"
CONTAINER = "host"
PROGRAM = ("/usr/bin/python3", "-m", "k3os.operator.host")
LABEL = f"{names.GROUP}/command"
# how long a finished Job is kept, in seconds; the plugin deletes its own at once
KEEP_SECONDS = 60
GRACE_SECONDS = 1
# reasons why a container will never start (the kubelet's pkg/kubelet/images, kuberuntime)
HOPELESS = (
    *("ErrImageNeverPull", "InvalidImageName", "ImageInspectError", "ErrImagePull"),
    *("ImagePullBackOff", "CreateContainerConfigError", "CreateContainerError"),
    *("RunContainerError", "CrashLoopBackOff"),
)
TOO_OLD = "No module named"


def spec(
    node: NodeView, container: Mapping[str, Any], volumes: Sequence[Mapping[str, Any]] = ()
) -> dict[str, Any]:
    """Of a pod that is root on that node.

    It is bound to the node without the scheduler, so a cordon or a taint does not stop it. Its
    image is the one that the node reports, by digest: no registry is asked, and nobody can have
    replaced it. A node that has none pulls the operator's.
    """
    pulled = node.pulled
    whole = {
        **container,
        "image": node.image,
        "imagePullPolicy": pulled.policy if pulled else NEVER,
        # entering the host's namespaces takes no less
        "securityContext": {"privileged": True, "runAsUser": 0, "runAsNonRoot": False},
        "terminationMessagePolicy": "FallbackToLogsOnError",
    }
    found: dict[str, Any] = {
        "nodeName": node.name,
        "restartPolicy": "Never",
        "hostPID": True,
        "hostNetwork": True,
        "serviceAccountName": NODE_ACCOUNT,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "priorityClassName": "system-node-critical",
        "tolerations": [{"operator": "Exists"}],
        "containers": [whole],
    }
    if pulled and pulled.secrets:
        found["imagePullSecrets"] = [{"name": each} for each in pulled.secrets]
    if volumes:
        found["volumes"] = [dict(each) for each in volumes]
    return found


def job(node: NodeView, name: str, seconds: int) -> dict[str, Any]:
    """A Job that just waits, at most this long; commands run in its pod (`kubectl exec`)."""
    labels = {LABEL: name}
    container = {"name": CONTAINER, "command": [*PROGRAM, "--wait", str(seconds)]}
    pod = {**spec(node, container), "terminationGracePeriodSeconds": GRACE_SECONDS}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name, "namespace": names.NAMESPACE, "labels": labels},
        "spec": {
            "backoffLimit": 0,
            "activeDeadlineSeconds": seconds,
            "ttlSecondsAfterFinished": KEEP_SECONDS,
            "template": {"metadata": {"labels": labels}, "spec": pod},
        },
    }


def is_running(pod: Mapping[str, Any]) -> bool:
    """Whether a command can be started in it."""
    return any(
        inside(status, "state", "running") is not None
        for status in maps(inside(pod, "status", "containerStatuses"))
    )


def failure(pod: Mapping[str, Any]) -> str:
    """Why it will never run, "" while it may."""
    for status in maps(inside(pod, "status", "containerStatuses")):
        ended, waits = inside(status, "state", "terminated"), inside(status, "state", "waiting")
        if ended is not None:
            said = text(inside(ended, "message")) or text(inside(ended, "reason"))
            return said.strip().rpartition("\n")[2] or "it ended"
        if text(inside(waits, "reason")) in HOPELESS:
            return waiting(pod)
    if text(inside(pod, "status", "phase")) in ("Failed", "Succeeded"):
        return _reason(inside(pod, "status")) or "it ended"
    return ""


def waiting(pod: Mapping[str, Any]) -> str:
    """What it waits for, in the kubelet's words, "" if it does not say."""
    for status in maps(inside(pod, "status", "containerStatuses")):
        if found := _reason(inside(status, "state", "waiting")):
            return found
    return _reason(inside(pod, "status"))


def _reason(what: object) -> str:
    words = (text(inside(what, "reason")), text(inside(what, "message")))
    return ": ".join(filter(None, words))


def last_warning(events: Sequence[Mapping[str, Any]]) -> str:
    """The newest of the Events that are warnings, "" for none."""
    warnings = [each for each in events if each.get("type") == "Warning"]
    newest = max(warnings, key=_when, default={})
    return _reason(newest)


def _when(event: Mapping[str, Any]) -> str:
    stamps = (event.get("lastTimestamp"), event.get("eventTime"))
    return next((text(each) for each in stamps if text(each)), "")
