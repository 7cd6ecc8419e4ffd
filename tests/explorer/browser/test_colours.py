"""Colours are told apart and words are read, with every kind of colour vision."""

import re
from itertools import combinations

import numpy as np
import pytest

from robustkit.plotting import class_colors

pytestmark = pytest.mark.slow

# How colours look to readers who lack one kind of cone, in linear light.
# Machado, Oliveira and Fernandes, 2009, doi:10.1109/TVCG.2009.113, severity 1.
VISION = {
    "usual": np.eye(3),
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216],
                   [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413],
                     [-0.011820, 0.042940, 0.968881]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602],
                   [0.004733, 0.691367, 0.303900]],
}  # fmt: skip
TO_XYZ = [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
WHITE = [0.95047, 1, 1.08883]


def linear(colour):
    share = np.array(colour) / 255
    low = share / 12.92
    return np.where(share <= 0.04045, low, ((share + 0.055) / 1.055) ** 2.4)


def lab(light):
    """CIE 1976 lightness and opponent colours of linear light."""
    share = np.array(TO_XYZ) @ light / WHITE
    low = share / (3 * (6 / 29) ** 2) + 4 / 29
    x, y, z = np.where(share > (6 / 29) ** 3, np.cbrt(share), low)
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


def contrast(one, other):
    """Of WCAG 2: 4.5 is enough for text, 3 for what is no text."""
    dark, light = sorted(linear(colour) @ TO_XYZ[1] for colour in (one, other))
    return (light + 0.05) / (dark + 0.05)


def colours_named(seen, *names):
    read = """(names) => {
        const style = getComputedStyle(document.documentElement);
        return names.map((name) => style.getPropertyValue(`--${name}`).trim());
    }"""
    texts = seen.page.evaluate(read, list(names))
    return {
        name: [int(text[k : k + 2], 16) for k in (1, 3, 5)]
        for name, text in zip(names, texts, strict=True)
    }


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_ten_classes_are_told_apart_and_text_is_readable(seen, theme):
    seen("theme").select_option(theme)
    swatches = seen("legend-left").locator(".swatch")
    read = "(all) => all.map((s) => getComputedStyle(s).backgroundColor)"
    classes = [
        [int(n) for n in re.findall(r"\d+", text)[:3]]
        for text in swatches.evaluate_all(read)
    ]
    assert len(classes) == 10
    # Those of MapperGraphDisplay.
    expected = class_colors(10, dark=theme == "dark")
    assert classes == [list(bytes.fromhex(color[1:])) for color in expected]
    for vision, matrix in VISION.items():
        looks = [lab(np.clip(matrix @ linear(c), 0, 1)) for c in classes]
        apart = min(np.linalg.norm(a - b) for a, b in combinations(looks, 2))
        assert apart > 15, vision
    words = colours_named(seen, "text", "text-quiet", "accent", "bad", "good", "mark")
    grounds = colours_named(seen, "surface", "canvas", "ground", "accent-soft")
    for word, ink in words.items():
        for name, ground in grounds.items():
            assert contrast(ink, ground) >= 4.5, (word, name)
    edges = colours_named(seen, "line-strong", "focus")
    assert min(contrast(ink, grounds["surface"]) for ink in edges.values()) >= 3
