import re
import uuid

import fsspec
import pytest

from dfbatch.client.media_sources import media_payload
from dfbatch.client.remote_paths import glob_regex, list_remote
from dfbatch.errors import InvalidInput


@pytest.fixture
def bucket():
    """An object store in memory, with a name of its own."""
    root = f"memory://{uuid.uuid4().hex}"
    store = fsspec.filesystem("memory")
    for name in ("a/1.jpg", "a/b/2.jpg", "a/b/.secret.jpg", ".git/x.jpg", "top.png"):
        store.pipe(f"{root}/{name}", b"x")
    yield root
    store.rm(root, recursive=True)


@pytest.mark.parametrize(
    ("uri", "found"),
    [
        ("/", ["/a/1.jpg", "/a/b/2.jpg", "/top.png"]),
        ("/a", ["/a/1.jpg", "/a/b/2.jpg"]),
        ("/a/b/", ["/a/b/2.jpg"]),
        ("/top.png", ["/top.png"]),
        ("/a/*.jpg", ["/a/1.jpg"]),
        ("/**/*.jpg", ["/a/1.jpg", "/a/b/2.jpg"]),
        ("/a/b/[0-9].jpg", ["/a/b/2.jpg"]),
    ],
)
def test_a_prefix_or_glob_is_listed_without_hidden_files(bucket, uri, found):
    assert media_payload(bucket + uri).uris.to_pylist() == [bucket + path for path in found]


def test_in_a_list_only_globs_and_trailing_slashes_are_listed(bucket):
    uris = media_payload([bucket + "/a/b/", bucket + "/gone.jpg", bucket + "/top.*"]).uris.to_pylist()

    assert uris == [bucket + "/a/b/2.jpg", bucket + "/gone.jpg", bucket + "/top.png"]


@pytest.mark.parametrize("uri", ["/none/", "/none/*.jpg", "/none"])
def test_a_prefix_without_files_says_so(bucket, uri):
    with pytest.raises(InvalidInput, match="there is no file at"):
        media_payload(bucket + uri)


def test_an_unknown_scheme_says_so():
    with pytest.raises(InvalidInput, match="cannot be listed"):
        media_payload("nonsense://x/y/")


@pytest.mark.parametrize("alone", [True, False])
def test_a_web_address_is_one_item_whatever_is_in_its_query(alone):
    uri = "https://example.org/pic/?name=[*]"

    assert list_remote(uri, "source", alone) == [uri]


@pytest.mark.parametrize(
    ("pattern", "path", "fits"),
    [
        ("a/*.jpg", "a/x.jpg", True),
        ("a/*.jpg", "a/b/x.jpg", False),
        ("a/**/*.jpg", "a/x.jpg", True),
        ("a/**/*.jpg", "a/b/c/x.jpg", True),
        ("a/?.jpg", "a/x.jpg", True),
        ("a/[!x].jpg", "a/x.jpg", False),
        ("a/[!x].jpg", "a/y.jpg", True),
        ("a.b", "aXb", False),
        ("a[", "a[", True),
    ],
)
def test_globs_stay_within_a_folder_unless_told_otherwise(pattern, path, fits):
    assert bool(re.fullmatch(glob_regex(pattern), path)) is fits
