"""What a passphrase locks. Spec 08 §2.7, RFC 9106."""

from dataclasses import replace

import pytest

from offset_crypto.locking import WrongPassphrase, lock_identity, new_lock, seal, unlock_identity, unseal
from offset_proto.errors import InvalidInput
from offset_proto.files import LOCKED_IDENTITY, LockedIdentityFile, PassphraseLock
from offset_proto.types import PrivateKey, Salt, SealedPrivateKey

CHEAP = PassphraseLock(8, 1, 1, Salt(b"\x06" * 32))

# Both were made by argon2-cffi 25.1.0 and PyCryptodome 4.4.0, which share no code with what is tested.
RECORDED = """{
  "lockedIdentity": 1,
  "lock": {
    "memoryKib": 65536,
    "iterations": 3,
    "lanes": 4,
    "salt": "BQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQU"
  },
  "sealedPrivateKey": "WS8dP7j1p9urCtnfYerKT0t0qN7SMrNkp0TzfX74wEWtd-SGLsND1lQFvsoxRkSr"
}"""
RECORDED_CHEAP = """{"lockedIdentity": 1,
"lock": {"memoryKib": 8, "iterations": 1, "lanes": 1, "salt": "BgYGBgYGBgYGBgYGBgYGBgYGBgYGBgYGBgYGBgYGBgY"},
"sealedPrivateKey": "4AievCibk5KuIiaWo9D-PoXAaB981N-by28163DzeF6i7U1gTuoxzm2-TVfVCj21"}"""


def test_the_form_is_recorded():
    """To the byte: what is locked today is opened by every later version."""
    locked = lock_identity(PrivateKey(b"\x01" * 32), "correct horse", Salt(b"\x05" * 32))
    assert LOCKED_IDENTITY.format(locked) == RECORDED
    assert unlock_identity(LOCKED_IDENTITY.parse(RECORDED), "correct horse") == b"\x01" * 32


@pytest.mark.parametrize("passphrase", ["Gr\u00fc\u00dfe", "Gru\u0308\u00dfe"])
def test_a_passphrase_is_the_same_in_either_form_of_unicode(passphrase):
    """A ü may be typed as one character, or as two."""
    assert unlock_identity(LOCKED_IDENTITY.parse(RECORDED_CHEAP), passphrase) == b"\x02" * 32


def _recorded() -> LockedIdentityFile:
    return LOCKED_IDENTITY.parse(RECORDED_CHEAP)


@pytest.mark.parametrize("passphrase", ["Grüsse", "grüße", "Grüße ", " ", "x" * 1024])
def test_a_wrong_passphrase_opens_nothing(passphrase):
    """Case and white space count."""
    with pytest.raises(WrongPassphrase):
        unlock_identity(_recorded(), passphrase)


@pytest.mark.parametrize(
    ("passphrase", "reason"),
    [("", "has 0"), ("x" * 1025, "has 1025"), ("ü" * 513, "has 1026"), ("\udcff", "not UTF-8")],
)
def test_what_can_be_no_passphrase(passphrase, reason):
    """Told before anything is computed, for a new lock as for an old one."""
    for use in (lambda: unlock_identity(_recorded(), passphrase), lambda: seal(b"", CHEAP, passphrase, b"p")):
        with pytest.raises(InvalidInput, match=reason) as raised:
            use()
        assert not isinstance(raised.value, WrongPassphrase)


def test_every_altered_bit_is_found():
    """Of what is sealed, and of the salt; the cost below."""
    locked = _recorded()
    for bit in range(48 * 8):
        altered = bytearray(locked.sealed_private_key)
        altered[bit // 8] ^= 1 << bit % 8
        with pytest.raises(WrongPassphrase):
            unlock_identity(replace(locked, sealed_private_key=SealedPrivateKey(bytes(altered))), "Grüße")
    for bit in range(32 * 8):
        salt = bytearray(locked.lock.salt)
        salt[bit // 8] ^= 1 << bit % 8
        with pytest.raises(WrongPassphrase):
            unlock_identity(replace(locked, lock=replace(locked.lock, salt=Salt(bytes(salt)))), "Grüße")


@pytest.mark.parametrize("change", [{"memory_kib": 16}, {"iterations": 2}, {"memory_kib": 16, "lanes": 2}])
def test_an_altered_cost_is_another_key(change):
    """Nobody makes a lock cheaper to guess that way."""
    locked = _recorded()
    with pytest.raises(WrongPassphrase):
        unlock_identity(replace(locked, lock=replace(locked.lock, **change)), "Grüße")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"memory_kib": 2**32 - 1}, "memoryKib: 4294967295 is not between 8 and 262144"),
        ({"memory_kib": 2**18 + 1}, "memoryKib"),
        ({"memory_kib": 7}, "memoryKib"),
        ({"memory_kib": 15, "lanes": 2}, "memoryKib: 15 is not between 16"),
        ({"lanes": 0}, "lanes: 0 is not between 1 and 16"),
        ({"lanes": 17, "memory_kib": 1024}, "lanes"),
        ({"iterations": 0}, "iterations"),
        ({"iterations": 2**32 - 1}, "iterations: 4294967295 is not between 1 and 524288"),
        ({"iterations": 17, "memory_kib": 2**18}, "iterations: 17 is not between 1 and 16"),
    ],
)
def test_a_file_can_not_make_us_work_for_ever(change, reason):
    """Neither in memory nor in time: it is refused before any work is done."""
    locked = _recorded()
    with pytest.raises(InvalidInput, match=reason):
        unlock_identity(replace(locked, lock=replace(locked.lock, **change)), "Grüße")


def test_another_version_is_told_and_not_tried():
    """The version is under the seal as well, so it can not be put back."""
    with pytest.raises(InvalidInput, match="lockedIdentity: version 2, this program knows 1"):
        unlock_identity(replace(_recorded(), locked_identity=2), "Grüße")


def test_a_seal_has_one_purpose():
    """A backup is not taken for something else that the same passphrase locks."""
    sealed = seal(b"plain", CHEAP, "pass", b"one")
    assert unseal(sealed, CHEAP, "pass", b"one") == b"plain"
    with pytest.raises(WrongPassphrase):
        unseal(sealed, CHEAP, "pass", b"other")
    with pytest.raises(WrongPassphrase):
        unseal(b"", CHEAP, "pass", b"one")


def test_a_new_lock_is_one_that_we_open():
    """The cost that is written is within the limits of reading, with room to raise it."""
    lock = new_lock(Salt(bytes(32)))
    assert unseal(seal(b"x", lock, "p", b""), lock, "p", b"") == b"x"
    assert lock.memory_kib * 4 <= 2**18
