"""The drill, as briefly as it goes: what is lost under load is made good by the commands of the documentation."""

import io
from pathlib import Path

from interop.drill.__main__ import run
from interop.drill.stories import STORIES

SECONDS = 2.0


def test_nothing_is_lost(tmp_path: Path) -> None:
    """A database, what came after a backup, a key: all balances are what was accepted, and payments pass."""
    log = io.StringIO()
    run(tmp_path, tuple(STORIES), SECONDS, None, log, paying=("bob", "erin"))
    said = log.getvalue()
    assert said.count("sum of differences: 0;") == len(STORIES), said
    assert said.count("after the loss a payment has passed") == len(STORIES), said
