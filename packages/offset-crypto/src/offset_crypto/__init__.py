"""
Cryptography of Offset, and its authenticated links.

==========================================  =====================================================
`hashing`, `identity`, `exchange`, `aead`   the primitives (all from *cryptography* and *hashlib*)
`signed`, `verify`                          every signed buffer; receipts, commits and tokens
`payment`                                   the life of a buyer's payment: a table, without any I/O
`secure_channel`, `keepalive`, `link`       byte engines: the layers of a link
`locking`                                   what a passphrase locks: identities, backups
`chunks`                                    files of any size, sealed piece by piece
`backoff`                                   when to try again, for every outgoing link
`aio`                                       connect() and serve() on asyncio
`passphrase`                                identities from files; where a passphrase is looked for
`supervision`                               what a server tells systemd, if that started it
`program`                                   what the server programs share: the identity, signals
`measures`, `link_counts`                   what programs count, declared once; what links count
`status_pages`                              metrics and health over HTTP
==========================================  =====================================================
"""

__version__ = "0.2.0"
