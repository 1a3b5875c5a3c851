"""What kinds of operations there are for the embedded engine. Pure."""

from __future__ import annotations

from typing import Any, Final

from objstore import _engine as ops
from objstore import _engine_backup as backup_ops
from objstore._engine import Op

_CLEARING: Final = (
    ops.DeleteBucket,
    ops.GetUsage,
    ops.Reclaim,
    ops.RemoveLeftovers,
)
"""What may give space back, or counts what there is; both need the catalog.

Not the abort of a put: its chunks are garbage without a record, too, and whoever puts
again and again would use the reserve up.
"""


def is_clearing(op: Op[Any]) -> bool:
    """Say whether an operation gives space back, or marks what may go."""
    if isinstance(op, ops.Append):
        for item in op.records:
            if not (isinstance(item, ops.Meta) and _is_marker(item)):
                return False
        return True
    return isinstance(op, _CLEARING)


def _is_marker(meta: ops.Meta) -> bool:
    return meta.change in ("delete", "expire")


WHOLE: Final = frozenset(
    {
        ops.Abort,
        ops.Append,
        ops.CreateBucket,
        ops.DeleteBucket,
        backup_ops.FreezeBucket,
        backup_ops.FreezeRegistry,
        backup_ops.LeaveGap,
        ops.Pin,
        ops.Reclaim,
        ops.RemoveLeftovers,
        ops.SealBucket,
        ops.UpdateBucket,
    }
)
"""What Ctrl-C does not tear apart: it is delivered behind them."""
PATIENT: Final = frozenset({ops.Heal, ops.RepairCatalog, ops.Restore})
"""What waits for other processes' locks in each of its steps."""
