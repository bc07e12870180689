"""A real site from nothing, as docs/OPERATING.md tells it: each person's key in a folder of his own, two witnesses and
the agency in network namespaces of their own, and every step one of the commands that people type."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterable
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import click
from click.testing import CliRunner

from mediation.cli.demo.network import SPAN, Network, inside
from mediation.cli.demo.site import Lines
from mediation.cli.main import group
from mediation.core.errors import MediationError

MEDIATION = [sys.executable, "-m", "mediation.cli.main"]
PASSPHRASE = b"five words that nobody guesses"
LIMIT_S = 60.0
STOP_LIMIT_S = 10.0
SITE, AGENCY, WITNESSES = "10.78.0.1", "10.78.0.2", ("10.78.0.3", "10.78.0.4")
ELSEWHERE = "10.78.0.9"  # nobody's: where no order sends
WITNESS_PORT, COLLECTOR_PORT = 41880, 41800
PERSONS = {  # person -> role
    "edda": "executive", "egon": "executive", "elsa": "executive",
    "lena": "legal", "carl": "carrier", "olga": "officer", "aude": "auditor",
}  # fmt: skip


class RealSite:
    """The site, its persons, its witnesses and the agency. Everything ends with `close`."""

    def __init__(self, folder: Path, prefix: str) -> None:
        self.folder = folder
        folder.chmod(0o755)  # functions that gave up root still look up their user's own files below it
        self.path = folder / "site"
        self.stack = ExitStack()
        self.network = self.stack.enter_context(Network(prefix))
        self.tapped = self.network.switch()
        self.network.switch("lan")
        self._witnesses: list[subprocess.Popen[str]] = []
        self.functions: subprocess.Popen[str] | None = None
        self.collected: Lines | None = None

    def close(self) -> None:
        self.stack.close()

    # -- commands ------------------------------------------------------------------------------------------------------

    def try_(self, *words: str | Path, place: str = "") -> subprocess.CompletedProcess[str]:
        """`mediation WORDS`; the passphrase is there for the commands that ask for it.

        In this process, a tenth of the time of a new interpreter; as a process of its own on the host `place` when it
        speaks to the network or opens the vault.
        """
        reading = passphrase()
        told = [str(word) for word in words]
        if not place:
            before = dict(os.environ)
            os.environ.update(self._environment(reading))
            try:
                return run_here(told)
            finally:
                os.environ.clear()
                os.environ.update(before)
                with suppress(OSError):  # the command closed it
                    os.close(reading)
        try:
            return subprocess.run(
                inside(self.network.namespace(place), [*MEDIATION, *told]), capture_output=True, text=True,
                timeout=LIMIT_S, check=False, pass_fds=[reading], env=self._environment(reading),
            )  # fmt: skip
        finally:
            os.close(reading)

    @staticmethod
    def _environment(descriptor: int) -> dict[str, str]:
        """Nothing of the test's own vault: a site's key comes from its passphrase alone."""
        own = {name: value for name, value in os.environ.items() if name != "CREDENTIALS_DIRECTORY"}
        return {**own, "MEDIATION_PIN_FD": str(descriptor), "PYTHONUNBUFFERED": "1"}

    def do(self, *words: str | Path, place: str = "") -> str:
        done = self.try_(*words, place=place)
        assert done.returncode == 0, (words[:2], done.stdout, done.stderr)
        return done.stdout

    def refused(self, *words: str | Path) -> str:
        done = self.try_(*words, "--site", self.path)
        assert done.returncode == 1, (done.stdout, done.stderr)
        return done.stderr.removeprefix("mediation: ").strip()

    def at_site(self, *words: str | Path, place: str = "") -> str:
        return self.do(*words, "--site", self.path, place=place)

    def file(self, name: str, octets: bytes = b"") -> Path:
        path = self.folder / name
        if octets:
            path.write_bytes(octets)
        return path

    def start(self, place: str, *words: str | Path) -> subprocess.Popen[str]:
        """A program that goes on; it is ended with the site. Its complaints lie in PLACE.errors."""
        reading = passphrase()
        with self.file(f"{place}.errors").open("ab") as errors:
            process = subprocess.Popen(
                inside(self.network.namespace(place), [*MEDIATION, *map(str, words)]),
                stdout=subprocess.PIPE, stderr=errors, stdin=subprocess.DEVNULL, text=True,
                env=self._environment(reading), pass_fds=[reading],
            )  # fmt: skip
        os.close(reading)
        self.stack.callback(end, process)
        return process

    # -- the way -------------------------------------------------------------------------------------------------------

    def make(self) -> None:
        """Hosts and their cables; the site with its vault; the two witnesses, each told of the other."""
        for name, address in zip(("site", "agency", "w1", "w2"), (SITE, AGENCY, *WITNESSES), strict=True):
            self.network.peer(name, f"{address}/24", switch="lan")
        self.do("init", self.path, "--vault", "passphrase")
        settings = self.path / "config.toml"
        text = settings.read_text().replace("accept_undisciplined = false", "accept_undisciplined = true")
        settings.write_text(
            f'{text}\n[contact]\ntelephone = "+1 202 555 0100"\nmail = "li@carrier.example"\n\n[ledger]\n'
            f'tick_ms = 200\n\n[[iap]]\nname = "SWITCH-1"\ninterface = "{SPAN}"\n'
            f'namespace = "{self.tapped}"\nside = "access"\n'
        )

    def name_witnesses(self) -> None:
        vkey = (self.path / "keys" / "ledger.pub").read_text().strip()
        lines = [f"log {vkey}"]
        groups = []
        for number, address in enumerate(WITNESSES, 1):
            folder = self.folder / f"w{number}"
            keys = self.do("witness", "init", folder, "--name", f"w{number}.example/ledgers")
            self.do("witness", "add", folder, vkey)
            url = f"http://{address}:{WITNESS_PORT}"
            lines += [f"witness w{number}{kind} {key} {url}" for kind, key in zip("ab", keys.split("\n"), strict=False)]
            groups.append(f"group w{number} all w{number}a w{number}b")
        policy = self.path / "keys" / "witness.policy"
        policy.write_text("\n".join([*lines, *groups, "group both all w1 w2", "quorum both", ""]))
        policy.chmod(0o644)

    def run_witness(self, number: int) -> None:
        listen = f"{WITNESSES[number - 1]}:{WITNESS_PORT}"
        process = self.start(f"w{number}", "witness", "run", self.folder / f"w{number}", "--listen", listen)
        assert process.stdout is not None
        assert json.loads(process.stdout.readline())["event"] == "ready"
        self._witnesses.append(process)

    def stop_witness(self) -> None:
        """The one that was started last."""
        end(self._witnesses.pop())

    def found(self) -> None:
        """Each person makes a key, three executives found the site; who acts is appointed with it."""
        letter = self.file("letter.pdf", b"letters of appointment")
        for person, role in PERSONS.items():
            self._make_key(person, role)
        executives = [person for person, role in PERSONS.items() if role == "executive"]
        words: list[str | Path] = ["--senior", executives[0], "--document", letter, "--contact", "FBI-NY=+12025550100"]
        for person, role in PERSONS.items():
            card = self.file(f"{person}/card")
            words += ["--executive", card] if role == "executive" else ["--appoint", f"{role}={card}"]
        draft = self.file("founding.json")
        self.at_site("person", "found", *words, "--out", draft)
        approvals = [self.approve(draft, person) for person in executives]
        self.at_site("person", "submit", *approvals, place="site")

    def appoint(self, person: str, role: str) -> None:
        """One more person, by two executives."""
        self._make_key(person, role)
        draft = self.file(f"{person}.json")
        self.at_site("person", "appoint", "--card", self.folder / person / "card", "--role", role, "--document",
                     self.folder / "letter.pdf", "--out", draft, place="site")  # fmt: skip
        executives = [each for each, held in PERSONS.items() if held == "executive"]
        self.at_site("person", "submit", *(self.approve(draft, each) for each in executives[:2]), place="site")

    def _make_key(self, person: str, role: str) -> None:
        folder = self.folder / person
        folder.mkdir(mode=0o700)
        self.do("person", "key", "--person", person, "--name", person.title(), "--function", "of the carrier",
                "--role", role, "--key", folder / "key", "--card", folder / "card")  # fmt: skip

    def approve(self, draft: Path, person: str) -> Path:
        approval = draft.with_suffix(f".{person}")
        self.do("person", "approve", draft, "--key", self.folder / person / "key", "--out", approval)
        return approval

    def key(self, person: str) -> tuple[str, Path]:
        return "--key", self.folder / person / "key"

    def exchange_certificates(self) -> str:
        """The agency and the carrier each make a certificate of their own and give the other its authority: here each
        is its own. Returns the pin that the order names."""
        agency = self.folder / "agency" / "lab" / "agency"
        self.do("init", self.folder / "agency", "--lab")  # of the agency's own: its reference receiver
        settings = self.folder / "agency" / "config.toml"
        text = settings.read_text().replace("[lab_agency]\n", f'[lab_agency]\ncollector_host = "{AGENCY}"\n')
        settings.write_text(text.replace("content_port", "# content_port"))
        delivery = self.path / "delivery"
        certificate(agency / "server.pem", agency / "server.key", "agency", AGENCY)
        certificate(delivery / "client.pem", delivery / "client.key", "carrier")
        (agency / "ca.pem").write_bytes((delivery / "client.pem").read_bytes())
        (delivery / "agency-ca.pem").write_bytes((agency / "server.pem").read_bytes())
        said = openssl("x509", "-in", str(agency / "server.pem"), "-noout", "-fingerprint", "-sha256")
        return said.partition("=")[2].strip().replace(":", "").lower()

    def collect(self) -> None:
        process = self.start("agency", "collect", "--site", self.folder / "agency")
        assert process.stdout is not None
        self.collected = Lines(process.stdout)

    def run(self) -> None:
        """The functions under one parent; returns when the taps are armed."""
        self.functions = self.start("site", "run", "--site", self.path)
        assert self.functions.stdout is not None
        ready = Lines(self.functions.stdout).wait(lambda line: line.get("event") == "ready", LIMIT_S)
        assert ready is not None, self.complaints()

    def complaints(self) -> str:
        files = [*sorted((self.path / "log").glob("*")), *sorted(self.folder.glob("*.errors"))]
        return "\n".join(f"{file.name}: {file.read_text()[-1500:]}" for file in files)

    def adopt_plan(self) -> None:
        """The policies of 47 CFR 1.20003 drawn from the settings; the senior officer puts them in force, and they are
        on file with the Commission before service begins (1.20005(c))."""
        draft = self.file("plan.json")
        self.at_site("plan", "draft", "--out", draft, place="site")
        self.at_site("plan", "adopt", draft, *self.key("edda"), place="site")
        self.at_site("plan", "filed", "--confirmation", "CEFS-26-7", *self.key("edda"), place="site")

    def file_order(self, case: str, subject: str, pin: str) -> None:
        """From the court's paper to the two tokens, filed: three commands of two persons, one of the site."""
        paper = self.file(f"{case}.pdf", b"%PDF the court's order")
        draft, legal, carrier = (self.file(f"{case}.{name}") for name in ("draft", "legal", "carrier"))
        self.at_site(
            "order", "draft", "--case", case, "--target", subject, "--authority", "pen-register", "--agency", "FBI-NY",
            "--host", AGENCY, "--port", str(COLLECTOR_PORT), "--certificate-sha256", pin, "--court", "SDNY",
            "--judge", "J. Doe", "--officer", "SA P. Roe", "--document", paper, "--start", "now", "--end", "+30d",
            "--out", draft,
        )  # fmt: skip
        self.do("order", "sign", "legal", draft, *self.key("lena"), "--out", legal)
        self.do(
            "order", "sign", "carrier", legal, *self.key("carl"), "--policy", self.file("plan.json"), "--out", carrier
        )
        assert self.at_site("order", "submit", "--legal", legal, "--carrier", carrier).strip() == case

    def act(self, act: str, case: str) -> None:
        self.at_site("case", act, case, *self.key("olga"))

    def state(self, case: str) -> str:
        said = self.at_site("case", "show", case, *self.key("olga"), "--reason", "where it stands")
        return str(json.loads(said)["state"])

    def status(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.at_site("status", "--json"))
        return found


def run_here(words: list[str]) -> subprocess.CompletedProcess[str]:
    """As the program would end (cli/main.py)."""
    done = CliRunner().invoke(group, words, standalone_mode=False)
    error, status, complaint = done.exception, done.exit_code, done.stderr
    if isinstance(error, MediationError):
        status, complaint = 1, f"mediation: {error}"
    elif isinstance(error, click.ClickException):
        status, complaint = 2, error.format_message()
    elif error is not None and not isinstance(error, SystemExit):
        raise error
    return subprocess.CompletedProcess(words, status, done.stdout, complaint)


def passphrase() -> int:
    """A descriptor from which one program reads it."""
    reading, writing = os.pipe()
    os.write(writing, PASSPHRASE + b"\n")
    os.close(writing)
    return reading


def end(process: subprocess.Popen[str]) -> None:
    """This process alone, gently first."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(STOP_LIMIT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    if process.stdout is not None:
        process.stdout.close()


def openssl(*words: str) -> str:
    return subprocess.run(["openssl", *words], capture_output=True, text=True, timeout=LIMIT_S, check=True).stdout


def certificate(path: Path, key: Path, name: str, *addresses: str) -> None:
    """A self-signed certificate, for both ends of mutual TLS."""
    names = [("-addext", f"subjectAltName=IP:{address}") for address in addresses]
    openssl(
        "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "365", "-subj",
        f"/CN={name}", *flat(names), "-keyout", str(key), "-out", str(path),
    )  # fmt: skip
    key.chmod(0o600)


def flat(pairs: Iterable[tuple[str, str]]) -> list[str]:
    return [word for pair in pairs for word in pair]
