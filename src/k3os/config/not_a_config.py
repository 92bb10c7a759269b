"""Files that are something else than a config.yaml. Imported if one looks like that."""

from __future__ import annotations

import re

ADDRESS = "give the address of the file itself; on GitHub it is the one behind `raw`"
# how a text begins -> what it is, what to do
KINDS = (
    (rb"<(!doctype|html|\?xml|head|body)\b", "is a web page, not a configuration", ADDRESS),
    (rb"4\d\d\b:? ?[A-Za-z ]*\s*$", "is a web server's answer, not a configuration", ADDRESS),
    (rb"#!/", "is a script, not a configuration", "write its commands into run_cmd"),
    (rb"\x1f\x8b", "is compressed, not text", "unpack it: `gunzip`"),
    (
        rb"\xff\xfe|\xfe\xff|\0[^\0]|[^\0]\0",
        "is UTF-16 text, as Notepad and PowerShell write it",
        "save it as UTF-8",
    ),
)
OBJECT = (
    "is an object of Kubernetes, not a configuration",
    "put it into k3os.manifests, under a name",
)
# one of our keys at the top level
OURS = rb"(?m)^(k3os|hostname|ssh_?authorized|write_?files|run_?cmd|boot_?cmd|init_?cmd)"


def what_it_is(data: bytes) -> tuple[str, str]:
    """What a file is, and what to do, if it is certainly not a configuration; else ("", "")."""
    start = data[:4096].lstrip(b" \t\r\n\xef\xbb\xbf")
    for beginning, what, hint in KINDS:
        if re.match(beginning, start, re.IGNORECASE):
            return what, hint
    is_object = re.search(rb"(?m)^apiVersion:", data) and re.search(rb"(?m)^kind:", data)
    return OBJECT if is_object and not re.search(OURS, data, re.IGNORECASE) else ("", "")
