"""What nodes and the operator exchange: the node's part of it, and how people see it."""
