"""Heads made of ellipsoids, and a program that finds the brain in them."""

from __future__ import annotations

import stat
import sys

import numpy as np
import pytest

from heads import add_head, make_stripped
from napari_cead.patients import Patient

SPACING = (8.0, 1.5, 1.5)

FINDER = """#!{python}
import pathlib, sys
import nibabel as nib, numpy as np
pathlib.Path({log!r}).open("a").write("x")
image = nib.load(sys.argv[1])
brain = nib.load({brain!r}).get_fdata()
nib.save(nib.Nifti1Image(brain.astype(np.uint8), image.affine), sys.argv[2])
"""


@pytest.fixture(scope="session")
def stripped():
    """A brain (Z, Y, X) with as much margin as the head has."""
    return np.pad(make_stripped(), ((2, 2), (18, 18), (18, 18)))


@pytest.fixture(scope="session")
def head():
    """The same brain in its head."""
    return np.pad(add_head(make_stripped(), margin=18, scalp_width=10), ((2, 2), (0, 0), (0, 0)))


@pytest.fixture
def patient(head):
    return Patient.from_arrays({"flair": head, "t1_pre": head * 0.5}, spacing=SPACING, name="raw")


@pytest.fixture
def finder(tmp_path, stripped, patient):
    """The name of a stripper that is a program, and a function that says how often it ran."""
    from napari_cead.patients import save_volume

    brain, log, script = tmp_path / "brain-mask.nii.gz", tmp_path / "log", tmp_path / "finder"
    save_volume(stripped != 0, patient, brain)
    script.write_text(FINDER.format(python=sys.executable, brain=str(brain), log=str(log)))
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    name = f"command:{script} {{input}} {{output}}"
    return name, lambda: len(log.read_text()) if log.exists() else 0
