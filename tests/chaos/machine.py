"""A node: its kubelet, `k3os apply` and `k3os report`, as far as the API sees them.

What is on its disk survives everything but being installed anew. `apply` follows
k3os/node/apply.py: what is done is kept before it is told, and the same request is not done twice.
"""

import asyncio
import base64
import json
from typing import TYPE_CHECKING, Any

from k3os import names
from k3os.cluster.impact import fragment_hash
from k3os.cluster.request import NodeRequest, parse, remaining
from k3os.cluster.views import REQUEST_LABEL
from k3os.generation.versions import is_older
from tests.chaos.scenario import GONE, K3OS, K3S, Node
from tests.chaos.store import Body

if TYPE_CHECKING:
    from tests.chaos.world import World

IMAGE = f"sha256:{'0' * 64}"
FULL = "no space left on device"


class Machine:
    """up: it runs. full: its disk. lost: it will not come back from its next boot. mute: seconds
    by which its reports are late. boots: by request."""

    def __init__(self, world: "World", node: Node) -> None:
        self.world, self.node, self.name = world, node, node.name
        self.labels = dict(node.labels)
        self.up, self.full, self.lost, self.mute = True, False, False, 0.0
        self.went_down = -1e9
        self.boot = 0
        self.install()
        self.work: dict[str, asyncio.Task[None]] = {}
        self._poke = asyncio.Event()
        self._report = asyncio.Event()

    def install(self) -> None:
        """As from a medium: nothing of before is there."""
        self.versions = {"k3os": K3OS[0], "k3s": K3S[0]}
        self.fragment: dict[str, Any] = {}
        self.config_hash = ""
        self.result: dict[str, Any] = {}
        self.next: NodeRequest | None = None
        self.trial = False

    @property
    def key(self) -> tuple[str, str, str]:
        return "nodes", "", self.name

    def there(self) -> bool:
        return self.key in self.world.store.kept

    def poke(self) -> None:
        self._poke.set()

    def start(self) -> None:
        self.world.spawn(self._kubelet())
        self.world.spawn(self._reports())

    # the kubelet

    async def _kubelet(self) -> None:
        while True:
            await self._poke.wait()
            self._poke.clear()
            await asyncio.sleep(self.world.chance.uniform(0.2, 2))
            await self.world.reachable()
            if self.up and self.there():
                for pod in self.world.pods_on(self.name):
                    self._see(pod)

    def _see(self, pod: Body) -> None:
        meta = pod["metadata"]
        key = ("pods", meta["namespace"], meta["name"])
        phase = pod.get("status", {}).get("phase", "Pending")
        work = self.work.get(meta["uid"])
        if meta.get("deletionTimestamp"):
            if work is None or "ends" not in work.get_name():
                if work:
                    work.cancel()
                self._begin(meta["uid"], self._end(key), "ends")
        elif phase == "Pending" and work is None:
            ours = REQUEST_LABEL in (meta.get("labels") or {})
            self._begin(meta["uid"], self._serve(key, pod) if ours else self._run(key), "runs")

    def _begin(self, uid: str, work: Any, name: str) -> None:
        self.work[uid] = self.world.spawn(work, f"{name} {uid}")

    async def _end(self, key: tuple[str, str, str]) -> None:
        await asyncio.sleep(self.world.chance.uniform(0.5, 20))
        await self.world.reachable()
        if key in self.world.store.kept:
            self.world.store.delete(key)

    async def _run(self, key: tuple[str, str, str]) -> None:
        await asyncio.sleep(self.world.chance.uniform(1, 12))
        while self.versions["k3os"] in self.world.scenario.sick:
            await asyncio.sleep(30)
        await self._show(key, "Running", ready=True)

    async def _show(self, key: tuple[str, str, str], phase: str, **more: Any) -> None:
        await self.world.reachable()
        if key not in self.world.store.kept:
            return
        ready = {"type": "Ready", "status": "True" if more.pop("ready", False) else "False"}
        status = {"phase": phase, "conditions": [ready], **more}
        self.world.store.patch(key, {"status": status}, "status")

    # requests

    async def _serve(self, key: tuple[str, str, str], pod: Body) -> None:
        await asyncio.sleep(self.world.chance.uniform(0.5, 5))
        secret = pod["spec"]["volumes"][0]["secret"]["secretName"]
        where = ("secrets", names.NAMESPACE, secret)
        while where not in self.world.store.kept:
            await asyncio.sleep(2)
            await self.world.reachable()
        data = self.world.store.get(where)["data"]["request.json"]
        await self._show(key, "Running")
        request = parse(base64.b64decode(data))
        state, message = await self.apply(request)
        failed = state in (names.FAILED, names.ROLLED_BACK)
        text = json.dumps({"id": request.id, "state": state, "message": message})
        ended = {"exitCode": int(failed), "reason": "Completed", "message": text}
        container = {"name": "apply", "state": {"terminated": ended}}
        await self._show(key, "Failed" if failed else "Succeeded", containerStatuses=[container])

    async def apply(self, request: NodeRequest) -> tuple[str, str]:
        """State and message of its answer."""
        chance = self.world.chance
        await asyncio.sleep(chance.uniform(0.5, 3))
        known = self.result
        if not request.dry_run and known.get("request") == request.id:
            if known["state"] == names.REBOOTING and known["boot"] == self.boot:
                self._reboot_soon(request)
            if known["state"] in (names.FAILED, names.ROLLED_BACK, names.REBOOTING):
                return known["state"], known["message"]
        elif not request.dry_run and self.trial:
            return names.FAILED, "another version is on trial; try again when its trial is over"
        self.world.checker.applies(self, request)
        why = await self._refusal(request)
        if why:
            if not request.dry_run:
                self._keep(request, names.FAILED, why)
            return names.FAILED, why
        work = remaining(request, self.versions, self.fragment)
        if request.dry_run:
            return "Planned", ""
        if work.reboot and not request.reboot:
            return "RebootRequired", ""
        if work.is_nothing:
            self.config_hash = request.config_hash
            self._keep(request, names.SUCCEEDED, "nothing to do")
            return "NoChange", ""
        if work.k3os or work.k3s:
            await asyncio.sleep(chance.uniform(5, 90))
        if work.reboot:
            self.next = request
            await asyncio.sleep(chance.uniform(0, 1))
            self._keep(request, names.REBOOTING, "")
            self._reboot_soon(request)
            return names.REBOOTING, ""
        if work.restarts_k3s:
            await self._restart_k3s()
        self._take(request)
        self._keep(request, names.SUCCEEDED, "")
        return names.SUCCEEDED, ""

    async def _refusal(self, request: NodeRequest) -> str:
        """Why it cannot be done, "" where it can."""
        for name, wanted in (("k3os", request.k3os), ("k3s", request.k3s)):
            if wanted is None or wanted.is_met_by(self.versions[name]):
                continue
            if wanted.version == GONE:
                return f"{wanted.url}/{GONE}: 404 Not Found"
            if is_older(wanted.version, self.versions[name]) and not request.rollback:
                return f"{name} {wanted.version} is older than {self.versions[name]}"
        if self.full:
            return FULL
        return ""

    def _take(self, request: NodeRequest) -> None:
        for name, wanted in (("k3os", request.k3os), ("k3s", request.k3s)):
            if wanted is not None:
                self.versions[name] = wanted.version
        self.fragment = dict(request.config)
        self.config_hash = request.config_hash or fragment_hash(self.fragment)

    def _keep(self, request: NodeRequest, state: str, message: str) -> None:
        self.result = {"request": request.id, "state": state, "message": message, "when": ""}
        self.result |= {"boot": self.boot}
        self.report()

    async def _restart_k3s(self) -> None:
        self.world.goes_down(self, restart=True)
        await asyncio.sleep(self.world.chance.uniform(3, 20))
        self.world.comes_up(self)

    def _reboot_soon(self, request: NodeRequest) -> None:
        boot = self.boot

        def go() -> None:
            if self.up and self.boot == boot:
                self.world.checker.reboots(self, request)
                self.world.spawn(self.reboot())

        self.world.loop.call_later(self.world.chance.uniform(2, 8), go)

    # boots

    def end_work(self) -> None:
        for uid in list(self.work):
            self.work.pop(uid).cancel()

    async def reboot(self) -> None:
        """Also one that nobody asked for: then what is on its disk boots, too."""
        if not self.up:
            return
        self.world.goes_down(self)
        self.end_work()
        await asyncio.sleep(self.world.chance.uniform(20, 120))
        while self.lost:
            await asyncio.sleep(10)
        self.boot += 1
        request, self.next = self.next, None
        if request is not None:
            if (self._wants(request) or "") in self.world.scenario.bad:
                await asyncio.sleep(self.world.chance.uniform(60, 200))
                self.boot += 1
                if self.result.get("request") == request.id:
                    self._keep(request, names.ROLLED_BACK, "k3s is not ready: refused")
            else:
                self._take(request)
                self.trial = True
        self.world.comes_up(self)
        self.report()
        if self.trial:
            asyncio.get_running_loop().call_later(
                self.world.chance.uniform(5, 60), self._confirm, self.boot
            )
        elif self.result.get("state") == names.REBOOTING:
            self._complete()

    def _wants(self, request: NodeRequest) -> str:
        return request.k3os.version if request.k3os else ""

    def _confirm(self, boot: int) -> None:
        self.trial = False
        if self.boot == boot or self.up:
            self._complete()

    def _complete(self) -> None:
        if self.result.get("state") == names.REBOOTING and self.result["boot"] != self.boot:
            self.result |= {"state": names.SUCCEEDED, "message": "", "boot": self.boot}
        self.report()

    # reports

    def report(self) -> None:
        self._report.set()

    async def _reports(self) -> None:
        while True:
            await self._report.wait()
            self._report.clear()
            await asyncio.sleep(self.mute + self.world.chance.uniform(0.2, 8))
            await self.world.reachable()
            if self.up and self.there():
                self._tell()

    def _tell(self) -> None:
        notes = {
            names.K3OS: self.versions["k3os"],
            names.K3S: self.versions["k3s"],
            names.CONFIG_HASH: self.config_hash,
            names.BOOT_ID: str(self.boot),
            names.TRIAL: "true" if self.trial else "false",
            names.IMAGE: IMAGE,
        }
        if self.result:
            told = {name: self.result[name] for name in ("request", "state", "message", "when")}
            notes[names.LAST_RESULT] = json.dumps(told)
        self.world.store.patch(self.key, {"metadata": {"annotations": notes}})
        rolled = self.result.get("state") == names.ROLLED_BACK
        reason = "RolledBack" if rolled else "DiskFull" if self.full else "AsConfigured"
        self.world.condition(self.name, names.CONDITION, reason == "AsConfigured", reason)
