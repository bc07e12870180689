"""`mediation status --openmetrics`: another's strict parser reads it, and nothing of an order moves it (SEC-19)."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.core import Metric
from prometheus_client.openmetrics import parser
from prometheus_client.parser import text_string_to_metric_families as node_exporter_format

from mediation.cli import openmetrics
from mediation.core.case import State
from mediation.core.interface.control import Report
from mediation.core.records.alarm import Alarm

NOW_S = 1_795_339_909
DAY_S = 86_400
parse: Callable[[str], Iterator[Metric]] = parser.text_string_to_metric_families
RULES = Path(__file__).resolve().parents[2] / "config" / "alerts" / "mediation.rules.yml"

IAP: dict[str, Any] = {
    "function": "iap", "tasks": 0, "lease": {"ends_ns": (NOW_S + DAY_S) * 10**9, "lapses": 0},
    "clock": {"error_ns": 1_250_000, "disciplined": True, "alarm": False, "ahead_ns": 900},
    "taps": [{
        "name": "access-1", "interface": "eth1", "frames": {
            "frames": 0, "to_media": 0, "flows_added": 0, "flows_failed": 0, "kernel_packets": 0, "kernel_drops": 0,
        },
        "filter": {"passed_signalling": 41, "passed_tcp_signalling": 1, "passed_media": 0, "dropped_other_flow": 7},
    }],
    "feeds": [{"name": "hep-1", "packets": {"hep_packets": 9, "hep_kernel_drops": 0, "hep_sip": 9}}],
    "reader": {"x2_octets": 0, "x2_lost": 0, "x3_octets": 0, "x3_lost": 0},
    "matcher": {
        "messages": 42, "malformed_cseq": 2, "malformed_version": 1, "matched": 0, "pdus": 0, "calls": 0,
        "calls_refused": 0, "tasks_refused": 0, "voice": 0, "voice_refused": 0, "flows_refused": 0, "out_lost": 0,
        "content_lost": 0, "content": 0,
    },
    "calls": {"recorded": 0}, "unrecorded_stops": 0, "unrecorded_suspensions": 0,
}  # fmt: skip
LINK: dict[str, Any] = {
    "link": "LAB/FBI-NY/792a", "agency": "FBI-NY", "state": "up", "queued": 0, "storage_failing": False,
    "latency_us": {"count": 0, "p99": 0, "within_8s": 0}, "counters": {"sent": 0}, "spool": {"received": 0, "lost": {}},
}  # fmt: skip
MEDIATOR: dict[str, Any] = {
    "function": "mediator", "tasks": 0, "lease": {"ends_ns": (NOW_S + DAY_S) * 10**9, "lapses": 0}, "calls": 0,
    "stops_not_saved": 0, "suspensions_not_saved": 0, "tracker": {"pdus": 0, "events": 0, "refused_unknown": 0},
    "content": {"streams": 0, "counters": {}, "links": []}, "links": [],
}  # fmt: skip
EGRESS: dict[str, Any] = {
    "function": "egress", "tasks": 0, "destinations": 0, "refused_packets": 0, "unrecorded_stops": 0,
    "unrecorded_suspensions": 0, "lease": {"ends_ns": (NOW_S + DAY_S) * 10**9, "lapses": 0},
}  # fmt: skip


def report(**changes: Any) -> Report:
    facts: dict[str, Any] = {
        "orders": {}, "counters": {"statements_unsigned": 0, "contact_due_seconds": 9 * DAY_S},
        "ledger": {"cosigned_s": NOW_S - 1, "size": 12, "witnesses": {"w1a": "cosigned", "w1b": "away"}},
        "functions": {"iap": IAP, "mediator": MEDIATOR, "egress": EGRESS},
    }  # fmt: skip
    return Report(**copy.deepcopy(facts | changes))


def text(said: Report | None) -> str:
    ends_s = {"delivery-certificate": NOW_S + 40 * DAY_S, "key": NOW_S - DAY_S}
    return openmetrics.render(
        said, version="1", lab=False, points=("access-1", "hep-1", "trunk-1"), clock=(16 * 10**9, False), ends_s=ends_s,
        now_s=NOW_S,
    )  # fmt: skip


def read(exposed: str) -> dict[str, Metric]:
    """Its families, by OpenMetrics' own parser: order, types, units, escapes, names, EOF."""
    return {family.name: family for family in parse(exposed)}


def value(exposed: str, family: str, **labels: str) -> float:
    (found,) = [sample.value for sample in read(exposed)[family].samples if sample.labels == labels]
    return float(found)


def test_the_strict_parser_reads_it() -> None:
    exposed = text(report())
    families = read(exposed)
    assert exposed.endswith("\n# EOF\n") and exposed.count("# EOF") == 1
    for name, family in families.items():
        assert family.documentation.endswith("."), name
        assert family.type in ("gauge", "counter"), name
        unit = name.rsplit("_", 1)[-1]
        assert family.unit == (unit if unit in ("seconds", "days") else ""), name
        assert all(sample.timestamp is None and sample.exemplar is None for sample in family.samples), name
    # The node exporter's textfile collector reads the older format: each sample is there too.
    older = {sample.name for family in node_exporter_format(exposed) for sample in family.samples}
    assert older == {sample.name for family in families.values() for sample in family.samples}
    assert value(exposed, "mediation_tap_signalling_packets", tap="access-1") == 42
    assert value(exposed, "mediation_signalling_malformed") == 3
    assert value(exposed, "mediation_stamp_error_bound_seconds") == 0.00125
    assert value(exposed, "mediation_witness_up", witness="w1a") == 1
    assert value(exposed, "mediation_witness_up", witness="w1b") == 0
    assert value(exposed, "mediation_expiry_days", of="delivery-certificate") == 40
    assert value(exposed, "mediation_expiry_days", of="key") == -1
    assert value(exposed, "mediation_expiry_days", of="contact-call") == 9


def busy(number: int) -> Report:
    """The same site with orders, an agency's link, and a call: each counter that an order moves says `number`."""
    iap, mediator, egress = copy.deepcopy(IAP), copy.deepcopy(MEDIATOR), copy.deepcopy(EGRESS)
    for name in ("matched", "pdus", "calls", "voice", "content"):
        iap["matcher"][name] = number
    for name in ("frames", "to_media", "flows_added", "kernel_packets"):
        iap["taps"][0]["frames"][name] = number
    iap["taps"][0]["filter"] |= {"passed_media": number, "dropped_other_flow": number}
    iap["reader"] |= {"x2_octets": number, "x3_octets": number}
    iap["calls"]["recorded"] = iap["tasks"] = mediator["tasks"] = egress["tasks"] = egress["destinations"] = number
    mediator |= {"calls": number, "tracker": {"pdus": number, "events": number, "refused_unknown": 0}}
    mediator["content"] |= {"streams": number, "counters": {"packets": number}}
    mediator["content"]["links"] = [{"agency": "FBI-NY", "sent": number, "lost_full": 0, "lost_down": 0}]
    link = copy.deepcopy(LINK) | {"queued": number, "counters": {"sent": number}}
    link["latency_us"] = {"count": number, "p99": number, "within_8s": number}
    link["spool"]["received"] = number
    mediator["links"] = [link]
    counters = {
        "statements_unsigned": 0,
        "contact_due_seconds": 9 * DAY_S,
        "orders_held": number,
        "requests_accepted": number,
        "certifications_unsigned": number,
        "certification_lag_seconds": number,
        "refused": number,
    } | {f"alarm_{each.value}": number for each in Alarm if each.value.startswith(("ends", "emergency", "certif"))}
    ledger = {"cosigned_s": NOW_S - 1, "size": number, "published_size": number, "root": "ab" * 32,
              "origin": "NAME/07", "witnesses": {"w1a": "cosigned", "w1b": "away"}}  # fmt: skip
    orders = {State.ACTIVE.value: 2, State.SUSPENDED.value: 1, State.EXPIRED.value: number}
    return report(
        orders=orders, counters=counters, ledger=ledger,
        functions={"iap": iap, "mediator": mediator, "egress": egress},
    )  # fmt: skip


@given(st.integers(min_value=1, max_value=1 << 62))
def test_whoever_watches_sees_no_order_no_call_and_no_act(number: int) -> None:
    """To the octet: else who may look could call a number, and see what moves."""
    assert text(busy(number)) == text(report())


@given(st.text(min_size=1, max_size=60), st.integers(min_value=1))
def test_a_counter_that_nobody_named_here_is_left_out(name: str, number: int) -> None:
    iap, mediator = copy.deepcopy(IAP), copy.deepcopy(MEDIATOR)
    unknown = f"new {name}"
    for part in (iap, iap["matcher"], iap["reader"], iap["taps"][0], iap["taps"][0]["frames"], mediator["tracker"]):
        part[unknown] = number
    said = report(functions={"iap": iap, "mediator": mediator, "egress": EGRESS})
    said.counters[unknown] = number
    assert text(said) == text(report())


def test_of_the_number_of_orders_only_its_class_is_told() -> None:
    said = [value(text(report(orders={"active": n})), "mediation_orders_class") for n in (0, 1, 64, 65, 256, 257)]
    assert said == [64, 64, 64, 256, 256, 1024]


def test_no_label_names_an_agency_a_case_or_a_person() -> None:
    exposed = text(busy(3))
    labels = {name for family in read(exposed).values() for sample in family.samples for name in sample.labels}
    assert labels == {"version", "function", "of", "witness", "alarm", "record", "fault", "tap", "feed"}
    assert "FBI" not in exposed and "NAME/07" not in exposed


def test_who_read_a_case_that_is_none_does_not_see_that_it_was_noticed() -> None:
    """SEC-22: by its name. That there is an incident is said, as of any other."""
    for each in openmetrics.INCIDENTS:
        exposed = text(report(counters={f"alarm_{each.value}": 1}))
        assert value(exposed, "mediation_alarms", alarm="incident") == 1
        assert "honey" not in exposed and "tap\"" not in exposed  # fmt: skip


def spoilt(function: str, fault: str) -> dict[str, Any]:
    """The report of a function in which this went wrong."""
    iap, mediator, egress = copy.deepcopy(IAP), copy.deepcopy(MEDIATOR), copy.deepcopy(EGRESS)
    link = copy.deepcopy(LINK)
    lossy = {**mediator["content"], "links": [{"lost_down": 1}]}
    match function, fault:
        case "iap", "clock":
            iap["clock"]["alarm"] = True
        case "iap", "messages-lost":
            iap["reader"]["x2_lost"] = 1
        case "iap", "content-lost":
            iap["matcher"]["content_lost"] = 1
        case "iap", "table-full":
            iap["matcher"]["voice_refused"] = 1
        case "iap", "flows-refused":
            iap["taps"][0]["frames"]["flows_failed"] = 1
        case "mediator", "link-down":
            mediator["links"] = [link, link | {"state": "connecting"}]
        case "mediator", "link-refused":
            mediator["links"] = [link | {"state": "refused"}]
        case "mediator", "storage":
            mediator["links"] = [link | {"storage_failing": True}]
        case "mediator", "messages-lost":
            mediator["links"] = [link | {"spool": {"lost": {"storage": 1}}}]
        case "mediator", "content-lost":
            mediator["content"] = lossy
        case "mediator", "late":
            mediator["links"] = [link | {"latency_us": {"count": 100, "within_8s": 94}}]
        case "mediator", "unknown-order":
            mediator["tracker"]["refused_unknown"] = 1
        case "mediator", "not-saved":
            mediator["stops_not_saved"] = 1
        case "egress", "packets-refused":
            egress["refused_packets"] = 1
        case _, "not-saved":
            (iap if function == "iap" else egress)["unrecorded_stops"] = 1
    return {"iap": iap, "mediator": mediator, "egress": egress}


@pytest.mark.parametrize(
    ("function", "fault"), [(name, fault) for name, faults in openmetrics.FAULTS.items() for fault in faults]
)
def test_each_fault_is_one_bit(function: str, fault: str) -> None:
    assert value(text(report()), "mediation_fault", function=function, fault=fault) == 0
    exposed = text(report(functions=spoilt(function, fault)))
    assert value(exposed, "mediation_fault", function=function, fault=fault) == 1


def test_what_is_away_is_said_and_the_rest_stays() -> None:
    exposed = text(report(functions={"iap": None, "mediator": MEDIATOR}))
    assert value(exposed, "mediation_function_up", function="iap") == 0
    assert value(exposed, "mediation_stamp_error_bound_seconds") == 16  # as this host sees it
    assert not read(exposed)["mediation_signalling_messages"].samples
    exposed = text(None)
    assert value(exposed, "mediation_function_up", function="administrator") == 0
    assert value(exposed, "mediation_expiry_days", of="key") == -1


def test_a_function_that_is_not_ours_any_more_names_nothing() -> None:
    iap = copy.deepcopy(IAP)
    iap["taps"] += [{**iap["taps"][0], "name": "+12025550123"}, iap["taps"][0]]
    assert text(report(functions={"iap": iap, "mediator": MEDIATOR, "egress": EGRESS})) == text(report())


@given(st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
        st.sampled_from(["taps", "frames", "name", "clock", "links", "spool", "lost", "lease", "matcher", "content",
                         "error_ns", "state", "kernel_drops", "ends_ns", "x"]), inner, max_size=4), max_leaves=20,
))  # fmt: skip
def test_whatever_a_function_says_the_text_is_well_formed(said: Any) -> None:
    """A function is not ours when it is taken over."""
    whole = said if isinstance(said, dict) else {"taps": said, "lease": said, "links": said, "matcher": said}
    for function in ("iap", "mediator", "egress"):
        read(text(report(functions={function: whole}, ledger={"witnesses": said}, alarms={})))


def test_the_alerts_ask_for_what_there_is() -> None:
    exposed = read(text(report()))
    samples = {sample.name for family in exposed.values() for sample in family.samples}
    said = {v for family in exposed.values() for sample in family.samples for v in sample.labels.values()}
    rules = RULES.read_text()
    asked = set(re.findall(r"\bmediation_[a-z_]+", rules))
    assert asked <= samples and len(asked) > 8, asked - samples
    for matched in re.findall(r'(?:alarm|fault|function)(?:=~|!~|=)"([^"]+)"', rules):
        assert set(matched.split("|")) <= said, matched
    assert rules.count("- alert:") == rules.count("summary:") == rules.count("do:") == rules.count("severity:")
