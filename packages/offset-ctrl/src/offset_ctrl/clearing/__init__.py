"""
What a community can clear of its debts in circles, from what its members exported. Pure.

============  ============================================================================================
`flow`        the largest set-off: a circulation along the debts, by a minimum-cost flow
`circles`     a set-off taken apart into circles that are short enough to be paid
`exports`     what a member exported
`debts`       the debts between members, from what both sides say of them
`plan`        who pays which circle, in which order; what is left then
`report`      the plan as JSON
============  ============================================================================================

May import: proto. Used by: `programs`.
"""
