"""The strongest correlation of each property, for a terminal."""

from robustkit.study._words import (
    METHODS,
    interval,
    is_robustness,
    number,
    p_value,
    words,
)

__all__ = ["correlation_lines"]


def correlation_lines(correlator, *, n_lines=12):
    """Write each property with the measure of robustness that it goes with most.

    Parameters
    ----------
    correlator : RobustnessCorrelator or None
        Fitted.

    n_lines : int, default=12
        How many properties at most: those that go most with something.

    Returns
    -------
    lines : list of str
        No longer than 80 characters.
    """
    if correlator is None:
        return ["Too few models to correlate."]
    table = correlator.correlations_
    pairs = table[
        (table["method"] == correlator.method_)
        & table["measure"].map(is_robustness)
        & table["coefficient"].notna()
    ]
    if pairs.empty:
        return ["No property varies together with a measure of robustness."]
    order = pairs["coefficient"].abs().sort_values(ascending=False, kind="stable").index
    line = "{:<22} {:<28} {:>6} {:>14} {:>6}".format
    lines = [line("property", "measure", "coef.", "interval", "adj. p")]
    strongest = pairs.loc[order].drop_duplicates("property")[:n_lines]
    for pair in strongest.to_dict("records"):
        star = "*" if pair["p_adjusted"] <= correlator.alpha else " "
        lines.append(
            line(
                _fit(words(pair["property"]), 22),
                _fit(words(pair["measure"]), 28),
                f"{number(pair['coefficient'])}{star}",
                interval(pair["ci_low"], pair["ci_high"]),
                p_value(pair["p_adjusted"]).replace("< ", "<"),
            )
        )
    return [text.rstrip() for text in [*lines, *_legend(correlator, pairs)]]


def _legend(correlator, pairs):
    significant = (pairs["p_adjusted"] <= correlator.alpha).sum()
    n_tests = correlator.correlations_["p_value"].count()
    n = pairs["n"].max()
    return [
        f"{METHODS[correlator.method_]}, n = {n:,} models or graphs.",
        f"* passed the correction for {n_tests:,} tests: {significant:,} of "
        f"{len(pairs):,} pairs.",
    ]


def _fit(text, width):
    return text if len(text) <= width else f"{text[: width - 1]}…"
