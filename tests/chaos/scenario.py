"""What a run is about, drawn from its seed: a cluster, a NodePool or two, and who disturbs them.

`Wanted` is what a node is to have by a NodePool's spec, made by a rule of its own that knows the
few forms of configuration drawn here: it is what the operator's work is compared with.
"""

import random
from dataclasses import dataclass, field
from typing import Any

from k3os.cluster.spec import read_pool

URL = "https://releases.example.com"
K3OS = tuple(f"v1.{number}.0" for number in range(9))
K3S = tuple(f"v1.33.{number}+k3s1" for number in range(9))
GONE = "v1.66.0"  # a version that no release has
SECRETS = ("pw", "key")  # names of values, keys of the Secret
SECRET = "site"
ZONES = ("a", "b")
SERVERS = (0, 1, 1, 3, 3, 3, 2, 5)
BOOT_KEY = "kernel_args"


@dataclass(frozen=True)
class Node:
    """etcd: whether a server is a member."""

    name: str
    server: bool
    etcd: bool
    arch: str
    labels: dict[str, str]


@dataclass(frozen=True)
class Wanted:
    """What one node is to have; None: whatever it has."""

    k3os: str | None
    k3s: str | None
    config: dict[str, Any]


def wanted(
    spec: dict[str, Any], name: str, labels: dict[str, str], secrets: dict[str, str]
) -> Wanted:
    own = dict(spec.get("config") or {})
    k3os = dict(own.get("k3os") or {})
    sysctls = dict(k3os.get("sysctls") or {})
    for each in spec.get("overrides") or []:
        if each["nodeSelector"]["matchLabels"].items() <= labels.items():
            sysctls |= each["config"]["k3os"]["sysctls"]
    if sysctls:
        k3os["sysctls"] = sysctls
    found: dict[str, Any] = {"k3os": k3os} if k3os else {}
    if files := own.get("write_files"):
        text = files[0]["content"].replace("$(node.name)", name)
        for secret in SECRETS:
            text = text.replace(f"$(secret.{secret})", secrets.get(secret, ""))
        found["write_files"] = [{**files[0], "content": text}]
    versions = [(spec.get(part) or {}).get("version") for part in ("k3os", "k3s")]
    return Wanted(versions[0], versions[1], found)


@dataclass
class Scenario:
    """One run. nodes: at its beginning. pools: name to spec. bad: versions with which a node does
    not come up; sick: those with which its workloads do not become Ready. seconds: of the faults.
    What happens to nodes and pools meanwhile is drawn while it runs."""

    seed: int
    chance: random.Random = field(init=False)
    nodes: list[Node] = field(init=False)
    pools: dict[str, dict[str, Any]] = field(init=False)

    def __post_init__(self) -> None:
        self.chance = chance = random.Random(self.seed)
        self.nodes = self._draw_nodes()
        self.seconds = chance.choice((1800.0, 3600.0, 7200.0))
        self.share = chance.choice((0.0, 0.01, 0.03, 0.1))
        self.deaths = chance.choice((0.0, 0.005, 0.02, 0.06))
        self.watches = chance.choice((0.0, 0.2, 0.6))
        self.operators = chance.choice((1, 1, 2))
        self.between = chance.choice((60.0, 200.0, 600.0))  # seconds between two disturbances
        self.bad = set(chance.sample(K3OS[2:6], chance.choice((0, 0, 1))))
        self.sick = set(chance.sample(K3OS[2:6], chance.choice((0, 0, 1))))
        self.secrets = {name: f"{name}-0" for name in SECRETS}
        servers = [each for each in self.nodes if each.server]
        split = bool(servers) and len(servers) < len(self.nodes) and chance.random() < 0.4
        selectors = {"servers": {"role": "server"}, "agents": {"role": "agent"}}
        if not split:
            selectors = {"all": {"fleet": "yes"}}
        self.pools = {name: self.draw_spec(chosen) for name, chosen in selectors.items()}

    def _draw_nodes(self) -> list[Node]:
        chance = self.chance
        servers = chance.choice(SERVERS)
        most = chance.randint(max(1, servers), 8)
        members = chance.random() < 0.85
        mixed = chance.random() < 0.25
        found = []
        for number in range(most):
            server = number < servers
            name = f"{'s' if server else 'w'}{number}"
            labels = {
                "fleet": "yes",
                "role": "server" if server else "agent",
                "zone": chance.choice(ZONES),
            }
            etcd = server and servers != 2 and members
            found.append(Node(name, server, etcd, "arm64" if mixed and number % 2 else "", labels))
        return found

    # specs

    def draw_spec(self, selector: dict[str, str]) -> dict[str, Any]:
        chance = self.chance
        spec: dict[str, Any] = {"nodeSelector": {"matchLabels": selector}}
        spec |= self.draw_target()
        strategy: dict[str, Any] = {
            "maxUnavailable": chance.choice((1, 1, 2, 3, "25%", "50%")),
            "progressDeadline": chance.choice(("20m", "20m", "10m", "40m")),
            "rollback": chance.choice(("Allow", "Allow", "Forbid")),
            "drain": {
                "timeout": chance.choice(("5m", "2m")),
                "enabled": chance.random() < 0.9,
                "gracePeriod": chance.choice((-1, 5)),
            },
        }
        if chance.random() < 0.5:
            strategy["canary"] = self._draw_canary()
        if chance.random() < 0.5:
            failure = chance.choice(("Ignore", "Pause", "Rollback"))
            strategy["workloads"] = {"onFailure": failure, "soak": chance.choice(("30s", "2m"))}
        spec["strategy"] = strategy
        problems = read_pool({"metadata": {"name": "x"}, "spec": spec}).problems
        assert not problems, problems
        return spec

    def _draw_canary(self) -> dict[str, Any]:
        chance = self.chance
        steps: list[dict[str, Any]] = [{"nodes": 1}]
        steps[0] |= {"pause": "1m"} if chance.random() < 0.5 else {}
        steps += [{"nodes": "50%", "pause": "30s"}] if chance.random() < 0.5 else []
        steps += [{"nodes": "100%"}] if chance.random() < 0.7 else []
        gates: list[dict[str, Any]] = []
        if chance.random() < 0.6:
            gates.append({"name": "smoke", "job": {"from": "cronjob/smoke"}})
        if chance.random() < 0.4:
            given = {"apiVersion": "apps/v1", "kind": "Deployment", "namespace": "default"}
            given |= {"name": "web", "type": "Available"}
            gates.append({"name": "web", "condition": given})
        return {
            "steps": steps,
            "analysis": gates,
            "analysisTimeout": chance.choice(("1m", "5m")),
            "onFailure": chance.choice(("Pause", "Rollback")),
        }

    def draw_target(self, most: int = 6) -> dict[str, Any]:
        """versions, config, overrides, secrets of a spec."""
        chance = self.chance
        found: dict[str, Any] = {}
        if chance.random() < 0.7:
            version = GONE if chance.random() < 0.05 else chance.choice(K3OS[1:most])
            found["k3os"] = {"version": version, "url": URL}
        if chance.random() < 0.4:
            found["k3s"] = {"version": chance.choice(K3S[1:most])}
        config: dict[str, Any] = {}
        if chance.random() < 0.6:
            k3os: dict[str, Any] = {"sysctls": {"vm.max_map_count": str(chance.randint(1, 5))}}
            if chance.random() < 0.3:
                k3os[BOOT_KEY] = [f"hugepages={chance.randint(1, 5)}"]
            config["k3os"] = k3os
        if chance.random() < 0.5:
            text = "node=$(node.name)"
            if chance.random() < 0.7:
                text += " pw=$(secret.pw)"
                found["secrets"] = [
                    {"name": name, "valueFrom": {"secretKeyRef": {"name": SECRET, "key": name}}}
                    for name in SECRETS[:1]
                ]
            file = {"path": "/etc/site", "content": text, "permissions": "0600"}
            config["write_files"] = [file]
        if config:
            found["config"] = config
        if config and chance.random() < 0.4:
            sysctls = {"vm.swappiness": str(chance.randint(1, 9))}
            zone = {"matchLabels": {"zone": chance.choice(ZONES)}}
            override = {"nodeSelector": zone, "config": {"k3os": {"sysctls": sysctls}}}
            found["overrides"] = [override]
        return found or {"k3os": {"version": K3OS[1], "url": URL}}

    def last_target(self) -> dict[str, Any]:
        """One that every node can be brought to."""
        return {
            "k3os": {"version": K3OS[8], "url": URL},
            "k3s": {"version": K3S[8]},
            "config": {"k3os": {"sysctls": {"vm.max_map_count": "77"}}},
        }
