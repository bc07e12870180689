"""The names of everything that can be wrong with an authority, in the words of the tests, the logs and the manual.

A refusal always carries exactly one of these names (`AuthorizationError.check`); none of them says anything of a
subject. The sentence beside each name is what the manual prints. This module decides nothing.
"""

from __future__ import annotations

from mediation.core.named import Named


class Check(Named):
    """One guard of `authorization.admit` or of provisioning."""

    @classmethod
    def named(cls, name: str) -> str:
        """The check of that name, with its sentence; the bare name when this release has no such check."""
        found = cls._value2member_map_.get(name, name)
        assert isinstance(found, str)
        return found

    # The form of the signed objects (RFC 7515, RFC 9864)
    STRUCTURE = "structure", "a token, command or proof is not well formed"
    ALGORITHM = "algorithm", "the signature's algorithm is not exactly Ed25519"
    TOKEN_TYPE = "token-type", "a signed object stands in the place of another kind"
    # Who signed
    KEY_UNKNOWN = "key-unknown", "the signing key stands in no key ring"
    KEY_ROLE = "key-role", "the signing key belongs to another role"
    SIGNATURE = "signature", "the text is not what the key signed"
    KEY_DATES = "key-dates", "the key was not valid when it signed or when the act was entered in the ledger"
    DISTINCT_KEYS = "distinct-keys", "two of the three signatures were made with one key"
    DISTINCT_PERSONS = "distinct-persons", "two of the three signatures were made by one person"
    DISTINCT_ROLES = "distinct-roles", "a signer also holds another role"
    LAB_KEY = "lab-key", "a lab key on a real site, or a real key on a lab site"
    LAB_TOKEN = "lab-token", "a lab token on a real site, or a real token on a lab site"
    # What binds the three together
    SAME_CASE = "same-case", "the tokens and commands name different cases"
    LEGAL_BINDING = "legal-binding", "the carrier token was made for another legal token"
    CARRIER_BINDING = "carrier-binding", "the command was made for another order"
    # What the order says
    CASE_IDENTITY = "case-identity", "the case identity is empty, too long or unprintable"
    AGENCY = "agency", "the agency's name is not a plain name of 1 to 63 characters"
    SUBJECTS = "subjects", "no subject, too many, a repeated one, or one that is no tel: or sip: URI"
    CAPABILITIES = "capabilities", "no call-identifying information among the capabilities, or one named twice"
    AUTHORITY = "authority", "a capability that this type of legal authorization cannot give"
    CONTENT_MISSING = "content-missing", "the order is for content and does not say where to deliver it"
    CONTENT_UNORDERED = "content-unordered", "a destination for content in an order that is not for content"
    DESTINATION = "destination", "the address or certificate of the collection function is not well formed"
    PARTICULARS = "particulars", "court, judge, officer, nonce or a document's hash is missing or malformed"
    IAPS = "iaps", "the list of intercept access points is not well formed"
    WINDOW_ORDER = "window-order", "the window ends before it begins"
    # The officer's acts
    ACTIVATION = "activation", "the first act, and only the first, must be an activation"
    SEQUENCE = "sequence", "the acts are not numbered 1, 2, 3 and so on"
    DEACTIVATED = "deactivated", "an act has ended the interception for good"
    DDE_CAPABILITY = "dde-capability", "dialed digit extraction is not among the order's capabilities"
    REVOKED = "revoked", "the legal or the carrier token was withdrawn"
    # The ledger's proof
    PROOF_COUNT = "proof-count", "not exactly one ledger proof for each act"
    PROOF_RECORD = "proof-record", "the ledger's record is of another act"
    PROOF_CHECKPOINT = "proof-checkpoint", "the checkpoint is not signed by this site's ledger"
    PROOF_INCLUSION = "proof-inclusion", "the record does not stand in the signed tree"
    PROOF_ORDER = "proof-order", "the acts do not stand in the ledger in their order"
    PROOF_TIME = "proof-time", "the ledger's record lies in the future"
    COMMAND_DATES = "command-dates", "the act was entered before it was signed or after it had lapsed"
    # The window
    NOT_YET_VALID = "not-yet-valid", "the order's window has not begun"
    EXPIRED = "expired", "the order's window has ended"
    # What only the receiver of a task can know
    SUPERSEDED = "superseded", "a later act on this order has been seen already"
    CLOCK = "clock", "the clock's error is unknown or over 200 ms, and the site's configuration does not accept that"
    TASK_UNKNOWN = "task-unknown", "no such task is armed here"
    # Provisioning, before anything is entered in the ledger
    NOT_PROVIDED = "not-provided", "capability not provided by this release"
    ALREADY_FILED = "already-filed", "this very order was filed before"
    CASE_LIVE = "case-live", "another order of this case has not ended"
    ORDER_UNKNOWN = "order-unknown", "no such order was filed"
    UNMATCHABLE = "unmatchable", "an identity that no access point of this site can match"
    UNENCODABLE = "unencodable", "a field that the delivery profile cannot carry"
    IAP_UNKNOWN = "iap-unknown", "the order names an access point that the site does not have"
    REVOCATION = "revocation", "the revocation names no token of a live order of its case, or not of the signer's role"
    # Requests at the control socket (core/authority/request.py)
    REQUEST = "request", "the request is not signed by a person who may make it"
    REQUEST_DATES = "request-dates", "the request was made too long ago, or ahead of time"
    REPLAYED = "replayed", "this very request was made before"
    REASON = "reason", "a reading of case data needs a reason, which names no subject"
    TOO_MANY = "too-many", "too many refused requests: wait"
    # People, roles and keys (core/authority/roster.py)
    ROSTER = "roster", "the roster's change does not follow the one before it, or is not well formed"
    ROSTER_APPROVAL = "roster-approval", "not two persons who may approve it, or one whom it concerns"
    ROSTER_ROLES = "roster-roles", "the change would give a person a second role"
    ROSTER_KEYS = (
        "roster-keys",
        "the key, or its security key, or its name is enrolled already, or is not this person's",
    )
    ROSTER_DATES = "roster-dates", "the change is dated back, or ends what has ended"
    ROSTER_FOUNDING = "roster-founding", "not founded by three or more executives whom the founding itself appoints"
    PERSON_DATES = "person-dates", "a signer did not hold the role when the act was signed or entered"
    SENIOR_OFFICER = "senior-officer", "no senior officer was in office when the order was activated"
    ASSERTION = "assertion", "the security key's assertion is not of this act, or the user was not verified"
    # The witnesses
    PROOF_WITNESSES = "proof-witnesses", "the checkpoint is not cosigned by the quorum of witnesses"
    PROOF_CONSISTENCY = "proof-consistency", "the head does not contain the one that was seen before it"
    WITNESSES_AWAY = "witnesses-away", "no quorum of witnesses can be reached: this must wait"
    LEASE = "lease", "no cosigned head of the ledger was seen within the grace"
    # The kinds of orders
    TERM = "term", "longer than this type of legal authorization can run"
    EXTENSION = "extension", "the extension does not continue this order"
    CALL_BACK = "call-back", "an emergency order without a second person's call-back to the directory number"
    AGENCY_CONTACT = "agency-contact", "the agency's contact is unknown or younger than a day"
    SUSPENDED = "suspended", "the interception is suspended"
    SUSPENSION = "suspension", "only a running interception is suspended, only a suspended one resumed"
    # What the daemon runs
    CODE_IDENTITY = "code-identity", "the daemon's code, configuration or adapters changed while it ran"
    # Records of 47 CFR 1.20004 and the plan of 1.20003
    CERTIFICATE = "certificate", "a field of the certification is empty, or the signer is not its overseeing person"
    STATEMENT = "statement", "not a month's statement as it was drafted, or its signer is not the senior officer"
    PLAN = "plan", "not a plan in force, not drawn from the live settings, or not adopted by those who may"
    CONTACT = "contact", "not a call of the 7x24 contact that the plan names, or by that contact itself"
    MODIFICATION = "modification", "not an order of the Commission that is open here, or without a day"
    RETENTION = "retention", "the retention is not the one of the filed plan"
    KEPT = "kept", "the records must be kept: their time has not passed, or a hold stands"
