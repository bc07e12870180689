"""Honey cases: cases that nobody ordered, kept so that whoever reads one is seen (SEC-22).

Answers for what a reader is shown and for nothing else. A honey case has no token and no act: there is no signature
from which a task could be made, so nothing can ever arm it, and it is no order of the store. Auditors plant it; the
ledger's entry of that names no case. In a list it stands among the others and raises nothing; reading it by its name
raises the alarm in the same append in which the reading is entered, before the answer leaves.

Trust in the file DIR/administrator/honey.sealed: of one size however many there are, and there always; who deletes it
takes the bait away, which the auditor sees when he reads his own, and who changes it keeps the administrator from
starting.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import msgspec

from mediation.core.authority.particulars import AGENCY, CASE_IDENTITY, MAX_YEAR_S
from mediation.core.case import Act, Authority, Capability, State
from mediation.core.check import Check
from mediation.core.errors import AuthorizationError, ConfigurationError
from mediation.core.interface.control import CaseView, Plant
from mediation.core.ledger.sealing import Sealer, SealError
from mediation.runtime import durable, log

FILE = "honey.sealed"
MAX_CASES = 64
logger = log.get("administrator")

FILLED_OCTETS = 1 << 16  # more than so many cases are
ASSOCIATED = b"honey cases"


class Bait(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One honey case. `secret` is random, hex: what looks like hashes of tokens is made of it."""

    case: str
    agency: str
    authority: Authority
    not_before_s: int
    not_after_s: int
    secret: str
    lab: bool

    def view(self, now_s: int) -> CaseView:
        """What an order of that window would look like at `now_s`."""
        legal, carrier = (hashlib.sha256(f"{each} {self.secret}".encode()).hexdigest() for each in ("legal", "carrier"))
        state = State.WAITING if now_s < self.not_before_s else State.ACTIVE
        return CaseView(
            case=self.case, xid=carrier[:32], state=State.EXPIRED if now_s >= self.not_after_s else state,
            agency=self.agency, authority=self.authority, profile="t1678",
            capabilities=(Capability.CALL_DATA, Capability.DIGITS), not_before_s=self.not_before_s,
            not_after_s=self.not_after_s, dde=False, sequence=1, last_act=Act.ACTIVATE, legal_sha256=legal,
            carrier_sha256=carrier, lab=self.lab,
        )  # fmt: skip


class Honey:
    """The honey cases of a site. A file that was changed has none, as one that was taken away, and the log says so."""

    def __init__(self, folder: Path, box: Sealer) -> None:
        """`box` is the vault's for records. Raises ConfigurationError for a file that cannot be read or made."""
        self._path = folder / FILE
        self._box = box
        self._baits: dict[str, Bait] = {}
        try:
            if not self._path.exists():
                self._write()
            octets = box.open(self._path.read_bytes(), ASSOCIATED)
            self._baits = {bait.case: bait for bait in msgspec.json.decode(octets, type=list[Bait])}
        except OSError as error:
            raise ConfigurationError(f"{FILE}: {error.strerror}") from error
        except (SealError, msgspec.MsgspecError):
            logger.error("alarm_honey_changed")  # noqa: TRY400

    def __contains__(self, case: str) -> bool:
        return case in self._baits

    def views(self, now_s: int, case: str | None = None) -> list[CaseView]:
        """All of them, or the one of that name."""
        baits = self._baits.values() if case is None else [self._baits[case]] if case in self._baits else []
        return [bait.view(now_s) for bait in baits]

    def plant(self, plant: Plant, secret: str, *, lab: bool) -> None:
        """Keeps one more. Raises AuthorizationError for one that does not look like a case, ConfigurationError."""
        if not CASE_IDENTITY.fullmatch(plant.case):
            raise AuthorizationError(Check.CASE_IDENTITY)
        if not AGENCY.fullmatch(plant.agency):
            raise AuthorizationError(Check.AGENCY)
        if not 0 <= plant.not_before_s < plant.not_after_s < MAX_YEAR_S:
            raise AuthorizationError(Check.WINDOW_ORDER)
        if plant.case in self._baits or len(self._baits) >= MAX_CASES:
            raise AuthorizationError(Check.CASE_LIVE)
        bait = Bait(
            case=plant.case, agency=plant.agency, authority=plant.authority, not_before_s=plant.not_before_s,
            not_after_s=plant.not_after_s, secret=secret, lab=lab,
        )  # fmt: skip
        self._baits[plant.case] = bait
        try:
            self._write()
        except OSError as error:
            del self._baits[plant.case]
            raise ConfigurationError(f"{FILE}: {error.strerror}") from error

    def _write(self) -> None:
        octets = msgspec.json.encode(list(self._baits.values()))
        durable.replace(self._path, self._box.seal(octets.ljust(FILLED_OCTETS), ASSOCIATED))
