"""A lab site in a temporary folder, and its persons' acts without the command line."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from mediation.administration import lab, making
from mediation.administration.keys import ledger_files
from mediation.administration.ledger import verify
from mediation.administration.order import drafting
from mediation.administration.order.orders import Orders
from mediation.administration.order.stored import Stored
from mediation.core.authority import authorization, jws
from mediation.core.case import Act, Authority, Capability, LegalToken, Role, State, Task
from mediation.core.interface.control import Extending, Filing, Result
from mediation.runtime import config
from mediation.runtime.config import Site
from mediation.runtime.keys import load_trust, read_verifier

NS = 1_000_000_000
HASH = "ab" * 32


def make(folder: Path) -> Site:
    return making.make(folder / "site", is_lab=True)


def draft(site: Site, case: str = "CASE-1", **changes: Any) -> LegalToken:
    now = int(time.time())
    facts: dict[str, Any] = {
        "type": "legal", "case": case, "authority": Authority.PEN_REGISTER, "agency": lab.AGENCY,
        "subjects": ("tel:+12125550100",), "not_before_s": now - 10, "not_after_s": now + 3600,
        "capabilities": (Capability.CALL_DATA, Capability.DIGITS), "destination": lab.destination(site),
        "profile": "t1678", "court": "LAB court", "judge": "LAB judge", "presenting_officer": "LAB officer",
        "document_sha256": HASH, "issued_s": now - 5, "nonce": drafting.nonce(), "lab": True,
    }  # fmt: skip
    return LegalToken(**{**facts, **changes})


def filing(site: Site, case: str = "CASE-1", *, activate: bool = True, dde: bool = False, iaps: tuple[str, ...] = (),
           **changes: Any) -> Filing:  # fmt: skip
    """An order by the lab's three persons; `changes` are to the legal token, which is signed as it stands."""
    token = draft(site, case, **changes)
    legal = drafting.sign(token, lab.person(site, Role.LEGAL))
    carrier = drafting.carrier(legal, HASH, lab.person(site, Role.CARRIER), iaps)
    commands = (act(site, carrier, case, dde=dde),) if activate else ()
    return Filing(
        legal=legal, carrier=carrier, commands=commands,
        call_back=call_back(site, legal) if token.authority.emergency else "",
    )  # fmt: skip


def call_back(site: Site, legal: str, *, confirmed: bool = True) -> str:
    return drafting.call_back(
        legal, number=lab.DIRECTORY_NUMBER, called_s=drafting.now_s(), answered_by="LAB duty officer",
        confirmed=confirmed, person=lab.person(site, Role.OFFICER),
    )  # fmt: skip


def extension(
    site: Site, filed: Filing, not_after_s: int, sequence: int = 2, *, after: str = "", case: str = "CASE-1"
) -> Extending:
    """An extension by the lab's three persons, and the officer's act that puts it in force."""
    legal = drafting.legal_extension(
        filed.legal, after, not_after_s=not_after_s, court="LAB court", judge="LAB judge", document_sha256=HASH,
        person=lab.person(site, Role.LEGAL),
    )  # fmt: skip
    carrier = drafting.carrier_extension(filed.carrier, legal, HASH, lab.person(site, Role.CARRIER))
    command = drafting.command(
        Act.EXTEND, case, jws.sha256_hex(filed.carrier), sequence, lab.person(site, Role.OFFICER), dde=False, lab=True,
        extension_sha256=jws.sha256_hex(carrier),
    )  # fmt: skip
    return Extending(legal=legal, carrier=carrier, command=command)


def act(site: Site, carrier: str, case: str, sequence: int = 1, what: Act = Act.ACTIVATE, *, dde: bool = False) -> str:
    officer = lab.person(site, Role.OFFICER)
    return drafting.command(what, case, jws.sha256_hex(carrier), sequence, officer, dde=dde, lab=True)


def revocation(
    site: Site, filed: Filing, case: str = "CASE-1", token: str = "legal", signer: Role | None = None
) -> str:
    person = lab.person(site, signer or Role(token))
    text = filed.legal if token == "legal" else filed.carrier
    if signer is not None and signer not in (Role.LEGAL, Role.CARRIER):
        person = msgspec.structs.replace(person, role=Role.LEGAL)  # the tool would refuse; the site must as well
    return drafting.revocation(case, jws.sha256_hex(text), "test", person, lab=True)


@dataclass
class Desk:
    """Orders of a site with a clock that the test turns; every change of a task is kept with what was durable then."""

    site: Site
    now_ns: int = field(default_factory=time.time_ns)
    changes: list[tuple[str, State]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._open()

    def _open(self) -> None:
        self.orders = Orders(self.site, self.now_ns, self._changed)
        self.orders.records.busy = lambda: False  # there are no functions here
        self.orders.advance(self.now_ns)

    def _changed(self, order: Stored) -> None:
        self.changes.append((order.case, order.state))

    def restart(self) -> None:
        self.orders.close()
        self.changes.clear()
        self._open()

    def submit(self, *filings: Filing) -> list[Result]:
        return self.orders.submit(filings, self.now_ns)

    def perform(self, *texts: str) -> list[Result]:
        return self.orders.perform(texts, self.now_ns)

    def revoke(self, *texts: str) -> list[Result]:
        return self.orders.revoke(texts, self.now_ns)

    def extend(self, *extensions: Extending) -> list[Result]:
        return self.orders.extend(extensions, self.now_ns)

    def later(self, seconds: float) -> None:
        self.now_ns += int(seconds * NS)
        self.orders.advance(self.now_ns)

    def order(self, case: str = "CASE-1") -> Stored:
        return self.orders.of_case(case)[-1]

    def state(self, case: str = "CASE-1") -> State:
        return self.order(case).state


def with_iaps(site: Site, *names: str) -> Site:
    return msgspec.structs.replace(site, iaps=tuple(config.Iap(name=name, interface="lo") for name in names))


def kinds(site: Site) -> list[str]:
    """The kinds of all entries, by what stands on the disk."""
    found: list[str] = []
    report = verify.examine(
        ledger_files(site),
        read_verifier(site.keys_dir),
        on_record=lambda _, record: found.append(str(record.__struct_config__.tag)),
    )
    assert report.problems == ()
    return found


def admitted(desk: Desk, case: str = "CASE-1") -> Task:
    """What any other function makes of the order, from the key rings on the disk."""
    return authorization.admit(desk.orders.request(desk.order(case)), load_trust(desk.site), desk.now_ns)
