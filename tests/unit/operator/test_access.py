"""Where the operator finds its API server, and what it says while there is none yet."""

import asyncio
import logging
from pathlib import Path

import aiohttp
import httpx2
import pytest
from lightkube import ApiError
from lightkube.models.meta_v1 import Status

from k3os.errors import UserError
from k3os.operator import access, outage
from k3os.operator.outage import Outage, Pauses, Quiet
from tests.api_server import certificate


@pytest.fixture
def account(tmp_path: Path) -> Path:
    """A service account's directory, like the one the kubelet mounts."""
    certificate(tmp_path, "server", "/CN=k3s", "IP:127.0.0.1")
    (tmp_path / "ca.crt").write_text((tmp_path / "server-ca.crt").read_text())
    (tmp_path / "token").write_text("one\n")
    return tmp_path


@pytest.mark.parametrize(
    ("host", "port", "server"),
    [
        ("10.43.0.1", "443", "https://10.43.0.1:443"),
        ("fd00:43::1", "6443", "https://[fd00:43::1]:6443"),
        ("10.43.0.1", "", "https://10.43.0.1:443"),
    ],
)
def test_both_clients_ask_the_address_that_kubernetes_gives_a_pod(
    account: Path, monkeypatch: pytest.MonkeyPatch, host: str, port: str, server: str
) -> None:
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", host)
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", port)
    found = access.find(str(account))

    async def ask() -> tuple[str, str, str]:
        session = await found.login()
        assert session is not None
        headers = session.aiohttp_session.headers["Authorization"]  # type: ignore[union-attr]
        await session.aiohttp_session.close()  # type: ignore[union-attr]
        return session.server, headers, found.client()._client.config.cluster.server

    assert asyncio.run(ask()) == (server, "Bearer one", server)


def test_a_token_that_was_refused_is_not_shown_again_at_once(
    account: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    waited: list[float] = []

    async def sleep(seconds: float) -> None:
        waited.append(seconds)

    monkeypatch.setattr(access.asyncio, "sleep", sleep)
    pod = access.Pod("https://127.0.0.1", account)

    async def login() -> str:
        session = (await pod.login()).aiohttp_session
        await session.close()
        return str(session.headers["Authorization"])

    assert [asyncio.run(login()) for _ in range(2)] == ["Bearer one"] * 2
    assert waited == [access.REFUSED_SECONDS]
    (account / "token").write_text("two\n")
    assert asyncio.run(login()) == "Bearer two"
    assert waited == [access.REFUSED_SECONDS]


def test_without_an_account_it_is_kubeconfig_or_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.43.0.1")
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "config"))
    with pytest.raises(UserError, match="no cluster is configured"):
        access.find(str(tmp_path))
    (tmp_path / "config").write_text(
        "current-context: a\ncontexts: [{name: a, context: {cluster: a, user: a}}]\n"
        "clusters: [{name: a, cluster: {server: 'https://there'}}]\nusers: [{name: a, user: {}}]\n"
    )
    assert isinstance(access.find(str(tmp_path)), access.Outside)


def test_an_outage_is_told_once_then_ever_more_rarely_and_at_its_end(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    now = 1000.0
    found = Outage(lambda: now)
    found.over()
    waited = []
    while now < 1000 + 3600:
        found.failed(httpx2.ConnectError("refused"))
        waited.append(outage.pause(found.failures))
        now += waited[-1]
    assert waited[:5] == [1, 2, 4, 8, 15] and set(waited[4:]) == {15}
    found.over()
    found.over()
    lines = [each.message for each in caplog.records]
    assert len(lines) == 6 + 1
    assert lines[0] == "the API server does not answer: refused"
    assert "does not answer for " in lines[1]
    assert lines[-1] == "the API server is back after 3600 s"
    found.failed(ApiError(status=Status(code=401, message="Unauthorized")))
    assert caplog.records[-1].message == "the API server refuses us: Unauthorized"


def test_the_pauses_of_a_request_have_no_end_and_a_longest() -> None:
    found = [seconds for _, seconds in zip(range(50), Pauses(), strict=False)]
    assert found[:3] == [1, 2, 4] and found[-1] == outage.LONGEST_PAUSE
    assert not hasattr(Pauses(), "__len__"), "kopf would count the tries"


def record(name: str, text: str, error: Exception | None = None) -> logging.LogRecord:
    info = (type(error), error, None) if error else None
    return logging.LogRecord(name, logging.ERROR, "", 0, text, (), info)


def test_tries_are_no_news_and_only_our_own_mistakes_have_a_traceback() -> None:
    keep = Quiet().filter
    assert not keep(record("kopf._cogs.clients.watching", "Request attempt #3 failed"))
    network = record("kopf.x", "The observer has failed", aiohttp.ServerDisconnectedError())
    assert keep(network) and network.exc_info is None
    mistake = record("kopf.x", "The observer has failed", KeyError("x"))
    assert keep(mistake) and mistake.exc_info is not None
