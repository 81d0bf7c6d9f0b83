"""The original's stcompact, in the conversations that ours holds; and each on the store of the other."""

from pathlib import Path

import pytest

from interop.conversation import Wallet, hold
from interop.programs import OURS, Implementation

CONVERSATIONS = sorted((Path(__file__).parents[1] / "conversations").glob("*.talk"))
SHARED = [path for path in CONVERSATIONS if not path.name.endswith(".ours.talk")]


@pytest.mark.parametrize("path", SHARED, ids=lambda path: path.name)
def test_conversations(original: Implementation, path: Path, tmp_path: Path) -> None:
    """To the letter."""
    with Wallet(original.program("stcompact"), tmp_path / "store", tmp_path / "log") as wallet:
        hold(path, wallet)


@pytest.mark.parametrize("ours_first", [True, False])
def test_stores(original: Implementation, ours_first: bool, tmp_path: Path) -> None:
    """What one has written the other goes on with: a node, its relay and an open invoice."""
    programs = [OURS.program("stcompact"), original.program("stcompact")]
    first, second = programs if ours_first else reversed(programs)
    begin = (Path(__file__).parents[1] / "conversations" / "session.talk").read_text().splitlines()
    half = begin[: begin.index('<- {"ack":"$r4"}') + 1]
    (tmp_path / "begin.talk").write_text("\n".join([*half, "-. 0"]))
    with Wallet(first, tmp_path / "store", tmp_path / "log") as wallet:
        hold(tmp_path / "begin.talk", wallet)
    with Wallet(second, tmp_path / "store", tmp_path / "log") as wallet:
        assert wallet.hear()["serverToUser"]["nodesStatus"]["alice"]["isEnabled"]
        opened = wallet.hear()["serverToUser"]["nodeOpened"]
        assert [relay["address"] for relay in opened["compactReport"]["relays"]] == ["127.0.0.1:1"]
        (invoice,) = opened["compactReport"]["openInvoices"].values()
        assert invoice["description"] == 'tea, "for two"'
        assert wallet.end() == 0
