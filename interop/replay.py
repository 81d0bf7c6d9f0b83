"""
Check recorded conversations, without the programs that held them.

    python -m interop.replay DIR

Every message of every record (see `interop.recorder`) must decode to what was written down, and the content must
survive being encoded by us. The links between friends are replayed from the first token on: our token channel
takes both parts, must accept every token of either side with its signature and the state that it stands for, and
must build, from the same operations, the same token to the byte. A conversation whose beginning is missing can be
decoded but not replayed; the summary says how many.
"""

import json
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click

from interop.recorder import KINDS, expected_kinds
from interop.runner.json_values import show
from offset_crypto.signed import initial_move_token
from offset_funder.channel_reset import accept_reset, accept_terms
from offset_funder.mutations import apply_channel
from offset_funder.state import Incoming, TokenChannel, fresh_channel
from offset_funder.token_channel import InvalidMoveToken, Received, TokenBuilder, receive
from offset_proto.errors import OffsetError
from offset_proto.messages.friend import FriendMessage, MoveToken, MoveTokenRequest, ResetTerms
from offset_proto.types import U128_MAX, PublicKey

__all__ = ["Friendship", "ReplayFailed", "Summary", "replay"]


class ReplayFailed(Exception):
    """A record holds what our implementation would not have said or taken."""


@dataclass
class Summary:
    """What was checked."""

    links: int = 0
    messages: int = 0
    tokens: int = 0
    resets: int = 0
    without_beginning: int = 0

    def __str__(self) -> str:
        return (
            f"{self.links} links, {self.messages} messages, {self.tokens} tokens and {self.resets} resets replayed, "
            f"{self.without_beginning} tokens without their beginning"
        )


@dataclass
class Friendship:
    """
    The conversation of two friends, over all links that they had.

    Args:
        first: Key of one.
        second: Key of the other.
    """

    first: PublicKey
    second: PublicKey
    summary: Summary = field(default_factory=Summary)

    def __post_init__(self) -> None:
        self._initial = initial_move_token(self.first, self.second)
        self._begin()

    def _begin(self) -> None:
        """Both sides as they are when they have just added each other."""
        self._channels: dict[PublicKey, TokenChannel] = {
            self.first: fresh_channel(self.first, self.second),
            self.second: fresh_channel(self.second, self.first),
        }
        self._terms: dict[PublicKey, ResetTerms] = {}
        self._replayed = {self._initial.new_token: self._initial}
        self._is_followed = True

    def take(self, sender: PublicKey, message: FriendMessage) -> None:
        """
        The next message of *sender*.

        Raises:
            ReplayFailed: Our token channel does not agree with it.
        """
        match message:
            case ResetTerms():
                self._terms[sender] = message
            case MoveTokenRequest(token, _):
                self._take_token(sender, self.second if sender == self.first else self.first, token)

    def _take_token(self, sender: PublicKey, receiver: PublicKey, token: MoveToken) -> None:
        if self._replayed.get(token.new_token) == token:
            return  # repeated, as a side does until it has the answer
        terms = self._terms.get(receiver)
        if terms is not None and token.old_token == terms.reset_token:
            self._reset(sender, receiver, terms, token)
            return
        if token.old_token == self._initial.new_token:
            self._begin()  # also a second time: one side removed the other, and added it again
        ours, theirs = self._channels[sender], self._channels[receiver]
        follows = isinstance(ours.direction, Incoming) and ours.direction.move_token_in.new_token == token.old_token
        if not follows or not self._is_followed:
            self._is_followed = False
            self.summary.without_beginning += 1
            return
        self._channels[sender] = _build_again(ours, token)
        self._channels[receiver] = _receive(theirs, token)
        self._replayed[token.new_token] = token
        self.summary.tokens += 1

    def _reset(self, sender: PublicKey, receiver: PublicKey, terms: ResetTerms, token: MoveToken) -> None:
        """*sender* takes the terms of *receiver*."""
        taken = accept_reset(receiver, sender, terms, token)
        if taken is None:
            raise ReplayFailed("a reset token that does not fit the terms")
        self._channels[receiver] = taken
        self._channels[sender] = accept_terms(
            sender,
            receiver,
            terms,
            relays=token.opt_local_relays or (),
            previous=None,
            rand_nonce=token.rand_nonce,
            sign=lambda _: token.new_token,
        )
        self._terms.clear()
        self._replayed[token.new_token] = token
        self._is_followed = True
        self.summary.resets += 1


def _build_again(channel: TokenChannel, token: MoveToken) -> TokenChannel:
    """The sender's channel after *token*, which our builder makes anew from its operations."""
    builder = TokenBuilder(channel, token.opt_active_currencies)
    try:
        for block in token.currencies_operations:
            builder.begin(block.currency)
            for op in block.operations:
                builder.add(block.currency, op)
    except OffsetError as error:
        raise ReplayFailed(f"we would not have sent this operation: {error}") from None
    built, mutations = builder.finish(token.opt_local_relays, token.rand_nonce, lambda _: token.new_token)
    if built != token:
        wrong = [name for name in ("info_hash", "old_token") if getattr(built, name) != getattr(token, name)]
        raise ReplayFailed(f"we would have built another token: {', '.join(wrong) or built}")
    for mutation in mutations:
        channel = apply_channel(channel, mutation)
    return channel


def _receive(channel: TokenChannel, token: MoveToken) -> TokenChannel:
    """The receiver's channel after *token*."""
    named = set(channel.ledgers) | set(token.opt_active_currencies or ())
    limits = dict.fromkeys(named, U128_MAX)  # the record does not tell whom the receiver trusted how far
    try:
        received = receive(channel, token, limits)
    except InvalidMoveToken as error:
        raise ReplayFailed(f"we would not have taken this token: {error}") from None
    if not isinstance(received, Received):
        raise ReplayFailed(f"a token that changes nothing: {type(received).__name__}")
    for mutation in received.mutations:
        channel = apply_channel(channel, mutation)
    return channel


def _check_message(line: dict[str, Any]) -> Any:
    """The decoded message; what is written down must be what the bytes say, in our hands too."""
    codec, cls = KINDS[line["kind"]]
    data = bytes.fromhex(line["bytes"])
    if line["message"] is None:
        raise ReplayFailed(f"a {line['kind']} that can not be decoded")
    message = codec.decode(data)
    if show(cls, message) != line["message"]:
        raise ReplayFailed("the bytes do not say what is written down")
    if codec.decode(codec.encode(message)) != message:
        raise ReplayFailed("our encoding says something else")
    return message


def _lines(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    for number, text in enumerate(path.read_text().splitlines(), 1):
        try:
            yield number, json.loads(text)
        except json.JSONDecodeError:
            raise ReplayFailed(f"{path}:{number}: not JSON") from None


def _check_record(path: Path, friendships: dict[frozenset[PublicKey], Friendship], summary: Summary) -> None:
    lines = list(_lines(path))
    if not lines:
        raise ReplayFailed(f"{path}: empty")
    header = lines[0][1]
    keys = {role: PublicKey(bytes.fromhex(header[role]["publicKey"])) for role in ("client", "server")}
    pair = frozenset(keys.values())
    counts = {"client": 0, "server": 0}
    for number, line in lines[1:]:
        sender = line["sender"]
        counts[sender] += 1
        try:
            if line["kind"] != expected_kinds(header["link"], sender, counts[sender])[-1]:
                raise ReplayFailed(f"a {line['kind']} out of place")
            message = _check_message(line)
            if header["link"] == "friend":
                friendship = friendships.setdefault(pair, Friendship(keys["client"], keys["server"], summary))
                friendship.take(keys[sender], message)
        except (ReplayFailed, OffsetError) as error:
            raise ReplayFailed(f"{path}:{number}: {error}") from None
        summary.messages += 1
    summary.links += 1


def replay(paths: Iterable[Path]) -> Summary:
    """
    Check records, in the order in which the links were opened.

    Raises:
        ReplayFailed: Names file, line and cause.
    """
    summary = Summary()
    friendships: dict[frozenset[PublicKey], Friendship] = {}
    for path in sorted(paths):
        _check_record(path, friendships, summary)
    return summary


@click.command()
@click.argument("directory", type=click.Path(path_type=Path, exists=True, file_okay=False))
def main(directory: Path) -> None:
    """Check the records in DIRECTORY."""
    paths = list(directory.glob("*.jsonl"))
    if not paths:
        raise click.ClickException(f"{directory}: no records (*.jsonl)")
    try:
        click.echo(replay(paths))
    except ReplayFailed as error:
        raise click.ClickException(str(error)) from None


if __name__ == "__main__":
    sys.exit(main())
