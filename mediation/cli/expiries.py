"""When what a site needs to serve ends: its certificates, its persons' keys and appointments. Nothing of an order.

For the monitoring (cli/openmetrics.py). It reads public things alone: certificates, and the roster as every function
does; what the caller may not read is left out, never guessed.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from cryptography import x509

from mediation.core.errors import MediationError
from mediation.delivery import interception_point, mediator
from mediation.runtime.config import Site
from mediation.runtime.keys import load_trust

DAY_S: Final = 86_400
CREDENTIALS: Final = "CREDENTIALS_DIRECTORY"  # systemd.exec(5), LoadCredential=


def ends_s(site: Site, now_s: int) -> dict[str, int]:
    """The next end of each kind, in seconds since 1970."""
    handed = os.environ.get(CREDENTIALS)
    folders = [site.delivery_dir, *([Path(handed)] if handed else [])]  # the unit may not look into the first
    files = {"delivery-certificate": mediator.CERTIFICATE}
    if site.interception_points:
        files["interception-point-certificate"] = interception_point.CERTIFICATE
    found = {}
    for what, name in files.items():
        for folder in folders:
            try:
                certificates = x509.load_pem_x509_certificates((folder / name).read_bytes())
            except (OSError, ValueError):
                continue
            found[what] = min(int(each.not_valid_after_utc.timestamp()) for each in certificates)
            break
    return found | _roster(site, now_s)


def _roster(site: Site, now_s: int) -> dict[str, int]:
    """Of those in office: the end that comes first, of their appointments and of the last key that each has."""
    try:
        roster = load_trust(site).roster
    except MediationError:
        return {}
    offices = [each for each in roster.appointments if each.at(now_s)]
    persons = {each.person for each in offices}
    # Who has a spare key loses nothing with the first of them.
    last: dict[str, int] = {}
    for key in roster.keys.values():
        if key.person in persons:
            last[key.person] = max(last.get(key.person, 0), key.not_after_s)
    found = {"appointment": min((each.to_s for each in offices), default=0), "key": min(last.values(), default=0)}
    return {what: end_s for what, end_s in found.items() if end_s}
