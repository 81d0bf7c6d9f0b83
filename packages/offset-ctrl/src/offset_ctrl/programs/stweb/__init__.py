"""
The program stweb: a node's credit over HTTP, for programs in any language.

=========  ===============================================
`cli`      the command line
=========  ===============================================

What it serves is in `offset_ctrl.web`, which needs the extra ``offset-ctrl[web]``. Nothing else imports that.
"""
