"""When a difference is believed: the judge's table, one row each, and letters that name one agency's cases alone."""

from __future__ import annotations

import random

import pytest

from mediation.core.errors import RemoteProtocolError
from mediation.core.records import incident
from mediation.core.records.incident import Finding, Observation, Rule, Sight, Tap, What
from mediation.core.records.reconciliation import AWAY_S, LATE_S, MAX_INTERVAL_S, PATIENCE_S, Judge, Reported, silent

S = 1_000_000
POINTS = [("eth1", "")]
OURS = Sight(what=What.PACKET_SOCKET, interface="eth1", protocol=3, uid=0, inode=10)
OTHER = Sight(what=What.PACKET_SOCKET, interface="eth2", protocol=3, uid=0, inode=20)
NEAR = Sight(what=What.PACKET_SOCKET, interface="eth1", protocol=3, uid=0, inode=30)
SAID = Reported(taps=(Tap("a", "eth1", "", 10),), tasks={"iap": 2}, armed={"iap": 2})


def seen(second: float, *sights: Sight, more: int = 0, unseen: tuple[str, ...] = ()) -> Observation:
    return Observation(number=1, time_us=int(second * S), interval_s=30, sights=sights, more=more, unseen=unseen)


def judge(*rules: Rule) -> Judge:
    return Judge(rules, POINTS)


def believed(judged: Judge, second: float, *sights: Sight, said: Reported | None = SAID, live: int = 2) -> list[What]:
    return [finding.what for finding in judged.observe(seen(second, *sights), said, live=live).believed]


def test_our_own_tap_is_no_difference() -> None:
    judged = judge()
    for second in range(0, 100, 10):
        verdict = judged.observe(seen(second, OURS), SAID, live=2)
        assert (verdict.believed, verdict.differences, verdict.again, verdict.taps) == ((), 0, False, 1)


def test_a_stranger_is_asked_for_twice_and_believed_once() -> None:
    judged = judge()
    first = judged.observe(seen(0, OURS, OTHER), SAID, live=2)
    assert first.again
    assert first.believed == ()
    second = judged.observe(seen(2, OURS, OTHER), SAID, live=2)
    (finding,) = second.believed
    assert (finding.what, finding.sight, finding.first_us, second.differences) == (What.PACKET_SOCKET, OTHER, 0, 1)
    third = judged.observe(seen(32, OURS, OTHER), SAID, live=2)
    assert (third.believed, third.differences, third.again) == ((), 1, False)
    assert judged.observe(seen(62, OURS), SAID, live=2).differences == 0
    assert believed(judged, 92, OURS, OTHER) == []
    assert believed(judged, 94, OURS, OTHER) == [What.PACKET_SOCKET]  # a second time is another incident


def test_what_is_gone_at_the_second_look_was_nothing() -> None:
    judged = judge()
    assert believed(judged, 0, OURS, NEAR) == []
    assert believed(judged, 2, OURS) == []
    assert believed(judged, 4, OURS, NEAR) == []


def test_who_opens_another_socket_before_each_look_is_believed_within_the_minute() -> None:
    """Not the same socket twice, so never confirmed; and never not there."""
    judged = judge()
    now, found = 1, []
    while not found and now < 60 - MAX_INTERVAL_S:
        stranger = Sight(what=What.PACKET_SOCKET, interface="eth2", protocol=3, uid=0, inode=100 + now)
        verdict = judged.observe(seen(now, OURS, stranger), SAID, live=2)
        assert verdict.again
        found = list(verdict.believed)
        now += 2
    assert [(each.what, each.first_us, each.sight) for each in found] == [(What.PACKET_SOCKET, S, stranger)]
    assert verdict.differences == 1
    for _ in range(30):  # one incident, however long it goes on
        now += 2
        verdict = judged.observe(
            seen(now, OURS, Sight(what=What.PACKET_SOCKET, interface="*", inode=now)), SAID, live=2
        )
        assert (verdict.believed, verdict.differences) == ((), 1)
    assert judged.observe(seen(now + 2, OURS), SAID, live=2).differences == 0


def test_rules_under_another_name_at_each_look_are_believed_too() -> None:
    judged = judge()
    looks = [Sight(what=What.DUPLICATION, detail=f"nft t{second} c dup") for second in range(0, AWAY_S + 1, 2)]
    found = [believed(judged, 2 * number, OURS, rule) for number, rule in enumerate(looks)]
    assert found == [*([[]] * (AWAY_S // 2)), [What.DUPLICATION]]


def test_strangers_with_a_look_without_one_between_them_are_not_one() -> None:
    judged = judge()
    for second in range(0, 100, 4):
        stranger = Sight(what=What.PACKET_SOCKET, interface="eth2", inode=100 + second)
        assert believed(judged, second, OURS, stranger) == []
        assert believed(judged, second + 2, OURS) == []


def test_another_socket_beside_ours_at_our_own_interface_is_a_stranger() -> None:
    judged = judge()
    believed(judged, 0, OURS, NEAR)
    assert believed(judged, 2, OURS, NEAR) == [What.PACKET_SOCKET]


def test_a_restart_of_the_access_function_is_waited_for_but_not_for_ever() -> None:
    judged = judge()
    away: Reported | None = None
    for second in range(0, AWAY_S, 2):
        assert believed(judged, second, NEAR, said=away) == []
    again = Reported(taps=(Tap("a", "eth1", "", 30),))
    assert believed(judged, AWAY_S, NEAR, said=again) == []  # it was its own

    judged = judge()
    for second in range(0, AWAY_S, 2):
        assert believed(judged, second, NEAR, said=away) == []
    assert sorted(believed(judged, AWAY_S + 1, NEAR, said=away)) == [What.PACKET_SOCKET, What.TAP_GONE]


def test_a_stranger_elsewhere_does_not_wait_for_the_access_function() -> None:
    judged = judge()
    believed(judged, 0, OTHER, said=None)
    assert believed(judged, 2, OTHER, said=None) == [What.PACKET_SOCKET]


def test_the_access_function_accounts_for_one_socket_at_each_of_its_points_and_no_more() -> None:
    """A compromised access function cannot declare others' sockets its own."""
    claim = Reported(taps=(Tap("a", "eth1", "", 10), Tap("a", "eth1", "", 30), Tap("b", "eth2", "", 20)))
    judged = judge()
    believed(judged, 0, OURS, NEAR, OTHER, said=claim)
    assert len(believed(judged, 2, OURS, NEAR, OTHER, said=claim)) == 2


def test_an_inode_accounts_for_its_own_interface_only() -> None:
    moved = Sight(what=What.PACKET_SOCKET, interface="eth2", protocol=3, uid=0, inode=10)
    judged = judge()
    believed(judged, 0, moved)
    assert sorted(believed(judged, 2, moved)) == [What.PACKET_SOCKET, What.TAP_GONE]


def test_a_live_case_whose_tap_is_gone() -> None:
    judged = judge()
    believed(judged, 0)
    assert believed(judged, 2) == [What.TAP_GONE]
    judged = judge()
    for second in (0, 2, 40):
        assert believed(judged, second, live=0) == []  # nothing is live: a socket or none


def test_a_namespace_that_cannot_be_seen_is_not_taken_for_empty() -> None:
    said = Reported(taps=(Tap("a", "eth1", "switch", 10),))
    judged = Judge((), [("eth1", "switch")])
    for second in (0, 2, 40):
        verdict = judged.observe(seen(second, unseen=("namespace switch",)), said, live=1)
        assert verdict.believed == ()


def test_a_function_with_a_task_that_nobody_armed() -> None:
    said = Reported(taps=SAID.taps, tasks={"iap": 3}, armed={"iap": 2})
    judged = judge()
    believed(judged, 0, OURS, said=said)
    assert believed(judged, 2, OURS, said=said) == [What.TASKS]


def test_tasks_that_change_are_on_their_way() -> None:
    judged = judge()
    for second in range(0, 40, 2):
        said = Reported(taps=SAID.taps, tasks={"iap": 100 + second}, armed={"iap": 101 + second})
        assert believed(judged, second, OURS, said=said) == []


def test_an_interception_without_a_certification() -> None:
    said = Reported(taps=SAID.taps, uncertified=1)
    judged = judge()
    for second in range(0, PATIENCE_S[What.UNCERTIFIED], 30):
        assert believed(judged, second, OURS, said=said) == []
    assert believed(judged, PATIENCE_S[What.UNCERTIFIED], OURS, said=said) == [What.UNCERTIFIED]


def test_more_than_an_observation_holds_is_a_difference() -> None:
    judged = judge()
    judged.observe(seen(0, OURS, more=1), SAID, live=2)
    (finding,) = judged.observe(seen(2, OURS, more=1), SAID, live=2).believed
    assert finding.what is What.OVERFLOW


SERVICE = Sight(
    what=What.PACKET_SOCKET, interface="eth0", protocol=0x88CC, uid=105, inode=40, filter_sha256="aa" * 32,
    commands=("lldpd",), executables=("bb" * 32,),
)  # fmt: skip
RULE = {
    "interface": "eth0", "uid": 105, "protocol": 0x88CC, "filter_sha256": "aa" * 32, "command": "lldpd",
    "executable_sha256": "bb" * 32,
}  # fmt: skip


def test_an_expected_service_is_no_difference() -> None:
    assert incident.unaccounted([SERVICE], [Rule(**RULE)], ()) == []


@pytest.mark.parametrize(
    "other",
    [{"interface": "eth9"}, {"uid": 0}, {"protocol": 3}, {"filter_sha256": "cc" * 32}, {"command": "tcpdump"},
     {"executable_sha256": "dd" * 32}, {"what": What.RAW_SOCKET}, {"namespace": "x"}, {"detail": "y"}],
)  # fmt: skip
def test_a_service_that_differs_in_one_thing_is_not_the_expected_one(other: dict[str, object]) -> None:
    assert incident.unaccounted([SERVICE], [Rule(**{**RULE, **other})], ()) == [SERVICE]


def test_a_process_that_cannot_be_seen_is_not_the_expected_one() -> None:
    hidden = Sight(what=What.PACKET_SOCKET, interface="eth0", protocol=0x88CC, uid=105, inode=40)
    assert incident.unaccounted([hidden], [Rule(interface="eth0", command="lldpd")], ()) == [hidden]
    shared = Sight(what=What.PACKET_SOCKET, interface="eth0", inode=40, commands=("lldpd", "tcpdump"))
    assert incident.unaccounted([shared], [Rule(interface="eth0", command="lldpd")], ()) == [shared]


def test_restarts_and_changes_in_any_order_are_no_alarm() -> None:
    """A year of looks in a second: whatever the access function does in good faith is never believed a difference."""
    chance = random.Random(20)
    judged, now, inode, away_until, again = judge(), 0.0, 10, 0.0, False
    restarts = 0
    for _ in range(20_000):
        now += 2.0 if again else chance.choice((5.0, 30.0))
        looked = None if now < away_until - 1 else inode  # its socket is there a moment before it says so
        if chance.random() < 0.3 and now > away_until + 5:  # between the look and the question
            restarts += 1
            inode += 1
            away_until = now + chance.random() * (AWAY_S - 4)
        sights = () if looked is None else (
            Sight(what=What.PACKET_SOCKET, interface="eth1", protocol=3, uid=0, inode=looked),)  # fmt: skip
        said = None if now < away_until else Reported(taps=(Tap("a", "eth1", "", inode),))
        verdict = judged.observe(seen(now, *sights), said, live=1)
        assert verdict.believed == (), (now, verdict)
        again = verdict.again
    assert restarts > 1000


def test_the_latest_belief_is_within_the_minute() -> None:
    assert MAX_INTERVAL_S + AWAY_S + 2 * LATE_S <= 60


def test_silence_is_two_intervals() -> None:
    assert not silent(0, 30, 60 * S)
    assert silent(0, 30, (60 + LATE_S) * S + 1)


def test_a_letter_names_its_agency_and_its_own_cases_alone() -> None:
    finding = Finding(what=What.PACKET_SOCKET, first_us=5 * S, clean_us=3 * S, sight=OTHER)
    text = incident.letter(
        finding, site="site", lab=False, agency="Agency A", cases=("CASE-2", "CASE-1"), found_us=6 * S,
        evidence_sha256="ee" * 32,
    )  # fmt: skip
    assert text.index("CASE-1") < text.index("CASE-2")
    assert "not over any delivery link" in text
    assert "1970-01-01 00:00:03 UTC" in text
    assert "Due:       1970-01-02 00:00:06 UTC" in text
    assert "(c)(1) and (2)" in text
    assert "LAB" not in text
    nobody = incident.letter(
        finding, site="site", lab=True, agency="", cases=(), found_us=6 * S, evidence_sha256="ee" * 32
    )
    assert "to be addressed by the senior officer" in nobody
    assert "1.20003(c)(2)" in nobody
    assert nobody.startswith("LAB")


@pytest.mark.parametrize(
    "line",
    [b"", b"{}", b"[1]", b'{"type":"noted"}', b"\xff", b"[" * 100_000,
     incident.encode(seen(0, Sight(what=What.PACKET_SOCKET, interface="x\n"))),
     incident.encode(seen(0, Sight(what=What.PACKET_SOCKET, detail="x" * 201))),
     incident.encode(seen(0, *(Sight(what=What.RAW_SOCKET, inode=i) for i in range(1025)))),
     incident.encode(Observation(number=1, time_us=0, interval_s=0, sights=())),
     # Dates that no letter can have, and numbers that evidence cannot: two of them ended the administrator.
     *(incident.encode(Observation(number=1, time_us=time_us, interval_s=30, sights=())) for time_us in (-1, 10**18)),
     *(incident.encode(Observation(number=number, time_us=1, interval_s=30, sights=())) for number in (-1, 10**30)),
     incident.encode(Observation(number=1, time_us=1, interval_s=30, sights=(), more=10**30)),
     *(incident.encode(seen(0, Sight(what=What.RAW_SOCKET, inode=number))) for number in (-1, 10**30)),
     incident.encode(seen(0, Sight(what=What.RAW_SOCKET, uid=-2)))],
)  # fmt: skip
def test_what_is_no_observation_is_refused(line: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        incident.decode_observation(line)


def test_an_observation_survives_the_wire() -> None:
    observation = seen(1, OURS, OTHER, SERVICE, unseen=("netfilter rules",))
    assert incident.decode_observation(incident.encode(observation)) == observation


@pytest.mark.parametrize("time_us", [0, incident.MAX_TIME_US])
def test_every_time_that_is_taken_can_stand_in_a_letter(time_us: int) -> None:
    finding = Finding(what=What.RAW_SOCKET, first_us=time_us, clean_us=time_us)
    text = incident.letter(finding, site="S", lab=True, agency="", cases=(), found_us=time_us, evidence_sha256="")
    assert incident.when(time_us) in text
