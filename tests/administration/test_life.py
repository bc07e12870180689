"""The life of an order beyond its first window: extended, suspended, an emergency; alarms; all over restarts."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import pytest

from mediation.administration.keys import ledger_files
from mediation.administration.ledger import tiles, verify
from mediation.administration.ledger.ledger import Ledger
from mediation.administration.order.store import Store
from mediation.core.authority import authorization
from mediation.core.authority.term import DAY_S, HOUR_S, left
from mediation.core.case import Act, Authority, Role, State
from mediation.core.check import Check
from mediation.core.errors import LedgerError
from mediation.core.interface.control import Filing
from mediation.core.ledger import entry
from mediation.core.records.alarm import COUNTDOWN_H, Alarm
from mediation.runtime.config import Site
from mediation.runtime.keys import read_verifier
from tests.administration import site as s
from tests.administration.site import NS, admitted, kinds


def alarms(site: Site) -> list[tuple[str, str]]:
    """All alarms that the ledger has of a case: name and case."""
    found: list[tuple[str, str]] = []

    def read(_: tiles.Line, record: entry.Record) -> None:
        if isinstance(record, entry.Alarm) and record.case:
            found.append((record.alarm, record.case))

    verify.examine(ledger_files(site), read_verifier(site.keys_dir), on_record=read)
    return found


def end(desk: s.Desk, seconds: int = 7200) -> int:
    return desk.now_ns // NS + seconds


# --- extension --------------------------------------------------------------------------------------------------------


def test_extended_twice_and_over_a_restart(desk: s.Desk) -> None:
    filed = s.filing(desk.site)
    desk.submit(filed)
    first = s.extension(desk.site, filed, end(desk))
    assert desk.extend(first)[0].check == ""
    assert (desk.state(), desk.order().not_after_s) == (State.EXTENDED, end(desk))
    assert kinds(desk.site)[-2:] == ["extension-filed", "command-accepted"]
    second = s.extension(desk.site, filed, end(desk, 9000), 3, after=first.legal)
    assert desk.extend(second)[0].check == ""
    for _ in range(2):
        assert admitted(desk).not_after_ns == end(desk, 9000) * NS
        assert desk.changes[-1:] in ([("CASE-1", State.EXTENDED)], [])
        desk.restart()
        assert (desk.state(), desk.order().not_after_s) == (State.EXTENDED, end(desk, 9000))
    desk.now_ns = desk.order().not_after_s * NS - 1
    desk.later(0)
    assert desk.state() is State.EXTENDED and desk.orders.wanted(desk.order())
    desk.now_ns += 1
    desk.later(0)
    assert desk.state() is State.EXPIRED


def test_an_extension_after_the_end_is_refused(desk: s.Desk) -> None:
    filed = s.filing(desk.site)
    desk.submit(filed)
    late = s.extension(desk.site, filed, end(desk))
    desk.later(3700)
    assert desk.extend(late)[0].check == Check.EXPIRED
    assert desk.state() is State.EXPIRED


@pytest.mark.parametrize(
    ("spoil", "check"),
    [
        (lambda each: msgspec.structs.replace(each, legal=""), Check.STRUCTURE),
        (lambda each: msgspec.structs.replace(each, carrier=""), Check.EXTENSION),
        (lambda each: msgspec.structs.replace(each, legal=each.carrier), Check.TOKEN_TYPE),
    ],
)
def test_an_extension_needs_both_tokens(desk: s.Desk, spoil: Callable[..., object], check: Check) -> None:
    filed = s.filing(desk.site)
    desk.submit(filed)
    good = s.extension(desk.site, filed, end(desk))
    assert desk.extend(spoil(good))[0].check == check  # type: ignore[arg-type]
    assert desk.perform(good.command)[0].check == Check.EXTENSION
    assert desk.order().extensions == [] and desk.state() is State.ACTIVE
    assert desk.extend(good)[0].check == ""


def test_an_order_that_does_not_run_is_not_extended(desk: s.Desk) -> None:
    filed = s.filing(desk.site, activate=False)
    desk.submit(filed)
    assert desk.extend(s.extension(desk.site, filed, end(desk), 1))[0].check == Check.ACTIVATION
    now = desk.now_ns // NS
    waiting = s.filing(desk.site, "CASE-2", not_before_s=now + 60, not_after_s=now + 600)
    desk.submit(waiting)
    assert desk.extend(s.extension(desk.site, waiting, end(desk), case="CASE-2"))[0].check == Check.EXTENSION


def test_a_withdrawn_extension_ends_the_order(desk: s.Desk) -> None:
    filed = s.filing(desk.site)
    desk.submit(filed)
    more = s.extension(desk.site, filed, end(desk))
    desk.extend(more)
    withdrawn = Filing(legal=more.legal, carrier=more.carrier)
    assert desk.revoke(s.revocation(desk.site, withdrawn, signer=Role.CARRIER))[0].check == Check.KEY_ROLE
    assert desk.revoke(s.revocation(desk.site, withdrawn))[0].check == ""
    assert desk.state() is State.REVOKED


@pytest.mark.parametrize(("kind", "name"), [(Ledger, "append"), (Store, "set_state"), (Store, "add_extension")])
def test_a_crash_in_an_extension(desk: s.Desk, monkeypatch: pytest.MonkeyPatch, kind: type, name: str) -> None:
    """At every step: either the order is extended for everybody, or for nobody and it can be tried again."""
    filed = s.filing(desk.site)
    desk.submit(filed)
    more = s.extension(desk.site, filed, end(desk))

    def crash(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(kind, name, crash)
        with pytest.raises(KeyboardInterrupt):
            desk.extend(more)
    desk.restart()
    if name == "set_state":  # the ledger has it
        assert (desk.state(), admitted(desk).not_after_ns) == (State.EXTENDED, end(desk) * NS)
    else:
        assert desk.state() is State.ACTIVE and admitted(desk).not_after_ns < end(desk) * NS
        assert desk.extend(more)[0].check == ""


# --- suspension -------------------------------------------------------------------------------------------------------


def test_suspended_and_resumed(desk: s.Desk) -> None:
    filed = s.filing(desk.site)
    desk.submit(filed)
    assert desk.perform(s.act(desk.site, filed.carrier, "CASE-1", 2, Act.RESUME))[0].check == Check.SUSPENSION
    assert desk.perform(s.act(desk.site, filed.carrier, "CASE-1", 2, Act.SUSPEND))[0].check == ""
    for _ in range(2):
        assert desk.state() is State.SUSPENDED and admitted(desk).suspended and desk.order().suspended_at == 2
        desk.restart()
    assert desk.perform(s.act(desk.site, filed.carrier, "CASE-1", 3, Act.SUSPEND))[0].check == Check.SUSPENSION
    assert desk.extend(s.extension(desk.site, filed, end(desk), 3))[0].check == ""
    assert desk.state() is State.SUSPENDED
    assert desk.perform(s.act(desk.site, filed.carrier, "CASE-1", 4, Act.RESUME))[0].check == ""
    for _ in range(2):
        assert desk.state() is State.EXTENDED and not admitted(desk).suspended
        desk.restart()
    assert desk.perform(s.act(desk.site, filed.carrier, "CASE-1", 5, Act.SUSPEND))[0].check == ""
    desk.later(7200)
    assert desk.state() is State.EXPIRED


def test_a_crash_after_the_ledger_has_the_suspension(desk: s.Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    filed = s.filing(desk.site)
    desk.submit(filed)

    def crash(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Store, "set_state", crash)
        with pytest.raises(KeyboardInterrupt):
            desk.perform(s.act(desk.site, filed.carrier, "CASE-1", 2, Act.SUSPEND))
    desk.restart()
    assert desk.state() is State.SUSPENDED


def test_suspended_though_the_ledger_cannot_be_written(desk: s.Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """A suspension waits for nothing; it can be resumed once its entry has been made."""
    filed = s.filing(desk.site)
    desk.submit(filed)

    def full(*_: object) -> None:
        raise LedgerError("full")

    with monkeypatch.context() as patch:
        patch.setattr(Ledger, "append", full)
        assert desk.perform(s.act(desk.site, filed.carrier, "CASE-1", 2, Act.SUSPEND))[0].check == ""
        assert desk.changes[-1] == ("CASE-1", State.SUSPENDED)
        assert not desk.orders.wanted(desk.order())  # what is not entered is proven to nobody
        with pytest.raises(LedgerError):
            desk.perform(s.act(desk.site, filed.carrier, "CASE-1", 3, Act.RESUME))
    assert desk.perform(s.act(desk.site, filed.carrier, "CASE-1", 3, Act.RESUME))[0].check == ""
    assert admitted(desk).sequence == 3
    desk.restart()
    assert desk.state() is State.ACTIVE and admitted(desk).sequence == 3


# --- emergencies ------------------------------------------------------------------------------------------------------


def emergency(desk: s.Desk, case: str = "CASE-1", **changes: object) -> Filing:
    now = desk.now_ns // NS
    facts = {"authority": Authority.EMERGENCY_PEN_REGISTER, "not_before_s": now, "not_after_s": now + 48 * HOUR_S}
    return s.filing(desk.site, case, **{**facts, **changes})


def test_an_emergency_order_needs_its_call_back_and_ends_by_itself(desk: s.Desk) -> None:
    filed = emergency(desk)
    bare = msgspec.structs.replace(filed, call_back="")
    denied = msgspec.structs.replace(filed, call_back=s.call_back(desk.site, filed.legal, confirmed=False))
    assert [result.check for result in desk.submit(bare, denied)] == [Check.CALL_BACK, Check.CALL_BACK]
    assert desk.submit(filed)[0].check == ""
    assert kinds(desk.site)[-3:] == ["order-filed", "call-back-filed", "command-accepted"]
    for _ in range(2):
        assert desk.state() is State.ACTIVE and admitted(desk).authority is Authority.EMERGENCY_PEN_REGISTER
        desk.restart()
    too_long = s.extension(desk.site, filed, end(desk, 49 * HOUR_S))
    assert desk.extend(too_long)[0].check == Check.TERM
    desk.later(48 * HOUR_S)
    assert desk.state() is State.EXPIRED
    assert alarms(desk.site)[-1] == (Alarm.EMERGENCY_LAPSED, "CASE-1")


def test_an_ordinary_order_takes_the_place_of_an_emergency(desk: s.Desk) -> None:
    desk.submit(emergency(desk))
    assert desk.submit(emergency(desk))[0].check == Check.CASE_LIVE
    desk.later(60)
    assert desk.submit(s.filing(desk.site, activate=False))[0].check == ""
    assert [order.state for order in desk.orders.of_case("CASE-1")] == [State.ACTIVE, State.FILED]
    assert desk.submit(s.filing(desk.site))[0].check == Check.CASE_LIVE
    ordinary = desk.order()
    assert desk.perform(s.act(desk.site, ordinary.carrier, "CASE-1"))[0].check == ""
    for _ in range(2):
        assert [order.state for order in desk.orders.of_case("CASE-1")] == [State.EXPIRED, State.ACTIVE]
        desk.restart()
    desk.later(2000)
    assert Alarm.EMERGENCY_LAPSED not in [name for name, _ in alarms(desk.site)]


# --- alarms -----------------------------------------------------------------------------------------------------------


def test_the_countdown_is_announced_once_each_over_restarts(desk: s.Desk) -> None:
    now = desk.now_ns // NS
    filed = s.filing(desk.site, not_before_s=now, not_after_s=now + 30 * DAY_S)
    desk.submit(filed)
    assert alarms(desk.site) == []
    desk.later(27 * DAY_S - 1)
    assert alarms(desk.site) == []
    told: list[tuple[str, str]] = []
    for hours, before in zip(COUNTDOWN_H, (72, *COUNTDOWN_H), strict=False):
        desk.later((before - hours) * HOUR_S + (1 if hours == 72 else 0))
        told.append((f"ends-in-{hours}h", "CASE-1"))
        assert alarms(desk.site) == told
        desk.restart()
        desk.later(0)
        assert alarms(desk.site) == told
    assert desk.orders.counters["alarm_ends-in-1h"] == 0  # it was raised before the restart
    desk.later(3600)
    assert desk.state() is State.EXPIRED and alarms(desk.site) == told


def test_the_nearest_announcement_alone_after_an_absence(desk: s.Desk) -> None:
    now = desk.now_ns // NS
    desk.submit(s.filing(desk.site, not_before_s=now, not_after_s=now + 30 * DAY_S))
    desk.now_ns += (30 * DAY_S - 2 * HOUR_S) * NS
    desk.restart()
    assert alarms(desk.site) == [(Alarm.ENDS_4H, "CASE-1")]
    assert desk.orders.counters["alarm_ends-in-4h"] == 1


def test_an_extension_begins_the_countdown_anew(desk: s.Desk) -> None:
    now = desk.now_ns // NS
    filed = s.filing(desk.site, not_before_s=now - 5, not_after_s=now + 3 * HOUR_S)
    desk.submit(filed)
    more = s.extension(desk.site, filed, now + 10 * HOUR_S)
    desk.extend(more)
    desk.later(2 * HOUR_S)
    assert alarms(desk.site) == []
    desk.later(4 * HOUR_S)
    assert alarms(desk.site) == [(Alarm.ENDS_4H, "CASE-1")]


def test_no_alarm_says_whom_it_is_about(desk: s.Desk, capsys: pytest.CaptureFixture[str]) -> None:
    desk.submit(emergency(desk))
    desk.later(48 * HOUR_S)
    said = capsys.readouterr()
    assert "2125550100" not in said.out + said.err


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "over"), (-5, "over"), (1, "1 second"), (59, "59 seconds"), (60, "1 minute"),
        (3599, "59 minutes 59 seconds"),
        (3600, "1 hour"), (7260, "2 hours 1 minute"), (86_400, "1 day"), (3 * 86_400 + 4 * 3600 + 59, "3 days 4 hours"),
    ],
)  # fmt: skip
def test_what_is_left_in_words(seconds: int, words: str) -> None:
    assert left(seconds) == words


def test_a_function_finds_a_tampered_end_by_itself(desk: s.Desk) -> None:
    """The store's own idea of the end gives no authority: only the signed texts do."""
    filed = s.filing(desk.site)
    desk.submit(filed)
    desk.order().not_after_s += 30 * DAY_S
    with pytest.raises(authorization.AuthorizationError, match="expired"):
        authorization.admit(
            desk.orders.request(desk.order()), desk.orders.trust, desk.now_ns + 3601 * NS
        )  # fmt: skip
