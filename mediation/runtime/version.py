"""Which release this is, as the installed package says it.

Not trusted: what runs is told by its hashes (runtime/identity.py), and a release by its signature (cli/release.py).
"""

from __future__ import annotations

from typing import Final

UNRELEASED: Final = "unreleased"  # run from its source


def version() -> str:
    from importlib import metadata  # noqa: PLC0415 - a fiftieth of a second, for who asks

    try:
        return metadata.version("mediation")
    except metadata.PackageNotFoundError:
        return UNRELEASED
