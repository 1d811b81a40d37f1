"""What a worker needs of its node: checked at the door, named shortly, and compared with what a cluster has."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dfbatch.core.resource_shape import ClusterView, NodeView, ResourceShape, cpus_of_key, in_words
from dfbatch.errors import InvalidInput, InvalidType

GIB = 2**30


@pytest.mark.parametrize(
    ("declared", "key"),
    [
        ({}, "default"),
        ({"num_cpus": 1, "num_gpus": 0, "memory": 0, "resources": {}, "runtime_env": {}}, "default"),
        ({"num_cpus": None, "num_gpus": None}, "default"),
        ({"num_cpus": 4}, "cpu4"),
        ({"num_cpus": 0.5}, "cpu0.5"),
        ({"num_gpus": 1}, "cpu1-gpu1"),
        ({"num_gpus": 0.25, "num_cpus": 0}, "cpu0-gpu0.25"),
        ({"memory": 4 * GIB}, "cpu1-mem4g"),
        ({"memory": 600 * 2**20}, "cpu1-mem600m"),
        ({"memory": 1_000}, "cpu1-mem1000"),
        ({"resources": {"disk": 0}}, "default"),
    ],
)
def test_a_shape_has_a_short_name(declared, key):
    assert ResourceShape.of(declared).key == key


def test_custom_resources_and_environments_are_told_apart_by_a_hash():
    shapes = [
        {"resources": {"disk": 1}},
        {"resources": {"disk": 2}},
        {"runtime_env": {"env_vars": {"A": "1"}}},
        {"runtime_env": {"env_vars": {"A": "2"}}},
    ]
    keys = [ResourceShape.of(shape).key for shape in shapes]
    assert len(set(keys)) == 4
    assert all(key.startswith(("cpu1-res", "cpu1-env")) and len(key) < 20 for key in keys)
    turned = (
        ResourceShape.of({"resources": {"b": 1, "a": 2}}).key,
        ResourceShape.of({"resources": {"a": 2, "b": 1}}).key,
    )
    assert turned[0] == turned[1]


SHAPES = st.builds(
    lambda **declared: ResourceShape.of(declared),
    num_cpus=st.sampled_from([0, 0.1, 0.5, 1, 2, 64]),
    num_gpus=st.sampled_from([0, 0.3333, 1, 8]),
    memory=st.integers(0, 2**50),
    resources=st.dictionaries(st.sampled_from(["disk", "accelerator_type:A100"]), st.sampled_from([0, 0.001, 1, 3])),
    runtime_env=st.dictionaries(st.sampled_from(["pip", "env_vars"]), st.text(max_size=4)),
)


@given(SHAPES)
def test_a_shape_comes_back_from_the_ledger_as_it_was(shape):
    again = ResourceShape.of(json.loads(json.dumps(shape.declared())))
    assert again == shape
    assert again.key == shape.key
    assert cpus_of_key(shape.key) == pytest.approx(shape.num_cpus)
    assert ":" not in shape.key  # it stands between colons in the name of a worker


@given(SHAPES)
def test_a_shape_fits_where_all_it_asks_for_is_and_nowhere_else(shape):
    exactly = shape.demands()
    assert shape.fits(exactly)
    for name in exactly:
        assert not shape.fits({**exactly, name: exactly[name] * 0.5})
        assert not shape.fits({k: v for k, v in exactly.items() if k != name})


@pytest.mark.parametrize(
    ("declared", "error", "says"),
    [
        ({"num_cpus": "2"}, InvalidType, "num_cpus: is str, not a number"),
        ({"num_cpus": True}, InvalidType, "num_cpus: is bool"),
        ({"num_gpus": -1}, InvalidInput, "num_gpus: -1 is no number of units"),
        ({"num_gpus": float("nan")}, InvalidInput, "num_gpus: nan is no number"),
        ({"num_gpus": float("inf")}, InvalidInput, "num_gpus: inf is no number"),
        ({"num_gpus": 1.5}, InvalidInput, "num_gpus: 1.5 is not whole"),
        ({"num_gpus": 0.00001}, InvalidInput, "less than 0.0001"),
        ({"memory": "4GB"}, InvalidType, "memory: is str, not a number of bytes"),
        ({"memory": -5}, InvalidInput, "memory: -5 is no whole number of bytes"),
        ({"memory": 0.5}, InvalidInput, "memory: 0.5 is no whole number of bytes"),
        ({"memory": float("inf")}, InvalidInput, "memory: inf"),
        ({"resources": ["disk"]}, InvalidType, "resources: is list, not a dict"),
        ({"resources": {1: 1}}, InvalidType, "resources: is dict, not a dict of names"),
        ({"resources": {"CPU": 2}}, InvalidInput, "'CPU', which is Ray's own. Give num_cpus="),
        ({"resources": {"object_store_memory": 2}}, InvalidInput, "It is not to be asked for"),
        ({"resources": {"": 2}}, InvalidInput, "no name of a resource"),
        ({"resources": {"disk": "much"}}, InvalidType, "resources['disk']: is str"),
        ({"runtime_env": "pip"}, InvalidType, "runtime_env: is str, not a dict"),
        ({"runtime_env": {"env_vars": {"A": object()}}}, InvalidType, "cannot be written as JSON"),
        ({"runtime_env": {"env_vars": {"A": "x" * 70_000}}}, InvalidInput, "bytes long"),
        ({"num_tpus": 1}, InvalidInput, "num_tpus: is no resource. There are: num_cpus"),
    ],
)
def test_what_ray_could_not_give_is_refused_by_name(declared, error, says):
    with pytest.raises(error) as caught:
        ResourceShape.of(declared)
    assert says in str(caught.value)


SMALL = NodeView("10.0.0.1", {"CPU": 8.0, "memory": 16.0 * GIB})
GPU = NodeView("10.0.0.2", {"CPU": 4.0, "GPU": 1.0, "memory": 32.0 * GIB})


def test_a_request_that_some_node_can_meet_lacks_nothing():
    cluster = ClusterView((SMALL, GPU))
    for declared in ({}, {"num_cpus": 8}, {"num_cpus": 4, "num_gpus": 1}, {"memory": 32 * GIB}):
        assert cluster.lacks(ResourceShape.of(declared)) is None


@pytest.mark.parametrize(
    ("declared", "asked", "largest"),
    [
        # Enough in sum, but on no single node.
        ({"num_cpus": 12}, "12 CPU", "the largest (10.0.0.1) has 8 CPU, 16 GiB memory"),
        ({"num_cpus": 8, "num_gpus": 1}, "8 CPU, 1 GPU", "(10.0.0.2) has 4 CPU, 1 GPU, 32 GiB memory"),
        ({"num_gpus": 2}, "1 CPU, 2 GPU", "(10.0.0.2) has 4 CPU, 1 GPU"),
        ({"resources": {"fpga": 1}}, "1 CPU, 1 fpga", "0 fpga"),
        ({"memory": 64 * GIB}, "1 CPU, 64 GiB memory", "(10.0.0.2)"),
    ],
)
def test_a_request_that_no_node_can_meet_is_told_with_what_there_is(declared, asked, largest):
    says = ClusterView((SMALL, GPU)).lacks(ResourceShape.of(declared))
    assert f"No node of the cluster has the {asked}" in says
    assert largest in says
    assert "2 nodes" in says
    assert "12 CPU, 1 GPU, 48 GiB memory" in says


def test_a_cluster_without_nodes_says_so():
    assert "no node at all" in ClusterView(()).lacks(ResourceShape())


def test_an_autoscaler_may_add_what_is_not_there_unless_it_is_known_not_to():
    gpus = ResourceShape.of({"num_gpus": 4})
    assert ClusterView((SMALL,), autoscales=True).lacks(gpus) is None
    assert ClusterView((SMALL,), True, ({"CPU": 16.0, "GPU": 8.0},)).lacks(gpus) is None
    assert ClusterView((SMALL,), True, ({"CPU": 16.0, "GPU": 1.0},)).lacks(gpus) is not None


def test_amounts_are_told_in_words():
    assert in_words({"CPU": 2.0, "GPU": 0.0, "memory": 1.5 * GIB}) == "2 CPU, 1.5 GiB memory"
    assert in_words({"CPU": 0.0}, keep=["CPU"]) == "0 CPU"
    assert str(ResourceShape.of({"num_cpus": 0})) == "nothing"
