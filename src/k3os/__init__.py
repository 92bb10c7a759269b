"""k3OS: a Linux distribution that contains only what Kubernetes (k3s) needs."""

__version__ = "0.1.0"
