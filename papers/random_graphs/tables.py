"""Rows of the tables of page.rst, from the stores of the studies."""

import numpy as np
import pandas as pd
from scipy.stats import spearmanr

from papers._results import with_interval
from papers.random_graphs.figures import coefficient
from papers.random_graphs.published import HERE, TABLES, correlate_published
from robustkit.correlation import correlate_given
from robustkit.study import RobustnessStudy
from robustkit.study.report import gather, interval, label, number, p_value

RESULTS = HERE / "results"

# Against which measures the joint table puts every property.
MEASURES = (
    "fgsm_error_rate",
    "growing_average_eps",
    "pgd_robust_accuracy_ce",
    "one_pixel_error_rate",
)
# What the results of a study are called, and its preset.
PRESETS = {
    "graphs": "random-graphs",
    "mismatched": "random-graphs-mismatched",
    "families": "graph-families",
    "pruning": "pruning",
    "pruning_mismatched": "pruning-mismatched",
}
# Properties that grow with a graph, or shrink.
SIZES = ("n_parameters", "n_sources", "n_sinks", "n_nodes", "n_edges", "density")
# The studies of version 2, by distances.
VERSION_2 = ("crossed", "ends", "retrained", "controls", "matched_families")


def read(store):
    """The name of a population, and what its study rests on."""
    study = RobustnessStudy.from_store(store)
    settings = study._settings
    evidence = gather(study.results_, study.columns_, study.correlator_, settings)
    (estimator,) = settings["estimator"]
    if evidence.is_pruned:
        is_mismatched = "NormalizedInTrainingOnly" in str(settings["estimator"])
        name = "pruning_mismatched" if is_mismatched else "pruning"
    elif estimator.endswith("NormalizedInTrainingOnly"):
        name = "mismatched"
    elif "prior__generator" in settings["param_space"]:
        name = "families"
    else:
        name = "graphs"
    return name, evidence


def write(rows, name):
    """Keep a table for the page."""
    path = RESULTS / "tables" / f"{name}.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    pd.DataFrame(rows).to_csv(path, index=False)


def amount(evidence, name):
    """How much of a study is finished."""
    settings, results = evidence.settings, evidence.results
    n_networks = results["graph"].nunique() if evidence.is_pruned else len(results)
    n_inits = 1 if evidence.is_pruned else len(settings["inits"])
    return {
        "study": PRESETS[name],
        "networks": n_networks,
        "asked for": settings["n_graphs"] * n_inits,
        "graphs": len(results) if evidence.is_pruned else results["graph"].nunique(),
        "initialisations": ", ".join(label(init) for init in settings["inits"]),
    }


def keep_amounts(new):
    """Put how much of some studies is finished beside what is known of the others."""
    path = RESULTS / "tables" / "amounts.csv"
    known = pd.read_csv(path).to_dict("records") if path.exists() else []
    rows = {row["study"]: row for row in [*known, *new]}
    order = (*PRESETS.values(), *VERSION_2)
    write([rows[name] for name in order if name in rows], "amounts")


def size_rows(table):
    """What ranks the graphs of a population as the number of parameters does.

    And as the distances of their networks do: Spearman's coefficients over graphs.
    """
    graphs = table.groupby("graph").mean(numeric_only=True)
    for column in SIZES:
        yield {
            "property": label(column),
            "with the number of parameters": number(
                spearmanr(graphs[column], graphs["n_parameters"]).statistic
            ),
            "with the median distance": number(
                spearmanr(graphs[column], graphs["linf_median_distance"]).statistic
            ),
        }


def keep_amount_of_rows(name, rows, n_graphs, inits, n_seeds=1):
    """Put how much of a study of version 2 is finished beside the others."""
    keep_amounts(
        [
            {
                "study": name,
                "networks": len(rows),
                "asked for": n_graphs * len(inits) * n_seeds,
                "graphs": rows["graph"].nunique(),
                "initialisations": ", ".join(sorted(inits)),
            }
        ]
    )


def keep_models(evidence, name):
    """Keep the row of every model, less the versions of what made it."""
    dull = ("version_", "n_samples", "n_queries")
    table = evidence.results
    table = table[[c for c in table if not any(word in c for word in dull)]]
    RESULTS.mkdir(parents=True, exist_ok=True)
    path = RESULTS / f"{name}.csv"
    table.to_csv(path, index=False)


def beside_the_paper(evidence, published):
    """Rows of table 1 or 2: published, and ours with interval and corrected p."""
    found = correlate_published(evidence, published)
    for row in published.rows:
        columns = [c for c in row.property_columns if c in evidence.properties]
        cells = {"measure": row.measure, "property": row.property}
        for method, theirs in (("spearman", row.rho), ("kendall", row.tau)):
            letter = {"spearman": "ρ", "kendall": "τ"}[method]
            ours = found.get((columns[0], row.measure_column, method))
            cells[f"{letter} published"] = number(theirs)
            cells[f"{letter} ours"] = coefficient(ours)
            if method == "spearman":
                p = np.nan if ours is None else ours["p_adjusted"]
                cells["adjusted p"] = p_value(p)
        yield cells


def joint_rows(evidence):
    """Every property against some measures: plain, and with the controls held fixed."""
    held = evidence.held.set_index(["property", "measure"])
    alpha = evidence.correlator.alpha
    pairs = evidence.pairs.set_index(["property", "measure"])
    for name in dict.fromkeys(evidence.pairs["property"]):
        cells = {"property": label(name)}
        for measure in MEASURES:
            if (name, measure) in pairs.index:
                plain, given = pairs.loc[name, measure], held.loc[name, measure]
                bounds = interval(plain["ci_low"], plain["ci_high"])
                cells[label(measure)] = (
                    f"{starred(plain, alpha)} {bounds} ({starred(given, alpha)})"
                )
        yield cells


def keep_joint(evidence):
    """Keep every property against every measure of robustness."""
    keys = ["property", "measure"]
    held = evidence.held.set_index(keys)[["coefficient", "p_value", "p_adjusted"]]
    joint = evidence.pairs.set_index(keys).drop(columns="strength")
    joint = joint.join(held.add_suffix("_held"))
    joint.to_csv(RESULTS / "joint.csv")


def within_nets_rows(evidence):
    """Spearman's coefficient with size among the steps of each net; mean over nets."""
    for row in TABLES[1].rows:
        if row.property_columns != ("n_parameters",):
            continue
        column = row.measure_column
        values = [
            spearmanr(steps["n_parameters"], steps[column], nan_policy="omit").statistic
            for _, steps in evidence.results.groupby("graph")
            if steps[column].nunique() > 1
        ]
        yield {
            "measure": row.measure,
            "ρ published": number(row.rho),
            "ρ within a net, mean": with_interval(values).replace("-", "−"),
            "nets": len(values),
            "of the published sign": sum(np.sign(values) == np.sign(row.rho)),
        }


def family_rows(evidence):
    """What the graphs of each family are like, and how their networks stand it."""
    shown = ["n_parameters", "density", "average_path_length", "average_clustering"]
    shown = [*shown, "degree_std", "clean_accuracy", *MEASURES]
    for family, rows in evidence.results.groupby("prior__generator"):
        cells = {"family": family.replace("_", " "), "graphs": rows["graph"].nunique()}
        for name in shown:
            values = rows[name].dropna()
            cells[label(name)] = f"{values.mean():.3g} ± {values.std():.2g}"
        yield cells


def within_families_rows(evidence):
    """Every property against some measures: over all graphs, and within families."""
    alpha, values = evidence.correlator.alpha, evidence.correlator.values_
    # Rows of values_ are graphs, in the order in which they first come.
    families = evidence.results.drop_duplicates("graph")["prior__generator"]
    dummies = pd.get_dummies(families, prefix="family", dtype=float)
    dummies.index = values.index
    names = list(dict.fromkeys(evidence.pairs["property"]))
    # A measure that is the same for all models goes with nothing.
    measures = [name for name in MEASURES if name in set(evidence.pairs["measure"])]
    within = correlate_given(
        values.join(dummies), names, measures, list(dummies.columns)
    ).set_index(["property", "measure"])
    pairs = evidence.pairs.set_index(["property", "measure"])
    for name in names:
        cells = {"property": label(name)}
        for measure in measures:
            plain, given = pairs.loc[name, measure], within.loc[name, measure]
            cells[label(measure)] = f"{starred(plain, alpha)} ({starred(given, alpha)})"
        yield cells


def starred(pair, alpha):
    """A coefficient, with a star if it passed the correction."""
    star = r"\*" if pair["p_adjusted"] <= alpha else ""
    return f"{number(pair['coefficient'])}{star}"


def summary_rows(evidence):
    """What the attacks do, over all models."""
    for name in evidence.measures:
        values = evidence.results[name].dropna()
        low, high = np.percentile(values, [2.5, 97.5])
        yield {
            "measure": label(name),
            "models": len(values),
            "mean": f"{values.mean():.4g}",
            "middle 95 %": f"{low:.4g} to {high:.4g}",
        }
