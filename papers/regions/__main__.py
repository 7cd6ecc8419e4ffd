"""Run the experiment: ``python -m papers.regions --help``."""

from papers.regions.experiment import main

if __name__ == "__main__":
    main()
