"""
Where a node's state is kept. Nothing outside of this room writes SQL, or knows the form of the original's file.

==============  ==========================================================================================
`errors`        what can go wrong with a database; each error names the file
`original`      the original's JSON database as text, to and from `NodeState`; its forms are reused by `rows`
`audit`         what must hold between the fields of a whole database before a node may go on from it
`rows`          the schema of the SQLite database, and the rows that each mutation comes to
`plugin_rows`   the same for what plugins keep
`sqlite`        shell: the SQLite database, one transaction for each batch of mutations
`json_file`     shell: the original's file, written as a whole for each batch (nodes of stcompact)
`move_over`     shell: a database of the original to one of ours and back
==============  ==========================================================================================

May import: `offset_node.state`, the funder, crypto and proto. Used by: `node`, `embedded`, the program stnode, and
`stmgr` of offset-ctrl.
"""
