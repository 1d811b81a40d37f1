"""Standard output of a worker, line by line."""

from __future__ import annotations

import io
import subprocess
import sys
import threading

import pytest

from dfbatch.actors.print_writer import LONGEST_LINE, PrintWriter


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def writer(said: list[str]) -> PrintWriter:
    return PrintWriter(io.TextIOWrapper(io.BytesIO(), encoding="utf-8"), said.append)


def test_lines_are_said_when_they_end(writer: PrintWriter, said: list[str]) -> None:
    print("one", 2, file=writer)
    print("three", end="", file=writer, flush=True)
    assert said == ["one 2"]
    print(" and\nfour\n", file=writer)
    assert said == ["one 2", "three and", "four", ""]


def test_a_progress_bar_is_one_line(writer: PrintWriter, said: list[str]) -> None:
    for percent in range(101):
        writer.write(f"\r{percent} %")
    writer.write("\n")
    assert said == ["100 %"]


def test_windows_ends_of_lines_lose_nothing(writer: PrintWriter, said: list[str]) -> None:
    writer.write("a\r\nb\r\n")
    assert said == ["a", "b"]


def test_a_line_without_an_end_is_said_in_pieces(writer: PrintWriter, said: list[str]) -> None:
    for _ in range(10):
        writer.write("x" * LONGEST_LINE)
    assert [len(line) for line in said] == [LONGEST_LINE] * 9


def test_threads_do_not_mix_their_lines(writer: PrintWriter, said: list[str]) -> None:
    start = threading.Barrier(4)

    def work(name: str) -> None:
        start.wait()
        for _ in range(200):
            print(name, name, name, file=writer)

    threads = [threading.Thread(target=work, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(set(said)) == ["a a a", "b b b", "c c c", "d d d"]
    assert len(said) == 800


def test_a_listener_that_prints_is_not_heard_for_ever() -> None:
    said: list[str] = []

    def listen(line: str) -> None:
        said.append(line)
        print("I heard", line, file=writer)

    writer = PrintWriter(io.StringIO(), listen)
    print("hello", file=writer)
    assert said == ["hello"]


def test_it_is_taken_for_a_stream() -> None:
    writer = PrintWriter(sys.__stdout__, lambda _: None)
    assert (writer.writable(), writer.isatty(), writer.encoding) == (True, False, "utf-8")
    assert writer.fileno() == sys.__stdout__.fileno()
    assert subprocess.run([sys.executable, "-c", ""], stdout=writer, check=True).returncode == 0
    with pytest.raises(TypeError, match="must be str"):
        writer.write(b"bytes")  # type: ignore[arg-type]
    writer.buffer.flush()
