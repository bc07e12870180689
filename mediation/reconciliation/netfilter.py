"""Netfilter rules that copy packets or hand them to a program: dup and fwd, TEE, NFLOG, NFQUEUE; of one namespace.

Read from nf_tables (linux/netfilter/nf_tables.h), which needs CAP_NET_ADMIN; iptables of today writes there too, with
its old targets by name. The legacy tables of ip_tables are not read: where the module of one is loaded, an observation
says that they were not seen. Rules that rewrite addresses are not looked for: they divert, and no switch works without.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from mediation.core.records.incident import MAX_TEXT, Sight, What
from mediation.reconciliation import netlink

NFNL_SUBSYS_NFTABLES, NFT_MSG_GETRULE = 10, 7
NFTA_RULE_TABLE, NFTA_RULE_CHAIN, NFTA_RULE_EXPRESSIONS = 1, 2, 4
NFTA_EXPR_NAME, NFTA_EXPR_DATA = 1, 2
NFTA_LOG_GROUP: Final = 1
NFTA_TARGET_NAME: Final = 1
COPYING: Final = frozenset({"dup", "fwd", "queue"})
COPYING_TARGETS: Final = frozenset({"TEE", "NFLOG", "NFQUEUE", "ULOG"})  # ebtables has its own in lower case

MODULES: Final = Path("/sys/module")
# Each table is a module of its own. Not ip_tables itself, which systemd loads at every start: without a table it does
# nothing.
LEGACY: Final = ("iptable_*", "ip6table_*", "ebtable_*")


def rules(namespace: str) -> Iterator[Sight]:
    """Each chain that has such rules. Raises PermissionError without CAP_NET_ADMIN, OSError."""
    kind = NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_GETRULE
    found: set[str] = set()
    for message in netlink.dump(netlink.NETFILTER, kind, struct.pack("=BBH", 0, 0, 0)):
        told = netlink.table(message.payload[4:])
        chain = f"{netlink.text(told.get(NFTA_RULE_TABLE))} {netlink.text(told.get(NFTA_RULE_CHAIN))}"
        for _, expression in netlink.attributes(told.get(NFTA_RULE_EXPRESSIONS, memoryview(b""))):
            if name := _copies(netlink.table(expression)):
                found.add(f"nft {chain} {name}"[:MAX_TEXT])
    yield from (Sight(what=What.DUPLICATION, namespace=namespace, detail=each) for each in sorted(found))


def _copies(expression: dict[int, memoryview]) -> str:
    name = netlink.text(expression.get(NFTA_EXPR_NAME))
    data = netlink.table(expression.get(NFTA_EXPR_DATA, memoryview(b"")))
    if name in COPYING:
        return name
    if name == "log" and NFTA_LOG_GROUP in data:
        return "log to a group"
    if name == "target" and (target := netlink.text(data.get(NFTA_TARGET_NAME))).upper() in COPYING_TARGETS:
        return target
    return ""


def legacy() -> bool:
    """Whether tables of ip_tables itself may be there, which are not read here: a table's module is loaded."""
    return any(True for name in LEGACY for _ in MODULES.glob(name))
