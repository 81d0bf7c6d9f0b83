"""
How a person names a database: a file by its path, a server by an address ``postgresql://…``. Pure.

An address may hold a password. On a command line all processes of the machine can read it, and nothing here can help
that; PostgreSQL's own password file and service file need none in the address at all. Whatever is shown of an address,
in messages and in the log, has none.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit

from offset_proto.errors import InvalidInput

__all__ = ["DatabaseName", "PostgresAddress", "database_name"]

_SCHEMES: Final = ("postgresql://", "postgres://")
_SECRETS: Final = ("password", "sslpassword")


@dataclass(frozen=True, slots=True)
class PostgresAddress:
    """
    Where a database of PostgreSQL is; as text it has no password.

    Attributes:
        text: What libpq connects by, with whatever is secret in it.

    Raises:
        InvalidInput: It is no address.
    """

    text: str = field(repr=False)

    def __post_init__(self) -> None:
        try:
            urlsplit(self.text)
        except ValueError as error:
            raise InvalidInput(f"an address of PostgreSQL that can not be read: {error}") from None

    def __str__(self) -> str:
        parts = urlsplit(self.text)
        user, at, hosts = parts.netloc.rpartition("@")
        shown = parse_qsl(parts.query, keep_blank_values=True)
        query = urlencode([(name, value) for name, value in shown if name not in _SECRETS], safe="/")
        shown_user = user.partition(":")[0]
        return f"{parts.scheme}://{shown_user}{at}{hosts}{parts.path}{'?' * bool(query)}{query}"

    @property
    def secrets(self) -> tuple[str, ...]:
        """The passwords in it, as they are written there and as they are."""
        parts = urlsplit(self.text)
        written = parts.netloc.rpartition("@")[0].partition(":")[2]
        named = [value for name, value in parse_qsl(parts.query) if name in _SECRETS]
        return tuple(dict.fromkeys(secret for secret in (written, unquote(written), *named) if secret))

    def without_secrets(self, text: str) -> str:
        """What a library says about the address, without the passwords that it may quote."""
        text = text.replace(self.text, str(self))
        for secret in self.secrets:
            text = text.replace(secret, "***")
        return text


DatabaseName = Path | PostgresAddress
"""A file of SQLite, or a database on a server."""


def database_name(text: str) -> DatabaseName:
    """What *text* names. Raises InvalidInput where it begins like an address and is none."""
    return PostgresAddress(text) if text.startswith(_SCHEMES) else Path(text)
