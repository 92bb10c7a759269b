"""What a node and the operator tell each other, and the node's side of it."""
