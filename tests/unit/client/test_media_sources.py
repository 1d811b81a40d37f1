import hashlib
import io
import os
import queue
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from PIL import Image

from dfbatch.client.media_sources import media_payload
from dfbatch.client.sources import Stream
from dfbatch.errors import InvalidInput, InvalidType


@pytest.fixture
def photos(tmp_path, monkeypatch):
    """A folder with files, subfolders, hidden files, a pipe and a name that is also a glob; the current folder."""
    for name in ("b.jpg", "a/2.png", "a/10.png", "w [1].jpg", ".hidden.jpg", ".cache/x.jpg", "notes"):
        path = tmp_path / "photos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())
    os.mkfifo(tmp_path / "photos" / "pipe")
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path / "photos"


def names(payload):
    return [Path(uri).name for uri in payload.uris.to_pylist()]


def sha(content):
    return hashlib.sha256(content).hexdigest()


class TestPaths:
    def test_a_folder_is_all_its_regular_files_sorted_without_hidden_ones(self, photos):
        payload = media_payload("photos")

        assert names(payload) == ["10.png", "2.png", "b.jpg", "notes", "w [1].jpg"]
        assert payload.n == 5
        assert payload.blobs is None
        assert payload.items is None

    @pytest.mark.parametrize(
        ("source", "found"),
        [
            ("photos/b.jpg", ["b.jpg"]),
            (Path("photos/b.jpg"), ["b.jpg"]),
            ("photos/*.jpg", ["b.jpg", "w [1].jpg"]),
            ("photos/**/*.png", ["10.png", "2.png"]),
            ("photos/w [1].jpg", ["w [1].jpg"]),  # a file of this name goes before the glob
            (["photos/a", "photos/b.jpg"], ["10.png", "2.png", "b.jpg"]),
            (("photos/*.jpg", Path("photos/notes")), ["b.jpg", "w [1].jpg", "notes"]),
            (np.array(["photos/b.jpg"]), ["b.jpg"]),
            (pd.Series(["photos/b.jpg"]), ["b.jpg"]),
        ],
        ids=str,
    )
    def test_paths_folders_and_globs_become_absolute_paths(self, photos, source, found):
        payload = media_payload(source)

        assert names(payload) == found
        assert all(uri.startswith(str(photos)) for uri in payload.uris.to_pylist())

    def test_the_home_folder_is_expanded(self, photos, monkeypatch):
        monkeypatch.setenv("HOME", str(photos))

        assert media_payload("~/b.jpg").uris.to_pylist() == [str(photos / "b.jpg")]
        assert media_payload(["~/gone.jpg"]).uris.to_pylist() == [str(photos / "gone.jpg")]

    def test_a_file_uri_is_its_path(self, photos):
        assert media_payload(f"file://{photos}/w%20%5B1%5D.jpg").uris.to_pylist() == [str(photos / "w [1].jpg")]

    def test_a_missing_file_in_a_list_is_an_item_and_will_be_a_failed_row(self, photos):
        payload = media_payload(["photos/b.jpg", "gone.jpg", "gone*.jpg"[:-5] + ".png"])

        assert names(payload) == ["b.jpg", "gone.jpg", "gone.png"]

    @pytest.mark.parametrize(
        ("source", "problem"),
        [
            ("gone.jpg", "there is no file or folder 'gone.jpg'"),
            ("empty", "holds no file"),
            ("photos/*.gif", "no file matches"),
            ("photos/[a]", "folders only"),
            ("", "empty path"),
            ("photos/pipe", "neither a file nor a folder"),
            ("photos/b.jpg/x", "there is no file"),
            ("a\0b", "cannot be read"),
            (["photos/b.jpg", " "], r"source\[1\]: is an empty path"),
            (["photos/b.jpg", "photos/*.gif"], r"source\[1\]: no file matches"),
            ([], "holds no item"),
            (pd.DataFrame({"uri": []}), "without rows"),
        ],
        ids=str,
    )
    def test_a_source_without_an_item_says_so(self, photos, source, problem):
        with pytest.raises(InvalidInput, match=problem) as caught:
            media_payload(source)

        assert caught.value.argument.startswith("source")
        assert caught.value.remedy

    @pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
    def test_a_folder_that_may_not_be_read_is_not_left_out_in_silence(self, photos):
        (photos / "a").chmod(0)
        try:
            with pytest.raises(InvalidInput, match="cannot be read"):
                media_payload("photos")
        finally:
            (photos / "a").chmod(0o755)

    def test_links_to_files_are_followed_and_links_to_folders_are_not(self, photos):
        (photos / "loop").symlink_to(photos)
        (photos / "link.jpg").symlink_to(photos / "b.jpg")
        (photos / "broken.jpg").symlink_to(photos / "gone")

        assert names(media_payload(photos)) == ["10.png", "2.png", "b.jpg", "link.jpg", "notes", "w [1].jpg"]

    def test_a_name_that_is_no_valid_text_becomes_a_file_uri(self, photos):
        odd = os.fsencode(photos / "a") + b"/\xff.jpg"
        Path(os.fsdecode(odd)).write_bytes(b"x")

        assert f"file://{photos}/a/%FF.jpg" in media_payload("photos").uris.to_pylist()
        assert media_payload([os.fsdecode(odd)]).uris.to_pylist() == [f"file://{photos}/a/%FF.jpg"]
        assert media_payload(f"file://{photos}/a/%FF.jpg").uris.to_pylist() == [f"file://{photos}/a/%FF.jpg"]

    @pytest.mark.parametrize("uri", ["s3://bucket/a [1].jpg", "https://example.org/?q=[*]", "gs://bucket/x"])
    def test_uris_in_a_list_are_items_as_they_stand(self, uri):
        plain = uri.replace("[", "(").replace("*", "+") if uri.startswith("s3") else uri

        assert media_payload([plain]).uris.to_pylist() == [plain]


class TestValues:
    def test_bytes_are_kept_once_under_their_sha256(self):
        payload = media_payload([b"one", bytearray(b"two"), memoryview(b"one"), "/x.jpg"])

        assert payload.blobs.to_pylist() == [sha(b"one"), sha(b"two"), sha(b"one"), None]
        assert payload.uris.to_pylist() == [None, None, None, "/x.jpg"]
        assert payload.new_blobs == {sha(b"one"): b"one", sha(b"two"): b"two"}

    @pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I;16", "CMYK", "F", "I", "YCbCr"])
    def test_an_image_is_saved_without_loss(self, mode):
        image = Image.effect_noise((9, 7), 80).convert("RGB").convert("L" if mode == "I;16" else mode)
        image = Image.new("I;16", (9, 7), 4097) if mode == "I;16" else image

        (content,) = media_payload(image).new_blobs.values()
        back = Image.open(io.BytesIO(content))

        assert back.tobytes() == image.tobytes()

    @pytest.mark.parametrize("shape", [(4, 5), (4, 5, 1), (4, 5, 3), (4, 5, 4)])
    def test_an_array_is_one_picture(self, shape):
        array = np.arange(np.prod(shape), dtype=np.uint8).reshape(shape)

        payload = media_payload(array)
        (content,) = payload.new_blobs.values()

        assert payload.n == 1
        np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(content))), array.squeeze())

    def test_an_array_of_four_dimensions_is_several_pictures(self):
        assert media_payload(np.zeros((3, 4, 5, 3), np.uint8)).n == 3

    @pytest.mark.parametrize(
        ("source", "problem"),
        [
            (np.zeros((2, 2)), r"source\[0\].*float64.*astype"),
            (np.zeros((2, 2, 7), np.uint8), "shape"),
            (np.zeros((0, 2), np.uint8), "without pixels"),
            (np.zeros(3), "row of float64"),
            (Image.new("HSV", (2, 2)), "convert"),
            ([b"", 5], r"source\[1\]: is of type int"),
            ([None], r"source\[0\]: is of type NoneType"),
            (5, "source: is of type int"),
            ({"uri": ["x"]}, "source: is of type dict"),
        ],
        ids=str,
    )
    def test_what_is_no_media_is_refused_at_the_call(self, source, problem):
        with pytest.raises((InvalidType, InvalidInput), match=problem):
            media_payload(source)


class TestTables:
    def test_other_columns_are_carried_and_the_order_is_kept(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        frame = pd.DataFrame({"case": [2, 1], "uri": ["b.jpg", "/a.jpg"]})

        payload = media_payload(frame)

        assert payload.uris.to_pylist() == [str(tmp_path / "b.jpg"), "/a.jpg"]
        assert payload.inputs.to_pydict() == {"case": [2, 1]}
        assert payload.inputs.schema.metadata is None

    def test_a_row_may_have_content_a_uri_or_both(self):
        table = pa.table({"uri": ["/a", None, "/c"], "content": [None, b"x", b"y"], "filename": [None, "n.jpg", None]})

        payload = media_payload(table)

        assert payload.uris.to_pylist() == ["/a", None, "/c"]
        assert payload.blobs.to_pylist() == [None, sha(b"x"), sha(b"y")]
        assert payload.filenames.to_pylist() == [None, "n.jpg", None]
        assert payload.inputs.column_names == ["filename"]

    @pytest.mark.parametrize(
        "table",
        [
            pl.DataFrame({"uri": ["/a"], "k": [1]}),
            pl.DataFrame({"uri": ["/a"], "k": [1]}).lazy(),
            pa.table({"uri": ["/a"], "k": [1]}).to_batches()[0],
            pa.table({"uri": pa.array(["/a"]).dictionary_encode(), "k": [1]}),
            pd.DataFrame({"uri": ["/a"], "k": [1]}, index=[7]),
        ],
        ids=["polars", "lazy", "batch", "dictionary", "pandas"],
    )
    def test_tables_of_every_make_are_taken(self, table):
        payload = media_payload(table)

        assert payload.uris.type == pa.string()
        assert payload.uris.to_pylist() == ["/a"]
        assert payload.inputs.to_pydict() == {"k": [1]}

    @pytest.mark.parametrize(
        ("table", "problem"),
        [
            (pa.table({"path": ["a"]}), "Rename 'path'"),
            (pa.table({"uri": ["a", None]}), "row 1 has neither"),
            (pa.table({"uri": [""]}), "row 0 has an empty path"),
            (pa.table({"uri": [1]}), "int64, not text"),
            (pa.table({"content": ["text"]}), "string, not bytes"),
            (pa.table([["a"], ["b"]], names=["uri", "uri"]), "two columns named 'uri'"),
            (pd.DataFrame({"uri": ["a", "b"], "k": [1, "x"]}), "not of one type"),
        ],
        ids=str,
    )
    def test_a_table_that_cannot_be_used_says_why(self, table, problem):
        with pytest.raises(InvalidInput, match=problem):
            media_payload(table)


class TestStreams:
    def test_an_iterator_is_streamed_with_alike_columns(self):
        stream = media_payload(iter(["/a.jpg", b"x"]))

        assert isinstance(stream, Stream)
        payloads = list(stream)  # one, or two if the second element comes late
        assert len({(payload.uris.type, payload.blobs.type) for payload in payloads}) == 1
        assert [uri for payload in payloads for uri in payload.uris.to_pylist()] == ["/a.jpg", None]
        assert [blob for payload in payloads for blob in payload.blobs.to_pylist()] == [None, sha(b"x")]
        assert {k: v for payload in payloads for k, v in payload.new_blobs.items()} == {sha(b"x"): b"x"}

    def test_a_queue_ends_with_none(self):
        source = queue.Queue()
        for element in ("/a.jpg", "/b.jpg", None, "/late.jpg"):
            source.put(element)

        assert [uri for payload in media_payload(source) for uri in payload.uris.to_pylist()] == ["/a.jpg", "/b.jpg"]

    def test_record_batches_keep_their_carried_columns(self):
        table = pa.table({"uri": ["/a", "/b"], "k": [1, 2]})
        reader = pa.RecordBatchReader.from_batches(table.schema, table.to_batches(max_chunksize=1))

        payloads = list(media_payload(reader))

        assert [p.inputs.to_pydict() for p in payloads] == [{"k": [1]}, {"k": [2]}]

    def test_a_bad_element_is_named_by_its_place_in_the_whole_stream(self):
        with pytest.raises(InvalidType, match=r"source\[1\]"):
            list(media_payload(iter([b"x", 5])))
