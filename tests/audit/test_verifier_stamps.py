"""RFC 3161 time stamps, judged by the verifier alone: made by openssl, checked here and by openssl."""

from __future__ import annotations

import datetime
import hashlib
import json
import shutil
import subprocess
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from hypothesis import given, settings
from hypothesis import strategies as st

from mediation.audit import der, page, timestamp, verdict
from mediation.audit.archive import Unreadable
from mediation.audit.tokens import Bad
from mediation.core.ledger import entry
from tests.administration import authority
from tests.audit import exports as x

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl")
SUBJECT = b"the octets that were stamped"
DIGEST = hashlib.sha256(SUBJECT).digest()
DAY_US = 86_400_000_000


@pytest.fixture(scope="module")
def tsa(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("authority") / "tsa"
    authority.make(folder)
    return folder


def stamped(tsa: Path, subject: bytes) -> bytes:
    """What openssl stamps."""
    (tsa / "subject").write_bytes(subject)
    query = subprocess.run(
        ["openssl", "ts", "-query", "-data", tsa / "subject", "-sha256", "-cert"], capture_output=True, check=True
    ).stdout  # fmt: skip
    return authority.reply(tsa)(query)


@pytest.fixture(scope="module")
def token(tsa: Path) -> bytes:
    return stamped(tsa, SUBJECT)


def certificate(path: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificate(path.read_bytes())


# --- one token --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("believed", ["ca.pem", "tsa.pem"])
def test_a_token_of_openssl_holds(tsa: Path, token: bytes, believed: str) -> None:
    made_s = timestamp.verify(token, DIGEST, [certificate(tsa / believed)])
    assert abs(made_s - datetime.datetime.now(datetime.UTC).timestamp()) < 600
    (tsa / "token").write_bytes(token)
    (tsa / "subject").write_bytes(SUBJECT)
    same = subprocess.run(
        ["openssl", "ts", "-verify", "-in", tsa / "token", "-data", tsa / "subject", "-CAfile", tsa / "ca.pem"],
        capture_output=True, check=False,
    )  # fmt: skip
    assert same.returncode == 0


def test_what_does_not_hold(tsa: Path, token: bytes, tmp_path: Path) -> None:
    root = [certificate(tsa / "ca.pem")]
    with pytest.raises(Bad, match="something else"):
        timestamp.verify(token, hashlib.sha256(b"other").digest(), root)
    authority.make(tmp_path / "other")
    for believed in ([certificate(tmp_path / "other" / "ca.pem")], []):
        with pytest.raises(Bad, match="none that is believed"):
            timestamp.verify(token, DIGEST, believed)
    with pytest.raises(Bad, match="after the end"):
        timestamp.verify(token + b"\0", DIGEST, root)
    with pytest.raises(Bad, match="too long"):
        timestamp.verify(token + bytes(timestamp.MAX_OCTETS), DIGEST, root)


def test_no_bit_of_what_is_signed_can_be_another(tsa: Path, token: bytes) -> None:
    """Every bit of the answer but those of its wrapping that say nothing (RFC 5652 leaves some unsigned): what is still
    accepted says the same time of the same octets."""
    root = [certificate(tsa / "ca.pem")]
    made_s = timestamp.verify(token, DIGEST, root)
    accepted = 0
    for at in range(0, len(token) * 8, 5):
        octets = bytearray(token)
        octets[at // 8] ^= 1 << at % 8
        try:
            assert timestamp.verify(bytes(octets), DIGEST, root) == made_s
            accepted += 1
        except Bad:
            continue
    assert accepted < len(token) * 8 // 5 // 10


@settings(max_examples=300, deadline=None)
@given(octets=st.binary(max_size=200), at=st.integers(0, 4000))
def test_nothing_else_is_raised(token: bytes, octets: bytes, at: int) -> None:
    for text in (octets, token[:at] + octets + token[at + len(octets) :], token[: at % len(token)]):
        try:
            timestamp.verify(text, DIGEST, [])
        except Bad:
            continue


@pytest.mark.parametrize("octets", [b"", b"\x30", b"\x30\x80\0\0", b"\x30\x81\x01\0", b"\x30\x82\0\x80" + bytes(128),
                                    b"\x1f\x01\0", b"\x30\x02\0", b"\x30\x85\1\1\1\1\1"])  # fmt: skip
def test_what_is_no_der(octets: bytes) -> None:
    with pytest.raises(Bad):
        der.whole(octets)
    with pytest.raises(Bad):
        der.whole(b"\x02\x02\x00\x01").number()


# --- of an export -----------------------------------------------------------------------------------------------------


class Stamped:
    """The usual story; stamps of the day's checkpoint by a real authority, of today."""

    def __init__(self, folder: Path, tsa: Path, *, days: int = 0, authority_days: int = 0) -> None:
        """The ledger goes on for `days` after the stamp; its entry is dated `authority_days` after it."""
        self.tsa = tsa
        now_us = int(datetime.datetime.now(datetime.UTC).timestamp()) * 1_000_000
        made = x.Made(folder / "ledger", steps=lambda lines: x.story(lines)[:1])
        checkpoint = (folder / "ledger" / "checkpoint").read_bytes()
        token = stamped(tsa, checkpoint)
        day = datetime.datetime.now(datetime.UTC).date().isoformat()
        record = entry.Stamped(
            time_us=now_us + authority_days * DAY_US, subject_sha256=hashlib.sha256(checkpoint).hexdigest(),
            authority="http://tsa.example/tsr", token_sha256=hashlib.sha256(token).hexdigest(),
        )  # fmt: skip
        last = entry.WitnessesFound(time_us=now_us + days * DAY_US, size=1)
        made.ledger.append([entry.encode(record), entry.encode(last)])
        made.cosign([last])
        self.files = made.files()
        self.name = f"stamps/{day}/1234.tsr"
        self.files |= {f"stamps/{day}/checkpoint": checkpoint, self.name: token}
        self.day = datetime.date.fromisoformat(day)

    def judge(self, *, given: bool = True) -> verdict.Verdict:
        pem = (self.tsa / "ca.pem").read_bytes()
        return verdict.judge(
            x.as_export(self.files), key=x.KEY, policy=x.POLICY, timestamps=pem if given else None
        )  # fmt: skip


def words(found: verdict.Verdict) -> list[str]:
    return [each.what for each in found.findings.anomalies]


def test_a_day_that_was_stamped(tmp_path: Path, tsa: Path) -> None:
    made = Stamped(tmp_path, tsa)
    found = made.judge()
    assert found.forged == [] and not any("stamp" in each for each in words(found))
    assert found.stamps.days == {made.day.isoformat(): ["http://tsa.example/tsr"]}
    assert "no day without one" in page.page(found) and verdict.as_json(found)["timestamps"]["missing"] == []
    without = made.judge(given=False)
    assert any("nobody says whose are believed" in each for each in without.not_checked) and without.forged == []
    made.files["keys/timestamp-authorities.pem"] = (tsa / "ca.pem").read_bytes()
    theirs = made.judge(given=False)
    assert theirs.stamps.days and any("came with the export" in each for each in theirs.not_checked)


def test_days_that_nobody_stamped_are_named(tmp_path: Path, tsa: Path) -> None:
    made = Stamped(tmp_path, tsa, days=4)
    first, last = (made.day + datetime.timedelta(days=n) for n in (1, 3))
    (said,) = [each for each in words(made.judge()) if "without a time stamp" in each]
    assert said == f"3 days without a time stamp: {first} to {last}"


def test_a_stamp_of_another_time_than_its_entry(tmp_path: Path, tsa: Path) -> None:
    assert any("at another time" in each for each in words(Stamped(tmp_path, tsa, days=2, authority_days=1).judge()))


def test_a_stamped_head_is_known_wherever_it_stands(tmp_path: Path, tsa: Path) -> None:
    """Without the folder of its day a stamp is still the day's, and one of nothing that is here is named."""
    made = Stamped(tmp_path, tsa)
    folder = f"stamps/{made.day}/checkpoint"
    subject = made.files.pop(folder)
    assert made.judge().stamps.days == {made.day.isoformat(): ["http://tsa.example/tsr"]}
    for name in ("history.jsonl", "checkpoint"):
        assert name in made.files
    lines = [each for each in made.files["history.jsonl"].splitlines() if json.loads(each).encode() != subject]
    made.files["history.jsonl"] = b"\n".join(lines) + b"\n"
    made.files.pop("published", None)
    found = made.judge()
    assert found.stamps.days == {} and any("something that is not here" in each for each in words(found))


@pytest.mark.parametrize("how", ["gone", "another", "other head", "other authority"])
def test_what_is_forged_is_named_with_its_entry(tmp_path: Path, tsa: Path, how: str) -> None:
    made = Stamped(tmp_path, tsa)
    (at,) = x.indexes(tmp_path / "ledger", "stamped")
    if how == "gone":
        del made.files[made.name]
    elif how == "another":
        made.files[made.name] = stamped(tsa, b"another thing")
    elif how == "other head":
        made.files[made.name.replace("1234.tsr", "checkpoint")] = b"mediation/0123456789abcdef\n3\nAAAA\n\n"
    else:
        authority.make(tmp_path / "other")
        made.tsa = tmp_path / "other"
    found = made.judge()
    assert found.result == verdict.BAD
    if how == "other head":
        assert any("checkpoint" in each.what for each in found.forged)
    else:
        assert [each.entries for each in found.forged if "time stamp" in each.what] == [(at,)]


def test_what_is_given_must_be_certificates(tmp_path: Path, tsa: Path) -> None:
    made = Stamped(tmp_path, tsa)
    with pytest.raises(Unreadable, match="time-stamping"):
        verdict.judge(x.as_export(made.files), key=x.KEY, policy=x.POLICY, timestamps=b"nothing")


def test_a_certificate_for_anything_else_or_of_another_time_stamps_nothing(tsa: Path) -> None:
    now_s = int(datetime.datetime.now(datetime.UTC).timestamp())
    root, own = certificate(tsa / "ca.pem"), certificate(tsa / "tsa.pem")
    timestamp._chain(own, [], [root], now_s)
    with pytest.raises(Bad, match="not for time stamping"):
        timestamp._chain(root, [], [root], now_s)
    for usages, critical in (
        ([ExtendedKeyUsageOID.TIME_STAMPING, ExtendedKeyUsageOID.CODE_SIGNING], True),
        ([ExtendedKeyUsageOID.TIME_STAMPING], False), ([ExtendedKeyUsageOID.SERVER_AUTH], True),
    ):  # fmt: skip
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "another")])
        now = datetime.datetime.now(datetime.UTC)
        other = (
            x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
            .serial_number(7).not_valid_before(now - datetime.timedelta(days=1))
            .not_valid_after(now + datetime.timedelta(days=1))
            .add_extension(x509.ExtendedKeyUsage(usages), critical=critical).sign(key, hashes.SHA256())
        )  # fmt: skip
        with pytest.raises(Bad, match="not for time stamping"):
            timestamp._chain(other, [], [other], now_s)
    for made_s in (now_s - 10 * 86_400, now_s + 90 * 86_400):
        with pytest.raises(Bad, match="not valid at the time"):
            timestamp._chain(own, [], [root], made_s)
