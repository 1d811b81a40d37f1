"""The story that manifests tell is read from the newest to the creation."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from dfbatch.authenticity.detectors.c2pa_manifest import Story, story_of
from dfbatch.authenticity.detectors.digital_source import AiUse

SOURCE = "http://cv.iptc.org/newscodes/digitalsourcetype/"


def action(name: str, source: str | None = None) -> dict[str, Any]:
    return {"action": f"c2pa.{name}"} | ({"digitalSourceType": SOURCE + source} if source else {})


def manifest(*actions: dict[str, Any], **ingredients: str) -> dict[str, Any]:
    return {
        "assertions": [{"label": "c2pa.actions.v2", "data": {"actions": list(actions)}}],
        "ingredients": [{"active_manifest": label, "relationship": kind} for label, kind in ingredients.items()],
    }


def story(**manifests: dict[str, Any]) -> Story:
    return story_of({"active_manifest": "now", "manifests": manifests})


def test_a_capture_is_complete_and_unedited() -> None:
    told = story(now=manifest(action("created", "digitalCapture"), action("published")))
    assert (told.origin, told.complete, told.edits, told.ai) == ("digitalCapture", True, (), AiUse.NONE)


def test_what_the_parent_was_is_what_the_item_is() -> None:
    told = story(
        now=manifest(action("opened"), action("color_adjustments"), parent="parentOf"),
        parent=manifest(action("created", "trainedAlgorithmicMedia")),
    )
    assert (told.origin, told.complete, told.ai) == ("trainedAlgorithmicMedia", True, AiUse.GENERATED)
    assert told.edits == ("c2pa.color_adjustments",)


def test_a_component_made_by_ai_makes_no_item_of_ai() -> None:
    told = story(
        now=manifest(action("created", "digitalCapture"), action("placed"), part="componentOf"),
        part=manifest(action("opened"), inner="parentOf"),
        inner=manifest(action("created", "trainedAlgorithmicMedia")),
    )
    assert (told.ai, told.ai_components) == (AiUse.NONE, True)


def test_an_edit_with_ai_is_an_edit() -> None:
    told = story(now=manifest(action("opened"), action("edited", "trainedAlgorithmicMedia")))
    assert (told.ai, told.complete) == (AiUse.EDITED, False)
    told = story(now=manifest(action("created", "compositeWithTrainedAlgorithmicMedia")))
    assert told.ai is AiUse.EDITED


def test_media_made_by_arithmetic_is_not_made_by_ai() -> None:
    assert story(now=manifest(action("created", "algorithmicMedia"))).ai is AiUse.NONE


def test_a_source_type_in_another_assertion_counts() -> None:
    data = {"Iptc4xmpExt:DigitalSourceType": SOURCE + "trainedAlgorithmicMedia"}
    told = story(now={"assertions": [{"label": "c2pa.metadata", "data": data}]})
    assert told.ai is AiUse.GENERATED


def test_manifests_that_name_each_other_end() -> None:
    told = story(now=manifest(action("opened"), other="parentOf"), other=manifest(action("opened"), now="parentOf"))
    assert told.actions == ("c2pa.opened", "c2pa.opened")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["assertions", "ingredients", "label", "data", "actions", "action", "digitalSourceType", "now"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=20,
)


@given(JSON, JSON)
def test_odd_manifests_are_told_without_an_error(first: Any, other: Any) -> None:
    assert isinstance(story_of({"active_manifest": "now", "manifests": {"now": first}}), Story)
    assert isinstance(story_of({"active_manifest": other, "manifests": first}), Story)
