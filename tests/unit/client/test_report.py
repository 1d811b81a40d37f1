import hashlib
import re
from datetime import UTC, datetime
from html.parser import HTMLParser

import pyarrow as pa
import pytest
from PIL import Image

from dfbatch.client import report
from dfbatch.client.report import digest, write_report
from dfbatch.client.results import Results
from dfbatch.errors import InvalidInput, StorageRefused

pytestmark = pytest.mark.integration

NOW = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
BAD = "\"'><script>alert(1)</script><img src=http://x.example/p onerror=alert(2)>"


class Page(HTMLParser):
    """Elements, attributes and text of a page; fails on one that is not closed."""

    VOID = frozenset({"img", "meta", "br"})

    def __init__(self, text):
        super().__init__()
        self.names, self.attributes, self.words, self.open = [], [], [], []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, name, attributes):
        self.names.append(name)
        self.attributes += attributes
        if name not in self.VOID:
            self.open.append(name)

    def handle_startendtag(self, name, attributes):
        self.names.append(name)
        self.attributes += attributes

    def handle_endtag(self, name):
        assert self.open.pop() == name

    def handle_data(self, data):
        self.words.append(data)

    @property
    def text(self):
        return " ".join(" ".join(self.words).split())


@pytest.fixture
def page_of(make, tmp_path):
    def build(rows, info=None, title="Case 7", read=None, **structs):
        path = write_report(
            Results(make.table(rows, **structs)), tmp_path / "r.html", title=title, batch_info=info, read=read,
            made_at=NOW,
        )  # fmt: skip
        with open(path, encoding="utf-8") as file:
            return Page(file.read())

    return build


def test_it_says_what_was_checked_when_and_by_which_version(make, page_of):
    info = {"batch_id": "k3f2m9qx", "submitted_at": NOW, "n_jobs": 1, "verifier_fingerprint": "f00d", "tags": {"a": 1}}

    page = page_of([make.row(0)], info)

    for words in ("Case 7", "1 item, report made 2026-03-02 12:00:00 UTC by dfbatch", "k3f2m9qx", "Submitted", "f00d",
                  "a: 1", "supports, and does not replace, an examiner"):  # fmt: skip
        assert words in page.text


def test_every_item_has_verdict_reasons_provenance_and_sha256(make, page_of):
    row = make.row(0, provenance={"state": "trusted", "signer": "Camera Maker", "ai_declared": False})

    page = page_of([row], input=[{"exhibit": "A-1"}])

    for words in ("no manipulation found", "Four methods apply", "signer trusted (Camera Maker)", row["sha256"],
                  "1 of 2 methods apply", "No region occurs twice.", "inliers: 0", "A-1"):  # fmt: skip
        assert words in page.text


def test_it_needs_nothing_else_and_runs_nothing(make, page_of):
    page = page_of([make.row(0), make.failed(1)])

    assert not {"script", "link", "iframe", "object", "form"} & set(page.names)
    assert all(not value.startswith(("http", "//")) for name, value in page.attributes if name in ("src", "href"))
    assert any(name == "content" and "default-src 'none'" in value for name, value in page.attributes)


def test_nothing_hostile_gets_through(make, page_of):
    finding = {"detector": BAD, "version": BAD, "applicable": True, "reason": BAD, "facts": BAD}
    rows = [
        make.row(0, uri=BAD, media_type=BAD, job_id=BAD, reasons=[BAD], findings=[finding], worker_id=BAD,
                 provenance={"state": BAD, "signer": BAD, "failures": [BAD]}, verdict=BAD),
        make.failed(1, BAD, BAD, uri=BAD, job_id=BAD, traceback=BAD),
    ]  # fmt: skip

    page = page_of(rows, {BAD: BAD, "list": [BAD], "map": {BAD: BAD}}, title=BAD, input=[{BAD: BAD}] * 2)

    assert not {"script", "img"} & set(page.names)
    assert not [name for name, _ in page.attributes if name.startswith("on")]
    assert BAD in "".join(page.words)


def test_failures_are_grouped_first_and_linked_to_their_rows(make, page_of):
    page = page_of([make.row(0), make.failed(1), make.failed(2), make.failed(3, "ItemTimeout", "Too slow.")])

    assert re.search(r"2 MediaTruncated The file ends .* 1 ItemTimeout Too slow\.", page.text)
    assert ("href", "#k3f2m9qx-3") in page.attributes
    assert page.attributes.index(("id", "k3f2m9qx-1")) < page.attributes.index(("id", "k3f2m9qx-0"))


def test_what_needs_attention_stands_first(make, page_of):
    verdicts = ["authentic", "inconclusive", "ai_generated", "no_manipulation_found", "manipulated"]

    page = page_of([make.row(i, verdict=verdict) for i, verdict in enumerate(verdicts)] + [make.failed(9)])

    assert [value for name, value in page.attributes if name == "id"] == [
        f"k3f2m9qx-{i}" for i in (9, 4, 2, 1, 3, 0)
    ]  # fmt: skip


def test_a_large_batch_is_cut_and_says_so(make, page_of):
    page = page_of([make.row(i, findings=None) for i in range(1500)])

    assert page.names.count("tr") == 1 + 2 * report.MOST_ROWS
    assert "500 more items are not listed here" in page.text
    assert "1,500 no manipulation found" in page.text


def test_long_evidence_is_cut_and_says_so(make, page_of, monkeypatch):
    monkeypatch.setattr(report, "MOST_CHARACTERS", 20_000)

    page = page_of([make.row(i) for i in range(100)])

    assert re.search(r"\d\d more items are not listed here", page.text)


class TestPictures:
    @pytest.fixture
    def photos(self, make, tmp_path):
        rows = []
        for i in range(4):
            path = tmp_path / f"{i}.png"
            Image.new("RGB", (300, 200), (i * 60, 0, 0)).save(path)
            rows.append(make.row(i, uri=str(path), sha256=hashlib.sha256(path.read_bytes()).hexdigest()))
        return rows

    def test_local_images_are_shown(self, photos, page_of):
        page = page_of(photos)

        shown = [value for name, value in page.attributes if name == "src"]
        assert len(shown) == 4
        assert all(value.startswith("data:image/jpeg;base64,") for value in shown)

    def test_their_number_is_bounded(self, photos, page_of, monkeypatch):
        monkeypatch.setattr(report, "MOST_PICTURES", 3)

        page = page_of(photos)

        assert page.names.count("img") == 3
        assert "Pictures left out to keep the report small: 1." in page.text

    def test_a_changed_file_is_not_shown(self, photos, page_of):
        page = page_of([photos[0] | {"sha256": "0" * 64}])

        assert "img" not in page.names
        assert "The file has changed since it was verified." in page.text


def test_results_of_user_code_show_their_output_and_no_limits_of_verdicts(make, page_of):
    row = make.row(0, verdict=None, uri=None, findings=None, reasons=None, provenance=None, p_manipulated=None)

    page = page_of([row], output=[{"value": "forty-two"}])

    assert "forty-two" in page.text
    assert "How far these verdicts go" not in page.text


def test_the_digest_can_be_computed_again_from_saved_results(make):
    rows = [make.row(0), make.failed(1)]
    lines = f"k3f2m9qx-0\t{rows[0]['sha256']}\tsucceeded\tno_manipulation_found\n"
    lines += f"k3f2m9qx-1\t{rows[1]['sha256']}\tfailed\t\n"

    table = make.table(rows)

    assert digest(table) == hashlib.sha256(lines.encode()).hexdigest()
    assert digest(pa.concat_tables([table.slice(0, 1), table.slice(1)])) == digest(table)


def test_an_empty_batch_has_a_report(make, page_of):
    assert "0 items" in page_of([]).text


def test_it_is_accessible(make, page_of):
    page = page_of([make.row(0)])

    assert ("lang", "en") in page.attributes
    assert page.names.count("title") == 1
    assert page.names.count("h1") == 1
    assert page.names.count("th") == page.attributes.count(("scope", "col"))
    assert any(name == "aria-label" and "1 no manipulation found" in value for name, value in page.attributes)


@pytest.mark.parametrize("name", ["r.pdf", "r", "r.txt"])
def test_another_suffix_is_refused(make, tmp_path, name):
    with pytest.raises(InvalidInput, match=r"\.html"):
        write_report(Results(make.table([])), tmp_path / name)


def test_a_place_that_cannot_be_written_is_a_typed_error(make, tmp_path):
    (tmp_path / "file").write_text("x")

    with pytest.raises(StorageRefused, match="could not be written"):
        write_report(Results(make.table([])), tmp_path / "file" / "r.html")
