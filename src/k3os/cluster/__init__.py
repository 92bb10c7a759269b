"""What nodes and the operator tell each other: the node's side of it, and how people see it."""
