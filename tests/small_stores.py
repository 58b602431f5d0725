"""Small slice stores for the tests, and what processes of a test run."""

import numpy as np
import pytest
import torch

from napari_cead.models import ModelSpec, UNetOptions
from napari_cead.runs.training_settings import TrainingSettings
from napari_cead.training.loop import Loop
from scans import make_brain, write_nifti

SIZE = 40

AE = ModelSpec(name="ae", family="ae", feature_maps=(4, 8), latent=6, coord_conv=True, image_size=SIZE)
CE_VAE = ModelSpec(
    name="ce-vae1", family="vae", feature_maps=(4, 8), latent=6, context_encoding=True, image_size=SIZE
)
CE_VQ = ModelSpec(
    name="ce-vq-vae",
    family="vqvae",
    feature_maps=(4, 8, 8),
    latent=8,
    codes=16,
    residual_maps=4,
    residual_layers=1,
    context_encoding=True,
    image_size=SIZE,
)
UNET = ModelSpec(
    name="dae",
    family="unet",
    feature_maps=(4, 8),
    latent=0,
    unet=UNetOptions(working_size=24),
    image_size=SIZE,
)


def write_patients(folder, count=4, shape=(8, 44, 40)):
    """Write patients whose lower slices are without lesion."""
    for number in range(count):
        volume, lesion = make_brain(shape, seed=number)
        lesion[: shape[0] // 2] = False
        patient = folder / f"Mets_{number + 1:03d}"
        affine = np.diag([0.94, 0.94, 1.0, 1.0])
        write_nifti(patient / "flair.nii.gz", volume.T, affine)
        write_nifti(patient / "seg.nii.gz", lesion.T.astype(np.uint8), affine)
    return folder


def settings(architecture=AE, **more):
    values = {"epochs": 3, "batch_size": 4, "learning_rate": 1e-3, "precision": "32"}
    return TrainingSettings(spec=architecture, **(values | more))


def weights(run):
    """Return everything learned so far: weights and the state of the optimizer."""
    state = run.load_checkpoint()
    learned = dict(state["network"])
    for number, values in state["optimizer"]["state"].items():
        learned |= {f"{number}.{name}": tensor for name, tensor in values.items()}
    return learned


def same(first, second):
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def weights_of_all_ranks(fabric, job):
    """Train, then return the weights of every process, one row each."""
    loop = Loop(fabric, job)
    loop.run()
    flat = torch.cat([tensor.flatten().float() for tensor in loop.network.state_dict().values()])
    # Numbers, not a tensor: a tensor shared with a process that has ended cannot be read.
    return fabric.all_gather(flat).tolist()


class StopAfter:
    """Asks to stop when it has been asked so many times."""

    def __init__(self, updates):
        self.left = updates

    def __call__(self):
        self.left -= 1
        return self.left < 0


@pytest.fixture(scope="session")
def small_store(tmp_path_factory):
    from napari_cead.store.prepare import prepare

    folder = tmp_path_factory.mktemp("small")
    cohort = write_patients(folder / "cohort")
    return prepare(cohort, folder / "store", image_size=SIZE, validation=0.25, test=0)
