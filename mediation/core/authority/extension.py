"""An extension: its two tokens, signed like the order's own, and that they continue this order and no other.

A court's extension moves an order's end and nothing else (18 USC 2518(5), 3123(c)(2); 50 USC 1805(d)(2)); it needs the
legal reviewer's and the carrier authorizer's signature anew, and the ledger's entry before the end that it moves.
Raises AuthorizationError with the name of a check.
"""

from __future__ import annotations

import msgspec

from mediation.core.authority import jws
from mediation.core.authority.particulars import check_carrier_extension, check_legal_extension
from mediation.core.authority.signature import CLOCK_SKEW_S, check_key_dates, distinct, signed
from mediation.core.authority.trust import Key, Trust
from mediation.core.case import CarrierExtension, LegalExtension, LegalToken, Role
from mediation.core.check import Check
from mediation.core.errors import AuthorizationError


class Extended(msgspec.Struct, frozen=True, kw_only=True):
    """The two tokens of an extension, the keys that signed them, and the end before it."""

    legal: LegalExtension
    carrier: CarrierExtension
    legal_key: Key
    carrier_key: Key
    previous_end_s: int


def examine(
    pair: tuple[str, str],
    order: LegalToken,
    trust: Trust,
    *,
    legal_sha256: str,
    carrier_sha256: str,
    previous_sha256: str,
    end_s: int,
) -> Extended:
    """The two tokens of an extension, its legal and its carrier text in `pair`, which continues the order from `end_s`;
    `previous_sha256` is of the legal extension before it."""
    legal, legal_key = signed(pair[0], LegalExtension, Role.LEGAL, trust)
    carrier, carrier_key = signed(pair[1], CarrierExtension, Role.CARRIER, trust)
    distinct(legal_key, carrier_key)
    if legal.lab is not trust.lab or carrier.lab is not trust.lab:
        raise AuthorizationError(Check.LAB_TOKEN)
    if not legal.case == carrier.case == order.case:
        raise AuthorizationError(Check.SAME_CASE)
    if legal.legal_sha256 != legal_sha256 or carrier.extension_sha256 != jws.sha256_hex(pair[0]):
        raise AuthorizationError(Check.LEGAL_BINDING)
    if carrier.carrier_sha256 != carrier_sha256:
        raise AuthorizationError(Check.CARRIER_BINDING)
    check_legal_extension(legal)
    check_carrier_extension(carrier)
    if legal.previous_sha256 != previous_sha256 or legal.not_after_s <= end_s:
        raise AuthorizationError(Check.EXTENSION)
    trust.terms.check_extension(order.authority, order.term_days, order.not_before_s, end_s, legal.not_after_s)
    return Extended(
        legal=legal, carrier=carrier, legal_key=legal_key, carrier_key=carrier_key, previous_end_s=end_s
    )  # fmt: skip


def check_dates(extended: Extended, entered_s: int) -> None:
    """An extension counts only if it was entered before the end that it moves, by keys that were good."""
    if entered_s >= extended.previous_end_s:
        raise AuthorizationError(Check.EXTENSION)
    if extended.legal.issued_s > extended.carrier.issued_s + CLOCK_SKEW_S:
        raise AuthorizationError(Check.COMMAND_DATES)
    check_key_dates(extended.legal_key, extended.legal.issued_s, entered_s)
    check_key_dates(extended.carrier_key, extended.carrier.issued_s, entered_s)
