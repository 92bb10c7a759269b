"""The program in a Job's container: it hands the request to the host and runs `k3os apply` there.

The container is privileged and sees the host's processes: /proc/1/root is the host's root, and
host.py enters the namespaces of process 1. All imports must happen before that: afterwards the
files are the host's.
"""

from __future__ import annotations

import json
import os
import sys

from k3os.operator.host import enter as enter_host
from k3os.system.files import atomic_write
from k3os.system.json_text import WRONG_SHAPE, an_object
from k3os.system.run import CommandError, run

HOST = "/proc/1/root"
DIRECTORY = "/run/k3os"
TERMINATION_LOG = "/dev/termination-log"
LONGEST = 4096  # of a termination message, in bytes: the kubelet cuts it there
JOURNAL_SECONDS = 30
SECONDS = 4 * 3600  # the Job's own deadline is shorter


def main(argv: list[str]) -> int:
    """argv: the file with the request. Exit code: that of `k3os apply`."""
    (source,) = argv
    with open(source, "rb") as file:
        request = file.read()
    run([sys.executable, "-c", ""])  # loads what starts programs, from the image
    log = os.open(TERMINATION_LOG, os.O_WRONLY | os.O_TRUNC | os.O_CREAT | os.O_CLOEXEC, 0o600)
    path = f"{DIRECTORY}/request-{os.getpid()}.json"
    enter(path, request)
    try:
        code, output = 0, run(["k3os", "apply", path], timeout=SECONDS)
    except CommandError as error:
        code, output = max(error.returncode, 1), error.output
    finally:
        os.unlink(path)
    os.write(log, last_line(output))
    sys.stdout.write(output.decode(errors="replace"))
    sys.stdout.flush()
    try:  # the pod is deleted as soon as the operator knows the result
        run(["systemd-cat", "-t", "k3os-apply"], stdin=output, timeout=JOURNAL_SECONDS)
    except CommandError as error:
        print(f"the host's journal does not take this: {error}", flush=True)
    return code


def enter(path: str, request: bytes, host: str = HOST, process: str = "/proc/1") -> None:
    """Write the request where the host can read it, readable only for root, and enter the host."""
    os.makedirs(host + DIRECTORY, exist_ok=True)
    atomic_write(host + path, request, mode=0o600)
    enter_host(process)


def last_line(output: bytes) -> bytes:
    """The result, with valid JSON never cut in the middle."""
    last = output.strip().rpartition(b"\n")[2]
    if len(last) <= LONGEST:
        return last
    try:
        found = an_object(last)
        found["message"] = str(found["message"])[: LONGEST // 8]
        return json.dumps(found).encode()[:LONGEST]
    except WRONG_SHAPE:
        return last[-LONGEST:]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
