"""What one look sees, of things that are really there: sockets, mirrors, programs, rules, in several namespaces."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import msgspec
import pytest

from mediation.core.records.incident import Sight, What
from mediation.reconciliation import netlink, reconciler, traffic
from tests.reconciliation.world import World, tap

pytestmark = pytest.mark.root
U32 = "protocol all u32 match u32 0 0"  # everything
LOOK = """
import sys
import msgspec
from mediation.reconciliation import look
from mediation.runtime.watch import Reconciliation
class Site: reconciliation = msgspec.json.decode(sys.argv[1], type=Reconciliation)
found = look.Looker(Site()).look()
print(msgspec.json.encode(found).decode())
"""


def look(world: World, *, user: str = "", **settings: Any) -> tuple[list[Sight], list[str]]:
    """A look inside the world, by another process of ours; `user` without privileges when given."""
    words = [sys.executable, "-c", LOOK, json.dumps(settings)]
    if user:
        words = ["setpriv", "--reuid", user, "--regid", user, "--clear-groups", "--bounding-set", "-all", *words]
    ended = subprocess.run(
        world.words(*words), capture_output=True, check=False, timeout=60,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr.decode()
    sights, more, unseen = msgspec.json.decode(ended.stdout, type=tuple[list[Sight], int, list[str]])
    assert more == 0
    return sights, unseen


def of(sights: list[Sight], what: What) -> list[Sight]:
    return [sight for sight in sights if sight.what is what]


def test_nothing_is_seen_where_nothing_is(world: World) -> None:
    world.veth("one", "two")
    assert look(world) == ([], [])


def test_a_packet_socket_is_seen_with_its_owner_and_its_program(world: World) -> None:
    world.veth("one", "two")
    with world.running(*tap("one", uid=65533, promiscuous=True), ready="open"):
        (sight,) = look(world, processes=True)[0]
    assert (sight.what, sight.interface, sight.protocol, sight.uid) == (What.PACKET_SOCKET, "one", 3, 65533)
    assert sight.commands == ("python3",)
    assert len(sight.executables) == 1
    assert sight.inode > 0
    assert look(world)[0] == []


def test_a_packet_socket_without_a_protocol_receives_nothing_and_is_none(world: World) -> None:
    world.veth("one", "two")
    with world.running(*tap("one", protocol=0), ready="open"):
        assert look(world)[0] == []


def test_a_packet_socket_of_all_interfaces(world: World) -> None:
    with world.running(*tap("*"), ready="open"):
        (sight,) = look(world)[0]
    assert sight.interface == "*"


def test_tcpdump_is_seen_by_the_filter_that_it_set(world: World) -> None:
    world.veth("one", "two")
    hashes = []
    for port in ("5060", "5061", "5060"):
        command = f"tcpdump -i one -U -w /dev/null udp port {port} 2>&1"
        with world.running("sh", "-c", f"exec {command}", ready="listening"):
            (sight,) = of(look(world)[0], What.PACKET_SOCKET)
            hashes.append(sight.filter_sha256)
    assert hashes[0] == hashes[2] != hashes[1]
    assert all(len(each) == 64 for each in hashes)


@pytest.mark.parametrize(
    ("commands", "what", "detail"),
    [
        (["tc qdisc add dev one clsact", "tc filter add dev one ingress matchall action mirred egress mirror dev two"],
         What.MIRROR, "tc matchall mirred"),
        (["tc qdisc add dev one clsact", f"tc filter add dev one ingress {U32} action mirred egress mirror dev two"],
         What.MIRROR, "tc u32 mirred"),
        (["tc qdisc add dev one clsact", f"tc filter add dev one egress {U32} action mirred egress mirror dev two"],
         What.MIRROR, "tc u32 mirred"),
        (["tc qdisc add dev one ingress",
          f"tc filter add dev one parent ffff: {U32} action mirred egress redirect dev two"],
         What.MIRROR, "tc u32 mirred"),
        (["tc qdisc add dev one root handle 1: htb",
          f"tc filter add dev one parent 1: {U32} action mirred egress mirror dev two"],
         What.MIRROR, "tc u32 mirred"),
        (["tc qdisc add dev one root handle 1: htb default 1",
          "tc class add dev one parent 1: classid 1:1 htb rate 1gbit",
          f"tc filter add dev one parent 1:1 {U32} action mirred egress mirror dev two"],
         What.MIRROR, "tc u32 mirred"),
        (["tc qdisc add dev one ingress_block 7 ingress",
          f"tc filter add block 7 {U32} action mirred egress mirror dev two"], What.MIRROR, "tc u32 mirred"),
        (["ip link add link one name copy type macvlan mode source",
          "ip link set copy type macvlan macaddr add 02:00:00:00:00:01"], What.MIRROR, "macvlan source"),
        (["ip link set one promisc on"], What.PROMISCUOUS, ""),
        (["ip link add hub type bridge ageing_time 0"], What.FLOODING, ""),
        (["ip link add far type erspan remote 192.0.2.9 local 192.0.2.1 seq key 1"], What.TUNNEL, "erspan"),
        (["nft add table ip t", "nft add chain ip t c { type filter hook prerouting priority 0 ; }",
          "nft add rule ip t c dup to 192.0.2.9"], What.DUPLICATION, "nft t c dup"),
        (["nft add table netdev t", "nft add chain netdev t c { type filter hook ingress device one priority 0 ; }",
          "nft add rule netdev t c dup to two"], What.DUPLICATION, "nft t c dup"),
        (["nft add table ip t", "nft add chain ip t c { type filter hook input priority 0 ; }",
          "nft add rule ip t c log group 5"], What.DUPLICATION, "nft t c log to a group"),
        (["nft add table ip t", "nft add chain ip t c { type filter hook input priority 0 ; }",
          "nft add rule ip t c queue num 3"], What.DUPLICATION, "nft t c queue"),
        (["iptables -t mangle -A PREROUTING -j TEE --gateway 192.0.2.9"], What.DUPLICATION, ""),
        (["ebtables-nft -A FORWARD --nflog-group 5"], What.DUPLICATION, "nft filter FORWARD nflog"),
    ],
    ids=["matchall", "clsact-ingress", "clsact-egress", "ingress-u32", "classful", "class",
         "shared-block", "macvlan-source", "promisc", "hub",
         "erspan", "nft-dup", "nft-netdev-dup", "nft-log-group", "nft-queue", "iptables-tee",
         "ebtables-nflog"],
)  # fmt: skip
def test_a_copy_of_traffic_is_seen(world: World, commands: list[str], what: What, detail: str) -> None:
    world.veth("one", "two")
    for command in commands:
        ended = subprocess.run(world.words(*command.split()), capture_output=True, text=True, check=False, timeout=30)
        if ended.returncode:
            pytest.skip(f"this kernel has no such thing: {command}: {ended.stderr.strip()[:200]}")
    sights, _ = look(world)
    assert any(detail in sight.detail for sight in sights)
    assert {each.what for each in sights} == {what}


def test_a_mirror_tunnel_cannot_hide_behind_the_kernels_own_name() -> None:
    made = {"kind": "erspan", "master": 0, "lower": 0, "promiscuity": 0, "programmed": False, "ageing": -1}
    links = [traffic.Link(ifindex=index, name=name, **made) for index, name in enumerate(("erspan0", "erspan0x"), 5)]
    assert [each.interface for each in traffic.of_links(links, "", Counter())] == ["erspan0x"]


def test_looks_come_when_nobody_can_tell_and_never_later_than_the_interval() -> None:
    pauses = {reconciler.pause(30) for _ in range(1000)}
    assert len(pauses) > 900
    assert 15 <= min(pauses) < 17
    assert 28 < max(pauses) < 30


def test_filters_of_the_default_discipline_are_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """fq_codel, as systemd has it made by the kernel, takes filters and has the handle 0."""
    asked: list[tuple[int, int, int]] = []

    def dump(_: int, kind: int, body: bytes) -> list[netlink.Message]:
        told = traffic._TC.unpack(body)
        asked.append((kind, told[2], told[4]))
        payload = traffic._TC.pack(0, 0, 5, 0, traffic.TC_H_ROOT, 2) + b"\x0d\0\1\0fq_codel\0\0\0\0"
        return [netlink.Message(kind, memoryview(payload))] if kind == traffic.RTM_GETQDISC else []

    monkeypatch.setattr(netlink, "dump", dump)
    assert list(traffic.of_filters([], "")) == []
    assert (traffic.RTM_GETTFILTER, 5, 0) in asked


def test_an_ordinary_log_rule_and_an_ordinary_filter_copy_nothing(world: World) -> None:
    world.veth("one", "two")
    world.run("tc", "qdisc", "add", "dev", "one", "clsact")
    world.run("tc", "filter", "add", "dev", "one", "ingress", *U32.split(), "flowid", "1:1")
    world.run("nft", "add", "table", "ip", "t")
    world.run("nft", "add", "chain", "ip", "t", "c", "{ type filter hook input priority 0 ; }")
    world.run("nft", "add", "rule", "ip", "t", "c", "log", "prefix", "x", "drop")
    world.run("ip", "link", "add", "lan", "type", "bridge")
    world.run("ip", "link", "set", "two", "master", "lan")  # a bridge's port is promiscuous for the bridge
    assert look(world) == ([], [])


def test_a_raw_socket_is_seen(world: World) -> None:
    program = "import socket,sys; s=socket.socket(2,3,17); print('open',flush=True); sys.stdin.read()"
    with world.running("python3", "-c", program, ready="open"):
        (sight,) = look(world)[0]
    assert (sight.what, sight.protocol, sight.detail) == (What.RAW_SOCKET, 17, "IPv4")


def test_other_namespaces_are_looked_into_and_named(world: World) -> None:
    world.run("ip", "netns", "add", "switch")
    world.run("ip", "-n", "switch", "link", "add", "one", "type", "veth", "peer", "name", "two")
    world.run("ip", "-n", "switch", "link", "set", "one", "up")
    with (
        world.running("ip", "netns", "exec", "switch", *tap("one"), ready="open"),
        world.running("unshare", "--net", *tap("*"), ready="open"),
    ):
        sights, unseen = look(world)
    assert unseen == []
    assert sorted((sight.namespace.split(":")[0], sight.interface) for sight in sights) == [
        ("net", "*"), ("switch", "one"),
    ]  # fmt: skip


def test_what_may_not_be_looked_at_is_said(world: World, tmp_path: Path) -> None:
    """Without a privilege: packet sockets and mirrors are seen all the same, the rest is named and not passed over."""
    world.veth("one", "two")
    world.run("ip", "netns", "add", "switch")
    world.run("tc", "qdisc", "add", "dev", "one", "clsact")
    mirror = f"tc filter add dev one ingress {U32} action mirred egress mirror dev two"
    world.run(*mirror.split())
    with world.running(*tap("one"), ready="open"):
        sights, unseen = look(world, user="65534")
    assert {sight.what for sight in sights} == {What.PACKET_SOCKET, What.MIRROR}
    assert "namespace switch" in unseen
    assert "netfilter rules" in unseen
    assert "namespaces of other users' processes" in unseen


def test_processes_that_are_hidden_are_not_taken_for_none(world: World) -> None:
    """As the unit has it, ProtectProc=invisible: others' processes are not in /proc at all, and their namespaces with
    what is tapped there are not looked into."""
    world.run("mount", "-t", "proc", "-o", "hidepid=invisible", "none", "/proc")
    with world.running("unshare", "--net", *tap("*"), ready="open"):
        sights, unseen = look(world, user="65534")
    assert of(sights, What.PACKET_SOCKET) == []
    assert "namespaces of other users' processes" in unseen


def test_the_names_that_somebody_chose_are_plain_text(world: World) -> None:
    world.run("ip", "link", "add", "a\x7fb", "type", "veth", "peer", "name", "two")
    with world.running(*tap("a\x7fb"), ready="open"):
        (sight,) = look(world)[0]
    assert sight.interface.isprintable()
    assert os.sep not in sight.interface
