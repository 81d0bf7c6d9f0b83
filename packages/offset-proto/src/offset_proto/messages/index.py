"""Nodes and index servers. Spec 06 §3 (index.capnp)."""

from typing import Annotated

from offset_proto.layout import Optional, declare_union, member, struct
from offset_proto.messages.friend import FriendsRoute
from offset_proto.messages.payment import Rate
from offset_proto.types import U64, U128, Currency, HashResult, PublicKey, RandValue, Signature, Uid

__all__ = [
    "Edge",
    "ForwardMutationsUpdate",
    "IndexClientToServer",
    "IndexMutation",
    "IndexServerToClient",
    "IndexServerToServer",
    "MultiRoute",
    "MutationsUpdate",
    "RemoveFriendCurrency",
    "RequestRoutes",
    "ResponseRoutes",
    "RouteCapacityRate",
    "TimeHash",
    "TimeProofLink",
    "UpdateFriendCurrency",
]


@struct("index")
class Edge:
    """A hop from one node to a friend of it, which a search for routes is to leave out."""

    from_public_key: PublicKey
    to_public_key: PublicKey


@struct("index")
class RequestRoutes:
    """Ask for routes that carry *capacity* credits from *source* to *destination*."""

    request_id: Uid
    currency: Currency
    capacity: U128
    source: PublicKey
    destination: PublicKey
    opt_exclude: Annotated[Edge | None, Optional("edge")]


@struct("index")
class RouteCapacityRate:
    """A route from source to destination, its bottleneck in credits, and the sum of its rates."""

    route: FriendsRoute
    capacity: U128
    rate: Rate


@struct("index")
class MultiRoute:
    """Routes from one source to one destination that can be used together for an amount."""

    routes: tuple[RouteCapacityRate, ...]


@struct("index")
class ResponseRoutes:
    """The answer to the `RequestRoutes` of the same *request_id*: alternatives, the preferred one first."""

    request_id: Uid
    multi_routes: tuple[MultiRoute, ...]


@struct("index")
class UpdateFriendCurrency:
    """The declaring node can receive so many credits from this friend, and charges this rate for it."""

    public_key: PublicKey
    currency: Currency
    recv_capacity: U128
    rate: Rate


@struct("index")
class RemoveFriendCurrency:
    """The declaring node receives nothing from this friend any more."""

    public_key: PublicKey
    currency: Currency


IndexMutation = UpdateFriendCurrency | RemoveFriendCurrency
declare_union(
    "index",
    "IndexMutation",
    {"updateFriendCurrency": UpdateFriendCurrency, "removeFriendCurrency": RemoveFriendCurrency},
)


@struct("index")
class MutationsUpdate:
    """Declarations of a node, signed over a recent time hash of its server. Spec 06 §4.1."""

    node_public_key: PublicKey
    index_mutations: tuple[IndexMutation, ...]
    time_hash: HashResult
    session_id: Uid
    counter: U64
    rand_nonce: RandValue
    signature: Signature


@struct("index")
class TimeProofLink:
    """Preimage of one time hash, in the order hashed. Spec 06 §4.4."""

    hashes: tuple[HashResult, ...]


@struct("index")
class ForwardMutationsUpdate:
    """An update on its way between servers, one link for each server passed."""

    mutations_update: MutationsUpdate
    time_proof_chain: tuple[TimeProofLink, ...]


@member
class TimeHash:
    """The server's hash of the present tick."""

    hash: HashResult


IndexServerToClient = TimeHash | ResponseRoutes
declare_union("index", "IndexServerToClient", {"timeHash": TimeHash, "responseRoutes": ResponseRoutes})

IndexClientToServer = MutationsUpdate | RequestRoutes
declare_union("index", "IndexClientToServer", {"mutationsUpdate": MutationsUpdate, "requestRoutes": RequestRoutes})

IndexServerToServer = TimeHash | ForwardMutationsUpdate
declare_union("index", "IndexServerToServer", {"timeHash": TimeHash, "forwardMutationsUpdate": ForwardMutationsUpdate})
