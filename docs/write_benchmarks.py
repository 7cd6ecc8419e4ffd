"""Write the tables of the benchmark page from ``benchmarks/results.json``."""

import json
from pathlib import Path

HEADINGS = ("work", "peer", "ours / theirs", "middle half", "promised", "same result")


def rows(results):
    """The cells of one room's table."""
    for result in results:
        same = {True: "yes", False: "**no**", None: ""}[result["same"]]
        limit = "" if result["limit"] is None else f"{result['limit']:.3g}"
        spread = f"{result['ratio_low']:.3g} to {result['ratio_high']:.3g}"
        name = (
            f"{result['name']} ({result['note']})" if result["note"] else result["name"]
        )
        yield name, result["peer"], f"{result['ratio']:.3g}", spread, limit, same


def list_table(cells):
    """A table in reStructuredText."""
    lines = [".. list-table::", "   :header-rows: 1", "   :widths: 38 20 12 14 8 8", ""]
    for row in cells:
        lines += [
            f"   {'* -' if i == 0 else '  -'} {cell}" for i, cell in enumerate(row)
        ]
    return "\n".join(lines)


def write(source, target):
    """One section a room, with the machine and the versions it was measured on."""
    parts = []
    for room, entry in sorted(json.loads(Path(source).read_text()).items()):
        found = ", ".join(f"{name} {v}" for name, v in entry["versions"].items())
        table = list_table([HEADINGS, *rows(entry["results"])])
        made = f"{entry['machine']}; {found}; {entry['date']}."
        parts.append(f"{room}\n{'-' * len(room)}\n\n{made}\n\n{table}\n")
    Path(target).write_text("\n".join(parts))
