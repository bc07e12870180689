"""Fixtures that every folder of tests may use."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from mediation.cli.demo import network
from tests import redaction, scratch, vault


def pytest_configure(config: pytest.Config) -> None:
    """What the daemon leaves is searched for subjects, whichever tests run."""
    if not config.pluginmanager.has_plugin(redaction.KEY):
        plugin = redaction.Redaction()
        plugin.watch()
        config.pluginmanager.register(plugin, redaction.KEY)
    if not config.pluginmanager.has_plugin(scratch.KEY):
        scratch.choose()
        config.pluginmanager.register(scratch.Scratch(), scratch.KEY)
    config.option.loadscopereorder = False  # pytest-xdist: by what takes long (below), not by the number of tests


@pytest.fixture(scope="session", autouse=True)
def _temporary(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> None:
    """The temporary files of all programs that tests start."""
    plugin = request.config.pluginmanager.get_plugin(redaction.KEY)
    assert isinstance(plugin, redaction.Redaction)
    plugin.temporary = tmp_path_factory.mktemp("temporary")
    os.environ["TMPDIR"] = str(plugin.temporary)


# Here nothing depends on a clock, another process or the kernel: what fails once is wrong.
ALWAYS_THE_SAME = ("audit", "core", "ext", "fuzz", "signing", "test_docs.py", "test_house.py")


# A file is one worker's: those that take longest, as --durations says, begin first, so that no worker is left alone
# with one of them at the end.
LONGEST_FIRST = (
    "conformance/test_peers_scenarios.py",
    "reconciliation/test_phantom.py",
    "reconciliation/test_soak.py",
    "conformance/test_live_scenarios.py",
    "faults/test_compromised_administrator.py",
    "conformance/test_peers_faults.py",
    "faults/test_calls_mediator.py",
    "administration/test_administrator.py",
    "faults/test_root_attacks.py",
    "faults/test_killed_at_each_step.py",
    "test_demo.py",
    "test_redaction.py",
    "delivery/test_content.py",
    "runtime/test_release.py",
    "administration/test_ledger.py",
    "conformance/test_peers_content.py",
    "access/test_iap.py",
    "faults/test_killed.py",
    "cli/test_real_site.py",
    "guards/test_agencies.py",
    "core/test_authorization.py",
    "conformance/test_corpus.py",
    "faults/test_week.py",
    "faults/test_lease_iap.py",
    "faults/test_lease_mediator.py",
    "access/test_content_again.py",
    "faults/test_administrator_with_all_keys.py",
    "faults/test_roster_everywhere.py",
    "reconciliation/test_identity.py",
    "test_house.py",
    "faults/test_receiver.py",
    "administration/test_full_disk.py",
    "test_redaction_of_suite.py",
    "runtime/test_network.py",
    "guards/test_planes.py",
    "witness/test_witness.py",
    "audit/test_verifier_flips.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest files first.

    A live test (real processes, bounds in seconds) that fails is played once more, and the summary says so.

    A virtual machine with two cores stands still for a second now and then, and a bound of a second is then missed by
    nobody's fault. What is wrong fails twice; what is rare shows in the summary as a rerun, with its first failure.
    """
    here = Path(__file__).parent
    rank = {here / name: number for number, name in enumerate(LONGEST_FIRST)}
    items.sort(key=lambda item: rank.get(item.path, len(rank)))
    for item in items:
        folder = item.path.relative_to(here).parts[0]
        if folder not in ALWAYS_THE_SAME:
            item.add_marker(pytest.mark.flaky(reruns=1))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """What a test that was played again had failed by."""
    for report in terminalreporter.getreports("rerun"):
        terminalreporter.section(f"failed once: {report.nodeid}")
        terminalreporter.write_line(report.longreprtext)


@pytest.fixture(scope="session", autouse=True)
def _credentials(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Hand-made sites have their vault's keys from the service manager, which is us."""
    vault.hand_out(tmp_path_factory.mktemp("credentials"))


@pytest.fixture(scope="session")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[object]:
    """One network and one lab site with its functions running, for all live scenarios of the session."""
    missing = network.possible()
    if missing:
        pytest.skip(f"live calls cannot be made: {missing}")
    from tests.rig.stage import built

    with built(tmp_path_factory.mktemp("rig")) as made:
        yield made
