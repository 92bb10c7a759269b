"""Getting k3OS onto a disk: what will be done (plan.py), and the doing (perform.py)."""
