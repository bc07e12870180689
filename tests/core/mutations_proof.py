"""Rows of the mutation matrix: the ledger's proof, and the witnesses' cosignatures on it."""

from __future__ import annotations

from typing import Any

import msgspec

from mediation.core.case import Act, TaskRequest
from mediation.core.check import Check
from mediation.core.ledger import cosignature, entry, note
from tests.core import authority as a
from tests.core.authority import NOW_S
from tests.core.mutation import (
    GOOD,
    Case,
    now,
    order,
    replace,
    row,
    rows,
    with_commands,
)
from tests.core.mutations_order import bound

# --- the ledger's proof -----------------------------------------------------------------------------------------------


def proof(**changes: Any) -> Case:
    return now(replace(GOOD, proofs=(msgspec.structs.replace(GOOD.proofs[0], **changes),)))


def recorded(**changes: Any) -> Case:
    """The ledger honestly holds a record, but of something else than the act."""
    return now(a.request(GOOD.legal, GOOD.carrier, *GOOD.commands, **changes))


rows(
    Check.PROOF_COUNT,
    "proofs",
    {"none": lambda: now(replace(GOOD, proofs=())), "one more": lambda: now(replace(GOOD, proofs=GOOD.proofs * 2))},
)
rows(
    Check.PROOF_RECORD,
    "record of another",
    {
        "case": lambda: recorded(case="CASE-2"),
        "act": lambda: recorded(act=Act.DDE),
        "sequence": lambda: recorded(sequence=2),
        "legal token": lambda: recorded(legal_sha256="00" * 32),
        "carrier token": lambda: recorded(carrier_sha256="00" * 32),
        "command": lambda: recorded(command_sha256="00" * 32),
    },
)


def another_kind() -> Case:
    ledger = a.Ledger()
    index = ledger.add(entry.encode(entry.Expired(time_us=NOW_S * 1_000_000, case="CASE-1", carrier_sha256="00" * 32)))
    return now(replace(GOOD, proofs=(ledger.proof(index),)))


row(Check.PROOF_RECORD, "record of another kind")(another_kind)


def forged_ledger(signer: note.Signer) -> Case:
    return now(a.request(GOOD.legal, GOOD.carrier, *GOOD.commands, ledger=a.Ledger(signer)))


rows(
    Check.PROOF_CHECKPOINT,
    "checkpoint",
    {
        "of another key": lambda: forged_ledger(note.Signer(a.ORIGIN, a.private(8))),
        "of another ledger": lambda: forged_ledger(note.Signer("other/ledger", a.private(9))),
        "edited size": lambda: proof(checkpoint=GOOD.proofs[0].checkpoint.replace("\n2\n", "\n3\n")),
        "unsigned": lambda: proof(checkpoint=GOOD.proofs[0].checkpoint.rpartition("\n\n")[0] + "\n\n"),
        "empty": lambda: proof(checkpoint=""),
    },
)


def cosigned_by(*signers: cosignature.Signer, time_s: int = NOW_S) -> Case:
    bare = GOOD.proofs[0].checkpoint.rpartition("\u2014")[0]
    return proof(checkpoint=bare + "".join(signer.line(note.split(bare)[0], time_s) for signer in signers))


def without_policy() -> Case:
    trust = a.trust()
    trust.policy = None
    return now(GOOD, trust)


STRANGER = cosignature.Signer.from_seed(a.WITNESS.verifier.name, cosignature.ED25519_V1, bytes([7]) * 32)
rows(
    Check.PROOF_WITNESSES,
    "witnesses",
    {
        "no cosignature": cosigned_by,
        "a stranger's, by the witness's name": lambda: cosigned_by(STRANGER),
        "without a time": lambda: cosigned_by(a.WITNESS, time_s=0),
        "twice the same": lambda: cosigned_by(a.WITNESS, a.WITNESS),
        "of another head": lambda: proof(
            checkpoint=GOOD.proofs[0].checkpoint.rpartition("\u2014")[0]
            + a.WITNESS.line(note.split(a.Ledger().proof(0).checkpoint)[0], NOW_S)
        ),
        "a site without a policy": without_policy,
    },
)
rows(
    Check.PROOF_INCLUSION,
    "inclusion",
    {
        "edited record": lambda: proof(
            record=GOOD.proofs[0].record.replace(str(NOW_S * 1_000_000), str(NOW_S * 1_000_000 - 1))
        ),
        "another salt": lambda: proof(salt="00" * 32),
        "another index": lambda: proof(index=0),
        "index outside": lambda: proof(index=2),
        "negative index": lambda: proof(index=-1),
        "short path": lambda: proof(path=()),
        "long path": lambda: proof(path=GOOD.proofs[0].path * 2),
        "another path": lambda: proof(path=("00" * 32,)),
    },
)
rows(
    Check.STRUCTURE,
    "proof",
    {
        "salt of another length": lambda: proof(salt=GOOD.proofs[0].salt + "00"),
        "salt no hex": lambda: proof(salt="zz" * 32),
        "path of another length": lambda: proof(path=("00" * 31,)),
        "record no record": lambda: proof(record="{}"),
    },
)


def out_of_order() -> Case:
    legal = a.sign_legal()
    carrier = a.sign_carrier(legal)
    first, second = a.sign_command(carrier), a.sign_command(carrier, act=Act.DDE, sequence=2)
    ledger = a.Ledger()
    later = ledger.add(a.record(legal, carrier, second, act=Act.DDE, sequence=2))
    earlier = ledger.add(a.record(legal, carrier, first))
    proofs = (ledger.proof(earlier), ledger.proof(later))
    return now(TaskRequest(legal=legal, carrier=carrier, commands=(first, second), proofs=proofs))


row(Check.PROOF_ORDER, "acts in another order than entered")(out_of_order)
row(Check.PROOF_TIME, "entered in the future")(
    lambda: now(with_commands({"expires_s": NOW_S + 600}, time_us=(NOW_S + 61) * 1_000_000))
)
rows(
    Check.COMMAND_DATES,
    "act",
    {
        "entered after it lapsed": lambda: now(with_commands({"issued_s": NOW_S - 400, "expires_s": NOW_S})),
        "entered before it was signed": lambda: now(with_commands({"issued_s": NOW_S + 61})),
        "lapses before it is signed": lambda: now(with_commands({"expires_s": NOW_S - 40})),
        "legal token signed after the entry": lambda: order(issued_s=NOW_S + 61),
        "carrier token signed after the entry": lambda: bound(carrier={"issued_s": NOW_S + 61}),
    },
)
