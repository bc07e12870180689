"""Names that carry their own sentence: the name is for logs, ledger and answers, the sentence for who reads of it.

Answers for the one shape of the enumerations of checks (core/check.py), alarms (core/records/alarm.py) and findings
(core/records/incident.py). A member is its name, a str; no name and no sentence says anything of a subject.
"""

from __future__ import annotations

import enum
from typing import Self


class Named(enum.StrEnum):
    """Each member is written `NAME = "name", "the sentence"`."""

    sentence: str

    def __new__(cls, name: str, sentence: str) -> Self:
        member = str.__new__(cls, name)
        member._value_ = name
        member.sentence = sentence
        return member
