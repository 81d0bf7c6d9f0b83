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
from offset_proto.types import Currency

__all__ = ["read_members"]

MEMBERS_MAX: Final = 1000
"""Members of a community. A plan of more is no plan: too many would have to be online together."""

EXPORT_BYTES_MAX: Final = 4 * 1024 * 1024
"""Bytes of one export: some 4,000 friends with a relay and a currency each."""

DEBTS_MAX: Final = 50_000
"""Debts in one plan, which then takes seconds."""


def read_members(directory: Path, currency: Currency) -> list[Member]:
    """The members by name. Raises OffsetError, which names the file and says what to do."""
    try:
        files = {path.name for path in directory.iterdir()}
    except OSError as error:
        raise IoError(directory, error.strerror or str(error)) from None
    names = sorted(
        {name.removesuffix(suffix) for suffix in (".json", ".friend") for name in files if name.endswith(suffix)}
    )
    if len(names) > MEMBERS_MAX:
        raise InvalidInput(f"{directory} has files of {len(names)} members, at most {MEMBERS_MAX} can be planned")
    for name in names:
        for file, command in (
            (f"{name}.json", "friends --json"),
            (f"{name}.friend", f"export-ticket -t {name}.friend"),
        ):
            if file not in files:
                raise InvalidInput(f"{directory} has no {file}: let {name} make it with stctrl info {command}")
    members = [_read_member(directory, name, currency) for name in names]
    _check(directory, members, currency)
    return members


def _read_member(directory: Path, name: str, currency: Currency) -> Member:
    key = FRIEND_TICKET.load(directory / f"{name}.friend").public_key
    export = directory / f"{name}.json"
    try:
        return read_member(name, key, read_text(export, EXPORT_BYTES_MAX), currency)
    except InvalidInput as error:
        raise InvalidInput(f"{export} is not what stctrl info friends --json prints for {name}: {error}") from None


def _check(directory: Path, members: list[Member], currency: Currency) -> None:
    """Raises InvalidInput for members of whom no plan can be made."""
    if len(members) < 3:
        raise InvalidInput(f"{directory} has files of {len(members)} members, and a circle needs three")
    known: dict[bytes, str] = {}
    for member in members:
        other = known.setdefault(member.public_key, member.name)
        if other != member.name:
            raise InvalidInput(f"{directory}: {other}.friend and {member.name}.friend are tickets of one node")
    if not any(member.sides for member in members):
        raise InvalidInput(f"{directory}: nobody has a ledger in the currency {str(currency)!r}")
    debts = sum(len(member.sides) for member in members) // 2
    if debts > DEBTS_MAX:
        raise InvalidInput(f"{directory}: about {debts} debts, at most {DEBTS_MAX} can be planned")
