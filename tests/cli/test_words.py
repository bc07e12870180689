"""What persons are told: what they sign before they do, what came of an act, what to do after a refusal."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import click
import msgspec
import pytest
import structlog
import trio

from mediation.administration import lab
from mediation.cli import changes, words
from mediation.cli import run as run_module
from mediation.cli.main import group
from mediation.cli.options import ALONE, Time, accepted, told
from mediation.core.authority import jws
from mediation.core.authority.key import Key
from mediation.core.authority.roster import (
    AnyAction,
    Appoint,
    Change,
    Contact,
    End,
    EndContact,
    Enroll,
    Revoke,
)
from mediation.core.case import Authority, Capability, Destination, LegalToken, Role
from mediation.core.check import Check
from mediation.core.errors import AuthorizationError, ConfigurationError
from mediation.core.interface.control import Result, Results
from mediation.core.records import retention
from mediation.runtime import config, log
from tests.administration.peers import command
from tests.administration.test_commands import done
from tests.administration.test_commands import lab as lab_site

__all__ = ["lab_site"]
SUBJECT = "tel:+12125550100"
START_S = 1_795_339_229

TOKEN = LegalToken(
    type="legal", case="26-M-17", authority=Authority.PEN_REGISTER, agency="FBI-NY", subjects=(SUBJECT,),
    not_before_s=START_S, not_after_s=START_S + 30 * 86_400, capabilities=(Capability.CALL_DATA, Capability.DIGITS),
    destination=Destination(host="192.0.2.7", port=41800, certificate_sha256="ab" * 32), profile="t1678",
    court="SDNY", judge="J. Doe", presenting_officer="SA P. Roe", document_sha256="cd" * 32, issued_s=START_S,
    nonce="00" * 16, lab=True,
)  # fmt: skip


def test_an_order_is_told_whole_and_in_words() -> None:
    said = "\n".join(words.order(TOKEN))
    for fact in ("26-M-17", "pen-register", SUBJECT, "call-identifying information, digits dialed", "FBI-NY",
                 "2026-11-22T09:20:29Z", "2026-12-22T09:20:29Z", ": 30 days", "192.0.2.7 port 41800, T1.678", "ab" * 32,
                 "SDNY", "J. Doe", "SA P. Roe", "cd" * 32, "LAB"):  # fmt: skip
        assert fact in said, fact
    assert str(START_S) not in said  # nobody reads seconds since 1970
    assert max(map(len, said.splitlines())) <= 100


def test_a_time_is_told_as_the_wall_shows_it_too(monkeypatch: pytest.MonkeyPatch) -> None:
    try:
        for zone, said in (("America/New_York", "2026-11-22T09:20:29Z  (Sun 22 Nov 2026 04:20 EST)"),
                           ("UTC", "2026-11-22T09:20:29Z")):  # fmt: skip
            monkeypatch.setenv("TZ", zone)
            time.tzset()
            assert words.moment(START_S) == said
    finally:
        monkeypatch.undo()
        time.tzset()


def test_what_a_token_says_moves_no_cursor() -> None:
    hostile = "SDNY\x1b[2J\u202eyob\n  until      2099"
    said = words.token(json.dumps({"type": "legal"} | json.loads(_json(court=hostile))))
    assert said and not any("\x1b" in line or "\u202e" in line or "\n" in line for line in said)
    assert len(said) == len(words.order(TOKEN))


def _json(**changes: Any) -> str:
    facts = {name: getattr(TOKEN, name) for name in TOKEN.__struct_fields__} | changes
    return json.dumps(facts, default=lambda value: {n: getattr(value, n) for n in value.__struct_fields__})


def test_nobody_signs_what_he_was_not_shown(lab_site: str, tmp_path: Path) -> None:
    site = config.load(lab_site)
    to = lab.destination(site)
    paper, draft, legal, carrier = (tmp_path / name for name in ("order.pdf", "draft", "legal", "carrier"))
    extension, approval = tmp_path / "extension", tmp_path / "approval"
    paper.write_bytes(b"an order")
    keys = {role: str(site.lab_dir / f"{role}.json") for role in (Role.LEGAL, Role.CARRIER)}
    words_of = {
        draft: ("order", "draft", "--site", lab_site, "--case", "26-M-17", "--target", SUBJECT, "--authority",
                "pen-register", "--agency", lab.AGENCY, "--host", to.host, "--port", str(to.port),
                "--certificate-sha256", to.certificate_sha256, "--court", "SDNY", "--judge", "J. Doe", "--officer",
                "P. Roe", "--document", str(paper), "--start", "now", "--end", "+30d"),
        legal: ("order", "sign", "legal", str(draft), "--key", keys[Role.LEGAL]),
        carrier: ("order", "sign", "carrier", str(legal), "--key", keys[Role.CARRIER], "--policy", str(paper)),
        extension: ("order", "extend", str(legal), "--end", "+40d", "--court", "SDNY", "--judge", "J. Doe",
                    "--document", str(paper), "--key", keys[Role.LEGAL]),
        approval: ("order", "approve", str(extension), "--carrier", str(carrier), "--policy", str(paper), "--key",
                   keys[Role.CARRIER]),
    }  # fmt: skip
    for out, typed in words_of.items():
        made = command(*typed, "--out", str(out))
        assert made.returncode == 0 and made.stdout == "" and out.exists(), made.stderr
        assert made.stderr.splitlines()[-1].startswith("next: "), made.stderr
        if out is not draft:
            assert made.stderr.startswith("to be signed:\n") and "26-M-17" in made.stderr
            assert (SUBJECT in made.stderr) is (out is not approval)
    filed = command("order", "submit", "--site", lab_site, "--legal", str(legal), "--carrier", str(carrier))
    assert filed.stdout == "26-M-17\n" and "not answered" not in filed.stderr
    assert "nothing is intercepted yet" in filed.stderr and "case activate 26-M-17" in filed.stderr
    # An act says what came of it; nothing runs here.
    said = done("case", "activate", "26-M-17", "--site", lab_site)
    assert said == f"26-M-17: activated; {ALONE}\n"
    again = command("case", "activate", "26-M-17", "--site", lab_site)
    assert again.returncode == 1 and "case list shows where it stands" in again.stderr
    shown = json.loads(done("case", "show", "26-M-17", "--site", lab_site))
    assert shown["ends"].endswith("Z") and shown["begins"] < shown["ends"]


@pytest.mark.parametrize("option", ["--start", "--end"])
@pytest.mark.parametrize("value", ["2026-12-01", "2026-12-01T17:00", "2026-12-01 17:00:00"])
def test_an_order_begins_and_ends_in_a_zone_that_is_named(option: str, value: str) -> None:
    """In New York the start would come five hours too early: an interception without authority."""
    with click.Context(group) as ctx, pytest.raises(click.BadParameter, match="has no zone"):
        Time(zoned=True).convert(value, None, ctx)
    made = command("order", "draft", option, value)
    assert made.returncode == 2 and "has no zone" in made.stderr


@pytest.mark.parametrize(
    ("value", "seconds"),
    [("2026-12-01T17:00-05:00", 1_796_162_400), ("2026-12-01T22:00:00Z", 1_796_162_400), ("1796162400", 1_796_162_400)],
)
def test_times_with_a_zone(value: str, seconds: int) -> None:
    assert Time(zoned=True).convert(value, None, None) == Time().convert(value, None, None) == seconds


def test_what_came_of_an_act() -> None:
    assert told(Result(functions={"iap": "done", "mediator": "done"})) == "done by iap, mediator"
    assert told(Result(functions={"iap": "done", "mediator": "away"})) == (
        "done by iap; mediator: not running, is told before it takes up anything"
    )
    assert "iap: no answer yet" in told(Result(functions={"iap": ""}))
    with pytest.raises(AuthorizationError, match="it is entered, and waits: nothing is armed"):
        accepted(Results(results=(Result(functions={"iap": Check.WITNESSES_AWAY.value}),)))
    with pytest.raises(AuthorizationError, match=f"{Check.UNENCODABLE.sentence}; refused by mediator"):
        accepted(Results(results=(Result(functions={"mediator": Check.UNENCODABLE.value}),)))


def test_a_refusal_says_what_to_do(lab_site: str) -> None:
    assert set(words.NEXT) <= {each.value for each in Check}
    refused = command("case", "activate", "NONE", "--site", lab_site)
    assert refused.returncode == 1 and refused.stderr.count("\n") == 1
    assert refused.stderr.endswith("no such order was filed: mediation case list shows those that you may see\n")
    assert words.refusal(Check.ALREADY_FILED) == ""


def test_the_site_and_the_key_need_not_be_typed_each_time(lab_site: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEDIATION_SITE", lab_site)
    monkeypatch.setenv("MEDIATION_KEY", str(Path(lab_site) / "lab" / "auditor.json"))
    assert done("case", "list") == ""
    monkeypatch.setenv("MEDIATION_SITE", f"{lab_site}-none")
    assert command("case", "list").returncode == 2
    assert done("case", "list", "--site", lab_site) == ""  # what is typed counts


def test_the_configurations_errors_say_where(tmp_path: Path) -> None:
    good = 'name = "x"\nlab = true\n[[iap]]\nname = "a"\ninterface = "eth0"\nside = "access"\n'
    for text, where in (
        (good + '[[iap]]\nname = "b"\ninterface = "eth1"\nsidee = "trunk"\n', "in [[iap]] number 2"),
        (good.replace('"access"', '"acces"'), "side in [[iap]] number 1"),
        (good + "[clock]\naccept_undisciplined = 3\n", "accept_undisciplined in [clock]"),
        (good.replace('"x"', "3"), "in name"),
    ):  # fmt: skip
        (tmp_path / "config.toml").write_text(text)
        with pytest.raises(ConfigurationError) as refused:
            config.load(tmp_path)
        assert where in str(refused.value) and "$" not in str(refused.value), str(refused.value)
        assert "config/site.toml" in str(refused.value)


def test_preflight_names_the_interface_that_is_missing(lab_site: str) -> None:
    with (Path(lab_site) / "config.toml").open("a") as file:
        file.write('[[iap]]\nname = "trunk-7"\ninterface = "nowhere0"\nside = "trunk"\n')
    said = command("preflight", "--site", lab_site)
    assert said.returncode == 1 and "trunk-7: there is no interface nowhere0; ip link shows them" in said.stdout


async def test_the_parent_tells_when_a_function_is_back(lab_site: str, capsys: pytest.CaptureFixture[str]) -> None:
    parent = run_module.Parent(config.load(lab_site))
    async with trio.open_nursery() as nursery:
        ready = await nursery.start(parent._listen, "iap")
        with trio.socket.socket(trio.socket.AF_UNIX, trio.socket.SOCK_DGRAM) as notify:
            for _ in range(2):
                await notify.sendto(b"READY=1", f"\0mediation-{os.getpid()}-iap")
                with trio.fail_after(30):
                    await ready.wait()
            with trio.fail_after(30):
                while not (said := capsys.readouterr().out):
                    await trio.sleep(0.01)
        nursery.cancel_scope.cancel()
    assert json.loads(said) == {"event": "function_ready", "function": "iap"}


ENROLLED = Key(
    kid="officer-1", person="olga", public="04" + "ab" * 64, not_before_s=START_S, not_after_s=START_S + 86_400,
    form="webauthn-es256", credential="cd" * 90, rp_id="li.example.org",
)  # fmt: skip


def changed(action: AnyAction) -> Change:
    return Change(
        number=4, previous="00" * 32, site="mediation/1", issued_s=START_S, actions=(action,), nonce="00" * 16
    )  # fmt: skip


def test_a_name_that_goes_on_in_the_next_line_looks_like_no_fact() -> None:
    name = "Eve" + " x" * 50 + " until 2099-01-01T00:00:00Z"
    lines = changes.words(changed(Contact(agency=name, number="+1", from_s=START_S)))
    (forged,) = [line for line in lines if "2099" in line]
    assert not forged.strip().startswith("until") and forged.strip().startswith(changes.MORE)


@pytest.mark.parametrize(
    "action",
    [
        Appoint(person="olga", name="Olga O.", role=Role.OFFICER, function="LI manager", from_s=START_S,
                to_s=START_S + 86_400, document_sha256="ef" * 32, senior=True),
        End(person="olga", role=Role.OFFICER, at_s=START_S), Enroll(person="olga", key=ENROLLED),
        Revoke(person="olga", kid="officer-1", void_s=START_S),
        Contact(agency="FBI-NY", number="+12025550100", from_s=START_S), EndContact(agency="FBI-NY", at_s=START_S),
    ],
)  # fmt: skip
def test_who_approves_a_change_reads_every_fact_of_it(action: AnyAction) -> None:
    lines = changes.words(changed(action))
    said = "".join(line.strip().removeprefix(changes.MORE) for line in lines)  # long ones are broken
    facts = msgspec.to_builtins(action)
    for name, fact in (facts | facts.pop("key", {})).items():
        if name in ("what", "type", "held", "lab"):
            continue
        wanted = {"senior": "senior officer", "form": "WebAuthn-ES256"}.get(name, str(fact))
        assert (words.moment(fact) if name.endswith("_s") else wanted) in said, (name, lines)
    assert max(map(len, lines)) <= 100 and "{" not in said and str(START_S) not in said


def test_a_refusal_keeps_its_detail_on_the_way(lab_site: str, tmp_path: Path) -> None:
    """Else three things are named of which one is meant."""
    settings = Path(lab_site) / "config.toml"
    settings.write_text(settings.read_text().replace('name = "LAB"', 'name = "L\\u200bB"'))
    said = command("plan", "draft", "--site", lab_site, "--out", str(tmp_path / "plan.json"))
    assert said.returncode == 1 and "the carrier's name has a character that is not shown" in said.stderr, said.stderr


def test_what_is_logged_in_the_administrators_place_is_on_standard_error(capfd: pytest.CaptureFixture[str]) -> None:
    """Standard output is for programs; it had the alarms of a plan that was just adopted."""
    before = structlog.get_config()
    try:
        log.configure_command()
        log.get("administrator").error("alarm", alarm="amendment-due", case="", detail="plan 1 d")
        log.get("administrator").info("started")
        with pytest.raises(ValueError, match="may hold a target"):
            log.get("administrator").error("x", subject="y")
    finally:
        structlog.configure(**before)
    printed = capfd.readouterr()
    assert (printed.out, printed.err) == ("", "mediation: alarm: amendment-due, plan 1 d\n")


@pytest.mark.parametrize("descriptor", ["", "x", "999"])
def test_a_descriptor_that_is_none_is_one_line(
    tmp_path: Path, descriptor: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MEDIATION_PIN_FD", descriptor)
    said = command("init", str(tmp_path / "site"), "--vault", "passphrase")
    assert said.returncode == 1 and said.stderr.count("\n") == 1 and "$MEDIATION_PIN_FD" in said.stderr, said.stderr


def test_who_destroys_records_is_told_which(lab_site: str, tmp_path: Path) -> None:
    """Two persons, and it cannot be taken back."""
    done("lab", "order", "--site", lab_site, "--case", "OLD-1", "--target", SUBJECT, "--authority", "pen-register")
    done("case", "deactivate", "OLD-1", "--site", lab_site)
    site = config.load(lab_site)
    officer = lab.person(site, Role.OFFICER)
    shown = json.loads(done("case", "show", "OLD-1", "--site", lab_site))
    payload = msgspec.json.encode(retention.Destruction(
        type="destruction", case="OLD-1", xid=shown["xid"], issued_s=int(time.time()), nonce="00" * 16, lab=True,
    ))  # fmt: skip
    first = tmp_path / "approval"
    first.write_text(jws.sign_octets(payload, retention.DESTRUCTION_TYP, officer.kid, officer.key()))
    wanted = f"to be signed:\nall records of order {shown['xid']} of OLD-1 are destroyed\n"
    other = str(site.lab_dir / "executive-1.json")
    second = command("order", "destroy", "OLD-1", "--site", lab_site, "--key", other, "--approval", str(first))
    assert wanted in second.stderr and second.returncode == 1 and "kept: " in second.stderr  # the time has not passed
    held = done("order", "hold", "OLD-1", "--site", lab_site, "--reason", "a motion")
    assert held == "OLD-1: its records are kept until the hold is lifted\n"


def test_a_withdrawal_says_what_came_of_it(lab_site: str) -> None:
    done("lab", "order", "--site", lab_site, "--case", "C-1", "--target", SUBJECT, "--authority", "pen-register")
    said = done("lab", "revoke", "--site", lab_site, "--case", "C-1")
    assert said == f"C-1: withdrawn; {ALONE}\n"
