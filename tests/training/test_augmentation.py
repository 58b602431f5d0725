import torch

from napari_cead.training import Augmentation, augment


def generator():
    return torch.Generator().manual_seed(0)


def test_flips_half_of_the_images_from_side_to_side():
    x = torch.rand(400, 1, 4, 6, generator=generator())
    result = augment(x, Augmentation(intensity=0), generator())
    mirrored = torch.tensor([torch.equal(a, b.flip(-1)) for a, b in zip(result, x, strict=True)])
    same = torch.tensor([torch.equal(a, b) for a, b in zip(result, x, strict=True)])
    assert bool((mirrored ^ same).all())
    assert 160 < mirrored.sum() < 240


def test_brightness_stays_in_its_range():
    x = torch.full((500, 1, 2, 2), 0.5)
    x[:, :, 0, 0], x[:, :, 1, 1] = 0, 1
    result = augment(x, Augmentation(flip=False, intensity=0.2), generator())
    factors = result[:, 0, 0, 1] / 0.5
    assert 0.8 <= factors.min() < 0.83 and 1.17 < factors.max() <= 1.2
    assert torch.equal(result[:, 0, 1, 0], result[:, 0, 0, 1])
    assert bool((result[:, 0, 0, 0] == 0).all()) and result.max() == 1


def test_nothing_to_vary_changes_nothing():
    x = torch.rand(3, 1, 4, 4)
    assert torch.equal(augment(x, Augmentation(flip=False, intensity=0)), x)
