"""`k3os operator`: run it in its container, or print the objects that bring it into a cluster."""

from k3os.cli import options
from k3os.errors import UserError
from k3os.system.numbers import whole
from k3os.system.signals import end_when_asked

HELP = """\
usage: k3os operator run [--port N] [--lease-seconds N] [--log-format json|text]
       k3os operator manifests IMAGE ARCHITECTURE [--pull-secret NAME]

The operator rolls out the versions and the configuration of NodePools to their nodes
(docs/explanation/operator.md). It is in the operator's image, not on nodes.

  run        run until a signal comes; the API server is that of the container's service
             account, or else of KUBECONFIG
    --port N           port of /healthz, /readyz and /metrics (8080); 0: none
    --lease-seconds N  seconds after which a silent leader is replaced (60)
    --log-format F     json (one object a line) or text
  manifests  print what brings it into a cluster: namespace, CRD, accounts and rights, Deployment.
             IMAGE is sha256:… as in a node's /usr/share/k3os/operator/image-id, then it is what k3s
             applies; or a reference that nodes without an image can pull. ARCHITECTURE is amd64 or
             arm64
    --pull-secret NAME  a Secret in k3os-system with the registry's credentials
"""


def main(argv: list[str]) -> int:
    """Exit code 0; 2 for wrong usage. Raises UserError."""
    words, given = options.read(HELP, argv)
    if words[0] == "manifests":
        options.count(HELP, words, 3, 3)
        from k3os import __version__
        from k3os.operator.manifests import Build, as_yaml

        secret = given.get("--pull-secret")
        build = Build(__version__, words[1], words[2], (secret,) if secret else ())
        if secret and not build.is_pulled:
            raise options.wrong(
                HELP, "--pull-secret: an image sha256:… is on the nodes and not pulled"
            )
        print(as_yaml(build), end="")
        return 0
    options.count(HELP, words, 1, 1)
    return _run(given)


def _run(given: dict[str, str]) -> int:
    port, lease = given.get("--port", "8080"), given.get("--lease-seconds", "60")
    form = given.get("--log-format", "json")
    number, seconds = whole(port, most=65535), whole(lease, most=86400)
    if form not in ("json", "text"):
        raise options.wrong(HELP, "--log-format is json or text")
    if number is None or seconds is None:
        raise options.wrong(HELP, f"{port if number is None else lease!r} is not a valid number")
    end_when_asked()  # before the imports, which take seconds on a slow machine
    try:
        from k3os.operator.app import Options, run
    except ImportError as error:
        raise UserError(
            f"{error.name} is not installed here", "`pip install k3os[operator]` or use its image"
        ) from error
    return run(Options(port=number, lease_seconds=max(1, seconds), json_logs=form == "json"))
