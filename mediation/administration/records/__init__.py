"""The records that a carrier must keep, and everything that finds out whether they are true."""
