"""
The program stctrl: one module for each group of commands. Spec 09 §5-§9.

============  ============================================================================================
`cli`         the options of all commands, and nothing else
`info`        what the node's report says
`config`      relays, index servers, friends and their currencies
`buyer`       paying an invoice, and how the payment ended
`seller`      invoices
`session`     what all commands share: the connection, the permissions, the names of errors
============  ============================================================================================
"""
