"""Which version a channel means: one HTTP request to where it is published.

A channel's address answers with a redirect to the release, whose last part is the version (as
update.k3s.io does), or with the version as its first line. Names are looked up below
<url>/channels/, for k3s without a url at K3S_CHANNELS.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote, urlsplit

import httpx2

from k3os.errors import UserError
from k3os.operator.crd import VERSION

K3S_CHANNELS = "https://update.k3s.io/v1-release/channels"
INTERVAL = 900  # seconds between two looks
TIMEOUT = 10.0
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
        async with httpx2.AsyncClient(timeout=TIMEOUT, follow_redirects=False) as client:
            answer = await client.get(url)
    except (httpx2.HTTPError, httpx2.InvalidURL) as error:
        raise UserError(f"no answer: {error or type(error).__name__}", "", url) from error
    found = ""
    if answer.is_redirect:
        found = unquote(urlsplit(answer.headers["location"]).path.rpartition("/")[2])
    elif answer.is_success:
        found = answer.text[:LONGEST].strip().partition("\n")[0].strip()
    if not re.fullmatch(VERSION, found):
        raise UserError(f"the answer ({answer.status_code}) names no version", "", url)
    return found
