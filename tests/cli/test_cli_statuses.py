"""One row for each way a command can end: arguments, exit status, what it says."""

import stat
from pathlib import Path

import pytest

import objstore
from objstore.cli._failures import report, text_of

from .harness import Cli

ROWS = [
    # Done.
    ("version", 0, "objstore "),
    ("--version", 0, "."),
    ("--help", 0, "Follow the changes of a bucket"),
    ("bucket", 0, "Make a bucket"),
    ("put --help", 0, "FILE... BUCKET/[NAME]"),
    ("ls", 0, "b\n"),
    ("ls b", 0, "docs/\nhello.txt\nlink\n"),
    ("ls b/docs/", 0, "docs/deep/\ndocs/one\n"),
    ("ls -r b/docs", 0, "docs/deep/two\ndocs/one\n"),
    ("ls -l b", 0, "link -> b/docs/one"),
    ("info b/link", 0, "b/docs/one"),
    ("info b/gone --deleted", 0, "True"),
    ("bucket ls -l", 0, "4 objects"),
    ("bucket info b", 0, "count:          4"),
    ("cat b/hello.txt", 0, "hello\n"),
    ("cat b/link", 0, "hello\n"),
    ("cat b/hello.txt --start -3 --length 2", 0, "lo"),
    ("get b/hello.txt -", 0, "hello\n"),
    ("cp b/hello.txt b/copy", 0, "b/copy"),
    ("cp b/hello.txt b/docs/", 0, "b/docs/hello.txt"),
    ("mv b/hello.txt b/moved", 0, "b/moved"),
    ("mv b/docs/one b/hello.txt --overwrite", 0, "b/hello.txt"),
    ("ln b/ b/whole", 0, "b/whole -> b/"),
    ("rm b/docs/one b/hello.txt", 0, "deleted b/docs/one\ndeleted b/hello.txt\n"),
    ("rm b/nothing --missing-ok", 0, ""),
    ("rm -r b/docs/", 0, "deleted b/docs/deep/two"),
    ("rm -r b/ --yes", 0, "deleted b/link"),
    ("rm b/hello.txt --dry-run", 0, "would delete b/hello.txt"),
    ("bucket rm b --yes", 0, "removed bucket b: 4 objects"),
    ("bucket rm b --dry-run", 0, "would remove bucket b"),
    ("bucket seal b --yes", 0, "sealed bucket b"),
    ("bucket edit b --ttl 7d --max-bytes 1GiB", 0, "7 days"),
    ("bucket create b", 0, "bucket b"),
    ("watch b --no-follow", 0, "hello.txt"),
    ("watch b --start all --count 1", 0, "put     hello.txt"),
    ("verify", 0, "nothing is damaged"),
    ("verify b/docs/", 0, "checked 2 objects"),
    ("retention run --dry-run", 0, "would be given back"),
    ("retention run", 0, "given back"),
    # Wrong arguments.
    ("nonsense", 2, 'Unknown command "nonsense"'),
    ("ls --nonsense", 2, "--nonsense"),
    ("ls b c d", 2, "too many arguments: c d; see: objstore ls --help"),
    ("put", 2, "objstore put FILE... BUCKET/[NAME]"),
    ("put hello.txt", 2, "objstore put FILE... BUCKET/[NAME]"),
    ("bucket create", 2, "objstore bucket create --help"),
    ("cat b", 2, "'b' names no object; write BUCKET/NAME"),
    ("put hello.txt b", 2, "'b' has no slash"),
    ("put . b/", 2, "take it whole with -r"),
    ("put - b/", 2, "standard input has no name"),
    ("put hello.txt hello.txt b/x", 2, "end it in a slash"),
    ("put hello.txt hello.txt b/ --if-match 3", 2, "one at a time"),
    ("put hello.txt b/x --metadata nothing", 2, "'nothing' is no pair"),
    ("put hello.txt b/x --chunk-size 2MiB", 2, "chunk"),
    ("get", 2, "BUCKET/NAME is missing; see: objstore get --help"),
    ("cp b/hello.txt", 2, "BUCKET/[NAME] is missing; see: objstore cp --help"),
    ("cat b/x --start", 2, "--start requires an argument"),
    ("get b/", 2, "'b/' names no object"),
    ("get b/hello.txt - --json", 2, "--json cannot be used here"),
    ("cat b/hello.txt --json", 2, "--json cannot be used here"),
    ("cat b/hello.txt --start 7", 2, "behind the object's 6 bytes"),
    ("rm", 2, "objstore rm BUCKET/NAME..."),
    ("rm -r b/docs", 2, "is no directory"),
    ("rm -r b/", 2, "say it with --yes"),
    ("rm b/x b/y --if-match 1", 2, "one at a time"),
    ("bucket rm b", 2, "say it with --yes"),
    ("bucket seal b", 2, "say it with --yes"),
    ("bucket edit b", 2, "nothing to change"),
    ("bucket create no!", 2, "'no!'"),
    ("bucket create x/y", 2, "name its bucket alone"),
    ("bucket create x --max-bytes lots", 2, "or none for no limit"),
    ("bucket create x --ttl soon", 2, "'soon' is no duration"),
    ("bucket create x --sync maybe", 2, "'maybe' is no way to sync"),
    ("watch b --start yesterday", 2, "'yesterday' is no start"),
    ("watch b --after nonsense", 2, "nonsense"),
    ("watch b --kinds nonsense", 2, "nonsense"),
    ("watch b --start new --no-follow", 2, "would give nothing"),
    ("completion nosuchshell", 2, "nosuchshell"),
    ("demo hello.txt", 2, "is no directory"),
    # Not there.
    ("--store elsewhere ls", 3, "no store at elsewhere"),
    ("ls nobucket", 3, "objstore bucket create nobucket"),
    ("cat b/nothing", 3, "there is no object b/nothing"),
    ("info b/gone", 3, "deleted at sequence"),
    ("rm b/nothing", 3, "there is no object b/nothing"),
    ("mv b/nothing b/x", 3, "there is no object b/nothing"),
    ("ln b/nothing b/x", 3, "there is no object b/nothing"),
    ("put nofile b/", 3, "nofile: No such file"),
    ("get b/hello.txt nodirectory/x", 3, "nodirectory: No such file"),
    ("bucket rm nobucket --yes", 3, "no bucket 'nobucket'"),
    # There already.
    ("bucket create b --ttl 1h", 4, "exists with another ttl"),
    ("put hello.txt b/docs/one --create", 4, "b/docs/one exists"),
    ("put hello.txt b/docs/one --if-match 1", 4, "expected 1"),
    ("cp b/hello.txt b/docs/one -n", 4, "b/docs/one exists"),
    ("mv b/hello.txt b/docs/one", 4, "b/docs/one exists"),
    ("rm b/hello.txt --if-match 999", 4, "expected 999"),
    # Damaged.
    (f"put hello.txt b/x --digest {'0' * 64}", 5, "expected SHA-256=0000"),
]


@pytest.mark.parametrize(("line", "status", "fragment"), ROWS)
def test_command_ends_as_documented(
    cli: Cli, bucket: str, line: str, status: int, fragment: str
) -> None:
    """A command ends with its status; what failed is one line on standard error."""
    outcome = cli(*line.split())

    assert (status, outcome.err) == (outcome.status, outcome.err)
    assert fragment in (outcome.err if status else outcome.out)
    if status:
        assert outcome.err.startswith("objstore: ")
        assert outcome.err.count("\n") == 1
        assert outcome.out == ""
    else:
        assert outcome.err == ""


@pytest.mark.parametrize(
    "line",
    ["put hello.txt b/x", "rm b/hello.txt", "mv b/hello.txt b/x", "ln b/link b/x"],
)
def test_sealed_bucket_refuses_changes(cli: Cli, bucket: str, line: str) -> None:
    """Changes of a sealed bucket end with status 7."""
    assert cli("bucket", "seal", "b", "--yes").status == 0

    outcome = cli(*line.split())

    assert outcome.status == 7
    assert "is sealed" in outcome.err


def test_limit_of_a_bucket_is_told(cli: Cli, bucket: str) -> None:
    """A put that passes `max_bytes` fails, and the text says how to raise it."""
    assert cli("bucket", "create", "small", "--max-bytes", "3").status == 0

    outcome = cli("put", "hello.txt", "small/")

    assert outcome.status == 1
    assert "objstore bucket edit small --max-bytes" in outcome.err


def test_damaged_store_ends_with_five(cli: Cli, bucket: str, place: Path) -> None:
    """Damage is told by name, for reading and for the check, until it is gone."""
    for segment in (place / "objstore-data" / "logs").rglob("*.seg"):
        content = segment.read_bytes()
        segment.write_bytes(content.replace(b"hello\n", b"jello\n"))

    verify, cat = cli("verify"), cli("cat", "b/hello.txt")

    assert verify.status == 5
    assert "damaged: b/hello.txt" in verify.out
    assert cat.status == 5
    assert cat.out == ""

    for words in (["--repair", "--dry-run"], ["--dry-run"]):
        planned = cli("verify", *words)
        assert planned.status == 5
        assert "would be quarantined: b/hello.txt" in planned.out
        assert not (place / "objstore-data" / "quarantine").exists()
    repair = cli("verify", "--repair")
    assert repair.status == 5
    assert "quarantined: b/hello.txt" in repair.out
    assert "lost: b/hello.txt" in repair.out
    assert cli("rm", "b/hello.txt").status == 0
    assert "b/hello.txt" not in cli("verify").out


def test_held_lock_ends_with_six(cli: Cli, bucket: str) -> None:
    """Another process that holds the lock too long is named."""
    error = objstore.BusyError(path="logs/1", holder_pid=4711, waited_s=1.0)

    assert report(error) == 6
    assert "4711" in text_of(error)


def test_unreadable_file_ends_with_seven(cli: Cli, bucket: str) -> None:
    """A file that may not be read is denied."""

    assert report(PermissionError(13, "Permission denied", "secret")) == 7


@pytest.mark.parametrize(
    "line", ["ls", "ls b", "cat b/x", "info b/x", "verify", "watch b", "retention run"]
)
def test_reading_makes_no_store(cli: Cli, place: Path, line: str) -> None:
    """A command that reads says that there is no store, and makes none."""
    outcome = cli(*line.split())

    assert outcome.status == 3
    assert "no store at" in outcome.err
    assert [] == list(place.iterdir())


@pytest.mark.parametrize("line", ["put file b/", "bucket edit b --ttl 1h", "rm b/x"])
def test_only_making_a_bucket_makes_a_store(cli: Cli, place: Path, line: str) -> None:
    """A change of what cannot be there makes no store either."""
    (place / "file").touch()
    outcome = cli(*line.split())

    assert outcome.status == 3
    assert [place / "file"] == list(place.iterdir())


def test_store_comes_from_option_then_variable(
    cli: Cli, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`--store` goes before `$OBJSTORE`, which goes before the default."""
    monkeypatch.setenv("OBJSTORE", str(place / "variable"))
    cli("bucket", "create", "one")
    cli("bucket", "create", "two", "--store", f"file:{place / 'option'}")

    assert stat.S_ISDIR((place / "variable").stat().st_mode)
    assert cli("ls").out == "one\n"
    assert cli("--store", place / "option", "ls").out == "two\n"
    assert not (place / "objstore-data").exists()


def test_empty_store_is_refused(
    cli: Cli, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A script's unset variable in `--store` is not the default store."""
    monkeypatch.setenv("OBJSTORE", str(place / "variable"))
    outcome = cli("--store", "", "bucket", "create", "one")

    assert outcome.status == 2
    assert [] == list(place.iterdir())


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("file://{place}/some%20store", "some store"),
        ("file://localhost{place}/some%20store", "some store"),
        ("FILE://LocalHost{place}/some store", "some store"),
        ("file:{place}/some%20store", "some%20store"),
        ("FILE:{place}/some store", "some store"),
        ("File:some store", "some store"),
        ("memory", "memory"),
        ("./file:x", "file:x"),
    ],
)
def test_store_is_where_its_url_says(
    cli: Cli, place: Path, url: str, name: str
) -> None:
    """Of a URL the scheme's case does not matter; with `//` it has escapes."""
    assert cli("--store", url.format(place=place), "bucket", "create", "x").status == 0

    assert [place / name] == list(place.iterdir())


def test_store_is_found_by_the_url_of_its_path(cli: Cli, place: Path) -> None:
    """What `Path.as_uri` gives means the path, whatever is in its name."""
    folder = place / "a%20b c?d#e\udcff"
    cli("--store", folder, "bucket", "create", "x")

    assert cli("--store", folder.as_uri(), "ls").out == "x\n"


def test_message_is_one_line() -> None:
    """Whatever an error says, it is told in one line."""

    assert text_of(OSError("a\nb\n  c")) == "a b c"
    assert text_of(OSError(28, "No space left on device")) == "No space left on device"
