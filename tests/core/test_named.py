"""Checks, alarms and findings: each is its name, has its own sentence, and is one that something really says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from mediation.core.check import Check
from mediation.core.named import Named
from mediation.core.records.alarm import Alarm
from mediation.core.records.incident import What

SOURCES = [path.read_text() for path in (Path(__file__).resolve().parents[2] / "mediation").rglob("*.py")]
KINDS = [Check, Alarm, What]


@pytest.mark.parametrize("kind", KINDS)
def test_each_is_its_name_and_has_its_own_sentence(kind: type[Named]) -> None:
    for member in kind:
        assert member == member.value == str(member) and re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", member)
        assert member.sentence and member.sentence != member.value
    assert len({member.sentence for member in kind}) == len(kind)


@pytest.mark.parametrize("kind", KINDS)
def test_each_is_said_somewhere(kind: type[Named]) -> None:
    said = {name for text in SOURCES for name in re.findall(rf"\b{kind.__name__}\.([A-Z_0-9]+)\b", text)}
    assert {member.name for member in kind} <= said


def test_no_alarm_is_entered_by_a_name_of_its_own() -> None:
    assert not [text for text in SOURCES if re.search(r"\balarm=[\"']", text)]


def test_what_is_no_interception() -> None:
    assert {what for what in What if not what.interception} == {What.TAP_GONE, What.UNCERTIFIED}
