"""From a Config to effects: the phase table, one applier per key, the runner, the report."""
