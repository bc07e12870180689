"""Extension, suspension and emergencies by the commands, on a lab site whose functions do not run."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from mediation.administration import lab
from mediation.core.case import Role
from mediation.runtime import config
from tests.administration import site as s
from tests.administration.peers import command


def done(*words: object) -> str:
    answer = command(*map(str, words))
    assert answer.returncode == 0, answer.stderr
    return answer.stdout


class Persons:
    """A lab site, its persons' keys, and a paper."""

    def __init__(self, folder: Path) -> None:
        self.site = s.make(folder).path
        self.folder = folder
        self.document = folder / "order.pdf"
        self.document.write_bytes(b"an order")

    def key(self, role: Role) -> Path:
        return self.site / "lab" / f"{role}.json"

    def drafted(self, *more: object, authority: str = "pen-register", end: str = "+2h") -> tuple[Path, Path]:
        """Both tokens of an order."""
        draft, legal, carrier = (self.folder / f"{authority}.{name}" for name in ("draft", "legal", "carrier"))
        destination = lab.destination(config.load(self.site))
        done(
            "order", "draft", "--site", self.site, "--case", "26-M-17", "--target", "tel:+12125550100", "--authority",
            authority, "--agency", lab.AGENCY, "--host", destination.host, "--port", destination.port,
            "--certificate-sha256", destination.certificate_sha256, "--court", "Court", "--judge", "J. Doe",
            "--officer", "P. Roe", "--document", self.document, "--start", "now", "--end", end, "--out", draft, *more,
        )  # fmt: skip
        for file, state in ((draft, "drafted"), (legal, "legally-authorized"), (carrier, "carrier-authorized")):
            if file is legal:
                done("order", "sign", "legal", draft, "--key", self.key(Role.LEGAL), "--out", legal)
            if file is carrier:
                done(
                    "order", "sign", "carrier", legal, "--key", self.key(Role.CARRIER), "--policy", self.document,
                    "--out", carrier,
                )  # fmt: skip
            shown = command("order", "show", str(file))
            assert shown.stderr.endswith(f"\nmediation: {state}\n") and json.loads(shown.stdout)["case"] == "26-M-17"
        return legal, carrier

    def show(self) -> dict[str, object]:
        found = json.loads(done("case", "show", "26-M-17", "--site", self.site).splitlines()[-1])
        assert isinstance(found, dict)
        return found


@pytest.fixture
def persons(tmp_path: Path) -> Persons:
    return Persons(tmp_path)


def test_extended_suspended_and_resumed(persons: Persons) -> None:
    legal, carrier = persons.drafted()
    done("order", "submit", "--site", persons.site, "--legal", legal, "--carrier", carrier)
    done("case", "activate", "26-M-17", "--site", persons.site)
    # A quick machine looks in the second in which the order was signed.
    assert str(persons.show()["left"]).startswith(("ends in 2 hours", "ends in 1 hour 59 minutes"))
    extension, approval = persons.folder / "extension", persons.folder / "approval"
    done(
        "order", "extend", legal, "--end", "+30d", "--court", "Court", "--judge", "J. Doe", "--document",
        persons.document, "--key", persons.key(Role.LEGAL), "--out", extension,
    )  # fmt: skip
    done(
        "order", "approve", extension, "--carrier", carrier, "--policy", persons.document, "--key",
        persons.key(Role.CARRIER), "--out", approval,
    )  # fmt: skip
    refused = command("case", "extend", "--case", "26-M-17", str(extension), str(carrier), "--site", str(persons.site))
    assert refused.returncode == 1 and "token-type" in refused.stderr
    done("case", "extend", "--case", "26-M-17", extension, approval, "--site", persons.site)
    view = persons.show()
    assert (view["state"], view["extensions"]) == ("extended", 1)
    assert re.search("ends in (30 days|29 days 23 hours) ", done("case", "list", "--site", persons.site))
    done("case", "suspend", "26-M-17", "--site", persons.site)
    assert persons.show()["state"] == "suspended"
    done("case", "resume", "26-M-17", "--site", persons.site)
    assert persons.show()["state"] == "extended"
    assert "suspension" in command("case", "resume", "26-M-17", "--site", str(persons.site)).stderr


def test_an_emergency_order_with_its_call_back(persons: Persons) -> None:
    legal, carrier = persons.drafted(authority="emergency-pen-register", end="+48h")
    answer = command(
        "order", "submit", "--site", str(persons.site), "--legal", str(legal), "--carrier", str(carrier)
    )  # fmt: skip
    assert answer.returncode == 1 and "call-back" in answer.stderr
    for number, name in (("+12125550666", "wrong"), (lab.DIRECTORY_NUMBER, "right")):
        done(
            "order", "call-back", legal, "--number", number, "--answered-by", "D. Officer", "--answer", "confirmed",
            "--key", persons.key(Role.OFFICER), "--out", persons.folder / name,
        )  # fmt: skip
    words = ("order", "submit", "--site", str(persons.site), "--legal", str(legal), "--carrier", str(carrier))
    assert "call-back" in command(*words, "--call-back", str(persons.folder / "wrong")).stderr
    done(*words, "--call-back", persons.folder / "right")
    done("case", "activate", "26-M-17", "--site", persons.site)
    assert persons.show()["state"] == "active"


def test_lab_orders_of_every_type(persons: Persons) -> None:
    for n, authority in enumerate(("title3", "fisa", "emergency-title3", "emergency-fisa", "emergency-trap-and-trace")):
        done(
            "lab", "order", "--site", persons.site, "--case", f"CASE-{n}", "--target", "tel:+12125550100",
            "--authority", authority,
        )  # fmt: skip
    assert done("case", "list", "--site", persons.site).count(" active ") == 5


def test_a_site_can_make_its_terms_shorter_and_not_longer(persons: Persons) -> None:
    file = persons.site / "config.toml"
    text = file.read_text()
    file.write_text(text + "\n[terms]\npen_register_days = 61\n")
    assert "terms" in command("case", "list", "--site", str(persons.site)).stderr
    file.write_text(text + "\n[terms]\npen_register_days = 1\n")
    words = ("lab", "order", "--site", str(persons.site), "--case", "A", "--target", "tel:+12125550100", "--authority")
    assert "term" in command(*words, "pen-register", "--end", "+25h").stderr
    done(*words, "pen-register", "--end", "+24h")
