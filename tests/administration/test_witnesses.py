"""The administrator's client of witnesses: the lab's own, hostile answers, and what is loud."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import trio
import trio.testing

from mediation.administration import making
from mediation.administration.keys import LEDGER_KEY, read_ledger_key
from mediation.administration.ledger import lab_witness, witnesses
from mediation.administration.ledger.asking import Outcome, Place
from mediation.administration.ledger.lab_witness import LabWitness
from mediation.administration.ledger.witnesses import Witnesses, compare, doubts
from mediation.core.errors import ConfigurationError, LocalProtocolError, RemoteProtocolError
from mediation.core.ledger import merkle, note, policy, witness
from mediation.runtime.config import Site
from mediation.runtime.keys import POLICY
from tests.core.cosigning import LEDGER, NOW_S, cosigned, ed25519, grown, head, mldsa, signed

TREE, OTHER = grown(300), grown(300, b"forged")
KEY = ed25519(1)


def paths(tree: merkle.Tree = TREE) -> Callable[[int, int], Sequence[bytes]]:
    return lambda first, second: merkle.consistency_path(first, second, tree.read)


@pytest.fixture
def lab(tmp_path: Path) -> Witnesses:
    return opened(tmp_path, lab_witness.make(tmp_path, LEDGER.verifier))


def opened(path: Path, text: str = "") -> Witnesses:
    found = policy.parse(text, lab=True) if text else POLICIES[path]
    POLICIES[path] = found
    return Witnesses(found, LEDGER.verifier, lab=LabWitness(path, LEDGER.verifier))


POLICIES: dict[Path, policy.Policy] = {}


def test_the_lab_cosigns_at_once_and_remembers(tmp_path: Path, lab: Witnesses) -> None:
    for size in (1, 2, 2, 77):
        found = lab.cosign_at_once(signed(TREE, size), paths(), now_s=NOW_S)
        assert found.judgement == policy.Judgement(cosigners=("lab",), times=(NOW_S,), quorum=True, time_s=NOW_S)
        assert note.open_checkpoint(found.note, LEDGER.verifier) == head(TREE, size)
        assert [told.outcome for told in found.told] == [Outcome.COSIGNED]
    again = opened(tmp_path)  # another process
    (told,) = again.states_at_once(now_s=NOW_S)
    assert told.checkpoint == head(TREE, 77)
    assert again.cosign_at_once(signed(TREE, 100), paths(), now_s=NOW_S).judgement.quorum


async def test_the_lab_over_the_same_words(lab: Witnesses) -> None:
    assert (await lab.fetch_states(now_s=NOW_S))[0].outcome is Outcome.EMPTY
    assert (await lab.cosign(signed(TREE, 5), paths(), now_s=NOW_S)).judgement.quorum
    assert lab.endpoints == ()
    await lab.close()


def test_a_lab_that_was_put_back_or_rewritten(tmp_path: Path, lab: Witnesses) -> None:
    assert lab.cosign_at_once(signed(TREE, 200), paths(), now_s=NOW_S).judgement.quorum
    back = opened(tmp_path)
    (told,) = compare(back.states_at_once(now_s=NOW_S), 150, TREE.root)
    assert (told.outcome, told.size) == (Outcome.AHEAD, 200)
    found = back.cosign_at_once(signed(TREE, 150), paths(), now_s=NOW_S)
    assert [told.outcome for told in found.loud] == [Outcome.AHEAD] and not found.judgement.quorum
    (told,) = compare(back.states_at_once(now_s=NOW_S), 250, OTHER.root)
    assert told.outcome is Outcome.FORKED
    for size in (200, 250):
        found = opened(tmp_path).cosign_at_once(signed(OTHER, size), paths(OTHER), now_s=NOW_S)
        assert [told.outcome for told in found.loud] == [Outcome.FORKED] and not found.judgement.quorum
    assert compare(back.states_at_once(now_s=NOW_S), 250, TREE.root) == ()


@pytest.mark.parametrize("damage", ["missing", "shorter", "foreign"])
def test_a_lab_whose_memory_was_changed(tmp_path: Path, lab: Witnesses, damage: str) -> None:
    lab.cosign_at_once(signed(TREE, 200), paths(), now_s=NOW_S)
    state = tmp_path / lab_witness.STATE
    if damage == "missing":
        state.unlink()
    else:
        state.write_text(signed(TREE, 9) if damage == "foreign" else state.read_text()[:-9])
    with pytest.raises(ConfigurationError, match="lab witness"):
        opened(tmp_path)


def test_a_lab_site_has_its_witness(tmp_path: Path) -> None:
    site = making.make(tmp_path / "site", is_lab=True)
    found = read_policy(site)
    assert (site.keys_dir / POLICY).stat().st_mode & 0o777 == 0o644
    assert found.lab and [each.name for each in found.witnesses] == ["lab"]
    ledger = read_ledger_key(site.path / "administrator" / LEDGER_KEY)
    asker = Witnesses(found, ledger.verifier, lab=LabWitness(site.lab_dir, ledger.verifier))
    text = ledger.sign(head(TREE, 1, ledger.verifier.name).text())
    assert asker.cosign_at_once(text, paths(), now_s=NOW_S).judgement.quorum
    assert (site.lab_dir / lab_witness.KEY).stat().st_mode & 0o777 == 0o600
    assert any("no witness" in doubt for doubt in doubts(found))


def read_policy(site: Site) -> policy.Policy:
    return policy.parse((site.keys_dir / POLICY).read_bytes(), lab=site.lab)


def test_a_real_site_has_no_default_policy_and_no_lab_witness(tmp_path: Path) -> None:
    site = making.make(tmp_path / "real", is_lab=False)
    assert not (site.keys_dir / POLICY).exists()
    lab_site = making.make(tmp_path / "lab", is_lab=True)
    (site.keys_dir / POLICY).write_bytes((lab_site.keys_dir / POLICY).read_bytes())
    with pytest.raises(ValueError, match="lab: is for a lab site only"):
        read_policy(site)


def test_without_a_lab_witness_nothing_is_at_once() -> None:
    found = policy.parse(f"witness a {KEY.verifier} http://w.example\nquorum a\n")
    with pytest.raises(LocalProtocolError):
        Witnesses(found, LEDGER.verifier).cosign_at_once(signed(TREE, 5), paths(), now_s=NOW_S)
    with pytest.raises(ConfigurationError, match="lab:"):
        Witnesses(policy.parse(f"witness a {KEY.verifier} lab:\nquorum a\n", lab=True), LEDGER.verifier)


def test_a_policy_of_another_ledger_is_refused_before_anybody_is_asked() -> None:
    other = note.Signer("LAB/ledger", ed25519(5)._key)  # type: ignore[arg-type]
    text = f"log {other.verifier}\nwitness a {KEY.verifier} http://w.example\nquorum a\n"
    with pytest.raises(ConfigurationError, match="not this site's ledger"):
        Witnesses(policy.parse(text), LEDGER.verifier)
    assert Witnesses(policy.parse(f"log {LEDGER.verifier}\n{text}"), LEDGER.verifier).endpoints == (("w.example", 80),)


def test_foreign_notes_are_not_sent(lab: Witnesses) -> None:
    other = note.Signer("LAB/ledger", ed25519(5)._key)  # type: ignore[arg-type]
    with pytest.raises(RemoteProtocolError):
        lab.cosign_at_once(other.sign(head(TREE, 5).text()), paths(), now_s=NOW_S)


PLACE = policy.Witness(name="a", verifier=KEY.verifier, url="http://w.example/sub")
BODY = note.split(signed(TREE, 9))[0]
GOOD = KEY.line(BODY, NOW_S).encode()
# The heads that it may show as its latest, with the ledger's signature and its own; of another tree where negative.
SHOWN = {
    size: (200, cosigned(signed(TREE if size >= 0 else OTHER, abs(size)), [KEY]).encode())
    for size in (0, 5, 9, 10, -5, -9)
}  # fmt: skip
FORGED = (200, cosigned(note.Signer("LAB/ledger", ed25519(5)._key).sign(head(TREE, 10).text()), [KEY]).encode())  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("answers", "outcome"),
    [
        ([(200, GOOD)], Outcome.COSIGNED), ([(200, ed25519(2).line(BODY, NOW_S).encode() + GOOD)], Outcome.COSIGNED),
        ([(409, b"5\n"), (200, GOOD)], Outcome.COSIGNED), ([(409, b"9\n"), (200, GOOD)], Outcome.COSIGNED),
        ([(409, b"10\n"), SHOWN[10]], Outcome.AHEAD), ([(409, b"5\n"), (422, b""), SHOWN[-5]], Outcome.FORKED),
        ([(409, b"9\n"), (422, b""), SHOWN[-9]], Outcome.FORKED), ([(422, b""), SHOWN[10]], Outcome.AHEAD),
        # What it says and does not show is its word alone, which stops nobody.
        ([(409, b"10\n"), SHOWN[9]], Outcome.MALFORMED), ([(409, b"10\n"), SHOWN[5]], Outcome.MALFORMED),
        ([(409, b"10\n"), (404, b"")], Outcome.MALFORMED), ([(409, b"10\n"), (422, b"")], Outcome.MALFORMED),
        ([(409, b"10\n"), FORGED], Outcome.MALFORMED), ([(422, b""), FORGED], Outcome.MALFORMED),
        ([(409, b"10\n"), (503, b"")], Outcome.AWAY), ([(422, b""), SHOWN[5]], Outcome.MALFORMED),
        ([(422, b""), SHOWN[9]], Outcome.MALFORMED), ([(422, b""), SHOWN[0]], Outcome.MALFORMED),
        ([(409, b"0\n")], Outcome.MALFORMED), ([(409, b"")], Outcome.MALFORMED), ([(409, b"-1\n")], Outcome.MALFORMED),
        ([(409, b"1\n"), (409, b"2\n"), (409, b"3\n"), (409, b"4\n")], Outcome.AWAY),
        ([(200, b"")], Outcome.MALFORMED), ([(200, ed25519(2).line(BODY, NOW_S).encode())], Outcome.MALFORMED),
        ([(200, GOOD + GOOD)], Outcome.MALFORMED), ([(200, KEY.line(BODY, 0).encode())], Outcome.MALFORMED),
        ([(200, KEY.line(BODY + "x\n", NOW_S).encode())], Outcome.MALFORMED), ([(200, b"\xff")], Outcome.MALFORMED),
        ([(404, b"")], Outcome.REFUSED), ([(403, b"")], Outcome.REFUSED), ([(302, b"")], Outcome.REFUSED),
        ([(429, b"")], Outcome.AWAY), ([(503, b"")], Outcome.AWAY),
    ],
)  # fmt: skip
def test_what_a_witness_may_answer(answers: list[tuple[int, bytes]], outcome: Outcome) -> None:
    place = Place([PLACE])
    conversation = place.cosign(signed(TREE, 9), paths(), LEDGER.verifier)
    left = iter(answers)
    request = next(conversation)
    try:
        while True:
            if request == ("GET", witness.monitor_path(LEDGER.verifier.name), b""):
                request = conversation.send(next(left))
                continue
            parsed = witness.parse_request(request[2])
            assert request[:2] == ("POST", "/add-checkpoint") and parsed.note == signed(TREE, 9)
            request = conversation.send(next(left))
    except StopIteration as end:
        told = end.value
    assert told.outcome is outcome
    assert told.lines == ((GOOD.decode(),) if outcome is Outcome.COSIGNED else ())
    assert next(left, None) is None
    # Whatever it claimed, it is asked again at the next tick, and believed when it cosigns.
    if outcome is Outcome.MALFORMED:
        again = place.cosign(signed(TREE, 9), paths(), LEDGER.verifier)
        assert next(again)[0] == "POST"
        with pytest.raises(StopIteration) as done:
            again.send((200, GOOD))
        assert done.value.value.outcome is Outcome.COSIGNED


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        ((200, cosigned(signed(TREE, 9), [KEY]).encode()), Outcome.COSIGNED), ((404, b""), Outcome.EMPTY),
        ((200, signed(TREE, 9).encode()), Outcome.MALFORMED), ((200, b"\xff"), Outcome.MALFORMED),
        ((200, cosigned(signed(TREE, 9), [KEY]).replace("\n9\n", "\n8\n").encode()), Outcome.MALFORMED),
        ((500, b""), Outcome.AWAY), ((403, b""), Outcome.REFUSED),
    ],
)  # fmt: skip
def test_what_a_witness_may_remember(answer: tuple[int, bytes], outcome: Outcome) -> None:
    conversation = Place([PLACE]).latest(LEDGER.verifier)
    assert next(conversation) == ("GET", witness.monitor_path("LAB/ledger"), b"")
    with pytest.raises(StopIteration) as end:
        conversation.send(answer)
    assert end.value.value.outcome is outcome
    assert (end.value.value.checkpoint is not None) is (outcome is Outcome.COSIGNED)


def judged(asker: Witnesses, line: str) -> witnesses.Cosigned:
    told = asker._places[0].told(Outcome.COSIGNED)
    return asker._cosigned(signed(TREE, 9), {asker._places[0].url: witnesses.msgspec.structs.replace(
        told, lines=(line,))}, NOW_S)  # fmt: skip


def test_a_witness_whose_clock_runs_ahead_does_not_count() -> None:
    asker = Witnesses(policy.parse(f"witness a {KEY.verifier} http://w.example\nquorum a\n"), LEDGER.verifier)
    assert judged(asker, KEY.line(BODY, NOW_S + witnesses.MAX_AHEAD_S)).judgement.quorum
    late = judged(asker, KEY.line(BODY, NOW_S + witnesses.MAX_AHEAD_S + 1))
    assert not late.judgement.quorum and late.told[0].outcome is Outcome.MALFORMED


def test_one_program_with_two_keys_is_asked_once() -> None:
    text = (f"witness a {KEY.verifier} https://w.example/x\nwitness b {mldsa(1).verifier} https://w.example/x\n"
            f"witness c {ed25519(3).verifier}\ngroup all-of-them all a b\nquorum all-of-them\n")  # fmt: skip
    asker = Witnesses(policy.parse(text), LEDGER.verifier)
    assert asker.endpoints == (("w.example", 443),)
    assert doubts(policy.parse(text)) == ()
    assert doubts(policy.parse(text.replace("all a b", "all a b c"))) == (
        "the witnesses with an address cannot make a quorum",)  # fmt: skip
    assert "this host" in doubts(policy.parse(text.replace("w.example", "127.0.0.1")))[0]


async def test_one_that_is_away_does_not_hold_up_the_quorum(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    """A listener that never answers, and the lab's witness: the quorum's time, not the sleeper's, counts."""
    text = lab_witness.make(tmp_path, LEDGER.verifier)
    async with trio.open_nursery() as nursery:
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        nursery.start_soon(trio.serve_listeners, lambda _: trio.sleep_forever(), [listener])
        port = listener.socket.getsockname()[1]
        more = f"witness slow {KEY.verifier} http://127.0.0.1:{port}\n"
        one, both = (
            text.replace("quorum", f"{more}quorum"),
            text.replace("quorum lab", f"{more}group g all lab slow\nquorum g"),
        )
        found = await opened(tmp_path, one).cosign(signed(TREE, 5), paths(), now_s=NOW_S)
        assert found.judgement.quorum
        assert [told.outcome for told in found.told] == [Outcome.COSIGNED, Outcome.AWAY]
        found = await opened(tmp_path, both).cosign(signed(TREE, 9), paths(), now_s=NOW_S)
        assert not found.judgement.quorum and not found.loud
        assert "within" in found.told[1].detail
        nursery.cancel_scope.cancel()
