import re
from html.parser import HTMLParser

import pytest

from dfbatch.client.html_text import bar, clipped, esc, esc_block, esc_path, seconds, short, size
from dfbatch.client.results import Results

HOSTILE = '"><script>alert(1)</script><img src=x onerror=alert(2)>'


class Elements(HTMLParser):
    """Counts the elements of a page, and keeps their attributes and whether each was closed."""

    VOID = frozenset({"img", "meta", "br", "rect"})

    def __init__(self, page):
        super().__init__()
        self.names, self.attributes, self.open = [], [], []
        self.feed(page)

    def handle_starttag(self, name, attributes):
        self.names.append(name)
        self.attributes += attributes
        if name not in self.VOID:
            self.open.append(name)

    def handle_startendtag(self, name, attributes):
        self.names.append(name)
        self.attributes += attributes

    def handle_endtag(self, name):
        assert self.open.pop() == name


@pytest.mark.parametrize("kind", ["verify", "map"])
def test_nothing_hostile_gets_through(make, kind):
    odd = {"uri": f"/case/{HOSTILE}.jpg", "reasons": [HOSTILE]}
    if kind == "map":
        odd["verdict"] = None
    rows = [make.row(0, **odd), make.failed(1, HOSTILE, HOSTILE)]
    results = Results(make.table(rows, input=[{HOSTILE: HOSTILE}] * 2, output=[{"value": HOSTILE}, None]))

    found = Elements(results._repr_html_())

    assert not {"script", "img", "iframe", "a", "link"} & set(found.names)
    assert not [name for name, _ in found.attributes if name.startswith("on")]
    assert found.open == []


def test_its_size_does_not_grow_with_the_batch(make):
    few = Results(make.table([make.row(i) for i in range(21)]))
    many = Results(make.table([make.row(i, reasons=["long " * 1000], uri="/x" * 3000) for i in range(3000)]))

    assert len(Elements(many._repr_html_()).names) == len(Elements(few._repr_html_()).names)
    assert len(many._repr_html_()) < 40_000


def test_kinds_of_failure_are_bounded(make):
    rows = [make.failed(i, f"Error{i:03}", "m" * 5000) for i in range(200)]

    page = Results(make.table(rows))._repr_html_()

    assert "and 195 more kinds" in page
    assert "and 180 more rows" in page
    assert len(page) < 40_000


def test_mapped_results_show_input_and_output(make):
    rows = [make.row(0, verdict=None, uri=None)]

    page = Results(make.table(rows, input=[{"item": "apple"}], output=[{"value": 42}]))._repr_html_()

    assert ">apple<" in page
    assert ">42<" in page


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\u202egpj.exe", "a\\u202egpj.exe"),  # turned round, it would read a.jpg
        ("a\x00b", "a\\u0000b"),
        ("zero\u200bwidth", "zero\\u200bwidth"),
        ("two\nlines", "two lines"),
        ("<b>&'\"", "&lt;b&gt;&amp;&#x27;&quot;"),
        ("Ünïcödé 照片", "Ünïcödé 照片"),
    ],
)
def test_text_is_escaped_and_what_cannot_be_seen_is_made_visible(text, shown):
    assert esc(text) == shown


def test_long_text_is_cut():
    assert clipped("x" * 10, 5) == "xxxx…"
    assert short("/very/long/folder/name/of/a/photo.jpg", 20).endswith("photo.jpg")
    assert len(short("x" * 100, 20)) == 20
    assert esc_block("a\nb\u202e", 100) == "a\nb\\u202e"
    assert esc_block("x" * 100, 10).endswith("…")
    assert len(esc_path("/x" * 5000)) < 1000


@pytest.mark.parametrize(
    ("found", "shown"),
    [
        (size(None), ""),
        (size(999), "999 B"),
        (size(1_500_000), "1.5 MB"),
        (size(5 * 10**12), "5000.0 GB"),
        (seconds(0.0123), "12 ms"),
        (seconds(75), "75.0 s"),
        (seconds(125), "2 min 5 s"),
        (seconds(7300), "2 h 1 min"),
    ],
)
def test_figures_are_written_as_people_write_them(found, shown):
    assert found == shown


def test_the_bar_shows_even_the_smallest_share():
    drawn = bar({"manipulated": 1, "no_manipulation_found": 999_999})
    widths = [float(width) for width in re.findall(r'<rect[^>]* width="([\d.]+)"', drawn)]

    assert len(widths) == 2
    assert min(widths) > 0.5
    assert sum(widths) <= 100
    assert bar({}) == ""
