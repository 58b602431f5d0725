"""A small cohort, its split, and models for it, as fixtures."""

import json
import shutil

import numpy as np
import pytest
import torch

from model_folders import network
from napari_cead.zoo import ModelCard, Preprocessing, Suggestion, save_model
from scans import make_brain, write_nifti
from small_stores import AE, SIZE, UNET

AFFINE = np.diag([0.94, 0.94, 1.0, 1.0])
NAMES = ("Mets_001", "Mets_002", "Mets_003", "Mets_004", "Mets_005", "Mets_006")
SPLIT = {"train": ["Mets_001"], "validation": ["Mets_002", "Mets_003"], "test": list(NAMES[3:])}


def write_patient(folder, seed, lesion=True, shape=(8, 44, 40)):
    """Write a patient whose lower half is without lesion; a second, fainter lesion-like spot is never one."""
    volume, mask = make_brain(shape, seed=seed)
    spot = np.zeros(shape, dtype=bool)
    spot[1:3, 30:33, 24:27] = True
    volume = np.where(spot & (volume > 0), volume + 30, volume)
    mask[: shape[0] // 2] = False
    write_nifti(folder / "flair.nii.gz", volume.T, AFFINE)
    write_mask(folder, mask & lesion)
    return folder


def write_mask(folder, mask):
    write_nifti(folder / "seg.nii.gz", mask.T.astype(np.uint8), AFFINE)


@pytest.fixture(scope="session")
def untouched(tmp_path_factory):
    """Six patients, the last one with an empty lesion mask, for tests that only read them."""
    root = tmp_path_factory.mktemp("cohort")
    for number, name in enumerate(NAMES):
        write_patient(root / name, seed=number, lesion=name != "Mets_006")
    return root


@pytest.fixture
def cohort(untouched, tmp_path):
    """The same patients, to change."""
    return shutil.copytree(untouched, tmp_path / "cohort")


@pytest.fixture(scope="session")
def split(tmp_path_factory):
    file = tmp_path_factory.mktemp("split") / "split.json"
    file.write_text(json.dumps(SPLIT))
    return file


@pytest.fixture(scope="session")
def model(tmp_path_factory):
    """A model that has learned what a brain is, roughly, and suggests settings of its own for one rule."""
    volume, lesion = make_brain((8, SIZE, SIZE), seed=99)
    images = torch.from_numpy(np.clip(np.where(lesion, 100, volume) / 130, 0, 1))[:, None]
    module = network(0, AE)
    optimiser = torch.optim.Adam(module.parameters(), lr=1e-2)
    for _ in range(60):
        loss = (module(images, sample=False).reconstruction - images).square().sum()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    suggestion = Suggestion(score="positive-residual", rule="validation", params={"threshold": 0.25})
    card = ModelCard(
        name="mine",
        spec=AE,
        preprocessing=Preprocessing(image_size=SIZE),
        suggestions=(suggestion,),
    )
    return save_model(module, card, tmp_path_factory.mktemp("models") / "mine")


@pytest.fixture(scope="session")
def denoiser_folder(tmp_path_factory):
    """A denoiser that makes everything a little darker: what is bright stands out."""
    module = network(3, UNET)
    with torch.no_grad():
        module.head.weight.mul_(0.1)
        module.head.bias.fill_(0.3)
    card = ModelCard(name="dae", spec=UNET, preprocessing=Preprocessing(image_size=SIZE), mirror_average=True)
    return save_model(module, card, tmp_path_factory.mktemp("dae") / "dae")
