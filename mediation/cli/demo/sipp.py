"""Calls by a real SIP client (sipp 3.6): one party's part of a call written as a chain of steps, and its process.

`Party` writes sipp's scenario file; both halves of a call are written side by side, so that a call reads like a
ladder diagram. RFC 3261 is kept where sipp leaves it to the author: one branch per transaction, the INVITE's branch in
CANCEL and in the ACK of a refusal, tags only where they belong.
"""

from __future__ import annotations

import socket
import subprocess
import time
from pathlib import Path
from typing import Self
from xml.sax.saxutils import quoteattr

from mediation.cli.demo.network import inside, open_socket
from mediation.cli.demo.people import MEDIA_PORT
from mediation.core.errors import MediationError

SIP_PORT = 5060
CALL_LIMIT_S = 30.0  # no call of ours is longer
BIND_LIMIT_S = 5.0
GATE_AGAIN_S = 0.1
LAST_PACKET_MS = 150  # sipp plays from a thread of its own, which a busy machine runs late: BYE must not cut it off
T1_MS = 500  # RFC 3261 §17.1.1.1
RINGING_MS = 40  # nobody takes off within a packet's way through the network: the answer could overtake the ringing

REASONS = {
    100: "Trying", 180: "Ringing", 181: "Call Is Being Forwarded", 182: "Queued", 183: "Session Progress", 200: "OK",
    302: "Moved Temporarily", 404: "Not Found", 480: "Temporarily Unavailable", 486: "Busy Here",
    487: "Request Terminated", 503: "Service Unavailable", 603: "Decline",
}  # fmt: skip


class CallError(MediationError):
    """A call of the demo or of a test did not go as written; the text is sipp's own complaint."""


def session(*, direction: str = "sendrecv", codec: int = 0, events: int = 101, version: int = 1) -> str:
    """An SDP body (RFC 8866) for sipp's address keywords; `codec` 0 is PCMU, 8 PCMA."""
    name = {0: "PCMU", 8: "PCMA"}[codec]
    return (
        f"v=0\no=- 42 {version} IN IP[local_ip_type] [local_ip]\ns=-\nc=IN IP[media_ip_type] [media_ip]\nt=0 0\n"
        f"m=audio [media_port] RTP/AVP {codec} {events}\na=rtpmap:{codec} {name}/8000\n"
        f"a=rtpmap:{events} telephone-event/8000\na=fmtp:{events} 0-15\na={direction}\n"
    )


class Party:
    """The steps of one side of a call. Every step returns the party, so that steps chain."""

    def __init__(self) -> None:
        self._steps: list[str] = []
        self._marks = 0

    def _add(self, step: str) -> Self:
        self._steps.append(step)
        return self

    def _message(self, lines: list[str], headers: tuple[str, ...], body: str, kind: str, *, resend: bool) -> Self:
        content = [f"Content-Type: {kind}"] if body else []
        text = "\n".join([*lines, *headers, *content, "Content-Length: [len]", "", body])
        again = f' retrans="{T1_MS}"' if resend else ""
        return self._add(f"<send{again}><![CDATA[\n{text}\n]]></send>")

    def receive(self, method: str) -> Self:
        """Waits for a request. sipp swallows retransmissions of the one before by itself."""
        return self._add(f'<recv request="{method}"/>')

    def expect(self, status: int, *, optional: bool = False) -> Self:
        """Waits for a response."""
        return self._add(f'<recv response="{status}"{" optional=" + quoteattr("true") if optional else ""}/>')

    def pause(self, milliseconds: int) -> Self:
        return self._add(f'<pause milliseconds="{milliseconds}"/>')

    def gate(self) -> Self:
        """Waits until `Running.open_gate`: a message that never touches the network between the parties."""
        return self.receive("NOTIFY").mark()

    def mark(self) -> Self:
        """Tells whoever awaits `Running.until_mark` that the party has come this far."""
        self._marks += 1
        return self._add(f'<nop><action><exec command="touch mark{self._marks}"/></action></nop>')

    def play(self, recording: Path, milliseconds: int) -> Self:
        """Sends the packets of a capture file as this party's media, and waits for their end."""
        name = quoteattr(str(recording.resolve()))
        self._add(f"<nop><action><exec play_pcap_audio={name}/></action></nop>")
        return self.pause(milliseconds + LAST_PACKET_MS)

    def scenario(self) -> str:
        """The scenario file."""
        head = '<?xml version="1.0" encoding="UTF-8"?>\n<!DOCTYPE scenario SYSTEM "sipp.dtd">\n<scenario name="call">\n'
        return head + "\n".join(self._steps) + "\n</scenario>\n"


class Caller(Party):
    """Who sends the INVITE. `caller` and `called` are user parts; the domain is the carrier's, whoever answers."""

    def __init__(self, caller: str, called: str, *, domain: str = "carrier.example", name: str = "",
                 from_: str | None = None, headers: tuple[str, ...] = ()) -> None:  # fmt: skip
        super().__init__()
        self._from = from_ or f"{chr(34) + name + chr(34) + ' ' if name else ''}<sip:{caller}@{domain}>"
        self._user, self._target, self._domain = caller, f"sip:{called}@{domain}", domain
        self._headers = headers
        self._sequence = 0

    def request(self, method: str, *, sequence: int | None = None, branch: str | None = None, to_tag: bool = True,
                headers: tuple[str, ...] = (), body: str = "", kind: str = "application/sdp") -> Self:  # fmt: skip
        """A request of this dialog; a new transaction unless `sequence` and `branch` say otherwise."""
        if sequence is None:
            self._sequence += 1
            sequence = self._sequence
        branch = branch or f"{sequence}"
        lines = [
            f"{method} {self._target} SIP/2.0",
            f"Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=z9hG4bK-[pid]-{branch}",
            "Max-Forwards: 70",
            f"From: {self._from};tag=c[pid]",
            f"To: <{self._target}>{'[peer_tag_param]' if to_tag else ''}",
            "Call-ID: [call_id]",
            f"CSeq: {sequence} {method}",
        ]
        if method in ("INVITE", "UPDATE"):
            lines.append(f"Contact: <sip:{self._user}@[local_ip]:[local_port]>")
        return self._message(lines, headers, body, kind, resend=method != "ACK")

    def invite(self, body: str | None = None) -> Self:
        """The first INVITE."""
        body = session() if body is None else body
        return self.request("INVITE", to_tag=False, headers=self._headers, body=body)

    def reinvite(self, body: str) -> Self:
        """An INVITE within the dialog, up to its 200 and ACK."""
        return self.request("INVITE", body=body).expect(100, optional=True).expect(200).ack()

    def ack(self, *, refused: bool = False) -> Self:
        """Of the last INVITE: its own transaction after a 200, the INVITE's after a refusal (§17.1.1.3)."""
        branch = f"{self._sequence}" if refused else f"{self._sequence}-ack"
        return self.request("ACK", sequence=self._sequence, branch=branch)

    def cancel(self) -> Self:
        """CANCEL of the first INVITE, up to the ACK of its 487 (§9.1)."""
        self.request("CANCEL", sequence=self._sequence, branch=f"{self._sequence}", to_tag=False)
        return self.expect(200).expect(487).ack(refused=True)

    def bye(self) -> Self:
        return self.request("BYE").expect(200)

    def info(self, digit: str) -> Self:
        """A key as application/dtmf-relay."""
        body = f"Signal={digit}\nDuration=160\n"
        return self.request("INFO", body=body, kind="application/dtmf-relay").expect(200)

    def ringing(self) -> Self:
        return self.expect(100, optional=True).expect(180)

    def connected(self) -> Self:
        """From INVITE to ACK of an ordinary answered call."""
        return self.invite().ringing().expect(200).ack()


class Called(Party):
    """Who receives the INVITE."""

    def reply(self, status: int, *, tag: str | None = None, body: str = "", headers: tuple[str, ...] = (),
              sequence: str = "[last_CSeq:]", resend: bool = False) -> Self:  # fmt: skip
        """A response to the last request received; `tag` is added to a To that has none yet."""
        lines = [
            f"SIP/2.0 {status} {REASONS[status]}",
            "[last_Via:]", "[last_From:]",
            f"[last_To:]{f';tag={tag}[pid]' if tag else ''}",
            "[last_Call-ID:]", sequence,
        ]  # fmt: skip
        if status < 300:
            lines.append("Contact: <sip:[local_ip]:[local_port]>")
        return self._message(lines, headers, body, "application/sdp", resend=resend)

    def ring(self) -> Self:
        return self.receive("INVITE").reply(180, tag="d")

    def answer(self, body: str | None = None, **more: object) -> Self:
        """200 with SDP to a first INVITE, up to its ACK. What was said before is there when it is sent."""
        said = session() if body is None else body
        return self.pause(RINGING_MS).reply(200, tag="d", body=said, resend=True).receive("ACK")

    def accept(self, body: str) -> Self:
        """A whole INVITE within the dialog."""
        return self.receive("INVITE").reply(200, body=body, resend=True).receive("ACK")

    def refuse(self, status: int) -> Self:
        return self.reply(status, tag="d", resend=True).receive("ACK")

    def cancelled(self) -> Self:
        """CANCEL: 200 to it, 487 to the INVITE (§9.2)."""
        self.receive("CANCEL").reply(200, tag="d")
        return self.reply(487, tag="d", sequence="CSeq: 1 INVITE", resend=True).receive("ACK")

    def released(self) -> Self:
        return self.receive("BYE").reply(200)


class Running:
    """A sipp process that plays one party of one call in a namespace."""

    def __init__(self, party: Party, namespace: str, address: str, folder: Path, *, remote: str | None = None,
                 call_id: str = "", port: int = SIP_PORT) -> None:  # fmt: skip
        """`remote` is where a caller sends; `folder` takes the scenario and sipp's error log. Raises CallError."""
        self._namespace, self._address, self._port, self._call_id = namespace, address, port, call_id
        folder.mkdir(parents=True, exist_ok=True)
        self._folder, self._marks = folder, 0
        scenario, self._errors = folder / "scenario.xml", folder / "errors.log"
        scenario.write_text(party.scenario())
        # sipp 3.6 takes IPv6 addresses in brackets as remote and bare as local.
        where = f"[{remote}]:{SIP_PORT}" if remote and ":" in remote else f"{remote}:{SIP_PORT}"
        self._process = subprocess.Popen(  # noqa: S603 - our own words, no shell
            inside(namespace, [
                "sipp", *([where] if remote else []), "-sf", str(scenario), "-i", address, "-p", str(port),
                "-mi", address, "-mp", str(MEDIA_PORT), "-bind_local", "-m", "1", "-nostdin", "-nd",
                *(["-cid_str", call_id] if call_id else []),
                "-trace_err", "-error_file", str(self._errors), "-timeout", f"{CALL_LIMIT_S:.0f}s", "-timeout_error",
            ]),
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=folder,
        )  # fmt: skip
        if remote is None:
            self._until_bound()

    def _until_bound(self) -> None:
        """sipp does not tell when it listens; its namespace's table of sockets does."""
        wanted = f":{self._port:04X} "
        limit = time.monotonic() + BIND_LIMIT_S
        own = Path(f"/proc/{self._process.pid}/ns/net")
        here = Path("/proc/self/ns/net").readlink()
        while time.monotonic() < limit and self._process.poll() is None:
            try:
                tables = "" if own.readlink() == here else "".join(
                    Path(f"/proc/{self._process.pid}/net/{table}").read_text() for table in ("udp", "udp6")
                )  # fmt: skip
            except OSError:
                tables = ""
            if any(wanted in line for line in tables.splitlines()):
                return
            time.sleep(0.002)
        raise CallError(f"sipp does not listen: {self._complaint()}")

    def _complaint(self) -> str:
        text = self._errors.read_text(errors="replace") if self._errors.exists() else ""
        return " ".join(text.split())[:2000] or f"exit status {self._process.poll()}, no error log"

    def until_mark(self, limit: float = CALL_LIMIT_S) -> bool:
        """Waits for the next mark (a gate sets one when it is passed); False when the time is up."""
        mark = self._folder / f"mark{self._marks + 1}"
        end = time.monotonic() + limit
        while not mark.exists():
            if time.monotonic() > end:
                return False
            time.sleep(0.002)
        self._marks += 1
        return True

    def open_gate(self) -> None:
        """Lets the party pass its next gate: a NOTIFY over the namespace's own loopback, never on the wire.

        Returns when the party has passed it; a party that is not there yet gets the message again. Raises CallError.
        """
        family = socket.AF_INET6 if ":" in self._address else socket.AF_INET
        limit = time.monotonic() + CALL_LIMIT_S
        with open_socket(self._namespace, family) as sender:
            while True:
                if time.monotonic() > limit or self._process.poll() is not None:
                    raise CallError(f"the party never came to its gate: {self._complaint()}")
                text = (
                    f"NOTIFY sip:gate SIP/2.0\r\nVia: SIP/2.0/UDP gate;branch=z9hG4bK-{time.monotonic_ns()}\r\n"
                    f"From: <sip:gate>;tag=g\r\nTo: <sip:gate>\r\nCall-ID: {self._call_id}\r\nCSeq: 1 NOTIFY\r\n"
                    "Content-Length: 0\r\n\r\n"
                )
                sender.sendto(text.encode(), (self._address, self._port))
                if self.until_mark(GATE_AGAIN_S):
                    return

    def wait(self, limit: float = CALL_LIMIT_S) -> None:
        """Until the call is over. Raises CallError when it did not go as written."""
        try:
            status = self._process.wait(limit)
        except subprocess.TimeoutExpired:
            self.stop()
            raise CallError(f"the call did not end: {self._complaint()}") from None
        if status != 0:
            raise CallError(f"sipp ended with {status}: {self._complaint()}")

    def stop(self) -> None:
        """Ends the process if it still runs."""
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
