"""What the administrator refuses, by name, before anything is entered as accepted."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from mediation.administration.keys import ledger_files
from mediation.administration.ledger import tiles, verify
from mediation.administration.ledger.refusals import REFUSALS_AT_ONCE
from mediation.administration.order.orders import Orders
from mediation.core.case import Act, Authority, Capability
from mediation.core.check import Check
from mediation.core.interface.control import Filing
from mediation.core.ledger import entry
from mediation.runtime.config import Site
from mediation.runtime.keys import read_verifier
from tests.administration import site as s
from tests.administration.site import admitted, kinds
from tests.core import authority as a
from tests.core.mutations import ROWS

# --- refused by name --------------------------------------------------------------------------------------------------

PROVISIONING: dict[str, tuple[Check, dict[str, Any]]] = {
    "content that goes nowhere": (
        Check.CONTENT_MISSING,
        {"authority": Authority.TITLE_III, "capabilities": (Capability.CALL_DATA, Capability.CONTENT)},
    ),
    "location": (
        Check.NOT_PROVIDED,
        {"authority": Authority.TITLE_III, "capabilities": (Capability.CALL_DATA, Capability.LOCATION)},
    ),
    "pen register with content": (Check.AUTHORITY, {"capabilities": (Capability.CONTENT,)}),
    "a number that nothing completes": (Check.UNMATCHABLE, {"subjects": ("tel:5550100",)}),
    "a wildcard that is none": (Check.UNMATCHABLE, {"subjects": ("sip:a*@example.org",)}),
    "a subject that no message can carry": (Check.UNENCODABLE, {"subjects": ("tel:+1" + "2" * 40,)}),
    "an access point that is not there": (Check.IAP_UNKNOWN, {"iaps": ("elsewhere",)}),
    "already over": (Check.EXPIRED, {"not_before_s": 1, "not_after_s": 2}),
    "signed in the future": (Check.COMMAND_DATES, {"issued_s": a.NOW_S + 10**8}),
    "signed before the key was": (Check.KEY_DATES, {"issued_s": 1}),
}


@pytest.mark.parametrize("name", PROVISIONING)
def test_refused_at_provisioning(desk: s.Desk, name: str) -> None:
    check, changes = PROVISIONING[name]
    result = desk.submit(s.filing(desk.site, **changes))[0]
    assert result.check in ({check, Check.UNMATCHABLE} if check is Check.UNENCODABLE else {check})
    assert "555" not in result.detail and "example" not in result.detail and "222" not in result.detail
    assert desk.orders.of_case("CASE-1") == [] and desk.changes == []
    assert kinds(desk.site) == ["site-made", "refused"]


def test_an_order_limited_to_an_access_point_of_the_site(site: Site) -> None:
    desk = s.Desk(s.with_iaps(site, "west", "east"))
    assert desk.submit(s.filing(site, iaps=("west",)))[0].check == ""
    assert admitted(desk).iaps == ("west",)
    desk.orders.close()


def test_one_live_order_a_case(desk: s.Desk) -> None:
    first = s.filing(desk.site, activate=False)
    results = desk.submit(first, s.filing(desk.site), s.filing(desk.site, "CASE-2"))
    assert [result.check for result in results] == ["", Check.CASE_LIVE, ""]
    assert desk.submit(s.filing(desk.site))[0].check == Check.CASE_LIVE
    assert desk.submit(first)[0].check == Check.ALREADY_FILED


def test_acts_that_are_refused(desk: s.Desk) -> None:
    filed, other = s.filing(desk.site, activate=False), s.filing(desk.site, "CASE-2")
    desk.submit(filed, other)

    def check(sequence: int, what: Act, **more: Any) -> str:
        return desk.perform(s.act(desk.site, filed.carrier, more.pop("case", "CASE-1"), sequence, what, **more))[
            0
        ].check

    assert check(1, Act.DEACTIVATE) == Check.ACTIVATION
    assert check(1, Act.DDE, dde=True) == Check.ACTIVATION
    assert check(2, Act.ACTIVATE) == Check.SEQUENCE
    assert check(1, Act.ACTIVATE, case="CASE-2") == Check.SAME_CASE
    activation = s.act(desk.site, filed.carrier, "CASE-1")
    assert desk.perform(activation)[0].check == ""
    assert desk.perform(activation)[0].check == Check.SEQUENCE  # replayed
    assert check(2, Act.ACTIVATE) == Check.ACTIVATION
    assert desk.perform(s.act(desk.site, "unknown", "CASE-1"))[0].check == Check.ORDER_UNKNOWN
    assert desk.perform(filed.legal)[0].check == Check.STRUCTURE
    late = s.act(desk.site, filed.carrier, "CASE-1", 2, Act.DDE, dde=True)
    desk.later(700)
    assert desk.perform(late)[0].check == Check.COMMAND_DATES
    assert admitted(desk).sequence == 1 and not admitted(desk).dde


# Of the matrix, what a submission can carry: the proofs and the ledger's times are the administrator's own to make.
OWN = {
    Check.PROOF_COUNT, Check.PROOF_RECORD, Check.PROOF_CHECKPOINT, Check.PROOF_WITNESSES, Check.PROOF_INCLUSION,
    Check.PROOF_ORDER, Check.PROOF_TIME, Check.NOT_YET_VALID,
}  # fmt: skip
# An order is filed without extensions: those come later, and are refused in test_life.py.
SUBMITTED = [
    name
    for name, (check, make) in ROWS.items()
    if check not in OWN
    and not name.startswith(("proof:", "no command at all", "after the end: deactivated"))
    and not make()[0].extensions
]


@pytest.fixture(scope="module")
def administrator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Orders]:
    """One for all rows: what is refused leaves nothing behind."""
    orders = Orders(s.make(tmp_path_factory.mktemp("administrator")), a.NOW_NS)
    yield orders
    orders.close()


@pytest.mark.parametrize("name", SUBMITTED)
def test_each_mutation_is_refused_by_the_administrator(administrator: Orders, name: str) -> None:
    """The same spoiled orders, handed to the administrator of a site with those key rings, at that time."""
    check, make = ROWS[name]
    request, administrator.trust, now_ns = make()
    filing = Filing(
        legal=request.legal, carrier=request.carrier, commands=request.commands, call_back=request.call_back
    )  # fmt: skip
    assert administrator.submit([filing], now_ns)[0].check == check
    assert list(administrator) == []


def test_refusals_cannot_fill_the_ledger(desk: s.Desk) -> None:
    for _ in range(50):
        assert desk.revoke("rubbish")[0].check == Check.STRUCTURE
    assert kinds(desk.site).count("refused") == REFUSALS_AT_ONCE
    assert desk.orders.counters["refused"] == 50
    assert desk.orders.counters["refused_without_entry"] == 50 - REFUSALS_AT_ONCE
    desk.later(7)
    desk.revoke("rubbish")
    desk.revoke("rubbish")
    suppressed: list[int] = []

    def read(_: tiles.Line, record: entry.Record) -> None:
        if isinstance(record, entry.Refused):
            suppressed.append(record.suppressed)

    verify.examine(ledger_files(desk.site), read_verifier(desk.site.keys_dir), on_record=read)
    assert sum(suppressed) == 50 - REFUSALS_AT_ONCE and len(suppressed) == REFUSALS_AT_ONCE + 1


def test_no_subject_in_the_ledger_or_in_the_clear(desk: s.Desk) -> None:
    desk.submit(s.filing(desk.site))
    desk.submit(s.filing(desk.site, "CASE-2", subjects=("tel:5550100",)))
    for path in desk.site.path.rglob("*"):
        if path.is_file():
            octets = path.read_bytes()
            assert b"2125550100" not in octets and b"5550100" not in octets, path


@pytest.mark.parametrize("profile", ["t1678", "pcesp"])
def test_an_order_names_either_profile(desk: s.Desk, profile: str) -> None:
    assert desk.submit(s.filing(desk.site, profile=profile))[0].check == ""
    assert admitted(desk).profile == profile
