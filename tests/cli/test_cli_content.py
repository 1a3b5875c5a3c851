"""Content through the command line: files, trees, streams."""

import os
from pathlib import Path

import pytest

from .harness import Cli


def tree(place: Path) -> Path:
    """Make a directory with files, a directory, and what is no file."""
    root = place / "tree"
    (root / "inner").mkdir(parents=True)
    (root / "one").write_text("1")
    (root / "inner" / "two").write_text("2")
    (root / "linked").symlink_to(root / "one")
    (root / "loop").symlink_to(root)
    os.mkfifo(root / "pipe")
    return root


def names(cli: Cli) -> list[str]:
    """List all names in the bucket `new`."""
    return cli("ls", "-r", "new").out.splitlines()


@pytest.mark.parametrize(
    ("target", "start"), [("new/", "tree/"), ("new/in/", "in/tree/"), ("new/x", "x/")]
)
def test_tree_is_put_as_cp_does(cli: Cli, place: Path, target: str, start: str) -> None:
    """A slash takes the directory into the target; a name takes its place."""
    tree(place)
    cli("bucket", "create", "new")

    outcome = cli("put", "-r", "tree", target)

    assert outcome.status == 1
    assert [f"{start}inner/two", f"{start}linked", f"{start}one"] == names(cli)


def test_what_cannot_be_stored_is_told(cli: Cli, place: Path) -> None:
    """What a tree holds and no object can be is left out and told; the rest is put."""
    root = tree(place)
    (root / "dangling").symlink_to("nowhere")
    (root / "a\nb").touch()
    (root / os.fsdecode(b"\xff")).touch()
    cli("bucket", "create", "new")

    outcome = cli("put", "-r", "tree", "new/")

    assert outcome.status == 1
    for line in (
        "tree/loop links to a directory",
        "tree/dangling is no file",
        "tree/pipe is no file",
        "'tree/a\\nb': object name 'tree/a\\nb' has the control character U+000A",
        "'tree/\\udcff': object name 'tree/\\udcff' has the surrogate U+DCFF",
    ):
        assert f"objstore: left out: {line}" in outcome.err
    assert outcome.err.count("\n") == 5
    assert names(cli) == ["tree/inner/two", "tree/linked", "tree/one"]


def test_whole_tree_ends_with_zero(cli: Cli, bucket: str, place: Path) -> None:
    """Nothing was left out, and the status says so."""
    tree(place)

    assert cli("put", "-r", "tree/inner", "b/").status == 0


def test_bad_name_stores_nothing(cli: Cli, bucket: str, place: Path) -> None:
    """All names are looked at before the first file is stored."""
    (place / "a\nb").touch()
    outcome = cli("put", "hello.txt", "a\nb", "b/new/")

    assert outcome.status == 2
    assert "U+000A" in outcome.err
    assert cli("ls", "b/new/").out == ""


@pytest.mark.parametrize("path", ["missing/", "missing/.", "hello.txt/", ""])
def test_get_into_no_directory_makes_no_file(
    cli: Cli, bucket: str, place: Path, path: str
) -> None:
    """What can only be a directory and is none is refused."""
    before = set(place.iterdir())
    outcome = cli("get", "b/docs/one", path)

    assert outcome.status in {1, 3}
    assert "directory" in outcome.err
    assert before == set(place.iterdir())


def test_current_directory_gives_its_content(
    cli: Cli, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The directory `.` has no name, so its files stand right in the target."""
    monkeypatch.chdir(tree(place))
    store = f"--store={place / 'store'}"
    cli("bucket", "create", "new", store)

    cli("put", "-r", ".", "new/", store)

    listed = cli("ls", "-r", "new", store).out.splitlines()
    assert ["inner/two", "linked", "one"] == listed


def test_missing_file_stores_nothing(cli: Cli, bucket: str) -> None:
    """All files are looked at before the first one is stored."""
    outcome = cli("put", "hello.txt", "nofile", "b/new/")

    assert outcome.status == 3
    assert cli("ls", "b/new/").out == ""


def test_standard_input_is_put(cli: Cli, bucket: str) -> None:
    """A dash stores what comes through the pipe, byte for byte."""
    content = bytes(range(256)) * 5_000
    outcome = cli("put", "-", "b/stream", stdin=content)

    assert outcome.out == "b/stream  1.2 MiB\n"
    assert cli("get", "b/stream", "back").status == 0
    assert content == Path("back").read_bytes()


@pytest.mark.parametrize("name", ["-", "--json", "-r"])
def test_dashes_behind_two_dashes_are_names(
    cli: Cli, bucket: str, place: Path, name: str
) -> None:
    """Behind `--` a word is what it says, and a dash still is standard input."""
    (place / name).write_text("file")
    outcome = cli("put", "--", name, "b/x", stdin=b"input")

    assert outcome.status == 0
    content = "input" if name == "-" else "file"
    assert content == cli("cat", "b/x").out


def test_get_takes_the_last_part_of_the_name(
    cli: Cli, bucket: str, place: Path
) -> None:
    """Without a path the file is named as the object's name ends."""
    (place / "directory").mkdir()

    assert cli("get", "b/docs/deep/two").out == "two  6 bytes\n"
    assert cli("get", "b/docs/deep/two", "directory").status == 0
    assert (place / "two").read_text() == "hello\n"
    assert (place / "directory" / "two").read_text() == "hello\n"


def test_name_is_no_path(cli: Cli, bucket: str, place: Path) -> None:
    """A name that climbs out of a directory does not do so here."""
    cli("put", "hello.txt", "b/../../evil")
    cli("put", "hello.txt", "b/a/..")

    assert cli("get", "b/../../evil").out == "evil  6 bytes\n"
    assert cli("get", "b/a/..").status == 2


def test_get_replaces_what_a_link_points_to(cli: Cli, bucket: str, place: Path) -> None:
    """A symbolic link stays one."""
    (place / "link").symlink_to(place / "target")

    assert cli("get", "b/hello.txt", "link").status == 0
    assert (place / "link").is_symlink()
    assert (place / "target").read_text() == "hello\n"


def test_get_writes_into_a_device(cli: Cli, bucket: str) -> None:
    """A device is written to, not replaced by a file."""
    before = Path(os.devnull).stat()

    assert cli("get", "b/hello.txt", os.devnull).status == 0
    assert before.st_rdev == Path(os.devnull).stat().st_rdev != 0


def test_object_named_like_a_directory_is_one_object(cli: Cli, bucket: str) -> None:
    """Without `-r` a name that ends in a slash is just a name."""
    outcome = cli("rm", "b/docs/")

    assert outcome.status == 3
    assert cli("ls", "b/docs/").out == "docs/deep/\ndocs/one\n"


def test_object_moves_to_another_bucket(cli: Cli, bucket: str) -> None:
    """A move between buckets takes the content along, and links as links."""
    cli("bucket", "create", "other")

    assert cli("mv", "b/hello.txt", "other/").out == "other/hello.txt  6 bytes\n"
    assert cli("mv", "b/link", "other/").out == "other/link -> b/docs/one\n"
    assert cli("ls", "-r", "b").out == "docs/deep/two\ndocs/one\n"
    assert cli("cat", "other/link").out == "hello\n"


def test_move_over_a_name_in_another_bucket_is_refused(cli: Cli, bucket: str) -> None:
    """A refused move leaves both objects as they are."""
    cli("bucket", "create", "other")
    cli("put", "-", "other/hello.txt", stdin=b"other")

    assert cli("mv", "b/hello.txt", "other/").status == 4
    assert cli("cat", "other/hello.txt").out == "other"
    assert cli("cat", "b/hello.txt").out == "hello\n"


def test_expired_object_is_gone(cli: Cli, bucket: str) -> None:
    """A time to live that is over hides the object before retention runs."""
    assert cli("put", "hello.txt", "b/short", "--ttl", "0.001").status == 0

    assert cli("cat", "b/short").status == 3


def test_long_listing_goes_over_pages(
    cli: Cli, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A directory of many pages is listed whole, in order."""
    monkeypatch.setattr("objstore.cli._list.PAGE", 1)

    assert cli("ls", "b").out == "docs/\nhello.txt\nlink\n"
