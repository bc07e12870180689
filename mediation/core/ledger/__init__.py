"""What the ledger is made of: entries, trees, notes, cosignatures, and the sealing of what rests on a disk."""
