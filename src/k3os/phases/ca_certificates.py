"""k3os.ca_certificates: authorities that this node trusts in addition to Debian's.

They go into a block in BUNDLE, which curl, Python (OpenSSL's cert.pem) and Go programs (k3s,
containerd) read, before anything is fetched; and into DIRECTORY, from which
update-ca-certificates(8) regenerates BUNDLE. We do not run it: it takes a second, and the result is
the same. Programs that are already running keep what they have read.

What a URL returns is kept in KEPT, so that in later boots it is available before the network is up,
and when the server does not respond.
"""

from __future__ import annotations

from k3os.config.fetched import check_sum, is_elsewhere, shown, split
from k3os.config.value import Place
from k3os.phases.actions import Action, Later, Refused, WriteFile
from k3os.phases.budget import Budget
from k3os.phases.certificate_files import KEY, LARGEST, CertificateFile, kept_as
from k3os.phases.managed_block import replace_block

TYPE_CHECKING = False
if TYPE_CHECKING:
    from k3os.config.load import Config
    from k3os.phases.node import Node

BUNDLE = "/etc/ssl/certs/ca-certificates.crt"
DIRECTORY = "/usr/local/share/ca-certificates"
# seconds for all downloads together: everything else waits for them
ALTOGETHER = 120.0


def plan(config: Config, node: Node) -> list[Action]:
    whole = config.get(KEY)
    if whole is None:
        return []
    fetches: list[Action] = []
    files: list[CertificateFile] = []
    budget = Budget(ALTOGETHER)
    for number, item in enumerate(config.items(KEY), 1):
        text, file = str(item.data), CertificateFile(item, f"{DIRECTORY}/k3os-{number}.crt")
        if not is_elsewhere(text):
            file.data = text.encode()
        elif text.startswith("/"):
            refused = _from_path(text, file, node)
            if refused is not None:
                fetches.append(refused)
                continue
        else:
            fetches.append(_from_url(text, file, node, budget))
        files.append(file)
    return [*fetches, *files, AddBlock(KEY, whole.place, BUNDLE, files)]


def _from_path(text: str, file: CertificateFile, node: Node) -> Action | None:
    from k3os.config.certificates import only_certificates
    from k3os.system.files import read_regular

    path, wanted = split(text)
    try:
        data = read_regular(node.path(path), LARGEST)
        check_sum(data, wanted)
        file.data = only_certificates(data.decode(errors="replace")).encode()
    except OSError as error:
        why = f"{path}: {error.strerror}"
    except ValueError as error:
        why = f"{path}: {error}"
    else:
        return None
    what, hint = f"trust {path}", "write the text of the certificate, or where it is"
    return Refused(KEY, file.place, what, why, hint, thing=file.thing)


def _from_url(text: str, file: CertificateFile, node: Node, budget: Budget) -> Action:
    file.data = node.read(kept_as(text)).encode(errors="surrogateescape")
    if node.phase == "runtime":
        from k3os.phases.fetch_certificate import FetchCertificate

        return FetchCertificate(file, text, budget)
    found = "what it gave before counts" if file.data else "it is fetched in the runtime phase"
    return Later(KEY, file.place, f"fetch {shown(text)}", found)


class AddBlock(Action):
    """The certificates at the end of a file; its other lines stay."""

    __slots__ = ("files", "path")

    def __init__(self, key: str, place: Place, path: str, files: list[CertificateFile]) -> None:
        super().__init__(key, place)
        self.path = path
        self.files = files

    @property
    def thing(self) -> str:
        return f"block {self.path}"

    @property
    def lines(self) -> list[str]:
        """The certificates' lines, including what has been fetched by now."""
        return [line for file in self.files for line in file.data.decode().splitlines()]

    def describe(self) -> str:
        return f"write {len(self.lines)} lines of ours to {self.path}"

    def perform(self, node: Node) -> str:
        return set_block(node, self.key, self.place, self.path, self.lines)


def set_block(node: Node, key: str, place: Place, path: str, lines: list[str]) -> str:
    """Works for a missing file, too. Raises the same as WriteFile."""
    data = replace_block(node.read(path), lines).encode(errors="surrogateescape")
    return WriteFile(key, place, path, data).perform(node)
