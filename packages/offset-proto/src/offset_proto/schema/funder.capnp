# Between two friends. docs/protocol/04-token-channel.md §2.
@0xe7603b9ac00e2251;

using Common = import "common.capnp";

struct FriendMessage {
  union {
    moveTokenRequest @0 :MoveTokenRequest;
    inconsistencyError @1 :ResetTerms;
  }
}

struct MoveTokenRequest {
  moveToken @0 :MoveToken;
  tokenWanted @1 :Bool;
}

struct MoveToken {
  oldToken @0 :Common.Signature;
  currenciesOperations @1 :List(CurrencyOperations);
  optLocalRelays :union {
    empty @2 :Void;
    relays @3 :List(Common.RelayAddress);
  }
  optActiveCurrencies :union {
    empty @4 :Void;
    currencies @5 :List(Common.Currency);
  }
  infoHash @6 :Common.HashResult;
  randNonce @7 :Common.RandValue;
  newToken @8 :Common.Signature;
}

struct CurrencyOperations {
  currency @0 :Common.Currency;
  operations @1 :List(FriendTcOp);
}

struct FriendTcOp {
  union {
    requestSendFunds @0 :RequestSendFundsOp;
    responseSendFunds @1 :ResponseSendFundsOp;
    cancelSendFunds @2 :CancelSendFundsOp;
    collectSendFunds @3 :CollectSendFundsOp;
  }
}

struct FriendsRoute { publicKeys @0 :List(Common.PublicKey); }

struct RequestSendFundsOp {
  requestId @0 :Common.Uid;
  srcHashedLock @1 :Common.HashedLock;
  route @2 :FriendsRoute;
  destPayment @3 :Common.CustomUInt128;
  totalDestPayment @4 :Common.CustomUInt128;
  invoiceId @5 :Common.InvoiceId;
  leftFees @6 :Common.CustomUInt128;
}

struct ResponseSendFundsOp {
  requestId @0 :Common.Uid;
  destHashedLock @1 :Common.HashedLock;
  isComplete @2 :Bool;
  randNonce @3 :Common.RandValue;
  signature @4 :Common.Signature;
}

struct CancelSendFundsOp { requestId @0 :Common.Uid; }

struct CollectSendFundsOp {
  requestId @0 :Common.Uid;
  srcPlainLock @1 :Common.PlainLock;
  destPlainLock @2 :Common.PlainLock;
}

struct ResetTerms {
  resetToken @0 :Common.Signature;
  inconsistencyCounter @1 :UInt64;
  balanceForReset @2 :List(CurrencyBalance);
}

struct CurrencyBalance {
  currency @0 :Common.Currency;
  balance @1 :Common.CustomInt128;
}
