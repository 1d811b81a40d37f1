"""A verifier that cannot work stops its batch after the first chunks, with the user's own traceback."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

import dfbatch
from dfbatch.testing import InProcess

pytestmark = pytest.mark.integration

N = 20_000
MANY = 2_000
"""More failed rows than the chunks under way when the first one failed are not explained by haste."""


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with InProcess(tmp_path_factory.mktemp("bad") / "ledger") as found:
        yield found


class CannotImport:
    def __init__(self) -> None:
        import a_module_that_nobody_has  # noqa: F401

    def __call__(self, item: int) -> int:
        return item


class CannotBegin:
    def __init__(self, path: str) -> None:
        with open(path) as file:
            self.text = file.read()

    def __call__(self, item: int) -> int:
        return item


class CannotBeRead:
    """Pickles, and raises where it is unpickled."""

    def __call__(self, item: int) -> int:
        return item

    def __reduce__(self) -> Any:
        return _refuse, ()


def _refuse() -> None:
    raise LookupError("The weights are not on this machine.")


class TooFew:
    def verify_batch(self, table: pa.Table) -> pa.Table:
        return table.slice(0, 1)


class NoTable:
    def verify_batch(self, table: pa.Table) -> int:
        return len(table)


def no_value(item: int) -> object:
    return object()


def imports_late(item: int) -> int:
    import a_module_that_nobody_has  # noqa: F401

    return item


@pytest.mark.parametrize(
    ("verifier", "init", "error_type", "says", "line"),
    [
        (CannotImport, {}, "VerifierUnusable", "a_module_that_nobody_has", "import a_module_that_nobody_has"),
        (CannotBegin, {"path": "/nowhere/w.pt"}, "VerifierUnusable", "/nowhere/w.pt", "with open(path) as file"),
        (CannotBeRead(), {}, "VerifierUnusable", "weights are not on", "raise LookupError"),
        (imports_late, {}, "ModuleNotFoundError", "a_module_that_nobody_has", "import a_module_that_nobody_has"),
        (TooFew, {}, "OutputInvalid", "verify_batch returned 1 rows for", None),
        (NoTable, {}, "OutputInvalid", "Return a pyarrow.Table or a list", None),
        (no_value, {}, "OutputInvalid", "returned object, which does not fit", None),
    ],
    ids=["import", "construct", "unpickle", "import in a function", "too few rows", "no table", "no value"],
)
def test_it_stops_the_batch_fast(
    client: Any, verifier: Any, init: dict[str, Any], error_type: str, says: str, line: str | None
) -> None:
    batch = client.map(verifier, range(N), init=init).wait(60)
    assert batch.status == "failed"
    rows = batch.failures().to_arrow().to_pylist()
    assert 0 < len(rows) < MANY
    assert {row["error_type"] for row in rows} == {error_type}
    assert says in rows[0]["error_message"]
    if line is not None:
        text = rows[0]["traceback"]
        assert line in text
        assert "dfbatch/actors" not in text, "the frames of the worker are of no use to the user"
    assert batch.counts()["cancelled"] > N - MANY
    assert "rest was not run" in (batch.progress().reason or "")


def test_what_cannot_be_pickled_is_said_at_the_call(client: Any) -> None:
    lock = threading.Lock()

    def locked(item: int) -> int:
        with lock:
            return item

    with pytest.raises(dfbatch.InvalidInput, match="cannot be sent to the workers.*lock"):
        client.map(locked, range(N))


def test_a_verifier_that_has_proved_itself_loses_one_row_to_one_bad_answer(ledger_path: Path) -> None:
    """On one worker: another one might begin with the bad answer, and nothing would be proved there."""

    class DropsOne:
        def verify_batch(self, table: pa.Table) -> list[int]:
            return [item for item in table["item"].to_pylist() if item != 15_000]

    with InProcess(ledger_path, workers=1) as client:
        batch = client.map(DropsOne, range(N)).wait(60)
        assert batch.counts() == {"succeeded": N - 1, "failed": 1}
        assert batch.failures()[0]["job_index"] == 15_000


def test_code_and_model_are_named_in_every_row(client: Any, tmp_path: Path) -> None:
    class Model:
        model_fingerprint = "weights-7"

        def __call__(self, item: int) -> int:
            if item % 2:
                raise ValueError(item)
            return item

    batch = client.map(Model, range(100)).wait(60)
    table = batch.results().to_arrow()
    assert set(table["model_fingerprint"].to_pylist()) == {"weights-7"}
    (fingerprint,) = set(table["verifier_fingerprint"].to_pylist())
    assert fingerprint
