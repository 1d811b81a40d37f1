"""Argument before environment before default, and each value knows where it came from."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dfbatch.config import LOG_LEVELS, PROGRESS_KINDS, Settings, resolve
from dfbatch.errors import InvalidInput, InvalidType


def test_without_words_the_defaults_hold() -> None:
    settings = resolve(environment={})
    assert settings.storage_path == str(Path.home() / "dfbatch_results")
    assert settings.namespace == "dfbatch"
    assert (settings.workers, settings.address, settings.timeout_s) == (None, None, None)
    assert (settings.progress, settings.log_level) == ("auto", "WARNING")
    assert set(settings.origins.values()) == {"default"}


@pytest.mark.parametrize(
    ("name", "variable", "text", "from_variable", "argument", "from_argument"),
    [
        ("storage_path", "DFBATCH_STORAGE_PATH", "/a/b", "/a/b", "/c", "/c"),
        ("namespace", "DFBATCH_NAMESPACE", "team", "team", "mine", "mine"),
        ("workers", "DFBATCH_WORKERS", "1,8", (1, 8), 4, (4, 4)),
        ("address", "RAY_ADDRESS", "10.0.0.1:6379", "10.0.0.1:6379", "auto", "auto"),
        ("timeout_s", "DFBATCH_TIMEOUT_S", "2.5", 2.5, 60, 60.0),
        ("progress", "DFBATCH_PROGRESS", "tqdm", "tqdm", "off", "off"),
        ("log_level", "DFBATCH_LOG_LEVEL", "debug", "DEBUG", "ERROR", "ERROR"),
    ],
)
def test_argument_before_environment_before_default(
    name: str, variable: str, text: str, from_variable: Any, argument: Any, from_argument: Any
) -> None:
    environment = {variable: text}
    by_environment = resolve(environment=environment)
    assert (getattr(by_environment, name), by_environment.origins[name]) == (from_variable, variable)
    by_argument = resolve(environment=environment, **{name: argument})
    assert (getattr(by_argument, name), by_argument.origins[name]) == (from_argument, "argument")


def test_an_empty_variable_is_not_given() -> None:
    assert resolve(environment={"DFBATCH_WORKERS": "", "DFBATCH_NAMESPACE": "  "}) == resolve(environment={})


def test_the_environment_of_the_process_is_read_at_the_call(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DFBATCH_NAMESPACE", "first")
    assert resolve().namespace == "first"
    monkeypatch.setenv("DFBATCH_NAMESPACE", "second")
    assert resolve().namespace == "second"


@pytest.mark.parametrize(
    ("given_workers", "bounds"),
    [(1, (1, 1)), ("4", (4, 4)), ((0, 2), (0, 2)), ([1, 8], (1, 8)), (" 1 , 8 ", (1, 8)), ("2,2", (2, 2))],
)
def test_workers_are_a_number_or_bounds(given_workers: Any, bounds: tuple[int, int]) -> None:
    assert resolve(workers=given_workers, environment={}).workers == bounds


@pytest.mark.parametrize(
    ("given_path", "kept"),
    [
        ("s3://bucket/results/", "s3://bucket/results"),
        ("gs://bucket/a b", "gs://bucket/a b"),
        ("/data/../results", "/data/../results"),
        (Path("/data/results"), "/data/results"),
    ],
)
def test_uris_and_full_paths_are_kept(given_path: str | Path, kept: str) -> None:
    assert resolve(storage_path=given_path, environment={}).storage_path == kept


def test_a_relative_path_is_made_full_because_workers_stand_elsewhere() -> None:
    assert resolve(storage_path="results", environment={}).storage_path == os.path.join(os.getcwd(), "results")


def test_a_tilde_is_the_home_folder() -> None:
    assert resolve(environment={"DFBATCH_STORAGE_PATH": "~/x"}).storage_path == str(Path.home() / "x")


@pytest.mark.parametrize(
    ("variable", "text"),
    [
        ("DFBATCH_STORAGE_PATH", "a\x00b"),
        ("DFBATCH_STORAGE_PATH", "~nobody_has_this_name/x"),
        ("DFBATCH_NAMESPACE", "a\nb"),
        ("DFBATCH_NAMESPACE", "x" * 101),
        ("DFBATCH_WORKERS", "many"),
        ("DFBATCH_WORKERS", "0"),
        ("DFBATCH_WORKERS", "-1"),
        ("DFBATCH_WORKERS", "8,1"),
        ("DFBATCH_WORKERS", "-1,4"),
        ("DFBATCH_WORKERS", "1,2,3"),
        ("DFBATCH_WORKERS", "1.5"),
        ("DFBATCH_WORKERS", ","),
        ("DFBATCH_TIMEOUT_S", "soon"),
        ("DFBATCH_TIMEOUT_S", "0"),
        ("DFBATCH_TIMEOUT_S", "-3"),
        ("DFBATCH_TIMEOUT_S", "nan"),
        ("DFBATCH_TIMEOUT_S", "inf"),
        ("DFBATCH_PROGRESS", "fancy"),
        ("DFBATCH_LOG_LEVEL", "loud"),
        ("RAY_ADDRESS", "ray://head:10001"),
        ("RAY_ADDRESS", "a\nb"),
    ],
)
def test_a_bad_variable_is_named_with_a_remedy(variable: str, text: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        resolve(environment={variable: text})
    assert caught.value.argument == variable
    assert caught.value.remedy.startswith("Give ")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("storage_path", 3),
        ("storage_path", b"/data"),
        ("namespace", 3),
        ("workers", True),
        ("workers", 2.0),
        ("workers", (1, None)),
        ("workers", ()),
        ("address", 6379),
        ("timeout_s", True),
        ("timeout_s", [1]),
        ("timeout_s", 10**400),
        ("progress", 1),
        ("progress", ""),
        ("log_level", 10),
    ],
)
def test_a_bad_argument_is_named_with_a_remedy(name: str, value: Any) -> None:
    with pytest.raises(InvalidInput) as caught:
        resolve(environment={}, **{name: value})
    assert caught.value.argument == name
    assert caught.value.remedy.startswith("Give ")


def test_a_wrong_type_is_also_a_type_error() -> None:
    with pytest.raises(InvalidType) as caught:
        resolve(workers=2.5, environment={})  # type: ignore[arg-type]
    assert isinstance(caught.value, TypeError)


@given(st.text(max_size=20))
def test_any_text_in_a_variable_is_understood_or_refused(text: str) -> None:
    for variable in ("DFBATCH_WORKERS", "DFBATCH_TIMEOUT_S", "DFBATCH_PROGRESS", "DFBATCH_STORAGE_PATH", "RAY_ADDRESS"):
        try:
            settings = resolve(environment={variable: text})
        except InvalidInput:
            continue
        least, most = settings.workers or (0, 1)
        assert 0 <= least <= most
        assert settings.timeout_s is None or settings.timeout_s > 0


@pytest.mark.parametrize("kind", PROGRESS_KINDS)
def test_every_kind_of_progress_is_known_in_any_case(kind: str) -> None:
    assert resolve(progress=kind.upper(), environment={}).progress == kind


@pytest.mark.parametrize("level", LOG_LEVELS)
def test_every_log_level_is_known_in_any_case(level: str) -> None:
    assert resolve(log_level=level.lower(), environment={}).log_level == level


def test_rows_list_every_setting_with_its_origin() -> None:
    rows = resolve(workers=2, environment={"RAY_ADDRESS": "auto"}).rows()
    assert [name for name, _, _ in rows] == [f for f in Settings.__slots__ if f != "origins"]
    assert ("workers", (2, 2), "argument") in rows
    assert ("address", "auto", "RAY_ADDRESS") in rows
    assert ("progress", "auto", "default") in rows


def test_the_same_settings_are_equal_wherever_they_came_from() -> None:
    assert resolve(workers=2, environment={}) == resolve(environment={"DFBATCH_WORKERS": "2"})
    assert resolve(workers=2, environment={}) != resolve(workers=3, environment={})


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(AttributeError):
        resolve(environment={}).namespace = "other"  # type: ignore[misc]
