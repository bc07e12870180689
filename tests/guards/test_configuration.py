"""SEC-13 and SEC-29: no setting turns the ledger off, opens control to a network, or takes authentication away.

Every key of config.toml is drawn from its own type, over a bound and beyond it, in any combination. What is accepted
runs: an order is filed and activated on a site with these settings, and stands in a ledger that verifies, before any
function was told. Beside that, all places of the sources that listen are counted.
"""

from __future__ import annotations

import ast
import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mediation.administration.persons.gate import Caller
from mediation.administration.persons.inquiries import Inquiries
from mediation.core.authority import lease
from mediation.core.authority.trust import Trust
from mediation.core.case import State
from mediation.core.errors import ConfigurationError
from mediation.core.interface import control
from mediation.runtime import config
from mediation.runtime.config import Site
from mediation.runtime.keys import load_trust
from tests.administration import site as s

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "mediation"
HOUR_NS = 3_600_000_000_000

# --- every combination ------------------------------------------------------------------------------------------------

# Shapes that a text setting may need to be taken at all.
TEXTS = ["", "lo", "127.0.0.1", "192.0.2.7", "::1", "0.0.0.0", "nobody", "access", "1", "aa" * 32, "http://192.0.2.1/"]
STRANGE = ["off", "none", "disabled", "false", "/dev/null", "tcp://0.0.0.0:1", "UNSIGNED"]


def values(kind: msgspec.inspect.Type) -> st.SearchStrategy[Any]:
    """Of one key: mostly what its type takes, the bounds first."""
    match kind:
        case msgspec.inspect.BoolType():
            return st.booleans()
        case msgspec.inspect.IntType(ge=least, le=most):
            low, high = least if least is not None else 0, most if most is not None else 1 << 20
            return st.sampled_from([low, high, low - 1, high + 1]) | st.integers(low, high)
        case msgspec.inspect.StrType():
            return st.sampled_from(TEXTS) | st.sampled_from(STRANGE)
        case msgspec.inspect.LiteralType(values=choices):
            return st.sampled_from([*choices, "off"])
        case msgspec.inspect.EnumType(cls=kinds):
            return st.sampled_from([*(each.value for each in kinds), "off"])
        case msgspec.inspect.VarTupleType(item_type=item):
            return st.lists(values(item), max_size=2)
        case msgspec.inspect.UnionType(types=types):
            return st.one_of([values(each) for each in types if not isinstance(each, msgspec.inspect.NoneType)])
        case msgspec.inspect.StructType(fields=fields):
            return table(fields)
    raise TypeError(kind)


def table(fields: tuple[msgspec.inspect.Field, ...]) -> st.SearchStrategy[dict[str, Any]]:
    needed = {field.encode_name: values(field.type) for field in fields if field.required}
    free = {field.encode_name: values(field.type) for field in fields if not field.required}
    return st.fixed_dictionaries(needed, optional=free)


FILE = msgspec.inspect.type_info(config.Settings)
assert isinstance(FILE, msgspec.inspect.StructType)
# The lab site of the tests stays one, under its name: the ledger's key and the persons' keys are a lab's.
FILES = table(tuple(field for field in FILE.fields if field.encode_name not in {"name", "lab"}))
# What somebody would try who wants the ledger off, or control on a port.
WISHES = [
    {"ledger": {word: value}}
    for word in ("enabled", "enable", "off", "disabled", "path", "witness", "optional", "log_before_act")
    for value in (False, True, "off", "/dev/null")
] + [
    {section: {word: value}}
    for section in ("administrator", "control", "x1", "api", "access", "delivery", "egress", "lab_agency")
    for word in ("listen", "port", "host", "authentication", "tls", "control_port", "anonymous", "password")
    for value in ("0.0.0.0", 8080, False)
]  # fmt: skip


def inline(value: Any) -> str:
    """A value in TOML."""
    match value:
        case dict():
            return "{" + ", ".join(f"{name} = {inline(each)}" for name, each in value.items()) + "}"
        case list():
            return "[" + ", ".join(inline(each) for each in value) + "]"
        case _:
            return json.dumps(value)


def lines(tables: dict[str, Any]) -> Iterator[str]:
    for name, value in tables.items():
        yield f"{name} = {inline(value)}\n"


def wrote(folder: Path, tables: dict[str, Any]) -> None:
    (folder / "config.toml").write_bytes(f'name = "LAB"\nlab = true\n{"".join(lines(tables))}'.encode())


def accepted(folder: Path, tables: dict[str, Any]) -> Site | None:
    wrote(folder, tables)
    try:
        return config.load(folder)
    except ConfigurationError:
        return None


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Site:
    return s.make(tmp_path_factory.mktemp("made"))


def check_runs(site: Site) -> None:
    """An order on this site: the ledger has it before it is wanted, and nothing answers without a signature."""
    seen: list[tuple[State, int]] = []
    desk = s.Desk(site)
    try:
        desk.orders.close()
        orders = type(desk.orders)(
            site, desk.now_ns, lambda order: seen.append((order.state, s.kinds(site).count("command-accepted")))
        )
        desk.orders = orders
        before = orders.ledger.size
        results = desk.submit(s.filing(site))
        if results[0].check:  # a setting made this very order impossible: nothing ran, and the refusal is entered
            assert "refused" in s.kinds(site) and not [each for each in orders if orders.wanted(each)]
            return
        assert orders.ledger.size > before
        assert {"order-filed", "command-accepted"} <= set(s.kinds(site))
        assert seen and all(count for state, count in seen if state in (State.ACTIVE, State.WAITING))
        unsigned = Inquiries(orders, desk.now_ns).handle(
            control.Signed(envelope="a.b.c"), Caller(uid=0), desk.now_ns
        )  # fmt: skip
        assert isinstance(unsigned, control.Failed)
    finally:
        desk.orders.close()


taken: list[bool] = []


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(FILES)
def test_no_setting_turns_the_ledger_off(made: Site, tmp_path_factory: pytest.TempPathFactory, tables: Any) -> None:
    folder = tmp_path_factory.mktemp("site") / "site"
    folder.mkdir()
    site = accepted(folder, tables)
    taken.append(site is not None)
    if site is None:
        tables = {"ledger": tables["ledger"]} if "ledger" in tables else {}
        if (site := accepted(folder, tables)) is None:
            return
    assert 0 < site.ledger.grace_ns <= lease.MAX_GRACE_NS == 72 * HOUR_NS
    assert lease.Lease(site.ledger.grace_ns).grace_ns <= lease.MAX_GRACE_NS
    text = (folder / "config.toml").read_bytes()
    shutil.copytree(made.path, folder, dirs_exist_ok=True)
    (folder / "config.toml").write_bytes(text)
    check_runs(config.load(folder))
    shutil.rmtree(folder)


def test_there_were_settings_that_were_taken() -> None:
    assert taken == [] or any(taken)


def test_there_is_no_such_setting(tmp_path: Path) -> None:
    assert [wish for wish in WISHES if accepted(tmp_path, wish) is not None] == []


def test_the_same_file_without_a_wish_is_taken(tmp_path: Path) -> None:
    assert accepted(tmp_path, {}) is not None
    assert accepted(tmp_path, {"ledger": {"tick_ms": 100}}) is not None


# --- the same by reading ----------------------------------------------------------------------------------------------

# Who binds or listens at all: the operating system's addresses of everything that hears anything. Control and X1 are
# among sockets.py's alone, which knows Unix sockets and nothing else.
LISTENERS = {
    "runtime/sockets.py": {"AF_UNIX"},  # X1, X2, X3, control
    "delivery/interception_point.py": {"AF_INET", "AF_INET6"},  # mutual TLS 1.3, pinned; X2 and X3 in, nothing out
    "access/opener.py": {"AF_PACKET", "AF_INET", "AF_INET6"},  # taps; HEP in
    "collection/receiver.py": set(),  # the agency's side
    "collection/content_receiver.py": set(),
    "reconciliation/netlink.py": {"AF_NETLINK"},  # asks the kernel
    "reconciliation/switch.py": {"AF_UNIX", "AF_INET", "AF_INET6"},  # asks the switch: a name to be answered at
    "cli/run.py": {"AF_UNIX"},  # READY=1 of its children
    "witness/server.py": set(),  # another administrator's program
}
DOORS = {
    "bind",
    "listen",
    "open_tcp_listeners",
    "serve_tcp",
    "create_server",
    "start_server",
    "open_ssl_over_tcp_listeners",
}
OURS = {"sockets", "reconciling", "network"}  # the last binds to an interface, what goes out


def calls(path: Path) -> Iterator[tuple[str, str]]:
    """Owner and name of each method that is called."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            yield ast.unparse(node.func.value), node.func.attr


def doors(path: Path) -> set[str]:
    return {
        attribute
        for owner, attribute in calls(path)
        if attribute in DOORS and owner not in OURS and not owner.endswith(("log.get('mediator')", "get_logger()"))
        and not owner.startswith(("log.get", "structlog"))
    }  # fmt: skip


def test_nobody_else_listens() -> None:
    found = {
        path.relative_to(PACKAGE).as_posix()
        for path in PACKAGE.rglob("*.py")
        if doors(path) and path.parent.name != "demo"
    }
    assert found == set(LISTENERS)


@pytest.mark.parametrize("place", [place for place, families in LISTENERS.items() if families])
def test_of_these_families(place: str) -> None:
    families = set(re.findall(r"\bAF_\w+", (PACKAGE / place).read_text()))
    assert families == LISTENERS[place]


@pytest.mark.parametrize("place", ["administration/control.py", "access/iap.py", "delivery/mediator.py",
                                   "delivery/egress.py"])  # fmt: skip
def test_control_and_x1_are_on_a_path_of_the_site(place: str) -> None:
    text = (PACKAGE / place).read_text()
    assert re.search(r"sockets\.listen\(\s*(self\._)?site\.run_dir,", text)


def test_nothing_reads_whether_there_is_a_ledger() -> None:
    """Of the settings of the ledger these are read, each for what it says; there is no other to read."""
    names = {field.encode_name for field in msgspec.structs.fields(config.Ledger)}
    assert names == {"tick_ms", "batch", "grace_hours", "timestamp_authorities"}


# --- without authentication -------------------------------------------------------------------------------------------


def test_no_request_for_case_data_has_an_unsigned_form() -> None:
    """What the control socket decodes: signed requests, acts that carry their own signatures, and the status."""
    kinds = {kind.__name__ for kind in control.Request.__args__}
    assert kinds == UNSIGNED | {"Signed"}
    inquiries = {kind.__name__ for kind in control.Inquiry.__args__}
    assert not kinds & inquiries


# Each carries texts that persons signed; or says numbers alone (Status), asks for what is due anyway (Settle), or shows
# the policies and procedures, which name no case (ShowPlan).
UNSIGNED = {
    "Submit", "Perform", "Revoke", "RevokeAgency", "Extend", "ChangeRoster", "Certify", "SignStatement", "AdoptPlan",
    "FilePlan", "OrderModification", "TryContact", "Hold", "Destroy", "Status", "Settle", "ShowPlan",
}  # fmt: skip


@pytest.mark.parametrize("missing", ["roster.jsonl", "founding", "ledger.pub", "witness.policy"])
def test_without_its_keys_a_site_believes_nobody(made: Site, tmp_path: Path, missing: str) -> None:
    shutil.copytree(made.path, tmp_path / "site")
    site = config.load(tmp_path / "site")
    (site.keys_dir / missing).unlink()
    try:
        trust = load_trust(site)
    except ConfigurationError:
        return
    assert isinstance(trust, Trust) and trust.policy is None and missing == "witness.policy"
