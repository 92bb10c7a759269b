"""urllib's opener with what it lacks: our own connections, and limits on redirects.

A redirect from https to http is refused (RFC 9110, section 15.4 leaves that to the client), and one
to ftp, which urllib would read without our limits. The body of a redirect, which urllib would read
into memory, is not read at all.
"""

from __future__ import annotations

from k3os.system.http_failure import HttpError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from k3os.system.deadline import Connect


def opener(connect: Connect) -> Any:
    """With the environment's proxies. connect: makes the connections."""
    import urllib.request

    class Redirects(urllib.request.HTTPRedirectHandler):
        def redirect_request(
            self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str
        ) -> Any:
            fp.close()
            before, after = (url.partition(":")[0].lower() for url in (req.full_url, newurl))
            if after not in (("https",) if before == "https" else ("http", "https")):
                raise HttpError(
                    f"redirects from {before} to {newurl}",
                    f"name an address that stays {'encrypted' if before == 'https' else before}",
                    req.full_url,
                    status=code,
                )
            return super().redirect_request(req, fp, code, msg, headers, newurl)

    return urllib.request.build_opener(Redirects(), *connections(connect))


def connections(connect: Connect) -> list[Any]:
    """urllib's handlers for http and https; connect: makes their connections."""
    import http.client
    import urllib.request

    class Plain(http.client.HTTPConnection):
        def __init__(self, *arguments: Any, **options: Any) -> None:
            super().__init__(*arguments, **options)
            self._create_connection = connect

    class Encrypted(http.client.HTTPSConnection):
        def __init__(self, *arguments: Any, **options: Any) -> None:
            super().__init__(*arguments, **options)
            self._create_connection = connect

    class Http(urllib.request.HTTPHandler):
        def http_open(self, req: Any) -> Any:
            return self.do_open(Plain, req)

    class Https(urllib.request.HTTPSHandler):
        def https_open(self, req: Any) -> Any:
            return self.do_open(Encrypted, req)

    return [Http(), Https()]
