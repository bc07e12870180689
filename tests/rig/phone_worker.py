"""The process behind `Phone`: one pjsua2 2.15 endpoint in a namespace, told by JSON lines, telling by JSON lines.

Runs with the standard library and pjsua2 alone. One thread does everything: pjsua2's objects are not used from any
other. pjsua2 ends the process at REFER and Replaces unless the callbacks give it the new call, so they do.
"""

from __future__ import annotations

import json
import os
import select
import sys
from contextlib import suppress
from typing import Any

import pjsua2 as pj

POLL_MS = 10
ENDPOINT = pj.Endpoint()
CALLS: dict[int, Call] = {}
ACCOUNTS: dict[str, Account] = {}
KEEP: list[object] = []  # pjsua2 frees what Python forgets, in the middle of its own callbacks


def tell(event: str, **fields: Any) -> None:
    sys.stdout.write(json.dumps({"event": event, **fields}) + "\n")
    sys.stdout.flush()


class Call(pj.Call):
    """One call; calls are named by pjsua's own numbers."""

    def __init__(self, account: Account, number: int = pj.PJSUA_INVALID_ID) -> None:
        super().__init__(account, number)
        self.account = account
        self.hears: int | None = None

    def onCallState(self, prm: pj.OnCallStateParam) -> None:
        info = self.getInfo()
        CALLS[info.id] = self
        tell("state", call=info.id, state=info.stateText, status=info.lastStatusCode, call_id=info.callIdString)

    def onCallTsxState(self, prm: pj.OnCallTsxStateParam) -> None:
        change = prm.e.body.tsxState
        if change.type == pj.PJSIP_EVENT_RX_MSG and change.src.rdata.wholeMsg.startswith("SIP/2.0 "):
            info = self.getInfo()
            status = int(change.src.rdata.wholeMsg[8:11])
            tell("heard", call=info.id, status=status, method=change.tsx.method, call_id=info.callIdString)

    def onCallMediaState(self, prm: pj.OnCallMediaStateParam) -> None:
        info = self.getInfo()
        for media in info.media:
            if media.type == pj.PJMEDIA_TYPE_AUDIO:
                tell("media", call=info.id, active=media.status == pj.PJSUA_CALL_MEDIA_ACTIVE, status=media.status)

    def onCallTransferRequest(self, prm: pj.OnCallTransferRequestParam) -> None:
        new = Call(self.account)
        KEEP.append(new)  # the one that Python made: what the attribute gives back is another
        prm.newCall = new
        tell("refer", call=self.getId(), to=prm.dstUri)

    def onCallReplaceRequest(self, prm: pj.OnCallReplaceRequestParam) -> None:
        new = Call(self.account)
        KEEP.append(new)  # the one that Python made: what the attribute gives back is another
        prm.newCall = new
        tell("replace", call=self.getId())

    def onCallReplaced(self, prm: pj.OnCallReplacedParam) -> None:
        tell("replaced", call=self.getId(), new=prm.newCallId)

    def onDtmfDigit(self, prm: pj.OnDtmfDigitParam) -> None:
        tell("digit", call=self.getId(), digit=prm.digit)

    def onCallTransferStatus(self, prm: pj.OnCallTransferStatusParam) -> None:
        tell("transfer", call=self.getId(), status=prm.statusCode, final=prm.finalNotify)


class Account(pj.Account):
    """One number of the phone."""

    def __init__(self, user: str) -> None:
        super().__init__()
        self.user = user

    def onRegState(self, prm: pj.OnRegStateParam) -> None:
        tell("registered", user=self.user, status=prm.code, expires=prm.expiration)

    def onIncomingCall(self, prm: pj.OnIncomingCallParam) -> None:
        call = Call(self, prm.callId)
        KEEP.append(call)
        CALLS[prm.callId] = call
        tell("incoming", user=self.user, call=prm.callId, message=prm.rdata.wholeMsg)

    def onInstantMessage(self, prm: pj.OnInstantMessageParam) -> None:
        tell("message", user=self.user, text=prm.msgBody)

    def onMwiInfo(self, prm: pj.OnMwiInfoParam) -> None:
        tell("mwi", user=self.user)


def headers(wanted: dict[str, str]) -> pj.SipHeaderVector:
    made = pj.SipHeaderVector()
    for name, value in wanted.items():
        one = pj.SipHeader()
        one.hName, one.hValue = name, value
        made.append(one)
    return made


def operation(more: dict[str, Any], status: int = 0) -> pj.CallOpParam:
    made = pj.CallOpParam(True)
    made.statusCode = status
    if more.get("headers"):
        made.txOption.headers = headers(more["headers"])
    if more.get("offerless"):
        made.opt.flag |= pj.PJSUA_CALL_NO_SDP_OFFER
    return made


def account(*, user: str, sbc: str, domain: str, register: bool = True, transport: str = "udp", expires: int = 60,
            prack: bool = False, timer: int = 0, mwi: bool = False, rtp_port: int = 6000,
            srtp: bool = False) -> None:  # fmt: skip
    settings = pj.AccountConfig()
    settings.idUri = f"sip:{user}@{domain}"
    settings.regConfig.registrarUri = f"sip:{domain}" if register else ""
    settings.regConfig.registerOnAdd = register
    settings.regConfig.timeoutSec = expires
    settings.regConfig.retryIntervalSec = 0
    settings.sipConfig.proxies.append(f"sip:{sbc};lr" + (";transport=tcp" if transport == "tcp" else ""))
    settings.callConfig.prackUse = pj.PJSUA_100REL_MANDATORY if prack else pj.PJSUA_100REL_NOT_USED
    settings.callConfig.timerUse = pj.PJSUA_SIP_TIMER_ALWAYS if timer else pj.PJSUA_SIP_TIMER_INACTIVE
    if timer:
        settings.callConfig.timerMinSESec = timer
        settings.callConfig.timerSessExpiresSec = timer
    settings.mediaConfig.transportConfig.port = rtp_port
    settings.mediaConfig.srtpUse = pj.PJMEDIA_SRTP_MANDATORY if srtp else pj.PJMEDIA_SRTP_DISABLED
    settings.mediaConfig.srtpSecureSignaling = 0
    settings.mwiConfig.enabled = mwi
    settings.natConfig.contactRewriteUse = 0
    settings.natConfig.viaRewriteUse = 0
    settings.natConfig.sdpNatRewriteUse = 0
    made = Account(user)
    made.create(settings)
    ACCOUNTS[user] = made
    tell("account", user=user)


def command(act: str, more: dict[str, Any]) -> None:
    """One order of the test."""
    match act:
        case "account":
            account(**more)
        case "forget":
            # Its calls are over, or are ended here: the next test finds the phone empty.
            for call in [call for call in CALLS.values() if call.account.user == more["user"] and call.isActive()]:
                with suppress(Exception):  # the other side was faster
                    call.hangup(operation({}))
            ACCOUNTS.pop(more["user"]).shutdown()
        case "unregister":
            ACCOUNTS[more["user"]].setRegistration(False)
        case "refresh":
            ACCOUNTS[more["user"]].setRegistration(True)
        case "dial":
            owner = ACCOUNTS[more["user"]]
            call = Call(owner)
            KEEP.append(call)
            call.makeCall(more["to"], operation(more))
            CALLS[call.getId()] = call
            tell("dialed", call=call.getId(), call_id=call.getInfo().callIdString)
        case "answer":
            CALLS[more["call"]].answer(operation(more, more.get("status", 200)))
        case "hangup":
            CALLS[more["call"]].hangup(operation(more, more.get("status", 0)))
        case "hold":
            CALLS[more["call"]].setHold(operation(more))
        case "retrieve":
            parameters = operation(more)
            parameters.opt.flag |= pj.PJSUA_CALL_UNHOLD
            CALLS[more["call"]].reinvite(parameters)
        case "reinvite":
            CALLS[more["call"]].reinvite(operation(more))
        case "update":
            CALLS[more["call"]].update(operation(more))
        case "digits":
            parameters = pj.CallSendDtmfParam()
            parameters.digits, parameters.duration = more["digits"], more.get("duration", 100)
            parameters.method = {"rfc4733": pj.PJSUA_DTMF_METHOD_RFC2833, "info": pj.PJSUA_DTMF_METHOD_SIP_INFO}[
                more.get("method", "rfc4733")
            ]
            CALLS[more["call"]].sendDtmf(parameters)
        case "refer":
            CALLS[more["call"]].xfer(more["to"], operation(more))
        case "replace":
            CALLS[more["call"]].xferReplaces(CALLS[more["other"]], operation(more))
        case "message":
            parameters = pj.SendInstantMessageParam()
            parameters.content = more["text"]
            buddy = pj.Buddy()
            settings = pj.BuddyConfig()
            settings.uri, settings.subscribe = more["to"], False
            buddy.create(ACCOUNTS[more["user"]], settings)
            KEEP.append(buddy)
            buddy.sendInstantMessage(parameters)
        case "info":
            parameters = pj.CallSendRequestParam()
            parameters.method = "INFO"
            parameters.txOption.contentType, parameters.txOption.msgBody = more["kind"], more["body"]
            CALLS[more["call"]].sendRequest(parameters)
        case _:
            raise ValueError(f"unknown act {act}")


def main(address: str) -> None:
    """Serves until standard input ends."""
    settings = pj.EpConfig()
    settings.uaConfig.threadCnt, settings.uaConfig.mainThreadOnly = 0, True
    settings.uaConfig.maxCalls = 8
    settings.logConfig.level = settings.logConfig.consoleLevel = int(os.environ.get("PHONE_LOG", "1"))
    settings.medConfig.noVad = True
    settings.medConfig.hasIoqueue = False
    settings.medConfig.ecTailLen = 0
    settings.medConfig.sndAutoCloseTime = -1  # its clock drives RTP; nothing is played, so it would stop in mid-call
    ENDPOINT.libCreate()
    ENDPOINT.libInit(settings)
    for kind in (pj.PJSIP_TRANSPORT_UDP, pj.PJSIP_TRANSPORT_TCP):
        transport = pj.TransportConfig()
        transport.port, transport.boundAddress, transport.publicAddress = 5060, address, address
        ENDPOINT.transportCreate(kind, transport)
    ENDPOINT.libStart()
    ENDPOINT.audDevManager().setNullDev()
    for codec in ENDPOINT.codecEnum2():
        ENDPOINT.codecSetPriority(codec.codecId, {"PCMU/8000/1": 255, "PCMA/8000/1": 254}.get(codec.codecId, 0))
    tell("ready")
    pending = b""
    while True:
        ENDPOINT.libHandleEvents(POLL_MS)
        if not select.select([0], [], [], 0)[0]:
            continue
        octets = os.read(0, 65_536)
        if not octets:
            break
        *lines, pending = (pending + octets).split(b"\n")
        for line in lines:
            order = json.loads(line)
            act, number = order.pop("act"), order.pop("order")
            try:
                command(act, order)
            except Exception as problem:  # whatever pjsua2 says is the test's to know
                reason = " ".join(str(getattr(problem, "reason", problem)).split())
                tell("done", order=number, complaint=f"{act}: {reason}")
            else:
                tell("done", order=number, complaint="")
    sys.stdout.flush()
    os._exit(0)  # the namespace goes away: no farewell on the wire, no order of destruction to get wrong


if __name__ == "__main__":
    main(sys.argv[1])
