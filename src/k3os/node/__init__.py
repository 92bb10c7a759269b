"""What a node does for itself: its status, reports to the cluster, whether a boot is healthy,
requests of the operator, upgrades, the end of its pods.

A command of k3os.cli parses its arguments, calls one function here, and prints.
"""
