"""The operator: it rolls the versions and configuration of NodePools out to their nodes."""
