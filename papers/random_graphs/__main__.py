"""Write the tables and figures of page.rst, from the stores of the studies.

The studies are ``robustkit study --preset`` random-graphs, graph-families and pruning,
and ``python -m papers.random_graphs.mismatched`` with and without ``--pruning``.
``python -m papers.random_graphs STORE [STORE ...]`` reads what is finished of each, and
writes results/*.csv, tables and figures anew.
"""

import argparse

from papers import verdicts
from papers.random_graphs import figures, tables
from papers.random_graphs.published import TABLES


def main():
    """Write everything that page.rst shows."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("stores", nargs="+", metavar="STORE")
    amounts = []
    for store in parser.parse_args().stores:
        name, evidence = tables.read(store)
        tables.keep_models(evidence, name)
        amounts.append(tables.amount(evidence, name))
        tables.write(tables.summary_rows(evidence), f"{name}_summary")
        population = "pruning" if evidence.is_pruned else "graphs"
        if name == "families":
            tables.write(tables.family_rows(evidence), name)
            tables.write(tables.within_families_rows(evidence), "families_joint")
        else:
            (published,) = (p for p in TABLES if p.population == population)
            tables.write(tables.beside_the_paper(evidence, published), f"{name}_paper")
        if name == "graphs":
            tables.write(tables.joint_rows(evidence), "joint")
            tables.keep_joint(evidence)
            # Those of the mismatched protocol are the same graphs.
            figures.draw_structure(evidence, name)
        if evidence.is_pruned:
            tables.write(tables.within_nets_rows(evidence), f"{name}_within")
        if name in ("graphs", "mismatched"):
            tables.write(figures.figure_rows(evidence, published), f"{name}_figures")
            if len(evidence.inits) > 1:
                figures.draw_initialisations(evidence, name)
        if name != "families":
            figures.draw_scatter(evidence, name)
        n_graphs = evidence.results["graph"].nunique()
        print(f"{name}: {len(evidence.results)} models of {n_graphs} graphs")
    tables.keep_amounts(amounts)
    verdicts.update("random_graphs")


if __name__ == "__main__":
    main()
