import pytest


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("NAPARI_CEAD_HOME", str(tmp_path / "home"))
    bundle = tmp_path / "bundle"
    (bundle / "models").mkdir(parents=True)
    monkeypatch.setattr("napari_cead.zoo.finding.bundled_models", lambda: iter([bundle / "models"]))
    return tmp_path / "home" / "models"


@pytest.fixture
def bundled(tmp_path):
    return tmp_path / "bundle" / "models"
