"""Fixtures of the fault tests: those of the delivery and the access tests."""

from tests.access.conftest import folder, wire
from tests.delivery.conftest import certificates, spool

__all__ = ["certificates", "folder", "spool", "wire"]
