"""An upload as a state machine: feed slabs, get chunk records, then the extents.

Pure. Slabs are whole numbers of chunks, but the last.
"""

from __future__ import annotations

from objstore._engine import Buffer, Chunk, Extent


class Upload:
    """What one put attempt has cut and appended so far."""

    def __init__(self, *, nuid: bytes, chunk_bytes: int) -> None:
        assert chunk_bytes > 0
        self.nuid = nuid
        self.chunk_bytes = chunk_bytes
        self.size: int = 0
        """Bytes that were fed."""
        self.count: int = 0
        """Chunks that they make."""
        self._extents: list[Extent] = []

    def feed(self, slab: Buffer) -> tuple[Chunk, ...]:
        """Cut a slab into its chunks; no slab may follow one with a short chunk."""
        assert self.size == self.count * self.chunk_bytes, "a short chunk is the last"
        view = memoryview(slab)
        starts = range(0, len(view), self.chunk_bytes)
        chunks = tuple(
            Chunk(
                nuid=self.nuid,
                index=self.count + number,
                data=slab if len(starts) == 1 else view[at : at + self.chunk_bytes],
            )
            for number, at in enumerate(starts)
        )
        self.size += len(view)
        self.count += len(chunks)
        return chunks

    def place(self, chunks: tuple[Chunk, ...], first_sequence: int) -> None:
        """Take down where a slab's chunks were appended, in the order of `feed`."""
        size = sum(len(chunk.data) for chunk in chunks)
        extent = Extent(first=first_sequence, count=len(chunks), size=size)
        if self._extents:
            last = self._extents[-1]
            if last.first + last.count == first_sequence:
                extent = Extent(last.first, last.count + extent.count, last.size + size)
                self._extents.pop()
        self._extents.append(extent)

    @property
    def extents(self) -> tuple[Extent, ...]:
        """Where all chunks are that were appended before the meta."""
        return tuple(self._extents)
