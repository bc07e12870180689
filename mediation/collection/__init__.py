"""The reference collection function: decodes with a codec that is not ours; for the demo, the lab and tests."""
