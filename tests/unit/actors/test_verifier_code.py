"""Verifiers on their way from the notebook to the workers."""

import functools
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import pytest

from dfbatch.actors.verifier_code import entry_point, load, pack
from dfbatch.authenticity.authenticator import ContentAuthenticator
from dfbatch.errors import InvalidInput, VerifierUnusable

pytestmark = pytest.mark.integration

ROOT = Path(__file__).parents[3]


class Scale:
    num_cpus = 1

    def __init__(self, by=2):
        self.by = by

    def __call__(self, item):
        return item * self.by


class Columns:
    num_gpus = 0.5

    def verify_batch(self, table, ctx):
        return table


def double(item):
    return item * 2


def elsewhere(packed, *items, path=()):
    """What the verifier answers in another process that knows none of our modules."""
    code = (
        "import sys, pickle\nfrom dfbatch.actors.verifier_code import load\n"
        "verifier = load(bytes.fromhex(sys.stdin.readline()))\n"
        "print([verifier(item) for item in eval(sys.stdin.readline())])\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", code],
        cwd="/",
        env={"PYTHONPATH": ":".join([str(ROOT), *map(str, path)])},
        input=packed.data.hex() + "\n" + repr(list(items)) + "\n",
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    return eval(run.stdout)


def local_module(folder, name, text, monkeypatch):
    """A module in a folder that only this process has on its path."""
    (folder / f"{name}.py").write_text(textwrap.dedent(text))
    monkeypatch.syspath_prepend(folder)
    monkeypatch.delitem(sys.modules, name, raising=False)
    return __import__(name)


def test_what_is_packed_can_be_loaded_and_called():
    assert load(pack(double).data)(3) == 6
    assert load(pack(Scale).data)(3) == 6
    assert load(pack(Scale, {"by": 5}).data)(3) == 15
    assert load(pack(Scale(7)).data)(3) == 21
    assert load(pack(lambda x: x + 1).data)(3) == 4
    assert load(pack(functools.partial(pow, 2)).data)(3) == 8
    assert load(pack(str.upper).data)("a") == "A"


def test_a_local_module_goes_by_value_with_all_that_it_uses(tmp_path, monkeypatch):
    module = local_module(
        tmp_path,
        "dfbatch_test_local",
        """
        import math
        FACTOR = 3
        def helper(item):
            return math.sqrt(item) * FACTOR
        def judge(item):
            return helper(item)
        """,
        monkeypatch,
    )
    assert elsewhere(pack(module.judge), 4, 9) == [6.0, 9.0]


def test_local_modules_that_it_imports_go_along(tmp_path, monkeypatch):
    local_module(tmp_path, "dfbatch_test_inner", "def halve(item):\n    return item / 2\n", monkeypatch)
    text = """
        import dfbatch_test_inner
        from dfbatch_test_inner import halve
        def judge(item):
            return halve(item) + dfbatch_test_inner.halve(item)
        """
    outer = local_module(tmp_path, "dfbatch_test_outer", text, monkeypatch)
    assert elsewhere(pack(outer.judge), 4) == [4.0]


def test_a_local_module_that_cannot_travel_stays_behind(tmp_path, monkeypatch):
    """Its importer goes, and finds it on a worker that has the same path."""
    local_module(
        tmp_path,
        "dfbatch_test_locked",
        "import threading\nlock = threading.Lock()\ndef judge(item):\n    with lock:\n        return item\n",
        monkeypatch,
    )
    text = "import dfbatch_test_locked\ndef judge(item):\n    return dfbatch_test_locked.judge(item)\n"
    outer = local_module(tmp_path, "dfbatch_test_opener", text, monkeypatch)
    assert elsewhere(pack(outer.judge), 4, path=[tmp_path]) == [4]


def test_a_function_of_a_notebook_goes_by_value():
    space = {"__name__": "__main__"}
    exec("OFFSET = 5\ndef cell(item):\n    return item + OFFSET\n", space)
    assert elsewhere(pack(space["cell"]), 1) == [6]


def test_a_module_of_an_installed_distribution_goes_by_name():
    import numpy.linalg

    assert b"numpy.linalg" in pack(numpy.linalg.norm).data
    assert len(pack(ContentAuthenticator, {"profile": "fast", "limits": None}).data) < 500


def test_a_worker_that_has_another_file_of_the_same_name_is_not_misled(tmp_path, monkeypatch):
    mine = local_module(tmp_path, "dfbatch_test_twin", "def judge(item):\n    return 'mine'\n", monkeypatch)
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    (theirs / "dfbatch_test_twin.py").write_text("def judge(item):\n    return 'theirs'\n")
    assert elsewhere(pack(mine.judge), 0, path=[theirs]) == ["mine"]


def test_the_fingerprint_follows_source_and_arguments(tmp_path, monkeypatch):
    old = local_module(tmp_path, "dfbatch_test_edited", "def judge(item):\n    return 1\n", monkeypatch)
    before = pack(old.judge).fingerprint
    assert pack(old.judge).fingerprint == before
    again = tmp_path / "edited"
    again.mkdir()
    new = local_module(again, "dfbatch_test_edited", "def judge(item):\n    return 2  # now\n", monkeypatch)
    assert pack(new.judge).fingerprint != before
    plain, scaled = pack(Scale).fingerprint, pack(Scale, {"by": 3}).fingerprint
    assert plain != scaled
    assert pack(Scale, {"by": 3}).fingerprint == scaled
    assert pack(Scale(3)).fingerprint != pack(Scale(4)).fingerprint
    assert pack(make_closure(1)).fingerprint != pack(make_closure(2)).fingerprint


def make_closure(n):
    return lambda item: item + n


def test_an_edit_of_a_helper_in_the_same_file_is_a_new_verifier(tmp_path, monkeypatch):
    source = "def helper():\n    return {n}\ndef judge(item):\n    return helper()\n"
    found = []
    for n in (1, 2):
        folder = tmp_path / str(n)
        folder.mkdir()
        module = local_module(folder, "dfbatch_test_helped", source.format(n=n), monkeypatch)
        found.append(pack(module.judge).fingerprint)
    assert found[0] != found[1]


def test_what_a_verifier_declares_is_read():
    packed = pack(Columns)
    assert packed.vectorised
    assert packed.resources == {"num_gpus": 0.5}
    assert packed.name.endswith(".Columns")
    assert not pack(Scale).vectorised


NOTEBOOK = """
import sys
from dfbatch.actors.verifier_code import pack
LIMIT = 3
def helper(item):
    return item in {"a", "b", "c"} and len(item) < LIMIT
class Judge:
    kinds = {"x", "y", "z"}
    def __init__(self, by):
        self.by = by
    def __call__(self, item):
        return helper(item)
print(pack(Judge, {"by": 1}).fingerprint, pack(Judge(1)).fingerprint, pack(helper).fingerprint)
"""


def fingerprints_of_notebook(text, seed):
    """Those of a fresh kernel: code without a file, and another order of sets."""
    run = subprocess.run(
        [sys.executable, "-c", text],
        env={"PYTHONPATH": str(ROOT), "PYTHONHASHSEED": str(seed)},
        capture_output=True,
        text=True,
        timeout=110,
        check=True,
    )
    return run.stdout.split()


def test_the_same_cells_have_the_same_fingerprint_in_another_kernel():
    before = fingerprints_of_notebook(NOTEBOOK, 1)
    assert len(set(before)) == 3
    assert fingerprints_of_notebook(NOTEBOOK, 2) == before
    edited = fingerprints_of_notebook(NOTEBOOK.replace("LIMIT = 3", "LIMIT = 4"), 1)
    assert all(new != old for new, old in zip(edited, before, strict=True))


class NeitherNor:
    pass


async def waits(item):
    return item


class Waits:
    async def __call__(self, item):
        return item


class WaitsForColumns:
    async def verify_batch(self, table):
        return table


class Locked:
    def __init__(self):
        self.lock = threading.Lock()

    def __call__(self, item):
        return item


@pytest.mark.parametrize(
    ("verifier", "init", "problem"),
    [
        (5, None, r"verifier: 5 is neither a function, nor a class with __call__ or verify_batch"),
        (NeitherNor, None, r"class NeitherNor has neither __call__ nor verify_batch\. Define one of them"),
        (waits, None, r"is asynchronous\. Give a plain function"),
        (Waits, None, r"is asynchronous"),
        (Waits(), None, r"is asynchronous"),
        (WaitsForColumns, None, r"is asynchronous"),
        (double, {"by": 2}, r"init: is given, but the verifier is no class"),
        (Scale(2), {"by": 2}, r"init: is given, but the verifier is no class"),
        (Scale, {"bye": 2}, r"init: does not fit Scale\(\): got an unexpected keyword argument 'bye'"),
        (Locked(), None, r"cannot be sent to the workers .*Open connections, locks and models in __init__"),
        (Scale, {"by": threading.Lock()}, r"cannot be sent to the workers"),
    ],
    ids=str,
)
def test_what_cannot_work_is_said_at_the_call(verifier, init, problem):
    with pytest.raises(InvalidInput, match=problem):
        pack(verifier, init)


def test_a_class_that_holds_what_does_not_pickle_only_when_constructed_is_fine():
    assert load(pack(Locked).data)(1) == 1


def test_packing_leaves_no_trace_in_cloudpickle(tmp_path, monkeypatch):
    import cloudpickle

    module = local_module(tmp_path, "dfbatch_test_trace", "def judge(item):\n    return item\n", monkeypatch)
    pack(module.judge)
    pack(module.judge)
    assert module.__name__ not in cloudpickle.list_registry_pickle_by_value()


class Broken:
    def __init__(self, path):
        raise FileNotFoundError(path)

    def __call__(self, item):
        return item


class Exits(Broken):
    def __init__(self):
        raise SystemExit(1)


def test_what_fails_on_the_worker_says_so():
    with pytest.raises(VerifierUnusable, match=r"Broken\(path\) failed on the worker: FileNotFoundError: model\.bin"):
        load(pack(Broken, {"path": "model.bin"}).data)
    with pytest.raises(VerifierUnusable, match=r"Exits\(\) failed on the worker: SystemExit"):
        load(pack(Exits).data)
    with pytest.raises(VerifierUnusable, match="cannot be loaded on the worker"):
        load(b"no pickle")


@pytest.mark.parametrize(
    ("verifier", "takes"),
    [
        (lambda item: 0, False),
        (lambda item, ctx: 0, True),
        (lambda item, context: 0, True),
        (lambda item, *, ctx: 0, True),
        (lambda item, limit=3: 0, False),
        (lambda *items: 0, False),
        (len, False),
        (Scale(), False),
        (Columns(), True),
    ],
)
def test_a_second_parameter_without_a_default_is_the_context(verifier, takes):
    assert entry_point(verifier)[2] is takes
