"""One short line for each message, so that expected and received sequences can be read side by side.

Only what tells one event of the same kind from another: which signal, which digits, how many parties. Numbers of
parties never stand in a label, so that a table of the report names nobody.
"""

from __future__ import annotations

from mediation.cli.demo.site import Line, texts
from mediation.cli.demo.site import label as plain


def label(line: Line) -> str:
    """The message's ASN.1 name and its detail, for example "confPartyChange joined 1"."""
    fields = line.get("fields") or {}
    detail: list[str] = []
    match line.get("message"):
        case "networkSignal":
            if plain(line) == "networkSignal":
                shown = fields.get("terminalDisplayInfo") or {}
                kinds = [name for name in ("messageWaitingNotif",) if shown.get(name)]
                detail = kinds or [name for name in ("refer", "other") if fields.get(name)]
        case "subjectSignal":
            signal = fields.get("signal") or {}
            name = next((name for name in ("refer", "switchhookFlash", "dialedDigits") if signal.get(name)), "")
            if name == "dialedDigits":  # a code and the number behind it: the number is somebody's
                dialed = str(signal[name])
                return f"subjectSignal dialedDigits {dialed[:3]}{'+' if len(dialed) > 3 else ''}"
            if name:
                return f"subjectSignal {name}"
        case "confPartyChange":
            for name, word in (("joinedParties", "joined"), ("removedParties", "removed")):
                if fields.get(name):
                    detail += [word, str(len(fields[name]))]
        case "connectionBreak":
            detail = ["dropped"] if fields.get("droppedParties") else []
        case "servingSystem":
            detail = [str(fields.get("registrationType", ""))]
        case "featureManagement":
            detail = [str(fields.get("managementType", "")), *list(texts(fields.get("featureId")))[:1]]
        case _:
            detail = []
    return " ".join([plain(line), *[word for word in detail if word]])
