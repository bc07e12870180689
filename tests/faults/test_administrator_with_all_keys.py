"""The administrator's process fully compromised: a hostile one in its place holds all that it holds, and its keys.

That is the ledger's key, every text that honest persons ever signed (the vault's keys open nothing else), and the three
X1 sockets. The witnesses' keys and the persons' are elsewhere. The access function, the mediator and the egress filter
run as they are, each under an honest order; each row is something the hostile one sends. No tap is armed, no
destination changed, no case extended, no lease prolonged; stopping, suspending and withdrawing work in its hands.
"""

from __future__ import annotations

import base64
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest
import trio

from mediation.core.authority import authorization, jws, roster
from mediation.core.authority.roster import End
from mediation.core.case import Act, Authority, Proof, Revocation, Role, TaskRequest
from mediation.core.check import Check
from mediation.core.interface import x1
from mediation.core.ledger import cosignature, merkle, note
from tests.core import authority as a
from tests.core import founding as f
from tests.core import mutations_life as life
from tests.core.authority import KEYS, KIDS, LEGAL, NOW_NS, NOW_S, SIGNER
from tests.core.mutation import replace, with_commands
from tests.faults.test_compromised_administrator import LAG_NS, connect, write_site
from tests.faults.test_compromised_administrator import function as turned
from tests.faults.test_roster_everywhere import tell

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root: packet sockets and nftables"),
]
FUNCTIONS = ("iap", "mediator", "egress")
HOUR_NS = 3_600_000_000_000
LEDGER_KEY = a.private(9)  # what the site's ledger signs with
LIMIT_S = 60


@pytest.fixture
def namespace() -> Iterator[str]:
    """The egress function's own: it writes no rule of this machine's."""
    name = f"allkeys{os.getpid()}"
    if subprocess.run(["ip", "netns", "add", name], check=False, capture_output=True).returncode:
        pytest.skip("no network namespace here")
    yield name
    subprocess.run(["ip", "netns", "delete", name], check=True)


@contextmanager
def function(name: str, folder: Path, now_ns: int, namespace: str) -> Iterator[None]:
    if name == "egress" and shutil.which("nft", path="/usr/sbin:/usr/bin") is None:
        pytest.skip("no nft")
    with turned(name, folder, now_ns, namespace if name == "egress" else ""):
        yield


# --- what it can make ---------------------------------------------------------------------------------------------


class Forger(a.Ledger):
    """A ledger by the ledger's own key, cosigned as `cosign` can."""

    def __init__(self, cosign: Callable[[str], str]) -> None:
        self.cosign = cosign
        super().__init__()

    def proof(self, index: int) -> Proof:
        return msgspec.structs.replace(super().proof(index), checkpoint=self.head())

    def head(self) -> str:
        text = note.Checkpoint(origin=a.ORIGIN, size=self.tree.size, root=self.tree.root()).text()
        return self.cosign(SIGNER.sign(text))


HONEST = a.Ledger()
ORDER = a.request(_legal := a.sign_legal(), _carrier := a.sign_carrier(_legal), a.sign_command(_carrier), ledger=HONEST)
XID = authorization.xid(ORDER.carrier).hex()
HEAD = ORDER.proofs[0].checkpoint
STRANGER = cosignature.Signer.from_seed("test/witness", cosignature.ED25519_V1, bytes([77]) * 32)
BY_LEDGER = cosignature.Signer.from_seed("test/witness", cosignature.ED25519_V1, bytes([9]) * 32)


def _own(text: str) -> str:
    return text + STRANGER.line(note.split(text)[0], NOW_S)


def _ledger_as_witness(text: str) -> str:
    return text + BY_LEDGER.line(note.split(text)[0], NOW_S)


def _transplanted(text: str) -> str:
    """With the cosignature of an honest head."""
    return text + HEAD.splitlines(keepends=True)[-1]


def _renamed(text: str) -> str:
    """A stranger's signature under the witness's key hash."""
    _, name, mine = _own(text).splitlines()[-1].split(" ")
    theirs = base64.b64decode(HEAD.splitlines()[-1].split(" ")[2])
    octets = theirs[:4] + base64.b64decode(mine)[4:]
    return f"{text}\u2014 {name} {base64.b64encode(octets).decode()}\n"


COSIGNED = {
    "by nobody": lambda text: text,
    "by a key of its own under the witness's name": _own,
    "by the ledger's key under the witness's name": _ledger_as_witness,
    "with the cosignature of another head": _transplanted,
    "by a key of its own under the witness's key hash": _renamed,
}


def later_cosigned() -> str:
    """The honest head with a later time in the witness's line."""
    *body, last = HEAD.splitlines(keepends=True)
    mark, name, text = last.strip().split(" ")
    octets = bytearray(base64.b64decode(text))
    octets[4:12] = (NOW_S + 86_400).to_bytes(8, "big")
    return "".join((*body, f"{mark} {name} {base64.b64encode(bytes(octets)).decode()}\n"))


def hidden(ledger: a.Ledger) -> TaskRequest:
    """An order that all three persons signed, and no witness ever saw: a case without a trace."""
    legal = a.sign_legal(msgspec.structs.replace(LEGAL, subjects=("tel:+12125550177",), nonce="0c" * 16))
    carrier = a.sign_carrier(legal)
    return a.request(legal, carrier, a.sign_command(carrier), ledger=ledger)


def arm(request: TaskRequest) -> x1.Request:
    return x1.ActivateTask(request=request)


def change(request: TaskRequest) -> x1.Request:
    return x1.ModifyTask(request=request)


def extended(**pair: str) -> TaskRequest:
    request = a.extended(ledger=_continued())
    return replace(request, extensions=(msgspec.structs.replace(request.extensions[0], **pair),))


def _grown(cosign: Callable[[str], str]) -> str:
    """The honest ledger's head with one entry more."""
    ledger = _continued(cosign)
    ledger.add(HONEST.records[0][0])
    assert isinstance(ledger, Forger)
    return ledger.head()


def _continued(cosign: Callable[[str], str] | None = None) -> a.Ledger:
    """The honest ledger going on; by `cosign`, as the hostile one can cosign it."""
    ledger = a.Ledger() if cosign is None else Forger(cosign)
    for record, _ in HONEST.records[1:]:
        ledger.add(record)
    return ledger


OTHER = a.good(case="CASE-2", subjects=("tel:+12125550199",))
OTHER_LONGER = a.sign_legal_extension(OTHER.legal, case="CASE-2")
OTHER_PAIR = {
    "legal": OTHER_LONGER, "carrier": a.sign_carrier_extension(OTHER.carrier, OTHER_LONGER, case="CASE-2")
}  # fmt: skip
BY_ITSELF = {"key": LEDGER_KEY}
WIDE = msgspec.structs.replace(LEGAL, destination=msgspec.structs.replace(LEGAL.destination, host="192.0.2.66"))
EMERGENCY = Authority.EMERGENCY_PEN_REGISTER
HOURS_48 = LEGAL.not_before_s + 48 * 3600

ROSTER = f.of_trust(a.trust())
_HELD = roster.Roster.replay(ROSTER, roster.digest(ROSTER[0]), a.ORIGIN, lab=False)
_CHANGE = f.change(_HELD, End(person="egon", role=Role.EXECUTIVE, at_s=NOW_S), issued_s=NOW_S)


def signed_change(*signers: tuple[str, object]) -> str:
    return roster.line(jws.sign_octets(_CHANGE, roster.TYP, kid, key) for kid, key in signers)  # type: ignore[arg-type]


def other_founding() -> str:
    """By executives of its own making."""
    ring = [(role, a.ring_key(KIDS[role], a.PERSONS[role], a.private(100 + n))) for n, role in enumerate(Role)]
    return f.founded(ring, a.ORIGIN, issued_s=2)


ROWS: dict[str, tuple[x1.Request, set[Check]]] = {
    **{
        f"a tap without a trace, {name}": (arm(hidden(Forger(cosign))), {Check.PROOF_WITNESSES})
        for name, cosign in COSIGNED.items()
    },
    **{
        f"an extension in a ledger cosigned {name}": (
            change(a.extended(ledger=_continued(cosign))), {Check.PROOF_WITNESSES},
        )
        for name, cosign in COSIGNED.items()
    },
    "a tap by the ledger's proof of another order": (
        arm(replace(hidden(a.Ledger()), proofs=ORDER.proofs)), {Check.PROOF_RECORD},
    ),
    "tokens signed by the ledger's key": (
        arm(a.request(legal := a.sign_legal(**BY_ITSELF), carrier := a.sign_carrier(legal, **BY_ITSELF),
                      a.sign_command(carrier, **BY_ITSELF))), {Check.SIGNATURE},
    ),
    "tokens by a person of its own": (
        arm(a.request(legal := a.sign_legal(kid="mine", **BY_ITSELF), carrier := a.sign_carrier(legal),
                      a.sign_command(carrier))), {Check.KEY_UNKNOWN},
    ),
    "digits switched on without an officer": (
        change(a.request(ORDER.legal, ORDER.carrier, *ORDER.commands,
                         a.sign_command(ORDER.carrier, act=Act.DDE, sequence=2, dde=True, **BY_ITSELF))),
        {Check.SIGNATURE},
    ),
    "an extension without its tokens": (change(replace(extended(), extensions=())), {Check.EXTENSION}),
    "an extension without the legal token": (change(extended(legal="")), {Check.STRUCTURE}),
    "an extension without the carrier's token": (change(extended(carrier="")), {Check.STRUCTURE, Check.EXTENSION}),
    "an extension with tokens of another order": (change(extended(**OTHER_PAIR)), {Check.EXTENSION}),
    "an extension that no officer put in force": (
        change(replace(ORDER, extensions=extended().extensions)), {Check.EXTENSION},
    ),
    "an extension by the ledger's key": (
        change(extended(legal=a.sign_legal_extension(ORDER.legal, **BY_ITSELF))), {Check.SIGNATURE, Check.EXTENSION},
    ),
    "another destination under the same approval": (
        change(replace(ORDER, legal=a.sign_legal(WIDE))), {Check.LEGAL_BINDING},
    ),
    "an emergency of 48 hours and a second": (
        arm(a.good(authority=EMERGENCY, not_before_s=LEGAL.not_before_s, not_after_s=HOURS_48 + 1)), {Check.TERM},
    ),
    "an emergency extended beyond 48 hours": (arm(life.emergency_extended(HOURS_48 + 1)[0]), {Check.TERM}),
    "an emergency without its call-back": (
        arm(replace(life.EMERGENCY, call_back="", call_back_proof=None)), {Check.CALL_BACK},
    ),
    "an emergency with a call-back by the ledger's key": (
        arm(replace(life.EMERGENCY, call_back=a.sign_call_back(life.EMERGENCY.legal, **BY_ITSELF))), {Check.SIGNATURE},
    ),
    **{
        f"a head cosigned {name}": (
            x1.Head(checkpoint=_grown(cosign), first=HONEST.tree.size), {Check.PROOF_WITNESSES},
        )
        for name, cosign in COSIGNED.items()
    },
    "an old head with a later time": (
        x1.Head(checkpoint=later_cosigned(), first=HONEST.tree.size), {Check.PROOF_WITNESSES},
    ),
    "a head of before": (x1.Head(checkpoint=a.Ledger().proof(0).checkpoint), {Check.PROOF_CONSISTENCY}),
    "a shorter roster": (x1.Roster(lines=()), {Check.ROSTER}),
    "another founding": (x1.Roster(lines=(other_founding(),)), {Check.ROSTER}),
    "a change that one executive approved twice": (
        x1.Roster(lines=(*ROSTER, signed_change(("edda-1", f.seed("edda")), ("edda-1", f.seed("edda"))))),
        {Check.ROSTER_APPROVAL},
    ),
    "a change that an officer approved": (
        x1.Roster(lines=(*ROSTER, signed_change(("edda-1", f.seed("edda")), (KIDS[Role.OFFICER], KEYS[Role.OFFICER])))),
        {Check.ROSTER_APPROVAL},
    ),
    "a change that the ledger's key approved": (
        x1.Roster(lines=(*ROSTER, signed_change(("edda-1", LEDGER_KEY), ("elsa-1", LEDGER_KEY)))), {Check.SIGNATURE},
    ),
    "a change approved by whom it concerns": (
        x1.Roster(lines=(*ROSTER, signed_change(("edda-1", f.seed("edda")), ("egon-1", f.seed("egon"))))),
        {Check.ROSTER_APPROVAL},
    ),
}  # fmt: skip


def destinations() -> Iterator[str]:
    """The legal token with each octet of its destination changed in turn, under the honest signature."""
    head, payload, signature = ORDER.legal.split(".")
    octets = base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4))
    begin = octets.index(b'"destination":')
    end = octets.index(b"}", begin) + 1
    for at in range(begin, end):
        other = bytearray(octets)
        other[at] ^= 1
        yield f"{head}.{base64.urlsafe_b64encode(other).rstrip(b'=').decode()}.{signature}"


async def facts(stream: trio.SocketStream) -> tuple[object, ...]:
    answer = await tell(stream, x1.ReportStatus())
    assert isinstance(answer, x1.Ok) and answer.report is not None
    report = answer.report
    links = sorted(each["link"] for each in report.get("links", ()))  # named by agency and destination
    return (*(str(report.get(name)) for name in ("tasks", "lease", "roster", "destinations")), links)


@pytest.mark.parametrize("name", FUNCTIONS)
async def test_it_can_only_stop(tmp_path: Path, namespace: str, name: str) -> None:
    write_site(tmp_path, a.trust())
    with function(name, tmp_path, NOW_NS, namespace):
        async with await connect(tmp_path, name) as stream:

            async def check(request: x1.Request) -> str:
                answer = await tell(stream, request)
                return answer.check if isinstance(answer, x1.Refused) else "ok"

            assert await check(arm(ORDER)) == "ok"
            before = await facts(stream)
            wrong = {}
            for row, (request, allowed) in ROWS.items():
                if (found := await check(request)) not in allowed:
                    wrong[row] = found
            for number, legal in enumerate(destinations()):
                for request in (arm(replace(ORDER, legal=legal)), change(replace(ORDER, legal=legal))):
                    if (found := await check(request)) not in {Check.SIGNATURE, Check.STRUCTURE}:
                        wrong[f"destination, octet {number}"] = found
            assert number > 100
            assert wrong == {}
            assert await facts(stream) == before
            # An honest head that is replayed prolongs nothing, and is no error.
            await check(x1.Head(checkpoint=HEAD, first=HONEST.tree.size))
            assert await facts(stream) == before
            # It can interrupt; what it interrupted goes on by an officer's later act alone.
            assert await check(x1.SuspendTask(xid=XID, sequence=0)) == "ok"
            assert await check(change(ORDER)) == await check(arm(ORDER)) == Check.SUSPENDED
            ledger = _continued()
            acts = ({}, {"act": Act.SUSPEND, "sequence": 2}, {"act": Act.RESUME, "sequence": 3})
            honest = with_commands(*acts, ledger=ledger)
            forged = a.sign_command(ORDER.carrier, act=Act.RESUME, sequence=3, **BY_ITSELF)
            assert await check(change(replace(honest, commands=(*honest.commands[:2], forged)))) == Check.SIGNATURE
            assert await check(change(honest)) == "ok"
            # It can withdraw with the reviewer's word, and end without anybody's.
            draft = Revocation(
                type="revocation", case="CASE-1", token_sha256=jws.sha256_hex(ORDER.legal), reason="test",
                issued_s=NOW_S, nonce="0b" * 16,
            )  # fmt: skip
            text = jws.sign(draft, "mediation-revocation", KIDS[Role.LEGAL], KEYS[Role.LEGAL])
            assert await check(x1.RevokeToken(revocation=text)) == "ok"
            assert (await facts(stream))[0] == "0"
            ended = a.good(subjects=("tel:+12125550155",), nonce="0f" * 16)
            assert await check(x1.DeactivateTask(xid=authorization.xid(ended.carrier).hex())) == "ok"
            assert await check(change(honest)) in {Check.REVOKED, Check.DEACTIVATED}
    said = (tmp_path / "log" / f"{name}.log").read_text()
    assert "2125550100" not in said and "2125550177" not in said


@pytest.mark.parametrize("name", FUNCTIONS)
async def test_without_the_witnesses_nothing_goes_on_for_long(tmp_path: Path, namespace: str, name: str) -> None:
    """A day after the last cosigned head: honest texts, honest proofs, and no newer head to be had."""
    write_site(tmp_path, a.trust())
    long = a.good(not_after_s=NOW_S + 20 * 86_400)
    emergency = a.good(authority=EMERGENCY, not_after_s=HOURS_48)
    with function(name, tmp_path, NOW_NS + 24 * HOUR_NS + LAG_NS, namespace):
        async with await connect(tmp_path, name) as stream:
            for request in (arm(long), x1.Head(checkpoint=HEAD), arm(long)):
                answer = await tell(stream, request)
                assert not isinstance(request, x1.ActivateTask) or (
                    isinstance(answer, x1.Refused) and answer.check == Check.LEASE
                )
            for cosign in COSIGNED.values():
                head = Forger(cosign).head()
                answer = await tell(stream, x1.Head(checkpoint=head))
                assert isinstance(answer, x1.Refused) and answer.check == Check.PROOF_WITNESSES
            assert (await facts(stream))[0] == "0"
    (tmp_path / "later").mkdir()
    write_site(tmp_path / "later", a.trust())
    with function(name, tmp_path / "later", HOURS_48 * 10**9, namespace):
        async with await connect(tmp_path / "later", name) as stream:
            answer = await tell(stream, arm(emergency))
            assert isinstance(answer, x1.Refused) and answer.check == Check.EXPIRED


@pytest.mark.parametrize("name", ["iap", "mediator"])
async def test_a_roster_written_anew_with_its_pin_starts_nothing(tmp_path: Path, namespace: str, name: str) -> None:
    """Even with root's help for the file: a function that has seen a longer roster does not start by another one."""
    write_site(tmp_path, a.trust())
    longer = (*ROSTER, f.approved(_CHANGE, "edda", "elsa"))
    with function(name, tmp_path, NOW_NS, namespace):
        async with await connect(tmp_path, name) as stream:
            assert await tell(stream, x1.Roster(lines=longer)) == x1.Ok()
    for lines in (ROSTER, (other_founding(),)):
        f.write(tmp_path / "keys", *lines)
        log = tmp_path / "log" / f"{name}.log"
        log.write_text("")
        with function(name, tmp_path, NOW_NS, namespace), trio.fail_after(LIMIT_S):
            while "roster" not in log.read_text():
                await trio.sleep(0.02)
        assert "not a continuation of the roster" in log.read_text(), log.read_text()


def test_the_policy_of_these_sites_has_no_witness_of_a_lab() -> None:
    policy = a.trust().policy
    assert policy is not None and not policy.lab
    assert HONEST.tree.root() != merkle.EMPTY_ROOT
