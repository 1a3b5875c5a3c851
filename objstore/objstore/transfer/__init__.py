"""The ways out of a store and back: backups of it, trees of plain files of a bucket.

Sequences of steps over the engine's operations, as everything above the engine is.
"""

from objstore.transfer._backup import backup_store
from objstore.transfer._export import export_tree
from objstore.transfer._import import import_tree
from objstore.transfer._restore import restore_backup, restore_backup_blocking

__all__ = [
    "backup_store",
    "export_tree",
    "import_tree",
    "restore_backup",
    "restore_backup_blocking",
]
