"""Write the changelog as reStructuredText: headings and links differ from Markdown."""

import re
from pathlib import Path

UNDERLINES = {1: "=", 2: "-", 3: "^"}


def converted(text):
    """Turn headings and links; lists, emphasis and code are the same in both."""

    def heading(found):
        line = UNDERLINES[len(found[1])]
        return f"{found[2]}\n{line * len(found[2])}"

    text = re.sub(r"^(#+) (.*)$", heading, text, flags=re.M)
    return re.sub(r"\[([^\]]+)\]\(([^)]+)\)", r"`\1 <\2>`__", text)


def write(source, target):
    """Write the page; leave it alone if nothing changed."""
    text = converted(Path(source).read_text("utf-8"))
    target = Path(target)
    if not target.exists() or target.read_text("utf-8") != text:
        target.write_text(text, "utf-8")
