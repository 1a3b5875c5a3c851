"""What the operating system refuses, as the public error: no raw `OSError` leaves."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

from objstore_log.errors import ObjStoreError, StorageError


def storage_error(path: str, operation: str, error: OSError) -> StorageError:
    """Turn an operating system's refusal into the public error."""
    return StorageError(
        path=path,
        operation=operation,
        reason=error.strerror or str(error),
        errno=error.errno,
    )


@contextmanager
def refusals(path: str, operation: str) -> Generator[None]:
    """Have every `OSError` of the block leave it as a `StorageError`."""
    try:
        yield
    except OSError as error:
        if isinstance(error, ObjStoreError):
            raise
        raise storage_error(path, operation, error) from error
