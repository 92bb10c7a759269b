"""Downloads the certificates of a URL in k3os.ca_certificates. Imported only if there is one."""

from __future__ import annotations

from k3os.config.fetched import check_sum, shown, split
from k3os.phases.actions import UNCHANGED, Action, WriteFile
from k3os.phases.budget import Budget
from k3os.phases.certificate_files import KEY, LARGEST, CertificateFile, kept_as
from k3os.system.digest import mark_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from k3os.phases.node import Node

DEADLINE = 60.0


class FetchCertificate(Action):
    """Gives `file` its certificates. If the server does not respond, those of an earlier boot are
    used; with a checksum, they are not downloaded again."""

    __slots__ = ("budget", "data", "file", "path", "text")

    def __init__(self, file: CertificateFile, text: str, budget: Budget) -> None:
        super().__init__(KEY, file.place)
        self.budget = budget
        self.file = file
        self.text = text
        self.path = kept_as(text)
        self.data = file.data

    @property
    def thing(self) -> str:
        return f"file {self.path}"

    def traces(self) -> tuple[str, str | None]:
        return mark_of(self.data), None

    def describe(self) -> str:
        return f"fetch {shown(self.text)}"

    def perform(self, node: Node) -> str:
        from k3os.config.certificates import only_certificates
        from k3os.errors import UserError
        from k3os.phases.fetch import get_within
        from k3os.system.http_failure import HttpError

        url, wanted = split(self.text)
        if wanted and self.data:
            return UNCHANGED
        try:
            data = get_within(self.budget, node, url, limit=LARGEST, most=DEADLINE)
            check_sum(data, wanted)
            self.data = only_certificates(data.decode(errors="replace")).encode()
        except HttpError as error:
            if not self.data:
                raise
            self.note = f"{error}; what it gave before counts"
            return UNCHANGED
        except ValueError as error:
            hint = "is the address that of a certificate in PEM form?"
            raise UserError(f"{shown(self.text)}: {error}", hint) from None
        self.file.data = self.data
        return WriteFile(KEY, self.place, self.path, self.data).perform(node)
