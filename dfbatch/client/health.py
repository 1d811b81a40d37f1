"""``client.health()``: how the manager does, as facts, and what is wrong in sentences that say what to do."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from dfbatch.client.html_text import esc, seconds, size
from dfbatch.client.session import Session
from dfbatch.errors import ManagerUnavailable

LOW_BYTES = 1 << 30
"""So little free space is worth a word before it is used up."""
MANY_ROWS = 1_000_000
"""So many rows that wait for the ledger mean that it is slower than the work."""
OLD_SAMPLE_S = 30.0
_PATIENCE_S = 20.0
_UNKNOWN: dict[str, Any] = {
    "epoch": 0,
    "storage_refusing": None,
    "free_bytes": None,
    "backlog_rows": 0,
    "workers": 0,
    "workers_by_state": {},
    "idle_but_backlog": [],
    "open_batches": 0,
    "stalled": {},
    "queues": [],
    "open_breakers": {},
    "duplicates_suppressed": 0,
    "worker_deaths": 0,
    "uptime_s": 0.0,
    "recovery_s": 0.0,
    "last_sample_age_s": None,
}
"""Of a manager that does not answer."""
_MOST_TOLD = 5
_STATES = {
    "starting": "The manager starts. Calls wait for it.",
    "recovering": "The manager reads the ledger back. Calls wait for it",
    "fenced": "A newer manager has taken this ledger over. Connect again: dfbatch.connect().",
    "stopping": "The manager is stopping. Open batches wait in the ledger for the next dfbatch.connect(resume=True).",
    "stopped": "The manager has stopped. Open batches wait in the ledger for the next dfbatch.connect(resume=True).",
}


class Health(dict[str, Any]):
    """Facts by name (``health["epoch"]``), so that it is JSON as it is; ``ok`` and ``problems`` say what they mean."""

    @property
    def ok(self) -> bool:
        """True if there is nothing to do."""
        return not self["problems"]

    @property
    def problems(self) -> list[str]:
        """What is wrong, the worst first; each says what to do next."""
        found: list[str] = self["problems"]
        return found

    @property
    def status(self) -> str:
        """Of the manager: starting, recovering, running, fenced, stopping, stopped, unreachable."""
        found: str = self["status"]
        return found

    def __repr__(self) -> str:
        lines = [f"<dfbatch.Health {'ok' if self.ok else 'not ok'}: {_line(self)}>"]
        return "\n".join([*lines, *(f"  - {problem}" for problem in self.problems)])

    def _repr_html_(self) -> str:
        colour, word = ("#15803d", "healthy") if self.ok else ("#b45309", "needs attention")
        head = f'<b style="color:{colour}">{"✓" if self.ok else "!"} {word}</b> <span>{esc(_line(self), 400)}</span>'
        items = "".join(f"<li>{esc(problem, 1_000)}</li>" for problem in self.problems)
        listed = f'<ul style="margin:.3em 0 0 1.2em;padding:0">{items}</ul>' if items else ""
        return f'<div style="font-size:90%">{head}{listed}</div>'


def health(session: Session) -> Health:
    """Ask the manager; one that does not answer within seconds is a finding, not an error.

    Raises ClientClosed, and StorageInUse for a read-only client.
    """
    try:
        facts: dict[str, Any] = session.call("health", timeout_s=10.0, patience_s=_PATIENCE_S)
    except ManagerUnavailable as error:
        said = f"The manager does not answer: {error}"
        return Health(_UNKNOWN, status="unreachable", reason=str(error), ok=False, problems=[said])
    problems = problems_of(facts)
    return Health(facts, ok=not problems, problems=problems)


def problems_of(facts: Mapping[str, Any]) -> list[str]:
    """What the facts of a manager mean for whoever has to act; empty if all is well."""
    return [*_of_manager(facts), *_of_storage(facts), *_of_work(facts), *_of_workers(facts)]


def _of_manager(facts: Mapping[str, Any]) -> Iterator[str]:
    status, reason = facts["status"], facts["reason"]
    if status != "running":
        said = _STATES.get(status, f"The manager is {status}.")
        yield f"{said}: {_ended(reason)}" if status == "recovering" and reason else _ended(said)
    elif reason and reason != facts["storage_refusing"]:
        yield _ended(reason)
    age = facts["last_sample_age_s"]
    if age is not None and age > OLD_SAMPLE_S:
        yield f"The manager has not looked at itself for {age:.0f} s: it is overloaded. See the CPU of its process."


def _of_storage(facts: Mapping[str, Any]) -> Iterator[str]:
    path, free = facts["storage_path"], facts["free_bytes"]
    if facts["storage_refusing"]:
        yield (
            f"The ledger under {path} refuses writes ({facts['storage_refusing']}). Make room or mend the storage; "
            f"outcomes are kept in memory meanwhile, and the work goes on by itself."
        )
    elif free is not None and free < LOW_BYTES:
        yield f"Only {size(free)} are free under {path}. Make room before the ledger refuses writes."
    if facts["backlog_rows"] > MANY_ROWS:
        yield (
            f"{facts['backlog_rows']:,} rows wait for the ledger: the storage under {path} is slower than the work. "
            f"Use a faster one, or fewer workers: client.scale(0, n)."
        )


def _of_work(facts: Mapping[str, Any]) -> Iterator[str]:
    for name, n_workers in sorted(facts["open_breakers"].items()):
        where = "1 worker" if n_workers == 1 else f"{n_workers} workers"
        if name.startswith("("):
            yield f"The breaker {name} is open on {where}: client.workers() and the results' errors say why."
            continue
        yield (
            f"The circuit breaker of '{name}' is open on {where}: its items wait, and lose no attempt. Bring the "
            f"service back; the breakers try it again by themselves."
        )
    stalled = list(facts["stalled"].items())
    for batch_id, reason in stalled[:_MOST_TOLD]:
        yield f"Batch {batch_id} does not move: {reason}. {_advice(reason)}"
    if len(stalled) > _MOST_TOLD:
        yield f"{len(stalled) - _MOST_TOLD:,} more batches do not move; health['stalled'] says why."


def _of_workers(facts: Mapping[str, Any]) -> Iterator[str]:
    if lost := facts["workers_by_state"].get("lost"):
        what = "A worker has" if lost == 1 else f"{lost} workers have"
        yield f"{what} died just now. Its jobs go to others; client.workers() shows who is there."
    if idle := facts["idle_but_backlog"]:
        names = ", ".join(idle[:_MOST_TOLD])
        yield f"Idle though work is queued for them: {names}. If it lasts, look at their logs, and restart them."


def _advice(reason: str) -> str:
    if "no worker" in reason:
        return "Let workers start with client.scale(0, n), or see client.workers()."
    if "limit" in reason or "paused" in reason:
        return "See client.queue(name).policy, and change it if that is not meant."
    return "See client.workers() and client.metrics()."


def _line(facts: Mapping[str, Any]) -> str:
    """``manager running (epoch 3) for 2 h 5 min, 4 workers, 1 open batch, 12,000 jobs waiting, 40.2 GB free``."""
    if not facts["epoch"]:
        return f"manager {facts['status']}"
    parts = [f"manager {facts['status']} (epoch {facts['epoch']})"]
    if facts["uptime_s"]:
        parts[0] += f" for {seconds(facts['uptime_s'])}"
    waiting = sum(queue["waiting"] for queue in facts["queues"])
    parts += [_n(facts["workers"], "worker"), _n(facts["open_batches"], "open batch", "open batches")]
    parts += [f"{_n(waiting, 'job')} waiting"]
    if facts["free_bytes"] is not None:
        parts.append(f"{size(facts['free_bytes'])} free")
    return ", ".join(parts)


def _n(n: int, one: str, many: str = "") -> str:
    return f"{n:,} {one if n == 1 else many or one + 's'}"


def _ended(sentence: str) -> str:
    return sentence if sentence.endswith((".", "!", "?")) else f"{sentence}."
