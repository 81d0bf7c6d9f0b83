# What an application sees of a node. docs/protocol/07-node-and-apps.md §2.2.
@0x8bc829b5200f3c7f;

using Common = import "common.capnp";
using import "funder.capnp".CurrencyBalance;

struct CountersInfo {
  inconsistencyCounter @0 :UInt64;
  moveTokenCounter @1 :Common.CustomUInt128;
}

struct BalanceInfo {
  balance @0 :Common.CustomInt128;
  localPendingDebt @1 :Common.CustomUInt128;
  remotePendingDebt @2 :Common.CustomUInt128;
}

struct CurrencyBalanceInfo {
  currency @0 :Common.Currency;
  balanceInfo @1 :BalanceInfo;
}

struct McInfo {
  localPublicKey @0 :Common.PublicKey;
  remotePublicKey @1 :Common.PublicKey;
  balances @2 :List(CurrencyBalanceInfo);
}

struct TokenInfo {
  mc @0 :McInfo;
  counters @1 :CountersInfo;
}

struct MoveTokenHashedReport {
  prefixHash @0 :Common.HashResult;
  tokenInfo @1 :TokenInfo;
  randNonce @2 :Common.RandValue;
  newToken @3 :Common.Signature;
}

struct FriendStatusReport { union { disabled @0 :Void; enabled @1 :Void; } }
struct RequestsStatusReport { union { closed @0 :Void; open @1 :Void; } }
struct FriendLivenessReport { union { offline @0 :Void; online @1 :Void; } }

struct McBalanceReport {
  balance @0 :Common.CustomInt128;
  localPendingDebt @1 :Common.CustomUInt128;
  remotePendingDebt @2 :Common.CustomUInt128;
}

struct CurrencyReport {
  currency @0 :Common.Currency;
  balance @1 :McBalanceReport;
}

struct ResetTermsReport {
  resetToken @0 :Common.Signature;
  balanceForReset @1 :List(CurrencyBalance);
}

struct ChannelInconsistentReport {
  localResetTerms @0 :List(CurrencyBalance);
  optRemoteResetTerms :union {
    remoteResetTerms @1 :ResetTermsReport;
    empty @2 :Void;
  }
}

struct ChannelConsistentReport { currencyReports @0 :List(CurrencyReport); }

struct ChannelStatusReport {
  union {
    inconsistent @0 :ChannelInconsistentReport;
    consistent @1 :ChannelConsistentReport;
  }
}

struct OptLastIncomingMoveToken {
  union {
    moveTokenHashed @0 :MoveTokenHashedReport;
    empty @1 :Void;
  }
}

struct CurrencyRate {
  currency @0 :Common.Currency;
  rate @1 :Common.Rate;
}

struct CurrencyConfigReport {
  currency @0 :Common.Currency;
  rate @1 :Common.Rate;
  remoteMaxDebt @2 :Common.CustomUInt128;
  isOpen @3 :Bool;
}

struct FriendReport {
  name @0 :Text;
  remoteRelays @1 :List(Common.RelayAddress);
  currencyConfigs @2 :List(CurrencyConfigReport);
  optLastIncomingMoveToken @3 :OptLastIncomingMoveToken;
  liveness @4 :FriendLivenessReport;
  channelStatus @5 :ChannelStatusReport;
  status @6 :FriendStatusReport;
}

struct PkFriendReport {
  friendPublicKey @0 :Common.PublicKey;
  friendReport @1 :FriendReport;
}

struct PkFriendReportList { list @0 :List(PkFriendReport); }

struct FunderReport {
  localPublicKey @0 :Common.PublicKey;
  relays @1 :List(Common.NamedRelayAddress);
  friends @2 :PkFriendReportList;
}

struct AddFriendReport {
  friendPublicKey @0 :Common.PublicKey;
  name @1 :Text;
  relays @2 :List(Common.RelayAddress);
  optLastIncomingMoveToken @3 :OptLastIncomingMoveToken;
  channelStatus @4 :ChannelStatusReport;
}

struct FriendReportMutation {
  union {
    setRemoteRelays @0 :List(Common.RelayAddress);
    setName @1 :Text;
    updateCurrencyConfig @2 :CurrencyConfigReport;
    removeCurrencyConfig @3 :Common.Currency;
    setChannelStatus @4 :ChannelStatusReport;
    setStatus @5 :FriendStatusReport;
    setOptLastIncomingMoveToken @6 :OptLastIncomingMoveToken;
    setLiveness @7 :FriendLivenessReport;
  }
}

struct PkFriendReportMutation {
  friendPublicKey @0 :Common.PublicKey;
  friendReportMutation @1 :FriendReportMutation;
}

struct FunderReportMutation {
  union {
    addRelay @0 :Common.NamedRelayAddress;
    removeRelay @1 :Common.PublicKey;
    addFriend @2 :AddFriendReport;
    removeFriend @3 :Common.PublicKey;
    pkFriendReportMutation @4 :PkFriendReportMutation;
  }
}

struct IndexClientReport {
  indexServers @0 :List(Common.NamedIndexServerAddress);
  optConnectedServer :union {
    publicKey @1 :Common.PublicKey;
    empty @2 :Void;
  }
}

struct IndexClientReportMutation {
  union {
    addIndexServer @0 :Common.NamedIndexServerAddress;
    removeIndexServer @1 :Common.PublicKey;
    setConnectedServer :union {
      publicKey @2 :Common.PublicKey;
      empty @3 :Void;
    }
  }
}

struct NodeReport {
  funderReport @0 :FunderReport;
  indexClientReport @1 :IndexClientReport;
}

struct NodeReportMutation {
  union {
    funder @0 :FunderReportMutation;
    indexClient @1 :IndexClientReportMutation;
  }
}
