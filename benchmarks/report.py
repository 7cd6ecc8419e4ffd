"""What was measured, as tables: the same cells for Markdown and for the docs."""

from benchmarks.harness import Grown, Result

CASE_HEADINGS = (
    "work",
    "peer",
    "ours",
    "theirs",
    "ours / theirs (middle half)",
    "promised",
    "kept",
    "same result",
    "note",
)
GROWTH_HEADINGS = (
    "work",
    "grows",
    "peer",
    "ours, first to last",
    "theirs, first to last",
    "ours / theirs, first to last",
    "exponent of ours",
    "exponent of theirs",
    "same result",
    "note",
)
GROWTHS_SAY = (
    "Sizes grow by equal factors. An exponent b means that time grows as size to the "
    "power of b: fitted to all sizes, in brackets the least and the greatest between "
    "two neighbouring sizes. A peer that would take longer than its note says was not "
    "run at larger sizes."
)
INTRODUCTION = (
    "Times are CPU seconds per call on one thread; on a GPU, seconds until it is done. "
    "The two sides of a row ran alternately in one process; the ratio is the median "
    "over pairs, in brackets the middle half. Below 1 means that robustkit is faster."
)
GPU_HEADINGS = ("work", "measured", "goal", "note")
GPU_SAYS = (
    "Written by `python -m benchmarks.gpu`: seconds until the device is done, of one "
    "run."
)
NO_GPU_YET = (
    "Not measured yet: no GPU has run it. `python -m benchmarks.gpu` does, in less "
    "than eight minutes, and writes its table here; `python -m benchmarks.gpu "
    "--dry-run` runs its parts with very little data on the CPU."
)
MUTANT_HEADINGS = (
    "room",
    "places that could be broken",
    "mutants drawn",
    "caught by the room's tests",
    "equivalent",
    "caught of those that are not",
    "command",
)
MUTANTS_SAY = (
    "The package is broken on purpose, one place at a time, drawn at random (another "
    "comparison, another arithmetic operator, a number one larger or smaller, a "
    "condition negated, a loop that never runs), and the tests of the room run against "
    "it. A mutant that changes nothing a user could see is equivalent: each of them "
    "stands in `equivalent_mutants.toml`, with the reason."
)


def case_cells(result):
    """One row of the first table, from what the store keeps of a result."""
    result = Result(**result)
    return (
        result.name,
        result.peer,
        seconds(result.ours),
        seconds(result.theirs),
        f"{_short(result.ratio)} ({_short(result.ratio_low)} to "
        f"{_short(result.ratio_high)})",
        _short(result.limit),
        _answer(result.kept),
        _answer(result.same),
        result.note,
    )


def growth_cells(grown):
    """One row of the second table, from what the store keeps of a growth."""
    grown = Grown(**grown)
    ratios = [a / b for a, b in zip(grown.ours, grown.theirs, strict=False)]
    return (
        grown.name,
        f"{grown.along} {', '.join(f'{size:,}' for size in grown.sizes)}",
        grown.peer,
        _range([seconds(time) for time in grown.ours]),
        _range([seconds(time) for time in grown.theirs]),
        _range([_short(ratio) for ratio in ratios]),
        *map(_exponent, grown.exponents),
        _answer(grown.same),
        grown.note,
    )


def provenance(entry):
    """On what a room was measured."""
    found = ", ".join(f"{name} {v}" for name, v in entry["versions"].items())
    return f"{entry['machine']}; {found}; {entry['date']}."


def left_out(entry):
    """Who should be in a room's tables and is not; empty if everybody is."""
    reasons = entry["left_out"]
    return f"Left out: {'; '.join(reasons)}." if reasons else ""


def gpu(store):
    """Says plainly that there was no GPU, if there was none."""
    if any(room.endswith("on a GPU") for room in store):
        return ""
    return "There was no GPU: everything here was measured on a CPU."


def gpu_rows(parts):
    """What was measured on a GPU, part by part."""
    return [row for entry in parts.values() for row in entry["rows"]]


def gpu_as_rst(parts):
    """The same for the documentation."""
    if not parts:
        return f"{NO_GPU_YET.replace('`', '``')}\n"
    lines = [provenance(next(iter(parts.values()))), "", ".. list-table::"]
    lines += ["   :header-rows: 1", "   :widths: 40 14 12 34", ""]
    for row in [GPU_HEADINGS, *gpu_rows(parts)]:
        lines += [f"   {'  -' if i else '* -'} {cell}" for i, cell in enumerate(row)]
    return "\n".join(lines) + "\n"


def _on_a_gpu(parts):
    found = ["", "## Many networks on a GPU", ""]
    if not parts:
        return [*found, NO_GPU_YET]
    found += [GPU_SAYS, "", provenance(next(iter(parts.values()))), ""]
    return [
        *found,
        markdown_table(GPU_HEADINGS),
        *(markdown_row(row) for row in gpu_rows(parts)),
    ]


def markdown(store, mutants=None, equivalents=None, on_gpu=None):
    """All rooms as one page, with what became of mutants at the end."""
    parts = [
        "# Benchmarks",
        "",
        f"{INTRODUCTION} Written by `python -m benchmarks`; do not edit.",
        "",
        GROWTHS_SAY,
    ]
    parts += ["", gpu(store)] if gpu(store) else []
    for room, entry in sorted(store.items()):
        parts += ["", f"## {room}", "", provenance(entry)]
        if entry["left_out"]:
            parts += ["", left_out(entry)]
        if entry["results"]:
            parts += ["", markdown_table(CASE_HEADINGS)]
            parts += [markdown_row(case_cells(each)) for each in entry["results"]]
        if entry["growths"]:
            parts += ["", markdown_table(GROWTH_HEADINGS)]
            parts += [markdown_row(growth_cells(each)) for each in entry["growths"]]
    parts += _on_a_gpu(on_gpu or {})
    if mutants:
        parts += [
            "",
            "## Mutants",
            "",
            MUTANTS_SAY,
            "",
            markdown_table(MUTANT_HEADINGS),
        ]
        parts += [
            markdown_row(mutant_cells(room, entry, equivalents or {}))
            for room, entry in sorted(mutants.items())
        ]
    return "\n".join(parts) + "\n"


def mutant_cells(room, entry, equivalents):
    """What became of the mutants of a room, as one row."""
    survivors = [m for m in entry["mutants"] if m["outcome"] == "survived"]
    equivalent = sum(
        (m["file"], m["before"], m["after"]) in equivalents for m in survivors
    )
    caught = len(entry["mutants"]) - len(survivors)
    counted = len(entry["mutants"]) - equivalent
    return (
        room,
        f"{entry['n_places']:,}",
        str(len(entry["mutants"])),
        str(caught),
        str(equivalent),
        f"{caught / counted:.0%} of {counted}" if counted else "",
        f"`{entry['command']}`, {entry['date']}",
    )


def markdown_table(headings):
    """The first two lines of a table."""
    return f"{markdown_row(headings)}\n{'|---' * len(headings)}|"


def markdown_row(cells):
    """One line of a table."""
    return f"| {' | '.join(cells)} |"


def seconds(value):
    """A time in a unit that reads well."""
    for factor, unit in ((1, "s"), (1e3, "ms"), (1e6, "µs")):
        if value * factor >= 1:
            return f"{value * factor:.3g} {unit}"
    return f"{value * 1e9:.3g} ns"


def _exponent(found):
    fitted, low, high = found
    return "" if fitted is None else f"{fitted:.2f} ({low:.2f} to {high:.2f})"


def _range(texts):
    return "" if not texts else f"{texts[0]} to {texts[-1]}"


def _short(value):
    return "" if value is None else f"{value:.3g}"


def _answer(value):
    return {True: "yes", False: "**no**", None: ""}[value]
