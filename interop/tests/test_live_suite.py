"""The live suite where the original's programs are not there: it says so, and claims nothing."""

import os
import subprocess
import sys
from pathlib import Path

LIVE = Path(__file__).parent.parent / "live"


def _run(**variables: str) -> "subprocess.CompletedProcess[str]":
    environment = {key: value for key, value in os.environ.items() if key != "OFFSET_RUST_BIN"} | variables
    command = [sys.executable, "-m", "pytest", "-p", "no:randomly", "-rs", str(LIVE)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, cwd=LIVE.parent.parent)


def test_without_the_original() -> None:
    """Every test is skipped, with the reason; none passes."""
    result = _run()
    assert result.returncode == 0
    assert "OFFSET_RUST_BIN does not name a directory" in result.stdout
    assert " passed" not in result.stdout


def test_an_incomplete_directory(tmp_path: Path) -> None:
    """A mistaken directory is an error, not a reason to skip."""
    result = _run(OFFSET_RUST_BIN=str(tmp_path))
    assert result.returncode != 0
    assert "no program stnode, strelay" in result.stdout + result.stderr
    assert "skipped" not in result.stdout
