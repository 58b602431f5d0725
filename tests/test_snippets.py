"""Every command and every line of Python in README and docs runs as it stands, on copies of the sample patient.

A page runs in a folder of its own, block by block. Before the fence of a block, a comment may say

- ``<!-- not run: REASON -->``, with a reason of ``REASONS``: then only the options are parsed,
- ``<!-- slow -->``: it runs in the slow tests alone, with the whole page,
- ``<!-- opens a window -->``: the command runs by itself, on a display, and saves a picture.

In that folder are ``PATIENT`` (the sample patient, cut to a few slices), ``COHORT`` (four such cuts), ``MAPS`` (a map
of each), ``DICOM`` (the FLAIR of ``PATIENT`` as a series), ``raw_flair.nii.gz`` (a head with a skull) and ``VISIT``
(that head with a T1).
"""

from __future__ import annotations

import contextlib
import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import typer

import made_up
from napari_cead.cli.app import app, run
from napari_cead.preparing.strippers.registry import STRIPPERS
from scanners import write_dicom

ROOT = Path(__file__).resolve().parents[1]
SAMPLE = ROOT / "sample_data" / "Mets_001"
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]

REASONS = {
    "needs a GPU",
    "needs a cluster",
    "needs BrainMetShare",
    "needs the public data",
    "needs the network",
    "needs a package that is no dependency",
    "needs a trained model",
    "takes hours",
    "starts a background process",
    "sets up an environment",
}
LANGUAGES = {"bash", "python", "text", "json", "yaml", "toml", ""}
SLICES = {"COHORT/one": (60, 76), "COHORT/two": (70, 86), "COHORT/three": (80, 96), "COHORT/four": (90, 106)}
"""Axial slices of the sample that the patients of the cohort hold; some have no lesion."""


@dataclass(frozen=True)
class Block:
    """A fenced block of a page."""

    language: str
    text: str
    said: str  # of the comment before it

    @property
    def commands(self) -> list[list[str]]:
        """The commands of a block, as words."""
        lines = self.text.replace("\\\n", " ").splitlines()
        return [words for line in lines if (words := shlex.split(line, comments=True))]


FENCE = re.compile(r"(?m)^(?:<!-- ([^\n]*) -->\n)?( *)```(\w*)[^\n]*\n([\s\S]*?)^\2```$")


def blocks(page: Path) -> list[Block]:
    return [
        Block(language, text, said or "")
        for said, _, language, text in FENCE.findall(page.read_text(encoding="utf-8"))
    ]


def runs(page: Path) -> list[Block]:
    return [each for each in blocks(page) if each.language in ("bash", "python")]


def names(pages: list[Path]) -> list[str]:
    return [page.relative_to(ROOT).as_posix() for page in pages]


QUICK = [page for page in PAGES if any(not each.said for each in runs(page))]
SLOW = [page for page in PAGES if any(each.said == "slow" for each in runs(page))]
WINDOWS = [(page, each) for page in PAGES for each in runs(page) if each.said == "opens a window"]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The files that the commands name."""
    folder = tmp_path_factory.mktemp("snippets")
    for name, (first, end) in {"PATIENT": (66, 90), **SLICES}.items():
        (folder / name).mkdir(parents=True)
        for file in SAMPLE.glob("*.nii.gz"):
            whole = nib.load(file)
            nib.save(whole.slicer[:, :, first:end], folder / name / file.name)
        if name != "PATIENT":
            image = nib.load(folder / name / "flair.nii.gz")
            (folder / "MAPS").mkdir(exist_ok=True)
            map_ = nib.Nifti1Image(image.get_fdata(dtype=np.float32) / image.get_fdata().max(), image.affine)
            nib.save(map_, folder / "MAPS" / f"{Path(name).name}.nii.gz")
    flair = nib.load(folder / "PATIENT" / "flair.nii.gz")
    frame = {"0020|0052": "1.2.3.4"}
    write_dicom(folder / "DICOM", np.asarray(flair.dataobj).astype(np.int16), flair.affine, tags=frame)
    (folder / "VISIT").mkdir()
    for name, levels in (("VISIT/flair", made_up.FLAIR), ("VISIT/t1_pre", made_up.T1)):
        head = made_up.head(levels).transpose(2, 1, 0)[::-1, ::-1]
        nib.save(nib.Nifti1Image(head, np.diag([2.0, 2, 2, 1])), folder / f"{name}.nii.gz")
    shutil.copyfile(folder / "VISIT" / "flair.nii.gz", folder / "raw_flair.nii.gz")
    return folder


@pytest.fixture
def place(made, tmp_path, monkeypatch):
    shutil.copytree(made, tmp_path / "here")
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / "here"


def run_page(page: Path, capsys, which: tuple[str, ...] = ("",)) -> None:
    """Run blocks of a page in the working folder, each after the one before."""
    names: dict[str, object] = {"__name__": "snippet"}
    for block in runs(page):
        if block.said not in which:
            continue
        if block.language == "python":
            exec(compile(block.text, str(page), "exec"), names)
            continue
        for words in block.commands:
            assert words[0] == "napari-cead", words
            file = words[words.index(">") + 1] if ">" in words else None
            status = run(words[1 : words.index(">")] if file else words[1:])
            said = capsys.readouterr()
            # Cuts of a brain have findings, and check says so with its status.
            assert status == 0 or (status == 2 and words[1] == "check" and not said.err), (words, said.err)
            if file:
                Path(file).write_text(said.out, encoding="utf-8")


@pytest.mark.parametrize("page", QUICK, ids=names(QUICK))
def test_a_page_runs(page, place, capsys):
    run_page(page, capsys)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("page", SLOW, ids=names(SLOW))
def test_a_long_page_runs(page, place, capsys):
    if any("raw_flair" in block.text for block in runs(page)) and (
        lacking := STRIPPERS.find("deepbet").missing()
    ):
        pytest.skip(lacking)
    run_page(page, capsys, ("", "slow"))


@pytest.mark.slow
@pytest.mark.parametrize(("page", "block"), WINDOWS, ids=names([page for page, _ in WINDOWS]))
def test_a_window_opens(page, block, place):
    for words in block.commands:
        command = [sys.executable, "-m", "napari_cead", *words[1:], "--screenshot", "window.png"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=280)
        assert done.returncode == 0, done.stderr
        assert (place / "window.png").stat().st_size > 10_000


def test_what_is_not_run_says_why_and_its_options_exist(monkeypatch):
    wrong = {
        (page.name, each.said)
        for page in PAGES
        for each in blocks(page)
        if each.said.startswith("not run") and each.said.removeprefix("not run: ") not in REASONS
    }
    assert wrong == set()
    for page in PAGES:
        monkeypatch.chdir(page.parent)  # a file of options may lie beside the page
        for each in runs(page):
            left_out = each.said.startswith("not run") or each.said == "opens a window"
            for words in each.commands if each.language == "bash" and left_out else ():
                if words[0] == "napari-cead":
                    parse(words[1:])


def parse(words: list[str]) -> None:
    """Parse a command as the command line does, and stop before it is carried out."""
    command = typer.main.get_command(app)
    rest = words[: words.index(">")] if ">" in words else list(words)
    with command.make_context("napari-cead", list(rest), obj=tuple(rest), resilient_parsing=True) as context:
        while hasattr(command, "commands"):
            name, *rest = rest
            command = command.commands[name]
        with contextlib.suppress(SystemExit):  # --help and --print-config are done when they are parsed
            command.make_context(name, list(rest), parent=context)


def test_no_command_hides_in_a_block_of_another_kind():
    """Commands stand in ``bash`` blocks, so that they are run; research and tools are not the program's."""
    hidden = []
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        assert {block.language for block in blocks(page)} <= LANGUAGES, page
        outside = FENCE.sub("", text)
        hidden += [(page.name, line) for line in re.findall(r"(?m)^ {4,}napari-cead .*$", outside)]
        hidden += [
            (page.name, block.text)
            for block in blocks(page)
            if block.language not in ("bash", "python") and re.search(r"(?m)^\$? ?napari-cead ", block.text)
        ]
    assert hidden == []
