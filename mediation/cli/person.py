"""`mediation person …`: who holds which role with which key; every change is approved by two whom it does not concern.

key      a person's key, made where it shall live, and the public card that the others get
found    the draft of a site's founding, from the cards of three executives or more
appoint, end, enroll, revoke, contact     the draft of a change
approve  one executive reads a draft and signs it, on his own machine
submit   hands in the approvals: all founders' of a founding, two of a change
list     who holds which role today

On a lab site a change without --out is approved by the lab's executives and handed in at once.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import click
import msgspec

from mediation.administration import client, lab
from mediation.administration.order import drafting
from mediation.administration.persons import roster
from mediation.administration.persons.roster import Member
from mediation.cli import changes
from mediation.cli.options import (
    FILE,
    NEW_FILE,
    accepted,
    read_token,
    rfc3339,
    signing_key_option,
    site_option,
    time_option,
    write_new,
)
from mediation.core.authority.key import Key
from mediation.core.authority.roster import AnyAction, Contact, End, EndContact, Revoke, Roster
from mediation.core.case import Role
from mediation.core.errors import ConfigurationError
from mediation.core.interface.control import ChangeRoster
from mediation.runtime import config
from mediation.runtime.config import Site
from mediation.runtime.keys import load_roster, read_verifier
from mediation.signing.choose import FIDO2, PKCS11, open_key
from mediation.signing.file import YEAR_S, check_person, new_person, write_person

ROLE = click.Choice([role.value for role in Role])
out_option = click.option("--out", type=NEW_FILE, help="The draft; a lab site without it changes at once.")
card_option = click.option("--card", required=True, type=FILE, help="What `person key` wrote for the others.")
agency_option = click.option("--agency", required=True, help="As orders name it.")
document_option = click.option("--document", required=True, type=FILE, help="Letter of appointment; kept by its hash.")


@click.group()
def group() -> None:
    """Persons, roles and keys."""


@group.command()
@click.option("--person", required=True, help="One name for one person, everywhere.")
@click.option("--name", required=True, help="As people write it.")
@click.option("--function", required=True, help="The job function (47 CFR 1.20003(b)(4)).")
@click.option("--role", required=True, type=ROLE, help="What it is made for; the roster decides.")
@click.option(
    "--key", "place", required=True, help="Where: a new file, pkcs11:token=…;object=…?module-path=…, or fido2:"
)
@click.option("--card", required=True, type=NEW_FILE, help="The public card, for those who appoint.")
@click.option("--years", type=click.IntRange(1, 5), default=2, show_default=True, help="How long it is good.")
@click.option("--lab", "is_lab", is_flag=True, help="For a lab site.")
def key(
    *, person: str, name: str, function: str, role: str, place: str, card: Path, years: int, is_lab: bool
) -> None:  # fmt: skip
    """Makes a key where it shall live, and its public card. What --key names must be new.

    \b
    mediation person key --person olga --name "Olga O." --function "LI manager" --role officer \\
        --key olga-2.key --card olga-2.card
    """
    check_person(person)
    now = drafting.now_s()
    dates = now - 60, now + years * YEAR_S
    made: Key
    if place.startswith(PKCS11):
        from mediation.signing import token  # noqa: PLC0415 - a PKCS#11 driver is not on every machine

        made = token.make(token.Place.parse(place)).card(person, *dates, lab=is_lab)
    elif place.startswith(FIDO2):
        from mediation.signing import security_key  # noqa: PLC0415 - the same for USB

        source = place.removeprefix(FIDO2).removeprefix("?pin-source=")
        made = security_key.make(person, *dates, lab=is_lab, pin_source=source)
    else:
        file = new_person(Role(role), person, now, lab=is_lab, years=years)
        write_person(Path(place), file)
        made = file.ring_key()
    _write(card, msgspec.json.encode(Member(name=name, function=function, key=made)))
    _next(f"{card.name} is given to who drafts (person found, appoint or enroll); the key stays with {person}")


@group.command()
@site_option
@click.option("--executive", "executives", multiple=True, required=True, type=FILE, help="A card; three or more.")
@click.option("--senior", required=True, help="The person who is the senior officer (47 CFR 1.20003(b)(4)).")
@click.option("--appoint", "others", multiple=True, metavar="ROLE=CARD", help="Somebody else at once; may be repeated.")
@click.option(
    "--contact", "contacts", multiple=True, metavar="AGENCY=NUMBER",
    help="Where an agency is called back, +…; may be repeated.",
)  # fmt: skip
@document_option
@time_option("--until", "to_s", what="When the appointments end", default="+730d", show_default=True)
@click.option("--out", required=True, type=NEW_FILE, help="The draft, a new file.")
def found(
    *, folder: Path, executives: tuple[Path, ...], senior: str, others: tuple[str, ...], contacts: tuple[str, ...],
    document: Path, to_s: int, out: Path,
) -> None:  # fmt: skip
    """Drafts a site's founding; all its executives approve it.

    \b
    mediation person found --site DIR --executive edda.card --executive egon.card --executive elsa.card \\
        --senior edda --appoint officer=olga.card --contact FBI-NY=+12025550100 --document letters.pdf \\
        --out founding.json
    """
    site, held = _open(folder)
    if held.lines:
        raise ConfigurationError("the site is founded")
    now = drafting.now_s()
    cards = [(Role.EXECUTIVE, path) for path in executives]
    cards += [(Role(role), Path(path)) for role, path in _pairs("appoint", others) if role in set(Role)]
    if len(cards) != len(executives) + len(others):
        raise click.UsageError(f"--appoint: the roles are {', '.join(Role)}")
    actions: list[AnyAction] = []
    for role, path in cards:
        member = _card(path)
        if member.key.lab is not site.lab:
            raise ConfigurationError(f"{path.name}: a lab's card is for a lab site, another for a real one")
        actions.append(roster.appoint(member, role, now, to_s, _sha256(document), senior=member.person == senior))
        actions.append(roster.enroll(member.key))
    if not any(isinstance(a, type(actions[0])) and getattr(a, "senior", False) for a in actions):
        raise click.UsageError("--senior: nobody of that name is appointed")
    actions += [Contact(agency=agency, number=number, from_s=now) for agency, number in _pairs("contact", contacts)]
    _write(out, roster.draft(held, actions, now))
    _next(f"each executive reads and signs it on his own machine: mediation person approve {out.name}")


@group.command()
@site_option
@card_option
@click.option("--role", required=True, type=ROLE, help="Which.")
@time_option("--from", "from_s", what="When the appointment begins", default="now", show_default=True)
@time_option("--until", "to_s", what="When it ends", default="+730d", show_default=True)
@click.option("--senior", is_flag=True, help="As the senior officer (47 CFR 1.20003(b)(4)).")
@document_option
@out_option
def appoint(
    *, folder: Path, card: Path, role: str, from_s: int, to_s: int, senior: bool, document: Path, out: Path | None
) -> None:  # fmt: skip
    """Appoints the person of a card to a role, and enrols its key if it is new.

    \b
    mediation person appoint --site DIR --card oskar.card --role officer --document letter.pdf --out change.json
    """
    _, held = _open(folder)
    member = _card(card)
    actions: list[AnyAction] = [roster.appoint(member, Role(role), from_s, to_s, _sha256(document), senior=senior)]
    if member.key.kid not in held.keys:
        actions.append(roster.enroll(member.key))
    _change(folder, actions, out)


@group.command()
@site_option
@click.option("--person", required=True, help="As `person list` names him.")
@click.option("--role", required=True, type=ROLE, help="Which.")
@time_option("--at", "at_s", what="When they end", default="now", show_default=True)
@out_option
def end(folder: Path, person: str, role: str, at_s: int, out: Path | None) -> None:
    """Ends a person's appointments to a role; acts entered since then do not stand.

    \b
    mediation person end --site DIR --person olga --role officer --out change.json
    """
    _change(folder, [End(person=person, role=Role(role), at_s=at_s)], out)


@group.command()
@site_option
@card_option
@out_option
def enroll(folder: Path, card: Path, out: Path | None) -> None:
    """Enrols another key of a person: the spare, ahead of the day it is needed.

    \b
    mediation person enroll --site DIR --card olga-2.card --out change.json
    """
    _change(folder, [roster.enroll(_card(card).key)], out)


@group.command()
@site_option
@click.option("--kid", required=True, help="The key's name, as `person list` shows it.")
@time_option("--since", "void_s", what="From when on it is void", default="now", show_default=True)
@out_option
def revoke(folder: Path, kid: str, void_s: int, out: Path | None) -> None:
    """Voids a key: what was entered with it at that second or later ends at once; what was entered before stands.

    \b
    mediation person revoke --site DIR --kid KID --since 2026-11-22T03:00Z --out change.json
    """
    _, held = _open(folder)
    if kid not in held.keys:
        raise ConfigurationError("no key of that name is enrolled")
    _change(folder, [Revoke(person=held.keys[kid].person, kid=kid, void_s=void_s)], out)


@group.command()
@site_option
@agency_option
@click.option("--number", help="The directory's telephone number, +…; it counts a day later.")
@time_option("--end", "at_s", what="When the agency's contact ends, instead")
@out_option
def contact(folder: Path, agency: str, number: str | None, at_s: int | None, out: Path | None) -> None:
    """Registers an agency's contact for call-backs, or ends it.

    \b
    mediation person contact --site DIR --agency FBI-NY --number +12025550100 --out change.json
    """
    if (number is None) == (at_s is None):
        raise click.UsageError("one of --number and --end")
    if at_s is not None:
        _change(folder, [EndContact(agency=agency, at_s=at_s)], out)
    else:
        assert number is not None
        begin_s = drafting.now_s() + 86_400 + 60
        _change(folder, [Contact(agency=agency, number=number, from_s=begin_s)], out)


@group.command()
@click.argument("draft", type=FILE)
@signing_key_option
@click.option("--out", required=True, type=NEW_FILE, help="The approval, a new file.")
def approve(draft: Path, key: str, out: Path) -> None:
    """Says in words what DRAFT does, and signs exactly that.

    \b
    mediation person approve change.json --key edda.key --out edda.jws
    """
    octets = draft.read_bytes()
    change = roster.read_draft(octets)
    for line in changes.words(change):
        click.echo(line)
    write_new(out, roster.approve(octets, open_key(key)) + "\n")
    _next("all approvals together: mediation person submit")


@group.command()
@site_option
@click.argument("approvals", nargs=-1, required=True, type=FILE)
def submit(folder: Path, approvals: tuple[Path, ...]) -> None:
    """Hands in the approvals of one change: it is entered in the ledger, then in force everywhere.

    \b
    mediation person submit --site DIR edda.jws egon.jws
    """
    _submit(config.load(folder), [read_token(path) for path in approvals])


@group.command("list")
@site_option
@time_option("--at", "at_s", what="As of when", default="now", show_default=True)
@click.option("--json", "as_json", is_flag=True, help="A JSON object for each appointment instead of a line.")
def list_(folder: Path, at_s: int, as_json: bool) -> None:
    """Lists who holds which role, with the keys that count then.

    \b
    mediation person list --site DIR
    """
    _, held = _open(folder)
    for a in held.appointments:
        if not a.at(at_s):
            continue
        kids = [k.kid for k in held.keys.values() if k.person == a.person and k.not_before_s <= at_s < k.not_after_s]
        if as_json:
            click.echo(json.dumps({**msgspec.to_builtins(a), "keys": kids}))
        else:
            mark = "  senior officer" if a.senior else ""
            until = rfc3339(a.to_s)
            click.echo(
                f"{a.role}  {a.person}  {a.name}, {a.function}  until {until}  keys {' '.join(kids) or '-'}{mark}"
            )


def _open(folder: Path) -> tuple[Site, Roster]:
    site = config.load(folder)
    return site, load_roster(site.keys_dir, read_verifier(site.keys_dir).name, lab=site.lab)


def _change(folder: Path, actions: list[AnyAction], out: Path | None) -> None:
    """Writes the draft; on a lab site without `out`, two lab executives whom it does not concern approve it."""
    site, held = _open(folder)
    octets = roster.draft(held, actions, drafting.now_s())
    if out is not None:
        _write(out, octets)
        _next(f"two executives whom it does not concern read and sign it: mediation person approve {out.name}")
        return
    if not site.lab:
        raise click.UsageError("--out is needed: two executives approve it on their own machines")
    concerned = roster.read_draft(octets).concerned()
    approvers = [each for each in lab.executives(site) if each.person not in concerned][:2]
    _submit(site, [roster.approve(octets, each) for each in approvers])


def _submit(site: Site, approvals: list[str]) -> None:
    accepted(client.one(site, ChangeRoster(approvals=tuple(approvals))))
    click.echo(
        "the roster is changed: the administrator tells each function, one that is away when it starts", err=True
    )


def _next(step: str) -> None:
    click.echo(f"next: {step}", err=True)


def _card(path: Path) -> Member:
    try:
        return msgspec.json.decode(path.read_bytes(), type=Member)
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError):
        raise ConfigurationError(f"{path.name}: not a person's card") from None


def _pairs(option: str, texts: tuple[str, ...]) -> list[tuple[str, str]]:
    found = [text.partition("=") for text in texts]
    if not all(second for _, second, _ in found):
        raise click.UsageError(f"--{option}: two words with = between them")
    return [(first, last) for first, _, last in found]


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _write(path: Path, octets: bytes) -> None:
    """A new file with exactly these octets: a draft is signed as it stands. Raises ConfigurationError."""
    write_new(path, octets)
