"""A FIDO2 security key in memory: a CTAP2 device as far as a PIN, a credential and an assertion need one.

It answers the octets that the client library sends to USB (CTAP 2.1 §6.1, 6.2, 6.4, 6.5, PIN/UV protocol two), so the
library and our use of it run as with a key on the desk.
"""

from __future__ import annotations

import hashlib
import os
import struct
from collections.abc import Callable, Iterator
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from fido2 import cbor
from fido2.ctap import CtapDevice, CtapError
from fido2.ctap2.pin import PinProtocolV2
from fido2.hid import CAPABILITY

UP, UV, AT = 0x01, 0x04, 0x40
ERR = CtapError.ERR


class Authenticator(CtapDevice):
    """`algorithm`: the COSE algorithm it can. `lies`: flags that it leaves out of what it signs."""

    def __init__(self, secret: str | None = "1234", algorithm: int = -7, lies: int = 0) -> None:
        self.pin, self.algorithm, self.lies = secret, algorithm, lies
        self.touched = 0
        self._agreement = ec.generate_private_key(ec.SECP256R1())
        self._token = b""
        self._keys: dict[bytes, Any] = {}

    @property
    def capabilities(self) -> int:
        return int(CAPABILITY.CBOR)

    @classmethod
    def list_devices(cls) -> Iterator[CtapDevice]:
        return iter(())

    def call(
        self, cmd: int, data: bytes = b"", event: Any = None, on_keepalive: Callable[..., None] | None = None
    ) -> bytes:
        assert cmd == 0x10  # CTAPHID_CBOR
        request: Any = cbor.decode(data[1:]) if data[1:] else {}
        try:
            answer = {0x04: self._info, 0x06: self._client_pin, 0x01: self._make, 0x02: self._assert}[data[0]](request)
        except CtapError as error:
            return bytes([error.code])
        return b"\x00" + cbor.encode(answer)

    def _info(self, _: Any) -> dict[int, Any]:
        options = {"rk": True, "up": True, "clientPin": self.pin is not None, "pinUvAuthToken": True}
        return {1: ["FIDO_2_0", "FIDO_2_1"], 3: bytes(16), 4: options, 6: [2]}

    def _client_pin(self, request: dict[int, Any]) -> dict[int, Any]:
        if request[2] == 0x02:
            numbers = self._agreement.public_key().public_numbers()
            x, y = (n.to_bytes(32, "big") for n in (numbers.x, numbers.y))
            return {1: {1: 2, 3: -25, -1: 1, -2: x, -3: y}}
        assert request[2] == 0x09 and request[10] == "mediation.invalid"
        peer = ec.EllipticCurvePublicNumbers(
            int.from_bytes(request[3][-2], "big"), int.from_bytes(request[3][-3], "big"), ec.SECP256R1()
        ).public_key()
        protocol = PinProtocolV2()
        secret = protocol.kdf(self._agreement.exchange(ec.ECDH(), peer))
        assert self.pin is not None
        if protocol.decrypt(secret, request[6]) != hashlib.sha256(self.pin.encode()).digest()[:16]:
            raise CtapError(ERR.PIN_INVALID)
        self._token = os.urandom(32)
        return {2: protocol.encrypt(secret, self._token)}

    def _verify(self, hashed: bytes, parameter: bytes | None) -> int:
        if parameter is None or not self._token:
            raise CtapError(ERR.PUAT_REQUIRED)
        if PinProtocolV2().authenticate(self._token, hashed) != parameter:
            raise CtapError(ERR.PIN_AUTH_INVALID)
        self.touched += 1
        return (UP | UV) & ~self.lies

    def _make(self, request: dict[int, Any]) -> dict[int, Any]:
        flags = self._verify(request[1], request.get(8)) | AT
        if self.algorithm not in [each["alg"] for each in request[4]]:
            raise CtapError(ERR.UNSUPPORTED_ALGORITHM)
        identity, key = os.urandom(32), self._new()
        self._keys[identity] = key
        data = hashlib.sha256(request[2]["id"].encode()).digest() + struct.pack(">BI", flags, 1)
        data += bytes(16) + struct.pack(">H", len(identity)) + identity + cbor.encode(self._cose(key))
        return {1: "none", 2: data, 3: {}}

    def _assert(self, request: dict[int, Any]) -> dict[int, Any]:
        flags = self._verify(request[2], request.get(6))
        known = [each for each in request[3] if each["id"] in self._keys]
        if not known:
            raise CtapError(ERR.NO_CREDENTIALS)
        data = hashlib.sha256(request[1].encode()).digest() + struct.pack(">BI", flags, 2)
        return {1: known[0], 2: data, 3: self._sign(self._keys[known[0]["id"]], data + request[2])}

    def _new(self) -> Any:
        return ec.generate_private_key(ec.SECP256R1()) if self.algorithm == -7 else ed25519.Ed25519PrivateKey.generate()

    def _cose(self, key: Any) -> dict[int, Any]:
        if self.algorithm == -8:
            return {1: 1, 3: -8, -1: 6, -2: key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)}
        point = key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
        return {1: 2, 3: -7, -1: 1, -2: point[1:33], -3: point[33:]}

    def _sign(self, key: Any, octets: bytes) -> bytes:
        if self.algorithm == -8:
            return bytes(key.sign(octets))
        return bytes(key.sign(octets, ec.ECDSA(hashes.SHA256())))
