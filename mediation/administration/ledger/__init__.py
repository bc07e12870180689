"""The ledger as files: one writer, its heads, its witnesses, its stamps, and the check of all of it."""
