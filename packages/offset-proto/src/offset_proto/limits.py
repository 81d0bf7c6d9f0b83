"""
Constants of the protocol: the unit of each, where the specification gives it, and who enforces it.

Limits that are the matter of one module alone, such as those of a search or of an outbox, stand in that module.

A tick is one second for every program of the network. A wait of n ticks that starts at a random
moment lasts between n - 1 and n seconds (spec 02 §1).
"""

PROTOCOL_VERSION = 0  # first frame of a TCP link, u32; spec 02 §4; crypto.link
TICK_SECONDS = 1.0  # seconds; spec 02 §1; crypto.aio

# Frames and messages (spec 02 §3.3, 01 §9). The original sends more than 1 MiB, and pads with 64 KiB.
HANDSHAKE_FRAME_BYTES_MAX = 16 * 1024  # bytes of a frame before the channel is encrypted; frames
FRAME_BYTES_MAX = 4 * 1024 * 1024  # bytes of a frame afterwards; frames
MESSAGE_WORDS_MAX = 1024 * 1024  # 8-byte words of an unpacked message; wire
MESSAGE_NESTING_MAX = 32  # levels; the deepest legal message has 16; wire
NAME_BYTES_MAX = 4096  # UTF-8 bytes of a name of a friend, relay or index server; wire

# Texts (spec 01 §1.1).
CURRENCY_BYTES_MAX = 16  # UTF-8 bytes; types
NET_ADDRESS_BYTES_MAX = 256  # UTF-8 bytes; types

# Links (spec 02 §1, §6, §7).
HANDSHAKE_TICKS = 8  # connect, version and handshake together; crypto.aio
PROXY_TICKS = 16  # more than that, for a proxy to connect: a circuit to an onion service crosses the world; crypto.aio
REKEY_TICKS = 3600  # between two rekeys; crypto.secure_channel
KEEPALIVE_TICKS = 32  # silence after which a link closes; crypto.keepalive
WRITE_TICKS = 16  # a peer that does not read for so long loses its link; crypto.aio (spec 02 §10.2)
PADDING_BYTES_MAX = 255  # of random padding that we send per message; any is accepted (spec 02 §6.6)

# Reconnecting (spec 02 §8.2): one policy for all outgoing links.
BACKOFF_TICKS_MAX = 8

# Relays (spec 03 §0, §4).
RELAY_FIRST_MESSAGE_TICKS = 4  # relay server
HALF_TUNNEL_TICKS = 32  # relay server
HALF_TUNNEL_MESSAGES_MAX = 16  # payloads kept for a tunnel that is not accepted yet; relay server
HALF_TUNNEL_BYTES_MAX = 1024 * 1024  # bytes of them
LISTENER_NOTICES_MAX = 256  # half tunnels of one listener; relay server
RELAY_HANDSHAKES_MAX = 512  # at once; relay and index servers
NODE_RELAYS_MAX = 16  # relays of a node; funder (spec 05 §5)

# Token channels and the funder (spec 04 §1, 05 §1.4).
OPERATIONS_PER_TOKEN_MAX = 16  # only senders limit; funder
ROUTE_KEYS_MAX = 32  # public keys of a full route; funder, index
PENDING_USER_REQUESTS_MAX = 32  # per friend; funder
FORWARDED_REQUESTS_MAX = 4096  # queued for one friend; more are cancelled back; funder
PENDING_TRANSACTIONS_MAX = 4096  # of one friend, open at once, before new requests are cancelled; funder

# Index servers and clients (spec 06 §2, §9.3).
INDEX_NODE_TICKS = 60  # a silent node is forgotten; also the number of remembered time hashes
EDGE_AGE_BASE = 16  # updates of a node that an edge outlives, plus 3 for each of its edges
TIME_PROOF_LINKS_MAX = 64
TIME_PROOF_HASHES_MAX = 1024
INDEX_MUTATIONS_MAX = 4096
INDEX_DECLARATIONS_MAX = 6_000_000  # of all nodes together; a node may have a 256th part of what is free; index
INDEX_NODE_CURRENCIES_MAX = 1024  # that one node declares; index
INDEX_CLIENT_MUTATIONS = 1024  # of one connection in a tick, once 16 ticks' worth is used up; index
INDEX_CLIENT_REQUESTS_MAX = 8  # open route requests of one node
INDEX_REFRESH_TICKS = 20  # between two updates of a node at most (spec 06 §7.6)
INDEX_CONNECT_TICKS = 16  # connect, handshake and first time hash together (spec 06 §7.4)
INDEX_REQUEST_TICKS = 30  # until an unanswered route request fails (spec 06 §7.7)

# Applications (spec 07 §6.4).
APP_HANDSHAKES_MAX = 16  # at once
APP_OUTBOX_BYTES_MAX = 8 * 1024 * 1024  # unread by an app before its link closes (spec 07 §3.2)
APP_GREETING_TICKS = 8  # permissions and first report (spec 07 §5.1)
APP_ACK_TICKS = 30  # acknowledgement of a request (spec 09 §5.2)
