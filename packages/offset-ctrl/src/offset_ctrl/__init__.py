"""
Apps of Offset: an SDK and the command-line programs.

==========================  ==============================================================
`client`                    a connection to a node: requests, results, the live report
`routes`                    which routes to pay over, how much over each
`stctrl`                    the program stctrl, one module for each group of commands
`stmgr`, `stverify`         keys and tickets; offline verification
`table`                     ASCII tables
==========================  ==============================================================
"""

__version__ = "0.1.0"
