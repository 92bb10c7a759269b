"""Installing k3OS on a disk: plan.py decides what to do, perform.py does it."""
