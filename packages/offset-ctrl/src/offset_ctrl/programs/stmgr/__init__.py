"""
The program stmgr: keys, tickets, node databases, texts.

==============  ============================================================================================
`cli`           the program, and the commands that make tickets
`setups`        commands: all that a node, a relay or an index server needs, in a directory
`units`         what systemd runs a server by
`files`         what the commands share: options, names of failures, identities that are opened
`identities`    commands: make identities, lock and unlock them, as words and from words
`words`         an identity as the 24 words of BIP-39
`ceremony`      a person writes words down, and gives three of them back
`databases`     commands: make, import, export node databases
`backups`       commands: back a node database up, once or again and again; restore it
`archives`      commands: move old entries of a history to an archive
`texts`         command: files as one line of text, and back
==============  ============================================================================================

May import: everything in offset-ctrl, crypto and proto; offset-node only where it is installed, and only when a
command needs it.
"""

from offset_ctrl.programs.stmgr.cli import main

__all__ = ["main"]
