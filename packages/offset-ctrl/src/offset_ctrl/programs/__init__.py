"""
The command-line programs.

============  ============================================================================================
`stctrl`      a node's friends, credit, invoices and payments; one module for each group of commands
`stmgr`       keys, tickets, databases
`stverify`    receipts and friend tokens, checked offline
`stclear`     which circles a community pays to clear most of its debts
`stcompact`   the engine behind a graphical wallet: lines of JSON on standard input and output
`stweb`       a web server, with an API for programs in any language
`table`       the tables that `stctrl info` prints
`texts`       what people hand over as one line: given, printed, read from files and written to them
`qr_codes`    such a line as a QR code
============  ============================================================================================

May import: everything in offset-ctrl, crypto and proto; offset-node only where it is installed, and only when a
command needs it. Nothing imports the programs.
"""
