"""The auditor's own tool: verifies an export of a ledger offline, on a laptop, without the daemon.

A second implementation, independent of the daemon's: it imports nothing of `mediation` but this package, the standard
library, and `cryptography` for the mathematics of signatures. Two programs that share no code and say the same of one
export are better evidence than one that says it twice. `make audit` packs it into one file, `audit.pyz`.

It reads one archive, writes nothing, asks no network and holds no private key.
"""
