"""The commands of `k3os`. Only the entry points import this package."""
