"""Why a row of the cost table misses its aim: what was profiled, which limit it is.

By the work of the row, as `table` names it. A row that meets its aim needs none; the
report says of every other one that nobody has looked yet.
"""

from __future__ import annotations

REASONS: dict[str, str] = {}
