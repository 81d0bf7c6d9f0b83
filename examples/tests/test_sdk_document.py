"""docs/sdk.md, run as it is printed, on the network that it names."""

import doctest
from collections.abc import Iterator
from pathlib import Path

import pytest

from interop.network import Network, NodeSpec
from offset_ctrl.sdk.node import Node

ROOT = Path(__file__).parents[2]


@pytest.fixture
def network(tmp_path: Path) -> Iterator[Network]:
    """Alice and Bob, friends in FST."""
    made = Network(tmp_path)
    try:
        made.add_relay("relay")
        made.add_index_servers(["index"])
        for name in ("alice", "bob"):
            made.add_node(NodeSpec(name, "relay", "index", ("--without", "webhook")))
            # As `stmgr setup-node` makes them.
            directory = tmp_path / name
            directory.mkdir()
            (directory / "node.ticket").symlink_to(made.path(f"{name}.ticket"))
            (directory / "app.ident").symlink_to(made.path(f"{name}-app.ident"))
        made.befriend("alice", "bob", "FST")
        made.identity("stranger")
        yield made
    finally:
        made.stop()


def test_the_tutorial(network: Network, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every example gives what it says."""
    monkeypatch.chdir(network.directory)
    options = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE | doctest.IGNORE_EXCEPTION_DETAIL
    results = doctest.testfile(str(ROOT / "docs" / "sdk.md"), module_relative=False, optionflags=options)
    assert results.attempted > 10
    assert results.failed == 0


def test_the_table_names_every_verb() -> None:
    """And no other."""
    table = (ROOT / "docs" / "sdk.md").read_text().partition("## All verbs")[2]
    named = {word.strip("`,()") for word in table.split() if word.startswith("`") and "." not in word}
    public = {name for name in dir(Node) if not name.startswith("_")} - {"close"}
    assert named == public
