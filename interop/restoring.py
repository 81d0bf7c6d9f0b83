"""What tests do to a node that loses its database: back up, kill, restore, and let the owner accept terms."""

from pathlib import Path

from interop.network import Network
from interop.programs import wait_until

__all__ = ["accept_terms", "back_up", "balance", "knows_terms", "log_of", "restore", "run_on"]


def back_up(network: Network, node: str) -> Path:
    """A backup of what a node runs on, or ran on last."""
    command = network.servers[node].command
    target = Path(command[command.index("-d") + 1]).with_suffix(".backup")
    network.run("stmgr", "backup", "-d", target.with_suffix(".db"), "-o", target)
    return target


def run_on(network: Network, node: str, database: Path) -> None:
    """Let a node that is down run on another database."""
    server = network.servers[node]
    server.command[server.command.index("-d") + 1] = str(database)
    server.start()


def restore(network: Network, node: str, backup: Path) -> None:
    """Kill the node, lose its database, restore an old one."""
    network.servers[node].kill()
    lost = backup.with_suffix(".db")
    for path in network.directory.glob(f"{lost.name}*"):
        path.unlink()
    database = network.path(f"{lost.stem}-restored.db")
    assert "speak first" in network.run("stmgr", "restore", "-i", backup, "-o", database).stdout
    run_on(network, node, database)


def log_of(network: Network, node: str) -> str:
    """What a node has logged."""
    return network.servers[node].log.read_text()


def balance(network: Network, node: str, friend: str) -> int:
    """What *friend* owes *node* in FST."""
    return network.balance(node, friend, "FST")["balance"]


def knows_terms(network: Network, node: str, friend: str) -> bool:
    """Whether the channel is broken, and *node* has the terms of *friend*."""
    return network.friends(node)[friend].get("remote_reset_terms") is not None


def accept_terms(network: Network, node: str, friend: str) -> None:
    """Let the owner of *node* accept the terms of *friend*, when they have come."""
    wait_until(f"the terms of {friend}", lambda: knows_terms(network, node, friend), 90)
    network.stctrl(node, "config", "reset-friend", "-n", friend)
    wait_until(f"{friend} to go on", lambda: "balances" in network.friends(friend)[node], 60)
