"""The documented examples of the JetStream object store run as they are quoted.

Unchanged but for the import line, `replicas=3`, and the bucket that an example binds
to, which is made first.
"""

# ruff: noqa: B018, E501, E702 - the statements stand as they are documented
# fmt: off

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import anyio
import pytest

import objstore
from objstore import (
    NotSupportedError,
    ObjectLink,
    ObjectMeta,
    ObjectMetaOptions,
    ObjectStore,
    ObjectStoreConfig,
    Store,
)

pytestmark = pytest.mark.anyio

FILE_DATA = b"%PDF-1.7 quarterly " * 20_000


@pytest.fixture
async def js(tmp_path: Path) -> AsyncIterator[Store]:
    """Connect as a NATS client does."""
    nc = await objstore.connect(tmp_path / "data")
    js = nc.jetstream()
    yield js
    await nc.aclose()


@pytest.fixture
async def os(js: Store) -> ObjectStore:
    """Make the bucket that the examples bind to, with the object that they change."""
    await js.create_object_store(bucket="file-storage")
    os = await js.object_store("file-storage")
    await os.put("documents/report-2024.pdf", FILE_DATA)
    return os


async def test_create_bucket_by_configuration(js: Store) -> None:
    """A bucket is made of an `ObjectStoreConfig`."""
    os_config = ObjectStoreConfig(bucket="media-files", description="Media file storage", max_bytes=10*1024*1024*1024, storage="file", ttl=timedelta(days=365))
    os = await js.create_object_store(config=os_config)

    status = await os.status()
    assert ("media-files", "Media file storage") == (status.bucket, status.description)
    assert (10 * 2**30, "file") == (status.max_bytes, status.storage)
    assert timedelta(days=365) == status.ttl
    assert (1, "log") == (status.replicas, status.backing_store)


async def test_create_bucket_by_parameters(js: Store) -> None:
    """A bucket is made of single fields."""
    os = await js.create_object_store(bucket="temp-files", max_bytes=1024*1024*1024, ttl=timedelta(hours=24))

    status = await os.status()
    assert (2**30, timedelta(hours=24)) == (status.max_bytes, status.ttl)
    assert ["temp-files"] == await js.object_store_names()


async def test_replicas_are_refused(js: Store) -> None:
    """The embedded engine says which engine has replicas; no bucket is made."""
    os_config = ObjectStoreConfig(bucket="media-files", replicas=3)
    with pytest.raises(NotSupportedError, match=r"replicas=3 .* JetStream engine has"):
        await js.create_object_store(config=os_config)

    assert [] == await js.object_store_names()


async def test_put_with_description_and_headers(os: ObjectStore) -> None:
    """What a put says about its content is there to be read."""
    file_data = FILE_DATA
    obj_info = await os.put(name="documents/report-2024.pdf", data=file_data, description="Quarterly report 2024", filename="report-2024.pdf", headers={"Content-Type": "application/pdf", "Author": "Alice Johnson", "Department": "Sales"})

    assert obj_info == await os.get_info("documents/report-2024.pdf")
    assert ("Quarterly report 2024", "report-2024.pdf") == (obj_info.description, obj_info.filename)
    assert obj_info.headers == {"Content-Type": "application/pdf", "Author": "Alice Johnson", "Department": "Sales"}
    assert ("application/pdf", len(file_data)) == (obj_info.content_type, obj_info.size)


async def test_digest_is_compared_by_hand(os: ObjectStore) -> None:
    """A digest is SHA-256 in hex behind its name."""
    info = await os.put("document.pdf", FILE_DATA)
    assert hashlib.sha256(await os.get("document.pdf")).hexdigest() == info.digest.replace("SHA-256=", "")


async def test_update_meta(os: ObjectStore) -> None:
    """What is said about an object is changed, and its content is not."""
    before = await os.get_info("documents/report-2024.pdf")
    new_meta = ObjectMeta(name="documents/report-2024.pdf", description="Updated quarterly report 2024", headers={"Content-Type": "application/pdf", "Status": "Final"})
    updated_info = await os.update_meta("documents/report-2024.pdf", new_meta)

    assert "Updated quarterly report 2024" == updated_info.description
    assert {"Content-Type": "application/pdf", "Status": "Final"} == updated_info.headers
    assert (before.nuid, before.digest) == (updated_info.nuid, updated_info.digest)
    assert FILE_DATA == await os.get("documents/report-2024.pdf")


async def test_link_through_update_meta(os: ObjectStore) -> None:
    """A meta with a link makes one on a free name."""
    link_meta = ObjectMeta(name="documents/current-report.pdf", description="Link to current quarterly report", options=ObjectMetaOptions(link=ObjectLink(bucket="file-storage", name="documents/report-2024.pdf")))
    await os.update_meta("documents/current-report.pdf", link_meta)

    info = await os.get_info("documents/current-report.pdf")
    assert ["file-storage/documents/report-2024.pdf"] == info.links
    assert "Link to current quarterly report" == info.description
    assert FILE_DATA == await os.get("documents/current-report.pdf")


async def test_watch_is_iterated(os: ObjectStore) -> None:
    """A watch gives what is there, then every change."""
    names: list[str] = []
    with anyio.fail_after(10):
        async for obj_info in os.watch():
            names.append(f"{obj_info.kind} {obj_info.name}")
            if len(names) == 1:
                await os.put("new.pdf", b"new")
            elif len(names) == 2:
                await os.delete("new.pdf")
            else:
                break

    assert ["put documents/report-2024.pdf", "put new.pdf", "delete new.pdf"] == names


async def test_watch_is_awaited(os: ObjectStore) -> None:
    """A NATS client's watcher gives `None` once after the current values."""
    watcher = await os.watch()
    first = await watcher.updates(timeout=10)
    assert first is not None
    assert "documents/report-2024.pdf" == first.name
    assert await watcher.updates(timeout=10) is None
    with pytest.raises(TimeoutError):
        await watcher.updates(timeout=0.01)
    await watcher.stop()


async def test_status_seal_and_delete(js: Store, os: ObjectStore) -> None:
    """A bucket is described, sealed, and deleted with what it holds."""
    status = await os.status(); status.bucket, status.count, status.size; await os.seal()  # pyright: ignore[reportUnusedExpression]
    assert ("file-storage", 1, len(FILE_DATA)) == (status.bucket, status.count, status.size)
    with pytest.raises(objstore.SealedError):
        await os.put("late.pdf", b"")
    assert FILE_DATA == await os.get("documents/report-2024.pdf")

    await js.create_object_store(bucket="old-files")
    await js.delete_object_store("old-files")
    assert ["file-storage"] == await js.object_store_names()
