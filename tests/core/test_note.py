"""Signed notes and checkpoints: a known note, round trips, and everything that is not exactly one."""

from __future__ import annotations

import base64
import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mediation.core.errors import RemoteProtocolError
from mediation.core.ledger import note
from tests.core.authority import private

SIGNER = note.Signer("test/ledger", private(9))
OTHER = note.Signer("witness.example/w1", private(8))
HEAD = note.Checkpoint(origin="test/ledger", size=7, root=bytes(range(32)))
NOTE = SIGNER.sign(HEAD.text())

# The key pair and the note of the golang.org/x/mod/sumdb/note documentation, where the format comes from.
PETER = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
PETER_NOTE = """\
If you think cryptography is the answer to your problem,
then you don't know what your problem is.

\u2014 PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=
"""
ENOCH = "EnochRoot+af0cfe78+ATtqJ7zOtqQtYqOo0CpvDXNlMhV3HeJDpjrASKGLWdop"


def test_a_note_of_others() -> None:
    text = note.Verifier.parse(PETER).open(PETER_NOTE)
    assert text.startswith("If you think") and text.endswith("your problem is.\n")
    with pytest.raises(RemoteProtocolError):
        note.Verifier.parse(ENOCH).open(PETER_NOTE)


def test_keys_have_one_text_form() -> None:
    assert str(note.Verifier.parse(PETER)) == PETER
    assert str(note.Verifier.parse(str(SIGNER.verifier))) == str(SIGNER.verifier)
    again = note.Signer.parse(SIGNER.private_text())
    assert again.sign("a\n") == SIGNER.sign("a\n")


@pytest.mark.parametrize(
    "text",
    [
        "", "name", "name+00000000", PETER.replace("c74f20a3", "c74f20a4"), PETER.replace("Peter", "Pieter"),
        "name+00000000+AA==", PETER.replace("+ARpc", "+BBpc"), PETER[:-4],
    ],
)  # fmt: skip
def test_what_is_no_verifier_key(text: str) -> None:
    with pytest.raises(ValueError, match=r".*"):
        note.Verifier.parse(text)


@pytest.mark.parametrize("name", ["", "a b", "a+b", "a\nb"])
def test_what_is_no_key_name(name: str) -> None:
    with pytest.raises(ValueError, match="name"):
        note.Signer(name, private(1))


@pytest.mark.parametrize("text", ["", str(SIGNER.verifier), SIGNER.private_text()[:-4], "x" + SIGNER.private_text()])
def test_what_is_no_signing_key(text: str) -> None:
    with pytest.raises(ValueError, match=r".*"):
        note.Signer.parse(text)


def test_a_checkpoint_is_three_lines() -> None:
    lines = NOTE.split("\n")
    assert lines[:2] == ["test/ledger", "7"]
    assert base64.b64decode(lines[2]) == bytes(range(32))
    assert lines[3] == "" and lines[4].startswith("\u2014 test/ledger ")
    assert note.open_checkpoint(NOTE, SIGNER.verifier) == HEAD


def test_signatures_of_witnesses_are_passed_over() -> None:
    witnessed = NOTE + OTHER.sign(HEAD.text()).rpartition("\n\n")[2]
    assert note.open_checkpoint(witnessed, SIGNER.verifier) == HEAD
    assert note.parse_checkpoint(OTHER.verifier.open(witnessed)) == HEAD


LINE = NOTE.rpartition("\n\n")[2]


@pytest.mark.parametrize(
    "text",
    [
        "", "\n", "\n\n", NOTE[:-1], NOTE + LINE, NOTE.replace("\n7\n", "\n8\n"), NOTE.replace("\u2014", "-"),
        NOTE.replace("test/ledger\n7", "test/ledges\n7"), NOTE.rpartition("\n\n")[0] + "\n\n", NOTE + "\n",
        NOTE + "\u2014 broken\n", NOTE + "\u2014 x !!!!\n", NOTE.replace("\n7", "\r\n7"), NOTE + LINE * 17,
        OTHER.sign(HEAD.text()), "x" * 20_000 + NOTE,
    ],
)  # fmt: skip
def test_notes_that_are_refused(text: str) -> None:
    with pytest.raises(RemoteProtocolError):
        note.open_checkpoint(text, SIGNER.verifier)


@pytest.mark.parametrize(
    "body",
    [
        "test/ledger\n7\n", "test/ledger\n07\n{root}\n", "test/ledger\n-1\n{root}\n", "test/ledger\n7x\n{root}\n",
        "test/ledger\n\n{root}\n", "test/ledger\n7\nAAAA\n", "test/ledger\n7\n{root}=\n", "\n7\n{root}\n",
        "test/ledger\n9999999999999999\n{root}\n", "test/ledger\n\u0667\n{root}\n", "test/ledger\n7\n{root}\n\nx\n",
        "other/ledger\n7\n{root}\n",
    ],
)  # fmt: skip
def test_signed_texts_that_are_no_checkpoint_of_this_ledger(body: str) -> None:
    text = body.replace("{root}", base64.b64encode(HEAD.root).decode())
    with pytest.raises(RemoteProtocolError):
        note.open_checkpoint(SIGNER.sign(text), SIGNER.verifier)


@pytest.mark.parametrize("more", ["e" * note.MAX_NOTE_OCTETS, "\x07", "\x00"])
def test_signed_but_too_long_or_with_control_characters(more: str) -> None:
    with pytest.raises(RemoteProtocolError, match="too long"):
        note.open_checkpoint(SIGNER.sign(HEAD.text() + more + "\n"), SIGNER.verifier)


def test_signatures_are_bounded() -> None:
    other = OTHER.sign(HEAD.text()).rpartition("\n\n")[2]
    assert note.open_checkpoint(NOTE + other * (note.MAX_SIGNATURES - 1), SIGNER.verifier) == HEAD
    with pytest.raises(RemoteProtocolError, match="too many"):
        note.open_checkpoint(NOTE + other * note.MAX_SIGNATURES, SIGNER.verifier)


def test_a_signing_key_under_another_name() -> None:
    with pytest.raises(ValueError, match="key hash"):
        note.Signer.parse(SIGNER.private_text().replace("test/ledger", "test/ledges"))


def test_extension_lines_are_passed_over() -> None:
    assert note.open_checkpoint(SIGNER.sign(HEAD.text() + "extension\n"), SIGNER.verifier) == HEAD


@given(st.binary(max_size=200))
def test_any_octets_are_judged_without_a_crash(octets: bytes) -> None:
    for text in (octets.decode("latin-1"), NOTE[:60] + octets.decode("latin-1") + NOTE[60:]):
        with contextlib.suppress(RemoteProtocolError):
            assert note.open_checkpoint(text, SIGNER.verifier) == HEAD
