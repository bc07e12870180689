"""Whether a ledger is what its checkpoint says: offline, from its files and the ledger's public key alone.

Names the first bad entry by its index. Finds an edited, missing, added or reordered record, an edited or missing tile,
a checkpoint that is forged or older than what stands beside it, and tells a record that was destroyed under a
certificate from one that was taken away. What no single ledger can show is that all of it was replaced by whoever holds
its key: the witnesses' cosignatures show that (C2SP tlog-witness), when somebody outside compares them.

It may not write, and needs no network and no private key.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import msgspec

from mediation.administration.ledger import tiles
from mediation.administration.ledger.bundles import UNCOVERED, Problem, Reader
from mediation.administration.ledger.tiles import (
    CHECKPOINT,
    ENTRY_OCTETS,
    HISTORY,
    PUBLISHED,
    WIDTH,
    WITNESSED,
    WITNESSED_HISTORY,
    Files,
    Folder,
)
from mediation.core.case import Proof
from mediation.core.errors import LedgerError, RemoteProtocolError
from mediation.core.ledger import entry, merkle, note
from mediation.core.ledger.policy import Policy
from mediation.runtime import durable

BEHIND = "ends before the checkpoint"  # what an append leaves until the history has it
ATTEMPTS, PAUSE_S = 10, 0.05
MAX_PROBLEMS = 100  # reported; the first is what counts
RECENT = 256  # signed heads looked at when the ledger is opened (0.1 ms each); `mediation ledger verify` looks at all
NEWEST = 1 << 18  # leaves of padding looked at when the ledger is opened (4 µs each); the rest within the hour
UNWITNESSED = "unwitnessed: nobody outside this site has countersigned the ledger's head"
UNJUDGED = "unwitnessed as far as this shows: a head was cosigned, and no policy says whose cosignatures count"
LAB = "unwitnessed: a LAB witness in the site's own process is no witness"

OnRecord = Callable[[tiles.Line, entry.Record], None]


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What was found. `checkpoint` is the head's text; `tree` holds its hashes.

    `witnessed` is the text of the last head that stands there with cosignatures, "" if none: whether they are a quorum
    is for `core.policy` to say. `destroyed` counts the records that a certificate of destruction names. `deferred` are
    the bundles whose padding was not looked at; the tree's own hash over each was. `run` is the padding that goes on
    at the end.
    """

    checkpoint: str
    head: note.Checkpoint
    tree: merkle.Tree
    kinds: dict[str, int]
    first_us: int | None
    last_us: int | None
    signed_heads: int
    problems: tuple[Problem, ...]
    witnessed: str = ""
    destroyed: int = 0
    deferred: tuple[int, ...] = ()
    run: tiles.Line | None = None
    last_entry: int = -1  # index of the last leaf that is no padding
    opened: bool = True  # whether the records were looked at, which takes the vault: else tree, tiles and heads were

    def raise_first(self) -> None:
        """Raises LedgerError naming the first bad entry, if there is one."""
        if self.problems:
            raise LedgerError(f"entry {self.problems[0].index}: {self.problems[0].what}")


def examine(
    files: Files,
    verifier: note.Verifier,
    *,
    known: str | None = None,
    on_record: OnRecord | None = None,
    recent: int | None = None,
    newest: int | None = None,
    again: Callable[[], object] = lambda: None,
) -> Report:
    """Reads a whole ledger, also beside its writer; `again` is called before each further attempt. `known` is an older
    checkpoint that somebody kept: the ledger must still contain it. `recent` limits how many of the earlier signed
    heads are looked at, counted from the last; `newest` how many leaves of padding are: what is older than those is in
    `deferred`, for `padding_problem`. Every record is looked at in any case.

    Raises LedgerError when there is no checkpoint that the key signed; everything else is in the report.
    """
    for _ in range(ATTEMPTS):
        report, records = _examine(files, verifier, known, recent, newest)
        moved = files.read(CHECKPOINT) != report.checkpoint.encode()
        if not moved and not any(problem.what.endswith((UNCOVERED, BEHIND)) for problem in report.problems):
            break
        # Its writer may be between tiles and checkpoint, or that and the history; nothing tells when it is done.
        time.sleep(PAUSE_S)
        again()
    if on_record is not None:
        for line, record in records:
            on_record(line, record)
    return report


def _examine(
    files: Files, verifier: note.Verifier, known: str | None, recent: int | None, newest: int | None
) -> tuple[Report, list[tuple[tiles.Line, entry.Record]]]:
    text = (files.read(CHECKPOINT) or b"").decode(errors="replace")
    head = _open(text, verifier, CHECKPOINT)
    reader = Reader(files, head, shallow=0 if newest is None else max(0, head.size - newest) // WIDTH)
    for n in range(-(-head.size // WIDTH)):
        reader.bundle(n)
    reader.upper_tiles()
    reader.beyond()
    reader.destructions()
    tree, problems = reader.tree, reader.problems
    heads = _history(files, verifier, reader, recent)
    signed_heads = len(heads)
    if known is not None:
        heads.append(_open(known, verifier, "the known checkpoint"))
    older = _outside(files, verifier, problems, recent)
    witnessed = _text(files, WITNESSED) if files.read(WITNESSED) is not None else ""
    if tree.size == head.size:
        good = 0
        for old, what in sorted(
            [*((each, CHECKPOINT) for each in (*heads, head)), *older], key=lambda pair: pair[0].size
        ):
            if old.size > head.size:
                problems.append(Problem(index=head.size, what=f"the {CHECKPOINT} was replaced by an older one"))
                break
            if tree.root(old.size) != old.root:
                by = "signed" if what == CHECKPOINT else "shown to the witnesses"
                problems.append(Problem(index=good, what=f"the tree is not the one that was {by}"))
                break
            good = old.size
    report = Report(
        checkpoint=text, head=head, tree=tree, kinds=dict(sorted(reader.kinds.items())), first_us=reader.first_us,
        last_us=reader.last_us, signed_heads=signed_heads, problems=tuple(sorted(problems)[:MAX_PROBLEMS]),
        witnessed=witnessed, destroyed=len(reader.destroyed), deferred=tuple(reader.deferred), run=reader.run,
        last_entry=reader.last_entry, opened=files.opened,
    )  # fmt: skip
    return report, reader.records


def _outside(
    files: Files, verifier: note.Verifier, problems: list[Problem], recent: int | None
) -> list[tuple[note.Checkpoint, str]]:
    """The heads that left the site: published ones, and those that came back with cosignatures."""
    texts = [_text(files, name) for name in (PUBLISHED, WITNESSED) if files.read(name) is not None]
    lines = durable.whole_lines(files.read(WITNESSED_HISTORY) or b"").splitlines()
    found: list[tuple[note.Checkpoint, str]] = []
    try:
        texts += [msgspec.json.decode(line, type=str) for line in (lines if recent is None else lines[-recent:])]
        found += [(_open(text, verifier, WITNESSED), WITNESSED) for text in texts]
    except (msgspec.MsgspecError, UnicodeDecodeError, LedgerError):
        problems.append(Problem(index=found[-1][0].size if found else 0, what="a published head was edited"))
    return found


def _text(files: Files, name: str) -> str:
    return (files.read(name) or b"").decode(errors="replace")


def _history(files: Files, verifier: note.Verifier, reader: Reader, recent: int | None) -> list[note.Checkpoint]:
    """The heads that were signed before, oldest first. What none of them covers yet can be padding only."""
    heads: list[note.Checkpoint] = []
    lines = durable.whole_lines(files.read(HISTORY) or b"").splitlines()
    for line in lines if recent is None else lines[-recent:]:
        try:
            heads.append(_open(msgspec.json.decode(line, type=str), verifier, HISTORY))
        except (msgspec.MsgspecError, UnicodeDecodeError, LedgerError):
            at = heads[-1].size if heads else 0
            reader.problem(at, "the history of checkpoints was edited here")
            return heads
    if not heads or heads[-1].size <= reader.last_entry:
        reader.problem(heads[-1].size if heads else 0, f"the history of checkpoints {BEHIND}")
    return heads


def _open(text: str, verifier: note.Verifier, name: str) -> note.Checkpoint:
    try:
        return note.open_checkpoint(text, verifier)
    except RemoteProtocolError as error:
        raise LedgerError(f"{name}: {error}") from error


def line(files: Files, index: int, size: int) -> tiles.Line:
    """The record of entry `index` as its file has it, held against its commitment. Raises LedgerError."""
    if not 0 <= index < size:
        raise LedgerError(f"entry {index}: there is none; the ledger has {size}")
    if not files.opened:
        raise LedgerError(f"entry {index}: its record is sealed, and the vault is not open here")
    n, offset = divmod(index, WIDTH)
    try:
        texts = (files.read(tiles.records(n)) or b"").splitlines()
        lines = {each.index: each for each in (msgspec.json.decode(text, type=tiles.Line) for text in texts)}
        found = lines.get(index)
        if found is None or found.seed:
            raise LedgerError(f"entry {index}: padding, or missing: there is no record to show")
        if found.destroyed:
            raise LedgerError(f"entry {index}: the record was destroyed; certificate {found.destroyed}")
        commitment = entry.commitment(bytes.fromhex(found.salt), found.record)
    except (msgspec.MsgspecError, UnicodeDecodeError, ValueError):
        raise LedgerError(f"entry {index}: the records are not readable") from None
    for width in range(WIDTH, offset, -1):
        tile = files.read(tiles.tile("entries", n, width))
        if tile is not None:
            if tile[offset * ENTRY_OCTETS + 2 : (offset + 1) * ENTRY_OCTETS] == commitment:
                return found
            break
    raise LedgerError(f"entry {index}: the record is not the one that was entered")


def prove(folder: Folder, verifier: note.Verifier, index: int) -> Proof:
    """The proof that entry `index` stands under the present checkpoint, from the files alone. Raises LedgerError."""
    report = examine(folder, verifier)
    report.raise_first()
    found = line(folder, index, report.head.size)
    path = merkle.inclusion_path(index, report.head.size, report.tree.read)
    return Proof(
        index=index, record=found.record, salt=found.salt, path=tuple(node.hex() for node in path),
        checkpoint=report.checkpoint,
    )  # fmt: skip


def sentence(text: str, policy: Policy | None) -> str:
    """What the cosignatures of a head are worth, for a person. Raises LedgerError for a malformed note."""
    if not text:
        return UNWITNESSED
    if policy is None:
        return UNJUDGED
    try:
        judged = policy.judge(text)
        size = note.parse_checkpoint(note.split(text)[0]).size
    except RemoteProtocolError as error:
        raise LedgerError(f"{WITNESSED}: {error}") from error
    if not judged.quorum:
        return UNWITNESSED
    who = f"{size} entries cosigned by {', '.join(judged.cosigners)}"
    return f"{LAB}: {who}" if policy.lab else who
