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
LONGEST_FIRST = ("conformance/test_peers_scenarios.py",)


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
