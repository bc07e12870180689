"""Kamailio 5.6 as the carrier's SBC: registrar, forwarding proxy (RFC 3261 §16) and B-side of subscribers' services.

Listens on UDP, TCP and WebSocket (RFC 7118). Forwarding on no condition, busy and no answer adds Diversion (RFC 5806)
and History-Info (RFC 7044) as a switch does. Which subscriber has which service is set while it runs, over JSON-RPC on
a Unix socket. Media is anchored in rtpengine for the subscribers that are told so.
"""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any

from tests.rig.process import Peer, PeerError

SIP_PORT, WS_PORT, PROBE_PORT = 5060, 8080, 5998
RTPENGINE_PORT = 2223
NO_ANSWER_MS = 1500  # a subscriber's no-answer timer: short for tests, and long enough to ring on a busy machine
AWAY_MS = 8000  # a peer that says nothing at all (timers B and F, RFC 3261 §17.1): none of the rig is
DOMAIN = "carrier.example"
RPC_LIMIT_S = 30.0
MODULES = (
    "tm", "tmx", "sl", "rr", "pv", "maxfwd", "usrloc", "registrar", "textops", "siputils", "htable", "jsonrpcs", "xlog",
    "nathelper", "rtpengine", "xhttp", "websocket", "siptrace",
)  # fmt: skip

# One worker for each socket: several send on what came in the order in which they happen to run, so that two messages
# of one call that come at once change places, on the wire and in the HEP3 feed, and the call is another one.
TEMPLATE = """
debug=1
log_stderror=yes
children=1
tcp_children=1
auto_aliases=no
alias="%(domain)s"
listen=udp:%(address)s:5060
listen=tcp:%(address)s:5060
listen=tcp:%(address)s:%(ws)d
%(listen6)s
tcp_accept_no_cl=yes
mpath="/usr/lib/x86_64-linux-gnu/kamailio/modules/"
%(modules)s
modparam("jsonrpcs", "transport", 4)
modparam("jsonrpcs", "dgram_socket", "%(folder)s/rpc")
modparam("htable", "htable", "cfu=>size=8;")
modparam("htable", "htable", "cfb=>size=8;")
modparam("htable", "htable", "cfnr=>size=8;")
modparam("htable", "htable", "anchor=>size=8;")
modparam("htable", "htable", "route=>size=8;")
modparam("htable", "htable", "early=>size=8;")
modparam("usrloc", "db_mode", 0)
modparam("registrar", "default_expires", 60)
modparam("registrar", "min_expires", 1)
modparam("tm", "fr_timer", %(away)d)
modparam("tm", "fr_inv_timer", 20000)
modparam("tm", "reparse_on_dns_failover", 0)
modparam("tm", "auto_inv_100_reason", "Trying")
modparam("rr", "enable_full_lr", 1)
modparam("rtpengine", "rtpengine_sock", "udp:127.0.0.1:2223")
modparam("siptrace", "trace_on", %(trace)d)
modparam("siptrace", "trace_to_database", 0)
modparam("siptrace", "duplicate_uri", "sip:%(collector)s")
modparam("siptrace", "hep_mode_on", 1)
modparam("siptrace", "hep_version", 3)
modparam("siptrace", "hep_capture_id", 2001)
%(trace_mode)s

request_route {
    if (is_method("OPTIONS") && $rU == $null) { sl_send_reply("200", "OK"); exit; }
    if (!mf_process_maxfwd_header("20")) { sl_send_reply("483", "Too Many Hops"); exit; }
    if (is_method("CANCEL")) { if (t_check_trans()) { t_relay(); } exit; }
    if (has_totag()) {
        if (loose_route()) {
            route(MEDIA);
            if (is_method("NOTIFY")) { record_route(); }
            t_relay();
        } else if (is_method("ACK")) {
            if (t_check_trans()) { t_relay(); }
        } else if (is_method("NOTIFY|SUBSCRIBE|REFER|MESSAGE|UPDATE|INFO|BYE|PRACK|INVITE")) {
            route(MEDIA);
            route(LOCATE);
        }
        exit;
    }
    t_check_trans();
    remove_hf("Route");
    if (is_method("REGISTER")) {
        if (!save("location")) { sl_reply_error(); }
        exit;
    }
    if (is_method("INVITE|SUBSCRIBE|REFER")) { record_route(); }
    if (is_method("INVITE")) {
        remove_hf("P-Asserted-Identity");
        append_hf("P-Asserted-Identity: <sip:$fU@%(domain)s>\\r\\n");
    }
    route(MEDIA);
    if (is_method("INVITE") && $sht(cfu=>$rU) != $null) {
        t_newtran();
        t_reply("181", "Call Is Being Forwarded");
        $var(to) = $sht(cfu=>$rU); $var(reason) = "unconditional"; $var(cause) = "302";
        route(DIVERT);
        exit;
    }
    if (is_method("INVITE")) {
        t_on_failure("FORWARD");
        if ($sht(cfnr=>$rU) != $null) { t_set_fr(%(no_answer)d, %(away)d); }
    }
    route(LOCATE);
}

route[LOCATE] {
    if ($sht(route=>$rU) != $null) {
        $du = $sht(route=>$rU);
    } else if (uri == myself && !lookup("location")) {
        sl_send_reply("404", "Not Found"); exit;
    }
    t_on_reply("MEDIA");
    if (!t_relay()) { sl_reply_error(); }
}

route[DIVERT] {
    $var(old) = $rU;
    append_hf("Diversion: <sip:$var(old)@%(domain)s>;reason=$var(reason);counter=1\\r\\n");
    append_hf("History-Info: <sip:$var(old)@%(domain)s>;index=1\\r\\n");
    append_hf("History-Info: <sip:$var(to)@%(domain)s;cause=$var(cause)>;index=1.1\\r\\n");
    $ru = "sip:" + $var(to) + "@%(domain)s";
    if ($sht(route=>$var(to)) != $null) { $du = $sht(route=>$var(to)); }
    else if (!lookup("location")) { t_reply("480", "Temporarily Unavailable"); exit; }
    t_on_reply("MEDIA");
    t_relay();
}

failure_route[FORWARD] {
    if (t_is_canceled()) { exit; }
    if (t_check_status("30[0-9]")) {
        $ru = $(T_rpl($ct){nameaddr.uri});
        if (lookup("location")) { t_on_reply("MEDIA"); t_relay(); }
        exit;
    }
    if (t_check_status("486|600") && $sht(cfb=>$tU) != $null) {
        $var(to) = $sht(cfb=>$tU); $var(reason) = "user-busy"; $var(cause) = "486";
    } else if (t_check_status("408|480") && $sht(cfnr=>$tU) != $null) {
        $var(to) = $sht(cfnr=>$tU); $var(reason) = "no-answer"; $var(cause) = "408";
    } else { exit; }
    $ru = "sip:" + $tU + "@%(domain)s";
    t_reset_fr();
    route(DIVERT);
}

route[MEDIA] {
    if ($sht(anchor=>$fU) == $null && $sht(anchor=>$tU) == $null) { return; }
    if (has_body("application/sdp")) { rtpengine_manage("replace-origin replace-session-connection ICE=remove"); }
    else if (is_method("BYE|CANCEL")) { rtpengine_delete(); }
}

onreply_route[MEDIA] {
    if ($sht(anchor=>$fU) == $null && $sht(anchor=>$tU) == $null) { return; }
    if (has_body("application/sdp")) { rtpengine_manage("replace-origin replace-session-connection ICE=remove"); }
}

event_route[xhttp:request] {
    if ($Rp == %(ws)d && $hdr(Upgrade) =~ "websocket") {
        ws_handle_handshake();
        exit;
    }
    xhttp_reply("404", "Not Found", "", "");
}
"""


def options(address: str) -> bytes:
    """An OPTIONS to the SBC itself (RFC 3261 §11), which goes over its namespace's loopback."""
    return (
        f"OPTIONS sip:{address} SIP/2.0\r\nVia: SIP/2.0/UDP {address}:{PROBE_PORT};branch=z9hG4bK-ready\r\n"
        f"From: <sip:ready@{address}>;tag=r\r\nTo: <sip:{address}>\r\nCall-ID: ready\r\nCSeq: 1 OPTIONS\r\n"
        "Max-Forwards: 5\r\nContent-Length: 0\r\n\r\n"
    ).encode()


class Kamailio(Peer):
    """The SBC of one namespace at one address."""

    name = "kamailio"

    def __init__(self, namespace: str, address: str, folder: Path, *, address6: str = "", collector: str = "") -> None:
        """`collector` ("10.79.0.9:9060") receives siptrace's HEP3, when given. Raises PeerError."""
        folder.mkdir(parents=True, exist_ok=True)
        listen6 = f"listen=udp:[{address6}]:5060\nlisten=tcp:[{address6}]:5060" if address6 else ""
        (folder / "kamailio.cfg").write_text("#!KAMAILIO\n" + TEMPLATE % {
            "address": address, "domain": DOMAIN, "ws": WS_PORT, "folder": folder, "listen6": listen6,
            "modules": "\n".join(f'loadmodule "{module}.so"' for module in MODULES),
            "no_answer": NO_ANSWER_MS, "away": AWAY_MS, "trace": 1 if collector else 0,
            "collector": collector or "127.0.0.1:9060",
            "trace_mode": 'modparam("siptrace", "trace_mode", 1)' if collector else "",
        })  # fmt: skip
        super().__init__(namespace, [
            "kamailio", "-f", str(folder / "kamailio.cfg"), "-DD", "-E", "-m", "32", "-M", "4",
            "-w", str(folder), "-Y", str(folder), "-P", str(folder / "pid"),
        ], folder)  # fmt: skip
        self._address, self._asked = address, 0

    def until_ready(self) -> None:
        answer = self.until_answered(self._address, SIP_PORT, options(self._address), own=(self._address, PROBE_PORT))
        if not answer.startswith(b"SIP/2.0 200"):
            raise PeerError(f"kamailio answered OPTIONS with {answer[:40]!r}")

    def rpc(self, method: str, *params: Any) -> Any:
        """A JSON-RPC call. Raises PeerError with its complaint."""
        self._asked += 1
        own = self.folder / f"rpc-client{self._asked}"
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as asking:
            asking.settimeout(RPC_LIMIT_S)
            asking.bind(str(own))
            try:
                request = {"jsonrpc": "2.0", "method": method, "params": list(params), "id": self._asked}
                asking.sendto(json.dumps(request).encode(), str(self.folder / "rpc"))
                answer = json.loads(asking.recv(65_535))
            finally:
                own.unlink(missing_ok=True)
        if "error" in answer:
            raise PeerError(f"kamailio {method}: {answer['error']}")
        return answer.get("result")

    def service(self, table: str, number: str, value: str) -> None:
        """Gives a subscriber a service: table cfu, cfb, cfnr (value: a number), route (a URI) or anchor ("1")."""
        self.rpc("htable.sets", table, number, value)

    def registered(self, number: str) -> bool:
        """Whether the registrar has a contact for a number."""
        try:
            return bool(self.rpc("ul.lookup", "location", number))
        except PeerError:
            return False
