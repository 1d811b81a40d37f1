"""What a C2PA manifest says: sources, actions and ingredients, told from its JSON form.

A manifest is written by whoever signed it: every value is taken for hostile here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from dfbatch.authenticity.detectors.digital_source import EDITED_WITH_AI, GENERATED, AiUse, source_term

MAX_MANIFESTS = 64
MAX_ACTIONS = 256
_TEXT = 200
_WHOLE_ITEM_ACTIONS = frozenset(
    {"c2pa.created", "c2pa.opened", "c2pa.converted", "c2pa.transcoded", "c2pa.repackaged", "c2pa.published"}
)
"""A source type at one of these speaks of the whole item; at any other action only of what that action put in."""

UNCHANGING_ACTIONS = frozenset(
    {"c2pa.created", "c2pa.opened", "c2pa.published", "c2pa.repackaged", "c2pa.transcoded", "c2pa.converted"}
)
"""After these the content is still what it was."""


@dataclass(frozen=True, slots=True)
class Story:
    """The active manifest and those of the items it was directly made from (``parentOf``), newest first.

    ``actions`` are their names in that order; ``source_types`` all bare IPTC terms.
    ``origin`` is the source type of the creation, None if it is not recorded.
    ``complete`` says that the chain of parents leads to a creation.
    """

    actions: tuple[str, ...] = ()
    source_types: tuple[str, ...] = ()
    origin: str | None = None
    ai: AiUse = AiUse.NONE
    ai_components: bool = False
    complete: bool = False

    @property
    def edits(self) -> tuple[str, ...]:
        """Names of the actions that may have changed the content, each once, in order."""
        return tuple(dict.fromkeys(name for name in self.actions if name not in UNCHANGING_ACTIONS))


@dataclass(slots=True)
class _Telling:
    actions: list[str] = field(default_factory=list)
    sources: list[str] = field(default_factory=list)
    generated: bool = False
    edited: bool = False
    origin: str | None = None
    complete: bool = False


def story_of(store: Mapping[str, Any]) -> Story:
    """The story a manifest store tells (``json.loads(Reader.json())``). Never raises on odd values."""
    telling = _Telling()
    manifests = _mapping(store.get("manifests"))
    seen: set[str] = set()
    waiting = [store.get("active_manifest")]
    components: list[Any] = []
    while waiting and len(seen) < MAX_MANIFESTS:
        label = waiting.pop(0)
        if not isinstance(label, str) or label in seen or label not in manifests:
            continue
        seen.add(label)
        manifest = _mapping(manifests[label])
        _tell(manifest, telling)
        for ingredient in _mappings(manifest.get("ingredients")):
            target = waiting if ingredient.get("relationship") == "parentOf" else components
            target.append(ingredient.get("active_manifest"))
    return Story(
        actions=tuple(telling.actions[:MAX_ACTIONS]),
        source_types=tuple(dict.fromkeys(telling.sources)),
        origin=telling.origin,
        ai=AiUse.GENERATED if telling.generated else AiUse.EDITED if telling.edited else AiUse.NONE,
        ai_components=_any_ai(manifests, components, seen),
        complete=telling.complete,
    )


def _tell(manifest: Mapping[str, Any], telling: _Telling) -> None:
    for assertion in _mappings(manifest.get("assertions")):
        label, data = str(assertion.get("label", "")), assertion.get("data")
        if label.startswith("c2pa.actions"):
            for action in _mappings(_mapping(data).get("actions")):
                _tell_action(action, telling)
        elif not label.startswith("c2pa.ingredient"):
            for term in _source_terms(data):
                telling.sources.append(term)
                telling.generated |= term in GENERATED
                telling.edited |= term in EDITED_WITH_AI


def _tell_action(action: Mapping[str, Any], telling: _Telling) -> None:
    name = str(action.get("action", ""))[:_TEXT]
    telling.actions.append(name)
    terms = list(_source_terms(action))
    telling.sources += terms
    if name == "c2pa.created":
        telling.complete = True
        telling.origin = terms[0] if terms else telling.origin
    for term in terms:
        if term in GENERATED and name in _WHOLE_ITEM_ACTIONS:
            telling.generated = True
        elif term in GENERATED | EDITED_WITH_AI:
            telling.edited = True


def _any_ai(manifests: Mapping[str, Any], labels: list[Any], seen: set[str]) -> bool:
    """Whether one of the components, or what they in turn were made from, was made with AI."""
    while labels and len(seen) < MAX_MANIFESTS:
        label = labels.pop()
        if not isinstance(label, str) or label in seen or label not in manifests:
            continue
        seen.add(label)
        telling = _Telling()
        manifest = _mapping(manifests[label])
        _tell(manifest, telling)
        if telling.generated or telling.edited:
            return True
        labels += [ingredient.get("active_manifest") for ingredient in _mappings(manifest.get("ingredients"))]
    return False


def _source_terms(value: Any, depth: int = 0) -> Iterator[str]:
    """Bare terms of every ``digitalSourceType`` at any depth, whatever its prefix."""
    if depth > 12:
        return
    if isinstance(value, Mapping):
        for key, inner in value.items():
            if str(key).rsplit(":", 1)[-1].lower() == "digitalsourcetype" and isinstance(inner, str):
                yield source_term(inner)[:_TEXT]
            else:
                yield from _source_terms(inner, depth + 1)
    elif isinstance(value, list):
        for inner in value:
            yield from _source_terms(inner, depth + 1)


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _mappings(value: Any) -> list[Mapping[str, Any]]:
    return [item for item in value if isinstance(item, Mapping)] if isinstance(value, list) else []
