"""The losses of a batch, with the settings of training given by name."""

from napari_cead.models.losses import LossWeights, autoencoder_losses, denoiser_losses


def objective(
    module,
    images,
    corrupted=None,
    *,
    denoising=None,
    lesion=None,
    lesion_weight=1.0,
    generator=None,
    **weights,
):
    """Return the losses of a network by its family; of one without a spec by whether it is a denoiser."""
    settings = LossWeights(error=denoising or "squared", lesion=lesion_weight, **weights)
    spec = getattr(module, "spec", None)
    if spec is not None and spec.denoising == (denoising is not None):
        return spec.network.losses(module, images, corrupted, lesion, settings, generator)
    if denoising is not None:
        return denoiser_losses(module, images, corrupted, lesion, settings)
    return autoencoder_losses(module, images, corrupted, settings, generator)
