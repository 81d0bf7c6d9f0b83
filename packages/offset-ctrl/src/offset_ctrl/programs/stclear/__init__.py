"""
The program stclear, for a community that clears its debts in circles. The original has no such program.

============  ============================================================================================
`cli`         options
`members`     the files that members exported
`text`        a plan for a person to read
`pay`         pays the circles that a plan gives to one member
============  ============================================================================================

May import: everything in offset-ctrl, crypto and proto. What is computed is in `offset_ctrl.clearing`.
"""
