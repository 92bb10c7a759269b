"""The commands of `k3os`. Nothing imports this package but the entry points."""
