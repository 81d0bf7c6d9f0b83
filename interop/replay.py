"""
Check recorded conversations, without the programs that held them.

    python -m interop.replay DIR

Every message of every record (see `interop.recorder`) must decode to what was written down, and the content must
survive being encoded by us; where our own program spoke, our encoding must give the recorded bytes again. Beyond that:

* The links between friends are replayed from the first token on: our token channel takes both parts, must accept every
  token of either side with its signature and the state that it stands for, and must build, from the same operations,
  the same token to the byte. A conversation whose beginning is missing can be decoded but not replayed; the summary
  says how many tokens these are.
* The report of a node is followed on each link of an app: every change that the node tells must fit.
* What nodes declare at index servers must be signed by them, and each session counts its updates from 0 on.
"""

import json
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click

from interop.recorder import KINDS, OLDER_KINDS, expected_kinds
from interop.runner.json_values import show
from offset_crypto.identity import InvalidSignature, verify
from offset_crypto.signed import initial_move_token, mutations_update_buffer
from offset_funder.channel_reset import accept_reset, accept_terms
from offset_funder.mutations import apply_channel
from offset_funder.state import Incoming, TokenChannel, fresh_channel
from offset_funder.token_channel import InvalidMoveToken, Received, TokenBuilder, receive
from offset_proto.errors import OffsetError
from offset_proto.messages.app import ReportMutations
from offset_proto.messages.friend import FriendMessage, MoveToken, MoveTokenRequest, ResetTerms
from offset_proto.messages.index import ForwardMutationsUpdate, MutationsUpdate
from offset_proto.messages.report import NodeReport, NodeReportMutation
from offset_proto.report_view import ReportView
from offset_proto.types import U128_MAX, PublicKey, Uid

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
    built_again: int = 0
    report_changes: int = 0
    declarations: int = 0
    without_beginning: int = 0

    def __str__(self) -> str:
        return (
            f"{self.links} links, {self.messages} messages, {self.tokens} tokens and {self.resets} resets replayed, "
            f"{self.built_again} messages built again to the byte, {self.report_changes} changes of reports followed, "
            f"{self.declarations} declarations verified, {self.without_beginning} tokens without their beginning"
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
        # Not forgotten at a new beginning: the side that does not know of it yet repeats its last token.
        self._replayed = {self._initial.new_token: self._initial}
        self._begin()

    def _begin(self) -> None:
        """Both sides as they are when they have just added each other."""
        self._channels: dict[PublicKey, TokenChannel] = {
            self.first: fresh_channel(self.first, self.second),
            self.second: fresh_channel(self.second, self.first),
        }
        self._terms: dict[PublicKey, ResetTerms] = {}
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


@dataclass
class _Link:
    """
    One link of a record, message by message.

    Attributes:
        kind: As `Recorder` writes it: "friend", "app", "index-client", "index-server", "relay".
        keys: Of its ends, by role.
        players: Whose program was at each end, by role; None where that is not known.
    """

    kind: str
    keys: dict[str, PublicKey]
    players: dict[str, str | None]
    summary: Summary
    counts: dict[str, int] = field(default_factory=lambda: {"client": 0, "server": 0})
    report: ReportView | None = None
    update_counters: dict[Uid, int] = field(default_factory=dict)

    def check(self, line: dict[str, Any]) -> Any:
        """
        The message in the next line of the record.

        Raises:
            ReplayFailed, OffsetError: Our implementation would not have said it, or would not take it.
        """
        sender = line["sender"]
        self.counts[sender] += 1
        expected = expected_kinds(self.kind, sender, self.counts[sender])[-1]
        if line["kind"] not in (expected, OLDER_KINDS.get(expected)):
            raise ReplayFailed(f"a {line['kind']} out of place")
        message = self._decode(line, is_ours=self.players[sender] == "ours")
        match message:
            case NodeReport():
                self.report = ReportView(message)
            case ReportMutations(_, mutations):
                self._follow_report(mutations)
            case MutationsUpdate():
                self._check_update(message)
            case ForwardMutationsUpdate(update, _):
                _verify_update(update)
                self.summary.declarations += 1
        self.summary.messages += 1
        return message

    def _decode(self, line: dict[str, Any], *, is_ours: bool) -> Any:
        """What is written down must be what the bytes say; what our program said must become the same bytes again."""
        codec, cls = KINDS[line["kind"]]
        data = bytes.fromhex(line["bytes"])
        if line["message"] is None:
            raise ReplayFailed(f"a {line['kind']} that can not be decoded")
        message = codec.decode(data)
        if show(cls, message) != line["message"]:
            raise ReplayFailed("the bytes do not say what is written down")
        encoded = codec.encode(message)
        if codec.decode(encoded) != message:
            raise ReplayFailed("our encoding says something else")
        if is_ours and encoded != data:
            raise ReplayFailed("we said this in other bytes than we would say it today")
        self.summary.built_again += encoded == data
        return message

    def _follow_report(self, mutations: tuple[NodeReportMutation, ...]) -> None:
        if self.report is None:
            raise ReplayFailed("a change of a report that nobody has sent")
        self.report.apply(mutations)
        self.summary.report_changes += len(mutations)

    def _check_update(self, update: MutationsUpdate) -> None:
        if update.node_public_key != self.keys["client"]:
            raise ReplayFailed("a node declares for another one")
        _verify_update(update)
        expected = self.update_counters.get(update.session_id, 0)
        if update.counter != expected:
            raise ReplayFailed(f"update {update.counter} of a session, where {expected} is to come")
        self.update_counters[update.session_id] = expected + 1
        self.summary.declarations += 1


def _verify_update(update: MutationsUpdate) -> None:
    try:
        verify(mutations_update_buffer(update), update.node_public_key, update.signature)
    except InvalidSignature:
        raise ReplayFailed("a declaration that its node has not signed") from None


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
    ends = {role: header[role] for role in ("client", "server")}
    keys = {role: PublicKey(bytes.fromhex(end["publicKey"])) for role, end in ends.items()}
    link = _Link(header["link"], keys, {role: end.get("player") for role, end in ends.items()}, summary)
    for number, line in lines[1:]:
        try:
            message = link.check(line)
            if link.kind == "friend":
                friendship = friendships.setdefault(
                    frozenset(keys.values()), Friendship(keys["client"], keys["server"], summary)
                )
                friendship.take(keys[line["sender"]], message)
        except (ReplayFailed, OffsetError) as error:
            raise ReplayFailed(f"{path}:{number}: {error}") from None
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
