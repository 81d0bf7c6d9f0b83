"""
Messages, files and limits of the Offset protocol, without any I/O of its own but files.

=====================  ====================================================================
`messages`             every message, an immutable typed class each
`layout`, `message`    how a class of messages is declared, and how it maps onto the schema
`wire`                 messages to packed Cap'n Proto bytes and back
`straight_code`        functions that write and read a struct, made from its fields
`packing`              messages of several segments, which the library must not read
`canonical`            messages to the bytes that are hashed and signed
`frames`               length frames on a byte stream
`permissions`          what an app may ask for, with what the original does not know
`file_forms`           what a file is that was given in place of another one
`files`                identities, tickets, invoices, receipts as files
`node_tickets`         tickets of nodes that are at one of several addresses
`uri`                  what people hand over, as one line of text
`web_address`          addresses to which programs post by themselves
`payload`, `bech32m`   the bytes and the letters of such a line
`contacts`             a node's friends and their settings as a file
`message_json`         messages as JSON, and JSON read strictly
`json_forms`           pieces that describe any other JSON text
`toml_text`            settings as people write them
`text`, `types`        values and their text forms
`entered`              addresses and names that a person enters, checked
`proxies`              proxies for outgoing links, as they are entered; what goes through them
`rate`                 fees
`report_view`          a node's report and its mutations
`limits`, `errors`     constants of the protocol; kinds of errors
`log_events`           what servers tell in their logs, as a table
`telling`              what an event of that table is, and how it is told
`log_sums`             sums instead of floods of lines
`presence`             what is there and what is away, for logs
`logs`                 the lines of logs
`cli`, `server_cli`    the command lines of all programs, with the extra ``cli``
`reloading`            a configuration file that is read again while a server runs
=====================  ====================================================================
"""

__version__ = "0.2.0"
