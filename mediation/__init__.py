"""The mediation daemon: see docs/ARCHITECTURE.md for where a packet comes in and where a message leaves."""

__version__ = "0.1.0"
