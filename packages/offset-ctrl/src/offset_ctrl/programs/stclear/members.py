"""
The files of the members of a community.

Of each member NAME there are two files in one directory, and nothing else is looked at: ``NAME.json`` is what
``stctrl info friends --json`` prints, and ``NAME.friend``, the friend ticket, says which node that is. Both come from
the member as they are, so the treasurer has no key to copy. Files that were mixed up show: a node is no friend of its
own, and members do not agree on debts that one of them does not know.
"""

from pathlib import Path
from typing import Final

from offset_ctrl.clearing.exports import Member, read_member
from offset_proto.errors import InvalidInput
from offset_proto.files import FRIEND_TICKET, IoError, read_text
from offset_proto.types import Currency, PublicKey

__all__ = ["read_members"]

MEMBERS_MAX: Final = 1000
"""Members of a community. A plan of more is no plan: too many would have to be online together."""

EXPORT_BYTES_MAX: Final = 4 * 1024 * 1024
"""Bytes of one export: some 4,000 friends with a relay and a currency each."""

LEDGERS_MAX: Final = 100_000
"""Friends in all exports together, two for each debt. A plan of so many takes half a minute."""


def read_members(directory: Path, currency: Currency) -> list[Member]:
    """
    The members whose files are in *directory*, by name, with what they say of *currency*.

    Raises:
        IoError, InvalidInput: Files are missing, not what they should be, or too many; says which, and what to do.
    """
    names = _names(directory)
    members: list[Member] = []
    known: dict[PublicKey, str] = {}
    ledgers = 0
    for name in names:
        member = _read_member(directory, name, currency)
        other = known.setdefault(member.public_key, name)
        if other != name:
            raise InvalidInput(f"{directory}: {other}.friend and {name}.friend are tickets of one node")
        ledgers += len(member.sides)
        if ledgers > LEDGERS_MAX:
            raise InvalidInput(
                f"{directory}: the exports list more than {LEDGERS_MAX} friends: plan with fewer members"
            )
        members.append(member)
    if not ledgers:
        raise InvalidInput(f"{directory}: nobody has a ledger in the currency {str(currency)!r}")
    return members


def _names(directory: Path) -> list[str]:
    """The members of whom there are both files."""
    try:
        files = {path.name for path in directory.iterdir()}
    except OSError as error:
        raise IoError(directory, error.strerror or str(error)) from None
    names = sorted({name.removesuffix(end) for end in (".json", ".friend") for name in files if name.endswith(end)})
    if not 3 <= len(names) <= MEMBERS_MAX:
        raise InvalidInput(f"{directory} has files of {len(names)} members; a plan is for 3 to {MEMBERS_MAX}")
    for name in names:
        if f"{name}.json" not in files:
            makes = f"stctrl info friends --json > {name}.json"
            raise InvalidInput(f"{directory} has no {name}.json: let {name} make it with {makes}")
        if f"{name}.friend" not in files:
            makes = f"stctrl info export-ticket -t {name}.friend"
            raise InvalidInput(f"{directory} has no {name}.friend: let {name} make it with {makes}")
    return names


def _read_member(directory: Path, name: str, currency: Currency) -> Member:
    key = FRIEND_TICKET.load(directory / f"{name}.friend").public_key
    export = directory / f"{name}.json"
    try:
        return read_member(name, key, read_text(export, EXPORT_BYTES_MAX), currency)
    except InvalidInput as error:
        raise InvalidInput(f"{export} is not what stctrl info friends --json prints for {name}: {error}") from None
