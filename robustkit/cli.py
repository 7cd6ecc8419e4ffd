"""The command ``robustkit``.

One function adds a command's options, one runs it. What a command needs is imported
when it runs, so that ``robustkit --help`` answers at once. A user's mistake ends with
one line on standard error and exit status 2; a traceback is a mistake of ours.
"""

import argparse
import os
import sys

from robustkit import __version__
from robustkit._validation import did_you_mean

__all__ = ["main"]

_EXAMPLES = """\
examples:
  robustkit demo                        draw a graph, train it, attack it (digits)
  robustkit demo --dataset mnist        the same on 5,000 images of MNIST
  robustkit explore --demo              look inside two networks, in the browser
  robustkit datasets                    which data sets there are, and where

'robustkit COMMAND --help' tells the options of a command.
"""


def main(argv=None):
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
    except (ValueError, OSError) as error:
        print(f"robustkit: error: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("robustkit: interrupted", file=sys.stderr)
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
    for add in (_add_demo, _add_explore, _add_datasets):
        add(commands)
    arguments, unknown = parser.parse_known_args(argv)
    if unknown:
        command = commands.choices[arguments.command]
        options = [*parser.options(), *command.options()]
        hint = did_you_mean(unknown[0], options)
        command.error(f"unknown argument {unknown[0]!r}{hint}")
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


def _add_dataset_options(command):
    command.add_argument(
        "--dataset",
        default="digits",
        metavar="NAME",
        help="digits, mnist, cifar10 or a file FILE.npz with X and y, and perhaps "
        "X_test and y_test (default: %(default)s)",
    )
    _add_data_home(command)


def _add_data_home(command):
    command.add_argument(
        "--data-home",
        metavar="FOLDER",
        help="where mnist/ and cifar10/ lie or are downloaded to (default: "
        "$ROBUSTKIT_DATA, else ~/robustkit_data)",
    )


def _add_seed(command):
    command.add_argument(
        "--seed",
        type=_seed,
        default=0,
        metavar="N",
        help="the same number gives the same result (default: %(default)s)",
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
    from robustkit.datasets._catalogue import IMAGE_SETS, locate

    line = "{:<8} {:>7}  {:<11}  {:>7}  {}".format
    print(line("name", "images", "shape", "classes", "where"))
    for image_set in IMAGE_SETS:
        shape = " x ".join(map(str, image_set.image_shape))
        n_classes = len(image_set.target_names)
        where = locate(image_set, arguments.data_home)
        print(line(image_set.name, f"{image_set.n_images:,}", shape, n_classes, where))


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
    from robustkit.datasets._catalogue import load_dataset
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
    net = SparseNetClassifier(graph, random_state=seed)
    if sys.stdout.isatty():
        net.set_callbacks(ProgressBar())
    net.fit(X, y)

    eps = round(0.05 * float(np.ptp(X)), 6)
    attack = PGDAttack(FrozenEstimator(net), eps=eps, random_state=seed).fit(X, y)
    report = attack.report(X_test, y_test)
    print(f"Accuracy  {report.clean_accuracy:.3f} on the test images")
    print(f"          {report.robust_accuracy:.3f} under attack (PGD, eps={eps})")


def _add_explore(commands):
    examples = """\
  robustkit explore --demo
  robustkit explore RUN
  robustkit explore RUN --port 8000 --no-open
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


def _port(text):
    if not (text.isdecimal() and int(text) <= 65535):
        raise argparse.ArgumentTypeError(
            f"must be an integer from 0 to 65535. Got {text!r} instead."
        )
    return int(text)


def _run_explore(arguments):
    from robustkit.explorer import explore, load_run
    from robustkit.explorer._demo import demo_run

    if arguments.demo:
        print("Training two nets on digits and attacking them ...", flush=True)
    run = demo_run() if arguments.demo else load_run(arguments.run_folder)
    explore(run, port=arguments.port, open_browser=not arguments.no_open)
