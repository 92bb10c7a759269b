"""Creates the Job of a node: the last moment to settle what the node should have.

The values of secrets are read now, for this node only, and go into the Secret of its Job (job.py)
and nowhere else.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence

from k3os.cluster.node import NodeView
from k3os.cluster.spec import Pool
from k3os.cluster.target import LARGEST_SECRET
from k3os.cluster.turns import is_begun
from k3os.operator.api import Api
from k3os.operator.decisions import Decision, NewJob, fail
from k3os.operator.job import job, name_of, owner_of, secret
from k3os.operator.secret_reader import Changed, SecretReader

log = logging.getLogger("k3os.operator")


async def make_job(
    api: Api, reader: SecretReader, order: NewJob, pool: Pool, node: NodeView
) -> Sequence[Decision]:
    """What to do instead, [] if the Job was created. Raises ApiFailure; Changed if what was
    decided on is outdated."""
    if not is_begun(node, pool.target):
        raise Changed
    config, fault = await reader.fill(pool.target, node)
    if fault:
        assert node.state is not None
        return fail(node, node.state, "NodeConfigInvalid", fault, time.time())
    log.info("%s: Job %s", order.node, name_of(order.request))
    request = secret(order, pool, node, config)
    size = sum(len(each) for each in request["stringData"].values())
    if size > LARGEST_SECRET:
        assert node.state is not None
        why = (
            f"with the values of its secrets the configuration has {size >> 10} KiB, more than the "
        )
        why += f"{LARGEST_SECRET >> 10} of a Secret; let the node fetch what is large"
        return fail(node, node.state, "NodeConfigInvalid", why, time.time())
    await api.create_job(request, job(order, pool, node), owner_of)
    return []
