"""
Everything that takes bytes or text from outside, fed with what nobody should send.

    python -m interop.fuzz --inputs 10000000 [--seed S] [--only NAME]

An input is a recorded one as it is, truncated, with bits or bytes changed, with pieces repeated, removed or joined
with another's, with a length blown up, or garbage; streams come whole or in pieces. Each must lead to a result or to
one of the errors that the target declares: whoever sent it is to blame, and nobody else notices. Anything else ends
the run, and the input is written down. Memory is watched: no input may make the process grow.
"""

import contextlib
import functools
import json
import os
import resource
import sqlite3
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import click

from interop.conversation import lines_of_user
from interop.runner.texts import KINDS as FILE_KINDS
from offset_crypto.identity import Identity
from offset_crypto.link import StreamLink
from offset_ctrl.programs.stcompact.database import format_compact, parse_compact
from offset_ctrl.programs.stcompact.messages import format_user_message, parse_user_message
from offset_funder.state import FunderState
from offset_node.database.audit import audit
from offset_node.database.errors import LoadDbError
from offset_node.database.original import format_database, parse_database
from offset_node.database.sqlite import create_database, load_database
from offset_node.state import NodeState
from offset_proto import bech32m
from offset_proto.errors import InvalidInput, PeerError
from offset_proto.files import FriendTicket, Invoice
from offset_proto.frames import FrameReader, encode_frame
from offset_proto.messages.payment import RelayAddress
from offset_proto.text import parse_b64, parse_integer, parse_socket_address, split_host_port
from offset_proto.types import Currency, Integer, InvoiceId, NetAddress, PrivateKey, PublicKey
from offset_proto.uri import SCHEME, PaymentRequest, Texted, format_uri, kind_of, parse_uri
from offset_proto.wire import Codec, codec

__all__ = ["FuzzFailure", "Report", "Target", "make_targets", "run"]

VECTORS = Path(__file__).parent / "vectors"
CONVERSATIONS = Path(__file__).parent / "conversations"
GROWTH_BYTES_MAX = 256 * 1024 * 1024
"""Of the whole process over a run; a frame may be 4 MiB, a message 8 MiB unpacked."""


class FuzzFailure(Exception):
    """An input that led to something else than a result or a declared error."""


@dataclass(frozen=True)
class Target:
    """
    Something that takes input from outside.

    Attributes:
        name: For people.
        samples: Good inputs.
        feed: Takes one input, and the source of chance for how it arrives.
        errors: What it may raise.
        weight: Share of the inputs.
    """

    name: str
    samples: list[bytes]
    feed: Callable[[bytes, Random], object]
    errors: tuple[type[Exception], ...]
    weight: int = 10


@dataclass
class Report:
    """What came of a run."""

    seed: int
    results: Counter[str] = field(default_factory=Counter)
    errors: dict[str, Counter[str]] = field(default_factory=dict)
    growth_bytes: int = 0
    seconds: float = 0.0

    def __str__(self) -> str:
        lines = []
        for name in sorted(self.results.keys() | self.errors.keys()):
            refused = self.errors.get(name, Counter())
            kinds = ", ".join(f"{count} {error}" for error, count in refused.most_common(4))
            lines.append(f"{name}: {self.results[name]} results, {sum(refused.values())} refused ({kinds})")
        total = sum(self.results.values()) + sum(sum(refused.values()) for refused in self.errors.values())
        grown = f"{self.growth_bytes / 2**20:.0f} MiB grown"
        lines.append(f"seed {self.seed}: {total} inputs in {self.seconds:.0f} s, {grown}, nothing else happened")
        return "\n".join(lines)


# Inputs.


def mutate(sample: bytes, other: bytes, chance: Random) -> bytes:
    """*sample* as somebody careless, broken or hostile would send it."""
    data = bytearray(sample)
    position = chance.randrange(len(data) + 1)
    match chance.randrange(9):
        case 0:
            pass
        case 1:
            del data[position:]
        case 2 if data:
            for _ in range(chance.choice([1, 1, 1, 8])):
                data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
        case 3 if data:
            data[chance.randrange(len(data))] = chance.choice([0x00, 0x01, 0x7F, 0x80, 0xFF, 0x22, 0x5C, 0x7B])
        case 4:
            piece = data[position : position + chance.randrange(1, 64)]
            data[position:position] = piece * chance.choice([1, 2, 200])
        case 5:
            del data[position : position + chance.randrange(1, 64)]
        case 6:
            data[position : position + 8] = chance.choice([b"\xff" * 8, b"\x7f" + b"\xff" * 7, bytes(8), b"9" * 40])
        case 7:
            data[position:] = other[chance.randrange(len(other) + 1) :]
        case _:
            return chance.randbytes(chance.choice([0, 1, 7, 8, 16, 100, 5000]))
    return bytes(data)


# Targets.


def _feed_codec(own: Codec[Any], data: bytes, chance: Random) -> None:
    message = own.decode(data)
    if own.decode(own.encode(message)) != message:
        raise AssertionError("what was decoded does not survive being encoded")


def _pieces(data: bytes, chance: Random) -> Iterator[bytes]:
    size = chance.choice([1, 3, 100, len(data) or 1])
    yield from (data[start : start + size] for start in range(0, len(data), size))


def _feed_frames(data: bytes, chance: Random) -> None:
    reader = FrameReader()
    for piece in _pieces(data, chance):
        reader.receive_data(piece)
        while reader.next_frame() is not None:
            pass


CLIENT, SERVER = (Identity(PrivateKey(bytes([number]) * 32)) for number in (1, 2))


def _link(identity: Identity, remote: PublicKey | None, seed: int) -> StreamLink:
    link = StreamLink(identity, remote, Random(seed).randbytes)
    link.start()
    return link


@functools.cache
def _flights() -> list[bytes]:
    """What a client of fixed randomness sends: version and nonce, key exchange, and ten messages."""
    client, server = _link(CLIENT, SERVER.public_key, 1), _link(SERVER, None, 2)
    flights = []
    for _ in range(3):
        flights.append(b"".join(client.take_outgoing()))
        server.receive_data(flights[-1])
        client.receive_data(b"".join(server.take_outgoing()))
    for number in range(10):
        client.send(bytes([number]) * 100)
    flights.append(b"".join(client.take_outgoing()))
    return [flight for flight in flights if flight]


def _feed_link(flight: int, data: bytes, chance: Random) -> None:
    """The server has got every flight before this one as it was sent."""
    server = _link(SERVER, None, 2)
    for earlier in _flights()[:flight]:
        server.receive_data(earlier)
        server.take_outgoing()
    for piece in _pieces(data, chance):
        server.receive_data(piece)
        server.take_outgoing()


def _feed_file(parse: Callable[[str], object], data: bytes, chance: Random) -> None:
    try:
        text = data.decode()
    except UnicodeDecodeError:
        text = data.decode("latin-1")
    parse(text)


def _feed_database(directory: Path, data: bytes, chance: Random) -> None:
    path = directory / "node.db"
    for old in directory.iterdir():
        old.unlink()
    path.write_bytes(data)
    load_database(path)


def _cases(name: str) -> list[dict[str, Any]]:
    cases: list[dict[str, Any]] = json.loads((VECTORS / name).read_text())["cases"]
    return cases


def _message_targets() -> Iterator[Target]:
    samples: dict[tuple[str, str], list[bytes]] = {}
    for name in ("secure_channel", "keepalive", "relay", "friend", "index", "app", "report"):
        for case in _cases(f"capnp/{name}.json"):
            kind = case["inputs"]["schema"], case["inputs"]["struct"]
            samples.setdefault(kind, []).append(bytes.fromhex(case["expected"]["bytes"]))
    for (schema, struct), recorded in samples.items():
        feed = functools.partial(_feed_codec, codec(schema, struct))
        yield Target(f"message {struct}", recorded, feed, (PeerError,), weight=20)


def _file_targets() -> Iterator[Target]:
    samples: dict[str, list[bytes]] = {}
    for case in _cases("files/files.json"):
        text = case["expected"].get("text", case["inputs"].get("text"))
        samples.setdefault(case["inputs"]["kind"], []).append(text.encode())
    for name, recorded in samples.items():
        parse = FILE_KINDS[name][0].parse
        yield Target(f"file {name}", recorded, functools.partial(_feed_file, parse), (InvalidInput,))
    databases = [case["expected"]["text"].encode() for case in _cases("files/node_db.json")]

    def take(text: str) -> None:
        state = parse_database(text)
        audit(state)
        if parse_database(format_database(state)) != state:
            raise AssertionError("what was read does not survive being written")

    yield Target("the original's database", databases, functools.partial(_feed_file, take), (InvalidInput,))


def _text_targets() -> Iterator[Target]:
    parsers: dict[str, tuple[Callable[[str], object], list[bytes]]] = {
        "text base64": (functools.partial(parse_b64, PublicKey), [b"iojj3XQJ8ZX9UtstPLpdcspnCb8dlBIb83SIAbQPb1w"]),
        "text integer": (
            functools.partial(parse_integer, Integer(128)),
            [b"0", b"340282366920938463463374607431768211455"],
        ),
        "text address": (split_host_port, [b"127.0.0.1:80", b"[::1]:65535", b"host.example:1"]),
        "text socket address": (parse_socket_address, [b"127.0.0.1:80", b"[::1]:65535"]),
    }
    for name, (parse, recorded) in parsers.items():
        yield Target(name, recorded, functools.partial(_feed_file, parse), (InvalidInput,), weight=3)


def _feed_payload(kind: str, data: bytes, chance: Random) -> None:
    """What stands behind a good checksum, which mutated texts have too seldom."""
    value = parse_uri(bech32m.encode(kind, [0, *bech32m.symbols_of(data[:500])]))
    if parse_uri(format_uri(value)) != value:
        raise AssertionError("what was read does not survive being written")


def _uri_targets() -> Iterator[Target]:
    key, other = (PublicKey(bytes([number]) * 32) for number in (1, 2))
    invoice = Invoice(InvoiceId(bytes(range(32))), Currency("FST"), key, 2**100)
    relay = RelayAddress(other, NetAddress("relay.example.net:7001"))
    values: tuple[Texted, ...] = (
        PaymentRequest(invoice),
        PaymentRequest(invoice, "Tea", "https://shop.example.net/commit", 4_000_000_000),
        FriendTicket(key, (relay, relay)),
        relay,
    )
    texts = [format_uri(value).encode() for value in values]
    yield Target("text URI", texts, functools.partial(_feed_file, parse_uri), (InvalidInput,), weight=3)
    for value, text in zip(values[1:], texts[1:], strict=True):
        _, symbols = bech32m.decode(text.decode().removeprefix(SCHEME))
        feed = functools.partial(_feed_payload, kind_of(value))
        name, payload = f"payload of {kind_of(value)}", bech32m.bytes_of(symbols[1:])
        yield Target(name, [payload], feed, (InvalidInput,), weight=3)


def _compact_targets() -> Iterator[Target]:
    def take(text: str) -> None:
        message = parse_user_message(text)
        if parse_user_message(format_user_message(message)) != message:
            raise AssertionError("what was read does not survive being written")

    def take_database(text: str) -> None:
        state = parse_compact(text)
        if parse_compact(format_compact(state)) != state:
            raise AssertionError("what was read does not survive being written")

    lines = [line.encode() for path in sorted(CONVERSATIONS.glob("*.talk")) for line in lines_of_user(path)]
    yield Target("compact line", lines, functools.partial(_feed_file, take), (InvalidInput,), weight=20)
    route = {"public_keys": ["iojj3XQJ8ZX9UtstPLpdcspnCb8dlBIb83SIAbQPb1w"] * 2}
    found = {
        "confirm_id": "AQIBAAIAAQIBAQEAAAIBAQ",
        "multi_route": {"routes": [{"route": route, "capacity": "9", "rate": {"mul": 1, "add": 2}}]},
        "multi_route_choice": [[0, 2**127]],
        "fees": "3",
    }
    statuses = [
        {"SearchingRoute": "AQIBAAIAAQIBAQEAAAIBAQ"},
        {"FoundRoute": found},
        {"Sending": {"fees": "3", "open_transactions": [list(range(16))]}},
        {"Failure": "AQIBAAIAAQIBAQEAAAIBAQ"},
    ]
    payment = {
        "invoice_id": "iojj3XQJ8ZX9UtstPLpdcspnCb8dlBIb83SIAbQPb1w",
        "currency": "FST",
        "dest_public_key": "iojj3XQJ8ZX9UtstPLpdcspnCb8dlBIb83SIAbQPb1w",
        "dest_payment": "5",
        "description": "tea",
        "generation": "1",
    }
    databases = []
    for status in statuses:
        payments = {"AQIBAAIAAQIBAQEAAAIBAQ": {**payment, "status": status}}
        state = {"open_invoices": {}, "open_payments": payments, "generation": "2"}
        databases.append(json.dumps(state, indent=2).encode())
    yield Target("compact database", databases, functools.partial(_feed_file, take_database), (InvalidInput,))


def _database_target(directory: Path) -> Target:
    sample = directory / "sample.db"
    create_database(sample, NodeState(FunderState(CLIENT.public_key)))
    data = sample.read_bytes()
    sample.unlink()
    return Target("database", [data], functools.partial(_feed_database, directory), (LoadDbError,), weight=1)


@contextlib.contextmanager
def make_targets() -> Iterator[list[Target]]:
    """All targets, for the length of a ``with`` block."""
    flights = _flights()
    with tempfile.TemporaryDirectory(prefix="offset-fuzz-") as directory:
        yield [
            Target("frames", [encode_frame(b"x" * size) for size in (0, 5, 300)], _feed_frames, (PeerError,)),
            *(
                Target(f"link, flight {number}", [flight], functools.partial(_feed_link, number), (PeerError,))
                for number, flight in enumerate(flights)
            ),
            *_message_targets(),
            *_file_targets(),
            *_text_targets(),
            *_uri_targets(),
            *_compact_targets(),
            _database_target(Path(directory)),
        ]


# Runs.


def _resident_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _feed(target: Target, data: bytes, chance: Random, report: Report) -> None:
    try:
        target.feed(data, chance)
    except target.errors as error:
        report.errors.setdefault(target.name, Counter())[type(error).__name__] += 1
    except Exception as error:
        path = Path(tempfile.gettempdir()) / f"offset-fuzz-{os.getpid()}.input"
        path.write_bytes(data)
        raise FuzzFailure(f"{target.name}: {error!r} for the {len(data)} bytes in {path}") from error
    else:
        report.results[target.name] += 1


def run(
    targets: list[Target], inputs: int, seed: int, on_progress: Callable[[int], object] = lambda done: None
) -> Report:
    """
    Feed *inputs* inputs to the targets, by weight.

    Raises:
        FuzzFailure: An input led to something that is not declared, or to memory that was not given back.
    """
    chance = Random(seed)
    report = Report(seed)
    started, resident = time.monotonic(), _resident_bytes()
    for done in range(inputs):
        (target,) = chance.choices(targets, [target.weight for target in targets])
        data = mutate(chance.choice(target.samples), chance.choice(target.samples), chance)
        _feed(target, data, chance, report)
        if done % 1000 == 999:
            on_progress(1000)
            report.growth_bytes = max(report.growth_bytes, _resident_bytes() - resident)
            if report.growth_bytes > GROWTH_BYTES_MAX:
                raise FuzzFailure(f"{target.name}: the process has grown by {report.growth_bytes} bytes")
    report.seconds = time.monotonic() - started
    return report


@click.command()
@click.option("--inputs", type=click.IntRange(1), default=1_000_000, show_default=True)
@click.option("--seed", type=int, default=None, help="Drawn and told where not given.")
@click.option("--only", default="", help="Targets whose name contains this.")
def main(inputs: int, seed: int | None, only: str) -> None:
    """Feed everything that takes bytes or text from outside with what nobody should send."""
    seed = int.from_bytes(os.urandom(4), "big") if seed is None else seed
    click.echo(f"seed {seed}, SQLite {sqlite3.sqlite_version}")
    with make_targets() as targets, click.progressbar(length=inputs, show_pos=True, file=sys.stderr) as bar:
        chosen = [target for target in targets if only in target.name]
        if not chosen:
            raise click.BadParameter(f"no target of that name; there are {', '.join(t.name for t in targets)}")
        try:
            report = run(chosen, inputs, seed, bar.update)
        except FuzzFailure as error:
            raise click.ClickException(str(error)) from None
    click.echo(report)


if __name__ == "__main__":
    main()
