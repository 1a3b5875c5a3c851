"""How fast is it? Ratios to the machine's limits and to peers, in one run.

One file per question stands in `questions`, one adapter per peer in `peers`;
`table` holds what has to be reached, `report` and `plots` write what was found.
"""
