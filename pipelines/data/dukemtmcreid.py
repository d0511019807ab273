"""DukeMTMC-reID (Zheng et al., ICCV 2017; Ristani et al., ECCV workshops 2016)."""

import re
from dataclasses import replace
from pathlib import Path

from .folders import find_home
from .market1501 import FOLDERS, read_layout
from .samples import Dataset

NAMES = ("DukeMTMC-reID", "dukemtmcreid", "dukemtmc-reid", "dukemtmc", "duke")
PATTERN = re.compile(r"(-?\d{1,9})_c(\d{1,3})(?!\d)")
EXAMPLE = "0001_c2_f0046182.jpg"
WITHDRAWN = (
    "DukeMTMC was withdrawn by its authors in June 2019: the people in it had not consented. It is "
    "read here so that published numbers can be checked; many venues do not accept new results on "
    "it, so say why you use it, or use another data set"
)


def read_dukemtmcreid(root: Path) -> Dataset:
    """Read DukeMTMC-reID from its folder or the folder that it lies in; cameras are 1 to 8."""
    home = find_home(root, names=NAMES, needs=tuple(FOLDERS.values()), dataset="dukemtmcreid")
    dataset = read_layout("dukemtmcreid", home, folders=FOLDERS, pattern=PATTERN, example=EXAMPLE)
    return replace(dataset, notices=(WITHDRAWN,))
