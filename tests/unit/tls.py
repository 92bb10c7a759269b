"""A self-signed certificate for servers on the loopback interface, valid during a test process."""

from __future__ import annotations

import atexit
import functools
import shutil
import ssl
import tempfile

from k3os.system.run import run


@functools.cache
def certificate() -> tuple[str, str]:
    """The paths of a self-signed certificate and its key."""
    directory = tempfile.mkdtemp(prefix="k3os-tls.")
    atexit.register(shutil.rmtree, directory)
    path, key = f"{directory}/certificate.pem", f"{directory}/key.pem"
    run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"),
            *("-nodes", "-days", "2", "-subj", "/CN=localhost", "-keyout", key, "-out", path),
            *("-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"),
        ]
    )
    return path, key


def server_context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate())
    return context
