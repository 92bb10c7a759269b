"""The config.yaml of the lab's nodes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from k3os.generation.signature import NODE_KEYS
from tests.real.lab import Lab
from tests.real.plan import Plan

TOKEN = "lab-token"
PASSWORD = "lab"
# packaged components whose images k3s would have to fetch
PACKAGED = ("servicelb", "traefik", "local-storage", "metrics-server")


# Kubernetes 1.20 to 1.25 updates a histogram per priority level for each millisecond that has
# passed: an emulated processor spends 40 % of its time on that, and requests wait for its lock
EMULATED = "--kube-apiserver-arg=enable-priority-and-fairness=false"


def server(lab: Lab, name: str, key: Path, *, dns: bool, **more: Any) -> str:
    """dns: whether there is a CoreDNS image."""
    off = PACKAGED if dns else ("coredns", *PACKAGED)
    arguments = ["server", *(f"--disable={each}" for each in off), *more.pop("args", ())]
    if lab.is_emulated:
        arguments.append(EMULATED)
    return _text(lab.plan, name, key, {"k3s_args": arguments, "token": TOKEN, **more})


def agent(plan: Plan, name: str, key: Path, server_name: str) -> str:
    return _text(plan, name, key, {"server_url": url(plan, server_name), "token": TOKEN})


def url(plan: Plan, name: str) -> str:
    return f"https://{plan.host(name).address}:6443"


def _text(plan: Plan, name: str, key: Path, settings: dict[str, Any]) -> str:
    public = key.with_suffix(".pub").read_text()
    return yaml.safe_dump(
        {
            "hostname": name,
            "ssh_authorized_keys": [public.strip()],
            "write_files": [{"path": NODE_KEYS, "content": public}],
            "k3os": {
                "password": PASSWORD,
                "environment": {"K3S_RELEASES": f"{plan.web}/k3s"},
                # the lab's web server has no certificate and publishes versions during the run
                "k3s_insecure_http": True,
                **settings,
            },
        }
    )
