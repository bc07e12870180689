"""Whether somebody may: persons, keys, tokens, acts, proofs and for how long. Nothing else in core/ grants anything."""
