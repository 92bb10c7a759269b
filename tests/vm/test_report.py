"""What a node reports to its cluster when k3s is ready: a failed key, the running versions. The API
server comes up later than k3s says, and there is more to report while a report is under way."""

import json
import time

from k3os import names
from tests.api_server import COMING_UP, FILES, api_server
from tests.vm.node import BOOT, HOST, LOGIN, over_ssh

AGENT = "/var/lib/rancher/k3s/agent"
# files that the k3s stub does not make itself; the proxy does not exist and must not be used
CONFIG = """\
hostname: reporter
ssh_authorized_keys:
- {key}
write_files:
{files}
k3os:
  labels: {{tier: gold}}
  sysctls: {{no.such.key: 1}}
  environment: {{https_proxy: "http://127.0.0.1:9"}}
"""

NEWS = """sudo python3 -c 'from k3os.node.cluster_report import request_report; request_report()'"""


def until(holds, seconds=120.0):
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.2)


def test_the_cluster_knows_how_a_node_is(boot, images, key, tmp_path):
    with api_server(tmp_path, "reporter", host=HOST, place=AGENT) as api:
        api.troubles = list(COMING_UP)
        files = "".join(
            f"- {{path: {AGENT}/{name}, permissions: '0600', "
            f"content: {json.dumps((tmp_path / name).read_text())}}}\n"
            for name in FILES
        )
        public = key.with_suffix(".pub").read_text().strip()
        spec = images.direct(config=CONFIG.format(key=public, files=files.rstrip()))
        with boot("report", spec) as vm:
            vm.expect(f"reporter {LOGIN}", BOOT)
            over_ssh(vm, key, "until systemctl is-active -q k3s; do sleep 1; done")
            wait = (
                "while systemctl is-active -q k3os-report || ! sudo test -e /run/k3os/report.json"
            )
            over_ssh(vm, key, f"{wait}; do sleep 1; done")
            failed = over_ssh(vm, key, "systemctl --failed --no-legend --plain")
            # more to report while a report is under way
            api.answers.clear()
            before = api.asked
            over_ssh(vm, key, NEWS)
            until(lambda: api.asked > before)
            over_ssh(vm, key, f"{NEWS}; {NEWS}")
            api.answers.set()
            until(lambda: api.asked >= before + 4)  # two reports of two requests each
            over_ssh(vm, key, "while systemctl is-active -q k3os-report; do sleep 1; done")
    assert "k3os-report" not in failed
    metadata = next(body for path, _, body, _ in api.seen if path.endswith("/reporter"))["metadata"]
    status = next(body for path, _, body, _ in api.seen if path.endswith("/status"))["status"]
    assert api.seen[0][3]["commonName"] == "system:node:reporter"
    assert metadata["labels"]["tier"] == "gold"
    assert metadata["labels"][names.MODE_LABEL] == "live"
    assert metadata["annotations"][names.K3S] == "v1.33.1+k3s1"
    assert metadata["annotations"][names.KERNEL].startswith("6.")
    (condition,) = status["conditions"]
    assert (condition["type"], condition["status"]) == (names.CONDITION, "False")
    assert condition["reason"] == "NotApplied"
    assert "k3os.sysctls.no.such.key" in condition["message"]
    assert "config.yaml:" in condition["message"]
