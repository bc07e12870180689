from collections.abc import Mapping

from mediation.core import cdc, syntax

class Encoder:
    def __init__(
        self, messages: Mapping[type[cdc.Message], syntax.Message], message_tag: int, enhanced_tag: int
    ) -> None: ...
    def encode(self, message: cdc.Message, identifier: bytes | None = None) -> bytes: ...
