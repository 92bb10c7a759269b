"""The operator: rolls the versions and configuration of NodePools out to their nodes."""
