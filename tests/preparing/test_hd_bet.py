import os
import stat
import sys
import time

import numpy as np
import pytest
import torch

from napari_cead.errors import Cancelled, MaskError, MissingExtraError, PatientError
from napari_cead.patients import load_patient
from napari_cead.preparing import HeadScan, find_stripper
from napari_cead.preparing.strippers import hd_bet
from scans import make_brain, write_nifti

pytestmark = pytest.mark.skipif(os.name == "nt", reason="the stand-in for HD-BET is a script with a shebang")

TOOL = """#!{python}
import sys, time, pathlib
import nibabel as nib, numpy as np
arguments = sys.argv[1:]
pathlib.Path({log!r}).write_text(" ".join(arguments))
given, out = arguments[arguments.index("-i") + 1], arguments[arguments.index("-o") + 1]
print("working on it", flush=True)
{body}
"""
MASK = """
image = nib.load(given)
mask = (image.get_fdata() > 50).astype(np.uint8)
nib.save(nib.Nifti1Image(mask, image.affine), out[:-7] + "{suffix}.nii.gz")
print("done", flush=True)
"""


@pytest.fixture
def tool(tmp_path, monkeypatch):
    def install(body):
        folder = tmp_path / "bin"
        folder.mkdir(exist_ok=True)
        script = folder / "hd-bet"
        script.write_text(TOOL.format(python=sys.executable, log=str(tmp_path / "log"), body=body))
        script.chmod(script.stat().st_mode | stat.S_IXUSR)
        monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
        return script

    return install


@pytest.fixture
def scan(tmp_path):
    volume, _ = make_brain()
    file = write_nifti(tmp_path / "flair.nii.gz", np.transpose(volume + 20, (2, 1, 0)), np.diag([1, 1, 2, 1]))
    patient = load_patient(file)
    return HeadScan(patient.volume(), patient.grid, "flair", str(file))


def strip(scan, device="cpu", **how):
    return find_stripper("hd-bet").extract(scan, device=device, **how)


@pytest.mark.parametrize("suffix", ["_bet", "_mask"])
def test_the_mask_of_the_tool_is_taken(tool, scan, tmp_path, suffix):
    tool(MASK.replace("{suffix}", suffix))
    assert find_stripper("hd-bet").missing() is None
    np.testing.assert_array_equal(strip(scan), scan.volume > 50)
    asked = (tmp_path / "log").read_text()
    assert f"-i {scan.place} " not in asked  # but a copy, which carries no text of the header
    assert asked.split()[1].endswith(".nii.gz")
    assert asked.endswith("-device cpu --save_bet_mask --no_bet_image --disable_tta")
    assert [path.name for path in tmp_path.glob("*.nii.gz")] == ["flair.nii.gz"]


def test_on_a_gpu_nothing_is_left_out(tool, scan, tmp_path, monkeypatch):
    tool(MASK.replace("{suffix}", "_bet"))
    monkeypatch.setattr(hd_bet, "pick_device", lambda name: torch.device(name))
    strip(scan, "cuda")
    assert (tmp_path / "log").read_text().endswith("-device cuda --save_bet_mask --no_bet_image")


def test_not_installed(scan, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "pip install hd-bet" in find_stripper("hd-bet").missing()
    with pytest.raises(MissingExtraError, match="pip install hd-bet"):
        strip(scan)


@pytest.mark.parametrize(
    ("body", "kind", "sentence"),
    [
        ("print('no GPU here', file=sys.stderr); sys.exit(3)", PatientError, r"status 3 \(no GPU here\)"),
        ("pass", PatientError, "ended without a brain mask"),
        ("open(out[:-7] + '_bet.nii.gz', 'w').write('x')", MaskError, "mask cannot be used"),
    ],
)
def test_what_goes_wrong_is_one_sentence(tool, scan, body, kind, sentence):
    tool(body)
    with pytest.raises(kind, match=sentence) as caught:
        strip(scan)
    assert "\n" not in str(caught.value)


def test_no_brain_is_an_empty_mask(tool, scan):
    tool(MASK.replace("{suffix}", "_bet").replace("> 50", "> 1e9"))
    assert not strip(scan).any()


def test_it_can_be_stopped_and_the_process_is_gone(tool, scan, tmp_path):
    tool(
        f"pathlib.Path({str(tmp_path / 'pid')!r}).write_text(str(__import__('os').getpid())); time.sleep(120)"
    )
    started = tmp_path / "pid"

    def stop():
        return started.exists() and bool(started.read_text())

    with pytest.raises(Cancelled):
        strip(scan, should_stop=stop)
    time.sleep(0.05)
    with pytest.raises(ProcessLookupError):
        os.kill(int(started.read_text()), 0)
