"""Tags in which a video or sound file declares itself that AI made it. A declaration, not a proof."""

from __future__ import annotations

import re
from collections.abc import Mapping

SOURCE_TYPE = re.compile(r"(?i)\b(trainedAlgorithmicMedia|compositeWithTrainedAlgorithmicMedia|algorithmicMedia)\b")
# Names that are ordinary words too count only where software is named, or after "made with".
GENERATORS = (
    r"OpenAI|Sora|Runway(?:ML)?|Pika(?: ?Labs)?|Kling(?: ?AI)?|Veo(?: ?\d)?|Luma(?: Dream Machine)?|Hailuo|MiniMax|"
    r"Stable Video Diffusion|Stable Diffusion|AnimateDiff|ComfyUI|Midjourney|Adobe Firefly|DALL-?E|Synthesia|HeyGen|"
    r"D-ID|ElevenLabs|Suno|Udio|Resemble AI|Play\.ht|Vidu|Wan ?2\.\d|CogVideoX?|HunyuanVideo|LTX-?Video"
)
MADE_WITH = re.compile(rf"(?i)\b(?:made|generated|created|produced)\s+(?:with|by|using|in)\s+(?:{GENERATORS})\b")
BY_AI = re.compile(r"(?i)\bgenerated (?:by|with|using) (?:an? )?(?:AI|artificial intelligence)\b")
NAMED = re.compile(rf"(?i)\b(?:{GENERATORS})\b")
SOFTWARE_KEYS = re.compile(
    r"(?i)(encoder|software|generator|creator_?tool|producer|writing|handler_name|tsse|encoded_by)"
)
LABEL_KEYS = re.compile(r"(?i)^aigc$")
MAX_VALUE = 4096


def ai_declarations(tags: Mapping[str, str], xmp: bytes | None = None) -> list[str]:
    """Entries ``key: value`` in which AI is declared, in the order found; empty if there is none.

    A tag that only mentions AI declares nothing.
    """
    found = []
    for key, value in tags.items():
        text = value[:MAX_VALUE]
        named = SOFTWARE_KEYS.search(key) is not None and NAMED.search(text) is not None
        if named or LABEL_KEYS.match(key) or any(sign.search(text) for sign in (SOURCE_TYPE, MADE_WITH, BY_AI)):
            found.append(f"{key}: {' '.join(text.split())[:200]}")
    match = SOURCE_TYPE.search((xmp or b"").decode("utf-8", "replace"))
    if match:
        found.append(f"XMP digitalSourceType: {match[1]}")
    return found
