"""`k3os network`: the state of this node's network, and what the system calls when the kernel or
connman reports a change.

show: k3os.node.network_facts. settle: standard input is the socket with the kernel's messages
(rtnetlink(7)); they are read and discarded, their content does not matter. resolv: connman has
written its resolv.conf. links: connman is about to start, or an interface has appeared that belongs
to a bond or bridge, or that a `match` may apply to. k3s: the address that the node registered with
is gone.
"""

from __future__ import annotations

import os
import time

from k3os.cli import options

HELP = """\
usage: k3os network show [--all | --json]
       k3os network settle   set the default route and the addresses of k3os.network
       k3os network resolv   give pods the node's present name servers
       k3os network links    make the bonds, bridges and dummies of k3os.network
       k3os network k3s      restart k3s if the node's address has changed

show: interfaces, addresses, routes, rules and name servers, and where each comes from. Anything
that is configured but missing comes first; the exit code is 1 then. Everybody may call it; only
root sees the file and line of the configuration. The system calls the other commands.

  --all   with show: also list what network plugins made, and the kernel's own routes and rules
  --json  with show: everything, as JSON
"""
# an interface that comes up brings several messages, and connman acts on them, too
PAUSE = 1.0
CONTAINERD = "/run/k3s/containerd/containerd.sock"
CRICTL_SECONDS = 60


def main(argv: list[str]) -> int:
    """Exit code 0, 1 when something is missing, 2 for wrong usage. Raises CommandError, OSError."""
    words, given = options.read(HELP, argv)
    options.count(HELP, words, 1, 1)
    options.alone(HELP, given, ("--all", "--json"))
    if words == ["show"]:
        return show(given)
    for name in given:
        raise options.wrong(HELP, f"{name} goes with show")
    if words == ["links"]:
        return links()
    if words == ["k3s"]:
        from k3os.node.k3s_follow import follow

        print(follow().words)
        return 0
    time.sleep(PAUSE)
    if words == ["resolv"]:
        resolv()
        return 0
    from k3os.phases.routes import set_routes

    drain(0)
    done, missing = set_routes()
    for line in [*done, *missing]:
        print(line)
    return 0


def show(given: dict[str, str]) -> int:
    """Exit code 1 when something that was asked for is missing. Raises CommandError."""
    import json

    from k3os.errors import visible
    from k3os.node.network_facts import collect
    from k3os.node.network_text import lines

    report = collect()
    if "--json" in given:
        print(json.dumps(report.as_dict(), indent=2))
    else:
        print(visible("\n".join(lines(report, every="--all" in given))))
    return 1 if report.missing else 0


def links() -> int:
    """Exit code 1 when something is not as it should be. Raises CommandError, OSError."""
    from k3os.node.network_matched import look_again
    from k3os.phases.links import main

    for line in look_again():
        print(line)
    report = main()
    for line in [*report.done, *report.missing, *report.failed]:
        print(line)
    return 1 if report.failed else 0


def drain(descriptor: int) -> None:
    """Read everything that waits on a socket, and nothing else."""
    import stat

    if not stat.S_ISSOCK(os.fstat(descriptor).st_mode):
        return
    os.set_blocking(descriptor, False)
    try:
        while os.read(descriptor, 65536):
            continue
    except BlockingIOError:
        return


def resolv() -> None:
    """Repeat until connman has written nothing since. Raises OSError."""
    from k3os.phases.node import Node
    from k3os.phases.resolv import FILE, is_stale, refresh

    while True:
        changed = refresh(Node())
        while is_stale():
            time.sleep(PAUSE)
            changed = refresh(Node()) or changed
        if not changed:
            print("the name servers are the same")
            return
        print(f"{FILE} has other name servers")
        renew_dns_pods()
        if not is_stale():  # k3os-resolv.path misses what changed during the line above
            return


def renew_dns_pods(containerd: str = CONTAINERD) -> None:
    """Replace the sandboxes of this node's cluster DNS pods: they read their resolv.conf, a copy,
    only when they start. The kubelet creates new ones, even without the API."""
    from k3os.system.run import CommandError, run

    if not os.path.exists(containerd):
        return
    wanted = ["--label", "k8s-app=kube-dns", "--state", "ready", "--quiet"]
    try:
        pods = run(["crictl", "pods", *wanted], timeout=CRICTL_SECONDS).decode().split()
        for pod in pods:
            run(["crictl", "stopp", pod], timeout=CRICTL_SECONDS)
            print(f"the cluster's DNS restarts: pod sandbox {pod[:13]}")
    except CommandError as error:
        print(f"the cluster's DNS may keep the former name servers: {error}")
