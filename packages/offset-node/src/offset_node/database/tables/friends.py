"""
Friends, their credit in each currency, and the token of their channel. Pure.

A channel is consistent or not. In a friend's row the columns of the one are NULL while the other holds:

============  =====================================================  ==============
channel       `direction`, `active_local`, `active_remote`           `inconsistent`
============  =====================================================  ==============
consistent    the last token and the active currencies of each side  NULL
inconsistent  NULL                                                   the reset terms
============  =====================================================  ==============
"""

import json
from collections.abc import Iterator
from typing import Any, assert_never

from immutables import Map

from offset_funder import mutations as m
from offset_funder.state import Channel, Consistent, CurrencyConfig, Friend, Inconsistent, TokenChannel, fresh_friend
from offset_node.database import forms
from offset_node.database.tables import channels, unheard
from offset_node.database.tables.cells import (
    Rows,
    Statement,
    format_form,
    format_json,
    group,
    parse_amount,
    parse_form,
)
from offset_proto.errors import InvalidInput
from offset_proto.messages.payment import Rate
from offset_proto.types import Currency, PublicKey

__all__ = ["READS", "SCHEMA", "FriendsMutation", "insert_friend", "read", "write"]

FriendsMutation = m.AddFriend | m.RemoveFriend | m.FriendMutation

SCHEMA = """
CREATE TABLE friends (
    public_key BLOB PRIMARY KEY,
    name TEXT NOT NULL,
    is_enabled INTEGER NOT NULL,
    remote_relays TEXT NOT NULL,
    sent_local_relays TEXT NOT NULL,
    direction TEXT,      -- of the token channel; NULL while the channel is inconsistent
    active_local TEXT,
    active_remote TEXT,
    inconsistent TEXT    -- reset terms; NULL while the channel is consistent
) STRICT;
CREATE TABLE currency_configs (
    friend BLOB NOT NULL REFERENCES friends ON DELETE CASCADE,
    currency TEXT NOT NULL,
    rate_mul INTEGER NOT NULL,
    rate_add INTEGER NOT NULL,
    remote_max_debt TEXT NOT NULL,
    is_open INTEGER NOT NULL,
    PRIMARY KEY (friend, currency)
) STRICT, WITHOUT ROWID;
"""

_OWN = "public_key, name, is_enabled, remote_relays, sent_local_relays"
_CHANNEL = "direction, active_local, active_remote, inconsistent"
_CONFIG = "friend, currency, rate_mul, rate_add, remote_max_debt, is_open"
_INSERT_CONFIG = (
    f"INSERT INTO currency_configs ({_CONFIG}) VALUES (?, ?, ?, ?, ?, ?)"
    " ON CONFLICT (friend, currency) DO UPDATE SET rate_mul = excluded.rate_mul, rate_add = excluded.rate_add,"
    " remote_max_debt = excluded.remote_max_debt, is_open = excluded.is_open"
)
_FRIENDS = f"SELECT {_OWN}, {_CHANNEL} FROM friends"
_CONFIGS = f"SELECT {_CONFIG} FROM currency_configs"

READS = (_FRIENDS, _CONFIGS, *channels.READS)


def write(local: PublicKey, mutation: FriendsMutation) -> Iterator[Statement]:
    """What a mutation comes to; *local* is the node's own key, which a new channel is made with."""
    match mutation:
        case m.FriendMutation(friend, part):
            return _write_part(friend, part)
        case m.AddFriend(friend, relays, name, is_heard):
            return insert_friend(fresh_friend(local, friend, relays, name, is_heard=is_heard))
        case m.RemoveFriend(friend):
            return iter([("DELETE FROM friends WHERE public_key = ?", (friend,))])
        case _:
            assert_never(mutation)


def _write_part(friend: PublicKey, part: m.FriendPart) -> Iterator[Statement]:
    # What a payment changes comes first: this runs for each mutation of each batch.
    if isinstance(part, channels.LedgerMutation):
        return channels.write_ledger(friend, part)
    if isinstance(part, channels.QueueMutation):
        return channels.write_queue(friend, part)
    return _write_own(friend, part)


def _write_own(
    friend: PublicKey,
    part: m.SetDirection
    | m.SetLocalActiveCurrencies
    | m.SetRemoteActiveCurrencies
    | m.SetInconsistent
    | m.SetConsistent
    | m.UpdateCurrencyConfig
    | m.RemoveCurrencyConfig
    | m.SetStatus
    | m.SetRemoteRelays
    | m.SetName
    | m.SetSentLocalRelays
    | m.SetHeard,
) -> Iterator[Statement]:
    match part:
        case m.SetDirection(direction):
            yield _set("direction", format_form(forms.DIRECTION, direction), friend)
        case m.SetLocalActiveCurrencies(currencies):
            yield _set("active_local", format_json(sorted(currencies)), friend)
        case m.SetRemoteActiveCurrencies(currencies):
            yield _set("active_remote", format_json(sorted(currencies)), friend)
        case m.SetInconsistent(inconsistent):
            yield from _write_channel(friend, inconsistent)
        case m.SetConsistent(token_channel):
            yield from _write_channel(friend, Consistent(token_channel))
        case m.UpdateCurrencyConfig(currency, config):
            yield (
                _INSERT_CONFIG,
                (
                    friend,
                    currency,
                    config.rate.mul,
                    config.rate.add,
                    str(config.remote_max_debt),
                    int(config.is_open),
                ),
            )
        case m.RemoveCurrencyConfig(currency):
            yield "DELETE FROM currency_configs WHERE friend = ? AND currency = ?", (friend, currency)
        case m.SetStatus(is_enabled):
            yield _set("is_enabled", int(is_enabled), friend)
        case m.SetRemoteRelays(relays):
            yield _set("remote_relays", format_form(forms.RELAYS, relays), friend)
        case m.SetName(name):
            yield _set("name", name, friend)
        case m.SetSentLocalRelays(sent):
            yield _set("sent_local_relays", format_form(forms.SENT_RELAYS, sent), friend)
        case m.SetHeard(is_heard):
            yield unheard.write(friend, is_heard=is_heard)
        case _:
            assert_never(part)


def _set(column: str, cell: str | int, friend: PublicKey) -> Statement:
    return f"UPDATE friends SET {column} = ? WHERE public_key = ?", (cell, friend)


def insert_friend(friend: Friend) -> Iterator[Statement]:
    """All rows of a friend that is not stored yet."""
    key = friend.remote_public_key
    yield (
        f"INSERT INTO friends ({_OWN}) VALUES (?, ?, ?, ?, ?)",
        (
            key,
            friend.name,
            int(friend.is_enabled),
            format_form(forms.RELAYS, friend.remote_relays),
            format_form(forms.SENT_RELAYS, friend.sent_local_relays),
        ),
    )
    for currency, config in friend.currency_configs.items():
        yield from _write_own(key, m.UpdateCurrencyConfig(currency, config))
    yield from _write_channel(key, friend.channel)
    if not friend.is_heard:
        yield unheard.write(key, is_heard=False)


def _write_channel(friend: PublicKey, channel: Channel) -> Iterator[Statement]:
    """Put a channel in the place of the one that is stored, with its ledgers and queues."""
    yield from channels.clear(friend)
    match channel:
        case Inconsistent():
            columns = "direction = NULL, active_local = NULL, active_remote = NULL, inconsistent = ?"
            cell = format_form(forms.INCONSISTENT, channel)
            yield f"UPDATE friends SET {columns} WHERE public_key = ?", (cell, friend)
        case Consistent(token_channel):
            yield "UPDATE friends SET inconsistent = NULL WHERE public_key = ?", (friend,)
            yield from _write_own(friend, m.SetDirection(token_channel.direction))
            yield from _write_own(friend, m.SetLocalActiveCurrencies(token_channel.active_local))
            yield from _write_own(friend, m.SetRemoteActiveCurrencies(token_channel.active_remote))
            for ledger in token_channel.ledgers.values():
                yield from channels.insert_ledger(friend, ledger)
            yield from channels.insert_queues(friend, channel)
        case _:
            assert_never(channel)


def read(local: PublicKey, rows: Rows) -> Map[PublicKey, Friend]:
    """All friends with their channels and what waits for them. Raises InvalidInput where a row makes no sense."""
    configs = group(rows[_CONFIGS])
    of_channels = channels.ChannelRows(rows)
    not_heard = unheard.read(rows)
    friends = {}
    for key, name, is_enabled, remote_relays, sent_local_relays, *channel in rows[_FRIENDS]:
        remote = PublicKey(key)
        friends[remote] = Friend(
            local_public_key=local,
            remote_public_key=remote,
            remote_relays=parse_form(forms.RELAYS, remote_relays),
            sent_local_relays=parse_form(forms.SENT_RELAYS, sent_local_relays),
            name=name,
            currency_configs=Map(map(_read_config, configs.get(key, []))),
            is_enabled=bool(is_enabled),
            channel=_read_channel(local, remote, channel, of_channels),
            is_heard=remote not in not_heard,
        )
    return Map(friends)


def _read_config(row: tuple[Any, ...]) -> tuple[Currency, CurrencyConfig]:
    currency, mul, add, remote_max_debt, is_open = row
    return Currency(currency), CurrencyConfig(Rate(mul, add), parse_amount(remote_max_debt), bool(is_open))


def _read_channel(
    local: PublicKey, remote: PublicKey, columns: list[Any], of_channels: channels.ChannelRows
) -> Channel:
    direction, active_local, active_remote, inconsistent = columns
    if inconsistent is not None:
        return parse_form(forms.INCONSISTENT, inconsistent)
    if direction is None or active_local is None or active_remote is None:
        raise InvalidInput("a friend without a channel")
    return of_channels.with_queues(
        TokenChannel(
            local,
            remote,
            parse_form(forms.DIRECTION, direction),
            of_channels.ledgers(local, remote),
            frozenset(map(Currency, json.loads(active_local))),
            frozenset(map(Currency, json.loads(active_remote))),
        )
    )
