"""
Every file that people and programs exchange: identities, tickets, invoices, receipts. Spec 08 §1-§3.

A `FileKind` formats, parses, loads and saves one kind. An existing file is never overwritten, and a new
one appears complete or not at all, also when the machine stops in the middle.
"""

import os
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Final, Generic, TypeVar

from offset_proto.errors import InvalidInput, OffsetError
from offset_proto.file_forms import mistaken_for
from offset_proto.message import frozen
from offset_proto.message_json import CAMEL_CASE, SNAKE_CASE, JsonForm, format_json, parse_json
from offset_proto.messages.app import AppPermissions
from offset_proto.messages.payment import Commit, Receipt, RelayAddress
from offset_proto.messages.report import MoveTokenHashedReport
from offset_proto.permissions import ExtendedPermissions
from offset_proto.types import (
    U32,
    U128,
    Currency,
    InvoiceId,
    NetAddress,
    PaymentId,
    PrivateKey,
    PublicKey,
    Salt,
    SealedPrivateKey,
)

__all__ = [
    "APP_TICKET",
    "COMMIT",
    "FRIEND_TICKET",
    "FRIEND_TOKEN",
    "IDENTITY",
    "INVOICE",
    "LOCKED_IDENTITY",
    "NODE_ENTRY",
    "PAYMENT",
    "RECEIPT",
    "TICKET",
    "AppTicket",
    "FileKind",
    "FriendTicket",
    "IdentityFile",
    "Invoice",
    "IoError",
    "LockedIdentityFile",
    "NodeEntry",
    "OutputAlreadyExists",
    "PassphraseLock",
    "PaymentFile",
    "StringSerdeError",
    "load_identity_file",
    "read_bytes",
    "read_text",
    "replace_text",
    "save_bytes",
    "save_text",
    "sync_directory",
]

FILE_BYTES_MAX: Final = 64 * 1024 * 1024
"""No file of ours comes near it; one that does is not read into memory."""

T = TypeVar("T")


class IoError(OffsetError):
    """A file can not be read or written, or its path not be used."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"IoError({path}: {reason})")


class OutputAlreadyExists(OffsetError):
    """The file to be written is there already, or what takes its place; it stays as it is."""

    def __init__(self, name: object) -> None:
        super().__init__(f"OutputAlreadyExists({name})")


class StringSerdeError(InvalidInput):
    """A file does not hold what it should."""

    def __init__(self, path: Path, reason: object) -> None:
        super().__init__(f"StringSerdeError(JsonSerdeError({path}: {reason}))")


@frozen
class IdentityFile:
    """The private key of a node, relay, index server or app."""

    private_key: PrivateKey


@frozen
class PassphraseLock:
    """How a passphrase becomes a key by Argon2id (RFC 9106): memory in KiB, passes over it, lanes, salt."""

    memory_kib: U32
    iterations: U32
    lanes: U32
    salt: Salt


@frozen
class LockedIdentityFile:
    """An identity that a passphrase opens; *locked_identity* is the version of the lock."""

    locked_identity: U32
    lock: PassphraseLock
    sealed_private_key: SealedPrivateKey


@frozen
class AppTicket:
    """An app that a node trusts, and for what; the permissions may be extended ones."""

    public_key: PublicKey
    permissions: AppPermissions


@frozen
class _ExtendedAppTicket:
    """The same with a permission that the original does not know, and does not miss."""

    public_key: PublicKey
    permissions: ExtendedPermissions


@frozen
class NodeEntry:
    """All that an app needs to reach a node, private key included."""

    node_public_key: PublicKey
    node_address: NetAddress
    app_private_key: PrivateKey


@frozen
class FriendTicket:
    """What to hand to a friend: the node's key and its relays."""

    public_key: PublicKey
    relays: tuple[RelayAddress, ...]


@frozen
class Invoice:
    """What the seller hands to the buyer."""

    invoice_id: InvoiceId
    currency: Currency
    dest_public_key: PublicKey
    dest_payment: U128


@frozen
class PaymentFile:
    """The buyer's handle of a payment under way."""

    payment_id: PaymentId


class FileKind(Generic[T]):
    """
    One kind of file.

    Args:
        form: The class in JSON.
        secret: The file holds a private key, or what is nobody else's business: only its owner may read it.
    """

    def __init__(self, form: JsonForm[T], *, secret: bool = False) -> None:
        self._form = form
        self._secret = secret

    def format(self, value: T) -> str:
        """The exact text of the file."""
        return format_json(self._form.to_value(value))

    def parse(self, text: str) -> T:
        """
        The value in *text*.

        Raises:
            InvalidInput: Not a file of this kind; says which key is wrong.
        """
        return self._form.from_value(parse_json(text))

    def load(self, path: Path) -> T:
        """
        The value in the file at *path*.

        Raises:
            IoError: The file can not be read.
            StringSerdeError: It is no file of this kind.
        """
        text = read_text(path)
        try:
            return self.parse(text)
        except InvalidInput as error:
            raise StringSerdeError(path, self.mistaken(text) or error) from None

    def mistaken(self, text: str) -> str | None:
        """Of which other kind a file is whose *text* is none of this kind, in words; None: that is not known."""
        return mistaken_for(text, self._form.keys)

    def save(self, path: Path, value: T) -> None:
        """
        Write a new file at *path*, complete or not at all.

        Raises:
            OutputAlreadyExists: There is one; it stays as it is.
            IoError: It can not be written.
        """
        save_text(path, self.format(value), secret=self._secret)


def _is_locked(value: Any) -> bool:
    return isinstance(value, dict) and "lockedIdentity" in value


class _Identities(FileKind[IdentityFile]):
    """Identities as the original has them; a locked one is told by its name."""

    def parse(self, text: str) -> IdentityFile:
        value = parse_json(text)
        if _is_locked(value):
            raise InvalidInput("this identity is locked, and only its passphrase opens it")
        return self._form.from_value(value)


_EXTENDED_TICKET: Final = JsonForm(_ExtendedAppTicket, camel_case=CAMEL_CASE)


class _AppTickets(FileKind[AppTicket]):
    """Tickets of apps as the original has them, and with the member *history*, which it passes over."""

    def format(self, value: AppTicket) -> str:
        if not isinstance(value.permissions, ExtendedPermissions):
            return super().format(value)
        return format_json(_EXTENDED_TICKET.to_value(_ExtendedAppTicket(value.public_key, value.permissions)))

    def parse(self, text: str) -> AppTicket:
        value = parse_json(text)
        permissions = value.get("permissions") if isinstance(value, dict) else None
        if not isinstance(permissions, dict) or "history" not in permissions:
            return self._form.from_value(value)
        extended = _EXTENDED_TICKET.from_value(value)
        return AppTicket(extended.public_key, extended.permissions)


IDENTITY = _Identities(JsonForm(IdentityFile, camel_case=CAMEL_CASE), secret=True)
LOCKED_IDENTITY = FileKind(JsonForm(LockedIdentityFile, camel_case=CAMEL_CASE), secret=True)
APP_TICKET = _AppTickets(JsonForm(AppTicket, camel_case=CAMEL_CASE))
TICKET = FileKind(JsonForm(RelayAddress, camel_case=CAMEL_CASE))
"""
Relay, index and node tickets have one shape, and nothing in them says which kind they are [QUIRK]. What the ticket of a
node may have besides is in `offset_proto.node_tickets`.
"""
NODE_ENTRY = FileKind(JsonForm(NodeEntry, camel_case=CAMEL_CASE), secret=True)
FRIEND_TICKET = FileKind(JsonForm(FriendTicket, camel_case=CAMEL_CASE))
INVOICE = FileKind(JsonForm(Invoice, camel_case=SNAKE_CASE))
PAYMENT = FileKind(JsonForm(PaymentFile, camel_case=SNAKE_CASE))
COMMIT = FileKind(JsonForm(Commit, camel_case=SNAKE_CASE))
RECEIPT = FileKind(JsonForm(Receipt, camel_case=SNAKE_CASE))
FRIEND_TOKEN = FileKind(
    JsonForm(
        MoveTokenHashedReport,
        camel_case=SNAKE_CASE,
        order=("prefix_hash", "rand_nonce", "new_token", "token_info"),
    )
)


def load_identity_file(path: Path) -> IdentityFile | LockedIdentityFile:
    """
    The identity in a file, whether a passphrase locks it or not.

    Raises:
        IoError: The file can not be read.
        StringSerdeError: It is no identity.
    """
    text = read_text(path)
    try:
        kind: FileKind[Any] = LOCKED_IDENTITY if _is_locked(parse_json(text)) else IDENTITY
        identity: IdentityFile | LockedIdentityFile = kind.parse(text)
    except InvalidInput as error:
        raise StringSerdeError(path, mistaken_for(text, frozenset(("privateKey",))) or error) from None
    return identity


def read_bytes(path: Path, bytes_max: int = FILE_BYTES_MAX) -> bytes:
    """The bytes of a file, *bytes_max* at most. Raises IoError where it can not be read, or has more."""
    try:
        with path.open("rb") as file:
            data = file.read(bytes_max + 1)
    except (OSError, ValueError) as error:
        raise IoError(path, _reason(error)) from None
    if len(data) > bytes_max:
        raise IoError(path, f"more than {bytes_max} bytes")
    return data


def read_text(path: Path, bytes_max: int = FILE_BYTES_MAX) -> str:
    """The text of a file. Raises IoError as `read_bytes`, and StringSerdeError where it is not UTF-8."""
    try:
        return read_bytes(path, bytes_max).decode("utf-8")
    except UnicodeDecodeError as error:
        raise StringSerdeError(path, f"no text: not UTF-8 at byte {error.start}") from None


def save_text(path: Path, text: str, *, secret: bool = False) -> None:
    """Write a new file of UTF-8 as `save_bytes` does."""
    save_bytes(path, text.encode(), secret=secret)


def save_bytes(
    path: Path, data: bytes | Iterable[bytes], *, secret: bool = False, check: Callable[[Path], object] | None = None
) -> None:
    """
    Write a new file, complete or not at all; mode 0600 where it is secret. What comes in pieces is written as it comes.

    The bytes are written and synced under a temporary name beside *path*, then linked to it, which fails
    where the name is taken. *check* is called with the temporary name before that. There is no file if it
    raises, or *data* does.

    Raises:
        OutputAlreadyExists: There is a file of that name; it stays as it is.
        IoError: It can not be written.
    """
    if path.exists() or path.is_symlink():
        raise OutputAlreadyExists(path)
    try:
        descriptor, temporary = tempfile.mkstemp(prefix=".new.", dir=path.parent)
        try:
            with open(descriptor, "wb") as file:
                file.writelines([data] if isinstance(data, bytes) else data)
                if not secret:
                    os.fchmod(file.fileno(), 0o666 & ~_umask())
                file.flush()
                os.fsync(file.fileno())
            if check is not None:
                check(Path(temporary))
            os.link(temporary, path)
        finally:
            os.unlink(temporary)
        sync_directory(path.parent)
    except FileExistsError:
        raise OutputAlreadyExists(path) from None
    except InvalidInput:  # of the data or the check
        raise
    except (OSError, ValueError) as error:
        raise IoError(path, _reason(error)) from None


def replace_text(path: Path, text: str) -> None:
    """
    Write a file anew, complete or not at all, whether there is one or not; mode 0600, durable when this returns.

    Raises:
        OSError: It can not be written; what was there is there.
    """
    descriptor, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with open(descriptor, "wb") as file:
            file.write(text.encode())
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).replace(path)
    except BaseException:
        os.unlink(temporary)
        raise
    sync_directory(path.parent)


def _umask() -> int:
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


def sync_directory(path: Path) -> None:
    """Make durable which files there are in a directory. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _reason(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error)
