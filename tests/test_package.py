import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import napari_cead as cead
from model_folders import save

TOOLS = str(Path(__file__).resolve().parents[1] / "tools")
PACKAGE, TORCH, WINDOWS = "napari_cead", {"torch"}, {"napari", "qtpy", "PySide6", "magicgui"}

STEPS = {
    "import napari_cead": TORCH | WINDOWS | {"nibabel"},
    "import napari_cead.metrics": TORCH | WINDOWS | {"nibabel"},
    "import napari_cead.cli": TORCH | WINDOWS | {"nibabel"},
    f"sys.path.append({TOOLS!r}); import public_surface; assert public_surface.options()": TORCH | WINDOWS,
    "import napari_cead.models; napari_cead.models.spec('ae')": TORCH,
    "import napari_cead.zoo; assert 'mine' in [model.name for model in napari_cead.zoo.list_models()]": TORCH,
    "from napari_cead.detection import available_scores, MAP_OPTIONS, ReconstructionCache": TORCH,
    "import napari_cead.store.store, napari_cead.store.prepare": TORCH,
    "import napari_cead.report.html": {"matplotlib"},
    "import napari_cead.patients, napari_cead.slices, napari_cead.training, napari_cead.exploring": WINDOWS,
    "import torch, napari_cead.detection.pipeline, napari_cead.training.engine, napari_cead.exploring": WINDOWS,
}
"""What a program does, one after the other, and what is not loaded after it."""


@pytest.fixture(scope="module")
def loaded(tmp_path_factory):
    """The modules that are loaded after each of the steps."""
    home = tmp_path_factory.mktemp("home")
    save(home / "models" / "mine")
    code = "import json, sys\nsteps = json.loads(sys.argv[1])\nfound = {}\n"
    code += (
        "for step in steps:\n    exec(step)\n    found[step] = list(sys.modules)\nprint(json.dumps(found))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, json.dumps(list(STEPS))],
        capture_output=True,
        text=True,
        env=os.environ | {"NAPARI_CEAD_HOME": str(home)},
    )
    assert done.returncode == 0, done.stderr
    return {step: set(modules) for step, modules in json.loads(done.stdout).items()}


@pytest.mark.parametrize("step", STEPS)
def test_nothing_is_loaded_that_is_not_needed(loaded, step):
    assert not loaded[step] & STEPS[step]


def test_metrics_need_nothing_else_of_the_package(loaded):
    ours = {name for name in loaded["import napari_cead.metrics"] if name.startswith(f"{PACKAGE}.")}
    assert {name.split(".")[1] for name in ours} == {"metrics"}


def test_the_public_names_are_there():
    for name in cead.__all__:
        assert getattr(cead, name) is not None
    with pytest.raises(AttributeError):
        _ = cead.nonsense
