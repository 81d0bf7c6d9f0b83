"""
Where a node's state is kept. Nothing outside of this room writes SQL, or knows the form of the original's file.

=================  ===================================================================================
May import: `offset_node.state`, the funder, crypto and proto. Used by: `embedded`, the program stnode, and
`stmgr` of offset-ctrl.
"""
