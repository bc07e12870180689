"""The vault: who holds which key, every way that a key can be missing or wrong, and that nothing starts without."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from mediation.administration import making
from mediation.core.errors import ConfigurationError, LocalProtocolError
from mediation.core.ledger.sealing import OVERHEAD_OCTETS, Box, SealError, _derive
from mediation.runtime import config, vault, wrapping
from mediation.runtime.config import Site
from mediation.runtime.memory import Secret
from mediation.runtime.order_keys import SLOT_OCTETS, KeyDestroyedError, OrderKeys

PHRASE = "correct horse battery staple"
SOFTHSM = "/usr/lib/softhsm/libsofthsm2.so"


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return making.make(tmp_path / "site", is_lab=True)


@pytest.fixture(autouse=True)
def _forget(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each unlocking as in a process of its own, without what the tests' service manager handed out."""
    monkeypatch.setattr(vault, "_open", {})
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)


def given(monkeypatch: pytest.MonkeyPatch, secret: str) -> None:
    """A PIN or passphrase on a descriptor."""
    reading, writing = os.pipe()
    os.write(writing, secret.encode() + b"\n")
    os.close(writing)
    monkeypatch.setenv(vault.PIN_FD, str(reading))


# -- the cipher --------------------------------------------------------------------------------------------------------


def test_xaes_256_gcm_is_c2sps() -> None:
    """The two vectors of the specification (c2sp.org/XAES-256-GCM), one for each branch of the doubling."""
    nonce = b"ABCDEFGHIJKLMNOPQRSTUVWX"
    for key, associated, sealed in (
        (b"\x01" * 32, b"", "ce546ef63c9cc60765923609b33a9a1974e96e52daf2fcf7075e2271"),
        (b"\x03" * 32, b"c2sp.org/XAES-256-GCM", "986ec1832593df5443a179437fd083bf3fdb41abd740a21f71eb769d"),
    ):
        assert _derive(key, nonce[:12]).encrypt(nonce[12:], b"XAES-256-GCM", associated).hex() == sealed


def test_no_nonce_is_used_twice_and_any_process_opens() -> None:
    one, other = Box(bytes(32), os.urandom(12)), Box(bytes(32), os.urandom(12))
    seals = [box.seal(b"same", b"place") for box in (one, other) for _ in range(1000)]
    assert len({sealed[:24] for sealed in seals}) == 2000
    assert {one.open(sealed, b"place") for sealed in seals} == {b"same"}
    assert len(seals[0]) == 4 + OVERHEAD_OCTETS
    for sealed, place in ((seals[0][:-1], b"place"), (seals[0], b"other"), (b"", b"place"), (b"\0" * 64, b"place")):
        with pytest.raises(SealError):
            other.open(sealed, place)


# -- who holds what ----------------------------------------------------------------------------------------------------


def test_a_function_holds_the_keys_of_its_purposes_alone(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = vault.unlock(site)
    sealed = whole.seal("store", b"text", b"place")
    for function, purposes in vault.PURPOSES.items():
        monkeypatch.setattr(vault, "_open", {})
        monkeypatch.setenv(vault.FD, str(whole.hand_over(function)))
        held = vault.unlock(site)
        assert vault.FD not in os.environ
        assert held.purposes == purposes
        if "store" not in purposes:
            with pytest.raises(LocalProtocolError):
                held.open("store", sealed, b"place")
        else:
            assert held.open("store", sealed, b"place") == b"text"
    monkeypatch.setattr(vault, "_open", {})
    monkeypatch.setenv(vault.FD, str(whole.hand_over("reconciler")))
    assert vault.unlock(site).purposes == ()


def test_keys_differ_by_purpose_and_by_site(site: Site, tmp_path: Path) -> None:
    other = making.make(tmp_path / "other", is_lab=True)
    (other.lab_dir / vault.LAB_KEY).write_bytes((site.lab_dir / vault.LAB_KEY).read_bytes())
    one = vault.unlock(site)
    assert len({bytes(one._key(purpose)) for purpose in vault.ALL}) == len(vault.ALL)
    with pytest.raises(ConfigurationError, match="not this site's"):
        vault.unlock(other)  # the same site key under another vault's identity


# -- missing or wrong: nothing starts (SEC-28) -------------------------------------------------------------------------


@pytest.mark.parametrize("fault", ["no file", "no key", "short", "another key", "open to others", "no json", "large"])
def test_a_key_that_is_missing_or_wrong_starts_nothing(site: Site, fault: str) -> None:
    key, wrapped = site.lab_dir / vault.LAB_KEY, site.keys_dir / wrapping.FILE
    match fault:
        case "no file":
            wrapped.unlink()
        case "no key":
            key.unlink()
        case "short":
            key.write_bytes(bytes(31))
        case "another key":
            key.write_bytes(bytes(32))
        case "open to others":
            key.chmod(0o644)
        case "no json":
            wrapped.write_text("{")
        case "large":
            wrapped.write_bytes(b" " * (wrapping.MAX_OCTETS + 1))
    with pytest.raises(ConfigurationError):
        vault.unlock(site)
    for function in ("administrator", "mediator"):
        ended = subprocess.run(
            [sys.executable, "-m", "mediation.cli.main", "function", function, "--site", str(site.path)],
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        assert ended.returncode == 1
        assert "vault" in ended.stderr
    assert not any(path.is_file() for path in site.spool_dir.rglob("*"))


@pytest.mark.parametrize("octets", [b"", b"MEDVAULT", b"x" * 24, b"MEDVAULT" + bytes(16 + 47), bytes(5000)])
def test_what_is_handed_over_must_be_this_sites(site: Site, monkeypatch: pytest.MonkeyPatch, octets: bytes) -> None:
    reading, writing = os.pipe()
    os.write(writing, octets)
    os.close(writing)
    monkeypatch.setenv(vault.FD, str(reading))
    with pytest.raises(ConfigurationError):
        vault.unlock(site)


def test_a_real_site_has_no_lab_vault_and_says_what_is_missing(tmp_path: Path) -> None:
    real = making.make(tmp_path / "real", is_lab=False)
    with pytest.raises(ConfigurationError, match="vault make"):
        vault.unlock(real)
    with pytest.raises(ConfigurationError, match="only a lab site"):
        vault.make(real, wrapping.Lab())
    wrapping.write(real.keys_dir, wrapping.Wrapped(vault="0" * 32, checks={}, wrap=wrapping.Lab()))
    with pytest.raises(ConfigurationError, match="lab vault on a real site"):
        vault.unlock(real)


def test_a_credential_of_the_service_manager(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = making.make(tmp_path / "real", is_lab=False)
    with vault.make(real, wrapping.Handed()) as key:
        made = vault.derive(real, wrapping.read(real.keys_dir).vault, key)
    with pytest.raises(ConfigurationError, match="no keys"):
        vault.unlock(real)
    (tmp_path / vault.CREDENTIAL).write_bytes(made.bundle(vault.PURPOSES["mediator"]))
    (tmp_path / vault.CREDENTIAL).chmod(0o400)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    assert vault.unlock(real).open("spool", made.seal("spool", b"x")) == b"x"


# -- the wrapped forms -------------------------------------------------------------------------------------------------


def test_a_passphrase_opens_it_and_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = making.make(tmp_path / "real", is_lab=False)
    monkeypatch.setattr(wrapping, "SCRYPT_N", 1 << 14)
    with pytest.raises(ConfigurationError, match="at least"):
        vault.make(real, wrapping.Passphrase(salt="", sealed=""), bytearray(b"short"))
    with vault.make(real, wrapping.Passphrase(salt="", sealed=""), bytearray(PHRASE.encode())) as key:
        octets = bytes(key.octets)
    for path in tmp_path.rglob("*"):
        assert not path.is_file() or octets not in path.read_bytes()
        assert not path.is_file() or octets.hex().encode() not in path.read_bytes()
    given(monkeypatch, PHRASE + "r")
    with pytest.raises(ConfigurationError, match="not the passphrase"):
        vault.unlock(real)
    given(monkeypatch, PHRASE)
    assert vault.unlock(real).purposes == vault.ALL
    monkeypatch.setattr(vault, "_open", {})
    monkeypatch.delenv(vault.PIN_FD)
    monkeypatch.setattr(sys, "stdin", open(os.devnull))  # noqa: SIM115 - no terminal
    with pytest.raises(ConfigurationError, match="terminal"):
        vault.unlock(real)


@pytest.fixture
def token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[wrapping.Pkcs11]:
    if shutil.which("softhsm2-util") is None or not Path(SOFTHSM).exists():
        pytest.skip("no SoftHSM2")
    (tmp_path / "tokens").mkdir()
    (tmp_path / "softhsm2.conf").write_text(f"directories.tokendir = {tmp_path / 'tokens'}\n")
    monkeypatch.setenv("SOFTHSM2_CONF", str(tmp_path / "softhsm2.conf"))
    subprocess.run(
        ["softhsm2-util", "--init-token", "--free", "--label", "mediation", "--so-pin", "87654321", "--pin", "1234"],
        check=True, capture_output=True,
    )  # fmt: skip
    yield wrapping.Pkcs11(module=SOFTHSM, token="mediation", label="vault")


# In a process of its own: a PKCS#11 library reads its configuration once.
TOKEN = """
import os, sys
from pathlib import Path
from mediation.core.errors import ConfigurationError
from mediation.runtime import config, vault, wrapping
site = config.load(Path(sys.argv[1]))
form = wrapping.Pkcs11(module=sys.argv[2], token="mediation", label="vault")
made = vault.make(site, form, bytearray(b"1234"))
wrapped = wrapping.read(site.keys_dir)
assert bytes(wrapping.from_token(wrapped.wrap, bytearray(b"1234")).octets) == bytes(made.octets)
for wrong, pin in ((wrapped.wrap, b"9999"), (form, b"1234")):
    try:
        wrapping.from_token(wrong, bytearray(pin))
    except ConfigurationError as error:
        print(error)
again = vault.rewrapped(wrapped, made, wrapping.Passphrase(salt="", sealed=""), bytearray(b"a long passphrase"))
assert bytes(wrapping.from_passphrase(again.wrap, bytearray(b"a long passphrase")).octets) == bytes(made.octets)
print(made.octets.hex())
"""


def test_a_token_wraps_it_and_the_key_cannot_leave(tmp_path: Path, token: wrapping.Pkcs11) -> None:
    real = making.make(tmp_path / "real", is_lab=False)
    ended = subprocess.run(
        [sys.executable, "-c", TOKEN, str(real.path), token.module], capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stderr
    *refused, key = ended.stdout.split("\n")[:-1]
    assert len(refused) == 2
    for path in tmp_path.rglob("*"):
        assert not path.is_file() or bytes.fromhex(key) not in path.read_bytes()


# -- one key for each order --------------------------------------------------------------------------------------------


def test_a_destroyed_key_takes_its_texts_with_it(site: Site) -> None:
    keys = vault.unlock(site).order_keys
    xids = [os.urandom(16).hex() for _ in range(100)]
    sealed = {xid: keys.make(xid).seal(b"text of " + xid.encode()) for xid in xids}
    keys.flush()
    path = site.path / "administrator" / vault.ORDER_KEYS
    assert path.stat().st_size == 256 * SLOT_OCTETS
    assert path.stat().st_mode & 0o777 == 0o600
    before = path.read_bytes()
    assert vault.unlock(site).destroy_order_key(xids[7])
    assert not keys.destroy(xids[7])
    after = path.read_bytes()
    changed = [n for n in range(256) if before[n * 96 : n * 96 + 96] != after[n * 96 : n * 96 + 96]]
    assert len(changed) == 1
    again = reopened(site)
    for xid in xids:
        if xid == xids[7]:
            with pytest.raises(KeyDestroyedError):
                again.get(xid)
        else:
            assert again.get(xid).open(sealed[xid]) == b"text of " + xid.encode()
    again.make(xids[7])
    again.flush()
    with pytest.raises(SealError):
        again.get(xids[7]).open(sealed[xids[7]])
    assert path.stat().st_size == 256 * SLOT_OCTETS  # its place is used again


@pytest.mark.parametrize("call", ["open", "pwrite", "fdatasync"])
def test_a_key_whose_destruction_failed_is_destroyed_when_it_is_tried_again(
    site: Site, call: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys, xid = vault.unlock(site).order_keys, "ab" * 16
    keys.make(xid)
    keys.flush()
    with monkeypatch.context() as patch:
        patch.setattr(os, call, _failing)
        with pytest.raises(OSError, match="Input/output"):
            keys.destroy(xid)
    assert keys.destroy(xid)
    with pytest.raises(KeyDestroyedError):
        reopened(site).get(xid)


@pytest.mark.parametrize("afresh", [False, True], ids=["the same process", "the next one"])
def test_a_key_written_twice_goes_from_both_places(site: Site, afresh: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """A synchronisation that fails leaves what was written; what is written again may have another place."""
    xid, path = "cd" * 16, site.path / "administrator" / vault.ORDER_KEYS
    keys = vault.unlock(site).order_keys
    keys.make(xid)
    with monkeypatch.context() as patch:
        patch.setattr(os, "fdatasync", _failing)
        with pytest.raises(OSError, match="Input/output"):
            keys.flush()
    keys.flush()
    (name,) = keys._sealed
    assert name in path.read_bytes()
    (reopened(site) if afresh else keys).destroy(xid)
    assert name not in path.read_bytes()
    with pytest.raises(KeyDestroyedError):
        reopened(site).get(xid)


def _failing(*_: object) -> int:
    raise OSError(5, "Input/output error")


def test_one_orders_key_does_not_pass_for_anothers(site: Site) -> None:
    keys = vault.unlock(site).order_keys
    one, other = "aa" * 16, "bb" * 16
    keys.make(one), keys.make(other)
    keys.flush()
    path = site.path / "administrator" / vault.ORDER_KEYS
    octets = bytearray(path.read_bytes())
    octets[16:88], octets[96 + 16 : 96 + 88] = octets[96 + 16 : 96 + 88], octets[16:88]
    path.write_bytes(octets)
    with pytest.raises(KeyDestroyedError):
        reopened(site).get(one)


def reopened(site: Site) -> OrderKeys:
    found = vault.unlock(site)
    found.reload_order_keys()
    return found.order_keys


def test_a_slot_that_is_used_looks_like_any_other(site: Site) -> None:
    keys = vault.unlock(site).order_keys
    for number in range(30):
        keys.make(f"{number:032x}")
    keys.flush()
    keys.destroy(f"{7:032x}")
    octets = (site.path / "administrator" / vault.ORDER_KEYS).read_bytes()
    slots = [octets[at : at + SLOT_OCTETS] for at in range(0, len(octets), SLOT_OCTETS)]
    assert len({slot[:16] for slot in slots}) == len({slot[16:28] for slot in slots}) == 64  # names, prefixes of nonces
    assert {slot[28:40] for slot in slots} == {bytes(12)}  # the numbers in them
    assert len(reopened(site)._sealed) == 29


# -- memory ------------------------------------------------------------------------------------------------------------


def test_a_secret_is_locked_left_out_of_dumps_empty_in_a_child_and_wiped() -> None:
    with Secret.of(b"k" * 32) as secret:
        assert bytes(secret.octets) == b"k" * 32
        if os.geteuid() == 0:
            assert secret.locked
        flags = _vm_flags(secret)
        assert {"dd", "wf"} <= flags  # MADV_DONTDUMP, MADV_WIPEONFORK
        assert not secret.locked or "lo" in flags
        child = os.fork()
        if child == 0:
            os._exit(any(secret.octets))
        assert os.waitpid(child, 0)[1] == 0
    assert not any(secret.octets)


def _vm_flags(secret: Secret) -> set[str]:
    import ctypes

    address = ctypes.addressof(ctypes.c_char.from_buffer(secret._page))
    found: set[str] = set()
    inside = False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        words = line.split()
        if "-" in words[0] and not words[0].endswith(":"):
            low, high = (int(end, 16) for end in words[0].split("-"))
            inside = low <= address < high
        elif inside and words[0] == "VmFlags:":
            found = set(words[1:])
    return found


def test_the_commands(site: Site, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    program = [sys.executable, "-m", "mediation.cli.main"]
    found = subprocess.run([*program, "vault", "check", "--site", str(site.path)], capture_output=True, check=True)
    assert b"spool" in found.stdout
    bundle = subprocess.run(
        [*program, "vault", "credential", "mediator", "--site", str(site.path)], capture_output=True, check=True
    ).stdout
    assert bundle.startswith(vault.MAGIC)
    with (tmp_path / "file").open("wb") as file:
        refused = subprocess.run(
            [*program, "vault", "credential", "mediator", "--site", str(site.path)], stdout=file, check=False,
            stderr=subprocess.PIPE,
        )  # fmt: skip
    assert refused.returncode == 1
    assert (tmp_path / "file").read_bytes() == b""
    reading, writing = os.pipe()
    os.write(writing, PHRASE.encode())
    os.close(writing)
    made = subprocess.run(
        [*program, "init", str(tmp_path / "real"), "--vault", "passphrase"], pass_fds=[reading],
        env={**os.environ, vault.PIN_FD: str(reading)}, capture_output=True, check=False,
    )  # fmt: skip
    assert made.returncode == 0, made.stderr
    assert isinstance(wrapping.read(config.load(tmp_path / "real").keys_dir).wrap, wrapping.Passphrase)
