"""
What servers and stweb tell in their logs: each event once, with its name, its level and its fields. Pure.

Names and fields are stable: whoever reads logs by a program relies on them. An event is told where a change happens,
once for each change, by `tell`. How it becomes a line is in `offset_proto.logs`; docs/reference/log-events.md is made
from this table by tools/log_reference.py.

Three rules for whoever adds an event:

1. No field is a secret: no private key, passphrase, lock, nonce or reset token. Public keys and addresses are none.
2. A *cause* is what events of one kind are counted by when there are too many of them (`offset_proto.log_sums`): a
   friend, a relay. What a stranger chooses is never a part of it, so that strangers can not buy lines with new names.
3. Events that take turns, such as online and offline, share a *group*. They are counted together, and the sum of many
   shows the last one, which is how things are now.
"""

import logging
from typing import Final

from offset_proto.telling import Field, LogEvent, Told, tell

__all__ = ["EVENTS", "Field", "LogEvent", "Told", "tell"]

_INFO: Final = logging.INFO
_WARNING: Final = logging.WARNING

_KEY: Final = "public key, in base64"
_APP: Final = "its public key, in base64"
_REASON: Final = "why, in words"
_NEXT: Final = "seconds until the next attempt"
_AWAY: Final = "seconds without it, since it was lost or the program started"
_INDEX: Final = {"server": "the owner's name of it", "address": "host:port"}
_FRIEND: Final = {"friend": "the owner's name of the friend; its key where there is none", "key": _KEY}

# All servers.

STARTED: Final = LogEvent(
    "started",
    _INFO,
    "{program} {version} runs as {key}, with {loaded}",
    "The server is ready.",
    {"program": "the package", "version": "of the package", "key": _KEY, "loaded": "how many of what it begins with"},
)
LISTENING: Final = LogEvent(
    "listening",
    _INFO,
    "{address}, for {what}",
    "An address is listened on.",
    {"address": "IP:port", "what": "who is to connect there"},
)
STOPPING: Final = LogEvent(
    "stopping", _INFO, "{reason}", "The server was asked to end.", {"reason": "the signal that asked for it"}
)
CONFIGURATION_READ: Final = LogEvent(
    "configuration_read",
    _INFO,
    "{file}: in effect now: {changed}; after the next start: {waiting}",
    "SIGHUP came, and the configuration file is valid.",
    {"file": "its path", "changed": "settings that count from now on", "waiting": "settings that need a new start"},
)
CONFIGURATION_REFUSED: Final = LogEvent(
    "configuration_refused",
    logging.ERROR,
    "nothing has changed: {reason}",
    "SIGHUP came, and the configuration file, or what it names, is not valid.",
    {"reason": "what is wrong, and in which file"},
)
LIMIT_REACHED: Final = LogEvent(
    "limit_reached",
    _WARNING,
    "{limit}: {what}",
    "A limit was hit, and what goes beyond it waits or is refused.",
    {"limit": "the name of the limit", "what": "what became of what went beyond it"},
    cause=("limit",),
)
LINK_REFUSED: Final = LogEvent(
    "link_refused",
    _INFO,
    "{key}: {reason}",
    "A relay, or the port of an index server for other servers, closed a link that somebody opened.",
    {"key": _KEY, "reason": _REASON},
    cause=("reason",),
)

# Nodes.

FRIEND_ONLINE: Final = LogEvent(
    "friend_online",
    _INFO,
    "{friend}, after {away} s without it",
    "There is a link to a friend.",
    {**_FRIEND, "away": _AWAY},
    "friend_link",
    ("key",),
)
FRIEND_OFFLINE: Final = LogEvent(
    "friend_offline",
    _INFO,
    "{friend}, after {online} s with it: {reason}",
    "The link to a friend has ended.",
    {**_FRIEND, "online": "seconds for which the link was there", "reason": _REASON},
    "friend_link",
    ("key",),
)
FRIEND_NOT_REACHED: Final = LogEvent(
    "friend_not_reached",
    _INFO,
    "{friend}, at {relay}: {reason}",
    "The first attempt to reach a friend failed since its link ended; further attempts are made, and not told.",
    {**_FRIEND, "relay": "host:port of the relay", "reason": _REASON},
    "friend_link",
    ("key",),
)
FRIEND_MESSAGE_REFUSED: Final = LogEvent(
    "friend_message_refused",
    _WARNING,
    "{friend}: {reason}",
    "A friend said what is no message, or what is not allowed; it counts for nothing.",
    {**_FRIEND, "reason": _REASON},
    cause=("key",),
)
CHANNEL_INCONSISTENT: Final = LogEvent(
    "channel_inconsistent",
    _WARNING,
    "{friend}: our terms: {ours}; its terms: {theirs}",
    "The node and a friend do not agree on balances; nothing moves until one of the two accepts the other's terms. It "
    "is told again when the friend's terms come or change.",
    {
        **_FRIEND,
        "ours": "balance for each currency as this node sees it, in credits",
        "theirs": "the same as the friend sees it, turned round; null where it has not said",
    },
    "channel",
    ("key",),
)
CHANNEL_CONSISTENT: Final = LogEvent(
    "channel_consistent",
    _INFO,
    "{friend}: both agree again",
    "An inconsistent channel begins anew.",
    _FRIEND,
    "channel",
    ("key",),
)
RELAY_CONNECTED: Final = LogEvent(
    "relay_connected",
    _INFO,
    "{relay}, after {away} s without it",
    "The node listens at a relay.",
    {"relay": "host:port", "away": _AWAY},
    "relay_link",
    ("relay",),
)
RELAY_LOST: Final = LogEvent(
    "relay_lost",
    _INFO,
    "{relay}: {reason}; next attempt in {next} s",
    "The node does not listen at a relay any more. Where it did so for a few seconds only, the reason says that, and "
    "nothing more is told of it until a link lasts: what stands for a relay may be none.",
    {"relay": "host:port", "reason": _REASON, "next": _NEXT},
    "relay_link",
    ("relay",),
)
RELAY_NOT_REACHED: Final = LogEvent(
    "relay_not_reached",
    _WARNING,
    "{relay}: {reason}; next attempt in {next} s",
    "The first attempt to reach a relay failed since the link ended; further attempts are made, and not told.",
    {"relay": "host:port", "reason": _REASON, "next": _NEXT},
    "relay_link",
    ("relay",),
)
INDEX_CONNECTED: Final = LogEvent(
    "index_connected",
    _INFO,
    "{server} at {address}, after {away} s without any",
    "The node declares its friends to an index server, and can ask it for routes.",
    {**_INDEX, "away": _AWAY},
    "index_link",
    ("address",),
)
INDEX_LOST: Final = LogEvent(
    "index_lost",
    _INFO,
    "{server} at {address}: {reason}; next attempt in {next} s",
    "The link to the index server has ended. The next attempt may be at another one.",
    {**_INDEX, "reason": _REASON, "next": _NEXT},
    "index_link",
    ("address",),
)
INDEX_NOT_REACHED: Final = LogEvent(
    "index_not_reached",
    _WARNING,
    "{server} at {address}: {reason}; next attempt in {next} s",
    "The first attempt to reach an index server failed since there was a link to any; further attempts at it are made, "
    "and not told.",
    {**_INDEX, "reason": _REASON, "next": _NEXT},
    "index_link",
    ("address",),
)
ADDRESS_UNUSABLE: Final = LogEvent(
    "address_unusable",
    _WARNING,
    "'{address}', {what}: {reason}",
    "What stands for an address can not be one, so nobody is ever reached there. The original checks no addresses. It "
    "is told once for each address.",
    {"address": "what stands there", "what": "what is to be there", "reason": _REASON},
)
APP_CONNECTED: Final = LogEvent(
    "app_connected",
    _INFO,
    "{app} may {may}",
    "An app was let in.",
    {"app": _KEY, "may": "permissions of its ticket"},
    "app_link",
    ("app",),
)
APP_DISCONNECTED: Final = LogEvent(
    "app_disconnected",
    _INFO,
    "{app}, after {connected} s: {reason}",
    "An app has left, or was cut off.",
    {"app": _KEY, "connected": "seconds for which it was there", "reason": _REASON},
    "app_link",
    ("app",),
)
APP_REFUSED: Final = LogEvent(
    "app_refused",
    _WARNING,
    "{app}: {reason}",
    "An app was not let in.",
    {"app": _KEY, "reason": _REASON},
)
REQUEST_REFUSED: Final = LogEvent(
    "request_refused",
    _WARNING,
    "{request} of app {app}, by {by}: {reason}",
    "What an app asked for was not done.",
    {"request": "its kind", "app": _APP, "by": "`rights`, `plugins` or `node`", "reason": _REASON},
    cause=("app", "request"),
)
TRANSACTION_REFUSED: Final = LogEvent(
    "transaction_refused",
    _INFO,
    "over {friend}, for app {app}, by {by}: {reason}",
    "A part of a payment was not sent to the first friend of its route. What others refuse is told to the app alone.",
    {**_FRIEND, "app": _APP, "by": "`node`; of rights and plugins it is a `request_refused`", "reason": _REASON},
    cause=("key", "reason"),
)
SLOW_COMMIT: Final = LogEvent(
    "slow_commit",
    _WARNING,
    "{seconds} s for {mutations} changes",
    "The disk took longer than a second to store a batch; all payments wait for it meanwhile.",
    {"seconds": "how long it took", "mutations": "changes in the batch"},
)
STANDING_BY: Final = LogEvent(
    "standing_by",
    _INFO,
    "behind {holder} (term {term})",
    "A standby waits as long as another node has the right to write to the database. It is told again when yet another "
    "one has it.",
    {"holder": "the process that has it, and its machine", "term": "how often that right was taken"},
    "standby",
)
TAKEN_OVER: Final = LogEvent(
    "taken_over",
    _INFO,
    "term {term}, after {holder}; stood by for {waited} s",
    "The node that a standby waited for has ended, or was silent for too long; it goes on from what was stored.",
    {
        "term": "how often the right to write was taken, with this time",
        "holder": "the process that had it before, and its machine",
        "waited": "seconds since the standby was started",
    },
    "standby",
)
DATABASE_LOST: Final = LogEvent(
    "database_lost",
    _WARNING,
    "{database}: {reason}; it is tried again",
    "A standby does not reach the server of the database; what is tried until it does is not told.",
    {"database": "its address", "reason": _REASON},
    "database_link",
)
DATABASE_REACHED: Final = LogEvent(
    "database_reached",
    _INFO,
    "{database}, after {away} s",
    "A standby reaches the server of the database again.",
    {"database": "its address", "away": "seconds without it"},
    "database_link",
)
DATABASE_LOCKED: Final = LogEvent(
    "database_locked",
    _WARNING,
    "{database}: nobody has the right to write, and nobody can take it, since its row is locked by {holder}",
    "A node or a standby waits for the end of a transaction that it may not end itself. It does so for as long as that "
    "takes; somebody who may can end it, with `pg_terminate_backend`.",
    {"database": "its address", "holder": "the processes of the server, their roles and applications"},
)
DATABASE_SET_BACK: Final = LogEvent(
    "database_set_back",
    logging.ERROR,
    "{database} was in term {seen} and is in term {found}, or at an earlier moment of it; something that was stored "
    "is missing, and this process takes nothing over any more",
    "The server of a standby's database was set back to an earlier moment, or another one with something missing has "
    "taken its place. End all nodes and standbys of it, and move the database with `stmgr move-db --restored`.",
    {
        "database": "its address",
        "seen": "the highest term that the standby has seen",
        "found": "the term that it is in now",
    },
)

# Index servers.

SERVER_CONNECTED: Final = LogEvent(
    "server_connected",
    _INFO,
    "{key}, after {away} s without it",
    "There is a link to another index server.",
    {"key": _KEY, "away": _AWAY},
    "server_link",
    ("key",),
)
SERVER_LOST: Final = LogEvent(
    "server_lost",
    _INFO,
    "{key}: {reason}; seconds until the next attempt: {next}",
    "The link to another index server has ended. Where the other one is to connect, there is no next attempt of ours.",
    {"key": _KEY, "reason": _REASON, "next": f"{_NEXT}; null where the other one connects"},
    "server_link",
    ("key",),
)
SERVER_NOT_REACHED: Final = LogEvent(
    "server_not_reached",
    _WARNING,
    "{key}: {reason}; next attempt in {next} s",
    "The first attempt to reach another index server failed since the link ended; further ones are made, and not told.",
    {"key": _KEY, "reason": _REASON, "next": _NEXT},
    "server_link",
    ("key",),
)

# stweb.

NODE_CONNECTED: Final = LogEvent(
    "node_connected",
    _INFO,
    "{node} at {address}, after {away} s without it",
    "`stweb` is connected to a node.",
    {"node": "the name of the node in `stweb`", "address": "host:port", "away": _AWAY},
    "node_link",
    ("address",),
)
NODE_LOST: Final = LogEvent(
    "node_lost",
    _INFO,
    "{node} at {address}: {reason}; it is tried again",
    "The connection to a node has ended. `stweb` tries to make another one, which is not told before there is one.",
    {"node": "the name of the node in `stweb`", "address": "host:port", "reason": _REASON},
    "node_link",
    ("address",),
)

EVENTS: Final = tuple(value for value in list(globals().values()) if isinstance(value, LogEvent))
"""All events, in the order of this module."""
