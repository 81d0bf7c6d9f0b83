"""
The program stcompact: the engine behind a graphical wallet, in lines of JSON over stdin and stdout. Spec 10.

=================  ===============================================================================
`state`            what a compact node remembers; `database` is its text
`messages`         what is said in both directions; `report_form` is the JSON of a report
`compact_node`     engine: one node, as a table of contents; `payments` and `invoices` are its state machines,
                   `workbench` is what they work on, `effects` what they want done
`store`            directory of nodes
`server`           which nodes are open; who is told what; `node_source` is where it gets them from
`remote_node`      a node elsewhere; `local_node` one in this process, where offset-node is installed
`cli`              stdin, stdout, options
=================  ===============================================================================
"""
