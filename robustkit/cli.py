"""The command ``robustkit``.

One function adds a command's options, one runs it. What a command needs is imported
when it runs, so that ``robustkit --help`` answers at once. A user's mistake ends with
one line on standard error and exit status 2; a traceback is a mistake of ours.
"""

import argparse
import os
import shlex
import sys
from pathlib import Path

from robustkit import __version__
from robustkit._validation import did_you_mean

__all__ = ["main"]

_EXAMPLES = """\
examples:
  robustkit study                       300 networks of digits, attacked, correlated
  robustkit study mine.toml             a study of your own, written in TOML
  robustkit study --store STORE         continue a study that was stopped
  robustkit report STORE                its report anew, of what is finished so far
  robustkit export STORE --csv FILE     its table, for other programs
  robustkit demo                        draw a graph, train it, attack it (digits)
  robustkit demo --dataset mnist        the same on 5,000 images of MNIST
  robustkit explore --demo              look inside two networks, in the browser
  robustkit datasets                    which data sets there are, and where

'robustkit COMMAND --help' shows the options of a command.
"""


def main(argv: list[str] | None = None) -> int:
    """Run the command line.

    Parameters
    ----------
    argv : list of str, default=None
        The words after the program's name. None is those of this process.

    Returns
    -------
    status : int
        0; 2 for bad input, 130 for Ctrl-C, 141 for a reader that went away.
    """
    try:
        try:
            arguments = _parse(argv)
            arguments.run(arguments)
        finally:
            sys.stdout.flush()
    except BrokenPipeError:
        # Python flushes once more at exit, and would complain there.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except (ValueError, OSError, ImportError) as error:
        print(f"robustkit: error: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    except KeyboardInterrupt as interrupt:
        print(": ".join(["robustkit: interrupted", *interrupt.args]), file=sys.stderr)
        return 130
    return 0


class _Parser(argparse.ArgumentParser):
    """Says in one line what is wrong, and what may have been meant."""

    def error(self, message):
        """Exit with one line."""
        self.exit(2, f"robustkit: error: {message} (see {self.prog} --help)\n")

    def _check_value(self, action, value):
        if action.choices is not None and value not in action.choices:
            what = "/".join(action.option_strings) or "command"
            hint = did_you_mean(value, action.choices)
            raise argparse.ArgumentError(None, f"unknown {what} {value!r}{hint}")

    def options(self):
        """Names of all options."""
        return list(self._option_string_actions)


def _parse(argv):
    parser = _Parser(
        prog="robustkit",
        description="Why is a neural network robust?",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument(
        "--version", action="version", version=f"robustkit {__version__}"
    )
    commands = parser.add_subparsers(metavar="COMMAND", dest="command", required=True)
    for add in (
        _add_study,
        _add_report,
        _add_export,
        _add_demo,
        _add_explore,
        _add_datasets,
    ):
        add(commands)
    arguments, unknown = parser.parse_known_args(argv)
    if unknown:
        command = commands.choices[arguments.command]
        options = [*parser.options(), *command.options()]
        hint = did_you_mean(unknown[0], options)
        command.error(f"unknown argument {unknown[0]!r}{hint}")
    arguments.words = sys.argv[1:] if argv is None else list(argv)
    return arguments


def _add_command(commands, name, run, summary, examples):
    command = commands.add_parser(
        name,
        help=summary,
        description=f"{summary[0].upper()}{summary[1:]}.",
        epilog=f"examples:\n{examples}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    command.set_defaults(run=run)
    return command


def _add_dataset_options(command, default="digits", otherwise="%(default)s"):
    command.add_argument(
        "--dataset",
        default=default,
        metavar="NAME",
        help="digits, mnist, cifar10 or a file FILE.npz with X and y, and perhaps "
        f"X_test and y_test (default: {otherwise})",
    )
    _add_data_home(command)


def _add_data_home(command):
    command.add_argument(
        "--data-home",
        metavar="FOLDER",
        help="where mnist/ and cifar10/ lie or are downloaded to (default: "
        "$ROBUSTKIT_DATA, else ~/robustkit_data)",
    )


def _add_seed(command, default=0, otherwise="%(default)s"):
    command.add_argument(
        "--seed",
        type=_seed,
        default=default,
        metavar="N",
        help=f"the same number gives the same result (default: {otherwise})",
    )


def _seed(text):
    largest = 2**32 - 1
    if not (text.isdecimal() and int(text) <= largest):
        raise argparse.ArgumentTypeError(
            f"must be an integer from 0 to {largest}. Got {text!r} instead."
        )
    return int(text)


def _add_datasets(commands):
    examples = """\
  robustkit datasets
  robustkit datasets --data-home /data
"""
    summary = "list the data sets and where they are"
    command = _add_command(commands, "datasets", _run_datasets, summary, examples)
    _add_data_home(command)


def _run_datasets(arguments):
    from robustkit.datasets import IMAGE_SETS, locate

    line = "{:<8} {:>7}  {:<11}  {:>7}  {}".format
    print(line("name", "images", "shape", "classes", "where"))
    for image_set in IMAGE_SETS:
        shape = " x ".join(map(str, image_set.image_shape))
        n_classes = len(image_set.target_names)
        where = locate(image_set, arguments.data_home)
        print(line(image_set.name, f"{image_set.n_images:,}", shape, n_classes, where))


def _add_study(commands):
    examples = """\
  robustkit study
  robustkit study --n-graphs 20 --inits he_normal uniform --seed 1
  robustkit study --dataset mine.npz --out mine
  robustkit study mine.toml
  robustkit study --preset random-graphs --data-home /data --n-jobs 4
  robustkit study --store mine/study.store
"""
    summary = "train many networks, attack each, report what correlates with robustness"
    command = _add_command(commands, "study", _run_study, summary, examples)
    what = command.add_mutually_exclusive_group()
    what.add_argument(
        "config", nargs="?", metavar="FILE.toml", help="the study, written in TOML"
    )
    what.add_argument(
        "--preset",
        metavar="NAME",
        help="a study that is shipped: quick, random-graphs, graph-families or pruning "
        "(default: that of the store if there is one, else quick)",
    )
    _add_dataset_options(command, default=None, otherwise="that of the study")
    command.add_argument(
        "--n-graphs",
        type=_count,
        metavar="N",
        help="how many graphs (default: that of the study)",
    )
    command.add_argument(
        "--inits",
        nargs="+",
        metavar="NAME",
        help="initialisations, such as he_normal uniform (default: those of the study)",
    )
    command.add_argument(
        "--out",
        metavar="FOLDER",
        help="where to write report.html and results.csv (default: study-DATASET, "
        "study-NAME, or the folder of the store)",
    )
    command.add_argument(
        "--store",
        metavar="FILE",
        help="where to keep every finished network; one that is there already is "
        "continued, also without any other option (default: FOLDER/study.store)",
    )
    command.add_argument(
        "--n-jobs",
        type=int,
        metavar="N",
        help="processes; -1 is one per core (default: that of the study, else -1)",
    )
    command.add_argument(
        "--engine",
        choices=["auto", "single", "batched"],
        help="train networks one at a time or together (default: that of the study, "
        "else auto)",
    )
    command.add_argument(
        "-v",
        "--verbose",
        action="store_true",
        help="print a line for every finished network",
    )
    _add_seed(command, default=None, otherwise="that of the study, else 0")


def _count(text):
    if not (text.isdecimal() and int(text) > 0):
        raise argparse.ArgumentTypeError(
            f"must be an integer of at least 1. Got {text!r} instead."
        )
    return int(text)


def _run_study(arguments):
    from robustkit.datasets import load_dataset
    from robustkit.study import RobustnessStudy, Store, write_config

    config = _chosen_study(arguments)
    data = _chosen_data(arguments, config)
    images = load_dataset(**{"dataset": "digits", **data})
    params = {"n_jobs": -1, **config.params(images)}
    if not config.is_stored:
        # A store without one remembers what was drawn.
        params.setdefault("random_state", 0)
    params |= _given(arguments, n_graphs="n_graphs", inits="inits", n_jobs="n_jobs")
    params |= _given(arguments, engine="engine", seed="random_state", store="store")
    folder, store = _places(arguments, params.get("store"), config, images.name)
    params |= {"store": store, "verbose": 1 + arguments.verbose}
    study = RobustnessStudy(**params)
    text = write_config(study, {"summary": config.summary, "data": data})
    n_train, n_test = len(images.X_train), len(images.X_test)
    print(f"Images    {images.name}: {n_train:,} to train on, {n_test:,} to test")
    print(f"Study     {config.summary}")
    print(f"Store     {store}", flush=True)
    for place in (folder, store.parent):
        place.mkdir(parents=True, exist_ok=True)
    opened = Store(store)
    # The report tells how to make it again; the store alone is enough to continue.
    opened.keep_first("command", shlex.join(["robustkit", *arguments.words]))
    opened.keep_first("config", text)
    try:
        study.fit(images.X_train, images.y_train, images.X_test, images.y_test)
    except KeyboardInterrupt:
        raise KeyboardInterrupt(
            f"what is finished is safe in {store}; give the same command again to "
            "continue"
        ) from None
    _tell(study, folder / "report.html", folder / "results.csv")


def _chosen_study(arguments):
    """Read the study from the file, the preset or the store that the user names."""
    from robustkit.study import config_of_store, find_preset, read_config

    if arguments.config is not None:
        return read_config(arguments.config)
    config = None
    if arguments.preset is None and arguments.store and Path(arguments.store).exists():
        config = config_of_store(arguments.store)
    return config or find_preset(arguments.preset or "quick")


def _chosen_data(arguments, config):
    """Say which images to load, in words that any folder understands."""
    data = {
        **config.data,
        **_given(arguments, dataset="dataset", data_home="data_home"),
    }
    if config.is_stored and "dataset" not in data:
        raise ValueError(
            f"The store {config.source} does not say which images it is of. Name them "
            "with --dataset."
        )
    for name, value in data.items():
        if name == "data_home" or str(value).endswith(".npz"):
            data[name] = str(Path(value).resolve())
    return data


def _given(arguments, **names):
    """Options that the user gave, under the names of what they set."""
    given = {name: getattr(arguments, option) for option, name in names.items()}
    return {name: value for name, value in given.items() if value is not None}


def _places(arguments, store, config, dataset):
    """Where the report and the store go."""
    name = Path(config.source).stem
    folder = Path(f"study-{Path(dataset).stem if name == 'quick' else name}")
    if arguments.out is not None:
        folder = Path(arguments.out)
    elif store is not None:
        folder = Path(store).parent
    return folder, Path(store or folder / "study.store")


def _tell(study, report, table):
    """Print what correlates with what, and write everything down."""
    from robustkit.study import is_undertrained
    from robustkit.study.report import correlation_lines

    print()
    for line in correlation_lines(study.correlator_):
        print(line)
    n_left_out = is_undertrained(study.results_, study.max_accuracy_gap).sum()
    if n_left_out:
        print(
            f"{n_left_out:,} of {len(study.results_):,} models are left out: their "
            f"clean accuracy is more than {study.max_accuracy_gap:g} below the median."
        )
    study.results_.to_csv(table, index=False)
    study.report(report)
    print()
    print(f"Table     {table}")
    print(f"Report    {report}")


def _add_report(commands):
    examples = """\
  robustkit report study-digits/study.store
  robustkit report study-digits/study.store --out elsewhere
"""
    summary = "write the report of a study anew, of what is finished so far"
    command = _add_command(commands, "report", _run_report, summary, examples)
    command.add_argument("store", metavar="STORE", help="what the study keeps")
    command.add_argument(
        "--out",
        metavar="FOLDER",
        help="where to write report.html and results.csv (default: beside STORE)",
    )


def _run_report(arguments):
    from robustkit.study import RobustnessStudy

    study = RobustnessStudy.from_store(arguments.store)
    folder = Path(arguments.out or Path(arguments.store).parent)
    folder.mkdir(parents=True, exist_ok=True)
    _tell(study, folder / "report.html", folder / "results.csv")


def _add_export(commands):
    examples = """\
  robustkit export study-digits/study.store --csv table.csv
  robustkit export study-digits/study.store --parquet table.parquet
  robustkit export study-digits/study.store --mlflow http://127.0.0.1:5000
  robustkit export study-digits/study.sqlite --store study-digits/study.store
"""
    summary = "write the table of a study for other programs, or copy its store"
    command = _add_command(commands, "export", _run_export, summary, examples)
    command.add_argument("source", metavar="STORE", help="what the study keeps")
    where = command.add_mutually_exclusive_group(required=True)
    where.add_argument("--csv", metavar="FILE", help="one row per model")
    where.add_argument(
        "--parquet",
        metavar="FILE",
        help="the same, in columns with types (needs robustkit[parquet])",
    )
    where.add_argument(
        "--mlflow",
        metavar="URI",
        help="log a run, with a run below it for every model, to a server or a folder "
        "of MLflow (needs robustkit[mlflow])",
    )
    where.add_argument(
        "--store",
        metavar="FOLDER",
        help="copy it into one shard; so a store that is a SQLite file, as they were "
        "before, can be continued",
    )


def _run_export(arguments):
    from robustkit.study import Store, to_csv, to_mlflow, to_parquet

    store = Store(arguments.source, must_exist=True)
    n_models = store.n_models()
    if not n_models:
        raise ValueError(f"No model in {arguments.source} is finished yet.")
    if arguments.csv is not None:
        where = to_csv(store, arguments.csv)
    elif arguments.parquet is not None:
        where = to_parquet(store, arguments.parquet)
    elif arguments.mlflow is not None:
        name = Path(arguments.source).resolve().parent.name
        run = to_mlflow(store, arguments.mlflow, name)
        where = f"{arguments.mlflow} (experiment {name}, run {run})"
    else:
        where = store.copy_to(arguments.store).path
    print(f"Written   {n_models:,} models to {where}")


def _add_demo(commands):
    examples = """\
  robustkit demo
  robustkit demo --seed 3
  robustkit demo --dataset mnist --data-home /data
  robustkit demo --dataset mine.npz
"""
    summary = "draw a graph, build and train its network, attack it"
    command = _add_command(commands, "demo", _run_demo, summary, examples)
    _add_dataset_options(command)
    _add_seed(command)


def _run_demo(arguments):
    import numpy as np
    from sklearn.frozen import FrozenEstimator

    from robustkit._sklearn_private import ProgressBar
    from robustkit.attacks import PGDAttack
    from robustkit.classifiers import SparseNetClassifier
    from robustkit.datasets import load_dataset
    from robustkit.graphs import GraphPrior

    name, seed = arguments.dataset, arguments.seed
    images = load_dataset(
        name, data_home=arguments.data_home, n_train=5000, n_test=1000
    )
    X, y, X_test, y_test = images.X_train, images.y_train, images.X_test, images.y_test
    print(f"Images    {images.name}: {len(X):,} to train on, {len(X_test):,} to test")

    graph = GraphPrior(n_nodes=300, rewiring=0.9).sample(seed)
    print(
        f"Graph     {graph.n_nodes} vertices, {graph.n_edges} edges, "
        f"{graph.n_layers} layers, {len(graph.sources)} sources"
    )
    net = SparseNetClassifier(graph, max_epochs=30, batch_size=128, random_state=seed)
    if sys.stdout.isatty():
        net.set_callbacks(ProgressBar())
    net.fit(X, y)

    eps = float(f"{0.05 * float(np.ptp(X)):.6g}")
    attack = PGDAttack(FrozenEstimator(net), eps=eps, random_state=seed).fit(X, y)
    report = attack.report(X_test, y_test)
    print(f"Accuracy  {report.clean_accuracy:.3f} on the test images")
    print(f"          {report.robust_accuracy:.3f} under attack (PGD, eps={eps})")


def _add_explore(commands):
    examples = """\
  robustkit explore --demo
  robustkit explore RUN
  robustkit explore RUN --port 8000 --no-open
  robustkit explore RUN --export page.html
"""
    summary = "look inside models in the browser"
    command = _add_command(commands, "explore", _run_explore, summary, examples)
    what = command.add_mutually_exclusive_group(required=True)
    what.add_argument(
        "run_folder", nargs="?", metavar="RUN", help="a folder written by save_run"
    )
    what.add_argument(
        "--demo",
        action="store_true",
        help="train a clean and an adversarially trained net on digits, and show them",
    )
    command.add_argument(
        "--port",
        type=_port,
        default=0,
        metavar="N",
        help="where to listen; 0 takes any free port (default: %(default)s)",
    )
    command.add_argument(
        "--no-open", action="store_true", help="print the address, open no browser"
    )
    command.add_argument(
        "--export",
        metavar="FILE",
        help="write the page to a file that needs no server, and end",
    )


def _port(text):
    if not (text.isdecimal() and int(text) <= 65535):
        raise argparse.ArgumentTypeError(
            f"must be an integer from 0 to 65535. Got {text!r} instead."
        )
    return int(text)


def _run_explore(arguments):
    from robustkit.explorer import (
        demo_run,
        explore,
        export_html,
        import_server,
        load_run,
    )

    if arguments.export is None:
        # Before anything is trained for it.
        import_server()
    if arguments.demo:
        print("Training two nets on digits and attacking them ...", flush=True)
    run = demo_run() if arguments.demo else load_run(arguments.run_folder)
    if arguments.export is not None:
        print(f"Written   {export_html(run, arguments.export)}")
    else:
        open_browser = not arguments.no_open
        explore(run, port=arguments.port, open_browser=open_browser, block=True)
