"""
One writer: who may write to a database on a server, for how long, and what stops everybody else. Pure.

A file can be locked, and the operating system lets the lock go when its process ends. A server can not know whether a
process that says nothing has ended, is frozen, or is cut off from it and goes on to talk with its friends. Two nodes
that go on from one state sign two successors of one token, so of any two processes one at most may write, and the other
may not even say anything. A row of the database decides that:

============  =========================================================================================
`term`        how often the right to write was taken; only rises
`writing`     the term of who wrote last; the table refuses any other than `term`
`holder`      who took it, for messages; and that it has let go, where it has
`until`       when it ends unless it is prolonged, by the clock of the server, which is the only one
============  =========================================================================================

Rules
    1. It is taken by one statement that raises `term` by one, and only after `until` (`TAKE`).
    2. Each transaction that stores a batch writes its own term into `writing` first (`WRITE`), and prolongs `until`. If
       the term has moved on, the table's constraint fails, and the transaction with it.
    3. Who has nothing to store prolongs it all the same, at least twice within its length.
    4. Its holder acts by it for a second less than its length, counted by a clock of its own from a moment *before* it
       asked for it. It waits for no answer of the server any longer than that, and ends: so its links are free when
       somebody else may take over.

Why that is enough
    `WRITE` locks the row until its transaction ends, and so does `TAKE`. Of the two one comes first: either the batch
    is committed before the term rises, and who takes over loads it, or the term has risen, and the batch is not stored
    (rule 2). What a batch says is said after it is stored, so a process that was frozen for an hour can store nothing
    and follows from nothing. Whatever needs no batch is said only while rule 4 allows it: the server's `until` is
    counted from a later moment, and is longer, so nobody else has taken over then, as long as both clocks run alike.

    Whoever finds the row taken looks again until `until` has passed or has moved on. In the first case its holder is
    dead, and a node that was killed starts again by itself; in the second it lives. A standby (`postgres_standby`)
    looks for as long as somebody lives, and takes over then.

What it rests on
    That nobody stores who was overtaken rests on no clock. That nobody speaks then rests on the server's running no
    faster than the holder's by more than the margin. If it is set forward by more than that, somebody else may take
    over at once, and the old holder says for as long as rule 4 lets it, or until it stores something, what needs no
    batch: its last token once more, what apps ask for, what index servers are told. No new token and no payment is
    among that.

What it does not see
    A server that is set back to an earlier moment, or another one that takes its place and has not all of it, has
    forgotten batches that were answered. Whoever starts on it then does not know. A standby that has waited meanwhile
    does, if it has seen a higher term, or a later end of the same one (`postgres_standby`).
"""

from typing import Final

__all__ = [
    "ASK_SECONDS",
    "CONSTRAINT",
    "HOLDER",
    "LEASE_SECONDS",
    "LET_GO",
    "LOOK_AGAIN_SECONDS",
    "LOOK_SOON_SECONDS",
    "MARGIN_SECONDS",
    "NEW",
    "RENEW_SECONDS",
    "SCHEMA",
    "TAKE",
    "WRITE",
]

LEASE_SECONDS: Final = 5
"""
As short as a node can bear, since nobody pays for so long when one has died. What it has to bear is a server that does
not answer a batch, or an event loop that hangs, for two seconds at least.
"""

RENEW_SECONDS: Final = 1
MARGIN_SECONDS: Final = 1
"""By how much a holder counts less than the server does."""

ASK_SECONDS: Final = 0.4
"""For who has lost it to find out who has it now: it has to be gone when that one comes, which is within the margin."""

LOOK_AGAIN_SECONDS: Final = 1
"""Between two looks at a lease that somebody holds, at most: whoever waits for it looks again when it would end."""

LOOK_SOON_SECONDS: Final = 0.1
"""The least of that."""

CONSTRAINT: Final = "writer_of_this_term"

SCHEMA: Final = f"""
CREATE TABLE writer (
    id BIGINT PRIMARY KEY CHECK (id = 1),
    term BIGINT NOT NULL,
    writing BIGINT NOT NULL,
    holder TEXT NOT NULL,
    until TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT {CONSTRAINT} CHECK (writing = term)
);
"""

NEW: Final = "INSERT INTO writer (id, term, writing, holder, until) VALUES (1, 0, 0, '', clock_timestamp())"

_LENGTH: Final = f"interval '{LEASE_SECONDS} seconds'"

TAKE: Final = (
    f"UPDATE writer SET term = term + 1, writing = term + 1, holder = ?, until = clock_timestamp() + {_LENGTH}"
    " WHERE until <= clock_timestamp() RETURNING term"
)
"""Takes it for a holder; a row with the new term, or none where it is held."""

WRITE: Final = f"UPDATE writer SET writing = ?, until = clock_timestamp() + {_LENGTH}"
"""First in each transaction of a holder, with its term."""

LET_GO: Final = "UPDATE writer SET until = clock_timestamp(), holder = holder || ' (ended)' WHERE term = ?"
"""
Ends it at once; whoever comes next need not wait. Nothing else makes `until` earlier within a term, and it shows, so
that it can be told from a server that was set back.
"""

HOLDER: Final = (
    "SELECT term, holder, until, extract(epoch FROM until - clock_timestamp())::double precision FROM writer"
)
"""The term, who took it, when it ends, and in how many seconds. It takes no lock that a batch would wait for."""
