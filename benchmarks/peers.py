"""Who robustkit is compared with, and what it takes to have them here.

Peers ask for packages, or for versions of them, that do not go together, and use few of
them. They all run side by side if each is installed without what it asks for
(``pip install --no-deps``), next to what it really imports. `install` does this in a
folder of its own: nothing changes in the environment that robustkit runs in.
"""

import importlib
import re
import subprocess
import sys
import types
import warnings
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec


@dataclass(frozen=True)
class Peer:
    """A package to compare with."""

    title: str
    distribution: str
    requirements: tuple[str, ...]
    """Itself, and what it imports that robustkit does not bring."""


_TELLS = re.compile("error|fatal", re.IGNORECASE)
_REQUESTS = ("requests", "urllib3", "idna", "certifi", "charset-normalizer")
_IGRAPH = ("igraph==1.0.0", "texttable")

# By the name of the module that is imported.
PEERS = {
    "adv_lib": Peer("adv-lib", "adv-lib", ("adv-lib==0.2.8", "tqdm")),
    "art": Peer(
        "ART",
        "adversarial-robustness-toolbox",
        ("adversarial-robustness-toolbox==1.20.1", "packaging", "six", "tqdm"),
    ),
    "autoattack": Peer(
        "AutoAttack",
        "autoattack",
        (
            "autoattack @ git+https://github.com/fra31/auto-attack"
            "@a39220048b3c9f2cca9a4d3a54604793c68eca7e",
        ),
    ),
    "auto_LiRPA": Peer(
        "auto_LiRPA",
        "auto_LiRPA",
        (
            # It asks for an older torch, and computes the same with this one.
            "auto_LiRPA @ git+https://github.com/Verified-Intelligence/auto_LiRPA"
            "@a050a3d",
            *("appdirs", "graphviz", "ninja", "packaging", "pyyaml", "tqdm"),
        ),
    ),
    "dcor": Peer("dcor", "dcor", ("dcor==0.7", "array-api-compat")),
    "deepstruct": Peer(
        "deepstruct", "deepstruct", ("deepstruct==0.10.0", "deprecated", "wrapt")
    ),
    "foolbox": Peer(
        "foolbox",
        "foolbox",
        ("foolbox==3.3.4", "eagerpy", "GitPython", "gitdb", "smmap", *_REQUESTS),
    ),
    "GraphRicciCurvature": Peer(
        "GraphRicciCurvature",
        "GraphRicciCurvature",
        ("GraphRicciCurvature==0.6.1", "POT", "networkit", "python-louvain"),
    ),
    "gtda": Peer(
        "giotto-tda",
        "giotto-tda",
        (
            "giotto-tda==0.6.2",
            *_IGRAPH,
            *("plotly", "packaging", "ipywidgets", "IPython", "traitlets", "comm"),
        ),
    ),
    "gudhi": Peer("GUDHI", "gudhi", ("gudhi==3.13.0",)),
    "igraph": Peer("igraph", "igraph", _IGRAPH),
    "kmapper": Peer("KeplerMapper", "kmapper", ("kmapper==2.1.0",)),
    "relucent": Peer(
        "relucent", "relucent", ("relucent==1.0.0", "gurobipy", "plotly", "narwhals")
    ),
    "skorch": Peer("skorch", "skorch", ("skorch==1.4.0", "tabulate", "tqdm")),
    "tdamapper": Peer("tda-mapper", "tda-mapper", ("tda-mapper==0.12.0",)),
    "torchattacks": Peer(
        "torchattacks",
        "torchattacks",
        ("torchattacks==3.5.1", *_REQUESTS, "tqdm"),
    ),
}


def load(module):
    """Import a peer, or something in it; None if it is not installed."""
    try:
        # What peers warn of while they are imported is theirs.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return importlib.import_module(module)
    except ImportError:
        return None


def stand_in(*modules):
    """Put empty modules where a peer imports what it does not use in what we run."""
    for module in modules:
        if load(module) is None:
            parent, _, name = module.rpartition(".")
            sys.modules[module] = types.ModuleType(module)
            if parent:
                setattr(sys.modules[parent], name, sys.modules[module])


def title(module):
    """Name and version of a peer that is installed."""
    peer = PEERS[module]
    try:
        return f"{peer.title} {version(peer.distribution)}"
    except PackageNotFoundError:
        # A folder of sources.
        return peer.title


def missing(modules):
    """What to say of the peers that are not here: who, and how to install them."""
    return [
        f"{PEERS[module].title} is not installed: {_command(PEERS[module])}"
        for module in modules
        if find_spec(module) is None
    ]


def use(folder):
    """Make the peers in a folder importable, after all that is installed."""
    if str(folder) not in sys.path:
        sys.path.append(str(folder))
        importlib.invalidate_caches()


def install(folder):
    """Install what is missing into a folder, one peer after the other.

    Returns
    -------
    failed : dict
        For each peer that could not be installed, what pip said first.
    """
    use(folder)
    failed = {}
    for module, peer in PEERS.items():
        if find_spec(module) is not None:
            continue
        print(f"installing {peer.title}", flush=True)
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps"]
        command += ["--target", str(folder), *peer.requirements]
        done = subprocess.run(command, capture_output=True, text=True)
        importlib.invalidate_caches()
        if done.returncode:
            said = [line for line in done.stderr.splitlines() if line.strip()]
            errors = [line.strip() for line in said if _TELLS.search(line)]
            failed[module] = (errors or [f"pip ended with {done.returncode}"])[0]
    return failed


def _command(peer):
    requirements = " ".join(f'"{name}"' for name in peer.requirements)
    return f"`pip install --no-deps {requirements}`"
