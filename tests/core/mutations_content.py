"""Rows of the mutation matrix: content, asked for and addressed."""

from __future__ import annotations

from typing import Any

import msgspec

from mediation.core.authority import jws, particulars
from mediation.core.case import Authority, Capability, ContentDestination
from mediation.core.check import Check
from tests.core import authority as a
from tests.core.authority import LEGAL
from tests.core.mutation import GOOD, Case, now, order, row, rows

CONTENT = ContentDestination(host="192.0.2.9", port=41810)
WITH_CONTENT = msgspec.structs.replace(LEGAL.destination, content=CONTENT)


def with_content(authority: Authority = Authority.TITLE_III, **changes: Any) -> Case:
    """An order for content, with these changes to where the content goes."""
    content = msgspec.structs.replace(CONTENT, **changes)
    return order(
        authority=authority,
        capabilities=(Capability.CALL_DATA, Capability.CONTENT),
        destination=msgspec.structs.replace(LEGAL.destination, content=content),
    )


rows(
    Check.AUTHORITY,
    "content beyond the authority, with a destination",
    {
        str(authority): lambda authority=authority: with_content(authority)
        for authority in (Authority.PEN_REGISTER, Authority.TRAP_AND_TRACE)
    },
)
rows(
    Check.CONTENT_MISSING,
    "content without a destination",
    {
        str(authority): lambda authority=authority: order(
            authority=authority, capabilities=(Capability.CALL_DATA, Capability.CONTENT)
        )
        for authority in (Authority.TITLE_III, Authority.FISA)
    },
)
rows(
    Check.CONTENT_UNORDERED,
    "a destination for content that was not ordered",
    {
        str(authority): lambda authority=authority: order(authority=authority, destination=WITH_CONTENT)
        for authority in Authority
    },
)
rows(
    Check.DESTINATION,
    "destination of content",
    {
        str(changes): lambda changes=changes: with_content(**changes)
        for changes in (
            {"host": ""},
            {"host": "256.1.1.1"},
            {"host": "224.0.0.1"},
            {"port": 0},
            {"port": 65_536},
            {"maximum": 0},
            {"maximum": particulars.MAX_CHANNELS + 1},
            {"host": LEGAL.destination.host, "port": LEGAL.destination.port},  # where the call data go
        )
    },
)
rows(
    Check.STRUCTURE,
    "destination of content of no known kind",
    {
        str(changes): lambda changes=changes: with_content(**changes)
        for changes in ({"form": "raw"}, {"channels": "some"}, {"maximum": "32"})
    },
)


@row(Check.LEGAL_BINDING, "content to somebody else")
def _grafted() -> Case:
    """The carrier's and officer's tokens under a legal token whose content goes elsewhere."""
    legal = a.sign_legal(
        msgspec.structs.replace(
            LEGAL,
            authority=Authority.TITLE_III,
            capabilities=(Capability.CALL_DATA, Capability.CONTENT),
            destination=WITH_CONTENT,
        )
    )
    assert legal != GOOD.legal and jws.sha256_hex(legal) != jws.sha256_hex(GOOD.legal)
    return now(a.request(legal, GOOD.carrier, *GOOD.commands))
