"""The reference collection function. It decodes with a codec that is not ours; only the demo, the lab and tests use it."""
