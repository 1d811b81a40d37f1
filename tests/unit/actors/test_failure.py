"""What becomes of an exception that a verifier raised."""

import builtins
import errno
import pickle

import pytest

from dfbatch.actors.failure import classify, clean_traceback, describe
from dfbatch.core.error_class import ErrorClass
from dfbatch.errors import BreakerOpen, MediaTruncated, OutputInvalid, TransientError, VerifierUnusable


class HttpError(Exception):
    """As requests and httpx have it: the status stands on the response."""

    def __init__(self, status_code):
        super().__init__(f"HTTP {status_code}")
        self.response = type("Response", (), {"status_code": status_code})()


class UrllibError(Exception):
    def __init__(self, code):
        super().__init__(f"HTTP {code}")
        self.code = code


class ClientError(Exception):
    """As aiohttp has it."""

    def __init__(self, status):
        super().__init__(f"HTTP {status}")
        self.status = status


class BusyModel(TransientError):
    pass


class Special(ValueError):
    pass


@pytest.mark.parametrize(
    "error",
    [
        ConnectionResetError("reset"),
        BrokenPipeError("pipe"),
        builtins.TimeoutError("slow"),
        OSError(errno.ECONNREFUSED, "refused"),
        OSError(errno.ENETUNREACH, "no route"),
        OSError(errno.ESTALE, "NFS"),
        HttpError(429),
        HttpError(503),
        UrllibError(500),
        ClientError(502),
        TransientError("again"),
        BusyModel("again"),
    ],
    ids=repr,
)
def test_errors_that_pass_are_transient(error):
    assert classify(error) is ErrorClass.TRANSIENT


@pytest.mark.parametrize(
    "error",
    [
        ValueError("no"),
        KeyError("k"),
        FileNotFoundError(errno.ENOENT, "gone"),
        PermissionError(errno.EACCES, "secret"),
        OSError(errno.ENOSPC, "full"),
        HttpError(404),
        HttpError(401),
        UrllibError(418),
        MediaTruncated("short"),
        OutputInvalid("odd"),
        SystemExit(3),
    ],
    ids=repr,
)
def test_errors_of_the_item_or_the_code_are_permanent(error):
    assert classify(error) is ErrorClass.PERMANENT


def test_some_errors_have_classes_of_their_own():
    assert classify(BreakerOpen("scorer", 3.0)) is ErrorClass.BREAKER_OPEN
    assert classify(VerifierUnusable("no module")) is ErrorClass.VERIFIER_UNUSABLE
    assert classify(MemoryError()) is ErrorClass.OUT_OF_MEMORY


@pytest.mark.parametrize("name", ["ValueError", "builtins.ValueError", f"{__name__}.Special", "Special"])
def test_retry_on_adds_classes_by_name_with_their_subclasses(name):
    assert classify(Special("x")) is ErrorClass.PERMANENT
    assert classify(Special("x"), retry_on=[name]) is ErrorClass.TRANSIENT


def test_give_up_on_wins_over_retry_on_and_over_the_network():
    assert classify(ConnectionResetError(), give_up_on=["ConnectionError"]) is ErrorClass.PERMANENT
    assert classify(Special("x"), ["ValueError"], ["Special"]) is ErrorClass.PERMANENT
    assert classify(TransientError("x"), [], ["dfbatch.errors.TransientError"]) is ErrorClass.PERMANENT


def test_neither_list_can_touch_an_open_breaker():
    assert classify(BreakerOpen("s"), ["BreakerOpen"], ["BreakerOpen"]) is ErrorClass.BREAKER_OPEN


def test_a_status_that_is_no_number_means_nothing():
    error = ValueError("x")
    error.status = "503"
    assert classify(error) is ErrorClass.PERMANENT


def raise_nested():
    try:
        int("x")
    except ValueError as cause:
        raise RuntimeError("outer") from cause


def caught(call):
    try:
        call()
    except BaseException as error:
        return error
    raise AssertionError("nothing was raised")


def test_the_story_holds_type_message_and_a_traceback_with_its_causes():
    failure = describe(caught(raise_nested))
    assert (failure.error_type, failure.message) == ("RuntimeError", "outer")
    assert "invalid literal for int()" in failure.traceback_text
    assert "The above exception was the direct cause" in failure.traceback_text
    assert "raise_nested" in failure.traceback_text


def test_types_of_user_code_carry_their_module_and_ours_do_not():
    assert describe(Special("x")).error_type == f"{__name__}.Special"
    assert describe(MediaTruncated("x")).error_type == "MediaTruncated"


def test_errors_about_the_item_need_no_traceback_and_have_no_fingerprint():
    failure = describe(MediaTruncated("The file ends before its content does."))
    assert failure.fingerprint == 0
    assert failure.traceback_text == ""


def test_equal_errors_have_equal_fingerprints_whatever_their_messages():
    def fail(value):
        raise ValueError(f"bad {value}")

    one, two = (describe(caught(lambda v=v: fail(v))) for v in (1, 2))
    other = describe(caught(raise_nested))
    assert one.fingerprint == two.fingerprint != 0
    assert other.fingerprint not in (0, one.fingerprint)


class RaisesInStr(Exception):
    def __str__(self):
        raise RuntimeError("not even this")


class ExitsInStr(Exception):
    def __str__(self):
        raise SystemExit


class NoTextAtAll(Exception):
    def __str__(self):
        return 7


@pytest.mark.parametrize("kind", [RaisesInStr, ExitsInStr, NoTextAtAll])
def test_an_error_that_cannot_say_what_it_is_is_described_anyway(kind):
    failure = describe(kind())
    assert failure.message.startswith("(its __str__ raised ")
    assert failure.error_class is ErrorClass.PERMANENT


def test_long_messages_are_cut_and_lone_surrogates_replaced():
    failure = describe(ValueError("x" * 1_000_000))
    assert len(failure.message) <= 2_000
    assert len(failure.traceback_text) <= 20_000
    odd = describe(ValueError("no such file: \udcff.jpg"))
    assert odd.message == "no such file: ?.jpg"
    (odd.message + odd.traceback_text).encode()


def test_an_empty_message_is_replaced_by_the_type():
    assert describe(ValueError()).message == "ValueError"


def test_frames_of_the_worker_are_left_out(runner, make_chunk):
    def boom(item):
        raise KeyError(item)

    (outcomes,) = runner.run(boom, make_chunk(["a"]))
    text = outcomes.failures.column("traceback")[0].as_py()
    assert "boom" in text
    assert "dfbatch/actors" not in text


def test_causes_that_go_in_circles_end():
    one, two = ValueError("one"), ValueError("two")
    one.__cause__, two.__cause__ = two, one
    assert "two" in clean_traceback(one)


def test_a_failure_is_plain_data():
    assert pickle.loads(pickle.dumps(describe(RaisesInStr()))).error_type.endswith("RaisesInStr")
