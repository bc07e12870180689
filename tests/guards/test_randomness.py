"""SEC-26: the operating system's random source alone, no curve, cipher or generator to choose, constants pinned.

Read from the sources, so that a new import shows here before it is used. The constants are computed or written down
again from the documents that define them, not taken from the code they check.
"""

from __future__ import annotations

import ast
import hashlib
import re
from collections.abc import Iterator
from pathlib import Path

import msgspec

from mediation.core.authority import key, request
from mediation.core.ledger import cosignature, merkle, note
from mediation.runtime import config
from mediation.signing import token

ROOT = Path(__file__).resolve().parents[2]
MODULES = sorted((ROOT / "mediation").rglob("*.py"))

# Generators whose state can be known, set or guessed.
OTHER_SOURCES = {"random", "numpy"}
OF_A_NAME = {"uuid5", "UUID", "NAMESPACE_URL", "NAMESPACE_DNS"}  # no clock, no address, nothing drawn: RFC 9562 §5.5
FROM_THE_SYSTEM = {"choice", "randbits", "token_bytes", "token_hex", "SystemRandom", "compare_digest"}
# Of cryptography's own modules: each name that may be used. Another curve, hash or cipher is another line here, which
# two persons read.
ALLOWED = {
    "ec": {
        "SECP256R1", "ECDSA", "EllipticCurvePublicKey", "EllipticCurvePrivateKey", "ECDH",
        "generate_private_key", "derive_private_key",
    },
    "hashes": {"SHA256", "Hash", "SHA384", "SHA512", "HashAlgorithm"},  # the longer: of others' time stamps, to read
    "algorithms": {"AES"},
}  # fmt: skip
HASHES = {"sha256", "file_digest"}
OF_OTHERS = {"mediation/audit/timestamp.py": {"new"}}  # reads time stamps, whose authorities choose; makes none
C_SOURCES = re.compile(r"\b(s?rand(om)?(_r)?|[delmnj]rand48|arc4random\w*|getentropy)\s*\(")


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def attributes(tree: ast.Module) -> Iterator[tuple[str, str, int]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            yield node.value.id, node.attr, node.lineno


def test_the_system_s_random_source_alone() -> None:
    assert len(MODULES) > 100
    for path in MODULES:
        check_module(path)


def check_module(path: Path) -> None:
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        names: list[str] = []
        assert not (isinstance(node, ast.Name) and node.id == "__import__"), f"{name(path)}:{node.lineno}"
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.module is not None
            names = [node.module]
            if node.module == "secrets":
                assert {alias.name for alias in node.names} <= FROM_THE_SYSTEM, f"{name(path)}:{node.lineno}"
        for each in names:
            assert each.split(".")[0] not in OTHER_SOURCES, f"{name(path)}:{node.lineno} imports {each}"
    crypto = {
        alias.asname or alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("cryptography")
        for alias in node.names
    }
    for owner, attribute, line in attributes(tree):
        where = f"{name(path)}:{line}: {owner}.{attribute}"
        assert owner != "secrets" or attribute in FROM_THE_SYSTEM, where
        assert owner != "uuid" or attribute in OF_A_NAME, where
        assert not attribute.startswith("RAND_"), where  # OpenSSL's own can be seeded
        assert owner != "hashlib" or attribute in HASHES | OF_OTHERS.get(name(path), set()), where
        assert owner not in crypto & ALLOWED.keys() or attribute in ALLOWED[owner], where


def test_no_random_number_in_c() -> None:
    sources = [path for path in (ROOT / "ext").rglob("*") if path.suffix in {".pyx", ".pxd", ".c", ".h"}]
    assert len(sources) > 10
    assert [name(path) for path in sources if C_SOURCES.search(path.read_text())] == []


def test_none_of_it_can_be_configured() -> None:
    words = re.compile(r"curve|cipher|algorithm|random|entropy|seed|digest|prime|tls|suite", re.IGNORECASE)
    found = [field for field in settings(config.Settings) if words.search(field)]
    assert found == []


def settings(kind: type) -> list[str]:
    """Every key of config.toml, by its path."""
    found: list[str] = []
    for field in msgspec.structs.fields(kind):
        found.append(field.encode_name)
        for inner in (field.type, *getattr(field.type, "__args__", ())):
            if isinstance(inner, type) and issubclass(inner, msgspec.Struct):
                found += [f"{field.encode_name}.{each}" for each in settings(inner)]
    return found


def test_the_search_sees_the_settings() -> None:
    assert {"name", "ledger.tick_ms", "iap.interface", "lab_agency.collector_port"} <= set(settings(config.Settings))


# FIPS 186-4 D.1.2.3, Curve P-256.
P = 2**256 - 2**224 + 2**192 + 2**96 - 1
B = 0x5AC635D8AA3A93E7B3EBBD55769886BC651D06B0CC53B0F63BCE3C3E27D2604B
N = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551


def test_the_constants_of_p256() -> None:
    assert key.P256_ORDER == N
    point = request._POINTS["es256"]
    x, y = int(point[2:66], 16), int(point[66:], 16)
    assert (y * y - (x**3 - 3 * x + B)) % P == 0, "not on the curve"
    assert x == 0x6B17D1F2E12C4247F8BCE6E563A440F277037D812DEB33A0F4A13945D898C296


def test_the_constants_of_edwards25519() -> None:
    assert bytes.fromhex("06032b6570") == token.EDWARDS25519  # RFC 8410 §3: 1.3.101.112
    q = 2**255 - 19
    y = int.from_bytes(bytes.fromhex(request._POINTS["ed25519"]), "little")
    assert y == 4 * pow(5, q - 2, q) % q  # RFC 8032 §5.1: the base point's y is 4/5


def test_the_names_and_types_of_signatures() -> None:
    assert key.ALGORITHMS == {
        "ed25519": "Ed25519", "es256": "ES256", "webauthn-ed25519": "WebAuthn-Ed25519",
        "webauthn-es256": "WebAuthn-ES256",
    }  # fmt: skip
    # C2SP signed-note and tlog-cosignature.
    assert (note.ED25519, cosignature.ED25519_V1, cosignature.MLDSA44) == (b"\x01", b"\x04", b"\x06")
    assert cosignature.LABEL == b"subtree/v1\n\0"


def test_the_hashes_of_the_tree() -> None:
    """RFC 6962 §2.1: leaves and nodes are hashed under different prefixes."""
    left, right = merkle.leaf_hash(b"a"), merkle.leaf_hash(b"b")
    assert left == hashlib.sha256(b"\0a").digest()
    assert bytes.fromhex("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855") == merkle.EMPTY_ROOT
    assert merkle.Tree([left, right]).root() == hashlib.sha256(b"\1" + left + right).digest()
