"""ContentAuthenticator: one item in, one report out, whatever the item and whatever fails."""

import io
import json
import pickle
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from dfbatch.authenticity import authenticator as authenticator_module
from dfbatch.authenticity.authenticator import ContentAuthenticator
from dfbatch.authenticity.findings import Finding, Report, Verdict
from dfbatch.authenticity.media.limits import MediaLimits
from dfbatch.authenticity.media.media import Media
from dfbatch.errors import InvalidInput, MediaError, MediaTruncated, TransientError
from dfbatch.samples import SampleSet
from dfbatch.samples.certificates import Identity, new_identity
from dfbatch.samples.credentials import CredentialSigner, created

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def authenticator() -> ContentAuthenticator:
    return ContentAuthenticator()


@pytest.fixture(scope="module")
def photo() -> bytes:
    out = io.BytesIO()
    Image.effect_noise((64, 48), 60).save(out, "JPEG")
    return out.getvalue()


@pytest.fixture(scope="module")
def identity() -> Identity:
    return new_identity("Camera")


@pytest.fixture(scope="module")
def captured(identity: Identity, photo: bytes) -> bytes:
    return CredentialSigner(identity).sign(photo, "image/jpeg", "a photo", [created("digitalCapture")])


@pytest.fixture(scope="module")
def anchors(identity: Identity, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("trust") / "anchors.pem"
    path.write_bytes(identity.anchor_pem)
    return path


def test_every_way_to_give_an_item_gives_the_same_report(
    authenticator: ContentAuthenticator, photo: bytes, tmp_path: Path
) -> None:
    path = tmp_path / "photo.jpg"
    path.write_bytes(photo)
    shas = {
        authenticator(item).sha256
        for item in (
            path,
            str(path),
            path.as_uri(),
            photo,
            {"uri": str(path)},
            {"uri": "s3://bucket/photo.jpg", "location": str(path)},
            {"uri": None, "content": photo, "filename": "photo.jpg"},
        )
    }
    assert len(shas) == 1
    report = authenticator({"uri": "s3://bucket/photo.jpg", "location": str(path)})
    assert (report.uri, report.media_type, report.size) == ("s3://bucket/photo.jpg", "image/jpeg", len(photo))


def test_an_item_without_anything_to_read_is_said_to_be_so(authenticator: ContentAuthenticator) -> None:
    with pytest.raises(InvalidInput, match="content, location, uri"):
        authenticator({"url": "photo.jpg"})


def test_a_plain_photograph_is_inconclusive_with_low_coverage(
    authenticator: ContentAuthenticator, photo: bytes
) -> None:
    report = authenticator(photo)
    assert report.verdict is Verdict.INCONCLUSIVE
    assert report.p_manipulated is None
    assert report.coverage < 0.2
    what = "Nothing in the file vouches for it, and nothing that was looked at speaks against it."
    assert report.reasons == ("No evidence either way.", what)


def test_every_detector_leaves_a_finding_with_its_cost(authenticator: ContentAuthenticator, photo: bytes) -> None:
    findings = {one.detector: one for one in authenticator(photo).findings}
    assert set(findings) == {detector.name for detector in authenticator.detectors}
    assert findings["jpeg_tables"].applicable
    assert findings["jpeg_tables"].cost_s > 0
    assert not findings["pdf_signatures"].applicable
    assert all(one.version and one.reason for one in findings.values())


def test_a_trusted_capture_is_authentic_only_with_the_trust_list(captured: bytes, anchors: Path) -> None:
    assert ContentAuthenticator()(captured).verdict is Verdict.NO_MANIPULATION_FOUND
    report = ContentAuthenticator(trust_list=anchors)(captured)
    assert (report.verdict, report.p_manipulated) == (Verdict.AUTHENTIC, 0.0)
    assert str(report.provenance.trust_list).startswith("anchors.pem of ")


def test_the_trust_list_counts_for_pdf_signatures_too(pdf_bench: Any, tmp_path: Path) -> None:
    from cryptography.hazmat.primitives.serialization import Encoding

    certificate = pdf_bench.certificate()
    signed = pdf_bench.signed(signer=pdf_bench.signer(certificate))
    pem = certificate.public_bytes(Encoding.PEM).decode()
    (tmp_path / "anchors.pem").write_text(pem)
    (tmp_path / "settings.json").write_text(json.dumps({"trust": {"trust_anchors": pem}}))
    assert ContentAuthenticator()(signed).verdict is Verdict.NO_MANIPULATION_FOUND
    for name in ("anchors.pem", "settings.json"):
        assert ContentAuthenticator(trust_list=tmp_path / name)(signed).verdict is Verdict.AUTHENTIC


def test_a_signed_pdf_that_was_changed_is_manipulated(authenticator: ContentAuthenticator, pdf_bench: Any) -> None:
    signed = pdf_bench.signed()
    report = authenticator(signed.replace(b"/Rotate 0", b"/Rotate 9") if b"/Rotate 0" in signed else _changed(signed))
    assert (report.verdict, report.p_manipulated) == (Verdict.MANIPULATED, 1.0)


def _changed(pdf: bytes) -> bytes:
    at = pdf.index(b"200 200")
    return pdf[:at] + b"200 201" + pdf[at + 7 :]


def test_video_and_sound_have_a_report(authenticator: ContentAuthenticator, av_bench: Any) -> None:
    for data in (av_bench.video(frames=10), av_bench.sound(av_bench.noise(0.3))):
        report = authenticator(data)
        assert report.verdict is Verdict.INCONCLUSIVE
        assert {one.detector for one in report.findings if one.applicable} >= {"av_container"}
        assert not [one for one in report.findings if one.facts.get("error")]


def test_a_type_that_no_detector_is_made_for_is_not_applicable(authenticator: ContentAuthenticator) -> None:
    out = io.BytesIO()
    Image.new("RGB", (8, 8)).save(out, "BMP")
    report = authenticator(out.getvalue())
    assert (report.verdict, report.coverage) == (Verdict.NOT_APPLICABLE, 0.0)


class Odd:
    """A detector of a user that does what its test says."""

    name = "odd"
    version = "3"

    def __init__(self, act: Callable[[Media], Finding]) -> None:
        self._act = act

    def applies_to(self, media: Media) -> str | None:
        return None

    def examine(self, media: Media) -> Finding:
        return self._act(media)


def raising(error: Exception) -> Callable[[Media], Finding]:
    def act(media: Media) -> Finding:
        raise error

    return act


def test_a_detector_that_fails_is_missing_and_the_item_goes_on(photo: bytes) -> None:
    report = ContentAuthenticator(detectors=[Odd(raising(ZeroDivisionError("by zero")))])(photo)
    failed = report.findings[-1]
    assert (failed.detector, failed.applicable, failed.score) == ("odd", False, None)
    assert failed.reason == "ZeroDivisionError: by zero"
    assert report.verdict is Verdict.INCONCLUSIVE
    assert any("odd failed" in reason for reason in report.reasons)


@pytest.mark.parametrize("error", [MediaTruncated("cut"), TransientError("later"), MemoryError()])
def test_what_a_detector_says_of_the_item_or_the_machine_is_passed_on(error: Exception, photo: bytes) -> None:
    with pytest.raises(type(error)):
        ContentAuthenticator(detectors=[Odd(raising(error))])(photo)


def test_a_detector_of_the_user_is_heard(photo: bytes) -> None:
    own = Odd(lambda media: Finding("odd", "3", True, f"{media.width} wide"))
    assert ContentAuthenticator(detectors=[own])(photo).findings[-1].reason == "64 wide"


class Context:
    def __init__(self) -> None:
        self.heard: list[tuple[int, int, str]] = []

    def progress(self, done: int, total: int, step: str) -> None:
        self.heard.append((done, total, step))


@pytest.fixture
def steps_told(
    authenticator: ContentAuthenticator, photo: bytes, monkeypatch: pytest.MonkeyPatch
) -> Callable[[float], list[tuple[int, int, str]]]:
    """What the context hears of a photo, if items are slow from so many seconds on."""

    def told(slow_s: float) -> list[tuple[int, int, str]]:
        monkeypatch.setattr(authenticator_module, "SLOW_S", slow_s)
        context = Context()
        authenticator(photo, context)
        return context.heard

    return told


def test_progress_of_a_slow_item_is_told_detector_by_detector(
    authenticator: ContentAuthenticator, steps_told: Callable[[float], list[tuple[int, int, str]]]
) -> None:
    heard = steps_told(0.0)
    assert [step for _, _, step in heard] == [detector.name for detector in authenticator.detectors]
    assert heard[0][:2] == (0, len(authenticator.detectors))


def test_the_steps_of_a_quick_item_are_not_told(
    steps_told: Callable[[float], list[tuple[int, int, str]]],
) -> None:
    assert steps_told(60.0) == []


def test_the_fingerprint_changes_with_all_that_changes_a_report(anchors: Path) -> None:
    built = [
        ContentAuthenticator(),
        ContentAuthenticator("full"),
        ContentAuthenticator(limits=MediaLimits(max_pixels=5)),
        ContentAuthenticator(trust_list=anchors),
        ContentAuthenticator(detectors=[Odd(raising(ValueError()))]),
    ]
    assert len({one.fingerprint for one in built}) == len(built)
    assert ContentAuthenticator().fingerprint == built[0].fingerprint


def test_wrong_arguments_are_said_at_once(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="'fast' or 'full'"):
        ContentAuthenticator("slow")  # type: ignore[arg-type]
    with pytest.raises(InvalidInput, match="trust_list"):
        ContentAuthenticator(trust_list=tmp_path / "none.pem")


def test_a_report_pickles(authenticator: ContentAuthenticator, captured: bytes) -> None:
    report = authenticator(captured)
    assert pickle.loads(pickle.dumps(report)) == report


def truncations(data: bytes) -> Iterator[bytes]:
    yield from (data[: len(data) * part // 20] for part in range(1, 20))


def test_cut_files_are_media_errors_or_reports_but_never_accused(
    authenticator: ContentAuthenticator, captured: bytes, av_bench: Any
) -> None:
    for whole in (captured, av_bench.video(frames=10), av_bench.sound(av_bench.noise(0.2))):
        for data in truncations(whole):
            try:
                report = authenticator(data)
            except MediaError:
                continue
            assert isinstance(report, Report)
            assert report.verdict is not Verdict.MANIPULATED


def test_every_sample_is_judged_as_it_is_labelled(made: SampleSet) -> None:
    """The sample folder: photographs, forgeries, credentials, declarations, recordings, documents, broken files."""
    plain, trusting = ContentAuthenticator(), ContentAuthenticator(trust_list=made.trust_list)
    wrong = {}
    for sample in made:
        expected: tuple[str | None, ...] = (
            sample.verdict,
            sample.provenance_state,
            sample.trusted_verdict,
            sample.trusted_provenance_state,
        )
        told: tuple[str | None, ...]
        try:
            first, second = (one(made.path(sample)) for one in (plain, trusting))
            told = (first.verdict, first.provenance.state, second.verdict, second.provenance.state)
        except MediaError as error:
            told, expected = (type(error).__name__,), (sample.error_type,)
        if told != expected:
            wrong[sample.file] = told
    assert wrong == {}
