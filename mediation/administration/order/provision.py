"""What an order must be able to have before it is filed: everything it asks for, from this site and this release.

An order that could only half be carried out is refused here, by a named check, and not silently shortened later
(a field that cannot be encoded refuses the order, not the call).
"""

from __future__ import annotations

import ipaddress
from functools import lru_cache

from mediation.core import target
from mediation.core.authority.authorization import Order
from mediation.core.case import Capability
from mediation.core.check import Check
from mediation.core.errors import AuthorizationError, EncodingError
from mediation.core.message import encoding
from mediation.runtime.config import Site

# The one place that says what this release delivers: a capability or profile is added here when it is built.
CAPABILITIES = frozenset({Capability.CALL_DATA, Capability.DIGITS, Capability.CONTENT})
PROFILES = frozenset(encoding.PROFILES)
HOSTS_KEPT = 256  # thousands of orders go to the few agencies that there are


@lru_cache(HOSTS_KEPT)
def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def check(order: Order, site: Site) -> None:
    """Raises AuthorizationError `not-provided`, `iap-unknown`, `unmatchable` or `unencodable`; never an identity."""
    legal, carrier = order.legal, order.carrier
    if missing := sorted(set(legal.capabilities) - CAPABILITIES):
        raise AuthorizationError(Check.NOT_PROVIDED, f"{Check.NOT_PROVIDED.sentence}: {', '.join(missing)}")
    if legal.profile not in PROFILES:
        raise AuthorizationError(Check.NOT_PROVIDED, f"profile not provided by this release: {legal.profile}")
    content = legal.destination.content
    if content is not None and legal.profile == "pcesp" and content.form != "packetcable":
        raise AuthorizationError(Check.NOT_PROVIDED, "content beside profile pcesp goes in the packetcable form")
    if site.filters_egress:
        hosts = [legal.destination.host] + ([content.host] if content is not None else [])
        if not all(map(_is_address, hosts)):
            raise AuthorizationError(Check.NOT_PROVIDED, "a destination by name: the egress filter takes addresses")
    names = list(site.point_names)
    if unknown := set(carrier.iaps) - set(names):
        raise AuthorizationError(Check.IAP_UNKNOWN, ", ".join(sorted(unknown)))
    for subject in legal.subjects:
        try:
            target.match_keys(subject, site.dial_plan)
        except EncodingError as error:
            raise AuthorizationError(Check.UNMATCHABLE, str(error)) from None
    try:
        encoding.check_order(legal.case, carrier.iaps or names, legal.subjects, legal.profile)
    except EncodingError as error:
        raise AuthorizationError(Check.UNENCODABLE, str(error)) from None
