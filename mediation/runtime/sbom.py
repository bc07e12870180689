"""The software bill of materials of a release: CycloneDX 1.6 JSON, the same octets on the same machine (SEC-25).

Answers for naming what runs in the daemon's process: the project, the distributions that it requires, with theirs, as
they are installed here, and the Debian packages whose libraries and programs it uses. The time is the release's, the
serial number comes from the contents. May not: fetch anything; what is not installed here is not in it.
"""

from __future__ import annotations

import datetime
import hashlib
import json
import re
import subprocess
from importlib import metadata
from typing import Any, Final

DEBIAN: Final = ("libbpf1", "libc6", "libelf1", "libssl3", "nftables", "python3.11", "zlib1g")
_NAME = re.compile(r"[A-Za-z0-9._-]+")
MAX_DISTRIBUTIONS: Final = 1_000


def _uuid(content: str) -> str:
    """Of these octets alone: RFC 9562 §5.8, version 8."""
    digest = hashlib.sha256(content.encode()).hexdigest()
    return f"{digest[:8]}-{digest[8:12]}-8{digest[13:16]}-a{digest[17:20]}-{digest[20:32]}"


def generate(version: str, requires: list[str], epoch_s: int) -> bytes:
    """`requires` are the project's requirements as pyproject.toml has them."""
    found: dict[str, metadata.Distribution] = {}
    todo = [_name(each) for each in requires]
    edges: dict[str, list[str]] = {}
    while todo and len(found) < MAX_DISTRIBUTIONS:
        name = todo.pop()
        if name in found:
            continue
        try:
            found[name] = metadata.distribution(name)
        except metadata.PackageNotFoundError:
            continue  # its marker does not hold on this machine
        needs = {_name(each) for each in found[name].requires or () if "extra ==" not in each}
        edges[name] = sorted(needs)
        todo += needs
    components = [_distribution(name, found[name]) for name in sorted(found)] + _debian()
    root = f"pkg:pypi/mediation@{version}"
    references = {one["name"]: one["bom-ref"] for one in components}
    direct = sorted({_name(each) for each in requires} & references.keys())
    dependencies = [{"ref": root, "dependsOn": [references[each] for each in direct] + [
        one["bom-ref"] for one in components if one["bom-ref"].startswith("pkg:deb/")]}]  # fmt: skip
    dependencies += [
        {"ref": references[name], "dependsOn": [references[each] for each in edges[name] if each in references]}
        for name in sorted(found)
    ]
    body: dict[str, Any] = {
        "bomFormat": "CycloneDX", "specVersion": "1.6", "version": 1,
        "metadata": {
            "timestamp": datetime.datetime.fromtimestamp(epoch_s, datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "component": {"type": "application", "bom-ref": root, "name": "mediation", "version": version, "purl": root,
                          "licenses": [{"license": {"id": "Apache-2.0"}}]},
        },
        "components": components, "dependencies": dependencies,
    }  # fmt: skip
    content = json.dumps(body, sort_keys=True)
    body["serialNumber"] = f"urn:uuid:{_uuid(content)}"
    return (json.dumps(body, sort_keys=True, indent=1) + "\n").encode()


def _name(requirement: str) -> str:
    """A requirement's distribution, normalised as package indexes do it."""
    found = _NAME.match(requirement)
    return re.sub(r"[-_.]+", "-", found[0]).lower() if found else ""


def _distribution(name: str, found: metadata.Distribution) -> dict[str, Any]:
    purl = f"pkg:pypi/{name}@{found.version}"
    one: dict[str, Any] = {"type": "library", "bom-ref": purl, "name": name, "version": found.version, "purl": purl}
    facts: Any = found.metadata
    if words := facts.get("License-Expression") or facts.get("License"):
        one["licenses"] = [{"license": {"name": str(words).strip().splitlines()[0][:200]}}]
    return one


def _debian() -> list[dict[str, Any]]:
    """Those of DEBIAN that are installed; none where there is no dpkg."""
    try:
        said = subprocess.run(  # noqa: S603 - a fixed program and fixed words
            ["/usr/bin/dpkg-query", "-W", "-f", "${Package} ${Version} ${Architecture}\\n", *DEBIAN],
            capture_output=True, text=True, check=False, timeout=30, env={"LC_ALL": "C"},
        ).stdout  # fmt: skip
    except OSError:
        return []
    rows = sorted(line.split() for line in said.splitlines() if len(line.split()) == 3)
    return [
        {"type": "library", "bom-ref": purl, "name": name, "version": version, "purl": purl}
        for name, version, architecture in rows
        for purl in [f"pkg:deb/debian/{name}@{version}?arch={architecture}"]
    ]
