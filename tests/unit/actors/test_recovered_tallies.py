"""What has come out of a batch so far is known again after a manager was killed."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.integration

WAIT_S = 60.0


def test_verdicts_and_errors_go_on_from_where_they_were(life, until, made, tmp_path):
    picture = made.folder / "photo-coffee.jpg"
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"\xff\xd8\xff\xe0 no picture")
    first = life(workers=1)
    # Three may run; the others are not due before the test is over.
    first.client.queue("verification").set_policy(rate_per_s=1e-3, burst=3)
    batch = first.client.verify([broken, *[picture] * 6])
    until(lambda: batch.progress().done >= 3, WAIT_S)
    batch.pause()
    until(lambda: "running" not in batch.counts() and first.client.health()["backlog_rows"] == 0, WAIT_S)
    seen = batch.progress()
    assert seen.counts["paused"] > 0
    assert sum(seen.errors.values()) == 1
    first.crash()
    second = life(workers=1)
    found = second.client.attach(batch.id)
    again = found.progress()
    assert (again.verdicts, again.errors) == (seen.verdicts, seen.errors)
    second.client.queue("verification").set_policy(rate_per_s=None)
    found.resume()
    found.wait(WAIT_S)
    assert found.progress().verdicts == found.results().counts("verdict")
