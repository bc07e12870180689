"""Errors name the guilty side: our bug, their bytes, or an authority that is missing.

No text here or raised from here ever holds a subject's identity; a case is named by its case identity at most.
"""


class MediationError(Exception):
    """The root of all errors this project raises on purpose."""


class LocalProtocolError(MediationError):
    """We were about to break a protocol: a bug of ours."""


class RemoteProtocolError(MediationError):
    """The other side sent octets that its protocol does not allow."""


class EncodingError(MediationError):
    """A field cannot be encoded (size or character set); found when the order is provisioned, not in the call."""


class AuthorizationError(MediationError):
    """An act lacks authority. `check` names the check that failed, in the words of the tests and the manual."""

    def __init__(self, check: str, detail: str = "") -> None:
        said = detail or getattr(check, "sentence", "")  # members of core.check.Check bring their own words
        super().__init__(f"{check}: {said}" if said else check)
        self.check = check
        self.detail = detail


class ConfigurationError(MediationError):
    """The site's configuration is missing something or contradicts itself."""


class LedgerError(MediationError):
    """The ledger does not verify; the text names the first bad entry by index."""
