"""Drafts of what persons sign: orders, carrier tokens, acts and revocations, with their times and nonces.

For the machine of the person who signs. Answers for complete, well-formed drafts; it gives nothing authority: that is
the person's key, and `authorization` decides what it is worth.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterable

import msgspec

from mediation.core.authority import jws, particulars
from mediation.core.authority.authorization import TYP
from mediation.core.case import (
    Act,
    AgencyRevocation,
    CallBack,
    CarrierExtension,
    CarrierToken,
    Command,
    LegalExtension,
    LegalToken,
    Revocation,
    Role,
)
from mediation.core.check import Check
from mediation.core.errors import AuthorizationError, ConfigurationError
from mediation.signing.signer import Signer

COMMAND_LIFE_S = 600  # an act that is not in the ledger by then has lapsed (ours)

ROLES: dict[type, frozenset[Role]] = {
    LegalToken: frozenset({Role.LEGAL}),
    CarrierToken: frozenset({Role.CARRIER}),
    Command: frozenset({Role.OFFICER}),
    Revocation: frozenset({Role.LEGAL, Role.CARRIER}),
    LegalExtension: frozenset({Role.LEGAL}),
    CarrierExtension: frozenset({Role.CARRIER}),
    CallBack: frozenset({Role.CARRIER, Role.OFFICER}),
    AgencyRevocation: frozenset({Role.LEGAL, Role.CARRIER}),
}
Payload = (
    LegalToken | CarrierToken | Command | Revocation | LegalExtension | CarrierExtension | CallBack | AgencyRevocation
)  # fmt: skip


def now_s() -> int:
    return int(time.time())


def nonce() -> str:
    return secrets.token_hex(16)


def check_signer(kind: type[Payload], person: Signer, *, lab: bool) -> None:
    """Before the person is shown what to sign. Raises ConfigurationError when the person's role cannot sign it."""
    if person.role is not None and person.role not in ROLES[kind]:
        raise ConfigurationError(f"key {person.kid}: its role, {person.role}, does not sign this")
    if person.lab is not None and person.lab is not lab:
        raise ConfigurationError(f"key {person.kid}: a lab key signs only for a lab site, another only for a real one")


def sign(payload: Payload, person: Signer) -> str:
    """The compact text. Raises ConfigurationError when the person's role cannot sign such a thing."""
    check_signer(type(payload), person, lab=payload.lab)
    return jws.sign(payload, TYP[type(payload)], person.kid, person.key())


def legal(draft: LegalToken, person: Signer) -> str:
    """The legal token of a draft, after the checks that it will meet. Raises AuthorizationError, ConfigurationError."""
    particulars.check_legal(draft)
    return sign(draft, person)


def carrier(
    legal_text: str, policy_sha256: str, person: Signer, iaps: Iterable[str] = ()
) -> str:  # fmt: skip
    """The carrier token for one legal token. Raises AuthorizationError, ConfigurationError."""
    order = jws.decode(jws.split(legal_text).payload, LegalToken)
    token = CarrierToken(
        type="carrier", case=order.case, legal_sha256=jws.sha256_hex(legal_text), policy_sha256=policy_sha256,
        iaps=tuple(iaps), issued_s=now_s(), nonce=nonce(), lab=order.lab,
    )  # fmt: skip
    particulars.check_carrier(token)
    return sign(token, person)


def legal_extension(
    legal_text: str, after: str, *, not_after_s: int, court: str, judge: str, document_sha256: str, person: Signer
) -> str:  # fmt: skip
    """The legal reviewer's token of an extension; `after` is the extension before it, empty for the first.

    Raises AuthorizationError, ConfigurationError.
    """
    order = jws.decode(jws.split(legal_text).payload, LegalToken)
    token = LegalExtension(
        type="legal-extension", case=order.case, legal_sha256=jws.sha256_hex(legal_text),
        previous_sha256=jws.sha256_hex(after) if after else "", not_after_s=not_after_s, court=court, judge=judge,
        document_sha256=document_sha256, issued_s=now_s(), nonce=nonce(), lab=order.lab,
    )  # fmt: skip
    particulars.check_legal_extension(token)
    return sign(token, person)


def carrier_extension(carrier_text: str, extension: str, policy_sha256: str, person: Signer) -> str:
    """The carrier authorizer's approval of an extension. Raises AuthorizationError, ConfigurationError."""
    order = jws.decode(jws.split(carrier_text).payload, CarrierToken)
    token = CarrierExtension(
        type="carrier-extension", case=order.case, carrier_sha256=jws.sha256_hex(carrier_text),
        extension_sha256=jws.sha256_hex(extension), policy_sha256=policy_sha256, issued_s=now_s(), nonce=nonce(),
        lab=order.lab,
    )  # fmt: skip
    particulars.check_carrier_extension(token)
    return sign(token, person)


def call_back(legal_text: str, *, number: str, called_s: int, answered_by: str, confirmed: bool, person: Signer) -> str:
    """What a second person learned from the agency of an emergency order. Raises AuthorizationError,
    ConfigurationError."""
    order = jws.decode(jws.split(legal_text).payload, LegalToken)
    token = CallBack(
        type="call-back", case=order.case, legal_sha256=jws.sha256_hex(legal_text), agency=order.agency,
        directory_number=number, called_s=called_s, answered_by=answered_by,
        answer="confirmed" if confirmed else "denied", issued_s=now_s(), nonce=nonce(), lab=order.lab,
    )  # fmt: skip
    particulars.check_call_back(token)
    return sign(token, person)


def command(
    act: Act, case: str, carrier_sha256: str, sequence: int, person: Signer, *, dde: bool, lab: bool,
    extension_sha256: str = "",
) -> str:  # fmt: skip
    """An officer's act; `extension_sha256`, of the carrier's token, for an extension. Raises ConfigurationError."""
    issued = now_s()
    draft = Command(
        type="command", act=act, case=case, carrier_sha256=carrier_sha256, sequence=sequence, dde=dde,
        issued_s=issued, expires_s=issued + COMMAND_LIFE_S, nonce=nonce(), lab=lab, extension_sha256=extension_sha256,
    )  # fmt: skip
    return sign(draft, person)


def revocation(case: str, token_sha256: str, reason: str, person: Signer, *, lab: bool) -> str:
    """The withdrawal of a legal or carrier token. Raises ConfigurationError."""
    draft = Revocation(
        type="revocation", case=case, token_sha256=token_sha256, reason=reason, issued_s=now_s(), nonce=nonce(),
        lab=lab,
    )  # fmt: skip
    return sign(draft, person)


def agency_revocation(agency: str, reason: str, person: Signer, *, lab: bool) -> str:
    """The withdrawal of all authority of one agency. Raises ConfigurationError."""
    draft = AgencyRevocation(
        type="agency-revocation", agency=agency, reason=reason, issued_s=now_s(), nonce=nonce(), lab=lab
    )
    return sign(draft, person)


class _Claimed(msgspec.Struct, frozen=True):
    """Of a token what says which it is; further members are passed over."""

    type: str
    case: str


def withdrawable(text: str) -> tuple[str, Role]:
    """The case of a token and the role whose persons may withdraw it, by what the token says; the site judges it.

    Raises AuthorizationError for what is no token of an order or of an extension.
    """
    parts = jws.split(text)
    claimed = jws.decode(parts.payload, _Claimed)
    for kind in (LegalToken, LegalExtension, CarrierToken, CarrierExtension):
        if parts.header.typ == TYP[kind]:
            (role,) = ROLES[kind]
            return claimed.case, role
    raise AuthorizationError(Check.TOKEN_TYPE, "not a token of an order or of an extension")
