"""Signed requests of a lab site's persons, made as a hostile or an honest tool could make them."""

from __future__ import annotations

import secrets
from typing import Any

from mediation.administration import lab
from mediation.administration.keys import ledger_files
from mediation.administration.ledger import verify
from mediation.administration.persons.gate import Caller
from mediation.administration.persons.inquiries import Inquiries, Prepared
from mediation.core.authority import jws, request
from mediation.core.case import Role
from mediation.core.interface import control
from mediation.core.interface.control import Failed, Inquiry, Signed
from mediation.core.ledger import entry
from mediation.runtime.config import Site
from mediation.runtime.keys import read_verifier
from mediation.signing.file import PersonKey, new_person
from tests.administration import site as s

NS = 1_000_000_000


def envelope(person: PersonKey, inquiry: Inquiry | str, now_s: int, **changes: Any) -> str:
    text = inquiry if isinstance(inquiry, str) else control.encode(inquiry).decode().rstrip("\n")
    facts: dict[str, Any] = {
        "type": "request", "request": text, "reason": "a test", "issued_s": now_s, "expires_s": now_s + 60,
        "nonce": secrets.token_hex(16), "lab": True,
    }  # fmt: skip
    typ = changes.pop("typ", request.TYP)
    return jws.sign(request.Envelope(**{**facts, **changes}), typ, person.kid, person.key())


def signed(site: Site, role: Role, inquiry: Inquiry | str, now_s: int, **changes: Any) -> Signed:
    return Signed(envelope=envelope(lab.person(site, role), inquiry, now_s, **changes))


def stranger(now_s: int) -> PersonKey:
    """A key that stands in no ring."""
    return new_person(Role.OFFICER, "somebody", now_s, lab=True)


class Counter:
    """An administrator's counter with a clock that the test turns."""

    def __init__(self, site: Site) -> None:
        self.desk = s.Desk(site)
        self.site = site
        self.inquiries = Inquiries(self.desk.orders, self.desk.now_ns)

    @property
    def now_s(self) -> int:
        return self.desk.now_ns // NS

    def restart(self) -> None:
        self.desk.restart()
        self.inquiries = Inquiries(self.desk.orders, self.desk.now_ns)

    def ask(self, asked: control.Request, caller: Caller | None = None) -> control.Answer | Prepared:
        return self.inquiries.handle(asked, caller or Caller(uid=4711), self.desk.now_ns)

    def read(self, role: Role, inquiry: control.Inquiry, **changes: Any) -> control.Answer | Prepared:
        return self.ask(signed(self.site, role, inquiry, self.now_s, **changes))

    def records(self, kind: type[entry.Record]) -> list[Any]:
        found: list[entry.Record] = []
        folder = ledger_files(self.site)
        verify.examine(
            folder, read_verifier(self.site.keys_dir), on_record=lambda _, record: found.append(record)
        ).raise_first()
        return [record for record in found if isinstance(record, kind)]


def check_of(answer: object) -> str:
    assert isinstance(answer, Failed), answer
    assert "CASE" not in answer.detail and "2125550100" not in answer.detail
    return answer.check
