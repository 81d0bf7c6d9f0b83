# Nodes and index servers. docs/protocol/06-index.md §3.
@0xe34d46ee2fe7213e;

using Common = import "common.capnp";
using import "funder.capnp".FriendsRoute;

struct Edge {
  fromPublicKey @0 :Common.PublicKey;
  toPublicKey @1 :Common.PublicKey;
}

struct RequestRoutes {
  requestId @0 :Common.Uid;
  currency @1 :Common.Currency;
  capacity @2 :Common.CustomUInt128;
  source @3 :Common.PublicKey;
  destination @4 :Common.PublicKey;
  optExclude :union {
    empty @5 :Void;
    edge @6 :Edge;
  }
}

struct RouteCapacityRate {
  route @0 :FriendsRoute;
  capacity @1 :Common.CustomUInt128;
  rate @2 :Common.Rate;
}

struct MultiRoute { routes @0 :List(RouteCapacityRate); }

struct ResponseRoutes {
  requestId @0 :Common.Uid;
  multiRoutes @1 :List(MultiRoute);
}

struct UpdateFriendCurrency {
  publicKey @0 :Common.PublicKey;
  currency @1 :Common.Currency;
  recvCapacity @2 :Common.CustomUInt128;
  rate @3 :Common.Rate;
}

struct RemoveFriendCurrency {
  publicKey @0 :Common.PublicKey;
  currency @1 :Common.Currency;
}

struct IndexMutation {
  union {
    updateFriendCurrency @0 :UpdateFriendCurrency;
    removeFriendCurrency @1 :RemoveFriendCurrency;
  }
}

struct MutationsUpdate {
  nodePublicKey @0 :Common.PublicKey;
  indexMutations @1 :List(IndexMutation);
  timeHash @2 :Common.HashResult;
  sessionId @3 :Common.Uid;
  counter @4 :UInt64;
  randNonce @5 :Common.RandValue;
  signature @6 :Common.Signature;
}

struct TimeProofLink { hashes @0 :List(Common.HashResult); }

struct ForwardMutationsUpdate {
  mutationsUpdate @0 :MutationsUpdate;
  timeProofChain @1 :List(TimeProofLink);
}

struct IndexServerToClient {
  union {
    timeHash @0 :Common.HashResult;
    responseRoutes @1 :ResponseRoutes;
  }
}

struct IndexClientToServer {
  union {
    mutationsUpdate @0 :MutationsUpdate;
    requestRoutes @1 :RequestRoutes;
  }
}

struct IndexServerToServer {
  union {
    timeHash @0 :Common.HashResult;
    forwardMutationsUpdate @1 :ForwardMutationsUpdate;
  }
}
