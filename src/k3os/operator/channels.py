"""Which version a channel means: one HTTP request to where it is published.

The address of a channel answers with a redirect to the release, whose last path segment is the
version (as update.k3s.io does), or with the version as its first line. Names are looked up under
<url>/channels/, for k3s without a url under K3S_CHANNELS.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote, urlsplit

import httpx2

from k3os.errors import UserError
from k3os.operator.crd import VERSION

K3S_CHANNELS = "https://update.k3s.io/v1-release/channels"
INTERVAL = 900  # seconds between two lookups
TIMEOUT = 10.0  # for each step
DEADLINE = 30.0  # for the whole lookup
LONGEST = 4096


def address(name: str, component: Mapping[str, Any]) -> str:
    """component: of a NodePool's spec, with a channel."""
    channel, url = str(component["channel"]), str(component.get("url") or "").rstrip("/")
    if channel.startswith(("http://", "https://")):
        return channel
    return f"{K3S_CHANNELS if name == 'k3s' and not url else f'{url}/channels'}/{channel}"


async def look_up(url: str) -> str:
    """The version. Raises UserError."""
    try:
        async with asyncio.timeout(DEADLINE):
            status, text = await _ask(url)
    except TimeoutError as error:
        raise UserError(f"no whole answer within {DEADLINE:.0f} s", "", url) from error
    except (httpx2.HTTPError, httpx2.InvalidURL, ValueError) as error:
        raise UserError(f"no answer: {error or type(error).__name__}", "", url) from error
    if not re.fullmatch(VERSION, text):
        raise UserError(f"the answer ({status}) names no version", "", url)
    return text


async def _ask(url: str) -> tuple[int, str]:
    """The status, and the text that should be the version. Reads no more, decompresses nothing."""
    client = httpx2.AsyncClient(timeout=TIMEOUT, follow_redirects=False)
    async with client, client.stream("GET", url, headers={"Accept-Encoding": "identity"}) as answer:
        if answer.is_redirect:
            place = urlsplit(answer.headers.get("location", ""))
            return answer.status_code, unquote(place.path.rpartition("/")[2])
        data = b""
        if answer.is_success:
            async for part in answer.aiter_raw(LONGEST):
                data += part
                if len(data) >= LONGEST:
                    break
        line = data[:LONGEST].decode(errors="replace").strip().partition("\n")[0]
        return answer.status_code, line.strip()
