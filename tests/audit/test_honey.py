"""SEC-22: a case that nobody ordered; who reads it is seen at once, and sees nothing himself."""

from __future__ import annotations

import msgspec

from mediation.administration import lab
from mediation.administration.order import drafting
from mediation.administration.persons import honey
from mediation.core.case import Act, Authority, Capability, Role
from mediation.core.check import Check
from mediation.core.interface.control import (
    CaseList,
    Cases,
    Done,
    Export,
    Perform,
    Plant,
    Results,
)
from mediation.core.ledger import entry
from tests.audit.asking import Counter, check_of

# --- the honey case (SEC-22) ------------------------------------------------------------------------------------------


def plant(counter: Counter, case: str = "26-M-99") -> None:
    bait = Plant(case=case, agency="DEA-SW", authority=Authority.TITLE_III, not_before_s=counter.now_s - 100,
                 not_after_s=counter.now_s + 10_000)  # fmt: skip
    assert counter.read(Role.AUDITOR, bait) == Done()


def test_reading_a_honey_case_raises_the_alarm_at_once(counter: Counter) -> None:
    plant(counter)
    assert "26-M-99" not in "".join(entry.encode(each) for each in counter.records(entry.CaseRead))
    listed = counter.read(Role.OFFICER, Cases())
    assert isinstance(listed, CaseList) and {each.case for each in listed.cases} == {"CASE-1", "CASE-2", "26-M-99"}
    assert counter.records(entry.Alarm) == []  # everybody lists
    counter.restart()
    shown = counter.read(Role.OFFICER, Cases(case="26-M-99"))
    assert [(each.alarm, each.case) for each in counter.records(entry.Alarm)] == [("honey-case", "26-M-99")]
    assert counter.records(entry.CaseRead)[-1].what == "show"
    real = counter.read(Role.OFFICER, Cases(case="CASE-1"))
    assert isinstance(shown, CaseList) and isinstance(real, CaseList)
    like, model = (msgspec.to_builtins(each.cases[0]) for each in (shown, real))
    assert like.keys() == model.keys() and {k: type(v) for k, v in like.items()} == {
        k: type(v) for k, v in model.items()
    }  # the reader sees nothing
    assert (like["state"], len(like["xid"]), len(like["carrier_sha256"])) == ("active", 32, 64)
    assert like["xid"] == like["carrier_sha256"][:32]  # as of every order
    assert shown == counter.read(Role.OFFICER, Cases(case="26-M-99"))
    counter.read(Role.OFFICER, Export(kinds=(), cases=("26-M-99",)))
    assert len(counter.records(entry.Alarm)) == 3


def test_a_honey_case_can_not_be_armed(counter: Counter) -> None:
    plant(counter)
    shown = counter.read(Role.OFFICER, Cases(case="26-M-99"))
    assert isinstance(shown, CaseList)
    counter.desk.changes.clear()
    assert "26-M-99" not in {order.case for order in counter.desk.orders}
    officer = lab.person(counter.site, Role.OFFICER)
    act = drafting.command(Act.DDE, "26-M-99", shown.cases[0].carrier_sha256, 2, officer, dde=True, lab=True)
    answer = counter.ask(Perform(commands=(act,)))
    assert isinstance(answer, Results) and answer.results[0].check == Check.ORDER_UNKNOWN
    assert counter.desk.changes == []
    assert Capability.CONTENT not in shown.cases[0].capabilities


def test_a_honey_case_is_no_real_one(counter: Counter) -> None:
    bait = Plant(case="CASE-1", agency="DEA", authority=Authority.TITLE_III, not_before_s=1, not_after_s=2)
    assert check_of(counter.read(Role.AUDITOR, bait)) == Check.CASE_LIVE
    assert check_of(counter.read(Role.AUDITOR, msgspec.structs.replace(bait, case="x" * 26))) == Check.CASE_IDENTITY
    assert check_of(counter.read(Role.AUDITOR, msgspec.structs.replace(bait, case="B", agency="../x"))) == Check.AGENCY
    plant(counter)
    assert (counter.site.path / "administrator" / "honey.sealed").stat().st_mode & 0o777 == 0o600


def test_a_file_that_was_changed_keeps_nobody_from_starting(counter: Counter) -> None:
    """It is as one that was taken away, and another can be planted."""
    plant(counter)
    path = counter.site.path / "administrator" / honey.FILE
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    for number in range(2):
        counter.restart()
        listed = counter.read(Role.AUDITOR, Cases())
        assert isinstance(listed, CaseList) and len(listed.cases) == 2 + number
        if not number:
            plant(counter)
