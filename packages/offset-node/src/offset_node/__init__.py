"""
The node of Offset.

=======================================  ======================================================
`node`, `cli`                            who is told what in which order; the program stnode
`channeler`, `links`                     which links to keep up (engine); the links (sockets)
`app_server`, `permissions`              apps, acknowledgements, permissions (engine)
`index_link`                             the index client on sockets
`storage`, `tables`                      SQLite; the rows that mutations come to
`rust_database`, `json_forms`            the original's JSON database as text
=======================================  ======================================================
"""

__version__ = "0.1.0"
