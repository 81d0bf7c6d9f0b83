"""
Conversations of a small mixed network, recorded and replayed; `--record DIR` keeps the records.

A plays ours and B the original. A's stctrl is the original's and B's is ours; one relay and one of two index servers
are the original's. Those records that are kept in the repository (`interop/records`) come from here.
"""

from pathlib import Path
from typing import Final

import pytest

from interop.live.identities import make_identities
from interop.live.payments import try_route, wait_for_route, wait_until_settled
from interop.network import Cast, Network, NodeSpec
from interop.programs import OURS, Implementation, wait_until
from interop.recorder import Recorder
from interop.replay import replay
from offset_proto.messages.app import Failure

PAIR: Final = [("A", "B")]


def _player_of(cast: Cast, name: str) -> str | None:
    """Whose program has the identity *name*. A's app is played by both: the tests watch A with a stctrl of ours."""
    if name == "A-app":
        return None
    return cast.of(f"{name.removesuffix('-app')}.stctrl" if name.endswith("-app") else name).name


def _build(network: Network, lower: str) -> None:
    make_identities(network, *(("A", "B") if lower == "ours" else ("B", "A")))
    network.add_relay("relay0")
    network.add_relay("relay1")
    network.add_index_servers(["index0", "index1"])
    network.add_node(NodeSpec("A", "relay0", "index0"))
    network.add_node(NodeSpec("B", "relay1", "index1"))
    network.befriend("A", "B", "FST", rates=(1, 1))
    for node, friend in (("A", "B"), ("B", "A")):
        network.set_limit(node, friend, "FST", 100)


def _pay(network: Network, buyer: str, seller: str, amount: int, label: str) -> None:
    wait_for_route(network, buyer, seller, "FST", amount)
    assert network.pay(buyer, seller, "FST", amount, label) == "Receipt is valid!"
    wait_until_settled(network, PAIR, "FST")


def _change_relay(network: Network) -> None:
    network.stctrl("A", "config", "add-relay", "-r", network.path("relay1.ticket"), "-n", "second")
    network.stctrl("A", "config", "remove-relay", "-n", "relay0")
    wait_until("B to know the new relay of A", lambda: len(network.friends("B")["A"]["relays"]) == 1)
    for name in ("A", "B"):
        network.servers[name].kill()
        network.servers[name].start()
    for node, friend in (("A", "B"), ("B", "A")):
        network.wait_for(f"{friend} to be online", node, friend, lambda found: bool(found["online"]))


def _break_and_reset(network: Network, resets: str) -> None:
    """A forgets B; *resets* accepts the other's terms."""
    network.stctrl("A", "config", "remove-friend", "-n", "B")
    network.stctrl("A", "config", "add-friend", "-f", network.path("B.friend"), "-n", "B")
    network.stctrl("A", "config", "enable-friend", "-n", "B")
    other = {"A": "B", "B": "A"}
    for node, friend in other.items():
        network.wait_for("terms", node, friend, lambda found: found.get("remote_reset_terms") is not None)
    network.stctrl(resets, "config", "reset-friend", "-n", other[resets])
    for node, friend in other.items():
        network.wait_for("consistency", node, friend, lambda found: found["channel"] == "consistent")
    network.befriend("A", "B", "FST", rates=(1, 1))
    for node, friend in other.items():
        network.set_limit(node, friend, "FST", 100)


def _tell_the_story(network: Network, resets: str) -> None:
    _pay(network, "A", "B", 20, "first")
    _pay(network, "B", "A", 5, "back")
    attempt = try_route(network, ["A", "B"], "FST", 200, 10)
    assert isinstance(attempt.result, Failure)
    wait_until_settled(network, PAIR, "FST")
    _change_relay(network)
    _pay(network, "A", "B", 3, "elsewhere")
    _break_and_reset(network, resets)
    _pay(network, "B", "A", 4, "again")


@pytest.mark.parametrize("resets", ["A", "B"], ids=["ours resets", "the original resets"])
@pytest.mark.parametrize("lower", ["ours", "original"], ids=["lower key ours", "lower key the original's"])
def test_story(
    tmp_path: Path, original: Implementation, record_directory: Path | None, lower: str, resets: str
) -> None:
    """Opening, payments, a cancellation, a changed relay, a reset; all that was said is replayed by our engines."""
    roles = dict.fromkeys(["B", "A.stctrl", "relay0", "index1"], original)
    cast = Cast(OURS, roles)
    directory, records = tmp_path / "network", tmp_path / "records"
    directory.mkdir()
    if record_directory is not None:
        records = record_directory / f"lower-{lower}-reset-by-{resets}"
    recorder = Recorder(records, directory, lambda name: _player_of(cast, name))
    try:
        with Network(directory, cast, recorder) as network:
            _build(network, lower)
            _tell_the_story(network, resets)
    finally:
        recorder.close()
    summary = replay(records.glob("*.jsonl"))
    assert summary.resets == 1
    assert summary.tokens > 10
    assert summary.without_beginning == 0
    assert summary.built_again > 0
