"""What a notebook shows of a fitted estimator, above its parameters."""

import re
from html.parser import HTMLParser

from sklearn.base import BaseEstimator
from sklearn.pipeline import make_pipeline
from sklearn.utils import estimator_html_repr

from robustkit._summary import HTMLSummaryMixin, facts_as_html, table_as_html


class Told(HTMLSummaryMixin, BaseEstimator):
    """Tells its name, as a user gave it."""

    def __init__(self, name="n"):
        self.name = name

    def fit(self, X=None, y=None):
        self.fitted_ = True
        return self

    def transform(self, X):
        return X

    def _html_summary(self):
        return facts_as_html({"name": self.name, "share": 1 / 3, "count": 3})


class Words(HTMLParser):
    """The tags and the words of a piece of HTML."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.words = [], []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)

    def handle_data(self, data):
        self.words.append(data)


def numbered(html):
    """Every diagram has another id."""
    return re.sub(r"-id-\d+", "-id", html)


def diagram_of(estimator):
    return numbered(estimator_html_repr(estimator))


def test_the_summary_stands_above_the_parameters_once_it_is_fitted():
    estimator = Told()
    assert numbered(estimator._repr_html_()) == diagram_of(estimator)
    html = estimator.fit()._repr_html_()
    assert html.index("0.333") < html.index("sk-container")
    assert numbered(html).endswith(diagram_of(estimator))
    assert numbered(estimator._repr_mimebundle_()["text/html"]) == numbered(html)


def test_a_pipeline_shows_its_own_diagram():
    pipeline = make_pipeline(Told()).fit([[1]])
    assert "0.333" not in pipeline._repr_html_()


def test_what_a_user_named_is_escaped():
    told = Words(facts_as_html({"<b>": "<script>x</script>", "n": 2}))
    assert set(told.tags) == {"table", "tr", "th", "td"}
    assert told.words == ["<b>", "n", "<script>x</script>", "2"]


def test_a_table_has_a_row_for_each():
    told = Words(table_as_html(["a", "b"], [[1, 0.5], ["x", 1e-9]]))
    assert told.words == ["a", "b", "1", "0.5", "x", "1e-09"]
    assert told.tags.count("tr") == 3
