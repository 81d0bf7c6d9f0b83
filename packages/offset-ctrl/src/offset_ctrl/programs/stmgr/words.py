"""
An identity as 24 words that a person can write down. BIP-39, https://github.com/bitcoin/bips/blob/master/bip-0039.mediawiki.

The words spell the 32 bytes of the private key itself with a checksum of 8 bits; the second half of BIP-39, which makes
a seed for wallets out of words, has no place here. So words and identity file are the same key, either way.

Needs mnemonic, which comes with the extra ``offset-ctrl[words]``.
"""

from typing import TYPE_CHECKING, Final

from offset_proto.errors import InvalidInput, OffsetError
from offset_proto.types import PrivateKey

if TYPE_CHECKING:
    from mnemonic import Mnemonic

__all__ = ["WORDS", "WordsUnavailable", "private_key_of", "words_of"]

WORDS: Final = 24


class WordsUnavailable(OffsetError):
    """mnemonic is not installed."""


def _english() -> "Mnemonic":
    try:
        from mnemonic import Mnemonic
    except ModuleNotFoundError:
        raise WordsUnavailable("words need mnemonic: pip install 'offset-ctrl[words]'") from None
    return Mnemonic("english")


def words_of(private_key: PrivateKey) -> list[str]:
    """
    The 24 words of a key, in their order.

    Raises:
        WordsUnavailable: mnemonic is not installed.
    """
    return _english().to_mnemonic(private_key).split()


def private_key_of(text: str) -> PrivateKey:
    """
    The key that 24 words spell, with any white space between them; the first four letters of a word are enough.

    Raises:
        InvalidInput: Not 24 words, a word that is not in the list, or a checksum that does not match. Says where,
            and none of the words.
        WordsUnavailable: mnemonic is not installed.
    """
    english = _english()
    words = [english.expand_word(word) for word in english.normalize_string(text).lower().split()]
    if len(words) != WORDS:
        raise InvalidInput(f"an identity has {WORDS} words, these are {len(words)}")
    known = set(english.wordlist)
    unknown = [str(position) for position, word in enumerate(words, start=1) if word not in known]
    if unknown:
        raise InvalidInput(f"not in the list of BIP-39: word {', '.join(unknown)} of {WORDS}")
    try:
        return PrivateKey(bytes(english.to_entropy(words)))
    except ValueError:
        raise InvalidInput("these words are no identity: one of them is wrong, or two have changed places") from None
