"""Verifiers may print what they like: a notebook sees none of it, and `job.log()` all of it."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

Python = Callable[..., subprocess.CompletedProcess[str]]

LOUD = """
import glob, json, os, sys
import dfbatch
from dfbatch.actors import cluster
import ray
_ = ray.init(num_cpus=2, include_dashboard=False, log_to_driver=True)

def loud(item, ctx):
    import logging, sys, warnings
    print("SAID to stdout", item)
    print("SAID to stderr", item, file=sys.stderr)
    ctx.log.warning("SAID to the log")
    logging.getLogger("theirs").error("SAID to another logger")
    warnings.warn("SAID in a warning")
    return item

os.environ["DFBATCH_PROGRESS"] = "off"
with dfbatch.connect(storage_path=sys.argv[1], workers=(0, 1)) as client:
    import time
    batch = client.map(loud, range(20)).wait(200)
    folder = ray._private.worker._global_node.get_logs_dir_path()
    end = time.monotonic() + 100
    while True:  # what is said goes another way than the outcomes
        lines = [line for path in glob.glob(os.path.join(folder, "dfbatch-worker-*.log")) for line in open(path)]
        records = [json.loads(line) for line in lines if line.endswith("\\n")]
        jobs = {record["job_id"] for record in records if "SAID" in record["message"]}
        log = batch[3].log()
        if (len(jobs) == 20 and "another logger" in log) or time.monotonic() > end:
            break
        time.sleep(0.05)
    found = {"batch": batch.id, "log": log, "records": records}
    time.sleep(1.5)  # Ray copies what workers print a moment later, if it copies it
    client.shutdown()
print(json.dumps(found))
"""


def test_nothing_that_verifiers_say_reaches_the_screen(python: Python, tmp_path: Path) -> None:
    """Not even in a Ray that the user started to copy what workers print; one that dfbatch starts copies nothing."""
    run = python(LOUD, tmp_path / "ledger")
    assert run.returncode == 0, run.stderr
    *before, last = run.stdout.splitlines()
    assert "SAID" not in "".join(before) + run.stderr
    found = json.loads(last)
    said = found["log"].splitlines()
    texts = ("SAID to stdout 3", "SAID to stderr 3", "WARNING SAID to the log", "ERROR SAID to another logger")
    assert tuple(said[:4]) == texts
    about = {record["job_id"] for record in found["records"] if "SAID" in record["message"]}
    assert about == {f"{found['batch']}-{k}" for k in range(20)}
