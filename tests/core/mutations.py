"""The mutation matrix of SEC-16 and SEC-27: every way an authority can be wrong, each with the check that must say so.

Each row spoils one thing only, so that all other checks pass: without the named guard the row would be admitted, or
refused by another name. `ROWS` is for whoever calls `admit`: in this process, and in each function's own.
"""

from tests.core import (
    mutations_content,
    mutations_extension,
    mutations_life,
    mutations_order,
    mutations_people,
    mutations_proof,
    mutations_signed,
)
from tests.core.mutation import ROWS

__all__ = [
    "ROWS", "mutations_content", "mutations_extension", "mutations_life", "mutations_order", "mutations_people",
    "mutations_proof", "mutations_signed",
]  # fmt: skip
