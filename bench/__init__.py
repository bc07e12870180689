"""Benchmarks: one script per claim, each beside a C program that does the least that any program could.

`python -m bench.NAME [--quick] --json` prints one JSON object as its last line (see README.md). Loads run only inside
network namespaces that the run made itself and removes at its end, also when it fails.
"""
