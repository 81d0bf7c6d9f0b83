"""
What a file is that was given in place of another one. Pure. Spec 08 §2.

Files of Offset do not say of which kind they are; each kind has members of its own. So a file that can not be read as
what was wanted is known by its members, whatever is in them. Tickets of relays, index servers and nodes have the same
members [QUIRK]: which of the three one is, shows only who answers at its address.
"""

import re
from typing import Any, Final

from offset_proto.errors import InvalidInput
from offset_proto.message_json import parse_json

__all__ = [
    "APPLICATION_ID_BYTES",
    "LOCKED_BACKUP",
    "ORIGINAL_DATABASE",
    "START_BYTES",
    "application_id",
    "mistaken_for",
    "recognize",
    "recognize_start",
]

START_BYTES: Final = 64 * 1024
"""Of a file, which `recognize_start` wants to see: more than any of the small kinds has as a rule."""

LOCKED_BACKUP: Final = "a locked backup"
ORIGINAL_DATABASE: Final = "a database of the original"

# Of a file of SQLite, https://www.sqlite.org/fileformat.html.
_SQLITE: Final = b"SQLite format 3\0"
APPLICATION_ID_BYTES: Final = slice(68, 72)
"""Where it says whose database it is, big-endian."""

_BEGINNINGS: Final = (
    (re.compile(rb'\s*\{\s*"lockedBackup"'), LOCKED_BACKUP),
    (re.compile(rb'\s*\{\s*"(funder_state|index_servers)"'), ORIGINAL_DATABASE),
)
"""Of files that are too large to be read for their members."""

_NAMES: Final = {
    frozenset(members.split()): name
    for members, name in (
        ("privateKey", "an identity"),
        ("lockedIdentity lock sealedPrivateKey", "an identity"),
        ("publicKey address", "a ticket of a relay, an index server or a node"),
        ("publicKey permissions", "a ticket of an app"),
        ("publicKey relays", "a ticket of a friend"),
        ("nodePublicKey nodeAddress appPrivateKey", "an entry of a node"),
        ("public_key relays index_servers friends", "a contact list"),
        ("invoice_id currency dest_public_key dest_payment", "an invoice"),
        ("payment_id", "a payment"),
        ("response_hash src_plain_lock dest_hashed_lock total_dest_payment invoice_id", "a commit"),
        ("response_hash src_plain_lock dest_plain_lock total_dest_payment invoice_id", "a receipt"),
        ("prefix_hash rand_nonce new_token token_info", "a token of a friend"),
    )
}
"""Kinds of files by members that no other kind has all of."""


def mistaken_for(text: str, wanted: frozenset[str]) -> str | None:
    """
    What a file is that could not be read, and what was wanted, in words; None: it may be damaged, and is no other kind.

    Args:
        text: Of the file.
        wanted: The members of the kind that was wanted.
    """
    found = recognize(text)
    name = next((name for members, name in _NAMES.items() if members <= wanted), None)
    if found is None or found == name:
        return None
    return f"this is {found}, and " + ("does not belong here" if name is None else f"{name} is wanted")


def application_id(start: bytes) -> int | None:
    """Whose database a file of SQLite is that begins with these bytes, 72 at least; None: it is no file of SQLite."""
    return int.from_bytes(start[APPLICATION_ID_BYTES]) if start.startswith(_SQLITE) else None


def recognize_start(start: bytes) -> str | None:
    """What a file is that begins with these bytes, the first `START_BYTES` or all; None: nothing that is known."""
    for beginning, name in _BEGINNINGS:
        if beginning.match(start):
            return name
    try:
        return recognize(start.decode())
    except UnicodeDecodeError:
        return None


def recognize(text: str) -> str | None:
    """What the *text* of a file is, in words; None: nothing that is known."""
    if not text.strip():
        return "an empty file"
    if text.lstrip().lower().startswith("offset:"):
        return "a text to be handed over"
    try:
        value: Any = parse_json(text)
    except InvalidInput:
        is_settings = re.match(r"(?:\s*(?:#.*)?\n)*\s*[\w-]+ *= *\S", text) is not None
        return "a file of settings" if is_settings else None
    if not isinstance(value, dict):
        return None
    fitting = [members for members in _NAMES if members <= value.keys()]
    return _NAMES[max(fitting, key=len)] if fitting else None
