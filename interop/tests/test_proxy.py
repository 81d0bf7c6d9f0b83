"""
Nodes and index servers behind a SOCKS5 proxy: payments, and what of it the network sees. Spec 02 §3.1, 09 §3.5.

Relays and index servers have names that the proxy alone knows, so nothing here works past it.
"""

import asyncio
import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from interop.network import Network, NodeSpec
from interop.ports import find_free_port
from interop.programs import OURS, Server, wait_until
from offset_ctrl import blocking, connect

DOMAIN = "names.invalid"


@dataclass(frozen=True)
class Behind:
    """A network behind a proxy."""

    network: Network
    proxy: Server
    asked: Path

    def pid(self, name: str) -> int:
        """Of a server of the network."""
        process = self.network.servers[name].process
        assert process is not None
        return process.pid


@pytest.fixture(scope="module")
def behind(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Behind]:
    """Two friends at one relay, who know each other's capacities by two index servers; only the relay has no proxy."""
    directory = tmp_path_factory.mktemp("proxy")
    port, asked = find_free_port(), directory / "asked"
    command = [sys.executable, "-m", "interop.socks", str(port), DOMAIN, str(asked)]
    proxy = Server("proxy", command, port, directory / "proxy.log")
    proxy.start()
    through = ("--proxy", f"socks5h://127.0.0.1:{port}")
    network = Network(directory, domain=DOMAIN)
    try:
        network.add_relay("relay")
        network.add_index_servers(["index0", "index1"], options=through)
        network.add_node(NodeSpec("A", "relay", "index0", through))
        network.add_node(NodeSpec("B", "relay", "index1", through))
        network.befriend("A", "B", "FST")
        network.set_limit("B", "A", "FST", 1000)
        yield Behind(network, proxy, asked)
    finally:
        network.stop()
        proxy.stop()


def _sockets(pid: int) -> tuple[set[tuple[int, int]], int]:
    """The TCP connections of a process, as pairs of its port and the other one, and the number of its UDP sockets."""
    links = [str(link.readlink()) for link in Path(f"/proc/{pid}/fd").iterdir() if link.is_symlink()]
    own = {link[8:-1] for link in links if link.startswith("socket:[")}
    pairs, datagrams = set[tuple[int, int]](), 0
    for kind in ("tcp", "tcp6", "udp", "udp6"):
        for row in Path(f"/proc/{pid}/net/{kind}").read_text().splitlines()[1:]:
            (
                _,
                local,
                remote,
                state,
                *_,
            ) = words = row.split()
            if words[9] not in own:
                continue
            if kind.startswith("udp"):
                datagrams += 1
            elif state != "0A":  # it listens
                pairs.add((int(local.rpartition(":")[2], 16), int(remote.rpartition(":")[2], 16)))
    return pairs, datagrams


def test_payments_pass_and_only_the_proxy_is_spoken_to(behind: Behind) -> None:
    """The nodes and the index servers have connections to the proxy, and what came in; they ask no DNS server."""
    network, ports = behind.network, behind.network.ports
    before = network.balance("A", "B", "FST")["balance"]
    for number in range(3):
        assert network.pay("A", "B", "FST", 10, f"payment{number}") == "Receipt is valid!"
    assert network.balance("A", "B", "FST")["balance"] == before - 30
    listening = {"A": {ports["A"]}, "B": {ports["B"]}}
    for name in ("index0", "index1"):
        listening[name] = {ports[f"{name}-client"], ports[f"{name}-server"]}
    reached = set()
    for name, own in listening.items():
        connections, datagrams = _sockets(behind.pid(name))
        outgoing = {there for here, there in connections if here not in own}
        assert outgoing <= {behind.proxy.port}, name
        assert datagrams == 0, name
        reached |= {name} if outgoing else set()
    assert {"A", "B"} < reached  # and of the index servers the one that connects to the other
    assert set(behind.asked.read_text().split()) - {f"node.{DOMAIN}"} == {
        f"{name}.{DOMAIN}" for name in ("relay", "index0", "index1")
    }


def test_apps_reach_a_node_through_the_proxy(behind: Behind) -> None:
    """By a name that the proxy alone knows: stctrl, and the SDK with an event loop and without one."""
    network, url = behind.network, f"socks5h://127.0.0.1:{behind.proxy.port}"
    ticket, app = network.path("named.ticket"), network.path("A-app.ident")
    address = f"node.{DOMAIN}:{network.ports['A']}"
    network.run("stmgr", "node-ticket", "-i", network.identity("A"), "-a", address, "-o", ticket)
    shown = network.run("stctrl", "-I", app, "-T", ticket, "--proxy", url, "info", "friends", "--json")
    assert [friend["name"] for friend in json.loads(shown.stdout)] == ["B"]
    refused = network.run("stctrl", "-I", app, "-T", ticket, "info", "friends", check=False)
    assert (refused.returncode, refused.stdout) == (1, "")

    async def names() -> list[str]:
        async with connect(ticket, app, proxy=url) as node:
            return [friend.name for friend in node.report.friends.values()]

    assert asyncio.run(names()) == ["B"]
    with blocking.connect(ticket, app, proxy=url) as node:
        assert [friend.name for friend in node.report.friends.values()] == ["B"]
    assert behind.asked.read_text().count(f"node.{DOMAIN}") == 3


def test_a_proxy_that_is_killed_and_comes_back(behind: Behind) -> None:
    """Friends lose each other, nothing goes past the proxy, and payments go on once it is there again."""
    network = behind.network
    behind.proxy.kill()
    for node, friend in (("A", "B"), ("B", "A")):
        network.wait_for(f"{friend} to be gone", node, friend, lambda found: not found["online"])
    for name in ("A", "B"):
        assert {there for here, there in _sockets(behind.pid(name))[0] if here != network.ports[name]} <= {
            behind.proxy.port
        }
    behind.proxy.start()
    network.wait_until_back("A")
    assert network.pay("A", "B", "FST", 7, "afterwards") == "Receipt is valid!"


@pytest.mark.parametrize(
    ("proxy", "reason"),
    [
        ("socks5://ann:s3cret@127.0.0.1:9050", "with socks5:// this machine would look names up"),
        ("socks5h://ann:s3cret@127.0.0.1:0", "'0' is no port"),
    ],
)
@pytest.mark.parametrize("program", ["stnode", "stindex", "stctrl"])
def test_what_is_no_proxy_is_refused_at_the_start(tmp_path: Path, program: str, proxy: str, reason: str) -> None:
    """With a word on it, and without the password."""
    result = subprocess.run([OURS.program(program), "--proxy", proxy], capture_output=True, text=True, cwd=tmp_path)
    assert result.returncode == 2
    assert reason in result.stderr
    assert "s3cret" not in result.stderr


def test_an_onion_service_without_a_proxy_is_told_once(tmp_path: Path) -> None:
    """The node goes on, and its log says what to do, for each server once and not again with each attempt."""
    onion = "2gzyxa5ihm7nsggfxnu52rck2vv4rvmdlkiu3zzui5du4xyclen53wid.onion:4000"
    with Network(tmp_path) as network:
        network.start_node(NodeSpec("A", "", ""))
        ticket = tmp_path / "onion.ticket"
        network.run("stmgr", "relay-ticket", "-i", network.identity("relay"), "-a", onion, "-o", ticket)
        network.stctrl("A", "config", "add-relay", "-r", ticket, "-n", "onion")
        log = tmp_path / "A.log"
        wait_until("the relay", lambda: "relay_not_reached" in log.read_text())
        other = tmp_path / "index.ticket"
        address = onion.replace(":4000", ":4001")
        network.run("stmgr", "index-ticket", "-i", network.identity("index"), "-a", address, "-o", other)
        network.stctrl("A", "config", "add-index", "-i", other, "-n", "onion")
        wait_until("the index server", lambda: "index_not_reached" in log.read_text())
        assert log.read_text().count("is reached through a proxy only; give --proxy") == 2
