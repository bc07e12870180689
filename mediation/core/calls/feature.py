"""Vertical service codes: what a subject dials to ask the network for a service instead of a party (*72, *69).

Answers for two questions about a Request-URI: is it such a code, and is it a call. The codes are those of the North
American numbering plan (NANPA vertical service codes; *2XX and *3XX have three digits); a site may use others, so a
code that is not listed is taken for a call with a code in front: nothing is invented about it.
"""

from __future__ import annotations

from typing import Final, NamedTuple
from urllib.parse import unquote

from mediation.core.message.cdc import ManagementType

ON, OFF = ManagementType.ACTIVATION, ManagementType.DEACTIVATION


class Code(NamedTuple):
    """A code as dialed. `digits` "*72", `number` what was dialed after it."""

    digits: str
    number: str
    feature: str  # FeatureManagement.featureId; "" when the code manages no feature
    management: ManagementType | None
    service: str  # ServiceInstance.serviceName (PCESP); ""  when the code names none
    is_call: bool


_MANAGED: Final[dict[str, tuple[str, ManagementType]]] = {
    "*72": ("Call_Forwarding_Variable", ON),
    "*73": ("Call_Forwarding_Variable", OFF),
    "*90": ("Call_Forwarding_Busy", ON),
    "*91": ("Call_Forwarding_Busy", OFF),
    "*92": ("Call_Forwarding_No_Answer", ON),
    "*93": ("Call_Forwarding_No_Answer", OFF),
    "*63": ("Selective_Call_Forwarding", ON),
    "*83": ("Selective_Call_Forwarding", OFF),
    "*60": ("Selective_Call_Rejection", ON),
    "*80": ("Selective_Call_Rejection", OFF),
    "*77": ("Anonymous_Call_Rejection", ON),
    "*87": ("Anonymous_Call_Rejection", OFF),
    "*78": ("Do_Not_Disturb", ON),
    "*79": ("Do_Not_Disturb", OFF),
    "*70": ("Call_Waiting", OFF),  # for the next call; with a number after it, it is that call
    "*86": ("Repeat_Call", OFF),
    "*89": ("Return_Call", OFF),
}
_SERVICES: Final = {"*66": "Repeat_Call", "*69": "Return_Call"}


def code_of(uri: str) -> Code | None:
    """The service code that a Request-URI holds; None when it begins with none."""
    if "*" not in uri and "%" not in uri:
        return None  # nearly all of them
    user = uri.partition(":")[2].partition("@")[0].partition(";")[0]
    if "%" in user:
        user = unquote(user)
    length = 4 if user[1:2] in ("2", "3") else 3
    digits, number = user[:length], user[length:]
    if not user.startswith("*") or len(digits) < length or not digits[1:].isdecimal():
        return None
    feature, management = _MANAGED.get(digits, ("", None))
    is_call = management is None or (digits == "*70" and bool(number))
    return Code(digits, number, feature, management, _SERVICES.get(digits, ""), is_call)
