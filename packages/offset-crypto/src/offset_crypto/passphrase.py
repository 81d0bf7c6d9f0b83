"""
Shell: identities from files, with the passphrase from wherever the owner gave it.

A passphrase never stands on the command line, which every user of the machine can read. It is looked for in this order,
and the first place that is there counts, whether the passphrase in it is right or not:

1. the file of the option ``--passphrase-file``;
2. the systemd credential ``offset-passphrase`` (``LoadCredentialEncrypted=`` in the unit);
3. the environment variable ``OFFSET_PASSPHRASE``;
4. the terminal, where standard input is one.

A line end at the end of a file is not a part of the passphrase.
"""

import getpass
import os
import sys
from pathlib import Path
from typing import Final

from offset_crypto.identity import Identity
from offset_crypto.locking import PASSPHRASE_BYTES_MAX, unlock_identity
from offset_proto.errors import InvalidInput, OffsetError
from offset_proto.files import LockedIdentityFile, StringSerdeError, load_identity_file, read_text
from offset_proto.types import PrivateKey

__all__ = [
    "CREDENTIAL",
    "VARIABLE",
    "NoPassphrase",
    "find_passphrase",
    "forget_variable",
    "open_identity",
    "open_private_key",
]

CREDENTIAL: Final = "offset-passphrase"
VARIABLE: Final = "OFFSET_PASSPHRASE"


class NoPassphrase(OffsetError):
    """A passphrase is needed, and nobody gave one."""

    def __init__(self, what: str) -> None:
        places = f"--passphrase-file, the systemd credential {CREDENTIAL} or the environment variable {VARIABLE}"
        super().__init__(f"NoPassphrase({what}: give it by {places}, or run this on a terminal)")


def _from_file(path: Path) -> str:
    text = read_text(path, PASSPHRASE_BYTES_MAX + len("\r\n"))
    line = text.removesuffix("\n").removesuffix("\r")
    if not line or "\n" in line:
        raise StringSerdeError(path, "a passphrase is one line, and not empty")
    return line


def _from_terminal(what: str, *, is_new: bool) -> str:
    try:
        passphrase = getpass.getpass(f"Passphrase of {what}: ")
        again = getpass.getpass("The same again: ") if is_new else passphrase
    except EOFError:
        raise NoPassphrase(what) from None
    if again != passphrase:
        raise InvalidInput("the two passphrases differ; nothing is written")
    return passphrase


def find_passphrase(what: str, passphrase_file: Path | None = None, *, is_new: bool = False) -> str:
    """
    The passphrase of *what*, a word for the person who is asked.

    Args:
        what: What it opens, for instance the path of an identity.
        passphrase_file: Value of the option; None where it was not given.
        is_new: Something is to be locked by it, so a person types it twice.

    Raises:
        NoPassphrase: It is nowhere, and there is no terminal.
        IoError, StringSerdeError: The file can not be read, or does not hold one line.
        InvalidInput: It was typed differently the second time.
    """
    if passphrase_file is not None:
        return _from_file(passphrase_file)
    directory = os.environ.get("CREDENTIALS_DIRECTORY")
    if directory and (credential := Path(directory) / CREDENTIAL).exists():
        return _from_file(credential)
    variable = os.environ.get(VARIABLE)
    if variable is not None:
        return variable
    if sys.stdin is not None and sys.stdin.isatty():
        return _from_terminal(what, is_new=is_new)
    raise NoPassphrase(what)


def forget_variable() -> None:
    """Take the passphrase out of the environment, so that no child of this process inherits it."""
    os.environ.pop(VARIABLE, None)


def open_private_key(path: Path, passphrase_file: Path | None = None) -> PrivateKey:
    """
    The private key of the identity in a file, locked or not; a passphrase is looked for only where it is locked.

    Raises:
        IoError, StringSerdeError: The file can not be read; no identity, a wrong passphrase, or damage.
        NoPassphrase: It is locked, and nobody gave a passphrase.
        LockingUnavailable: It is locked, and there is no Argon2id here.
    """
    identity = load_identity_file(path)
    if not isinstance(identity, LockedIdentityFile):
        return identity.private_key
    passphrase = find_passphrase(str(path), passphrase_file)
    try:
        return unlock_identity(identity, passphrase)
    except InvalidInput as error:
        raise StringSerdeError(path, error) from None


def open_identity(path: Path, passphrase_file: Path | None = None) -> Identity:
    """The identity in a file, locked or not; raises as `open_private_key`."""
    return Identity(open_private_key(path, passphrase_file))
