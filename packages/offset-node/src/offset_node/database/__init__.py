"""
Where a node's state is kept. Nothing outside of this room writes SQL, or knows the form of the original's file.

=================  ==========================================================================================
`mistaken`         shell: what a file is that was given in place of a database, a backup or an archive
`errors`           what can go wrong with a database; each error names the file
`forms`            values with a structure of their own, in the form that the original's database has for them
`original`         the original's JSON database as text, to and from `NodeState`
`audit`            what must hold between the fields of a whole database before a node may go on from it
`tables`           the SQLite database as rows: a module for each subject, with writing next to reading
`stored_node`      shell: a node in tables, whatever engine keeps them; the life of a batch that is being stored
`sqlite`           shell: the SQLite database by aiosqlite, one transaction for each batch of mutations
`names`            how a person names a database: a file, or an address of a server
`dialect`          what PostgreSQL says otherwise than SQLite
`lease`            of a database on a server: who may write to it, and what stops everybody else
`postgres`         shell: a database on a server of PostgreSQL by psycopg, one round trip for each batch
`postgres_schema`  shell: its tables, made, recognised, and brought to the present version
`postgres_lease`   shell: how the lease of such a database is taken, and who has it
`postgres_standby`  shell: waiting for the lease for as long as another node has it
`postgres_batch`   shell: a batch sent as a whole, by libpq's pipeline mode
`postgres_connection`  shell: how a connection to it is set up
`opening`          shell: a database by its name, whichever engine keeps it
`testing`          shell: for tests, a network whose nodes have databases of any engine
`reading`          shell: pages of the history, read beside the batches that are stored
`checking`         shell: a whole database, state and history
`archive`          shell: the first entries of the history, moved to a file of their own
`archive_series`   shell: archives that follow each other, read as a whole
`json_file`        shell: the original's file, written as a whole for each batch (nodes of stcompact)
`move_over`        shell: a database of the original to one of ours and back
`between_engines`  shell: a database moved from a file to a server, or back
`backup`           shell: a copy of the database of a node that runs; a database from a copy
`backup_copies`    shell: copies in files without a name, and what is in one
`locked_backup`    a backup under a passphrase, in pieces
`examining`        shell: what a copy of the database of a node that runs says about it
`backup_series`    shell: a copy again and again, of which the newest are kept
`backup_stamp`     shell: when the last copy was made, and what the node says about that
=================  ==========================================================================================

May import: `offset_node.state`, the funder, crypto and proto. Used by: `embedded`, the program stnode, and
`stmgr` and `stctrl doctor` of offset-ctrl.
"""
