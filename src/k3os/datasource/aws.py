"""Amazon EC2: instance metadata, version 2 (with a token), else version 1.

https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/instancedata-data-retrieval.html

The answer with the token has a hop limit (HttpPutResponseHopLimit, 1 by default): behind a bridge
it never arrives, although the connection is established. We wait only a few seconds for it; then
we try version 1, which an account may have disabled (401).
"""

from __future__ import annotations

from k3os.datasource.found import Found, NotThere
from k3os.datasource.service import Service
from k3os.errors import UserError
from k3os.system.http_failure import HttpError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from k3os.datasource.query import Query

TOKEN = "X-aws-ec2-metadata-token"
TTL_SECONDS = 300
TOKEN_WAIT = 4.0
# each key is a request of its own
MOST_KEYS = 100


def fetch(query: Query) -> Found:
    service = Service(query)
    token = new_token(service)
    if token:
        service.headers = {TOKEN: token}
    try:
        listing = service.identify("/latest/meta-data/")
    except NotThere as error:
        if not token and error.status == 401:
            hint = "set HttpPutResponseHopLimit to 2"
            raise UserError("requires a token, and the answer with it never came", hint) from None
        raise
    keys = []
    if "public-keys/" in listing.decode(errors="replace").split():
        for line in service.text("/latest/meta-data/public-keys/").splitlines()[:MOST_KEYS]:
            number = line.partition("=")[0]  # lines have the format "0=name"
            keys.append(service.text(f"/latest/meta-data/public-keys/{number}/openssh-key"))
    hostname = service.text("/latest/meta-data/local-hostname")
    problems: list[str] = []
    userdata = service.userdata("/latest/user-data", problems)
    return Found("aws", hostname, keys, userdata, problems)


def new_token(service: Service) -> str:
    """The session token; "" if the service has none or its answer does not arrive."""
    ttl = {f"{TOKEN}-ttl-seconds": str(TTL_SECONDS)}
    try:
        answer = service.get("/latest/api/token", method="PUT", headers=ttl, timeout=TOKEN_WAIT)
    except HttpError:
        return ""
    return answer.decode("ascii", "replace").strip()
