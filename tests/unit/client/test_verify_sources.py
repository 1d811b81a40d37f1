"""Everything that ``client.verify`` takes, from the call to the rows: each item one row, a bad one an error in its row.

One manager with real workers, in this process, for the whole module.
"""

import io
import os
import shutil
from pathlib import Path

import fsspec
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from PIL import Image

import dfbatch
from dfbatch.authenticity.media.limits import MediaLimits
from dfbatch.core.states import BatchState, JobState
from dfbatch.testing import InProcess

pytestmark = pytest.mark.integration

WAIT_S = 60


@pytest.fixture(scope="module")
def client(module_ledger_path):
    with InProcess(module_ledger_path, workers=1) as client:
        yield client


def picture(format="PNG", size=(16, 12), seed=1):
    pixels = np.random.default_rng(seed).integers(0, 255, (size[1], size[0], 3), dtype=np.uint8)
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, format)
    return out.getvalue()


@pytest.fixture(scope="module")
def album(tmp_path_factory):
    """Three pictures, one of them in a sub folder and one with an odd name; copied for nobody, so do not change it."""
    folder = tmp_path_factory.mktemp("album")
    (folder / "2024 été").mkdir()
    (folder / "a.png").write_bytes(picture(seed=1))
    (folder / "b [1] #2?.jpg").write_bytes(picture("JPEG", seed=2))
    (folder / "2024 été" / "c.png").write_bytes(picture(seed=3))
    return folder


def rows(client, source, **options):
    return client.verify(source, **options).results(timeout=WAIT_S)


def names(results):
    return [Path(uri).name for uri in results["uri"].to_pylist()]


# ------------------------------------------------------------------------------------------------ what is taken


def test_a_folder_is_all_its_files_sub_folders_included(client, album):
    results = rows(client, album)
    assert names(results) == ["c.png", "a.png", "b [1] #2?.jpg"]
    assert results["status"].to_pylist() == ["succeeded"] * 3
    assert results["media_type"].to_pylist() == ["image/png", "image/png", "image/jpeg"]


def test_a_glob_is_what_it_matches_and_a_path_is_itself(client, album):
    assert names(rows(client, f"{album}/*.png")) == ["a.png"]
    assert names(rows(client, f"{album}/**/*.png")) == ["c.png", "a.png"]
    assert names(rows(client, album / "b [1] #2?.jpg")) == ["b [1] #2?.jpg"]
    assert names(rows(client, (album / "a.png").as_uri())) == ["a.png"]


def test_bytes_pictures_and_arrays_are_verified_without_a_file(client):
    pixels = np.zeros((8, 8, 3), np.uint8)
    results = rows(client, [picture(), Image.fromarray(pixels), pixels])
    assert results["status"].to_pylist() == ["succeeded"] * 3
    assert results["uri"].to_pylist() == [None] * 3
    assert results["size"].to_pylist()[0] == len(picture())
    assert rows(client, Image.fromarray(pixels))["media_type"].to_pylist() == ["image/png"]


def table_of(album):
    uris = [str(album / "a.png"), str(album / "b [1] #2?.jpg")]
    return {"claim": ["K-1", "K-2"], "uri": uris, "amount": [120.5, 3.0]}


@pytest.mark.parametrize("kind", [pd.DataFrame, pl.DataFrame, pa.table])
def test_columns_beside_the_uri_arrive_in_the_results(kind, client, album):
    results = rows(client, kind(table_of(album)))
    assert results["input"].to_pylist() == [{"claim": "K-1", "amount": 120.5}, {"claim": "K-2", "amount": 3.0}]
    assert list(results.to_pandas(flatten=True)["input.claim"]) == ["K-1", "K-2"]


def test_an_arrow_table_may_bring_the_content_itself(client):
    results = rows(client, pa.table({"content": [picture()], "filename": ["from the scanner.png"]}))
    assert results["status"].to_pylist() == ["succeeded"]
    assert results["input"].to_pylist() == [{"filename": "from the scanner.png"}]


def test_an_iterator_is_read_to_its_end(client, album):
    batch = client.verify(str(path) for path in [album / "a.png"] * 3)
    assert len(batch.results(timeout=WAIT_S)) == 3
    assert len(batch) == 3


# ------------------------------------------------------------------------------------------------ bad items


class _Forbidden(fsspec.AbstractFileSystem):
    """A store that forbids everything, as a bucket of somebody else does."""

    protocol = "forbidden"
    cachable = False

    def info(self, path, **kwargs):
        raise PermissionError(13, "Permission denied", path)


@pytest.fixture(scope="module")
def bad(tmp_path_factory):
    """One file of every kind of trouble, and what its row must say."""
    fsspec.register_implementation("forbidden", _Forbidden, clobber=True)
    folder = tmp_path_factory.mktemp("bad")
    (folder / "cut.jpg").write_bytes(picture("JPEG", (200, 200))[:-700])
    (folder / "letter.jpg").write_text("Dear Sir or Madam, this is no picture. " * 5)
    (folder / "empty.png").write_bytes(b"")
    (folder / "huge.png").write_bytes(_claiming(picture(), 30_000, 30_000))
    (folder / "notes.bin").write_bytes(b"\x01\x02\x03\x04" * 50)
    return {
        str(folder / "cut.jpg"): ("MediaTruncated", "without its end mark"),
        str(folder / "letter.jpg"): ("MediaNotWhatItsNameSays", "plain text"),
        str(folder / "empty.png"): ("MediaEmpty", "no bytes"),
        str(folder / "huge.png"): ("MediaTooManyPixels", "30,000 x 30,000 pixels"),
        str(folder / "notes.bin"): ("MediaUnsupported", "images, video, audio and PDF"),
        str(folder / "not there.jpg"): ("MediaMissing", "not there.jpg"),
        "forbidden://bucket/photo.jpg": ("MediaNotPermitted", "may not read"),
    }


def _claiming(png, width, height):
    """The PNG with another size in its header, its checksum mended."""
    import struct
    import zlib

    header = b"IHDR" + struct.pack(">II", width, height) + png[24:29]
    return png[:12] + header + struct.pack(">I", zlib.crc32(header)) + png[33:]


def test_every_bad_item_is_a_row_with_an_error_and_a_sentence_and_the_rest_is_untouched(client, album, bad):
    good = str(album / "a.png")
    sources = [good]
    for uri in bad:
        sources += [uri, good]
    batch = client.verify(sources, retry=dfbatch.Retry(max_attempts=1))
    results = batch.results(timeout=WAIT_S)
    assert batch.status is BatchState.PARTIAL
    by_uri = {row["uri"]: row for row in results}
    for uri, (error_type, words) in bad.items():
        row = by_uri[uri]
        assert (row["status"], row["error_type"], row["verdict"]) == ("failed", error_type, None)
        assert words in row["error_message"]
        assert row["attempts"] == 1
    assert [row["status"] for row in results if row["uri"] == good] == ["succeeded"] * (len(bad) + 1)
    assert len(batch.failures()) == len(bad)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every file; test_locate.py asks as somebody else")
def test_a_file_that_may_not_be_read_is_said_so(client, album, tmp_path):
    secret = shutil.copy(album / "a.png", tmp_path / "secret.png")
    os.chmod(secret, 0)
    assert rows(client, [secret])["error_type"].to_pylist() == ["MediaNotPermitted"]


def test_the_limit_of_pixels_is_that_of_the_caller(client, album):
    results = rows(client, [album / "a.png"], limits=MediaLimits(max_pixels=100))
    assert results["error_type"].to_pylist() == ["MediaTooManyPixels"]
    assert "limit of 100" in results["error_message"].to_pylist()[0]


# ------------------------------------------------------------------------------------------------ wrong arguments


@pytest.mark.parametrize(
    ("arguments", "names_it", "remedy"),
    [
        ({"source": "no/such/file.jpg"}, "source", "Relative paths start at"),
        ({"source": "no/such/*.jpg"}, "source", "glob"),
        ({"source": ""}, "source", "Name a file, a folder or a glob"),
        ({"source": []}, "source", "Give at least one"),
        ({"source": 7}, "source", "Give a path"),
        ({"source": pd.DataFrame({"path": ["a.jpg"]})}, "source", "Rename 'path'"),
        ({"source": [b"x"], "profile": "deep"}, "profile", "fast"),
        ({"source": [b"x"], "trust_list": "no/such.pem"}, "trust_list", "PEM"),
        ({"source": [b"x"], "timeout_s": -1}, "timeout_s", "Give"),
        ({"source": [b"x"], "priority": "high"}, "priority", "whole number"),
        ({"source": [b"x"], "retry": 3}, "retry", "dfbatch.Retry"),
        ({"source": [b"x"], "tags": "urgent"}, "tags", "list"),
        ({"source": [b"x"], "timout_s": 3}, "timout_s", "timeout_s"),  # a slip of the pen is told the right names
    ],
)
def test_a_wrong_argument_of_verify_is_said_at_the_call(arguments, names_it, remedy, client):
    before = len(client.batches())
    with pytest.raises(dfbatch.InvalidInput) as caught:
        client.verify(**arguments)
    assert names_it in str(caught.value)
    assert remedy in str(caught.value)
    assert len(client.batches()) == before, "nothing was accepted"


@pytest.mark.parametrize(
    ("verifier", "items", "options", "names_it"),
    [
        (7, [1], {}, "verifier"),
        (lambda x: x, [], {}, "items"),
        (lambda x: x, 7, {}, "items"),
        (lambda x: x, [object()], {}, "items[0]"),
        (lambda x: x, [1], {"init": {"a": 1}}, "init"),
        (lambda x: x, [1], {"max_failure_ratio": 3}, "max_failure_ratio"),
    ],
)
def test_a_wrong_argument_of_map_is_said_at_the_call(verifier, items, options, names_it, client):
    with pytest.raises(dfbatch.InvalidInput, match=r"\.") as caught:
        client.map(verifier, items, **options)
    assert names_it in str(caught.value)


# ------------------------------------------------------------------------------------------------ handles


def test_every_handle_shows_itself_in_one_line_and_as_a_little_html(client, album):
    batch = client.verify(album / "a.png", name="<b>May</b>").wait(timeout=WAIT_S)
    handles = [client, batch, batch[0], client.queue("verification"), batch.results()[:1]]
    for handle in handles[:-1]:
        assert "\n" not in repr(handle)
    for handle in handles:
        html = handle._repr_html_()
        assert "<" in html
        assert len(html) < 20_000
        assert "<b>May</b>" not in html
    assert repr(batch[0]) == f"<Job {batch.id}-0 succeeded>"
    assert batch[0].status is JobState.SUCCEEDED
