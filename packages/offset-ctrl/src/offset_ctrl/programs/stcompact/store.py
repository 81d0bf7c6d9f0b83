"""
The directory of a wallet's nodes; the original reads and writes the same. Spec 08 §7, 10 §5.

    STORE/lockfile
    STORE/local/NAME/   node.ident  node.config  node.db  compact.db
    STORE/remote/NAME/  app.ident   node.config  node.info  compact.db

A new node appears complete or not at all. What does not belong there is left alone and named in the log (D92).
"""

import fcntl
import logging
import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar

from offset_crypto.identity import Identity
from offset_ctrl.programs.stcompact.database import format_compact, parse_compact
from offset_ctrl.programs.stcompact.state import CompactState
from offset_proto.errors import InvalidInput, OffsetError, RefusedError
from offset_proto.files import IDENTITY, TICKET, IoError, StringSerdeError, read_text, replace_text, sync_directory
from offset_proto.json_forms import BOOL, record, renamed
from offset_proto.message_json import format_json_line, parse_json
from offset_proto.messages.payment import RelayAddress
from offset_proto.text import format_b64
from offset_proto.types import PrivateKey, PublicKey

__all__ = ["LocalEntry", "OpenFileStoreError", "RemoteEntry", "Store", "StoreError", "check_node_name"]

log = logging.getLogger("offset.compact")

NAME_BYTES_MAX: Final = 200
_CONFIG = record(lambda is_enabled: is_enabled, is_enabled=renamed("isEnabled", BOOL))

T = TypeVar("T")


class OpenFileStoreError(OffsetError):
    """The store can not be used at all."""

    def __init__(self, path: Path, reason: object) -> None:
        super().__init__(f"OpenFileStoreError({path}: {reason})")


class StoreError(RefusedError):
    """An operation on one node failed; the store is as it was."""


@dataclass(frozen=True, slots=True)
class LocalEntry:
    """A node in this process: its identity, and where its database is."""

    is_enabled: bool
    identity: Identity
    database: Path
    directory: Path


@dataclass(frozen=True, slots=True)
class RemoteEntry:
    """A node elsewhere: who we are for it, where it is, and its key."""

    is_enabled: bool
    app: Identity
    ticket: RelayAddress
    directory: Path


Entry = LocalEntry | RemoteEntry


def check_node_name(name: str) -> None:
    """
    Tell whether a node may have this name.

    Raises:
        StoreError: InvalidNodeName: empty, longer than 200 bytes, with a control character, or one of ``\\ / : $ .``
            (D89, D93).
    """
    is_clean = all(c.isprintable() and c not in "\\/:$." for c in name)
    if not name or not is_clean or len(name.encode()) > NAME_BYTES_MAX:
        raise StoreError(f"InvalidNodeName({name!r})")


class Store:
    """
    An open store; nobody else uses it until `close`.

    Args:
        path: The directory; is made where it is missing.

    Raises:
        OpenFileStoreError: It can not be made or read, or another process uses it.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._lock = os.open(path / "lockfile", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise OpenFileStoreError(path, error.strerror or error) from None
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(self._lock)
            raise OpenFileStoreError(path, "another process uses it") from None
        self._complained: set[str] = set()

    def close(self) -> None:
        """Release the directory, so that another process may use it."""
        os.close(self._lock)

    def entries(self) -> dict[str, Entry]:
        """All nodes by name, in the order of the names; what is none is skipped and logged once."""
        found: dict[str, Entry] = {}
        for kind, read in (("local", self._read_local), ("remote", self._read_remote)):
            for directory in self._directories(kind):
                name = directory.name
                try:
                    check_node_name(name)
                    if name in found:
                        raise StoreError("a local node has the same name")
                    found[name] = read(directory)
                except OffsetError as error:
                    self._complain(directory, error)
        return dict(sorted(found.items()))

    def _directories(self, kind: str) -> Iterator[Path]:
        try:
            paths = sorted((self._path / kind).iterdir())
        except FileNotFoundError:
            return
        except OSError as error:
            self._complain(self._path / kind, error.strerror or error)
            return
        for path in paths:
            if path.is_dir():
                yield path
            else:
                self._complain(path, "not a directory")

    def _complain(self, path: Path, reason: object) -> None:
        if f"{path}{reason}" not in self._complained:
            self._complained.add(f"{path}{reason}")
            log.warning("skipped %s: %s", path, reason)

    def _read_local(self, directory: Path) -> LocalEntry:
        identity = Identity(IDENTITY.load(directory / "node.ident").private_key)
        return LocalEntry(_read_config(directory), identity, directory / "node.db", directory)

    def _read_remote(self, directory: Path) -> RemoteEntry:
        identity = Identity(IDENTITY.load(directory / "app.ident").private_key)
        return RemoteEntry(_read_config(directory), identity, TICKET.load(directory / "node.info"), directory)

    def entry(self, name: str) -> Entry:
        """
        The stored files of the node *name*.

        Raises:
            StoreError: NodeDoesNotExist.
        """
        try:
            return self.entries()[name]
        except KeyError:
            raise StoreError(f"NodeDoesNotExist({name})") from None

    def create_local(self, name: str, format_database: Callable[[PublicKey], str]) -> None:
        """
        A new node in this process, not enabled.

        Args:
            name: Of the node.
            format_database: The text of an empty node's database.

        Raises:
            StoreError: InvalidNodeName, NodeAlreadyExists, or it can not be written.
        """
        key = PrivateKey(secrets.token_bytes(PrivateKey.SIZE))

        def fill(directory: Path) -> None:
            replace_text(directory / "node.db", format_database(Identity(key).public_key))
            replace_text(directory / "node.ident", format_json_line({"privateKey": format_b64(key)}))

        self._create("local", name, fill)

    def create_remote(self, name: str, app: PrivateKey, ticket: RelayAddress) -> None:
        """A node elsewhere, not enabled. Raises as `create_local`."""

        def fill(directory: Path) -> None:
            replace_text(directory / "app.ident", format_json_line({"privateKey": format_b64(app)}))
            info = {"publicKey": format_b64(ticket.public_key), "address": str(ticket.address)}
            replace_text(directory / "node.info", format_json_line(info))

        self._create("remote", name, fill)

    def _create(self, kind: str, name: str, fill: Callable[[Path], None]) -> None:
        check_node_name(name)
        if any((self._path / other / name).exists() for other in ("local", "remote")):
            raise StoreError(f"NodeAlreadyExists({name})")
        temporary = self._path / f".new.{secrets.token_hex(8)}"

        def create() -> None:
            (self._path / kind).mkdir(mode=0o700, exist_ok=True)
            temporary.mkdir(mode=0o700)
            replace_text(temporary / "compact.db", format_compact(CompactState()))
            replace_text(temporary / "node.config", format_json_line({"isEnabled": False}))
            fill(temporary)
            temporary.rename(self._path / kind / name)
            sync_directory(self._path / kind)

        try:
            _attempt(name, create)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)

    def remove(self, name: str) -> None:
        """
        Delete a node with all that it remembers.

        Raises:
            StoreError: InvalidNodeName (D89), NodeDoesNotExist, or it can not be deleted.
        """
        check_node_name(name)
        directory = self.entry(name).directory
        temporary = self._path / f".removed.{secrets.token_hex(8)}"

        def remove() -> None:
            directory.rename(temporary)  # gone at once, whatever happens to what is in it
            sync_directory(directory.parent)
            shutil.rmtree(temporary)

        _attempt(name, remove)

    def set_enabled(self, name: str, *, is_enabled: bool) -> None:
        """
        Whether the node is opened at each start.

        Raises:
            StoreError: NodeDoesNotExist, or it can not be written.
        """
        directory = self.entry(name).directory
        _attempt(name, lambda: replace_text(directory / "node.config", format_json_line({"isEnabled": is_enabled})))

    def load_compact(self, entry: Entry) -> CompactState:
        """
        What the compact node remembers.

        Raises:
            IoError, StringSerdeError: It can not be read, or is damaged.
        """
        path = entry.directory / "compact.db"
        try:
            return parse_compact(read_text(path))
        except InvalidInput as error:
            if isinstance(error, StringSerdeError):
                raise
            raise StringSerdeError(path, error) from None

    def save_compact(self, entry: Entry, state: CompactState) -> None:
        """
        Replace what the compact node remembers; the new state is durable when this returns.

        Raises:
            IoError: It can not be written.
        """
        path = entry.directory / "compact.db"
        try:
            replace_text(path, format_compact(state))
        except OSError as error:
            raise IoError(path, error.strerror or str(error)) from None


def _read_config(directory: Path) -> bool:
    path = directory / "node.config"
    try:
        return bool(_CONFIG.read(parse_json(read_text(path))))
    except InvalidInput as error:
        raise StringSerdeError(path, error) from None


def _attempt(name: str, step: Callable[[], T]) -> T:
    try:
        return step()
    except (OSError, ValueError) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
        raise StoreError(f"IoError({name}: {reason})") from None
