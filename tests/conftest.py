"""Shared fixtures: small synthetic scans, and the real data where it is there."""

from __future__ import annotations

import os
import runpy
import shutil
import subprocess
import sys
import warnings
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest

from patience import PATIENCE
from scans import patient_in

ROOT = Path(__file__).resolve().parents[1]


OUTCOMES = pytest.StashKey[list[tuple[str, ...]]]()


def pytest_addoption(parser):
    parser.addoption(
        "--write-inputs", type=Path, metavar="FILE", help="write what became of the inputs that tests tried"
    )


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config):
    if config.pluginmanager.hasplugin("timeout") and not config.getoption("timeout"):
        config.option.timeout = PATIENCE * float(config.getini("timeout"))
    config.stash[OUTCOMES] = []


def pytest_sessionfinish(session, exitstatus):
    file = session.config.getoption("--write-inputs")
    if file is not None and exitstatus == 0:
        from inputs_page import page

        file.write_text(page(session.config.stash[OUTCOMES]), encoding="utf-8")


@pytest.fixture
def record_outcome(request):
    """Note down what became of an input, for the table that ``--write-inputs`` writes.

    Called with: family, what was given, outcome, and if there is something to say: what was said, what ``check``
    finds, whether detection ran.
    """

    def record(family, given, outcome, said="", check="–", detected="–"):
        request.config.stash[OUTCOMES].append((family, given, outcome, said, check, detected))

    return record


@pytest.fixture(scope="session")
def _homes(tmp_path_factory) -> Iterator[Path]:
    """Folders that are not there yet. pytest's own numbered ones take longer the more there are."""
    folder = tmp_path_factory.mktemp("homes")
    return (folder / str(number) for number in count())


@pytest.fixture(autouse=True)
def _own_models(_homes, monkeypatch):
    """No test sees, or changes, what the user has installed."""
    home = next(_homes)
    home.mkdir()
    monkeypatch.setenv("NAPARI_CEAD_HOME", str(home))


@pytest.fixture(scope="session", autouse=True)
def _offline(tmp_path_factory) -> Path:
    """No test reaches beyond this machine, nor does a process that it starts."""
    os.environ["NAPARI_CEAD_TEST_ATTEMPTS"] = str(tmp_path_factory.mktemp("network") / "attempts")
    paths = [str(ROOT / "tests" / "offline"), *filter(None, [os.environ.get("PYTHONPATH")])]
    os.environ["PYTHONPATH"] = os.pathsep.join(paths)
    runpy.run_path(str(ROOT / "tests" / "offline" / "sitecustomize.py"))
    return Path(os.environ["NAPARI_CEAD_TEST_ATTEMPTS"])


@pytest.fixture(autouse=True)
def attempts(_offline):
    """The file with the hosts that were to be reached: a test that means to reach them removes it."""
    yield _offline
    if _offline.exists():
        hosts = _offline.read_text(encoding="utf-8").split()
        _offline.unlink()
        pytest.fail(f"the network was to be reached: {', '.join(hosts)}")


@pytest.fixture(scope="session")
def plugin_folder(tmp_path_factory) -> Path:
    """A folder in which the package of ``tests/plugin`` is installed as pip does it."""
    source, target = tmp_path_factory.mktemp("plugin") / "source", tmp_path_factory.mktemp("site")
    shutil.copytree(ROOT / "tests" / "plugin", source)  # building writes into the source
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation"]
    subprocess.run([*command, "--no-index", "--target", str(target), str(source)], check=True)
    return target


@pytest.fixture
def plugin(plugin_folder, monkeypatch):
    """The package of ``tests/plugin`` is there: in this process, and in those that a test starts."""
    from napari_cead.plugins import refresh_all

    monkeypatch.syspath_prepend(plugin_folder)
    paths = [str(plugin_folder), *filter(None, [os.environ.get("PYTHONPATH")])]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(paths))
    refresh_all()
    yield plugin_folder
    monkeypatch.undo()
    refresh_all()


@pytest.fixture(scope="session")
def real_data() -> Path:
    """DATA, the folder that docs/explanation/data.md lays out: that of NAPARI_CEAD_DATA, or the one of the design."""
    folder = Path(os.environ.get("NAPARI_CEAD_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(
            "there are no real scans; research/lay_out.py makes the folder to name in NAPARI_CEAD_DATA"
        )
    return folder


@pytest.fixture
def quiet():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@pytest.fixture
def patient_folder(tmp_path) -> Path:
    """A patient in the NIfTI release layout, RAS on disk."""
    return patient_in(tmp_path)


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory) -> Path:
    """A whole model folder with untrained but fixed weights, and a suggestion of its own."""
    import torch

    from napari_cead.models import build
    from napari_cead.models.specs import spec
    from napari_cead.zoo import ModelCard, Suggestion, save_model

    torch.manual_seed(0)
    architecture = spec("ae", "small")
    suggestion = Suggestion(score="positive-residual", rule="validation", params={"threshold": 0.7})
    card = ModelCard(name="tiny", spec=architecture, description="untrained", suggestions=(suggestion,))
    return save_model(build(architecture), card, tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture(scope="session")
def vae_folder(tmp_path_factory) -> Path:
    """A small VAE with untrained but fixed weights that can give every score."""
    import torch

    from napari_cead.models import ModelSpec, build
    from napari_cead.zoo import ModelCard, Preprocessing, Suggestion, save_model

    torch.manual_seed(1)
    architecture = ModelSpec(
        name="tiny-vae", family="vae", feature_maps=(4, 8), latent=5, coord_conv=True, image_size=64
    )
    card = ModelCard(
        name="tiny-vae",
        spec=architecture,
        preprocessing=Preprocessing(image_size=64),
        description="untrained",
        score_scales={"kl-gradient": 2e-3, "combined": 1e-3, "residual-z": 8.0},
        suggestions=(
            Suggestion(score="residual", rule="validation", params={"threshold": 0.7}),
            Suggestion(score="residual", rule="healthy-quantile", params={"threshold": 0.8}),
            Suggestion(
                score="kl-gradient", rule="validation", params={"threshold": 0.5, "closing_radius": 3}
            ),
        ),
    )
    maps = {"residual_mean": torch.full((64, 64), 0.1), "residual_std": torch.full((64, 64), 0.1)}
    folder = tmp_path_factory.mktemp("models") / "tiny-vae"
    return save_model(build(architecture), card, folder, statistics=maps)
