"""Fixtures of the fault tests: those of the delivery tests."""

from tests.delivery.conftest import certificates, spool

__all__ = ["certificates", "spool"]
