"""Where the API server is and how we authenticate, for both clients: lightkube and kopf.

In a pod: the address that Kubernetes puts into the environment of every container, with the
service account's token and CA (kubernetes.io, "Accessing the Kubernetes API from a Pod"). It does
not use the cluster's DNS, which may not be up yet. Elsewhere: KUBECONFIG, as kubectl reads it.
"""

from __future__ import annotations

import asyncio
import os
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import httpx2
import kopf
from lightkube import AsyncClient, KubeConfig
from lightkube.config.models import Cluster, User
from lightkube.core.exceptions import ConfigError

from k3os.errors import UserError

ACCOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"
TIMEOUT = httpx2.Timeout(10.0)
# how long to wait before sending a refused token again; the kubelet renews it on its own schedule
REFUSED_SECONDS = 5.0


@dataclass
class Pod:
    """Access from inside a container. directory: of its service account."""

    server: str
    directory: Path
    shown: str = ""  # the last token given to kopf

    @property
    def token(self) -> str:
        """Read each time, since the kubelet renews it. Raises OSError."""
        return (self.directory / "token").read_text().strip()

    @property
    def trust(self) -> ssl.SSLContext:
        """Raises OSError."""
        context = ssl.create_default_context(cafile=str(self.directory / "ca.crt"))
        # as on the node (k3os.system.http_mutual): Python 3.13 is stricter than the CAs that old
        # versions of k3s created or that users supplied
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
        return context

    def client(self) -> Any:
        config = KubeConfig.from_one(
            cluster=Cluster(server=self.server, certificate_auth=str(self.directory / "ca.crt")),
            user=User(token_file=str(self.directory / "token")),
        )
        transport = httpx2.AsyncHTTPTransport(verify=self.trust)
        return AsyncClient(config=config, timeout=TIMEOUT, transport=transport)

    async def login(self, **_: Any) -> kopf.AiohttpSession:
        """For kopf, which calls it again after a refusal."""
        if self.token == self.shown:
            await asyncio.sleep(REFUSED_SECONDS)
        self.shown = self.token
        connector = aiohttp.TCPConnector(limit=0, ssl=self.trust)
        headers = {"Authorization": f"Bearer {self.shown}"}
        session = aiohttp.ClientSession(connector=connector, headers=headers)
        return kopf.AiohttpSession(server=self.server, aiohttp_session=session)


@dataclass
class Outside:
    """Access from elsewhere: KUBECONFIG, or kubectl's default."""

    config: KubeConfig

    def client(self) -> Any:
        return AsyncClient(config=self.config, timeout=TIMEOUT)

    async def login(self, **more: Any) -> kopf.ConnectionInfo | None:
        return kopf.login_with_kubeconfig(**more)


def find(account: str = "") -> Pod | Outside:
    """account: the service account's directory, by default a pod's. Raises UserError."""
    directory = Path(account or ACCOUNT)
    host = os.environ.get("KUBERNETES_SERVICE_HOST", "")
    if host and (directory / "token").exists():
        port = os.environ.get("KUBERNETES_SERVICE_PORT") or "443"
        return Pod(f"https://{f'[{host}]' if ':' in host else host}:{port}", directory)
    try:
        return Outside(KubeConfig.from_file(os.environ.get("KUBECONFIG") or "~/.kube/config"))
    except (ConfigError, OSError) as error:
        raise UserError(
            f"no cluster is configured: {error}",
            "a pod has a service account and KUBERNETES_SERVICE_HOST; elsewhere set KUBECONFIG",
        ) from error
