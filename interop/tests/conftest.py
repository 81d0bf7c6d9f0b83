"""
Networks of real processes, made once for each module that asks for one.

These tests wait for ticks of a second for most of their time. So with ``-n auto`` there are half as many workers more
than cores.
"""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from interop.network import Cast, Network, NodeSpec
from interop.ready import OURS_READY


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """How many workers ``-n auto`` means."""
    cores = os.cpu_count() or 1
    return cores + (cores + 1) // 2


def build_chain(directory: Path) -> Network:
    """Three nodes A - B - C, two relays, two index servers; B takes 1 FST for what it forwards."""
    network = Network(directory, Cast(OURS_READY))
    try:
        network.add_relay("relay0")
        network.add_relay("relay1")
        network.add_index_servers(["index0", "index1"])
        for name, relay, index in (("A", "relay0", "index0"), ("B", "relay1", "index0"), ("C", "relay0", "index1")):
            network.add_node(NodeSpec(name, relay, index))
        network.befriend("A", "B", "FST", rates=(0, 1))
        network.befriend("B", "C", "FST", rates=(1, 0))
        for node, friend in (("A", "B"), ("B", "A"), ("B", "C"), ("C", "B")):
            network.set_limit(node, friend, "FST", 100_000)
    except BaseException:
        network.stop()
        raise
    return network


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Network]:
    """A running chain A - B - C."""
    network = build_chain(tmp_path_factory.mktemp("chain"))
    yield network
    network.stop()
