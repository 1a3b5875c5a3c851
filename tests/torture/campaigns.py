"""The campaigns of `make torture`, in the order in which they run."""

from __future__ import annotations

from tests.torture import failed_sync, full_disk, power_cuts
from tests.torture.frame import Campaign

CAMPAIGNS = [
    Campaign("power cuts on ext4", 5, power_cuts.on_ext4),
    Campaign("power cuts on xfs", 5, power_cuts.on_xfs),
    Campaign("failed sync", 2, failed_sync.run),
    Campaign("full disk", 2, full_disk.run),
]
