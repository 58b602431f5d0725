import subprocess
import sys

import pytest

import napari_cead as cead


def loaded_after(code: str) -> set[str]:
    script = f"{code}\nimport sys; print(' '.join(sys.modules))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


@pytest.mark.parametrize("code", ["import napari_cead", "import napari_cead.cli"])
def test_importing_needs_neither_torch_nor_napari(code):
    modules = loaded_after(code)
    assert not modules & {"torch", "napari", "qtpy", "nibabel"}


def test_the_core_imports_neither_qt_nor_napari():
    rooms = ["metrics", "patients", "slices", "models", "zoo", "detection", "training", "exploring"]
    modules = loaded_after("; ".join(f"import napari_cead.{room}" for room in rooms))
    assert not modules & {"napari", "qtpy", "PySide6", "magicgui"}


def test_the_public_names_are_there():
    for name in cead.__all__:
        assert getattr(cead, name) is not None
    with pytest.raises(AttributeError):
        _ = cead.nonsense
