"""Commands of stmgr that make identities, lock and unlock them, and turn them into words and back. Spec 09 §4."""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from offset_ctrl.programs.stmgr.files import IDFILE, OUTPUT, check_new, in_group
from offset_proto.cli import PASSPHRASE_FILE, OffsetCommand
from offset_proto.errors import InvalidInput

if TYPE_CHECKING:
    from offset_proto.types import PrivateKey

__all__ = ["COMMANDS"]

_ENCRYPT = click.option("--encrypt", is_flag=True, help="Lock it by a passphrase.")

_WORDS_BYTES_MAX = 4096


def _save(output: Path, private_key: "PrivateKey", passphrase: str | None) -> None:
    """Write an identity; locked, where there is a passphrase."""
    from offset_crypto.locking import lock_identity
    from offset_proto.files import IDENTITY, LOCKED_IDENTITY, IdentityFile
    from offset_proto.types import Salt

    if passphrase is None:
        IDENTITY.save(output, IdentityFile(private_key))
    else:
        LOCKED_IDENTITY.save(output, lock_identity(private_key, passphrase, Salt(os.urandom(Salt.SIZE))))


def _new_passphrase(output: Path, passphrase_file: Path | None) -> str:
    from offset_crypto.passphrase import find_passphrase

    return find_passphrase(str(output), passphrase_file, is_new=True)


@click.command("gen-ident", cls=OffsetCommand)
@OUTPUT
@click.option("--words", is_flag=True, help="Show the key as 24 words to write down, and ask for three of them.")
@click.option("--no-check", is_flag=True, help="With --words, for scripts: print the words in a line, and do not ask.")
@_ENCRYPT
@PASSPHRASE_FILE
def _gen_ident(output: Path, words: bool, no_check: bool, encrypt: bool, passphrase_file: Path | None) -> None:
    """Generate an identity. It is a new private key, for a node, an app or a server."""
    from offset_proto.types import PrivateKey

    def make() -> None:
        check_new(output)
        private_key = PrivateKey(os.urandom(PrivateKey.SIZE))
        passphrase = _new_passphrase(output, passphrase_file) if encrypt else None
        if words:
            from offset_ctrl.programs.stmgr.ceremony import check_written_down
            from offset_ctrl.programs.stmgr.words import words_of

            spelled = words_of(private_key)
            if not no_check:
                check_written_down(spelled)
        _save(output, private_key, passphrase)
        if words and no_check:
            click.echo(" ".join(spelled))

    in_group("GenIdentityError", make)


@click.command("ident-words", cls=OffsetCommand)
@IDFILE
@PASSPHRASE_FILE
def _ident_words(idfile: Path, passphrase_file: Path | None) -> None:
    """Print an identity as its 24 words. Whoever reads them has the identity."""
    from offset_crypto.passphrase import open_private_key
    from offset_ctrl.programs.stmgr.ceremony import show_words
    from offset_ctrl.programs.stmgr.words import words_of

    words = in_group("IdentWordsError", lambda: words_of(open_private_key(idfile, passphrase_file)))
    if sys.stdout.isatty():
        show_words(words)
    else:
        click.echo(" ".join(words))


@click.command("ident-from-words", cls=OffsetCommand)
@OUTPUT
@_ENCRYPT
@PASSPHRASE_FILE
def _ident_from_words(output: Path, encrypt: bool, passphrase_file: Path | None) -> None:
    """Make an identity from its 24 words, which are read from standard input. It is the same key."""
    from offset_ctrl.programs.stmgr.words import private_key_of

    def make() -> None:
        check_new(output)
        private_key = private_key_of(_read_words())
        _save(output, private_key, _new_passphrase(output, passphrase_file) if encrypt else None)

    in_group("IdentFromWordsError", make)


def _read_words() -> str:
    """What stands on standard input; on a terminal, lines until there are enough words."""
    from offset_ctrl.programs.stmgr.words import WORDS

    if not sys.stdin.isatty():
        return _text(sys.stdin.buffer.read(_WORDS_BYTES_MAX))
    text = ""
    while (count := len(text.split())) < WORDS:
        line: str = click.prompt(f"Words from number {count + 1} on", default="", show_default=False, err=True)
        if not line:
            break
        text += f" {line}"
    return text


def _text(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise InvalidInput("the words are not UTF-8") from None


@click.command("ident-lock", cls=OffsetCommand)
@IDFILE
@OUTPUT
@PASSPHRASE_FILE
def _ident_lock(idfile: Path, output: Path, passphrase_file: Path | None) -> None:
    """Make a copy of an identity that is locked by a passphrase. Delete the other one then."""
    from offset_proto.files import IDENTITY

    def make() -> None:
        check_new(output)
        private_key = IDENTITY.load(idfile).private_key
        _save(output, private_key, _new_passphrase(output, passphrase_file))

    in_group("IdentLockError", make)


@click.command("ident-unlock", cls=OffsetCommand)
@IDFILE
@OUTPUT
@PASSPHRASE_FILE
def _ident_unlock(idfile: Path, output: Path, passphrase_file: Path | None) -> None:
    """Make a copy of a locked identity that needs no passphrase: the file of the original."""
    from offset_crypto.passphrase import open_private_key
    from offset_proto.files import IdentityFile, StringSerdeError, load_identity_file

    def make() -> None:
        check_new(output)
        if isinstance(load_identity_file(idfile), IdentityFile):
            raise StringSerdeError(idfile, "this identity is not locked")
        _save(output, open_private_key(idfile, passphrase_file), None)

    in_group("IdentUnlockError", make)


COMMANDS = (_gen_ident, _ident_words, _ident_from_words, _ident_lock, _ident_unlock)
