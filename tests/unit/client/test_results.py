import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from dfbatch.client.results import Results
from dfbatch.errors import InvalidInput, InvalidType, UnknownId


@pytest.fixture
def results(make):
    """Five rows: two without findings, one manipulated, two failed."""
    rows = [
        make.row(0),
        make.row(1, verdict="manipulated", p_manipulated=0.93, media_type="image/png"),
        make.failed(2),
        make.row(3),
        make.failed(4, "ItemTimeout", "It took longer than 5 s."),
    ]
    return Results(make.table(rows, input=[{"case": i % 2, "note": "x"} for i in range(5)]))


def test_a_row_is_a_dict_a_slice_is_results_and_a_name_is_a_column(results):
    assert results[1]["verdict"] == "manipulated"
    assert results[-1]["error_type"] == "ItemTimeout"
    assert results[np.int64(0)]["job_id"] == "k3f2m9qx-0"
    assert [row["job_index"] for row in results[1:3]] == [1, 2]
    assert [row["job_index"] for row in results[::-2]] == [4, 2, 0]
    assert results["status"].to_pylist().count("failed") == 2
    assert results["input.case"].to_pylist() == [0, 1, 0, 1, 0]


@pytest.mark.parametrize(
    ("key", "error"), [(5, IndexError), (-6, IndexError), ("nothing", InvalidInput), (1.5, InvalidType)]
)
def test_a_row_or_column_that_is_not_there_says_so(results, key, error):
    with pytest.raises(error, match=r"5 results|no column|of type float"):
        results[key]


def test_iterating_gives_every_row_as_a_dict(results):
    assert [row["job_index"] for row in results] == [0, 1, 2, 3, 4]
    assert len(results) == 5


def test_the_table_is_handed_on_without_a_copy(results):
    assert results.to_arrow() is results.to_arrow()
    assert pa.table(results).equals(results.to_arrow())
    assert isinstance(pl.DataFrame(results), pl.DataFrame)
    assert results.to_polars()["job_index"].to_list() == [0, 1, 2, 3, 4]


def test_pandas_keeps_structs_unless_it_is_asked_to_flatten(results):
    assert results.to_pandas()["input"][1] == {"case": 1, "note": "x"}

    flat = results.to_pandas(flatten=True)

    assert isinstance(flat, pd.DataFrame)
    assert flat["input.case"].tolist() == [0, 1, 0, 1, 0]
    assert flat["provenance.state"].isna().sum() == 2
    assert flat["ruv.fusion"].isna().all()


class TestFilter:
    @pytest.mark.parametrize(
        "condition",
        [
            pc.field("p_manipulated") > 0.9,
            [False, True, False, False, False],
            np.array([0, 1, 0, 0, 0], bool),
            pd.Series([False, True, False, False, False]),
            pa.array([False, True, False, False, False]),
            lambda row: row["verdict"] == "manipulated",
        ],
        ids=["expression", "list", "numpy", "pandas", "arrow", "function"],
    )
    def test_rows_are_chosen_by_expression_mask_or_function(self, results, condition):
        found = results.filter(condition)

        assert isinstance(found, Results)
        assert [row["job_index"] for row in found] == [1]

    @pytest.mark.parametrize(
        ("equals", "found"),
        [
            ({"status": "failed"}, [2, 4]),
            ({"status": "failed", "error_type": "ItemTimeout"}, [4]),
            ({"verdict": None}, [2, 4]),
            ({"verdict": ["manipulated", "authentic"]}, [1]),
            ({"job_index": {0, 3}}, [0, 3]),
            ({"input.case": 1}, [1, 3]),
            ({"verdict": "unheard_of"}, []),
        ],
        ids=str,
    )
    def test_rows_are_chosen_by_equal_values(self, results, equals, found):
        assert [row["job_index"] for row in results.filter(**equals)] == found

    def test_conditions_add_up(self, results):
        assert len(results.filter(pc.field("job_index") > 2, status="failed")) == 1

    @pytest.mark.parametrize(
        ("arguments", "equals", "problem"),
        [
            (([True],), {}, "no mask of 5 bools"),
            ((["a"] * 5,), {}, "no mask of 5 bools"),
            ((), {"nothing": 1}, "there is no column 'nothing'"),
            ((), {"job_index": "x"}, "cannot be compared"),
        ],
    )
    def test_a_wrong_condition_says_so(self, results, arguments, equals, problem):
        with pytest.raises(InvalidInput, match=problem):
            results.filter(*arguments, **equals)

    def test_failures_are_the_failed_and_expired_rows(self, make):
        results = Results(make.table([make.row(0), make.failed(1), make.row(2, status="expired", verdict=None)]))

        assert [row["job_index"] for row in results.failures()] == [1, 2]


class TestValues:
    def test_a_plain_value_is_taken_out_of_its_struct(self, make):
        output = [{"value": 1}, None, {"value": 3}]
        results = Results(make.table([make.row(0), make.failed(1), make.row(2)], output=output))

        assert results.values() == [1, None, 3]

    def test_a_mapping_is_a_dict(self, make):
        results = Results(make.table([make.row(0)], output=[{"value": 1, "unit": "m"}]))

        assert results.values() == [{"value": 1, "unit": "m"}]

    def test_results_of_a_verification_have_none_and_say_where_the_verdicts_are(self, results):
        with pytest.raises(InvalidInput, match="verdict"):
            results.values()


class TestSummaries:
    def test_counts_come_in_the_order_of_attention(self, results):
        assert list(results.counts().items()) == [("failed", 2), ("succeeded", 3)]
        assert list(results.counts("verdict").items()) == [("manipulated", 1), ("no_manipulation_found", 2)]
        assert list(results.counts("media_type").items()) == [("image/jpeg", 4), ("image/png", 1)]
        assert results.counts("error_type") == {"ItemTimeout": 1, "MediaTruncated": 1}

    def test_errors_are_grouped_by_type(self, make):
        rows = [make.failed(i) for i in range(412)] + [make.failed(500, "ItemTimeout", "Too slow.")]

        groups = Results(make.table(rows)).errors()

        assert str(groups[0]) == "412 x MediaTruncated: The file ends before its content does."
        assert [(g.error_type, g.n, g.job_id) for g in groups] == [
            ("MediaTruncated", 412, "k3f2m9qx-0"),
            ("ItemTimeout", 1, "k3f2m9qx-500"),
        ]

    def test_a_batch_without_failures_has_no_error_groups(self, make):
        assert Results(make.table([make.row(0)])).errors() == []

    def test_the_repr_is_one_line_that_tells_the_outcome(self, results):
        assert repr(results) == (
            "<Results k3f2m9qx: 5 rows; 2 failed, 3 succeeded; 1 manipulated, 2 no manipulation found>"
        )

    def test_empty_results_work_like_others(self, make):
        empty = Results(make.table([]))

        assert repr(empty) == "<Results: 0 rows>" or "0 rows" in repr(empty)
        assert "0 items" in empty._repr_html_()
        assert len(empty.failures()) == 0
        assert empty.counts() == {}
        assert list(empty) == []


class TestExplain:
    def test_by_position_or_by_job_id(self, results):
        assert results.explain(1).row["job_id"] == "k3f2m9qx-1"
        assert results.explain("k3f2m9qx-4").row["error_type"] == "ItemTimeout"

    def test_an_unknown_job_says_so(self, results):
        with pytest.raises(UnknownId, match="no job 'k3f2m9qx-99'"):
            results.explain("k3f2m9qx-99")
