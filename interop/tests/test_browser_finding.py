"""What is said, and with which status, where the tests of the wallet find no browser."""

import os
import platform
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from interop.browser import finding

WHY = "apt-get: no such host"


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, int, list[str | None]], None]:
    """Makes this a machine of a kind: the system, the user, and what a look for a browser finds, time after time."""

    def make(system: str, user: int, finds: list[str | None]) -> None:
        monkeypatch.setattr(platform, "freedesktop_os_release", lambda: {"ID": system})
        monkeypatch.setattr(os, "geteuid", lambda: user)
        monkeypatch.setattr(shutil, "which", lambda name: f"/usr/bin/{name}")
        monkeypatch.setattr(finding, "find_browser", lambda: finds.pop(0))
        monkeypatch.setattr(finding, "install_browser", lambda: [WHY])

    return make


@pytest.mark.parametrize(("system", "user", "status"), [("debian", 0, 1), ("debian", 1000, 0), ("alpine", 0, 0)])
def test_where_there_is_none(
    machine: Callable[..., None], capsys: pytest.CaptureFixture[str], system: str, user: int, status: int
) -> None:
    """It fails where one can be had for sure, and is skipped elsewhere; and both say why."""
    machine(system, user, [None, None])
    assert finding.main() == status
    said = capsys.readouterr()
    assert WHY in (said.err if status else said.out)
    assert ("FAILED" if status else "SKIPPED") in said.err + said.out


@pytest.mark.parametrize("finds", [["/usr/bin/chromium"], [None, "/usr/bin/chromium"]])
def test_where_there_is_one(
    machine: Callable[..., None], capsys: pytest.CaptureFixture[str], finds: list[str | None]
) -> None:
    """Or where it was installed just now."""
    machine("debian", 0, finds)
    assert finding.main() == 0
    assert capsys.readouterr().out == "browser: /usr/bin/chromium\n"


@pytest.mark.parametrize(("script", "is_one"), [("exit 0", True), ("echo install it by snap; exit 1", False)])
def test_what_does_not_start_is_no_browser(tmp_path: Path, script: str, is_one: bool) -> None:
    """Whatever its name is."""
    program = tmp_path / "chromium"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    assert finding.does_start(str(program)) is is_one
    assert not finding.does_start(str(tmp_path / "nothing"))
