"""Tags escape what they hold; tables can be read aloud; pages load nothing."""

from html import unescape
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from robustkit.study._html import Html, join, page, table, tag


class Reader(HTMLParser):
    """The texts and the tags of a page."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.tags, self.texts = [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, name, attributes):
        self.tags.append((name, dict(attributes)))

    def handle_data(self, data):
        self.texts.append(data)


any_text = st.text(st.characters(codec="utf-8", exclude_characters="\r\0"), min_size=1)


@given(any_text | st.sampled_from(["<b>", "</p>", "&lt;", "'\">", "<!--"]))
def test_any_text_comes_back_as_it_was(text):
    reader = Reader(tag("p", text, title=text))
    assert reader.tags == [("p", {"title": text})]
    assert "".join(reader.texts) == text


def test_html_is_not_escaped_twice():
    inner = tag("b", "1 < 2")
    assert tag("p", inner, " & ") == "<p><b>1 &lt; 2</b> &amp; </p>"
    assert join(["<", inner]) == "&lt;<b>1 &lt; 2</b>"
    assert isinstance(join([]), Html)


def test_attributes_lose_their_trailing_underscore():
    assert tag("p", class_="a", aria_label="b") == '<p class="a" aria-label="b"></p>'
    assert tag("img", alt="", src="x") == '<img alt="" src="x">'


def test_every_header_of_a_table_says_what_it_heads():
    made = table(
        "What", ["a", "b", "c"], [("Part", [["x", 1, 2]]), (None, [["y", 3, 4]])]
    )
    tags = Reader(made).tags
    scopes = [attributes["scope"] for name, attributes in tags if name == "th"]
    assert scopes == ["col"] * 3 + ["rowgroup", "row", "row"]
    assert sum(name == "td" for name, _ in tags) == 4
    assert "What" in Reader(made).texts
    (box,) = [attributes for name, attributes in tags if name == "div"]
    # It can be scrolled by the keyboard, and says what it holds.
    assert (box["tabindex"], box["role"], box["aria-label"]) == ("0", "region", "What")


@pytest.mark.parametrize("title", ["A study", "</title><script>alert(1)</script>"])
def test_a_page_has_its_parts_and_no_others(title):
    made = page(title, [("one", "First & last", tag("p", "text"))])
    assert made.startswith('<!DOCTYPE html>\n<html lang="en">')
    tags = Reader(made).tags
    names = [name for name, _ in tags]
    assert names.count("h1") == names.count("main") == names.count("nav") == 1
    assert not {"script", "link", "iframe"} & set(names)
    assert unescape(title) in Reader(made).texts
    anchors = {a["href"] for name, a in tags if name == "a"}
    assert anchors == {f"#{a['id']}" for _, a in tags if "id" in a} == {"#one"}
    (policy,) = [a["content"] for _, a in tags if "http-equiv" in a]
    assert policy.startswith("default-src 'none'")
