"""Small pictures for the tests of this folder."""

import io
from collections.abc import Callable
from typing import Any

import pytest
from PIL import Image


@pytest.fixture
def picture() -> Callable[..., bytes]:
    """``picture(form, size=..., **options)``: noise, saved in that form."""

    def save(form: str, size: tuple[int, int] = (48, 32), **options: Any) -> bytes:
        out = io.BytesIO()
        Image.effect_noise(size, 60).convert("RGB").save(out, form, **options)
        return out.getvalue()

    return save
