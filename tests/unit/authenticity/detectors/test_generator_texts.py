"""Settings of generators are told by their form; words about generators are not."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dfbatch.authenticity.detectors.digital_source import AiUse
from dfbatch.authenticity.detectors.generator_texts import declared_in_texts, settings_in, tool_use

WEBUI = (
    "a field at dusk\nNegative prompt: people\nSteps: 28, Sampler: Euler a, CFG scale: 7, Seed: 20240518, Size: 512x384"
)
SAMPLER = {"3": {"class_type": "KSampler", "inputs": {"seed": 1}}}
UPSCALER = {"3": {"class_type": "ImageUpscaleWithModel", "inputs": {}}}
LABEL = {"Label": "1", "ContentProducer": "somebody", "ProduceID": "7"}


@pytest.mark.parametrize(
    "texts",
    [
        {"parameters": WEBUI},
        {"parameters": json.dumps({"sui_image_params": {"prompt": "a", "cfgscale": 7, "seed": 1, "steps": 20}})},
        {"parameters": json.dumps({"prompt": "a", "negative_prompt": "b", "seed": 1, "steps": 20})},
        {"prompt": json.dumps(SAMPLER)},
        {"workflow": json.dumps({"nodes": [{"type": "KSamplerAdvanced", "inputs": []}]})},
        {"invokeai_metadata": '{"model": "x"}'},
        {"Dream": '"a cat" -s 50 -S 1234 -W 512'},
        {"Software": "NovelAI", "Comment": json.dumps({"uc": "", "steps": 28, "sampler": "k_euler", "seed": 1})},
        {"Source": "Stable Diffusion XL 9CC2F394"},
        {"Description": "a cat --v 6 Job ID: 0f8fad5b-d9cb-469f-a165-70867728950e", "Author": "me"},
        {"prompt": "a cat", "seed": "1", "num_inference_steps": "20", "guidance_scale": "7"},
        {"AIGC": json.dumps(LABEL)},
    ],
)
def test_what_generators_write_declares_ai(texts: dict[str, str]) -> None:
    assert {found.use for found in declared_in_texts(texts)} == {AiUse.GENERATED}


def test_a_graph_without_a_sampler_only_edits() -> None:
    assert [found.use for found in declared_in_texts({"prompt": json.dumps(UPSCALER)})] == [AiUse.EDITED]


@pytest.mark.parametrize(
    "texts",
    [
        {"Description": "A photograph, unlike those of Midjourney or Stable Diffusion"},
        {"Title": "Stable Diffusion"},
        {"Comment": "Made in protest against Midjourney"},
        {"parameters": "Steps: walk in, turn left. Seed: sunflower"},
        {"prompt": "Please sign here"},
        {"prompt": json.dumps({"question": {"inputs": "x"}})},
        {"workflow": json.dumps({"nodes": [{"type": "approval"}]})},  # a workflow of an office
        {"Comment": json.dumps({"steps": 1000, "seed": 3, "sampler": "NUTS", "scale": 2.0})},  # a simulation
        {"Software": "Matplotlib version 3.9"},
        {"Software": "Adobe Photoshop 25.0 (with Firefly)"},
        {"AIGC": json.dumps(LABEL | {"Label": "3"})},  # only suspected
        {"AIGC": "yes"},
        {"invokeai_metadata": "none"},
    ],
)
def test_what_others_write_declares_nothing(texts: dict[str, str]) -> None:
    assert list(declared_in_texts(texts)) == []


@pytest.mark.parametrize(
    ("name", "use"),
    [
        ("Midjourney v6", AiUse.GENERATED),
        ("Adobe Firefly", AiUse.GENERATED),
        ("DALL·E 3", AiUse.GENERATED),
        ("Made with Google AI", AiUse.GENERATED),
        ("Edited with Google AI", AiUse.EDITED),
        ("Topaz Photo AI 2.1", AiUse.EDITED),
        ("Adobe Photoshop 25.0", AiUse.NONE),
        ("GIMP 2.10", AiUse.NONE),
        ("Exported for Midjourney", AiUse.NONE),
        ("Dall Enterprises Scanner", AiUse.NONE),
        ("OpenAIRE", AiUse.NONE),
        ("", AiUse.NONE),
    ],
)
def test_only_the_tool_that_wrote_the_file_counts(name: str, use: AiUse) -> None:
    assert tool_use(name) is use


@given(st.text(max_size=100))
def test_any_text_is_read_without_an_error(text: str) -> None:
    for start in ("", "{", '{"sui_image_params":', "[" * 50, "Steps: 1, "):
        list(settings_in(start + text, "here"))
        list(declared_in_texts({"prompt": start + text, "workflow": start + text, "AIGC": start + text}))


def test_deep_and_long_json_is_left_alone() -> None:
    assert list(settings_in("[" * 100_000, "here")) == []
    assert list(settings_in("{" + " " * 5_000_000 + "}", "here")) == []
