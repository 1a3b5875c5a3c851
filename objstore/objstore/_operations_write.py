"""Putting content: small objects in one append, large ones slab by slab.

A put keeps its first slab back until it knows whether a second one follows. Chunks of
a large put are invisible until its meta refers to them; a put that fails or is
cancelled says that none ever will.
"""

from __future__ import annotations

import hashlib
import mimetypes
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, TypeAlias
from weakref import finalize

from objstore._config import ObjectStoreConfig, nanoseconds_of
from objstore._digest import digest_text, parse_digest
from objstore._document import Document, encode_document, info_of
from objstore._drivers import Shielded
from objstore._effects import Blocking, HashAhead, ReadSource, Source, compute
from objstore._engine import (
    Abort,
    Append,
    Buffer,
    Chunk,
    GetBucket,
    Last,
    Meta,
    Steps,
    call,
)
from objstore._expiry import Scope
from objstore._metas import MetaOptions, PutMeta, plain_meta, resolve_meta
from objstore._names import nuid_text
from objstore._operations import (
    Standing,
    append,
    change,
    check_free,
    check_match,
    config_of,
    standing,
)
from objstore._ranges import check_match_option, slab_bytes
from objstore._sources import PathSource, Pieces
from objstore._types import ObjectInfo, ObjectMeta
from objstore._upload import Upload
from objstore.errors import DigestMismatchError, ObjStoreError
from objstore_log import value_class

SLAB_BYTES = 1024 * 1024
"""What an object may have to be put in one append."""
LARGE_SLAB_BYTES = 2 * 1024 * 1024
"""What larger ones are read and appended in: fewer waits, still bounded memory."""
HASHED_SLABS_MAX = 2
"""How far hashing may be behind appending."""

Progress: TypeAlias = Callable[[int, int | None], object]
"""Called per slab with the bytes that are done and their total, if it is known."""


class PutOptions(MetaOptions, total=False):
    """The options of a put, as `upload` and `open_writer` take them."""

    create: bool
    if_match: int | None
    expected_digest: str | bytes | None
    progress: Progress | None


@value_class
class PutRequest:
    """What a put has to do, checked."""

    meta: PutMeta
    ttl_ns: int | None
    """How long the content lives; `None` is for ever."""
    create: bool = False
    if_match: int | None = None
    digest: bytes | None = None
    """What the content's digest has to be."""
    progress: Progress | None = None
    incarnation: str | None = None
    """Of the bucket that it goes into: never into one that was made again."""


def ttl_of(config: ObjectStoreConfig, ttl_ns: int | None) -> int | None:
    """Give how long a content lives: as the put says, else as its bucket says."""
    return (nanoseconds_of(config.ttl) if ttl_ns is None else ttl_ns) or None


def request_of(
    scope: Scope, name: str, options: PutOptions, guessed: ObjectMeta | None = None
) -> Steps[PutRequest]:
    """Check the arguments of a put.

    Args:
        scope: The bucket.
        name: The object.
        options: What the caller gave.
        guessed: What an upload found by itself.

    Raises:
        TypeError: there is no such option.
        BadObjectMetaError: one of them is not allowed.
    """
    for key in options.keys() - PutOptions.__optional_keys__:
        method = "upload" if guessed else "open_writer"
        problem = f"{method}() got an unexpected keyword argument {key!r}"
        raise TypeError(problem)
    state = yield from call(GetBucket(scope.bucket))
    config = config_of(state.document)
    if guessed is None and _says_nothing(options):
        plain = plain_meta(scope.bucket, name, config.chunk_size)
        ttl_ns = ttl_of(config, None)
        return PutRequest(plain, ttl_ns, incarnation=state.incarnation)
    expected = options.get("expected_digest")
    meta = resolve_meta(
        scope.bucket,
        name,
        options,
        bucket_chunk_size=config.chunk_size,
        guessed=guessed,
    )
    return PutRequest(
        meta,
        ttl_of(config, meta.ttl_ns),
        create=options.get("create", False),
        if_match=check_match_option(options.get("if_match")),
        digest=None if expected is None else parse_digest(expected),
        progress=options.get("progress"),
        incarnation=state.incarnation,
    )


def _says_nothing(options: PutOptions) -> bool:
    """Say whether no argument of a put but its name and its content was given."""
    for key, given in options.items():
        if given is not None and not (key == "create" and given is False):
            return False
    return True


class Put:
    """One put: takes slabs, commits once, or is abandoned."""

    def __init__(self, scope: Scope, request: PutRequest) -> None:
        meta = request.meta
        self._scope = Scope(scope.engine, scope.bucket, request.incarnation)
        self._request = request
        self._name = meta.document.name
        self._upload = Upload(
            nuid=scope.engine.new_nuid(), chunk_bytes=meta.chunk_bytes
        )
        self.total: int | None = None
        """Bytes that will come, where they are known."""
        self._pieces = Pieces()
        self._held: Buffer | None = None
        self._hashing: HashAhead | None = None
        self._replaced = 0
        self._is_committing = False
        self._forgotten: finalize[Any, Put] | None = None
        """Aborts it when nobody ended it."""

    @property
    def wanted(self) -> int:
        """Give the size of the next slab; only the last one may be smaller."""
        limit = (
            SLAB_BYTES if self._held is None and self.size == 0 else LARGE_SLAB_BYTES
        )
        return slab_bytes(self._upload.chunk_bytes, limit)

    @property
    def size(self) -> int:
        """Give the bytes that were sent to the engine."""
        return self._upload.size

    def feed(self, piece: Buffer) -> Steps[None]:
        """Take content in pieces of any size."""
        self._pieces.add(piece)
        while self._pieces.size >= self.wanted:
            yield from self.write(self._pieces.take(self.wanted))

    def write(self, slab: Buffer) -> Steps[None]:
        """Take a slab of `wanted` bytes, or the last one.

        Raises:
            ObjectAlreadyExists: the name is taken, and the put was to make it.
            PreconditionFailedError: the name is at another sequence than `if_match`.
            LimitExceededError: the content is too large for the bucket.
        """
        if self._hashing is None and self._held is None:
            self._held = slab
            return
        if self._hashing is None:
            # Before a large content is sent, so that it is not sent in vain.
            before = yield from standing(self._scope, self._name)
            self._check(before)
            self._replaced = before.size
            self._hashing = HashAhead()
            abort = Abort(self._scope.bucket, self._upload.nuid)
            self._forgotten = finalize(self, self._scope.engine.drop, abort)
            self._forgotten.atexit = False
        if self._held is not None:
            held, self._held = self._held, None
            yield from self._send(held, self._hashing)
        yield from self._send(slab, self._hashing)

    def _check(self, before: Standing) -> None:
        if self._request.create:
            check_free(self._scope, self._name, before)
        check_match(self._scope, self._name, before, self._request.if_match)

    def _send(self, slab: Buffer, hashing: HashAhead) -> Steps[None]:
        hashing.submit(slab)
        chunks = self._upload.feed(slab)
        to_come = max(self.size, self.total or 0) - self._replaced
        result = yield from append(
            self._scope,
            Append(
                self._scope.bucket,
                chunks,
                visible=False,
                size_delta=to_come,
                incarnation=self._scope.incarnation,
            ),
        )
        self._upload.place(chunks, result.first_sequence)
        self._tell()
        yield from hashing.hashed_below(HASHED_SLABS_MAX)

    def _tell(self) -> None:
        if self._request.progress is not None:
            self._request.progress(self.size, self.total)

    def commit(self) -> Steps[ObjectInfo]:
        """Make the content visible under its name.

        Raises:
            DigestMismatchError: it is not what `expected_digest` says.
            ObjStoreError: as `write`.
        """
        if self._pieces.size:
            yield from self.write(self._pieces.take(self._pieces.size))
        chunks: tuple[Chunk, ...] = ()
        if self._hashing is None:
            slab = self._held or b""
            digest = yield from compute(
                lambda: hashlib.sha256(slab).digest(), len(slab)
            )
            self._check_digest(digest)
            chunks = self._upload.feed(slab)
            self._tell()
        else:
            yield from self._hashing.hashed_below(1)
            digest = self._hashing.digest()
            self._check_digest(digest)
        document = self._document(digest)
        meta = self._meta(document)

        def build(before: Mapping[str, Standing]) -> Sequence[Chunk | Meta]:
            self._check(before[self._name])
            return (*chunks, meta)

        self._is_committing = True
        result = yield from change(self._scope, (self._name,), build)
        self._end()
        return info_of(self._scope.bucket, result.metas[-1], document)

    def _end(self) -> None:
        if self._forgotten is not None:
            self._forgotten.detach()

    def _check_digest(self, digest: bytes) -> None:
        expected = self._request.digest
        if expected is not None and digest != expected:
            raise DigestMismatchError(
                bucket=self._scope.bucket,
                name=self._name,
                expected=digest_text(expected),
                actual=digest_text(digest),
                stored=False,
            )

    def _document(self, digest: bytes) -> Document:
        upload = self._upload
        return self._request.meta.document.with_content(
            nuid_text(upload.nuid), upload.size, upload.count, digest
        )

    def _meta(self, document: Document) -> Meta:
        upload = self._upload
        return Meta(
            name=self._name,
            document=encode_document(document),
            change="put",
            nuid=upload.nuid,
            size=upload.size,
            chunk_bytes=upload.chunk_bytes,
            extents=upload.extents,
            ttl_ns=self._request.ttl_ns,
        )

    def abandon(self) -> Steps[None]:
        """Give back what was appended; the failure that led here goes first."""
        if self._hashing is None:
            return
        with suppress(ObjStoreError, TimeoutError):
            yield from call(Shielded(self._give_back()))

    def _give_back(self) -> Steps[None]:
        nuid = self._upload.nuid
        if self._is_committing:
            # An interrupt may have come after the commit, which then counts.
            stored = yield from call(Last(self._scope.bucket, self._name))
            if stored is not None and stored.nuid == nuid:
                return
        yield from call(Abort(self._scope.bucket, nuid))
        self._end()


def put(
    scope: Scope,
    name: str,
    source: Source,
    options: PutOptions,
    guessed: ObjectMeta | None = None,
) -> Steps[ObjectInfo]:
    """Put a source's content under a name."""
    try:
        request = yield from request_of(scope, name, options, guessed)
        writing = Put(scope, request)
        try:
            yield from _send_all(writing, source)
            return (yield from writing.commit())
        except BaseException:
            yield from writing.abandon()
            raise
    finally:
        source.close()


def _send_all(writing: Put, source: Source) -> Steps[None]:
    done = 0
    while True:
        wanted = writing.wanted
        slab = yield from call(ReadSource(source, wanted))
        writing.total = source.total
        done += len(slab)
        if slab:
            yield from writing.write(slab)
        if len(slab) < wanted or done == source.total:
            return


def upload(
    scope: Scope, name: str, path: str | os.PathLike[str], options: PutOptions
) -> Steps[ObjectInfo]:
    """Put a file, with its name and its type unless they are given."""
    # A guess has none of what no file name may have, so that no upload fails by it.
    text = os.fsdecode(path)
    found: str = os.path.basename(text)  # noqa: PTH119 - text, not a place
    # The first guess reads the machine's table of types.
    guess = yield from call(Blocking(partial(mimetypes.guess_type, text)))
    guessed = ObjectMeta(
        filename=found if found.isprintable() else None, content_type=guess[0]
    )
    return (yield from put(scope, name, PathSource(path), options, guessed))
