"""A bucket's configuration: its normal form, its limits, its JSON."""

import builtins
from dataclasses import fields, replace
from datetime import timedelta
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

import objstore
from objstore._config import (
    ObjectStoreConfig,
    check_config,
    check_update,
    decode_config,
    differing_fields,
    duration_of,
    encode_config,
    engine_options,
    nanoseconds_of,
    resolve_config,
    seconds_of,
)
from objstore._engine import BucketOptions
from objstore._types import Placement
from objstore.errors import BadBucketError

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=10)
DURATION = st.timedeltas(timedelta(), timedelta(days=36_525))
CONFIGS = st.builds(
    ObjectStoreConfig,
    bucket=st.from_regex("[a-zA-Z0-9_-]{1,20}", fullmatch=True),
    description=st.none() | TEXT,
    ttl=st.none() | DURATION | st.integers(0, 10**9) | st.floats(0, 1e9),
    max_bytes=st.just(-1) | st.integers(0, 2**63 - 1),
    storage=st.sampled_from(["file", "memory"]),
    replicas=st.integers(1, 5),
    placement=st.none()
    | st.builds(Placement, st.none() | TEXT, st.lists(TEXT, max_size=2).map(tuple)),
    metadata=st.none() | st.dictionaries(TEXT, TEXT, max_size=2),
    chunk_size=st.none() | st.integers(1, 2**20),
    segment_bytes=st.none() | st.integers(1_024, 2**30),
    changes_ttl=DURATION,
    changes_max_bytes=st.integers(0, 2**40),
    sync=st.sampled_from(["always", "never"]) | st.integers(1, 3_600),
)


@given(CONFIGS)
def test_config_survives_its_json(config: ObjectStoreConfig) -> None:
    """A checked configuration that is written and read is the same."""
    checked = check_config(config)

    assert checked == decode_config(encode_config(checked))


@given(CONFIGS)
def test_check_is_idempotent(config: ObjectStoreConfig) -> None:
    """The normal form of a normal form is itself."""
    checked = check_config(config)

    assert checked == check_config(checked)


@pytest.mark.parametrize(
    "change",
    [
        {"ttl": 3_600},
        {"ttl": 3_600.0},
        {"ttl": timedelta(hours=1), "max_bytes": 0},
        {"ttl": timedelta(hours=1), "metadata": {}, "description": ""},
        {"ttl": timedelta(hours=1), "changes_ttl": 7 * 86_400},
    ],
    ids=str,
)
def test_same_meaning_is_the_same_config(change: dict[str, Any]) -> None:
    """Durations in either form, and nothing in either form, are equal."""
    expected = check_config(ObjectStoreConfig("b", ttl=timedelta(hours=1)))

    assert expected == check_config(ObjectStoreConfig("b", **change))


def test_ttl_of_zero_is_none() -> None:
    """A time to live of 0 is for ever, as on JetStream."""

    assert check_config(ObjectStoreConfig("b", ttl=0)).ttl is None


def test_metadata_is_copied() -> None:
    """Changing the mapping afterwards does not change the configuration."""
    metadata = {"a": "1"}
    config = check_config(ObjectStoreConfig("b", metadata=metadata))
    metadata["a"] = "2"

    assert config.metadata == {"a": "1"}


@pytest.mark.parametrize(
    "change",
    [
        {"bucket": ""},
        {"bucket": "a b"},
        {"description": 7},
        {"description": "\ud800"},
        {"description": "a" * 65_537},
        {"ttl": -1},
        {"ttl": timedelta(microseconds=-1)},
        {"ttl": timedelta.max},
        {"ttl": float("nan")},
        {"ttl": float("inf")},
        {"ttl": "1h"},
        {"max_bytes": -2},
        {"max_bytes": 2**63},
        {"max_bytes": 1.5},
        {"max_bytes": True},
        {"storage": "disk"},
        {"replicas": 0},
        {"replicas": 6},
        {"placement": "here"},
        {"placement": Placement(cluster="\ud800")},
        {"placement": Placement(tags="ssd")},  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        {"placement": Placement(tags=("\ud800",))},
        {"metadata": ["a"]},
        {"metadata": {"a": 1}},
        {"metadata": {1: "a"}},
        {"metadata": {"a": "\ud800"}},
        {"metadata": {str(index): "a" * 1_000 for index in range(66)}},
        {"chunk_size": 0},
        {"chunk_size": -1},
        {"chunk_size": 2**20 + 1},
        {"segment_bytes": 1_023},
        {"segment_bytes": 2**30 + 1},
        {"changes_ttl": -1},
        {"changes_max_bytes": -1},
        {"sync": "sometimes"},
        {"sync": 0},
        {"sync": -1.0},
        {"sync": 3_601},
        {"sync": float("nan")},
        {"sync": None},
    ],
    ids=lambda change: str(change)[:60],
)
def test_bad_field_is_refused_by_name(change: dict[str, Any]) -> None:
    """Each field has limits, and the error says which field it is."""
    config = replace(ObjectStoreConfig("b"), **change)
    with pytest.raises(BadBucketError) as caught:
        check_config(config)

    assert next(iter(change)) in str(caught.value)


# --- the arguments of a call ------------------------------------------------------


def test_config_may_be_given_in_fields() -> None:
    """Fields by name make a configuration."""

    assert resolve_config(None, {"bucket": "b", "ttl": 60}) == ObjectStoreConfig(
        "b", ttl=timedelta(minutes=1)
    )


def test_config_may_be_a_bucket_s_name() -> None:
    """A string in the place of the configuration is the bucket's name."""

    assert resolve_config("b", {}) == ObjectStoreConfig("b")


def test_fields_go_before_the_config() -> None:
    """A field that is given singly replaces that of the configuration."""
    config = ObjectStoreConfig("b", max_bytes=10, replicas=3)

    assert resolve_config(config, {"max_bytes": 20}) == replace(config, max_bytes=20)


def test_fields_change_the_base() -> None:
    """An update by fields keeps what it does not name."""
    base = ObjectStoreConfig("b", max_bytes=10, description="x")

    assert resolve_config(None, {"max_bytes": 20}, base=base).description == "x"


def test_sync_of_the_store_is_for_buckets_made_of_fields() -> None:
    """The store's default does not replace what a configuration says."""
    config = ObjectStoreConfig("b")

    assert resolve_config(None, {"bucket": "b"}, sync="never").sync == "never"
    assert resolve_config("b", {"sync": 2}, sync="never").sync == 2.0
    assert resolve_config(config, {}, sync="never").sync == "always"


@pytest.mark.parametrize(
    ("config", "params", "fragment"),
    [
        (None, {}, "bucket name '' is empty"),
        (None, {"buckets": "b"}, "'buckets' is unknown; use bucket, description"),
        ({"bucket": "b"}, {}, "has the type dict"),
    ],
)
def test_bad_arguments_are_told(
    config: Any, params: dict[str, Any], fragment: str
) -> None:
    """What makes no configuration is refused with the reason."""
    with pytest.raises(BadBucketError) as caught:
        resolve_config(config, params)

    assert fragment in str(caught.value)


def test_differing_fields_are_named() -> None:
    """Comparing two configurations names what differs."""
    one = ObjectStoreConfig("b", max_bytes=1, metadata={"a": "1"})
    other = ObjectStoreConfig("b", max_bytes=2, metadata={"a": "1"}, replicas=3)

    assert differing_fields(one, other) == ("max_bytes", "replicas")
    assert differing_fields(one, one) == ()


def test_storage_of_a_bucket_stays() -> None:
    """No update moves a bucket between a file and memory."""
    config = ObjectStoreConfig("b")
    check_update(config, replace(config, max_bytes=7))

    with pytest.raises(BadBucketError, match="cannot replace 'file'"):
        check_update(config, replace(config, storage="memory"))


# --- forms ------------------------------------------------------------------------


def test_config_is_written_without_defaults() -> None:
    """Only what differs from the default is written, durations as seconds."""
    config = ObjectStoreConfig(
        "b", ttl=timedelta(minutes=1), placement=Placement(tags=("ssd",)), sync=2.0
    )

    assert orjson.loads(encode_config(config)) == {
        "bucket": "b",
        "ttl": 60.0,
        "placement": {"cluster": None, "tags": ["ssd"]},
        "sync": 2.0,
    }


def test_fields_of_later_versions_are_passed_over() -> None:
    """A configuration with more fields is read."""

    assert decode_config(b'{"bucket":"b","later":[1]}') == ObjectStoreConfig("b")


@pytest.mark.parametrize(
    "document",
    [
        b"",
        b"[]",
        b"{}",
        b'{"bucket":7}',
        b'{"bucket":"b","ttl":[]}',
        b'{"bucket":"b","placement":7}',
        b'{"bucket":"b","placement":{"tags":7}}',
    ],
    ids=repr,
)
def test_other_documents_are_refused(document: bytes) -> None:
    """What is no configuration raises the one error."""
    with pytest.raises(BadBucketError):
        decode_config(document)


def test_engine_is_told_its_options() -> None:
    """The engine gets what it needs, in its own units."""
    config = ObjectStoreConfig(
        "b",
        max_bytes=7,
        storage="memory",
        segment_bytes=4_096,
        changes_ttl=timedelta(minutes=1),
        changes_max_bytes=9,
        sync="never",
    )

    assert engine_options(config) == BucketOptions(
        sync="never",
        max_bytes=7,
        segment_bytes=4_096,
        in_memory=True,
        changes_ttl_s=60.0,
        changes_max_bytes=9,
    )


def test_defaults_agree_with_the_engine_s() -> None:
    """A bucket that says nothing is what the engine takes as its default."""

    assert engine_options(ObjectStoreConfig("b")) == BucketOptions()


def test_all_names_hide_no_builtin() -> None:
    """`from objstore import *` leaves Python's own names alone."""
    facade: Any = objstore

    assert set() == set(facade.__all__) & set(dir(builtins))


def test_every_field_is_documented() -> None:
    """The configuration has the fields of the API and no other."""

    assert [field.name for field in fields(ObjectStoreConfig)] == [
        "bucket",
        "description",
        "ttl",
        "max_bytes",
        "storage",
        "replicas",
        "placement",
        "metadata",
        "chunk_size",
        "segment_bytes",
        "changes_ttl",
        "changes_max_bytes",
        "sync",
    ]


@pytest.mark.parametrize(
    ("value", "seconds", "nanoseconds"),
    [
        (None, None, None),
        (0, 0.0, 0),
        (2, 2.0, 2_000_000_000),
        (0.5, 0.5, 500_000_000),
        (timedelta(microseconds=1), 1e-6, 1_000),
        (timedelta(days=365), 31_536_000.0, 31_536_000_000_000_000),
    ],
)
def test_duration_has_three_forms(
    value: timedelta | float | None, seconds: float | None, nanoseconds: int | None
) -> None:
    """A duration in seconds or as a `timedelta` is the same duration."""

    assert (seconds, nanoseconds) == (seconds_of(value), nanoseconds_of(value))
    assert duration_of(seconds) == duration_of(value)
