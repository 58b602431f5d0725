import os
import stat
import sys
import time

import nibabel as nib
import numpy as np
import pytest

from napari_cead.errors import Cancelled, MaskError, MissingExtraError, OutputError, PatientError
from napari_cead.patients import hd_bet_command, load_patient, strip_with_hd_bet
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
    return write_nifti(tmp_path / "flair.nii.gz", np.transpose(volume + 20, (2, 1, 0)), np.diag([1, 1, 2, 1]))


@pytest.mark.parametrize("suffix", ["_bet", "_mask"])
def test_the_mask_of_the_tool_is_kept_and_can_be_used(tool, scan, tmp_path, suffix):
    script = tool(MASK.replace("{suffix}", suffix))
    lines = []
    before = scan.read_bytes()
    mask = strip_with_hd_bet(scan, tmp_path / "brain.nii.gz", on_output=lines.append)
    assert hd_bet_command() == [str(script)]
    assert lines == ["working on it", "done"]
    asked = (tmp_path / "log").read_text()
    assert f"-i {scan} " not in asked  # but a copy, which carries no text of the header
    assert "-device cpu --save_bet_mask --no_bet_image --disable_tta" in asked
    assert scan.read_bytes() == before
    expected = nib.load(scan).get_fdata() > 50
    np.testing.assert_array_equal(nib.load(mask).get_fdata() > 0, expected)
    assert (load_patient(scan, brain_mask=mask).volume() != 0).sum() == expected.sum()
    assert sorted(path.name for path in tmp_path.glob("*.nii.gz")) == ["brain.nii.gz", "flair.nii.gz"]


def test_on_a_gpu_nothing_is_left_out(tool, scan, tmp_path):
    tool(MASK.replace("{suffix}", "_bet"))
    strip_with_hd_bet(scan, tmp_path / "brain.nii.gz", device="cuda")
    assert (tmp_path / "log").read_text().endswith("-device cuda --save_bet_mask --no_bet_image")


def test_a_scan_that_is_not_compressed_is_given_compressed(tool, scan, tmp_path):
    tool(MASK.replace("{suffix}", "_bet"))
    plain = tmp_path / "plain.nii"
    nib.save(nib.load(scan), plain)
    mask = strip_with_hd_bet(plain, tmp_path / "brain.nii.gz")
    np.testing.assert_array_equal(nib.load(mask).get_fdata() > 0, nib.load(scan).get_fdata() > 50)


def test_not_installed(scan, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert hd_bet_command() is None
    with pytest.raises(MissingExtraError, match="pip install hd-bet"):
        strip_with_hd_bet(scan, tmp_path / "brain.nii.gz")


@pytest.mark.parametrize(
    ("body", "kind", "sentence"),
    [
        ("print('no GPU here', file=sys.stderr); sys.exit(3)", PatientError, r"status 3 \(no GPU here\)"),
        ("pass", PatientError, "ended without a brain mask"),
        (MASK.replace("{suffix}", "_bet").replace("> 50", "> 1e9"), MaskError, "found no brain"),
        ("open(out[:-7] + '_bet.nii.gz', 'w').write('x')", MaskError, "mask cannot be used"),
    ],
)
def test_what_goes_wrong_is_one_sentence_and_leaves_no_mask(tool, scan, tmp_path, body, kind, sentence):
    tool(body)
    with pytest.raises(kind, match=sentence) as caught:
        strip_with_hd_bet(scan, tmp_path / "brain.nii.gz")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "brain.nii.gz").exists()


def test_it_can_be_stopped_and_the_process_is_gone(tool, scan, tmp_path):
    tool(
        f"pathlib.Path({str(tmp_path / 'pid')!r}).write_text(str(__import__('os').getpid())); time.sleep(120)"
    )
    started = tmp_path / "pid"

    def stop():
        return started.exists() and bool(started.read_text())

    with pytest.raises(Cancelled):
        strip_with_hd_bet(scan, tmp_path / "brain.nii.gz", should_stop=stop)
    time.sleep(0.05)
    with pytest.raises(ProcessLookupError):
        os.kill(int(started.read_text()), 0)
    assert not (tmp_path / "brain.nii.gz").exists()


def test_the_output_is_a_nifti_file(tool, scan, tmp_path):
    tool("pass")
    with pytest.raises(OutputError, match=r"end in \.nii\.gz"):
        strip_with_hd_bet(scan, tmp_path / "brain.png")
    with pytest.raises(PatientError, match="no such file"):
        strip_with_hd_bet(tmp_path / "none.nii.gz", tmp_path / "brain.nii.gz")
