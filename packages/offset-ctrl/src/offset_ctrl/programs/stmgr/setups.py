"""Commands of stmgr that make all that a node, a relay or an index server needs, in a directory. Spec 09 §4.2."""

import itertools
import os
import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from offset_ctrl.programs.stmgr.backups import restore_database
from offset_ctrl.programs.stmgr.databases import create_database
from offset_ctrl.programs.stmgr.files import (
    ADDRESS,
    PATH,
    check_new,
    in_group,
    parse_address,
    public_key,
)
from offset_proto.cli import PASSPHRASE_FILE, SOCKET_ADDRESS, OffsetCommand
from offset_proto.errors import InvalidInput

if TYPE_CHECKING:
    from offset_proto.messages.payment import RelayAddress
    from offset_proto.types import NetAddress, PublicKey

__all__ = ["COMMANDS"]

Place = tuple[str, int]
"""Host, numeric, and port of a listening address."""

FIRST_PORT: Final = 17_000
PORTS: Final = 1000
"""Where apps reach a node, if nobody says. It depends on the node's key, so that several nodes fit on one machine."""

_DIRECTORY = click.argument("directory", type=PATH)
_SYSTEMD = click.option("--systemd", is_flag=True, help="Write a unit of systemd as well.")
_LADDR = click.option("-l", "--laddr", type=SOCKET_ADDRESS, help="Address to listen on, IP:port.")

_NODE_CONFIG = """\
# Settings of stnode: the long names of its options. Paths start at this directory.
#     stnode --config FILE                  runs the node
#     stnode --config FILE --check-config   shows and checks the settings
idfile = "node.ident"
database = "node.db"
trusted = "apps"
# Where apps of this machine reach the node; node.ticket says the same.
laddr = "{laddr}"

# What is shown here is off until the # before it goes.
# passphrase-file = "passphrase"            # of a locked identity
# metrics = "127.0.0.1:9701"                # for Prometheus, and health
# proxy = "socks5h://127.0.0.1:9050"        # to relays and index servers, such as Tor
# plugin-settings = "plugins.toml"
# without = ["NAME"]                        # plugins that are not to run
"""

_RELAY_CONFIG = """\
# Settings of strelay: the long names of its options. Paths start at this directory.
#     strelay --config FILE                 runs the relay
#     strelay --config FILE --check-config  shows and checks the settings
idfile = "relay.ident"
laddr = "{laddr}"

# passphrase-file = "passphrase"            # of a locked identity
# metrics = "127.0.0.1:9702"                # for Prometheus, and health
# grace = "5"                               # seconds that tunnels have after SIGTERM
"""

_INDEX_CONFIG = """\
# Settings of stindex: the long names of its options. Paths start at this directory.
#     stindex --config FILE                 runs the index server
#     stindex --config FILE --check-config  shows and checks the settings
idfile = "index.ident"
trusted = "trusted-servers"
# For nodes, and for other index servers.
lclient = "{lclient}"
lserver = "{lserver}"

# proxy = "socks5h://127.0.0.1:9050"        # to other index servers, such as Tor
# passphrase-file = "passphrase"            # of a locked identity
# metrics = "127.0.0.1:9703"                # for Prometheus, and health
"""


def _set_up(directory: Path, fill: Callable[[Path], None]) -> None:
    """
    Make *directory*, whole or not at all; it is readable for its owner only.

    Raises:
        OutputAlreadyExists: There is something of that name.
    """
    import shutil
    import tempfile

    check_new(directory)
    parent = directory.resolve().parent
    parent.mkdir(parents=True, exist_ok=True)
    made = Path(tempfile.mkdtemp(prefix=f".{directory.name}-", dir=parent))
    try:
        fill(made)
        made.rename(directory)
    except BaseException:
        shutil.rmtree(made)
        raise


def _save_unit(made: Path, directory: Path, program: str, what: str, *, writes: bool = False) -> None:
    """
    Write a unit for the server in *directory*, which is filled as *made*; who makes it is who runs it.

    Raises:
        InvalidInput: The program is not installed, or a line of a unit can not name the directory.
    """
    import pwd
    import shutil
    import sysconfig

    from offset_ctrl.programs.stmgr.units import format_unit

    found = shutil.which(program, path=sysconfig.get_path("scripts")) or shutil.which(program)
    if found is None:
        raise InvalidInput(f"{program} is not installed: pip install offset-{what.split()[0]}")
    home, name = directory.absolute(), _unit_name(directory)
    if not str(home).isprintable():
        raise InvalidInput(f"a unit can not name the directory {str(home)!r}")
    unit = format_unit(
        name=name,
        description=f"Offset {what} in {home}",
        user=pwd.getpwuid(os.getuid()).pw_name,
        program=str(Path(found).absolute()),
        config=str(home / f"{what.split()[0]}.toml"),
        directory=str(home),
        writes=writes,
    )
    (made / name).write_text(unit)


def _unit_name(directory: Path) -> str:
    """Of the letters that the name of a unit may have; whoever runs several servers gives their directories names."""
    return f"offset-{re.sub(r'[^A-Za-z0-9_.-]', '-', directory.absolute().name)}.service"


def _tell_unit(directory: Path) -> None:
    unit = directory / _unit_name(directory)
    copies = shlex.join(["sudo", "cp", str(unit), "/etc/systemd/system/"])
    click.echo(f"{copies} && sudo systemctl enable --now {unit.name}    lets systemd run it")


def _new_identity(path: Path) -> "PublicKey":
    from offset_crypto.identity import Identity
    from offset_proto.files import IDENTITY, IdentityFile
    from offset_proto.types import PrivateKey

    private_key = PrivateKey(os.urandom(PrivateKey.SIZE))
    IDENTITY.save(path, IdentityFile(private_key))
    return Identity(private_key).public_key


def _copy_identity(idfile: Path, target: Path, passphrase_file: Path | None) -> "PublicKey":
    """Copy an identity, which stays locked where it is locked, so that only its owner can read it."""
    from offset_proto.files import read_text, save_text

    key = public_key(idfile, passphrase_file)
    save_text(target, read_text(idfile), secret=True)
    return key


def _restore(backup: Path, database: Path, key: "PublicKey", passphrase_file: Path | None) -> None:
    """Make the database of a node from a backup. Raises InvalidInput where that is of a node with another key."""
    state = restore_database(backup, database, passphrase_file)
    if state.funder.local_public_key != key:
        raise InvalidInput(f"{backup} is of a node with another key than that of --idfile")


def _text(place: Place) -> str:
    host, port = place
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _free_port(key: "PublicKey") -> int:
    """The first port of loopback that nobody listens at, from the one on that *key* comes to."""
    import socket

    first = int.from_bytes(key) % PORTS
    for port in (FIRST_PORT + (first + number) % PORTS for number in range(PORTS)):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise InvalidInput(f"the ports {FIRST_PORT} to {FIRST_PORT + PORTS - 1} are taken; give --laddr")


def _behind(address: "NetAddress") -> Place:
    """Where to listen so that others reach *address*: on all interfaces, unless it is of this machine alone."""
    import ipaddress

    from offset_proto.text import split_host_port

    host, port = split_host_port(address)
    if host.endswith(".onion"):
        return "127.0.0.1", port  # Tor of this machine carries it here
    try:
        numeric = ipaddress.ip_address(host)
    except ValueError:
        numeric = ipaddress.IPv4Address(0)
    return (host if numeric.is_loopback else str(type(numeric)(0)), port)


def _named(tickets: tuple[Path, ...]) -> "dict[str, RelayAddress]":
    """Tickets by the names of their files, without what is behind the dot; each must be of use."""
    from offset_proto.files import TICKET

    named = {ticket.stem: TICKET.load(ticket) for ticket in tickets}
    if len(named) < len(tickets):
        raise InvalidInput("two tickets have the same file name; each name is that of a server")
    for ticket in named.values():
        parse_address(ticket.address)
    return named


def _check_kinds(relays: "dict[str, RelayAddress]", indexes: "dict[str, RelayAddress]") -> None:
    """Raises InvalidInput where one address is to be that of a relay and of an index server: it is one only."""
    for relay, index in itertools.product(relays, indexes):
        if relays[relay] == indexes[index]:
            words = "their tickets look alike, but each has an address of its own"
            raise InvalidInput(f"the relay {relay} and the index server {index} are one and the same; {words}")


@click.command("setup-node", cls=OffsetCommand)
@_DIRECTORY
@click.option("--relay", "relays", type=PATH, multiple=True, help="Ticket of a relay to use; may be repeated.")
@click.option("--index", "indexes", type=PATH, multiple=True, help="Ticket of an index server; may be repeated.")
@_LADDR
@click.option("--idfile", type=PATH, help="Identity of the node, locked or not; it is copied.  [default: a new one]")
@click.option("--recover", is_flag=True, help="That identity had a node before, whose database and backups are lost.")
@click.option("--backup", type=PATH, help="That identity had a node before, whose database is lost: its newest backup.")
@_SYSTEMD
@PASSPHRASE_FILE
def _setup_node(
    directory: Path,
    relays: tuple[Path, ...],
    indexes: tuple[Path, ...],
    laddr: Place | None,
    *,
    idfile: Path | None,
    recover: bool,
    backup: Path | None,
    systemd: bool,
    passphrase_file: Path | None,
) -> None:
    """
    Make all that a node needs, and its first app, in a new directory.

    A server is known to the node by the name of its ticket's file; a backup has servers already. Without --laddr the
    node listens for apps at a free port of this machine.

    The first node of an identity needs nothing else. For one that had a node before, give --recover or --backup: then
    every friend has to speak first, so that nothing is signed twice.
    """
    _check_usage(relays + indexes, idfile, backup, recover=recover)
    from offset_proto.files import APP_TICKET, TICKET, AppTicket
    from offset_proto.messages.app import AppPermissions
    from offset_proto.messages.payment import NamedIndexServerAddress, NamedRelayAddress, RelayAddress
    from offset_proto.types import NetAddress

    def fill(made: Path) -> None:
        used, asked = _named(relays), _named(indexes)
        _check_kinds(used, asked)
        identity = made / "node.ident"
        key = _new_identity(identity) if idfile is None else _copy_identity(idfile, identity, passphrase_file)
        app = _new_identity(made / "app.ident")
        listening = _text(laddr or ("127.0.0.1", _free_port(key)))
        if backup is not None:
            _restore(backup, made / "node.db", key, passphrase_file)
        else:
            create_database(
                made / "node.db",
                key,
                tuple(NamedRelayAddress(relay.public_key, relay.address, name) for name, relay in used.items()),
                tuple(NamedIndexServerAddress(index.public_key, index.address, name) for name, index in asked.items()),
                has_forgotten=recover,
            )
        (made / "apps").mkdir()
        APP_TICKET.save(made / "apps" / "stctrl.ticket", AppTicket(app, AppPermissions(True, True, True, True)))
        TICKET.save(made / "node.ticket", RelayAddress(key, NetAddress(listening)))
        (made / "node.toml").write_text(_NODE_CONFIG.format(laddr=listening))
        if systemd:
            _save_unit(made, directory, "stnode", "node", writes=True)

    in_group("SetupNodeError", lambda: _set_up(directory, fill))
    click.echo(f"stnode --config {directory / 'node.toml'}    runs the node")
    click.echo(f"stctrl -C {directory} info friends    shows what it has; every command of stctrl works like that")
    if systemd:
        _tell_unit(directory)
    if recover:
        click.echo(f"stctrl -C {directory} recover CONTACTS    becomes friends again with all of a contact list")
    if recover or backup is not None:
        click.echo("The machine that this node was on must stay off: two nodes of one key break all channels.")


def _check_usage(tickets: tuple[Path, ...], idfile: Path | None, backup: Path | None, *, recover: bool) -> None:
    wrong = None
    if recover and backup is not None:
        wrong = "Give one of --recover and --backup"
    elif (recover or backup is not None) and idfile is None:
        wrong = "Give --idfile as well: a new identity had no node before"
    elif backup is not None and tickets:
        wrong = "A backup has the servers of its node: leave --relay and --index out"
    if wrong is not None:
        raise click.UsageError(wrong, click.get_current_context())


@click.command("setup-relay", cls=OffsetCommand)
@_DIRECTORY
@ADDRESS
@_LADDR
@_SYSTEMD
def _setup_relay(directory: Path, address: str, laddr: Place | None, *, systemd: bool) -> None:
    """
    Make all that a relay needs in a new directory.

    That is its key, a ticket with the address where it is reached, and its settings.
    """
    from offset_proto.files import TICKET
    from offset_proto.messages.payment import RelayAddress

    def fill(made: Path) -> None:
        reached = parse_address(address)
        key = _new_identity(made / "relay.ident")
        TICKET.save(made / "relay.ticket", RelayAddress(key, reached))
        (made / "relay.toml").write_text(_RELAY_CONFIG.format(laddr=_text(laddr or _behind(reached))))
        if systemd:
            _save_unit(made, directory, "strelay", "relay")

    in_group("SetupRelayError", lambda: _set_up(directory, fill))
    click.echo(f"strelay --config {directory / 'relay.toml'}    runs the relay")
    click.echo(f"{directory / 'relay.ticket'} is for everybody who uses it")
    if systemd:
        _tell_unit(directory)


@click.command("setup-index", cls=OffsetCommand)
@_DIRECTORY
@ADDRESS
@click.option("--server-address", help="Address for other index servers; by default the port after --address.")
@_SYSTEMD
def _setup_index(directory: Path, address: str, server_address: str | None, *, systemd: bool) -> None:
    """
    Make all that an index server needs in a new directory.

    That is its key, a ticket for nodes and one for other index servers with the addresses where it is reached, a
    directory for the tickets of other servers, and its settings.
    """
    from offset_proto.files import TICKET
    from offset_proto.messages.payment import RelayAddress

    def fill(made: Path) -> None:
        for_nodes = parse_address(address)
        host, _, port = address.rpartition(":")
        for_servers = parse_address(f"{host}:{int(port) + 1}" if server_address is None else server_address)
        key = _new_identity(made / "index.ident")
        TICKET.save(made / "index.ticket", RelayAddress(key, for_nodes))
        TICKET.save(made / "index-server.ticket", RelayAddress(key, for_servers))
        (made / "trusted-servers").mkdir()
        places = {"lclient": _text(_behind(for_nodes)), "lserver": _text(_behind(for_servers))}
        (made / "index.toml").write_text(_INDEX_CONFIG.format(**places))
        if systemd:
            _save_unit(made, directory, "stindex", "index server")

    in_group("SetupIndexError", lambda: _set_up(directory, fill))
    click.echo(f"stindex --config {directory / 'index.toml'}    runs the index server")
    click.echo(f"{directory / 'index.ticket'} is for nodes")
    click.echo(f"{directory / 'index-server.ticket'} is for other index servers")
    if systemd:
        _tell_unit(directory)


COMMANDS = (_setup_node, _setup_relay, _setup_index)
