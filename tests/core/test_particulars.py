"""Words that are printed are what they look like."""

from __future__ import annotations

import sys
import unicodedata

import pytest

from mediation.core.authority.particulars import MAX_WORDS, legible
from mediation.core.check import Check
from mediation.core.errors import AuthorizationError
from mediation.core.records import plan
from tests.core.authority import NOW_S
from tests.core.mutations_people import trust

HIDDEN = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
SEEN = (
    "District Court",
    "Ñandú",
    "Übung ß",
    "Ивáн",
    "株式会社",
    "משפט",
    "محكمة",
    "a" * MAX_WORDS,
    "Zoë",
    "O'Neill – 2",
)


@pytest.mark.parametrize("words", SEEN)
def test_words_of_any_script(words: str) -> None:
    assert legible(words)


def test_no_character_of_a_hidden_category() -> None:
    wrong = [
        f"{number:x}"
        for number in range(sys.maxunicode + 1)
        if unicodedata.category(chr(number)) in HIDDEN and legible(f"a{chr(number)}b")
    ]
    assert wrong == []


@pytest.mark.parametrize(
    "words",
    ["", " ", "\u3000", "a" * (MAX_WORDS + 1), "a\u202eb", "a\u2066b", "a\u200bb", "a\ufeffb", "a\u3164b", "a\ufe0fb",
     "a\u00a0b", "a\U000e0101b", "a\u00adb"],
    ids=ascii,
)  # fmt: skip
def test_words_that_are_not_what_they_look_like(words: str) -> None:
    assert not legible(words)


def test_the_plan_and_its_appendix() -> None:
    """What the configuration says is filed with the Commission."""
    facts = {"site": "x", "retention_days": 365, "lab": True}
    assert plan.draft(1, carrier="Carrier", **facts)  # type: ignore[arg-type]
    officer = trust().senior_officer(NOW_S)
    assert plan.annex(officer, plan.Contact(telephone="+1 212 555 0100"), site="x", lab=True)
    for make in (
        lambda: plan.draft(1, carrier="Car\u202erier", **facts),  # type: ignore[arg-type]
        lambda: plan.annex(officer, plan.Contact(telephone="+1 212\u200b 555"), site="x", lab=True),
        lambda: plan.annex(officer, plan.Contact(mail="duty\u2060@x.example"), site="x", lab=True),
    ):
        with pytest.raises(AuthorizationError) as refused:
            make()
        assert refused.value.check == Check.PLAN
