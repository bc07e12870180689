from collections.abc import Mapping

import msgspec

from mediation.core.message import syntax

class Encoder:
    def __init__(
        self, messages: Mapping[type[msgspec.Struct], syntax.Message], message_tag: int, envelope: int
    ) -> None: ...
    def encode(self, message: msgspec.Struct, identifier: bytes | None = None) -> bytes: ...
