"""The orders of a site: how they come in, are acted on, are kept, and are brought back after a crash."""
