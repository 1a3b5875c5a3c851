"""The campaigns of `make torture`, in the order in which they run."""

from __future__ import annotations

from tests.torture import (
    crash_disks,
    failed_sync,
    failing_calls,
    full_disk,
    interrupted,
    kills,
    long_put,
    power_cuts,
    processes,
    rot,
    surroundings,
)
from tests.torture.frame import Campaign

CAMPAIGNS = [
    Campaign("crash disks", 10, crash_disks.run),
    Campaign("failing calls", 4, failing_calls.run),
    Campaign("kills", 3, kills.run),
    Campaign("power cuts on ext4", 5, power_cuts.on_ext4),
    Campaign("power cuts on xfs", 5, power_cuts.on_xfs),
    Campaign("failed sync", 2, failed_sync.run),
    Campaign("full disk", 2, full_disk.run),
    Campaign("processes", 6, processes.run),
    Campaign("retention beside a long put", 2, long_put.run),
    Campaign("interrupts", 2, interrupted.run),
    Campaign("surroundings", 2, surroundings.run),
    Campaign("rot", 6, rot.run),
]
