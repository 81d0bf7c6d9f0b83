"""
The declarations of one currency, as a search reads them. Spec 06 §6.1, §6.4.

A server holds millions of declarations, and one request looks at thousands. So nodes are numbered, and a declaration
is one integer: from the highest bit on the capacity, the two parts of the rate, and the node's count of
updates when it was last refreshed. That takes 48 bytes, is compared with a capacity in one step,
and the garbage collector never looks at it.
"""

from dataclasses import dataclass
from typing import Final

from offset_proto.messages.payment import Rate
from offset_proto.types import U32_MAX, U64_MAX, U128, PublicKey

__all__ = [
    "CurrencyGraph",
    "Declaration",
    "Packed",
    "Vertex",
    "capacity_of",
    "cost_at",
    "cost_of",
    "least_packed",
    "rate_bits",
    "rate_of",
]

Vertex = int
"""A node's number; it holds while the graph is not changed."""

Packed = int
"""A declaration: capacity (128 bits), rate (mul, add; 32 bits each), refreshed (32 bits)."""

_CAPACITY_SHIFT: Final = 96
_MUL_SHIFT: Final = 64
_ADD_SHIFT: Final = 32
_ADD_BITS: Final = U32_MAX << _ADD_SHIFT  # in place, add is in 2**-32 credits

_NOBODY: Final[dict[Vertex, Packed]] = {}
"""What a node declared that declared nothing; never written to."""

_UNUSED: Final = PublicKey.zero()


@dataclass(frozen=True, slots=True)
class Declaration:
    """What a node can receive from a friend, credits, and what it charges for forwarding that."""

    recv_capacity: U128
    rate: Rate


def least_packed(capacity: U128) -> Packed:
    """The least packed declaration of *capacity*: a declaration has that capacity if it is not less than this."""
    return capacity << _CAPACITY_SHIFT


def capacity_of(packed: Packed) -> U128:
    """Credits that the declaring node can receive."""
    return packed >> _CAPACITY_SHIFT


def rate_of(packed: Packed) -> Rate:
    """What the declaring node charges for forwarding."""
    return Rate(packed >> _MUL_SHIFT & U32_MAX, packed >> _ADD_SHIFT & U32_MAX)


def rate_bits(packed: Packed) -> int:
    """What the declaring node charges for forwarding, as one integer: mul, then add, 32 bits each."""
    return packed >> _ADD_SHIFT & U64_MAX


def cost_at(rate: Rate, amount: U128) -> int:
    """
    The fees of a mediator, or of a route, for *amount* credits, in 2**-32 credits, exactly.

    A buyer pays for a route what its rates come to together, rounded down once (`offset_proto.rate.calc_fee`). So
    these can be added up hop by hop, while fees that were rounded down for each of them can not.
    """
    return amount * rate.mul + (rate.add << 32)


def cost_of(packed: Packed, amount: U128) -> int:
    """`cost_at` of a declaration's rate."""
    return amount * (packed >> _MUL_SHIFT & U32_MAX) + (packed & _ADD_BITS)


class CurrencyGraph:
    """
    Who declared what about whom, by the numbers of nodes.

    Attributes:
        keys: The node of each number.
        receives: ``receives[v][u]`` is what v declared about u.
        sends: ``sends[u][v]`` is the same, where u declared v as well: the hops that u can send over.
    """

    def __init__(self) -> None:
        self.keys: list[PublicKey] = []
        self.receives: list[dict[Vertex, Packed]] = []
        self.sends: list[dict[Vertex, Packed]] = []
        self._numbers: dict[PublicKey, Vertex] = {}
        self._declared_by: list[int] = []  # how many nodes declared this one
        self._unused: list[Vertex] = []

    def __bool__(self) -> bool:
        """Whether there is any node that declares another one in this currency, or that is declared."""
        return bool(self._numbers)

    def vertex(self, node: PublicKey) -> Vertex | None:
        """The number of *node*; None where it neither declared nor was declared."""
        return self._numbers.get(node)

    def send_capacity(self, sender: PublicKey, receiver: PublicKey) -> U128 | None:
        """Credits that can flow over a hop; None where not both sides declared it. Spec 06 §6.4."""
        one, other = self._numbers.get(sender), self._numbers.get(receiver)
        packed = None if one is None or other is None else self.sends[one].get(other)
        return None if packed is None else capacity_of(packed)

    def declared(self, node: PublicKey) -> dict[PublicKey, Declaration]:
        """What *node* has declared, by the friend that it is about."""
        vertex = self._numbers.get(node)
        received = _NOBODY if vertex is None else self.receives[vertex]
        return {
            self.keys[friend]: Declaration(capacity_of(packed), rate_of(packed)) for friend, packed in received.items()
        }

    def ages(self, node: PublicKey, updates: int) -> list[tuple[PublicKey, int]]:
        """How many updates ago *node*, at this count of them, refreshed its declaration about each friend."""
        vertex = self._numbers.get(node)
        received = _NOBODY if vertex is None else self.receives[vertex]
        return [(self.keys[friend], updates - packed & U32_MAX) for friend, packed in received.items()]

    def declares(self, node: PublicKey, friend: PublicKey) -> bool:
        """Whether *node* has declared *friend* in this currency, whatever *friend* itself has declared."""
        one, other = self._numbers.get(node), self._numbers.get(friend)
        return one is not None and other is not None and other in self.receives[one]

    def has_declared(self, node: PublicKey) -> bool:
        """Whether *node* has declared any friend in this currency."""
        vertex = self._numbers.get(node)
        return vertex is not None and bool(self.receives[vertex])

    def declare(self, node: PublicKey, friend: PublicKey, declaration: Declaration, updates: int) -> None:
        """*node* declares something about *friend*, by its update of this count."""
        packed = (
            declaration.recv_capacity << _CAPACITY_SHIFT
            | declaration.rate.mul << _MUL_SHIFT
            | declaration.rate.add << _ADD_SHIFT
            | updates & U32_MAX
        )
        receiver, sender = self._number(node), self._number(friend)
        received = self.receives[receiver]
        if sender not in received:
            if not received:
                received = self.receives[receiver] = {}
            self._declared_by[sender] += 1
            if receiver in self.receives[sender]:
                self._connect(receiver, sender, self.receives[sender][receiver])
        received[sender] = packed
        if receiver in self.receives[sender]:
            self._connect(sender, receiver, packed)

    def remove(self, node: PublicKey, friend: PublicKey) -> None:
        """*node* takes back what it declared about *friend*."""
        receiver, sender = self._numbers[node], self._numbers[friend]
        del self.receives[receiver][sender]
        self._declared_by[sender] -= 1
        self._disconnect(sender, receiver)
        self._disconnect(receiver, sender)
        if not self.receives[receiver]:
            self.receives[receiver] = _NOBODY
        for vertex in {receiver, sender}:
            if not self.receives[vertex] and not self._declared_by[vertex]:
                del self._numbers[self.keys[vertex]]
                self.keys[vertex] = _UNUSED
                self._unused.append(vertex)

    def _number(self, node: PublicKey) -> Vertex:
        known = self._numbers.get(node)
        if known is not None:
            return known
        if self._unused:
            vertex = self._unused.pop()
            self.keys[vertex] = node
        else:
            vertex = len(self.keys)
            self.keys.append(node)
            self.receives.append(_NOBODY)
            self.sends.append(_NOBODY)
            self._declared_by.append(0)
        self._numbers[node] = vertex
        return vertex

    def _connect(self, sender: Vertex, receiver: Vertex, packed: Packed) -> None:
        if not self.sends[sender]:
            self.sends[sender] = {}
        self.sends[sender][receiver] = packed

    def _disconnect(self, sender: Vertex, receiver: Vertex) -> None:
        if self.sends[sender].pop(receiver, None) is not None and not self.sends[sender]:
            self.sends[sender] = _NOBODY
