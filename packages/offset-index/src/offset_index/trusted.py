"""The directory of trusted index servers, read once at start. Spec 08 §5.2."""

from pathlib import Path

from offset_proto.files import TICKET, IoError
from offset_proto.messages.payment import RelayAddress
from offset_proto.types import PublicKey

__all__ = ["load_trusted_servers"]


def load_trusted_servers(directory: Path) -> dict[PublicKey, RelayAddress]:
    """
    One index ticket per file; subdirectories are not entered.

    Raises:
        IoError, StringSerdeError: The directory or any file of it can not be used.
    """
    try:
        paths = sorted(directory.iterdir())
    except OSError as error:
        raise IoError(directory, error.strerror or str(error)) from None
    tickets = [TICKET.load(path) for path in paths if not path.is_dir()]
    return {ticket.public_key: ticket for ticket in tickets}
