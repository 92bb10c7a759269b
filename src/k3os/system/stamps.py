"""The time as people and Kubernetes write it: RFC 3339, UTC, to the second."""

import time


def utc(seconds: "float | None" = None) -> str:
    """As "2026-01-02T03:04:05Z"; seconds: since 1970, by default now."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))
