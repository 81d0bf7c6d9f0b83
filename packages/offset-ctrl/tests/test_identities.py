"""Identities as words, and locked ones, by the commands of stmgr. Spec 09 §4.1; BIP-39."""

import io
import os
import sys
from collections.abc import Callable

import click
import pytest

from offset_crypto import locking
from offset_crypto.identity import Identity
from offset_ctrl.programs import stmgr
from offset_ctrl.programs.stmgr import ceremony
from offset_ctrl.programs.stmgr.words import WordsUnavailable, private_key_of, words_of
from offset_proto.errors import InvalidInput
from offset_proto.files import IDENTITY, LOCKED_IDENTITY, NODE_ENTRY, TICKET, IdentityFile
from offset_proto.text import format_b64
from offset_proto.types import PrivateKey

# The vectors of BIP-39 with 256 bits, which it keeps in vectors.json of https://github.com/trezor/python-mnemonic.
VECTORS = {
    "00" * 32: "abandon " * 23 + "art",
    "7f" * 32: "legal winner thank year wave sausage worth useful legal winner thank year wave sausage worth useful "
    "legal winner thank year wave sausage worth title",
    "80"
    * 32: "letter advice cage absurd amount doctor acoustic avoid letter advice cage absurd amount doctor acoustic "
    "avoid letter advice cage absurd amount doctor acoustic bless",
    "ff" * 32: "zoo " * 23 + "vote",
    "00ac97c48106f0aeb8ba061e0250a559b3251dc35854e694780ba51d53a50120": "absent gorilla van acoustic humor firm "
    "title dolphin bulk barely citizen recall crane moment aspect appear track phrase actual enforce steel spoon "
    "afraid benefit",
    "3edc83b60740d77af3afa2fcb82c2f1bc541ee4e2518ddef4996d32453f54a3c": "disagree tomato unique attend aspect runway "
    "solid violin witness scrap armed daring favorite warm decade perfect target kid grant play early wide cigar night",
    "89bb4bc5555992cdaf3444c5e7ca5a6e9f27efab894f1990bae41be8b2a26ea4": "meadow surge vanish primary odor grocery "
    "rubber mass shine dinner notable tag venue water purchase clarify book magic ribbon daughter menu eye ritual "
    "orchard",
    "911fec0fbd88029f6fa99164896c18d898c9232af18bdcca3e42d53b86493104": "much youth advance kitchen lens exile salt "
    "cram goose enter alert raise milk muscle profit cousin system faint mouse price reveal cause series long",
}
ZERO_WORDS = VECTORS["00" * 32]

# Public keys that the original's programs made of these private keys.
RECORDED = {
    "00" * 32: "3b6a27bcceb6a42d62a3a8d02a6f0d73653215771de243a63ac048a18b59da29",
    "ff" * 32: "76a1592044a6e4f511265bca73a604d90b0529d1df602be30a19a9257660d1f5",
}

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs stmgr in this process: its status, what it said, and what it complained of."""
    monkeypatch.delenv("OFFSET_PASSPHRASE", raising=False)
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    monkeypatch.setattr(locking, "_MEMORY_KIB", 32)  # what a real lock costs is tested with the locks

    def run_main(*arguments: object, entered: bytes = b"") -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["stmgr", *map(str, arguments)])
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(entered)))
        with pytest.raises(SystemExit) as exit_:
            stmgr.main()
        said = capsys.readouterr()
        return int(exit_.value.code or 0), said.out, said.err

    return run_main


@pytest.mark.parametrize("key", list(VECTORS))
def test_published_vectors(key):
    """Both ways."""
    assert words_of(PrivateKey(bytes.fromhex(key))) == VECTORS[key].split()
    assert private_key_of(VECTORS[key]).hex() == key


@pytest.mark.parametrize("key", list(RECORDED))
def test_words_of_recorded_identities(run, tmp_path, key):
    """From words to the public key that the original has for this private key, and to the same file."""
    path, again = tmp_path / "a.ident", tmp_path / "b.ident"
    assert run("ident-from-words", "-o", path, entered=VECTORS[key].encode()) == (0, "", "")
    assert Identity(IDENTITY.load(path).private_key).public_key.hex() == RECORDED[key]
    assert run("ident-words", "-i", path) == (0, VECTORS[key] + "\n", "")
    IDENTITY.save(again, IdentityFile(PrivateKey(bytes.fromhex(key))))
    assert path.read_bytes() == again.read_bytes()


@pytest.mark.parametrize(
    "text", [ZERO_WORDS.upper(), "\n\t " + ZERO_WORDS.replace(" ", "\n") + " ", "aban " * 23 + "art"]
)
def test_words_as_people_write_them(text):
    """Capitals, lines, and the four letters that tell every word of the list from all others."""
    assert private_key_of(text) == bytes(32)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "24 words, these are 0"),
        ("abandon " * 11 + "about", "24 words, these are 12"),
        (ZERO_WORDS + " art", "these are 25"),
        ("abandon " * 22 + "secretword art", "not in the list of BIP-39: word 23 of 24"),
        ("ab " * 2 + "abandon " * 21 + "art", "word 1, 2 of 24"),
        ("abandon " * 24, "one of them is wrong"),
        (VECTORS["7f" * 32].replace("winner thank", "thank winner", 1), "two have changed places"),
    ],
)
def test_wrong_words(text, reason):
    """It says where, and shows no word: this line may be in a log."""
    with pytest.raises(InvalidInput, match=reason) as raised:
        private_key_of(text)
    assert "secretword" not in str(raised.value)


def test_words_that_are_no_text(run, tmp_path):
    """One line, status 1, no file."""
    status, said, complaint = run("ident-from-words", "-o", tmp_path / "a.ident", entered=b"\xff\xfe")
    assert (status, said) == (1, "")
    assert "IdentFromWordsError(the words are not UTF-8)" in complaint
    assert list(tmp_path.iterdir()) == []


def test_without_the_extra(run, tmp_path, monkeypatch):
    """What to install is said, and nothing is made."""
    monkeypatch.setitem(sys.modules, "mnemonic", None)
    with pytest.raises(WordsUnavailable):
        words_of(PrivateKey(bytes(32)))
    status, said, complaint = run("gen-ident", "-o", tmp_path / "a.ident", "--words", "--no-check")
    assert (status, said) == (1, "")
    assert "pip install 'offset-ctrl[words]'" in complaint
    assert list(tmp_path.iterdir()) == []


def test_a_script_gets_the_words_in_a_line(run, tmp_path):
    """And without asking for that, none: there is nobody who would write them down."""
    status, said, complaint = run("gen-ident", "-o", tmp_path / "a.ident", "--words")
    assert (status, said) == (1, "")
    assert "--no-check" in complaint
    assert not (tmp_path / "a.ident").exists()
    status, said, _ = run("gen-ident", "-o", tmp_path / "a.ident", "--words", "--no-check")
    assert status == 0
    assert private_key_of(said) == IDENTITY.load(tmp_path / "a.ident").private_key


class _Person:
    """Copies the words from the screen, and answers from the copy."""

    def __init__(self, mistake: str = "") -> None:
        self.screen: list[str] = []
        self.paper: dict[str, str] = {}
        self.asked = 0
        self._mistake = mistake

    def echo(self, text: str = "") -> None:
        self.screen.append(text)

    def clear(self) -> None:
        cells = " ".join(self.screen[1:]).split()
        self.paper = dict(zip(cells[::2], cells[1::2], strict=True))
        self.screen = []

    def prompt(self, text: str, **options: object) -> str:
        if "Enter" in text:
            return ""
        assert self.screen == [], "a word that is asked for still stands on the screen"
        self.asked += 1
        return self._mistake or self.paper[text.removeprefix("Word ")].capitalize()


@pytest.fixture
def person(monkeypatch):
    """Sits at the terminal."""

    def sit_down(mistake: str = "") -> _Person:
        made = _Person(mistake)
        for name in ("echo", "clear", "prompt"):
            monkeypatch.setattr(click, name, getattr(made, name))
        for stream in (sys.stdin, sys.stdout):
            monkeypatch.setattr(stream, "isatty", lambda: True, raising=False)
        return made

    return sit_down


@pytest.mark.parametrize("key", list(VECTORS)[4:])
def test_whoever_wrote_the_words_down_can_give_three_back(person, key):
    """The numbers on the screen are those that are asked for."""
    at_terminal = person()
    ceremony.check_written_down(VECTORS[key].split())
    assert [at_terminal.paper[str(number)] for number in range(1, 25)] == VECTORS[key].split()
    assert at_terminal.asked == 3


def test_whoever_did_not_gets_no_identity(person):
    """At the first wrong answer."""
    at_terminal = person("zoo")
    with pytest.raises(ceremony.NotWrittenDown, match="nothing is made"):
        ceremony.check_written_down(ZERO_WORDS.split())
    assert at_terminal.asked == 1


def test_lock_and_unlock(run, tmp_path, monkeypatch):
    """To the byte the file that it was; neither command takes the other's file, or overwrites one."""
    plain, locked, again = tmp_path / "a.ident", tmp_path / "a.locked", tmp_path / "again.ident"
    run("gen-ident", "-o", plain)
    (tmp_path / "pass").write_text("open sesame\n")
    word = ("--passphrase-file", tmp_path / "pass")
    assert run("ident-lock", "-i", plain, "-o", locked, *word) == (0, "", "")
    assert locked.stat().st_mode & 0o777 == 0o600
    assert run("ident-unlock", "-i", locked, "-o", again, *word) == (0, "", "")
    assert plain.read_bytes() == again.read_bytes()
    assert again.stat().st_mode & 0o777 == 0o600
    for words, reason in (
        (("ident-lock", "-i", locked, "-o", tmp_path / "new"), "is locked"),
        (("ident-unlock", "-i", plain, "-o", tmp_path / "new"), "is not locked"),
        (("ident-lock", "-i", plain, "-o", locked), "OutputAlreadyExists"),
    ):
        status, said, complaint = run(*words, *word)
        assert (status, said) == (1, "")
        assert reason in complaint
    monkeypatch.setenv("OFFSET_PASSPHRASE", "open sesam")
    status, said, complaint = run("ident-unlock", "-i", locked, "-o", tmp_path / "new")
    assert (status, said) == (1, "")
    assert len(complaint.splitlines()) == 1
    assert "wrong passphrase" in complaint
    assert not (tmp_path / "new").exists()


def test_the_same_passphrase_twice_makes_two_locks(run, tmp_path, monkeypatch):
    """The salt is drawn anew."""
    monkeypatch.setenv("OFFSET_PASSPHRASE", "p")
    run("gen-ident", "-o", tmp_path / "plain")
    for name in ("a", "b"):
        assert run("ident-lock", "-i", tmp_path / "plain", "-o", tmp_path / name)[0] == 0
    one, other = (LOCKED_IDENTITY.load(tmp_path / name) for name in ("a", "b"))
    assert one.lock.salt != other.lock.salt
    assert one.sealed_private_key != other.sealed_private_key


def test_every_command_opens_a_locked_identity(run, tmp_path, monkeypatch):
    """Made locked, or from words; no command needs it unlocked first."""
    monkeypatch.setenv("OFFSET_PASSPHRASE", "p")
    locked = tmp_path / "a.ident"
    assert run("ident-from-words", "-o", locked, "--encrypt", entered=ZERO_WORDS.encode())[0] == 0
    assert run("ident-words", "-i", locked)[1] == ZERO_WORDS + "\n"
    for kind in ("relay", "index", "node"):
        ticket = tmp_path / f"{kind}.ticket"
        assert run(f"{kind}-ticket", "-i", locked, "-a", "h:1", "-o", ticket)[0] == 0
        assert TICKET.load(ticket).public_key.hex() == RECORDED["00" * 32]
    assert run("app-ticket", "-i", locked, "-o", tmp_path / "app.ticket")[0] == 0
    entry = tmp_path / "a.entry"
    assert run("node-entry", "-n", locked, "-p", locked, "-a", "h:1", "-o", entry)[0] == 0
    assert NODE_ENTRY.load(entry).app_private_key == bytes(32)


def test_an_identity_that_is_locked_from_the_start(run, tmp_path, monkeypatch):
    """The key is never in a file, and nothing is made where the passphrase is none."""
    monkeypatch.setenv("OFFSET_PASSPHRASE", "")
    assert run("gen-ident", "-o", tmp_path / "a.ident", "--encrypt")[0] == 1
    assert list(tmp_path.iterdir()) == []
    os.environ["OFFSET_PASSPHRASE"] = "p"
    status, said, _ = run("gen-ident", "-o", tmp_path / "a.ident", "--encrypt", "--words", "--no-check")
    assert status == 0
    key = private_key_of(said)
    assert LOCKED_IDENTITY.load(tmp_path / "a.ident").locked_identity == 1
    assert run("ident-words", "-i", tmp_path / "a.ident")[1] == said
    assert format_b64(key) not in (tmp_path / "a.ident").read_text()
