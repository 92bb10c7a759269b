"""What a node does for itself: how it is, what it tells the cluster, whether a boot is healthy,
what the operator asks of it, other versions, the end of its pods.

A command of k3os.cli reads its words, calls one function here, and prints.
"""
