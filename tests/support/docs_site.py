"""``make docs`` for tests."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def build_site(site: Path, *, source: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """As ``make docs``, into ``site``."""
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", site]
    return subprocess.run(command, cwd=source, capture_output=True, text=True, check=False)
