"""A real PKCS#11 token (SoftHSM): a key is made in it, signs there, and never leaves it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from mediation.core.authority.key import P256_ORDER, Public
from mediation.core.errors import AuthorizationError, ConfigurationError
from mediation.signing import token
from mediation.signing.choose import open_key
from mediation.signing.token import Place
from tests.core.authority import NOW_S

MODULE = next(
    (
        path
        for path in map(Path, ("/usr/lib/softhsm/libsofthsm2.so", "/usr/lib64/softhsm/libsofthsm2.so"))
        if path.exists()
    ),
    None,
)

# In a process of its own: SoftHSM reads its configuration once. It makes a key, signs twice and prints what it got.
PROGRAM = """
import sys
from mediation.signing import token
from mediation.signing.choose import open_key
uri, form = sys.argv[1:3]
made = token.make(token.Place.parse(uri + "0"), "" if form == "ed25519" else form)
again = open_key(uri + "3")
assert made.kid == again.kid
card = again.card("olga", 1, 2, lab=False)
print(card.form, card.public, *(again.key().sign(b"an act").hex() for _ in range(8)))
try:
    token.make(token.Place.parse(uri + "4"))
except Exception as error:
    print(type(error).__name__, error)
try:
    open_key(uri + "5")
except Exception as error:
    print(type(error).__name__, error)
"""


@pytest.mark.skipif(MODULE is None, reason="SoftHSM is not installed")
@pytest.mark.parametrize("form", ["ed25519", "es256"])
def test_a_key_in_a_token(tmp_path: Path, form: str) -> None:
    (tmp_path / "tokens").mkdir()
    (tmp_path / "conf").write_text(f"directories.tokendir = {tmp_path / 'tokens'}\nobjectstore.backend = file\n")
    environment = {**os.environ, "SOFTHSM2_CONF": str(tmp_path / "conf")}
    subprocess.run(
        ["softhsm2-util", "--init-token", "--free", "--label", "olga", "--pin", "1234", "--so-pin", "5678"],
        env=environment, check=True, capture_output=True,
    )  # fmt: skip
    program = PROGRAM
    for number, secret in ((0, "1234"), (3, "1234"), (4, "1234"), (5, "9999")):
        path = tmp_path / f"pin{number}"
        path.write_text(f"{secret}\n")
        program = f"import os; d = os.open({str(path)!r}, 0); os.dup2(d, {40 + number})\n{program}"
    uri = f"pkcs11:token=olga;object=act?module-path={MODULE}&pin-source=fd:4"
    done = subprocess.run(
        [sys.executable, "-c", program, uri, form],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    first, twice, wrong = done.stdout.splitlines()
    found, public, *signatures = first.split()
    assert found == form
    key = token.Key(
        kid=token.kid(public), person="olga", public=public, not_before_s=NOW_S, not_after_s=NOW_S + 1, form=form
    )
    verifier = Public.load(key)
    algorithm = {"ed25519": "Ed25519", "es256": "ES256"}[form]
    for signature in signatures:
        verifier.verify(algorithm, bytes.fromhex(signature), b"an act")
        with pytest.raises(AuthorizationError, match="signature"):
            verifier.verify(algorithm, bytes.fromhex(signature), b"another act")
    if form == "es256":  # the other spelling of the same signature is none here
        s = int.from_bytes(bytes.fromhex(signatures[0])[32:], "big")
        other = bytes.fromhex(signatures[0])[:32] + (P256_ORDER - s).to_bytes(32, "big")
        with pytest.raises(AuthorizationError, match="one spelling"):
            verifier.verify(algorithm, other, b"an act")
    assert twice.startswith("ConfigurationError") and "there already" in twice
    assert wrong.startswith("ConfigurationError") and "9999" not in wrong
    octets = b"".join(path.read_bytes() for path in (tmp_path / "tokens").rglob("*") if path.is_file())
    assert octets and b"1234" not in octets


@pytest.mark.parametrize(
    "uri",
    [
        "pkcs11:token=a;object=b?module-path=/x&pin-value=1234",
        "pkcs11:token=a;object=b;pin-value=1234?module-path=/x",
        "pkcs11:token=a;object=b",
        "pkcs11:object=b?module-path=/x",
        "pkcs11:token=a;object=b?module-path=/x&more=1",
    ],
)
def test_uris_that_are_refused(uri: str) -> None:
    with pytest.raises(ConfigurationError) as refusal:
        Place.parse(uri)
    assert "1234" not in str(refusal.value)


def test_a_module_that_is_none(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    os.close(writer)
    with pytest.raises(ConfigurationError, match="token"):
        open_key(f"pkcs11:token=a;object=b?module-path={tmp_path / 'none.so'}&pin-source=fd:{reader}")
