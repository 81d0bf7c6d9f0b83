# Between an application and its node. docs/protocol/07-node-and-apps.md §2.1.
@0xcd5fc5928aa22c39;

using Common = import "common.capnp";
using import "funder.capnp".FriendsRoute;
using import "index.capnp".RequestRoutes;
using import "index.capnp".MultiRoute;
using import "report.capnp".NodeReportMutation;

struct AppPermissions {
  routes @0 :Bool;
  buyer @1 :Bool;
  seller @2 :Bool;
  config @3 :Bool;
}

struct AppToAppServer {
  appRequestId @0 :Common.Uid;
  appRequest @1 :AppRequest;
}

struct AppRequest {
  union {
    addRelay @0 :Common.NamedRelayAddress;
    removeRelay @1 :Common.PublicKey;
    createPayment @2 :CreatePayment;
    createTransaction @3 :CreateTransaction;
    requestClosePayment @4 :Common.PaymentId;
    ackClosePayment @5 :AckClosePayment;
    addInvoice @6 :AddInvoice;
    cancelInvoice @7 :Common.InvoiceId;
    commitInvoice @8 :Common.Commit;
    addFriend @9 :AddFriend;
    setFriendRelays @10 :SetFriendRelays;
    setFriendName @11 :SetFriendName;
    removeFriend @12 :Common.PublicKey;
    enableFriend @13 :Common.PublicKey;
    disableFriend @14 :Common.PublicKey;
    openFriendCurrency @15 :OpenFriendCurrency;
    closeFriendCurrency @16 :CloseFriendCurrency;
    setFriendCurrencyMaxDebt @17 :SetFriendCurrencyMaxDebt;
    setFriendCurrencyRate @18 :SetFriendCurrencyRate;
    removeFriendCurrency @19 :RemoveFriendCurrency;
    resetFriendChannel @20 :ResetFriendChannel;
    requestRoutes @21 :RequestRoutes;
    addIndexServer @22 :Common.NamedIndexServerAddress;
    removeIndexServer @23 :Common.PublicKey;
    followPayments @24 :Void;
    followInvoices @25 :Void;
    addExpiringInvoice @26 :AddExpiringInvoice;
    giveUpPayment @27 :Common.PaymentId;
    readHistory @28 :ReadHistory;
    followHistory @29 :Void;
    noteInvoice @30 :NoteInvoice;
    notePayment @31 :NotePayment;
    noteEntry @32 :NoteEntry;
    followUnheard @33 :Void;
  }
}

struct CreatePayment {
  paymentId @0 :Common.PaymentId;
  invoiceId @1 :Common.InvoiceId;
  currency @2 :Common.Currency;
  totalDestPayment @3 :Common.CustomUInt128;
  destPublicKey @4 :Common.PublicKey;
}

struct CreateTransaction {
  paymentId @0 :Common.PaymentId;
  requestId @1 :Common.Uid;
  route @2 :FriendsRoute;
  destPayment @3 :Common.CustomUInt128;
  fees @4 :Common.CustomUInt128;
}

struct AckClosePayment {
  paymentId @0 :Common.PaymentId;
  ackUid @1 :Common.Uid;
}

struct AddInvoice {
  invoiceId @0 :Common.InvoiceId;
  currency @1 :Common.Currency;
  totalDestPayment @2 :Common.CustomUInt128;
}

struct AddFriend {
  friendPublicKey @0 :Common.PublicKey;
  relays @1 :List(Common.RelayAddress);
  name @2 :Text;
}

struct SetFriendName { friendPublicKey @0 :Common.PublicKey; name @1 :Text; }

struct SetFriendRelays {
  friendPublicKey @0 :Common.PublicKey;
  relays @1 :List(Common.RelayAddress);
}

struct OpenFriendCurrency { friendPublicKey @0 :Common.PublicKey; currency @1 :Common.Currency; }
struct CloseFriendCurrency { friendPublicKey @0 :Common.PublicKey; currency @1 :Common.Currency; }
struct RemoveFriendCurrency { friendPublicKey @0 :Common.PublicKey; currency @1 :Common.Currency; }

struct SetFriendCurrencyMaxDebt {
  friendPublicKey @0 :Common.PublicKey;
  currency @1 :Common.Currency;
  remoteMaxDebt @2 :Common.CustomUInt128;
}

struct SetFriendCurrencyRate {
  friendPublicKey @0 :Common.PublicKey;
  currency @1 :Common.Currency;
  rate @2 :Common.Rate;
}

struct ResetFriendChannel {
  friendPublicKey @0 :Common.PublicKey;
  resetToken @1 :Common.Signature;
}

struct AppServerToApp {
  union {
    transactionResult @0 :TransactionResult;
    responseClosePayment @1 :ResponseClosePayment;
    reportMutations @2 :ReportMutations;
    responseRoutes @3 :ClientResponseRoutes;
    openPayments @4 :OpenPayments;
    openInvoices @5 :OpenInvoices;
    historyPage @6 :HistoryPage;
    historyEnd @7 :HistoryEnd;
    unheardFriends @8 :UnheardFriends;
  }
}

struct ReportMutations {
  optAppRequestId :union {
    appRequestId @0 :Common.Uid;
    empty @1 :Void;
  }
  mutations @2 :List(NodeReportMutation);
}

struct TransactionResult {
  requestId @0 :Common.Uid;
  result @1 :RequestResult;
}

struct RequestResult {
  union {
    complete @0 :Common.Commit;
    success @1 :Void;
    failure @2 :Void;
  }
}

struct ResponseClosePayment {
  paymentId @0 :Common.PaymentId;
  status @1 :PaymentStatus;
}

struct PaymentStatus {
  union {
    paymentNotFound @0 :Void;
    success @1 :PaymentStatusSuccess;
    canceled @2 :Common.Uid;
  }
}

struct PaymentStatusSuccess {
  receipt @0 :Common.Receipt;
  ackUid @1 :Common.Uid;
}

struct ClientResponseRoutes {
  requestId @0 :Common.Uid;
  result @1 :ResponseRoutesResult;
}

struct ResponseRoutesResult {
  union {
    success @0 :List(MultiRoute);
    failure @1 :Void;
  }
}

# Extensions, docs/protocol/12-extensions.md. An original node or app never sends or receives what follows.

# What a node sends first; the struct AppPermissions with two more fields, which an original app does not read.
struct AppGreeting {
  routes @0 :Bool;
  buyer @1 :Bool;
  seller @2 :Bool;
  config @3 :Bool;
  extensions @4 :UInt64;
  history @5 :Bool;
}

struct AddExpiringInvoice {
  invoiceId @0 :Common.InvoiceId;
  currency @1 :Common.Currency;
  totalDestPayment @2 :Common.CustomUInt128;
  seconds @3 :UInt32;
}

struct OpenPayments {
  isSnapshot @0 :Bool;
  payments @1 :List(OpenPaymentReport);
  ended @2 :List(Common.PaymentId);
}

struct OpenPaymentReport {
  paymentId @0 :Common.PaymentId;
  stage @1 :PaymentStageReport;
  optTarget :union {
    target @2 :PaymentTarget;
    empty @3 :Void;
  }
  parts @4 :List(PartReport);
  optCommit :union {
    commit @5 :Common.Commit;
    empty @6 :Void;
  }
}

struct PaymentTarget {
  invoiceId @0 :Common.InvoiceId;
  currency @1 :Common.Currency;
  totalDestPayment @2 :Common.CustomUInt128;
  destPublicKey @3 :Common.PublicKey;
}

struct PaymentStageReport {
  union {
    sending @0 :Void;
    closing @1 :Void;
    paid @2 :Void;
    cancelled @3 :Void;
    acknowledged @4 :Void;
  }
}

struct PartReport {
  requestId @0 :Common.Uid;
  route @1 :FriendsRoute;
  destPayment @2 :Common.CustomUInt128;
  fees @3 :Common.CustomUInt128;
  state @4 :PartStateReport;
  since @5 :UInt64;
}

struct PartStateReport {
  union {
    queued @0 :Void;
    frozen @1 :Void;
    answered @2 :Void;
    collected @3 :Void;
    cancelled @4 :Void;
  }
}

struct OpenInvoices {
  isSnapshot @0 :Bool;
  invoices @1 :List(OpenInvoiceReport);
  ended @2 :List(Common.InvoiceId);
  collected @3 :List(Common.InvoiceId);
}

struct OpenInvoiceReport {
  invoiceId @0 :Common.InvoiceId;
  currency @1 :Common.Currency;
  totalDestPayment @2 :Common.CustomUInt128;
  arrived @3 :Common.CustomUInt128;
  parts @4 :UInt32;
  since @5 :UInt64;
  optEnd :union {
    end @6 :UInt64;
    empty @7 :Void;
  }
}

struct ReadHistory {
  requestId @0 :Common.Uid;
  after @1 :UInt64;
  before @2 :UInt64;
  newestFirst @3 :Bool;
  limit @4 :UInt32;
  filter @5 :HistoryFilter;
}

struct HistoryFilter {
  optFriend :union {
    friend @0 :Common.PublicKey;
    empty @1 :Void;
  }
  optCurrency :union {
    currency @2 :Common.Currency;
    empty @3 :Void;
  }
  kinds @4 :List(EntryKind);
  since @5 :UInt64;
  until @6 :UInt64;
}

struct EntryKind {
  union {
    opening @0 :Void;
    paid @1 :Void;
    received @2 :Void;
    forwarded @3 :Void;
    broken @4 :Void;
    reset @5 :Void;
    forgiven @6 :Void;
    limit @7 :Void;
    rate @8 :Void;
    opened @9 :Void;
    closed @10 :Void;
    withdrawn @11 :Void;
  }
}

struct HistoryEntry {
  number @0 :UInt64;
  time @1 :UInt64;
  friend @2 :Common.PublicKey;
  currency @3 :Common.Currency;
  kind @4 :EntryKind;
  before @5 :Common.CustomInt128;
  balance @6 :Common.CustomInt128;
  amount @7 :Common.CustomUInt128;
  fee @8 :Common.CustomUInt128;
  optParty :union {
    party @9 :Common.PublicKey;
    empty @10 :Void;
  }
  optInvoiceId :union {
    invoiceId @11 :Common.InvoiceId;
    empty @12 :Void;
  }
  optPaymentId :union {
    paymentId @13 :Common.PaymentId;
    empty @14 :Void;
  }
  optRequestId :union {
    requestId @15 :Common.Uid;
    empty @16 :Void;
  }
  note @17 :Text;
  optApp :union {
    app @18 :Common.PublicKey;
    empty @19 :Void;
  }
}

struct HistoryPage {
  requestId @0 :Common.Uid;
  entries @1 :List(HistoryEntry);
  through @2 :UInt64;
  end @3 :UInt64;
  archived @4 :UInt64;
  isWhole @5 :Bool;
  timeline @6 :UInt64;
}

struct HistoryEnd {
  end @0 :UInt64;
  timeline @1 :UInt64;
}

struct NoteInvoice { invoiceId @0 :Common.InvoiceId; note @1 :Text; }
struct NotePayment { paymentId @0 :Common.PaymentId; note @1 :Text; }
struct NoteEntry { number @0 :UInt64; note @1 :Text; }

struct UnheardFriends {
  isSnapshot @0 :Bool;
  friends @1 :List(Common.PublicKey);
  heard @2 :List(Common.PublicKey);
}
