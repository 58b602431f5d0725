"""How long tests wait before they give up."""

import os

PATIENCE = float(os.environ.get("NAPARI_CEAD_TEST_PATIENCE", "1"))
"""How many times as long as usual all time-outs of the tests are: more than 1 on a machine that does much else."""
