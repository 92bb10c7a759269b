"""API objects as in a cluster: minimal NodePools and Nodes."""

import json

from k3os import names
from k3os.cluster.target import parse_target

WANTED = {"version": "v1.1.0", "url": "https://example.com"}


def pool(name="workers", *, selector=None, generation=1, status=None, **spec):
    spec = {"nodeSelector": selector or {"matchLabels": {"role": "worker"}}, "k3os": WANTED} | spec
    found = {"observedGeneration": 1, "phase": "Updating"} | (status or {})
    return {"metadata": {"name": name, "generation": generation}, "spec": spec, "status": found}


def node(name, k3os="v1.0.0", *, ready=True, healthy="True", state=None, notes=None, **labels):
    annotations = {names.K3OS: k3os, names.K3S: "v1.33.0+k3s1", names.TRIAL: "false"}
    annotations[names.IMAGE] = f"sha256:{'0' * 64}"
    if state:
        request = f"r-{name}-0"
        whole = {"pool": "workers", "target": digest(), "request": request}
        whole |= {"started": 0, "since": 100}
        annotations[names.ROLLOUT] = json.dumps(whole | state)
    conditions = [
        {"type": "Ready", "status": "True" if ready else "False"},
        {"type": names.CONDITION, "status": healthy, "reason": "Damaged", "message": "a file"},
    ]
    return {
        "metadata": {
            "name": name,
            "labels": {"role": "worker"} | labels,
            "annotations": annotations | (notes or {}),
        },
        "status": {"conditions": conditions},
    }


def digest(**spec):
    return parse_target(pool(**spec)["spec"]).digest
