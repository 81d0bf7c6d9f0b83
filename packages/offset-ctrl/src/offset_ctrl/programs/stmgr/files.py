"""What the commands of stmgr share: options, names of failures, identities that are opened. Spec 09 §4."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from offset_proto.cli import PathOrUrl
from offset_proto.errors import InvalidInput, OffsetError
from offset_proto.types import NetAddress, PublicKey

__all__ = [
    "ADDRESS",
    "DATABASE",
    "IDFILE",
    "OUTPUT",
    "PATH",
    "check_new",
    "in_group",
    "not_installed",
    "parse_address",
    "public_key",
]

PATH = click.Path(path_type=Path)
DATABASE = PathOrUrl("postgresql", "postgres")
IDFILE = click.option("-i", "--idfile", type=PATH, required=True, help="Identity file.")
OUTPUT = click.option("-o", "--output", type=PATH, required=True, help="Output file; must not exist.")
ADDRESS = click.option("-a", "--address", required=True, help="Address, host:port.")


def in_group(group: str, step: Callable[[], Any]) -> Any:
    """Carry *step* out; name its failure as the original does."""
    try:
        return step()
    except OffsetError as error:
        raise OffsetError(f"{group}({error})") from None


def check_new(path: Path) -> None:
    """Raises OutputAlreadyExists where there is a file of that name."""
    from offset_proto.files import OutputAlreadyExists

    if path.exists() or path.is_symlink():
        raise OutputAlreadyExists(path)


def public_key(idfile: Path, passphrase_file: Path | None) -> PublicKey:
    """The public key of the identity in a file, locked or not; raises as `open_identity`."""
    from offset_crypto.passphrase import open_identity

    return open_identity(idfile, passphrase_file).public_key


def parse_address(text: str) -> NetAddress:
    """The address that *text* is; InvalidInput where nobody could connect to it."""
    from offset_proto import entered

    try:
        return entered.parse_address(text)
    except InvalidInput as error:
        raise InvalidInput(f"NetAddressError({error})") from None


def not_installed(error: ModuleNotFoundError) -> OffsetError:
    """What to say where a command needs the node, and it is not there."""
    return OffsetError(f"{error.name} is not installed: pip install offset-node")
