"""Reconciliation: what the kernel and the switch really have, seen by another path than the one that set it."""
