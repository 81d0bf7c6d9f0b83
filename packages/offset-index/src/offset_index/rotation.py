"""What a node declares, in the order in which it is declared again. Spec 06 §7.3."""

from collections import OrderedDict
from collections.abc import Iterable

from offset_proto.messages.index import IndexMutation, RemoveFriendCurrency, UpdateFriendCurrency
from offset_proto.rate import FREE
from offset_proto.types import Currency, PublicKey

__all__ = ["Rotation", "guard_removals"]


class Rotation:
    """All pairs (friend, currency) that are declared, least recently declared first."""

    def __init__(self) -> None:
        self._updates: OrderedDict[tuple[PublicKey, Currency], UpdateFriendCurrency] = OrderedDict()

    def __len__(self) -> int:
        return len(self._updates)

    def apply(self, mutations: Iterable[IndexMutation]) -> list[tuple[PublicKey, Currency]]:
        """Take changes in; what is updated goes to the end. Returns the pairs that were not declared before."""
        new = []
        for mutation in mutations:
            pair = (mutation.public_key, mutation.currency)
            known = self._updates.pop(pair, None)
            if isinstance(mutation, UpdateFriendCurrency):
                self._updates[pair] = mutation
                if known is None:
                    new.append(pair)
        return new

    def of(self, pairs: Iterable[tuple[PublicKey, Currency]]) -> list[UpdateFriendCurrency]:
        """What is declared for those of *pairs* that still are."""
        return [self._updates[pair] for pair in pairs if pair in self._updates]

    def next(self) -> UpdateFriendCurrency | None:
        """The next pair in turn, which goes to the end; None where nothing is declared."""
        if not self._updates:
            return None
        pair = next(iter(self._updates))
        self._updates.move_to_end(pair)
        return self._updates[pair]

    def all(self) -> list[UpdateFriendCurrency]:
        """Every pair once, the least recently declared first; their order stays as it is."""
        return list(self._updates.values())


def guard_removals(mutations: Iterable[IndexMutation]) -> list[IndexMutation]:
    """
    Put an update with capacity 0 before each removal.

    An original server ends when it is told to remove a pair in a currency that it does not know (D76).
    """
    guarded: list[IndexMutation] = []
    for mutation in mutations:
        if isinstance(mutation, RemoveFriendCurrency):
            guarded.append(UpdateFriendCurrency(mutation.public_key, mutation.currency, 0, FREE))
        guarded.append(mutation)
    return guarded
