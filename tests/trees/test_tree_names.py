"""Names of objects as paths of files, and back."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from objstore.transfer._tree_names import beside_directory, name_of, parts_of

HOSTILE = st.text(
    st.one_of(
        st.sampled_from("/.%~+ab0ECF2\\:*?"),
        st.characters(exclude_categories=["Cs", "Cc"]),
    ),
    min_size=1,
    max_size=300,
)


@given(HOSTILE)
@example("a/../../etc/passwd")
@example("/")
@example("//")
@example(".objstore-export.jsonl")
@example("." * 1024)
@example("%" * 1024)
@example("x/" * 512)
@example("\u20ac" * 341)
@example("%+")
@example("a%+/b")
def test_every_name_has_a_path_that_means_it(name: str) -> None:
    """A path is safe, has no part that is too long, and gives its name back."""
    parts = parts_of(name)

    assert all(0 < len(part.encode()) <= 203 for part in parts)
    assert not {".", ".."} & set(parts)
    assert not any("/" in part or part.startswith(".objstore-") for part in parts)
    assert name == name_of(parts) == name_of(beside_directory(parts))


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("plain/name.txt", "plain/name.txt"),
        ("50% off", "50%25 off"),
        ("../up", "%2E./up"),
        (".", "%2E"),
        ("/rooted//twice/", "%/rooted/%/twice/%"),
        (".objstore-export.jsonl", "%2Eobjstore-export.jsonl"),
        (".hidden", ".hidden"),
        ("a" * 250, "a" * 200 + "%+/" + "a" * 50),
    ],
)
def test_path_is_what_is_written_down(name: str, path: str) -> None:
    """The rule of the escapes is the documented one."""
    assert path == "/".join(parts_of(name))
