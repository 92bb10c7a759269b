"""Where the operator's own image comes from, according to its pod.

Asked once: a pod with another image is another process. Nothing is decided here.
"""

from __future__ import annotations

from k3os import names
from k3os.cluster.pulled_image import Pulled, pulled_image
from k3os.operator.api import Api, count
from k3os.operator.watched import Pods


async def own_image(api: Api, pod: str) -> Pulled | None:
    """None if only nodes whose build includes the image can use it. pod: our own, "" outside of a
    cluster. Raises ApiFailure."""
    if not pod:
        return None
    count("list", "pods")
    where = {"namespace": names.NAMESPACE, "fields": {"metadata.name": pod}}
    return pulled_image([each async for each in api.client.list(Pods, **where)])
