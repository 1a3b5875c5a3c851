"""Puts numbered objects until its input ends; says each number when it is durable."""

import select
import sys

import objstore

if __name__ == "__main__":
    path, name = sys.argv[1:3]
    with objstore.open(path, create=False, retention_interval=0.05) as store:
        bucket = store.object_store("live")
        number = 0
        while not select.select([sys.stdin], [], [], 0)[0]:
            bucket.put(f"{name}/{number:06}", f"{number}".encode() * 3_000)
            if number >= 30:
                bucket.delete(f"{name}/{number - 30:06}")
            sys.stdout.write(f"{number}\n")
            sys.stdout.flush()
            number += 1
