"""The witness's folder: its keys, the logs it knows, one head for each, and the evidence against them.

    witness.key            the private keys, one a line: Ed25519, ML-DSA-44                    mode 0600
    witness.pub            their verifier keys, for the policy files of the logs' readers
    logs                   verifier keys of the logs, one a line; a log's origin is its key's name
    state/<origin hash>    the latest head that was cosigned of a log, as it is served; empty before the first
    evidence/<kind>-<hash>.json   two signed notes that cannot both be right

Trust: whoever writes here makes the witness lie, so it is to stand under another administrator than the log (THREATS,
"witness"). A state that the witness did not sign itself is refused, and so is a missing one: it would have the witness
believe any history. The folder is of one process at a time. These calls block.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from mediation.core.errors import ConfigurationError, RemoteProtocolError
from mediation.core.ledger import cosignature, note
from mediation.core.ledger.witness import MAX_LOGS, Answer, Bad, LogKey, Update, Witness
from mediation.runtime import durable

KEY, PUBLIC, LOGS, STATE, EVIDENCE = "witness.key", "witness.pub", "logs", "state", "evidence"
MAX_FILE_OCTETS = MAX_LOGS * 2_048  # of the logs' keys; an ML-DSA-44 one takes 1.8 kB
# How much evidence is kept (ours). A fork's two notes are proof by themselves; of the other kind anybody can send one
# for each head that the log ever signed, so it must not be able to fill the disk or push a fork out.
MAX_EVIDENCE = {Bad.FORK: 256, Bad.UNPROVEN: 64}


class Evidence(msgspec.Struct, frozen=True, kw_only=True):
    """What is kept of a bad request. `before` is the head as it was cosigned, `after` what the log signed then."""

    bad: Bad
    time_s: int
    before: str
    after: str


def init(path: Path, name: str) -> tuple[str, ...]:
    """Makes a witness's folder with new keys; its verifier keys. Raises ConfigurationError."""
    if not note.valid_name(name):
        raise ConfigurationError("witness: a name has no space and no plus, and 1 to 255 octets")
    kinds = (cosignature.ED25519_V1, cosignature.MLDSA44)
    signers = [cosignature.Signer.from_seed(name, kind, secrets.token_bytes(cosignature.SEED_OCTETS)) for kind in kinds]
    public = tuple(str(signer.verifier) for signer in signers)
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        if any(path.iterdir()):
            raise ConfigurationError(f"{path.name}: is not empty")
        for folder in (STATE, EVIDENCE):
            durable.make_folder(path / folder)
        durable.replace(path / KEY, "".join(f"{signer.private_text()}\n" for signer in signers).encode())
        durable.replace(path / PUBLIC, "".join(f"{line}\n" for line in public).encode())
        (path / PUBLIC).chmod(0o644)
        durable.replace(path / LOGS, b"")
    except OSError as error:
        raise ConfigurationError(f"{path.name}: {error.strerror}") from error
    return public


def add(path: Path, vkey: str) -> str:
    """Adds a log's key; its origin. A second key of a known origin joins the first. A running witness learns of it at
    its next start. Raises ConfigurationError."""
    vkey = vkey.strip()
    key = _log_key(vkey)
    known = _lines(path / LOGS)
    if vkey in known or len(known) >= MAX_LOGS:
        raise ConfigurationError(f"{LOGS}: the key stands there, or there is no room for it")
    try:
        state = path / STATE / _hash(key.name)
        if not state.exists():
            durable.replace(state, b"")  # first: a log without a state is not believed
        durable.append(path / LOGS, f"{vkey}\n".encode())
    except OSError as error:
        raise ConfigurationError(f"{path.name}: {error.strerror}") from error
    return key.name


@contextmanager
def hold(path: Path) -> Iterator[None]:
    """One process judges requests against this state. Raises ConfigurationError while another holds it."""
    try:
        descriptor = os.open(path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise ConfigurationError(f"{path.name}: {error.strerror}") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError as error:
        raise ConfigurationError(f"{path.name}: another witness runs on it") from error
    finally:
        os.close(descriptor)


def load(path: Path) -> Witness:
    """The witness with all that it remembers. Raises ConfigurationError."""
    try:
        signers = [cosignature.Signer.parse(line) for line in _lines(path / KEY)]
    except ValueError:
        raise ConfigurationError(f"{KEY}: not a witness's private keys") from None
    try:
        found = Witness(signers, [_log_key(line) for line in _lines(path / LOGS)])
    except ValueError as error:
        raise ConfigurationError(str(error)) from error
    for origin in found.origins:
        state = path / STATE / _hash(origin)
        try:
            found.restore(origin, state.read_bytes().decode())
        except OSError as error:
            raise ConfigurationError(f"state of {origin}: {error.strerror}: without it any history would do") from error
        except (RemoteProtocolError, UnicodeDecodeError) as error:
            raise ConfigurationError(f"state of {origin}: {error}") from error
    return found


def keep(path: Path, update: Update) -> None:
    """Makes an update durable. Raises OSError."""
    durable.replace(path / STATE / _hash(update.origin), update.note.encode())


def keep_evidence(path: Path, answer: Answer, now_s: int) -> bool:
    """Keeps what a log should not have signed, once for each head; whether there was room. Raises OSError."""
    assert answer.bad is not None
    before, after = answer.evidence
    # By the head alone: a signature of ML-DSA-44 over the same head differs each time.
    name = f"{answer.bad}-{hashlib.sha256(note.split(after)[0].encode()).hexdigest()}.json"
    folder = path / EVIDENCE
    kept = [each.name for each in folder.glob(f"{answer.bad}-*.json")]
    if name in kept:
        return True
    if len(kept) >= MAX_EVIDENCE[answer.bad]:
        return False
    found = Evidence(bad=answer.bad, time_s=now_s, before=before, after=after)
    durable.replace(folder / name, msgspec.json.encode(found) + b"\n")
    return True


def _hash(origin: str) -> str:
    return hashlib.sha256(origin.encode()).hexdigest()


def _log_key(vkey: str) -> LogKey:
    try:
        octets = cosignature.parse_vkey(vkey)[2]
        key: LogKey = note.Verifier.parse(vkey) if octets[:1] == note.ED25519 else cosignature.Verifier.parse(vkey)
    except ValueError as error:
        raise ConfigurationError(f"{LOGS}: {error}") from error
    if isinstance(key, cosignature.Verifier) and key.kind != cosignature.MLDSA44:
        raise ConfigurationError(f"{LOGS}: a key of Ed25519 cosignatures is a witness's")
    return key


def _lines(path: Path) -> list[str]:
    try:
        with path.open("rb") as file:
            octets = file.read(MAX_FILE_OCTETS + 1)
        if len(octets) > MAX_FILE_OCTETS:
            raise ConfigurationError(f"{path.name}: too large")
        return octets.decode().splitlines()
    except OSError as error:
        raise ConfigurationError(f"{path.name}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"{path.name}: not UTF-8") from error
