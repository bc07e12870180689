"""`mediation plan …`: the policies and procedures of 47 CFR 1.20003 and 1.20005, drawn from the live settings.

draft         the next plan and its appendix, as files to read
adopt         puts a draft in force: signed by the senior officer, or by two executives
filed         records that the plan in force was filed with the Commission, with its confirmation number
ordered       records that the Commission ordered the policies modified, and by when (1.20005(b))
contact-test  records that somebody called the 7x24 contact of the appendix, and who answered (1.20003(b)(4)(ii))
show          the plan in force: texts, hashes, what is still to be done; or both documents as PDF
"""

from __future__ import annotations

from pathlib import Path

import click
import msgspec

from mediation.administration import client, lab
from mediation.administration.order import drafting
from mediation.administration.records import documents
from mediation.cli.options import FILE, NEW_FILE, accepted, person_option, rfc3339, signer, site_option, time_option
from mediation.cli.order_extension import sha256_of
from mediation.core.authority import jws
from mediation.core.authority.particulars import SHA256
from mediation.core.case import Role
from mediation.core.errors import ConfigurationError
from mediation.core.interface.policies import (
    AdoptPlan,
    FilePlan,
    OrderModification,
    PlanView,
    ShowPlan,
    TryContact,
)
from mediation.core.records import contact, modification, plan
from mediation.runtime import config
from mediation.runtime.config import Site
from mediation.signing.signer import Signer

APPENDIX = ".appendix"
either_option = person_option("Of an officer or an executive")


@click.group()
def group() -> None:
    """The plan of policies and procedures: draft, adopt, filed, ordered, contact-test, show."""


def _ask(site: Site, request: ShowPlan) -> PlanView:
    answer = client.one(site, request)
    assert isinstance(answer, PlanView)
    return answer


@group.command()
@site_option
@click.option("--retention-days", type=click.IntRange(1), help="How long records are kept; as configured by default.")
@click.option("--ordered", multiple=True, type=FILE, help="The Commission's order that this version carries out.")
@click.option("--out", required=True, type=NEW_FILE, help="The plan; its appendix is written beside it.")
def draft(folder: Path, retention_days: int | None, ordered: tuple[Path, ...], out: Path) -> None:
    """Draws up the next plan and its appendix from the live settings.

    \b
    mediation plan draft --site DIR --out plan.json
    """
    named = tuple(sorted({sha256_of(path) for path in ordered}))
    view = _ask(config.load(folder), ShowPlan(draft=True, retention_days=retention_days or 0, modifications=named))
    _write(out, view.plan.encode())
    _write(_beside(out), view.appendix.encode())
    click.echo(f"version {view.version}  plan {plan.digest(view.plan)}  appendix {plan.digest(view.appendix)}")
    click.echo(f"next: read both; the senior officer, or two executives: mediation plan adopt {out.name}", err=True)


@group.command()
@site_option
@click.argument("file", type=FILE)
@person_option("Of the senior officer, or of two executives", "keys", multiple=True)
@click.option("--approval", "approvals", multiple=True, type=FILE, help="What the other person wrote with --out.")
@click.option("--out", type=NEW_FILE, help="Only sign, into this file, for the person who adopts.")
def adopt(folder: Path, file: Path, keys: tuple[str, ...], approvals: tuple[Path, ...], out: Path | None) -> None:
    """Puts the draft in FILE in force, with the appendix beside it.

    \b
    mediation plan adopt --site DIR plan.json --key edda.key
    """
    site = config.load(folder)
    text, appendix = _read(file), _read(_beside(file))
    earlier = [_read(path).strip() for path in approvals]
    if earlier:
        payload = jws.split(earlier[0]).payload  # the same octets: two approvals are of one text
    else:
        payload = msgspec.json.encode(
            plan.Adoption(
                type="adoption", version=plan.decode(text).version, plan_sha256=plan.digest(text),
                appendix_sha256=plan.digest(appendix), previous_sha256=_previous(site), issued_s=drafting.now_s(),
                nonce=drafting.nonce(), lab=site.lab,
            )
        )  # fmt: skip
    signed = [jws.sign_octets(payload, plan.ADOPTION_TYP, each.kid, each.key()) for each in _persons(site, keys)]
    if out is not None:
        _write(out, ("\n".join(signed) + "\n").encode())
        return
    accepted(client.one(site, AdoptPlan(plan=text, appendix=appendix, approvals=(*earlier, *signed))))
    click.echo(f"version {plan.decode(text).version} is in force: {plan.digest(text)}")


@group.command()
@site_option
@click.option("--confirmation", required=True, help="The number that the Commission's filing system gave.")
@time_option("--when", what="When it was filed", default="now", show_default=True)
@either_option
def filed(folder: Path, confirmation: str, when: int, key: str | None) -> None:
    """Records the filing of the plan in force: the ninety days of its amendments end.

    \b
    mediation plan filed --site DIR --confirmation NUMBER --key edda.key
    """
    site = config.load(folder)
    view = _ask(site, ShowPlan())
    filing = plan.PlanFiling(
        type="plan-filing", version=view.version, plan_sha256=plan.digest(view.plan),
        appendix_sha256=plan.digest(view.appendix), filed_s=when, confirmation=confirmation,
        issued_s=drafting.now_s(), nonce=drafting.nonce(), lab=site.lab,
    )  # fmt: skip
    person = signer(site, Role.OFFICER, key)
    text = jws.sign(filing, plan.FILING_TYP, person.kid, person.key())
    accepted(client.one(site, FilePlan(filing=text)))
    click.echo(f"version {view.version} is on file: {confirmation}, {rfc3339(when)}")


@group.command()
@site_option
@click.option("--document", required=True, type=FILE, help="The Commission's order as received; its SHA-256 is kept.")
@time_option("--due", what="By when it is to be carried out, of a bare day its first second", required=True)
@either_option
def ordered(folder: Path, document: Path, due: int, key: str | None) -> None:
    """Records that the Commission ordered the policies modified; again with another day, that it gave more time.

    \b
    mediation plan ordered --site DIR --document order.pdf --due 2027-03-01 --key olga.key
    """
    site = config.load(folder)
    view = _ask(site, ShowPlan())
    said = modification.Modification(
        type="modification", document_sha256=sha256_of(document), due_s=due, version=view.version,
        plan_sha256=plan.digest(view.plan), issued_s=drafting.now_s(), nonce=drafting.nonce(), lab=site.lab,
    )  # fmt: skip
    person = signer(site, Role.OFFICER, key)
    text = jws.sign(said, modification.TYP, person.kid, person.key())
    accepted(client.one(site, OrderModification(modification=text)))
    click.echo(f"order {said.document_sha256}: a plan that names it is to be filed by {rfc3339(due)}")


@group.command("contact-test")
@site_option
@click.option("--answered-by", help="Who answered.")
@click.option("--missed", is_flag=True, help="Nobody answered.")
@click.option(
    "--after",
    required=True,
    type=click.IntRange(0, contact.MAX_ANSWER_S),
    help="Seconds until it was answered, or until you waited no longer.",
)
@time_option("--called", what="When you called; by default so many seconds ago as --after says")
@click.option("--mail", is_flag=True, help="You wrote to the contact's mail address, and did not call the number.")
@either_option
def contact_test(
    *, folder: Path, answered_by: str | None, missed: bool, after: int, called: int | None, mail: bool, key: str | None
) -> None:  # fmt: skip
    """Records that you called the 7x24 contact of the plan in force. This system calls nobody by itself.

    \b
    mediation plan contact-test --site DIR --answered-by "Edda E." --after 12 --key olga.key
    mediation plan contact-test --site DIR --missed --after 90 --key olga.key
    """
    if missed is (answered_by is not None):
        raise click.UsageError("either --answered-by or --missed")
    site = config.load(folder)
    view = _ask(site, ShowPlan())
    reached = _contact(view)
    said = contact.ContactTest(
        type="contact-test", version=view.version, appendix_sha256=plan.digest(view.appendix),
        called=reached.mail if mail or not reached.telephone else reached.telephone,
        called_s=called if called is not None else drafting.now_s() - after, answered=not missed, answer_s=after,
        answered_by=answered_by or "", issued_s=drafting.now_s(), nonce=drafting.nonce(), lab=site.lab,
    )  # fmt: skip
    person = signer(site, Role.OFFICER, key)
    text = jws.sign(said, contact.TYP, person.kid, person.key())
    accepted(client.one(site, TryContact(test=text)))
    what = f"missed for {after} s" if missed else f"answered after {after} s"
    click.echo(f"{said.called}, called {rfc3339(said.called_s)}: {what}; {_next_call(_ask(site, ShowPlan()))}")


@group.command()
@site_option
@click.option("--out", type=NEW_FILE, help="Write the exact text: what `order sign carrier --policy` attests.")
@click.option("--pdf", type=NEW_FILE, help="Draw the plan, and its appendix beside it; the same octets each time.")
def show(folder: Path, out: Path | None, pdf: Path | None) -> None:
    """Shows the plan in force, and what is still to be filed.

    \b
    mediation plan show --site DIR
    mediation plan show --site DIR --out policy.json --pdf plan.pdf
    """
    site = config.load(folder)
    view = _ask(site, ShowPlan())
    if out is not None:
        _write(out, view.plan.encode())
    if pdf is not None:
        _write(pdf, documents.policies(view))
        _write(_beside(pdf), documents.appendix(view))
    if out is None and pdf is None:
        click.echo(f"version {view.version}  plan {plan.digest(view.plan)}  appendix {plan.digest(view.appendix)}")
        click.echo(f"records are kept {plan.decode(view.plan).retention_days} days")
        if view.confirmation:
            click.echo(f"filed: version {view.filed_version}, {rfc3339(view.filed_s)}, {view.confirmation}")
        for cause, due_s in sorted(view.amendments.items()):
            click.echo(f"to be filed: {cause}, by {rfc3339(due_s)}")
        for sha256, due_s in sorted(view.modifications.items()):
            click.echo(f"to be filed: a plan that names the order {sha256}, by {rfc3339(due_s)}")
        reached = _contact(view)
        click.echo(f"7x24 contact: {', '.join(filter(None, (reached.telephone, reached.mail)))}; {_next_call(view)}")


def _contact(view: PlanView) -> plan.Contact:
    return msgspec.json.decode(view.appendix, type=plan.Appendix).contact


def _next_call(view: PlanView) -> str:
    last = f"last answered {rfc3339(view.contact_called_s)}" if view.contact_called_s else "never answered yet"
    return f"{last}, to be called by {rfc3339(view.contact_due_s)}"


def _previous(site: Site) -> str:
    found = _ask(site, ShowPlan(draft=True)).previous_sha256
    assert not found or SHA256.fullmatch(found)
    return found


def _persons(site: Site, keys: tuple[str, ...]) -> list[Signer]:
    if not keys:
        return [lab.executives(site)[0]]
    return [signer(site, Role.EXECUTIVE, key) for key in keys]


def _beside(path: Path) -> Path:
    return path.with_name(f"{path.stem}{APPENDIX}{path.suffix}")


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError as error:
        raise ConfigurationError(f"{path.name}: {error.strerror}") from error
    except UnicodeDecodeError:
        raise ConfigurationError(f"{path.name}: not a text") from None


def _write(path: Path, octets: bytes) -> None:
    try:
        path.write_bytes(octets)
    except OSError as error:
        raise ConfigurationError(f"{path.name}: {error.strerror}") from error
