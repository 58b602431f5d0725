"""Scans opened in a window whose locale writes numbers with a comma, as Qt sets it in most of Europe."""

from __future__ import annotations

import json
import locale
import os
import subprocess
import sys

import numpy as np
import pytest
import SimpleITK as sitk

from enhanced import write_enhanced
from patience import PATIENCE
from scanners import itk_image
from scans import make_brain, write_nifti

AFFINE = np.diag([-3.76, -3.76, 6.5, 1.0])
COMMA = "de_DE.UTF-8"
WINDOW = """
import json, locale, sys
import napari
viewer = napari.Viewer()
point = locale.localeconv()["decimal_point"]
scales = []
for path in sys.argv[1:]:
    viewer.layers.clear()
    viewer.open(path, plugin="napari-cead")
    scales.append([float(size) for size in viewer.layers[0].scale])
print("FOUND", json.dumps({"point": point, "after": locale.localeconv()["decimal_point"], "scales": scales}))
viewer.close()
"""


def has_comma_locale() -> bool:
    before = locale.setlocale(locale.LC_NUMERIC)
    try:
        locale.setlocale(locale.LC_NUMERIC, COMMA)
    except locale.Error:
        return False
    finally:
        locale.setlocale(locale.LC_NUMERIC, before)
    return True


@pytest.mark.skipif(
    not has_comma_locale(), reason=f"{COMMA} is not installed (tools/system_packages.sh does)"
)
def test_voxel_sizes_are_the_same_under_a_comma(tmp_path):
    scan = np.round(make_brain((5, 20, 16))[0].T)
    places = [tmp_path / name for name in ("a/flair.nrrd", "b/flair.nhdr", "c/flair.nii.gz", "d/IM1.dcm")]
    for place in places:
        place.parent.mkdir()
    for place in places[:2]:
        sitk.WriteImage(itk_image(scan.astype(np.int16), AFFINE), str(place))
    write_nifti(places[2], scan.astype(np.int16), AFFINE)
    write_enhanced(places[3], scan.astype(np.uint16), AFFINE)
    done = subprocess.run(
        [sys.executable, "-c", WINDOW, *map(str, places)],
        env={**os.environ, "LC_ALL": COMMA, "LANG": COMMA, "NAPARI_CONFIG": str(tmp_path / "settings.yaml")},
        capture_output=True,
        text=True,
        timeout=240 * PATIENCE,
    )
    line = next((line for line in done.stdout.splitlines() if line.startswith("FOUND ")), None)
    assert line is not None, done.stderr[-2000:]
    found = json.loads(line.removeprefix("FOUND "))
    assert (found["point"], found["after"]) == (",", ",")  # Qt did set it, and nothing took it back
    np.testing.assert_allclose(found["scales"], [[6.5, 3.76, 3.76]] * 4, rtol=1e-6)
