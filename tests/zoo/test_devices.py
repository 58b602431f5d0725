import numpy as np
import pytest
import torch

from model_folders import one_sentence, save
from napari_cead import zoo
from napari_cead.errors import ParameterError


def test_devices(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert zoo.pick_device("auto") == zoo.pick_device("cpu") == zoo.pick_device(torch.device("cpu"))
    for name in ("cuda", "cuda:0", "mps", "tpu", "cuda:x", ""):
        with pytest.raises(ParameterError) as caught:
            zoo.pick_device(name)
        one_sentence(caught)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert zoo.pick_device("auto") == torch.device("mps")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert zoo.pick_device("auto") == torch.device("cuda")
    assert zoo.pick_device("cuda:1") == torch.device("cuda:1")
    with pytest.raises(ParameterError, match="only 2"):
        zoo.pick_device("cuda:2")


def test_a_detector_moves_its_input(tmp_path):
    detector = zoo.load_model(save(tmp_path / "mine"), "cpu")
    x = np.random.default_rng(0).random((2, 1, 20, 20))
    assert detector.reconstruct(torch.from_numpy(x)).shape == (2, 1, 20, 20)
