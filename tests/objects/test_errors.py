"""The errors: what they also are, their exit statuses, and that they can be pickled."""

import copy
import pickle
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from objstore import errors
from objstore._engine import BucketState
from objstore.errors import EXIT_STATUS, ObjStoreError, exit_status

STATE = BucketState("media", b"{}", "i1", sealed=False, max_bytes=-1)
VALUE = {"field": "name", "value": "a\nb", "problem": "is bad", "hint": "mend it"}
SAMPLES: list[ObjStoreError] = [
    errors.BucketNotFoundError(bucket="media"),
    errors.ObjectNotFoundError(bucket="media", name="a/b", link="other/x"),
    errors.ObjectDeletedError(bucket="media", name="a/b", sequence=7),
    errors.ConsumerNotFoundError(bucket="media", name="thumbs"),
    errors.VersionExpiredError(
        bucket="media", name="a/b", at=datetime(2026, 1, 2, tzinfo=UTC)
    ),
    errors.BucketExistsError(bucket="media", differing=("ttl",), state=STATE),
    errors.PreconditionFailedError(bucket="media", name="a", expected=3, actual=4),
    errors.ObjectAlreadyExists(bucket="media", name="a", actual=4),
    errors.BadStoreError(**VALUE),
    errors.BadBucketError(**VALUE),
    errors.BadObjectMetaError(**VALUE),
    errors.ConsumerConfigError(**VALUE),
    errors.InvalidRangeError(bucket="media", name="a", start=9, end=None, size=5),
    errors.LinkIsABucketError(bucket="media", name="a", target="other"),
    errors.WrongEventLoopError(what="the store ./data"),
    errors.SealedError(bucket="media"),
    errors.LimitExceededError(bucket="media", max_bytes=10, size=8, wanted=3),
    errors.LeaseLostError(bucket="media", consumer="thumbs", sequence=7),
    errors.DigestMismatchError(
        bucket="media", name="a", expected="x", actual="y", stored=True
    ),
    errors.EncryptionError("the key provider failed"),
    errors.KeyNotFoundError(key_id="k1"),
    errors.WrongKeyError(key_id="k1"),
    errors.KeyFormatError(problem="it has 31 bytes"),
]


class LaterError(errors.DigestMismatchError):
    """A class that the table does not know."""

    def __init__(self, message: str) -> None:
        ObjStoreError.__init__(self, message)


IDS = [type(sample).__name__ for sample in SAMPLES]
BUILTINS: dict[type[ObjStoreError], type[Exception]] = {
    errors.StoreNotFoundError: FileNotFoundError,
    errors.BucketNotFoundError: FileNotFoundError,
    errors.ObjectNotFoundError: FileNotFoundError,
    errors.ObjectDeletedError: errors.ObjectNotFoundError,
    errors.ConsumerNotFoundError: FileNotFoundError,
    errors.VersionExpiredError: FileNotFoundError,
    errors.BucketExistsError: FileExistsError,
    errors.ObjectAlreadyExists: FileExistsError,
    errors.BadStoreError: ValueError,
    errors.BadBucketError: ValueError,
    errors.BadObjectMetaError: ValueError,
    errors.InvalidRangeError: ValueError,
    errors.ConsumerConfigError: ValueError,
    errors.BadWatchError: ValueError,
    errors.BadCursorError: ValueError,
    errors.CursorForeignError: ValueError,
    errors.WrongEventLoopError: RuntimeError,
    errors.SealedError: PermissionError,
    errors.StorageError: OSError,
    errors.PoisonedError: OSError,
    errors.BusyError: TimeoutError,
    errors.KeyNotFoundError: errors.EncryptionError,
    errors.WrongKeyError: errors.EncryptionError,
    errors.KeyFormatError: errors.EncryptionError,
}


def _public_classes() -> Iterator[type[ObjStoreError]]:
    for name in errors.__all__:
        value = getattr(errors, name)
        if isinstance(value, type) and issubclass(value, ObjStoreError):
            yield value


@pytest.mark.parametrize("kind", BUILTINS, ids=lambda kind: kind.__name__)
def test_error_is_the_builtin_that_fits(kind: type[ObjStoreError]) -> None:
    """An error is caught by who knows only builtins."""

    assert issubclass(kind, BUILTINS[kind])


def test_taken_name_is_a_failed_precondition() -> None:
    """Both ways to lose a race are caught as one."""

    assert issubclass(errors.ObjectAlreadyExists, errors.PreconditionFailedError)


def test_exit_statuses_are_total() -> None:
    """Every public class has its own row in the table."""

    assert [] == [kind for kind in _public_classes() if kind not in EXIT_STATUS]


def test_every_class_of_the_layer_is_sampled() -> None:
    """The samples of this file leave out no class that this layer defines."""
    own = {kind for kind in _public_classes() if kind.__module__ == "objstore.errors"}

    assert own == {type(sample) for sample in SAMPLES}


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (errors.ObjectDeletedError(bucket="b", name="n", sequence=1), 3),
        (errors.ObjectAlreadyExists(bucket="b", name="n", actual=1), 4),
        (errors.SealedError(bucket="b"), 7),
        (errors.BusyError(path="p", holder_pid=1, waited_s=1.0), 6),
        (errors.BadBucketError(**VALUE), 2),
        (errors.BadStoreError(**VALUE), 2),
        (errors.BadWatchError(option="start", value=-1, allowed="a sequence"), 2),
        (errors.BadCursorError(cursor="x", reason="is no cursor"), 2),
        (errors.CursorForeignError(found="bucket a", expected="bucket b"), 2),
        (FileNotFoundError("p"), 3),
        (NotADirectoryError("p"), 1),
        (KeyboardInterrupt(), 130),
        (LaterError("a later release's own"), 5),
        (ZeroDivisionError(), 1),
    ],
)
def test_exit_status_is_that_of_the_nearest_class(
    error: BaseException, expected: int
) -> None:
    """An error that has no row of its own takes that of its nearest class."""

    assert expected == exit_status(error)


@pytest.mark.parametrize("error", SAMPLES, ids=IDS)
def test_error_survives_pickling(error: ObjStoreError) -> None:
    """Class, text and facts cross a process boundary."""
    read = pickle.loads(pickle.dumps(error))

    assert (type(error), str(error), error.facts) == (
        type(read),
        str(read),
        read.facts,
    )
    assert all(getattr(read, name) == value for name, value in error.facts.items())


@pytest.mark.parametrize("error", SAMPLES, ids=IDS)
def test_error_survives_copying(error: ObjStoreError) -> None:
    """A copy reads like the error."""

    assert str(error) == str(copy.copy(error))


@pytest.mark.parametrize("error", SAMPLES, ids=IDS)
def test_error_has_no_control_characters(error: ObjStoreError) -> None:
    """A name from outside cannot write to the terminal through an error."""

    assert str(error).isprintable()


@pytest.mark.parametrize("error", SAMPLES, ids=IDS)
def test_error_states_its_facts_as_attributes(error: ObjStoreError) -> None:
    """Each annotated fact of a class is there to be read."""
    stated = {
        name
        for kind in type(error).__mro__
        if issubclass(kind, ObjStoreError)
        for name in kind.__annotations__
    }

    assert [] == [name for name in stated if not hasattr(error, name)]


def test_long_value_is_shortened() -> None:
    """A value of a megabyte does not make a message of a megabyte."""
    error = errors.BadObjectMetaError(
        field="object name", value="n" * 2**20, problem="is long", hint="shorten it"
    )

    assert len(str(error)) < 300
    assert "(1048578 characters)" in str(error)


def test_value_that_cannot_be_pickled_is_kept_as_text() -> None:
    """A foreign object in an error does not stop the error from being pickled."""
    error = errors.BadObjectMetaError(
        field="headers", value=lambda: 1, problem="is odd", hint="mend it"
    )

    assert "lambda" in pickle.loads(pickle.dumps(error)).value


@pytest.mark.parametrize(
    ("error", "fragment"),
    [
        (
            errors.InvalidRangeError(bucket="b", name="n", start=9, end=4, size=5),
            "from 9 to 4 of object 'n' in bucket 'b' starts beyond the object's 5",
        ),
        (
            errors.InvalidRangeError(bucket="b", name="n", start=4, end=2, size=5),
            "from 4 to 2 of object 'n' in bucket 'b' ends before it starts",
        ),
        (
            errors.PreconditionFailedError(bucket="b", name="n", expected=3, actual=0),
            "does not exist, expected 3",
        ),
        (
            errors.DigestMismatchError(
                bucket="b", name="n", expected="x", actual="y", stored=False
            ),
            "nothing was stored",
        ),
        (errors.BucketExistsError(bucket="b"), "bucket 'b' exists; open it"),
        (
            errors.ObjectDeletedError(
                bucket="b", name="n", sequence=7, link="other/link"
            ),
            "where the link 'other/link' points, was deleted at sequence 7",
        ),
    ],
)
def test_message_tells_the_case(error: ObjStoreError, fragment: str) -> None:
    """A message says which of its cases it is."""

    assert fragment in str(error)
