import hashlib
import io

from PIL import Image

from dfbatch.client.results import Results


def explain(make, row, **structs):
    return Results(make.table([row], **structs)).explain(0)


def test_the_text_tells_verdict_reasons_findings_and_file(make):
    text = str(explain(make, make.row(3)))

    assert text.startswith("k3f2m9qx-3  /case/0003.jpg")
    assert "no manipulation found (p manipulated 0.12, coverage 0.80)" in text
    assert "  - Four methods apply and find nothing." in text
    assert "copy_move 1" in text
    assert "score 0.10, llr -1.20, 400 ms: No region occurs twice." in text
    assert "does not apply: This is no PDF." in text
    assert "no Content Credentials" in text


def test_a_failure_is_explained_by_its_error_and_traceback(make):
    explanation = explain(make, make.failed(1, traceback="Traceback:\n  line 7"))

    assert "failed: MediaTruncated: The file ends before its content does." in str(explanation)
    assert str(explanation).endswith("Traceback:\n  line 7")
    assert "<pre>Traceback:\n  line 7</pre>" in explanation._repr_html_()


def test_carried_columns_and_outputs_are_shown(make):
    text = str(explain(make, make.row(0), input=[{"case": "A1"}], output=[{"value": 7}]))

    assert "Input: {'case': 'A1'}" in text
    assert "Output: {'value': 7}" in text


def test_pictures_are_the_item_and_what_detectors_left(make):
    target = io.BytesIO()
    Image.new("RGB", (30, 20)).save(target, format="PNG")
    data = target.getvalue()
    sha = hashlib.sha256(data).hexdigest()
    finding = make.row(0)["findings"][0] | {"artifact": "map"}
    row = make.row(0, uri=None, sha256=sha, findings=[finding])
    files = {f"blobs/{sha}": data, "artifacts/map": data}

    page = Results(make.table([row]), read=files.get).explain(0)._repr_html_()

    assert page.count("<img") == 2
    assert "the item" in page
    assert ">copy_move" in page


def test_a_changed_file_is_not_shown_but_said(make, tmp_path):
    photo = tmp_path / "a.png"
    Image.new("RGB", (3, 3)).save(photo)

    page = explain(make, make.row(0, uri=str(photo)))._repr_html_()

    assert "<img" not in page
    assert "changed since it was verified" in page


def test_a_map_row_without_a_verdict_is_explained_too(make):
    row = make.row(0, uri=None, verdict=None, findings=None, reasons=None, provenance=None, p_manipulated=None)

    explanation = explain(make, row, output=[{"value": "x"}])

    assert "succeeded" in str(explanation)
    assert "given by value" in explanation._repr_html_()


def test_every_field_of_a_hostile_row_is_escaped(make):
    bad = "<img src=x onerror=alert(1)>"
    finding = {"detector": bad, "version": bad, "applicable": True, "reason": bad, "facts": f'{{"{bad}": 1}}'}
    row = make.row(
        0, uri=bad, media_type=bad, reasons=[bad], findings=[finding, finding | {"facts": bad}], worker_id=bad,
        provenance={"state": bad, "signer": bad, "trust_list": bad},
    )  # fmt: skip

    page = (
        explain(make, row, input=[{bad: bad}])._repr_html_()
        + explain(make, make.failed(1, bad, bad, traceback=bad))._repr_html_()
    )

    assert "<img" not in page
    assert "&lt;img" in page
