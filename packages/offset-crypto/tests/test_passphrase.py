"""Identities from files, and where the passphrase is looked for. Spec 09 §1.4."""

import getpass
import io
import os
import subprocess
import sys

import pytest

from offset_crypto.locking import lock_identity
from offset_crypto.passphrase import NoPassphrase, find_passphrase, open_identity, open_private_key
from offset_crypto.program import load_identity
from offset_proto.errors import InvalidInput
from offset_proto.files import IDENTITY, LOCKED_IDENTITY, IdentityFile, IoError, StringSerdeError
from offset_proto.types import PrivateKey, Salt

KEY = PrivateKey(b"\x01" * 32)


@pytest.fixture(autouse=True)
def _nobody_gives_one(monkeypatch):
    """No place has a passphrase, and standard input is no terminal."""
    monkeypatch.delenv("OFFSET_PASSPHRASE", raising=False)
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    monkeypatch.setattr(sys, "stdin", io.StringIO())


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def locked(tmp_path):
    """An identity locked by the passphrase ``right``."""
    path = tmp_path / "locked.ident"
    LOCKED_IDENTITY.save(path, lock_identity(KEY, "right", Salt(b"\x05" * 32)))
    return path


def test_places_are_asked_in_their_order(tmp_path, monkeypatch):
    """What is nearer to this one run counts: the option, the unit, the environment, the person."""
    (tmp_path / "file").write_text("of the file\n")
    (tmp_path / "offset-passphrase").write_text("of the credential\n")
    monkeypatch.setattr(sys, "stdin", _Terminal())
    monkeypatch.setattr(getpass, "getpass", lambda prompt: "of the person")
    assert find_passphrase("x") == "of the person"
    monkeypatch.setenv("OFFSET_PASSPHRASE", "of the environment")
    assert find_passphrase("x") == "of the environment"
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path / "nowhere"))
    assert find_passphrase("x") == "of the environment"
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    assert find_passphrase("x") == "of the credential"
    assert find_passphrase("x", tmp_path / "file") == "of the file"


def test_without_any_place_it_says_which_there_are(locked):
    """A service without a passphrase ends with a line, and does not wait for a terminal."""
    with pytest.raises(NoPassphrase, match=r"locked\.ident: give it by --passphrase-file, .*OFFSET_PASSPHRASE"):
        open_private_key(locked)


@pytest.mark.parametrize(
    ("content", "passphrase"),
    [
        (b"one", "one"),
        (b"one\n", "one"),
        (b"one\r\n", "one"),
        (b" o ne ", " o ne "),
        (b"x" * 1024 + b"\r\n", "x" * 1024),
    ],
)
def test_a_file_is_one_line(tmp_path, content, passphrase):
    """The end of the line is the editor's, everything else is the owner's."""
    (tmp_path / "file").write_bytes(content)
    assert find_passphrase("x", tmp_path / "file") == passphrase


@pytest.mark.parametrize("content", [b"", b"\n", b"one\ntwo\n", b"\xff\n", b"x" * 1027])
def test_files_that_hold_no_passphrase(tmp_path, content):
    """One error that names the file; the next place is not tried."""
    (tmp_path / "file").write_bytes(content)
    with pytest.raises((StringSerdeError, IoError), match=str(tmp_path / "file")):
        find_passphrase("x", tmp_path / "file")


def test_a_new_passphrase_is_typed_twice(monkeypatch):
    """Whoever mistypes it once would lock the identity for ever."""
    typed = iter(["one", "one", "one", "other", "one"])
    monkeypatch.setattr(sys, "stdin", _Terminal())
    monkeypatch.setattr(getpass, "getpass", lambda prompt: next(typed))
    assert find_passphrase("x", is_new=True) == "one"
    with pytest.raises(InvalidInput, match="differ"):
        find_passphrase("x", is_new=True)
    assert find_passphrase("x") == "one"


def test_a_terminal_that_closes(locked, monkeypatch):
    """Ctrl-D is no passphrase."""

    def close(prompt):
        raise EOFError

    monkeypatch.setattr(sys, "stdin", _Terminal())
    monkeypatch.setattr(getpass, "getpass", close)
    with pytest.raises(NoPassphrase):
        open_private_key(locked)


def test_an_identity_without_a_lock_needs_no_passphrase(tmp_path):
    """As in the original; even where the place that would be asked is broken."""
    IDENTITY.save(tmp_path / "plain.ident", IdentityFile(KEY))
    assert open_private_key(tmp_path / "plain.ident", tmp_path / "nowhere") == KEY


def test_a_locked_identity_is_the_same_identity(locked, monkeypatch):
    """And it signs."""
    monkeypatch.setenv("OFFSET_PASSPHRASE", "right")
    identity = open_identity(locked)
    assert identity.public_key.hex() == "8a88e3dd7409f195fd52db2d3cba5d72ca6709bf1d94121bf3748801b40f6f5c"


@pytest.mark.parametrize("passphrase", ["wrong", ""])
def test_a_wrong_passphrase_names_the_file(locked, monkeypatch, passphrase):
    """Once, and not the passphrase."""
    monkeypatch.setenv("OFFSET_PASSPHRASE", passphrase)
    with pytest.raises(StringSerdeError, match=str(locked)) as raised:
        open_private_key(locked)
    assert "right" not in str(raised.value)


def test_every_cut_of_a_locked_identity_is_told(locked, tmp_path, monkeypatch):
    """It is the file's fault, and no passphrase is looked for."""
    text = locked.read_bytes()
    for length in range(len(text)):
        (tmp_path / "cut").write_bytes(text[:length])
        with pytest.raises(StringSerdeError):
            open_private_key(tmp_path / "cut")


def test_a_server_leaves_no_passphrase_to_its_children(locked, monkeypatch):
    """Right or wrong."""
    monkeypatch.setenv("OFFSET_PASSPHRASE", "wrong")
    with pytest.raises(StringSerdeError):
        load_identity(locked)
    assert "OFFSET_PASSPHRASE" not in os.environ
    monkeypatch.setenv("OFFSET_PASSPHRASE", "right")
    load_identity(locked)
    assert "OFFSET_PASSPHRASE" not in os.environ


@pytest.mark.skipif(sys.platform != "linux", reason="prctl is Linux's")
def test_a_process_with_an_identity_is_not_dumped(tmp_path):
    """Neither into a file nor to a program."""
    IDENTITY.save(tmp_path / "plain.ident", IdentityFile(KEY))
    script = (
        "import ctypes, pathlib, resource, sys\n"
        "from offset_crypto.program import load_identity\n"
        "dumpable = lambda: ctypes.CDLL(None).prctl(3, 0, 0, 0, 0)  # PR_GET_DUMPABLE\n"
        "before = dumpable()\n"
        "load_identity(pathlib.Path(sys.argv[1]))\n"
        "print(before, dumpable(), *resource.getrlimit(resource.RLIMIT_CORE))\n"
    )
    words = [sys.executable, "-c", script, tmp_path / "plain.ident"]
    assert subprocess.run(words, capture_output=True, text=True, check=True).stdout == "1 0 0 0\n"
