"""Print the lowest declared version of every dependency, as constraints for pip."""

import re
import sys
import tomllib
from pathlib import Path

settings = Path(__file__).parents[1] / "pyproject.toml"
project = tomllib.loads(settings.read_text("utf-8"))["project"]
extras = project["optional-dependencies"].values()
requirements = [*project["dependencies"], *(line for extra in extras for line in extra)]
for line in dict.fromkeys(requirements):
    minimum = re.match(r"([\w.-]+)(?:\[[\w,]+\])?>=([\w.]+)", line)
    if minimum:
        sys.stdout.write(f"{minimum[1]}=={minimum[2]}\n")
