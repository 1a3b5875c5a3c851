"""Answers for programs: one document, or a line for each change."""

import json
from typing import Any

import pytest

from .harness import Cli


def answer(cli: Cli, line: str) -> Any:
    """Run a command with `--json`; give its one document."""
    outcome = cli("--json", *line.split())
    assert (outcome.status, outcome.err) == (0, "")
    return json.loads(outcome.out)


@pytest.mark.parametrize(
    ("line", "keys"),
    [
        ("version", {"version", "python"}),
        ("completion bash", {"shell", "script"}),
        ("bucket create x", {"bucket", "count", "sealed", "ttl"}),
        ("bucket info b", {"bucket", "count", "size", "last_sequence"}),
        ("bucket edit b --ttl 1h", {"bucket", "ttl"}),
        ("bucket ls", {"buckets"}),
        ("bucket seal b --yes", {"sealed"}),
        ("bucket rm b --yes", {"bucket", "objects", "bytes", "dry_run"}),
        ("ls", {"buckets"}),
        ("ls b", {"bucket", "prefix", "entries"}),
        ("ls -r b", {"bucket", "prefix", "entries"}),
        ("info b/hello.txt", {"name", "digest", "size", "mtime", "seq"}),
        ("put hello.txt b/", {"objects", "left_out"}),
        ("get b/hello.txt copy", {"name", "digest", "path"}),
        ("cp b/hello.txt b/x", {"name", "nuid"}),
        ("mv b/hello.txt b/x", {"name", "nuid"}),
        ("ln b/hello.txt b/x", {"name", "link"}),
        ("rm b/hello.txt", {"removed", "dry_run"}),
        ("verify", {"ok", "objects", "bytes", "damaged"}),
        ("retention run", {"expired", "removed", "bytes_reclaimed", "dry_run"}),
    ],
)
def test_answer_is_one_document(
    cli: Cli, bucket: str, line: str, keys: set[str]
) -> None:
    """Every command answers with one JSON document when it is asked to."""
    document = answer(cli, line)

    assert keys <= document.keys()


def test_option_may_stand_anywhere(cli: Cli, bucket: str) -> None:
    """`--json` goes before or behind the command."""

    assert cli("--json", "ls").out == cli("ls", "--json").out != ""


def test_listing_has_directories_and_objects(cli: Cli, bucket: str) -> None:
    """A listing names directories as such, in the order of the names."""
    entries = answer(cli, "ls b")["entries"]

    assert ["docs/", "hello.txt", "link"] == [
        entry.get("directory") or entry["name"] for entry in entries
    ]
    assert {"bucket": "b", "name": "docs/one"} == entries[2]["link"]


def test_empty_listing_is_a_document(cli: Cli, bucket: str) -> None:
    """Nothing found is an empty list."""

    assert answer(cli, "ls b/nothing")["entries"] == []
    assert answer(cli, "ls -r b/nothing")["entries"] == []


def test_times_and_durations_are_plain(cli: Cli, bucket: str) -> None:
    """Times are ISO 8601 in UTC, durations are seconds."""
    assert answer(cli, "bucket edit b --ttl 1h30m")["ttl"] == 5_400
    info = answer(cli, "info b/hello.txt")

    assert info["mtime"].endswith("+00:00")
    assert info["expires"] is None


def test_put_options_arrive(cli: Cli, bucket: str) -> None:
    """What is said about an object is stored with it."""
    line = "put hello.txt b/x --description - --content-type text/x --ttl 1d"
    answer(cli, f"{line} --header Author:Ann --metadata a=b --metadata c=d=e")

    info = answer(cli, "info b/x")
    assert info["description"] == "-"
    assert info["content_type"] == "text/x"
    assert info["headers"]["Author"] == "Ann"
    assert info["metadata"] == {"a": "b", "c": "d=e"}
    assert info["expires"] is not None


def test_watch_gives_a_line_for_each_change(cli: Cli, bucket: str) -> None:
    """Every change is a line with its kind, and a cursor to go on with."""
    outcome = cli("watch", "b", "--start", "all", "--no-follow", "--json")
    changes = [json.loads(line) for line in outcome.out.splitlines()]

    kinds = ["put", "put", "put", "put", "link", "delete"]
    assert kinds == [change["kind"] for change in changes]
    rest = cli("--json", "watch", "b", "--after", changes[3]["cursor"], "--no-follow")
    assert changes[4:] == [json.loads(line) for line in rest.out.splitlines()]


def test_watch_takes_prefix_and_kinds(cli: Cli, bucket: str) -> None:
    """A watch can be narrowed to names and to kinds of changes."""
    words = ["watch", "b/docs/", "--start", "all", "--no-follow", "--kinds", "put,link"]
    outcome = cli("--json", *words)

    names = [json.loads(line)["name"] for line in outcome.out.splitlines()]
    assert names == ["docs/one", "docs/deep/two"]


def test_dry_run_changes_nothing(cli: Cli, bucket: str) -> None:
    """What would be removed is named, and stays."""
    before = answer(cli, "ls -r b")

    removed = answer(cli, "rm -r b/ --dry-run")
    assert removed["dry_run"]
    assert len(before["entries"]) == len(removed["removed"])
    assert answer(cli, "bucket rm b --dry-run")["objects"] == 4
    assert before == answer(cli, "ls -r b")
