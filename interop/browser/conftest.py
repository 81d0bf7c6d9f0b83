"""A browser, and a network whose people do not know each other yet."""

import os
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, sync_playwright

from interop.browser.finding import find_browser
from interop.network import Network, NodeSpec


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A browser without a window."""
    path = find_browser()
    if path is None:
        pytest.skip("there is no browser on this machine, and none could be installed; see interop/browser/finding.py")
    with sync_playwright() as playwright:
        sandbox = ["--no-sandbox"] if os.geteuid() == 0 else []  # Chromium has none for root
        launched = playwright.chromium.launch(executable_path=path, args=sandbox)
        yield launched
        launched.close()


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Network]:
    """A relay, an index server, and the nodes of alice and bob, who do not know each other yet."""
    with Network(tmp_path_factory.mktemp("wallets")) as network:
        network.add_relay("relay0")
        network.add_index_servers(["index0"])
        for name in ("alice", "bob"):
            network.add_node(NodeSpec(name, "relay0", "index0"))
        yield network
