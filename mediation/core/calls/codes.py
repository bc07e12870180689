"""What is said of a service code that the subject dialed (*72, *69): SubjectSignal, FeatureManagement, ServiceInstance.

Answers for those messages (47 CFR 1.20007(a)(12), (b)(3)); which codes there are and which of them are calls is known
in `feature`. A code that is no call names none, so that nothing has to be released after it.
"""

from __future__ import annotations

from collections.abc import Callable

from mediation.core.calls.association import Associations
from mediation.core.calls.dialog import Call
from mediation.core.calls.event import Reading
from mediation.core.calls.word import Prefix
from mediation.core.message import cdc
from mediation.core.network.party import Directory


class Codes:
    """The words DIALED and FEATURE of the table. `at` makes the prefix of a message from its stamp."""

    def __init__(self, at: Callable[[int], Prefix], directory: Directory, associations: Associations) -> None:
        self._at = at
        self._directory = directory
        self._associations = associations

    def dialed(self, call: Call, reading: Reading, stamp_ns: int) -> list[cdc.Message]:
        """The code as dialed, with what was dialed after it."""
        code = call.code
        if code is None or reading.message is None:
            return []
        call.subject = self._directory.calling(reading.message)
        call.associate = self._directory.vouched(reading.message.request_uri)
        dialed = cdc.SubjectSignal(
            **self._at(stamp_ns),
            call_id=call.identity() if code.is_call else None,
            signaling_party_id=call.subject,
            dialed_digits=code.digits + code.number,
        )
        return [dialed, *(self._associations.service(code.service, call, None, stamp_ns) if code.service else ())]

    def managed(self, call: Call, reading: Reading, stamp_ns: int) -> list[cdc.Message]:
        """The network did what the code asks for, or refused."""
        code = call.code
        if code is None or code.management is None:
            return []
        return [
            cdc.FeatureManagement(
                **self._at(stamp_ns),
                feature_id=code.feature,
                management_type=code.management,
                subscriber_id=call.subject,
                activation_info=code.number or None,
                failure_reason=call.cause.sip[0] if call.cause is not None and call.cause.sip else None,
            )
        ]
