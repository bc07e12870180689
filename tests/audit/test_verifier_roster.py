"""The offline verifier reads the roster's chain for itself: a line that was swapped, forged or cut off is named."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import msgspec
import pytest

from mediation.audit import persons
from mediation.audit.verdict import BAD
from mediation.core.authority import jws, roster
from mediation.core.authority.roster import End, Enroll, Roster
from mediation.core.case import Role
from mediation.core.ledger import entry
from tests.audit import exports as x
from tests.audit.exports import Files, judge
from tests.core import founding

# --- the roster -------------------------------------------------------------------------------------------------------


def with_roster(files: Files, lines: list[str]) -> Files:
    return {**files, "keys/roster.jsonl": "".join(f"{line}\n" for line in lines).encode()}


def swapped_line(made: x.Made, *approvers: str, person: str = "olga") -> str:
    """Another change in the place of line 1."""
    held = Roster.replay(made.lines[:1], roster.digest(made.lines[0]), x.ORIGIN, lab=False)
    key = founding.key_of(person, founding.seed("forger"), kid="forger-1", not_before_s=x.NOW_S - 500)
    octets = founding.change(held, Enroll(person=person, key=key), issued_s=x.NOW_S - 500)
    return founding.approved(octets, *approvers)


def test_a_swapped_line_of_the_roster(made: x.Made, files: Files) -> None:
    """Two executives who conspire can sign another line; the ledger has the one that was entered."""
    found = judge(with_roster(files, [made.lines[0], swapped_line(made, "edda", "egon")]))
    assert found.result == BAD and found.forged[0].what == "roster line 1 is not the one that was entered"


@pytest.mark.parametrize("approvers", [("edda",), ("edda", "edda")])
def test_a_line_that_one_executive_approved(made: x.Made, files: Files, approvers: tuple[str, ...]) -> None:
    found = judge(with_roster(files, [made.lines[0], swapped_line(made, *approvers)]))
    assert found.result == BAD and any("roster line 1" in each.what for each in found.forged)


def test_an_executive_whom_it_concerns(made: x.Made, files: Files) -> None:
    found = judge(with_roster(files, [made.lines[0], swapped_line(made, "edda", "egon", person="edda")]))
    assert found.result == BAD and any("two executives whom it does not concern" in each.what for each in found.forged)


def test_an_edited_approval_and_another_founding(made: x.Made, files: Files) -> None:
    line = json.loads(made.lines[1])
    line["approvals"][0] = x.flip(line["approvals"][0])
    edited = json.dumps(line, separators=(",", ":"))
    assert judge(with_roster(files, [made.lines[0], edited])).result == BAD
    other = founding.founded([], x.ORIGIN, issued_s=5)
    found = judge(with_roster(files, [other]))
    assert any("not the founding" in each.what for each in found.forged)
    pinned = {**with_roster(files, [other]), "keys/founding": hashlib.sha256(other.encode()).hexdigest().encode()}
    assert any("founding" in each.what for each in judge(pinned).forged)


def test_a_roster_that_was_cut_short(made: x.Made, files: Files) -> None:
    found = judge(with_roster(files, made.lines[:1]))
    assert found.result == BAD and "roster line 1 was entered and is not in the roster" in found.forged[0].what


@pytest.mark.parametrize("person", ["webauthn-ed25519", "webauthn-es256", "es256", "ed25519"])
def test_the_signatures_of_every_form_of_key(person: str) -> None:
    """What the daemon signs and verifies, this verifies; and not with a bit changed."""
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    from mediation.audit import tokens
    from mediation.core.authority import assertion, key

    form = person
    header = jws._encode(json.dumps({"alg": key.ALGORITHMS[form], "kid": "k", "typ": "t"}).encode())
    signed = f"{header}.{jws._encode(b'{}')}".encode()
    rp, message = "mediation.example", signed
    data = client = b""
    if form.startswith("webauthn"):
        client = assertion.client_data(signed, rp)
        data = hashlib.sha256(rp.encode()).digest() + b"\x05" + bytes(4)
        message = data + hashlib.sha256(client).digest()
    if form.endswith("es256"):
        from cryptography.hazmat.primitives import hashes

        curve = ec.generate_private_key(ec.SECP256R1())
        signature = key.raw_from_der(curve.sign(message, ec.ECDSA(hashes.SHA256())))
        public = curve.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint).hex()
    else:
        edwards = ed25519.Ed25519PrivateKey.generate()
        signature = edwards.sign(message)
        public = edwards.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw).hex()
    octets = signature
    if data:
        octets = assertion.Assertion(authenticator_data=data, client_data=client, signature=signature).octets()
    holder = tokens.PersonKey("k", "p", form, public, 0, 1, rp_id=rp if data else "")
    tokens.verify(tokens.split(f"{signed.decode()}.{jws._encode(octets)}"), holder)
    for at in (0, len(octets) // 2, len(octets) - 1):
        spoiled = octets[:at] + bytes([octets[at] ^ 1]) + octets[at + 1 :]
        with pytest.raises(tokens.Bad):
            tokens.verify(tokens.split(f"{signed.decode()}.{jws._encode(spoiled)}"), holder)


def test_an_appointment_that_never_began_is_no_second_role(made: x.Made, files: Files) -> None:
    """The roster let it be: somebody was appointed for later, that was taken back, and he got another role."""
    later = founding.appointment("nina", Role.AUDITOR, from_s=x.NOW_S + 864_000)
    steps = [
        [later], [End(person="nina", role=Role.AUDITOR, at_s=x.NOW_S)],
        [founding.appointment("nina", Role.LEGAL, from_s=x.NOW_S)],
    ]  # fmt: skip
    held = Roster.replay(made.lines, roster.digest(made.lines[0]), x.ORIGIN, lab=False)
    for actions in steps:
        octets = founding.change(held, *actions, issued_s=x.NOW_S)
        held = held.extended([founding.approved(octets, "edda", "egon")])
    assert held.role_at("nina", x.NOW_S + 900_000) is Role.LEGAL
    found = persons.read(x.as_export(with_roster(files, list(held.lines))), x.ORIGIN)
    assert found is not None and found.problems == []
    assert found.roles_at("nina", x.NOW_S + 900_000) == {"legal"}


@pytest.mark.parametrize("late", [True, False], ids=["after", "in time"])
def test_a_change_that_was_entered_when_an_approver_had_left(tmp_path: Path, late: bool) -> None:
    """Within a week of its date, and yet by somebody who had no office any more: no function arms by it."""
    first = x.roster_lines()[0]
    held = Roster.replay([first], roster.digest(first), x.ORIGIN, lab=False)
    leaves_s = x.NOW_S - 100
    for actions, at_s, approvers in (
        ([End(person="egon", role=Role.EXECUTIVE, at_s=leaves_s)], x.NOW_S - 500, ("edda", "elsa")),
        ([End(person="aude", role=Role.AUDITOR, at_s=x.NOW_S + 500_000_000)], x.NOW_S - 400, ("egon", "elsa")),
    ):
        octets = founding.change(held, *actions, issued_s=at_s)
        held = held.extended([founding.approved(octets, *approvers)])

    def steps(lines: list[str]) -> list[list[entry.Record]]:
        made, changed = x.story(lines)[0]
        times_us = [(x.NOW_S - 450) * 1_000_000, (leaves_s - (not late)) * 1_000_000]
        entered = [
            msgspec.structs.replace(changed, time_us=at_us, number=number, change_sha256=roster.digest(lines[number]),
                                    approvers=held.judged[number].approvers)
            for number, at_us in enumerate(times_us, 1)
        ]  # fmt: skip
        return [[msgspec.structs.replace(made, time_us=times_us[0] - 1), *entered], *x.story(lines)[1:]]

    found = judge(x.Made(tmp_path / "ledger", lines=list(held.lines), steps=steps).files())
    named = [each for each in found.findings.anomalies if "had left office" in each.what]
    assert bool(named) is late and all(each.entries == (2,) for each in named)
    assert not any("within a week" in each.what for each in found.findings.anomalies)


@pytest.mark.parametrize(("age_s", "late"), [(-60, False), (-61, True), (7 * 86_400, False), (7 * 86_400 + 1, True)])
def test_a_change_that_is_dated_back(tmp_path: Path, age_s: int, late: bool) -> None:
    """The administrator takes none; two who once were executives, and whoever holds the ledger's key, could."""

    def steps(lines: list[str]) -> list[list[entry.Record]]:
        first, *others = x.story(lines)
        issued_us = (x.NOW_S - 500) * 1_000_000
        changed = msgspec.structs.replace(first[1], time_us=issued_us + age_s * 1_000_000)
        made = msgspec.structs.replace(first[0], time_us=issued_us - 100_000_000)
        return [[made, changed], *(later for later in others if later[0].time_us > changed.time_us)]

    found = judge(x.Made(tmp_path / "ledger", steps=steps).files())
    named = [each for each in found.findings.anomalies if "within a week" in each.what]
    assert bool(named) is late and all(each.entries == (1,) for each in named)
