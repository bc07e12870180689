"""`mediation status --openmetrics`: a site's state for the monitoring of the carrier, in the text of OpenMetrics 1.0.

Answers for one thing beside the format: that nobody who reads or keeps these figures learns from them who is a subject,
or when. Time series are kept for months and read by many, and whoever may look at them can call a number and see what
moves. So there is no label with a case, an agency or an identity, and nothing that the traffic or the life of an order
moves: no count of matched, delivered or waiting messages, no latency, no number or end of an order below the class that
a stolen disk tells as well (SEC-19, runtime/cover.py). What is missing by a fault is one bit for each function and
fault, set until the function starts again. The series are the same ones whatever orders there are. A counter that
becomes known to a function is not in here before it is named below.

Trust: none. What functions report is taken for numbers only if it is one, and is 0 otherwise.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, Final

from mediation.cli.expiries import DAY_S
from mediation.core.case import LIVE
from mediation.core.interface.control import Report
from mediation.core.records.alarm import Alarm
from mediation.core.units import NS
from mediation.runtime import cover

EOF: Final = "# EOF\n"
COSIGNED: Final = "cosigned"  # administration/ledger/asking.py, Outcome
LATE_PER_CENT: Final = 95  # of the messages within 8 s: 47 CFR 1.20007(a)(14)
UP: Final = "up"  # delivery/sender.py, LinkState
REFUSED: Final = "refused"

# Alarms that say nothing of the life of an order. The others (an order's end, its certification) are the officer's:
# `case list` has them, and the ledger.
OPERATING: Final = (
    Alarm.WITNESSES_AWAY, Alarm.WITNESSES_CONFLICT, Alarm.LEDGER_REPLACED, Alarm.LEASE_ENDING, Alarm.DISK_FULL,
    Alarm.LEDGER_EDITED, Alarm.FUNCTION_REFUSED, Alarm.FUNCTION_SILENT, Alarm.CODE_CHANGED, Alarm.AUTHENTICATION,
    Alarm.RECONCILER_SILENT, Alarm.RECONCILER_BLIND, Alarm.TAP_GONE, Alarm.CONTACT_DUE, Alarm.CONTACT_OVERDUE,
    Alarm.CONTACT_MISSED, Alarm.AMENDMENT_DUE, Alarm.AMENDMENT_OVERDUE, Alarm.MODIFICATION_DUE,
    Alarm.MODIFICATION_OVERDUE, Alarm.STATEMENT_DUE, Alarm.STATEMENT_OVERDUE,
)  # fmt: skip
# One name for these: who read a case that nobody ordered shall not see in the monitoring that it was noticed (SEC-22).
INCIDENTS: Final = (
    Alarm.INCIDENT, Alarm.UNAUTHORIZED_TAP, Alarm.EGRESS_REFUSED, Alarm.HONEY_CASE, Alarm.ORDER_LOST,
)  # fmt: skip
STANDING: Final = (
    Alarm.FUNCTION_REFUSED, Alarm.FUNCTION_SILENT, Alarm.WITNESSES_AWAY, Alarm.WITNESSES_CONFLICT,
    Alarm.LEDGER_REPLACED,
)  # fmt: skip
RECORDS: Final = {
    "statement": "statements_unsigned", "plan-amendment": "amendments_open", "plan-modification": "modifications_open",
}  # fmt: skip
DUE: Final = {
    "contact-call": "contact_due_seconds", "plan-amendment": "amendment_due_seconds",
    "plan-modification": "modification_due_seconds",
}  # fmt: skip

Labels = Mapping[str, str]
Said = Mapping[str, Any]  # what a function reports of itself


def _number(said: Any, *way: str) -> int:
    """The number at the end of `way`; 0 when there is none."""
    for name in way:
        said = said.get(name) if isinstance(said, dict) else None
    return int(said) if isinstance(said, int) else 0


def _part(said: Any, name: str) -> Said:
    found = said.get(name) if isinstance(said, dict) else None
    return found if isinstance(found, dict) else {}


def _each(said: Any, name: str) -> list[Said]:
    found = said.get(name) if isinstance(said, dict) else None
    return [each for each in found if isinstance(each, dict)] if isinstance(found, list) else []


def _any(said: Said, *ways: tuple[str, ...]) -> bool:
    return any(_number(said, *way) for way in ways)


def _links(said: Said, fits: Callable[[Said], bool]) -> bool:
    return any(fits(each) for each in _each(said, "links"))


def _late(link: Said) -> bool:
    return 100 * _number(link, "latency_us", "within_8s") < LATE_PER_CENT * _number(link, "latency_us", "count")


def _lost(link: Said) -> bool:
    lost = _part(_part(link, "spool"), "lost")
    return any(_number(lost, name) for name in lost)


def _content_lost(said: Said) -> bool:
    content = _part(said, "content")
    own = _number(content, "counters", "lost_unbound") > 0
    return own or any(_any(each, ("lost_full",), ("lost_down",)) for each in _each(content, "links"))


# What is wrong in a function since its start, or now (links). `mediation status` has the counter behind each.
FAULTS: Final[dict[str, dict[str, Callable[[Said], bool]]]] = {
    "iap": {
        "clock": lambda said: _any(said, ("clock", "alarm")),
        "messages-lost": lambda said: _any(said, ("reader", "x2_lost"), ("matcher", "out_lost")),
        "content-lost": lambda said: _any(said, ("reader", "x3_lost"), ("matcher", "content_lost")),
        "table-full": lambda said: _any(
            said, ("matcher", "calls_refused"), ("matcher", "tasks_refused"), ("matcher", "voice_refused")
        ),
        "flows-refused": lambda said: (
            _any(said, ("matcher", "flows_refused"))
            or any(_any(tap, ("frames", "flows_failed")) for tap in _each(said, "taps"))
        ),
        "not-saved": lambda said: _any(said, ("unrecorded_stops",), ("unrecorded_suspensions",)),
    },
    "mediator": {
        "link-down": lambda said: _links(said, lambda link: link.get("state") != UP),
        "link-refused": lambda said: _links(said, lambda link: link.get("state") == REFUSED),
        "storage": lambda said: _links(said, lambda link: link.get("storage_failing") is True),
        "messages-lost": lambda said: _links(said, _lost),
        "content-lost": _content_lost,
        "late": lambda said: _links(said, _late),
        "unknown-order": lambda said: _any(said, ("tracker", "refused_unknown")),
        "not-saved": lambda said: _any(said, ("stops_not_saved",), ("suspensions_not_saved",)),
    },
    "egress": {
        "packets-refused": lambda said: _any(said, ("refused_packets",)),
        "not-saved": lambda said: _any(said, ("unrecorded_stops",), ("unrecorded_suspensions",)),
    },
}  # fmt: skip


class Text:
    """Families of metrics, one after the other; each is complete before the next begins."""

    def __init__(self) -> None:
        self._lines: list[str] = []

    def gauge(self, name: str, words: str, samples: Iterable[tuple[Labels, float]], unit: str = "") -> None:
        name = f"mediation_{name}" + (f"_{unit}" if unit else "")
        self._family(name, "gauge", words, [f"# UNIT {name} {unit}"] if unit else [])
        self._samples(name, samples)

    def counter(self, name: str, words: str, samples: Iterable[tuple[Labels, float]]) -> None:
        """`name` without its `_total`."""
        self._family(f"mediation_{name}", "counter", words, [])
        self._samples(f"mediation_{name}_total", samples)

    def done(self) -> str:
        return "".join(f"{line}\n" for line in self._lines) + EOF

    def _family(self, name: str, kind: str, words: str, unit: list[str]) -> None:
        # Gauges and counters alone: the node exporter's parser knows no info and no stateset.
        self._lines += [f"# HELP {name} {_escaped(words)}", f"# TYPE {name} {kind}", *unit]

    def _samples(self, name: str, samples: Iterable[tuple[Labels, float]]) -> None:
        for labels, value in samples:
            inside = ",".join(f'{label}="{_escaped(said)}"' for label, said in labels.items())
            self._lines.append(f"{name}{f'{{{inside}}}' if inside else ''} {_value(value)}")


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')


def _value(value: float) -> str:
    return str(int(value)) if value == int(value) else repr(value)


def render(
    report: Report | None, *, version: str, lab: bool, points: Collection[str], clock: tuple[int, bool],
    ends_s: Mapping[str, int], now_s: int,
) -> str:  # fmt: skip
    """The whole text. `report` None: the administrator does not answer, and what it alone knows is missing. `points`:
    the site's access points. `clock`: (bound of the error in ns, whether it is disciplined) as this host sees it, while
    the access function says nothing; `ends_s`: when certificates, keys and appointments end (seconds since 1970)."""
    text = Text()
    text.gauge("build_info", "The release that wrote this.", [({"version": version}, 1)])
    text.gauge("lab", "Whether this is a lab site, which intercepts nobody.", [({}, lab)])
    text.gauge("written_timestamp", "When this was written.", [({}, now_s)], "seconds")
    up: dict[str, bool] = {"administrator": report is not None}
    up |= {name: said is not None for name, said in sorted(report.functions.items())} if report is not None else {}
    text.gauge(
        "function_up", "Whether the function answers.", [({"function": name}, is_up) for name, is_up in up.items()]
    )
    functions = {name: said for name, said in report.functions.items() if said is not None} if report else {}
    _clock(text, functions.get("iap"), clock)
    days = {what: (end_s - now_s) / DAY_S for what, end_s in ends_s.items()}
    if report is not None:
        days |= {what: report.counters[name] / DAY_S for what, name in DUE.items() if name in report.counters}
    text.gauge(
        "expiry", "Until the next certificate, key, appointment or duty of this kind is over; negative: it is.",
        [({"of": what}, round(left, 2)) for what, left in sorted(days.items())], "days",
    )  # fmt: skip
    if report is not None:
        _administration(text, report)
    _functions(text, functions, points)
    return text.done()


def _clock(text: Text, iap: Said | None, host: tuple[int, bool]) -> None:
    said = _part(iap, "clock")
    error_ns, disciplined = (_number(said, "error_ns"), _number(said, "disciplined") > 0) if said else host
    text.gauge(
        "stamp_error_bound", "What is proven of the error of a time stamp (the rule: 0.2).",
        [({}, error_ns / NS)], "seconds",
    )  # fmt: skip
    text.gauge("clock_disciplined", "Whether chrony or ptp4l disciplines the clock.", [({}, disciplined)])


def _administration(text: Text, report: Report) -> None:
    live = sum(count for state, count in report.orders.items() if state in LIVE)
    text.gauge(
        "orders_class", f"At most so many orders are live: the class of their number, {cover.LEAST} at least.",
        [({}, cover.wanted(live))],
    )  # fmt: skip
    text.gauge(
        "ledger_cosigned_timestamp", "When a quorum of witnesses last cosigned the head of the ledger.",
        [({}, _number(report.ledger, "cosigned_s"))], "seconds",
    )  # fmt: skip
    witnesses = report.ledger.get("witnesses")
    text.gauge(
        "witness_up", "Whether the witness cosigned when it was last asked.",
        [({"witness": str(name)}, said == COSIGNED) for name, said in sorted(witnesses.items())]
        if isinstance(witnesses, dict) else [],
    )  # fmt: skip
    text.gauge(
        "alarm", "Whether the condition of this alarm stands now.",
        [({"alarm": each.value}, each.value in report.alarms) for each in STANDING],
    )  # fmt: skip
    raised = {each.value: _number(report.counters, f"alarm_{each.value}") for each in OPERATING}
    raised["incident"] = sum(_number(report.counters, f"alarm_{each.value}") for each in INCIDENTS)
    text.counter(
        "alarms", "Alarms since the administrator started; incident: of any kind.",
        [({"alarm": name}, count) for name, count in sorted(raised.items())],
    )  # fmt: skip
    text.gauge(
        "records_open", "Duties of record that are open.",
        [({"record": what}, _number(report.counters, name)) for what, name in RECORDS.items()],
    )  # fmt: skip


def _named(said: Said, what: str, points: Collection[str]) -> list[tuple[str, Said]]:
    """Access points by the names that the site gave them: a function that is not ours any more names nothing here."""
    found = {each.get("name"): each for each in _each(said, what) if isinstance(each.get("name"), str)}
    return [(name, found[name]) for name in points if name in found]


def _functions(text: Text, functions: Mapping[str, Said], points: Collection[str]) -> None:
    leases = [
        ({"function": name}, lease) for name, said in sorted(functions.items()) if (lease := _part(said, "lease"))
    ]
    text.gauge(
        "lease_end_timestamp", "Until then running cases go on without the witnesses.",
        [(labels, _number(lease, "ends_ns") // NS) for labels, lease in leases], "seconds",
    )  # fmt: skip
    text.counter(
        "lease_lapses", "Leases that lapsed since the function started.",
        [(labels, _number(lease, "lapses")) for labels, lease in leases],
    )  # fmt: skip
    text.gauge(
        "fault", "Whether this went wrong since the function started; of a link: whether it is so now.",
        [
            ({"function": name, "fault": fault}, is_so(functions[name]))
            for name, faults in FAULTS.items() if name in functions for fault, is_so in faults.items()
        ],
    )  # fmt: skip
    iap = functions.get("iap", {})
    taps = [({"tap": name}, tap) for name, tap in _named(iap, "taps", points)]
    text.counter(
        "tap_dropped_packets", "Packets for which the ring had no room.",
        [(labels, _number(tap, "frames", "kernel_drops")) for labels, tap in taps],
    )  # fmt: skip
    text.counter(
        "tap_signalling_packets", "Packets of anybody's signalling that the kernel's filter passed.",
        [
            (labels, _number(tap, "filter", "passed_signalling") + _number(tap, "filter", "passed_tcp_signalling"))
            for labels, tap in taps
        ],
    )  # fmt: skip
    feeds = [({"feed": name}, feed.get("packets")) for name, feed in _named(iap, "feeds", points)]
    text.counter(
        "feed_packets", "Datagrams of the feed.", [(labels, _number(feed, "hep_packets")) for labels, feed in feeds]
    )
    text.counter(
        "feed_dropped_packets", "Datagrams of the feed for which its socket had no room.",
        [(labels, _number(feed, "hep_kernel_drops")) for labels, feed in feeds],
    )  # fmt: skip
    matcher = _part(iap, "matcher")
    malformed = sum(_number(matcher, name) for name in matcher if name.startswith("malformed_"))
    text.counter(
        "signalling_messages", "Messages of anybody's signalling that were read.",
        [({}, _number(matcher, "messages"))] if matcher else [],
    )  # fmt: skip
    text.counter("signalling_malformed", "Messages that could not be read.", [({}, malformed)] if matcher else [])
