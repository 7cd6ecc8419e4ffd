"""Run the experiment: ``python -m papers.topology --help``."""

from papers.topology.experiment import main

if __name__ == "__main__":
    main()
