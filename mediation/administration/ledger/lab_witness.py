"""The witness of a lab site (`lab:` in keys/witness.policy): it lives in the site's own process, and is no witness.

It exists so that everything about witnesses runs in a lab: its answers are those of the real one
(core/ledger/witness.py), and its memory is a file of its own, so a lab's ledger that was put back to an older state is
found as well. Its key lies beside the ledger's: who can rewrite the one can rewrite the other. `policy.parse` refuses
`lab:` on a real site.

    lab/witness.key      its private key      lab/witness.state    the latest head that it cosigned, or nothing
"""

from __future__ import annotations

import secrets
from pathlib import Path

from mediation.core.errors import ConfigurationError, RemoteProtocolError
from mediation.core.ledger import cosignature, note
from mediation.core.ledger.policy import LAB_URL
from mediation.core.ledger.witness import Answer, Witness
from mediation.runtime import durable
from mediation.signing.file import write_private

KEY, STATE = "witness.key", "witness.state"
NAME = "LAB/witness"


def make(lab_dir: Path, ledger: note.Verifier) -> str:
    """Makes the lab's witness; the text of a policy that is content with it. Raises ConfigurationError, OSError."""
    # Ed25519, because a proof of each act carries the cosignature: an ML-DSA-44 one is 33 times as long.
    seed = secrets.token_bytes(cosignature.SEED_OCTETS)
    signer = cosignature.Signer.from_seed(NAME, cosignature.ED25519_V1, seed)
    write_private(lab_dir / KEY, f"{signer.private_text()}\n")
    durable.replace(lab_dir / STATE, b"")
    return (
        "# LAB: this witness lives in the site's own process and proves nothing to anybody.\n"
        f"log {ledger}\nwitness lab {signer.verifier} {LAB_URL}\nquorum lab\n"
    )


class LabWitness:
    """Open on a lab site's folder. One process at a time: whoever holds the site's lock."""

    def __init__(self, lab_dir: Path, ledger: note.Verifier) -> None:
        """Raises ConfigurationError."""
        self._state = lab_dir / STATE
        try:
            signer = cosignature.Signer.parse((lab_dir / KEY).read_text())
            self._witness = Witness([signer], [ledger])
            self._witness.restore(ledger.name, self._state.read_bytes().decode())
        except OSError as error:
            raise ConfigurationError(f"lab witness: {error.strerror}") from error
        except (RemoteProtocolError, ValueError) as error:
            raise ConfigurationError(f"lab witness: {error}") from error

    def answer(self, method: str, path: str, body: bytes, now_s: int) -> Answer:
        """What a witness at a URL would answer. Raises OSError when its memory cannot be written."""
        if method == "GET":
            return self._witness.monitor(path)
        answer = self._witness.add_checkpoint(body, now_s)
        if answer.update is not None:
            durable.replace(self._state, answer.update.note.encode())
            self._witness.commit(answer.update)
        return answer
