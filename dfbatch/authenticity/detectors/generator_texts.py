"""The settings that AI generators leave in text chunks and comments, told by their form, not by a word in them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from dfbatch.authenticity.detectors.digital_source import AiUse

_MAX_JSON = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Declaration:
    """One place in the metadata that says AI made (or edited) the item. ``text`` is what it says, shortened."""

    use: AiUse
    where: str
    text: str


_WEBUI = re.compile(r"(?:^|\n)\s*Steps: \d+, .*\b(?:Sampler|CFG scale|Seed): ")
_DREAM = re.compile(r"-s ?\d+ .*-S ?\d+|-S ?\d+ .*-s ?\d+")
_MIDJOURNEY_JOB = re.compile(r"\bJob ID: [0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_OWN_SETTINGS = frozenset(
    {"cfg_scale", "cfgscale", "guidance_scale", "num_inference_steps", "denoising_strength", "negative_prompt",
     "negativeprompt", "uc"}
)  # fmt: skip
"""Names that only image generators use; simulations have seeds, steps and samplers too."""
_SETTINGS = _OWN_SETTINGS | {"steps", "sampler", "sampler_name", "scheduler", "seed", "scale", "prompt"}
_MIN_SETTINGS = 3

_GENERATOR = re.compile(
    r"(?:stable[ -]?diffusion|automatic1111|comfyui|invokeai|novelai|midjourney|dall[-\u00b7\u2022 ]?e\b|openai\b|"
    r"adobe[ _]firefly|fooocus|diffusionbee|dreamstudio|dream by wombo|bing image creator|image creator from microsoft|"
    r"ideogram(?:\.ai| ai)\b|leonardo\.ai|craiyon|nightcafe|playground ai|black forest labs|flux\.1|google imagen|"
    r"made with google ai|easy diffusion|swarmui)",
    re.IGNORECASE,
)
_AI_EDITOR = re.compile(
    r"(?:edited with google ai|topaz (?:gigapixel|photo|video|sharpen|denoise)[a-z ]* ai|remini\b|faceapp\b|"
    r"luminar ai\b|luminar neo\b|magic editor\b)",
    re.IGNORECASE,
)


def tool_use(name: str) -> AiUse:
    """What the name of the tool that wrote a file says; the name must begin with it, a mention is nothing."""
    name = name.strip()
    if _GENERATOR.match(name):
        return AiUse.GENERATED
    return AiUse.EDITED if _AI_EDITOR.match(name) else AiUse.NONE


def settings_in(text: str, where: str) -> Iterator[Declaration]:
    """Declarations in a free text such as an EXIF comment: generator settings, as lines or as JSON."""
    if _WEBUI.search(text):
        yield Declaration(AiUse.GENERATED, where, "settings of a Stable Diffusion tool")
        return
    parsed = _json(text)
    if isinstance(parsed, Mapping):
        if any(_are_settings(candidate) for candidate in (parsed, parsed.get("sui_image_params"))):
            yield Declaration(AiUse.GENERATED, where, "settings of an image generator")
        yield from labelled_aigc(parsed.get("AIGC", parsed), where)


def _are_settings(candidate: Any) -> bool:
    keys = {str(key).lower() for key in candidate} if isinstance(candidate, Mapping) else set()
    return bool(keys & _OWN_SETTINGS) and len(keys & _SETTINGS) >= _MIN_SETTINGS


def declared_in_texts(texts: Mapping[str, str]) -> Iterator[Declaration]:
    """Declarations in the named texts of a PNG (or the comment of a JPEG or GIF)."""
    lower = {key.lower(): text for key, text in texts.items()}
    for key in ("parameters", "comment", "usercomment", "generation_data"):
        if key in lower:
            yield from settings_in(lower[key], f"text '{key}'")
    for key in ("prompt", "workflow"):
        use = _graph_use(_json(lower.get(key, "")))
        if use is not AiUse.NONE:
            yield Declaration(use, f"text '{key}'", "a ComfyUI graph")
    for key in ("invokeai_metadata", "invokeai_graph", "sd-metadata"):
        if isinstance(_json(lower.get(key, "")), Mapping):
            yield Declaration(AiUse.GENERATED, f"text '{key}'", "settings of InvokeAI")
    if _DREAM.search(lower.get("dream", "")):
        yield Declaration(AiUse.GENERATED, "text 'Dream'", "settings of InvokeAI")
    if _MIDJOURNEY_JOB.search(lower.get("description", "")):
        yield Declaration(AiUse.GENERATED, "text 'Description'", "a Midjourney job")
    if {"num_inference_steps", "guidance_scale", "seed"} <= lower.keys():
        yield Declaration(AiUse.GENERATED, "texts 'seed', 'guidance_scale'", "settings of Easy Diffusion")
    for key in ("software", "source", "creatortool"):
        use = tool_use(lower.get(key, ""))
        if use is not AiUse.NONE:
            yield Declaration(use, f"text '{key}'", lower[key].strip()[:100])
    yield from labelled_aigc(_json(lower.get("aigc", "")), "text 'AIGC'")


def labelled_aigc(label: Any, where: str) -> Iterator[Declaration]:
    """The label of the Chinese standard GB 45438: ``Label`` "1" says generated; "2" and "3" only suspect it."""
    parsed = _json(label) if isinstance(label, str) else label
    if isinstance(parsed, Mapping) and "ContentProducer" in parsed and str(parsed.get("Label")) == "1":
        yield Declaration(AiUse.GENERATED, where, "the label AIGC")


def _graph_use(graph: Any) -> AiUse:
    """A ComfyUI graph with a sampler generated its picture; one without only worked on it."""
    nodes: list[Any] = []
    if isinstance(graph, Mapping):
        listed = graph.get("nodes")
        nodes = listed if isinstance(listed, list) else list(graph.values())
    kinds = [
        str(node.get("class_type") or node.get("type"))
        for node in nodes
        if isinstance(node, Mapping) and "inputs" in node and ("class_type" in node or "type" in node)
    ]
    if not kinds:
        return AiUse.NONE
    return AiUse.GENERATED if any("sampler" in kind.lower() for kind in kinds) else AiUse.EDITED


def _json(text: str) -> Any:
    if not text.lstrip().startswith(("{", "[")) or len(text) > _MAX_JSON:
        return None
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None
