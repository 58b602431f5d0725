"""What is published: both wheels and the source distribution, and the program as they install it."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
import yaml

import napari_cead as cead
from napari_cead.models.specs import MODEL_NAMES
from napari_cead.resources import PAPER_MODELS, sample_data

ROOT = Path(__file__).resolve().parents[1]
PAPER = ROOT / "packages" / "paper-models"
LARGEST = 20_000_000
LICENCES = ("LICENSE", "LICENSE-ICBM152.txt", "LICENSE-NICHART.txt")


def project(folder=ROOT):
    return tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))


def bundled(folder):
    return project(folder)["tool"]["hatch"]["build"]["targets"]["wheel"]["force-include"]


def test_each_bundled_model_is_in_one_of_the_two_wheels():
    here = [*bundled(ROOT), *(name.removeprefix("../../") for name in bundled(PAPER))]
    models = sorted(name for name in here if name.startswith("sample_data/models/"))
    assert models == sorted(
        f"sample_data/models/{folder.name}" for folder in sample_data().glob("models/*") if folder.is_dir()
    )
    assert {Path(place).parts[0] for place in bundled(PAPER).values()} == {PAPER_MODELS}
    assert {Path(place).name for place in bundled(PAPER).values()} - set(LICENCES) <= set(MODEL_NAMES)


def test_the_citation_names_this_version_and_the_paper():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == cead.__version__
    (paper,) = citation["references"]
    assert [author["family-names"] for author in paper["authors"]] == ["Paolini", "Boracchi", "Matteucci"]


def test_the_manifest_is_one_that_napari_takes():
    from npe2 import PluginManifest

    manifest = PluginManifest.from_file(Path(cead.__file__).with_name("napari.yaml"))
    manifest.validate_imports()
    assert manifest.name == project()["project"]["name"]


# -- slow: as strangers install it ---------------------------------------------------------------------------


def outside(**more):
    """Return an environment that knows nothing of this checkout, and with a network for pip."""
    hidden = ("PYTHONPATH", "PYTHONHOME", "NAPARI_CEAD_TEST_ATTEMPTS")
    return {name: value for name, value in os.environ.items() if name not in hidden} | more


@pytest.fixture(scope="module")
def dist(tmp_path_factory):
    """Return the folder with all that would be uploaded, built from a copy of the source distribution's files."""
    folder = tmp_path_factory.mktemp("dist")
    for what in ((str(ROOT),), ("--wheel", str(PAPER))):
        command = [sys.executable, "-m", "build", "--outdir", str(folder), *what]
        done = subprocess.run(command, env=outside(), capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.fixture(scope="module")
def python(dist, tmp_path_factory):
    """Return the interpreter of an environment with the program and a Qt binding, and nothing else of ours."""
    folder = tmp_path_factory.mktemp("environment")
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    found = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    (wheel,) = dist.glob("napari_cead-*.whl")
    install(found, "--constraint", str(ROOT / "constraints.txt"), f"{wheel}[qt]")
    return found


def install(python, *what):
    command = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *what]
    done = subprocess.run(command, env=outside(), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def run(python, home, *arguments, screen=False):
    """Run the program in that environment, without a network."""
    attempts = home / "attempts"
    environment = outside(
        NAPARI_CEAD_HOME=str(home),
        NAPARI_CEAD_TEST_ATTEMPTS=str(attempts),
        PYTHONPATH=str(ROOT / "tests" / "offline"),
    )
    command = [str(python), *arguments]
    if screen and sys.platform == "linux" and "DISPLAY" not in os.environ:
        command = ["xvfb-run", "-a", "-s", "-screen 0 1600x1000x24", *command]
    done = subprocess.run(command, cwd=home, env=environment, capture_output=True, text=True)
    assert not attempts.exists(), attempts.read_text(encoding="utf-8")
    return done


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_wheels_are_small_and_carry_their_licences(dist):
    wheels = {wheel.name.split("-")[0]: wheel for wheel in dist.glob("*.whl")}
    assert set(wheels) == {"napari_cead", PAPER_MODELS}
    for name, wheel in wheels.items():
        assert wheel.stat().st_size <= LARGEST, name
        inside = zipfile.ZipFile(wheel).namelist()
        assert {Path(file).name for file in inside} >= {*LICENCES, "METADATA"}
        assert not [file for file in inside if file.startswith(("tests", "docs", "research"))]


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_installed_program_works(python, dist, tmp_path):
    done = run(
        python, tmp_path, "-c", "import napari_cead, sys; print(napari_cead.__file__, 'torch' in sys.modules)"
    )
    assert done.stdout.split()[-1] == "False" and "site-packages" in done.stdout, done.stderr
    done = run(python, tmp_path, "-m", "napari_cead", "models", "list", "--json")
    names = {line["name"] for line in json.loads(done.stdout)}
    assert names == {"ce-unet", "ce-unet-stroke", "ce-vae1", "vq-vae", "ce-vq-vae"}

    sample = Path(run(python, tmp_path, "-c", SAMPLE).stdout.strip())
    done = run(
        python, tmp_path, "-m", "napari_cead", "detect", str(sample), "--out", "out", "--device", "cpu"
    )
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "out" / "detection.json").read_text(encoding="utf-8"))["dice"] > 0.4
    done = run(python, tmp_path, "-m", "napari_cead", "detect", str(sample), "--out", "out", "--model", "ae")
    assert done.returncode == 2 and 'pip install "napari-cead[paper]"' in done.stderr

    done = run(python, tmp_path, "-m", "napari_cead", "demo", "--screenshot", "demo.png", screen=True)
    assert done.returncode == 0, done.stderr
    assert re.search(r"Dice 0\.\d+ \(volume\)", done.stdout)
    assert (tmp_path / "demo.png").stat().st_size > 50_000

    (models,) = dist.glob(f"{PAPER_MODELS}-*.whl")
    install(python, "--no-deps", str(models))
    done = run(
        python, tmp_path, "-m", "napari_cead", "detect", str(sample), "--out", "other", "--model", "ae"
    )
    assert done.returncode == 0, done.stderr


SAMPLE = "from napari_cead.resources import sample_patient; print(sample_patient())"


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_source_distribution_installs_the_same_program(python, dist, tmp_path):
    (source,) = dist.glob("*.tar.gz")
    install(python, "--no-deps", "--force-reinstall", str(source))
    done = run(python, tmp_path, "-m", "napari_cead", "--version")
    assert done.stdout == f"napari-cead {cead.__version__}\n", done.stderr
    done = run(python, tmp_path, "-c", SAMPLE)
    assert Path(done.stdout.strip()).is_dir()
    shutil.unpack_archive(source, tmp_path)
    (unpacked,) = tmp_path.glob("napari_cead-*")
    command = [sys.executable, "-m", "build", "--wheel", "packages/paper-models"]
    done = subprocess.run(command, cwd=unpacked, env=outside(), capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
