"""What a release is tested with, and made of: pins with hashes, and an SBOM as CycloneDX has it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from packaging.requirements import Requirement

from relokit.codegen.base.native_sources import SOURCES
from support import sbom

TESTS = Path(__file__).parents[1]
PYTHONS = ("3.11", "3.12", "3.13")


@pytest.mark.parametrize("python", PYTHONS)
@pytest.mark.parametrize("extra", [None, "test"])
def test_all_that_is_asked_for_is_pinned(python: str, extra: str | None) -> None:
    """Or `make` would fail, or install what nobody has seen."""
    environment = sbom.ENVIRONMENT | {
        "python_version": python,
        "python_full_version": f"{python}.0",
    }
    pinned = sbom.pins(environment)
    for one in sbom.wanted(extra):
        version, hashes = pinned[one.name]
        assert one.specifier.contains(version), one
        assert hashes, one


def test_every_line_is_pinned_with_its_hashes() -> None:
    lines = sbom.LOCK.read_text().splitlines()
    names = [line for line in lines if line[:1] != " "]
    assert all("==" in line and line.endswith("\\") for line in names)
    assert all("--hash=sha256:" in line for line in lines if line[:1] == " ")


def test_a_marker_that_does_not_hold_is_no_pin() -> None:
    assert "colorama" not in sbom.pins()
    assert "colorama" in sbom.pins(sbom.ENVIRONMENT | {"sys_platform": "win32"})


def _made() -> str:
    done = subprocess.run(
        [sys.executable, "-m", "support.sbom"],
        cwd=TESTS,
        check=True,
        capture_output=True,
        text=True,
    )
    return done.stdout


def test_the_sbom_is_sound_whole_and_the_same_each_time() -> None:
    text = _made()
    assert _made() == text
    validator = JsonStrictValidator(SchemaVersion.V1_6)
    assert validator.validate_str(text) is None
    assert validator.validate_str(text.replace('"SHA-256"', '"SHA-0"', 1)) is not None
    found = json.loads(text)
    native, *needed = found["components"]
    assert [one["name"] for one in native["components"]] == sorted(SOURCES)
    assert {Requirement(str(one)).name for one in sbom.wanted()} < {one["name"] for one in needed}
    # Nothing of what only tests need; what is needed in turn is there.
    names = {one["name"] for one in needed}
    assert "markupsafe" in names
    assert not names & {"pytest", "hypothesis", "mypy", "ruff"}
    refs = {one["bom-ref"] for one in needed} | {"native"}
    assert all(set(one["dependsOn"]) <= refs for one in found["dependencies"])
