"""What a release consists of and needs, as a CycloneDX 1.6 document: ``make sbom``.

Our own C is in it file by file, with what it is needed for at run time: what setup.cfg asks for, in
the versions of tests/requirements.lock, which every test ran with, each with the digests of the
files that an index has of it. The same tree gives the same bytes: no date, and a serial number
that is made of the rest.
"""

from __future__ import annotations

import configparser
import hashlib
import json
import re
import sys
import uuid
from collections.abc import Iterator, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from relokit.codegen.base.native_sources import SOURCES
from relokit.codegen.base.version import VERSION

TOP = Path(__file__).resolve().parents[2]
LOCK = TOP / "tests" / "requirements.lock"
LICENCE = "GPL-2.0-or-later"
ENVIRONMENT = {
    "python_version": "3.11",
    "python_full_version": "3.11.0",
    "sys_platform": "linux",
    "os_name": "posix",
    "platform_system": "Linux",
    "extra": "",
    "implementation_name": "cpython",
    "platform_python_implementation": "CPython",
}
"""Where it is installed: the oldest Python that is supported, whichever makes this document."""
_PINNED = re.compile(r"^([A-Za-z0-9._-]+)==([^ ;\\]+)(?: ; ([^\\]+?))? \\$")
_HASH = re.compile(r"--hash=sha256:([0-9a-f]{64})")
Pins = Mapping[str, tuple[str, tuple[str, ...]]]


def wanted(extra: str | None = None) -> list[Requirement]:
    """What setup.cfg asks for at run time, or for ``extra``."""
    config = configparser.ConfigParser()
    config.read(TOP / "setup.cfg")
    part = (
        config["options.extras_require"][extra] if extra else config["options"]["install_requires"]
    )
    return [Requirement(line) for line in part.split("\n") if line.strip()]


def pins(environment: Mapping[str, str] = ENVIRONMENT) -> Pins:
    """By name, the version that is pinned there, and the SHA-256 of its files."""
    found: dict[str, tuple[str, tuple[str, ...]]] = {}
    for part in re.split(r"\n(?=\S)", LOCK.read_text()):
        line = _PINNED.match(part.partition("\n")[0])
        assert line, part[:80]
        name, version, marker = line.groups()
        applies = marker is None or Requirement(f"x; {marker}").marker
        if applies is True or (applies and applies.evaluate(dict(environment))):
            assert name not in found, f"{name} is pinned twice"
            found[str(canonicalize_name(name))] = version, tuple(_HASH.findall(part))
    return found


def needed(name: str) -> list[str]:
    """What the distribution ``name`` asks for in turn, where it is installed."""
    asked = [Requirement(one) for one in metadata.requires(name) or ()]
    return sorted(
        str(canonicalize_name(one.name))
        for one in asked
        if one.marker is None or one.marker.evaluate(dict(ENVIRONMENT))
    )


def graph() -> dict[str, list[str]]:
    """All that is needed at run time, with what each needs."""
    found: dict[str, list[str]] = {}
    open_names = [str(canonicalize_name(one.name)) for one in wanted()]
    while open_names:
        name = open_names.pop()
        if name not in found:
            found[name] = needed(name)
            open_names += found[name]
    return dict(sorted(found.items()))


def licences(name: str) -> list[dict[str, Any]]:
    """What the distribution says of its licence; nothing where it says nothing."""
    about = metadata.metadata(name)
    expression = about.get("License-Expression")
    if expression:
        return [{"expression": expression}]
    said = [
        one.rpartition(" :: ")[2] for one in about.get_all("Classifier", []) if "License" in one
    ]
    plain = (about.get("License") or "").split("\n")[0]
    said = said or [plain] * (plain not in ("", "UNKNOWN"))
    return [{"license": {"name": one}} for one in said]


def sources() -> Iterator[dict[str, Any]]:
    """Our own C, which a wheel has compiled."""
    for name in sorted(SOURCES):
        digest = hashlib.sha256((TOP / name).read_bytes()).hexdigest()
        yield {
            "type": "file",
            "bom-ref": f"file:{name}",
            "name": name,
            "hashes": [{"alg": "SHA-256", "content": digest}],
        }


def component(name: str, pinned: Pins) -> dict[str, Any]:
    """A distribution, as it is pinned."""
    version, digests = pinned[name]
    address = f"pkg:pypi/{name}@{version}"
    found: dict[str, Any] = {
        "type": "library",
        "bom-ref": address,
        "name": name,
        "version": version,
        "purl": address,
        "externalReferences": [
            {
                "type": "distribution",
                "url": f"https://pypi.org/project/{name}/{version}/",
                "hashes": [{"alg": "SHA-256", "content": one} for one in sorted(digests)],
            }
        ],
    }
    said = licences(name)
    return found | ({"licenses": said} if said else {})


def document() -> dict[str, Any]:
    """The whole of it."""
    pinned, tree = pins(), graph()
    ours = f"pkg:pypi/relokit@{VERSION}"
    native = list(sources())
    refs = {name: f"pkg:pypi/{name}@{pinned[name][0]}" for name in tree}
    library = {
        "type": "library",
        "bom-ref": "native",
        "name": "relokit.codegen.base._native",
        "version": VERSION,
        "licenses": [{"license": {"id": LICENCE}}],
        "components": native,
    }
    direct = sorted(refs[str(canonicalize_name(one.name))] for one in wanted())
    whole: dict[str, Any] = {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {
            "component": {
                "type": "application",
                "bom-ref": ours,
                "name": "relokit",
                "version": VERSION,
                "purl": ours,
                "licenses": [{"license": {"id": LICENCE}}],
            }
        },
        "components": [library, *(component(name, pinned) for name in tree)],
        "dependencies": [
            {"ref": ours, "dependsOn": ["native", *direct]},
            *({"ref": refs[name], "dependsOn": [refs[one] for one in tree[name]]} for name in tree),
        ],
    }
    serial = uuid.uuid5(uuid.NAMESPACE_URL, json.dumps(whole, sort_keys=True))
    return whole | {"serialNumber": f"urn:uuid:{serial}"}


if __name__ == "__main__":
    json.dump(document(), sys.stdout, indent=1, sort_keys=True)
    print()
