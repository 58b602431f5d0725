"""What a cohort costs: seconds and memory per patient with 1, 2 and 4 workers, and the scheduler's share.

Prints one line of JSON for each measurement:

- ``detect``: ``detect_cohort`` on synthetic patients with 1, 2 and 4 workers, for several numbers of patients. The
  baseline is one worker, in the same run; the masks are compared file by file.
- ``fit``: seconds = start + per_patient · patients, by least squares, for each number of workers.
- ``search``: the Dice of one patient's maps under all settings that an evaluation tries, all settings at once; the
  baseline is one mask after the other with the stages shared, in the same run. The figures are compared.
- ``figures``: the figures of one mask of that patient: lesions found, HD95, lesion-wise Dice and HD95. The baseline is
  their definition on whole volumes, with SciPy, in the same run. The figures are compared.
- ``evaluation``: a whole evaluation of the model beside the baselines without a network, in CPU-seconds of a core, all
  together and for each patient and method; ``detection_cpu_s`` is the network's part for one patient.
- ``beside``: with ``--beside CHECKOUT``, an evaluation of several models in folds on the command line as a user gives
  it, with as many workers as there are cores, in CPU-seconds of all processes. The baseline is the other checkout, just
  before. The tables are compared by cells.
- ``scheduler``: many tasks that do nothing, on the embedded cluster: what the scheduler costs for each.
- ``plan``: the above, for 50,000 patients.

    python benchmarks/cohort.py                      # some minutes
    python benchmarks/cohort.py --tasks 50000 --patients 0   # the scheduler alone
    git worktree add ../before COMMIT && python benchmarks/cohort.py --beside ../before --workers --tasks 0
"""

from __future__ import annotations

import csv
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import nibabel as nib
import numpy as np
import psutil
from scipy import ndimage

from harness import ROOT, parser, say, take_turns
from napari_cead.calibration.candidates import coarse_grid, coarse_thresholds
from napari_cead.calibration.cases import Case, figures_of
from napari_cead.detection import PostprocessParams, postprocess, run, suggested
from napari_cead.detection.cohort import detect_cohort
from napari_cead.detection.postprocessing import StagedPostprocessor
from napari_cead.detection.steps import reach
from napari_cead.evaluation import evaluate
from napari_cead.evaluation.measuring import Subject, load_member, measure
from napari_cead.metrics import dice as cead_dice
from napari_cead.metrics.lesionwise import PENALTY_MM, SMALLEST_MM3
from napari_cead.patients import find_patients, load_patient
from napari_cead.phantom import write_cohort
from napari_cead.report.results import NOTHING
from napari_cead.store.cohort_split import Member
from napari_cead.tasks import tasks
from napari_cead.zoo import load_model

SCANS = 50_000
"""Patients of the plan: the size of the imaging arm of UK Biobank."""

NINE = "ae,vae1,vae2,vq-vae,ce-ae,ce-vae1,ce-vae2,ce-vq-vae,ce-unet"
"""The paper's eight and the default."""


class Memory:
    """The largest memory (in MB) of the processes at work, together and of one, looked at while a block runs.

    Args:
        here: Whether this process does the work, and not its children.
    """

    def __init__(self, here: bool) -> None:
        self._here = here

    def __enter__(self) -> Memory:
        self.most = self.most_of_one = 0.0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look)
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._over.set()
        self._thread.join()

    def _look(self) -> None:
        this = psutil.Process()
        while not self._over.wait(0.2):
            sizes = []
            for process in [this] if self._here else this.children(recursive=True):
                try:
                    sizes.append(process.memory_info().rss / 1e6)
                except psutil.Error:
                    continue
            self.most = max(self.most, sum(sizes))
            self.most_of_one = max(self.most_of_one, *sizes, 0.0)


def stub(number: int) -> int:
    """Stand in for a patient that costs nothing."""
    return number


def report(what: str, **values: object) -> None:
    """Print one measurement."""
    say(benchmark="cohort", what=what, **values)


def detections(cohort: Path, counts: list[int], workers: list[int], model: str, folder: Path) -> list[dict]:
    """Time detection in cohorts of growing size; check that all workers give the same masks."""
    found = []
    for count in counts:
        part = folder / f"cohort-{count}"
        for patient in sorted((cohort / "train").iterdir())[:count]:
            (part / "train").mkdir(parents=True, exist_ok=True)
            (part / "train" / patient.name).symlink_to(patient)
        masks: list[np.ndarray] = []
        for each in workers:
            out = folder / f"out-{count}-{each}"
            began = time.perf_counter()
            with Memory(each == 1) as memory:
                detect_cohort(part, model, out, device="cpu", workers=each)
            seconds = time.perf_counter() - began
            own = [np.asarray(nib.load(file).dataobj) for file in sorted(out.rglob("mask.nii.gz"))]
            same = not masks or all(map(np.array_equal, own, masks))
            masks = masks or own
            size = sum(file.stat().st_size for file in out.rglob("*") if file.is_file()) / 1e6
            line = {
                "patients": count,
                "workers": each,
                "seconds": round(seconds, 2),
                "memory_mb": round(memory.most),
                "memory_of_a_worker_mb": round(memory.most_of_one),
                "written_mb_per_patient": round(size / count, 2),
                "same_masks": same,
            }
            report("detect", **line)
            found.append(line)
            shutil.rmtree(out)
    return found


def fits(found: list[dict]) -> dict[int, tuple[float, float]]:
    """Fit a line to the seconds over the number of patients, for each number of workers."""
    lines = {}
    for workers in sorted({line["workers"] for line in found}):
        own = [line for line in found if line["workers"] == workers]
        per_patient, start = np.polyfit(
            [line["patients"] for line in own], [line["seconds"] for line in own], 1
        )
        lines[workers] = (float(start), float(per_patient))
        worst = max(
            abs(start + per_patient * line["patients"] - line["seconds"]) / line["seconds"] for line in own
        )
        report(
            "fit",
            workers=workers,
            start_s=round(start, 2),
            per_patient_s=round(per_patient, 3),
            largest_error=round(worst, 3),
            ratio_to_one_worker=round(lines[1][1] / per_patient, 2) if 1 in lines else None,
        )
    return lines


def one_by_one(case: Case, grid: list) -> np.ndarray:
    """Return the Dice of a case at each of the settings, one mask after the other."""
    anomaly_map, brain, reference = case.frame(reach(grid))
    stages, lesion = StagedPostprocessor(anomaly_map, case.spacing, brain, workers=1), reference.sum()
    dice = np.full(len(grid), np.nan)
    # Settings that share a threshold and a closing share their components.
    for index in sorted(range(len(grid)), key=lambda one: (grid[one].threshold, grid[one].closing_radius)):
        mask = stages.volume(grid[index])
        if total := np.count_nonzero(mask) + lesion:
            dice[index] = 2 * np.count_nonzero(mask & reference) / total
    return dice


def by_definition(mask: np.ndarray, reference: np.ndarray, spacing: tuple[float, ...]) -> tuple[float, ...]:
    """Return lesions found, false detections, HD95, and lesion-wise Dice and HD95, written out on whole volumes."""
    everywhere, grown = np.ones((3, 3, 3)), ndimage.generate_binary_structure(3, 2)
    (detections, count), (lesions, number) = (ndimage.label(each, everywhere) for each in (mask, reference))
    found = np.unique(lesions[mask & reference]).size
    false = count - np.unique(detections[mask & reference]).size

    def distance(one: np.ndarray, other: np.ndarray) -> float:
        surfaces = [each & ~ndimage.binary_erosion(each) for each in (one, other)]
        if not all(each.any() for each in surfaces):
            return float("nan")
        far = [ndimage.distance_transform_edt(~each, sampling=spacing) for each in surfaces]
        return max(np.percentile(far[1][surfaces[0]], 95), np.percentile(far[0][surfaces[1]], 95))

    groups, number = ndimage.label(ndimage.binary_dilation(reference, grown), everywhere)
    scores, belonging = [], set()
    for lesion in ((groups == one) & reference for one in range(1, number + 1)):
        near = {*np.unique(detections[ndimage.binary_dilation(lesion, grown)])} - {0}
        belonging |= near
        if lesion.sum() * np.prod(spacing) > SMALLEST_MM3:
            own = np.isin(detections, list(near)) if near else np.zeros_like(mask)
            scores.append((cead_dice(own, lesion), distance(own, lesion) if near else PENALTY_MM))
    scores += [(0, PENALTY_MM)] * (count - len(belonging))
    return found, false, distance(mask, reference), *(np.mean(scores, axis=0) if scores else (np.nan, np.nan))


def ours(mask: np.ndarray, reference: np.ndarray, spacing: tuple[float, ...]) -> tuple[float, ...]:
    """Return the same figures as an evaluation measures them."""
    found = figures_of("one", mask, reference, mask.any(axis=(1, 2)), spacing)
    return (
        found.lesions_found,
        found.false_detections,
        found.hd95,
        found.lesionwise_dice,
        found.lesionwise_hd95,
    )


def figures(case: Case, model: str, score: str) -> None:
    """Time the figures of one mask: the brightest hundredth of the brain, post-processed as by default."""
    anomaly_map, brain, reference = case.frame(2)
    params = PostprocessParams(threshold=float(np.quantile(case.values, 0.99)))
    mask = postprocess(anomaly_map, params, case.spacing, brain)
    before, after, old, new = take_turns(
        2,
        lambda: by_definition(mask, reference, case.spacing),
        lambda: ours(mask, reference, case.spacing),
    )
    report(
        "figures",
        model=model,
        score=score,
        by_definition_s=round(before, 2),
        ours_s=round(after, 3),
        ratio=round(before / after, 1),
        same_figures=np.allclose(old, new, rtol=1e-12, equal_nan=True),
    )


def evaluation(cohort: Path, model: str, folder: Path) -> None:
    """Measure a whole evaluation, here in this process."""
    patients = [*find_patients(cohort)]
    detector, patient = load_model(model, "cpu"), load_patient(patients[0])
    before = time.process_time()
    run(patient, detector, score="residual")
    detection, before = time.process_time() - before, time.process_time()
    done = evaluate(cohort, [model], folder / "evaluation", device="cpu")
    seconds, methods = time.process_time() - before, {row.model for row in done.rows} - {NOTHING}
    report(
        "evaluation",
        model=model,
        patients=len(patients),
        methods=len(methods),
        cpu_s=round(seconds, 1),
        cpu_s_per_patient_and_method=round(seconds / len(patients) / len(methods), 2),
        detection_cpu_s=round(detection, 2),
    )


def beside(cohort: Path, models: str, folds: int, other: Path, folder: Path) -> None:
    """Measure a whole evaluation on the command line, and before it that of another checkout."""
    command = [
        sys.executable,
        "-m",
        "napari_cead",
        "evaluate",
        str(cohort),
        "--models",
        models,
        *(["--folds", str(folds)] if folds else []),
    ]
    command += ["--device", "cpu", "--out"]
    outs = [folder / "beside-other", folder / "beside-ours"]
    ended = []
    for checkout, out in zip((other.resolve(), ROOT), outs, strict=True):
        # What else is on the path may be a package that only the other one needs.
        path = os.pathsep.join(filter(None, (str(checkout / "src"), os.environ.get("PYTHONPATH"))))
        process = subprocess.Popen(
            [*command, str(out)],
            env=os.environ | {"PYTHONPATH": path},
            cwd=checkout,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        ended.append(os.wait4(process.pid, 0))  # with the workers that it waited for
    if any(status for _, status, _ in ended):
        raise SystemExit("an evaluation failed")
    seconds = [used.ru_utime + used.ru_stime for *_, used in ended]
    tables = []
    for out in outs:
        with (out / "results.csv").open(encoding="utf-8") as stream:
            rows = [*csv.DictReader(stream)]
            tables.append({(row["model"], row["rule"], row["score"]): row for row in rows})
    # An older version may lack a row or a column.
    pairs = [(row, tables[1][key]) for key, row in tables[0].items() if key in tables[1]]
    cells = [old[name] == new[name] for old, new in pairs for name in old.keys() & new.keys()]
    patients, several = len([*find_patients(cohort)]), len(models.split(","))
    report(
        "beside",
        models=several,
        patients=patients,
        folds=folds,
        other_cpu_s=round(seconds[0], 1),
        ours_cpu_s=round(seconds[1], 1),
        ours_cpu_s_per_patient_and_model=round(seconds[1] / patients / several, 2),
        ratio=round(seconds[0] / seconds[1], 2),
        same_cells=round(sum(cells) / len(cells), 4),
    )


def search(path: Path, model: str) -> None:
    """Time the search of settings on the maps of one patient; check that the figures are the same."""
    detector, member = load_model(model, "cpu"), Member(path.name, path, "test")
    scores = tuple(dict.fromkeys((suggested(detector.card)[0], "residual")))
    began = time.perf_counter()
    measured = measure(Subject(model, scores, detector), member, load_member(member, "flair"), {})
    report("measure", model=model, scores=len(scores), seconds=round(time.perf_counter() - began, 2))
    for score, case in measured.cases.items():
        grid = coarse_grid(coarse_thresholds(case.spread))
        before, after, old, new = take_turns(
            2,
            lambda case=case, grid=grid: one_by_one(case, grid),
            lambda case=case, grid=grid: case.dice(grid),
        )
        report(
            "search",
            model=model,
            score=score,
            settings=len(grid),
            one_by_one_s=round(before, 2),
            together_s=round(after, 2),
            ratio=round(before / after, 1),
            same_figures=np.array_equal(old, new, equal_nan=True),
        )
        figures(case, model, score)


def scheduler(count: int) -> float:
    """Time tasks that do nothing; return the seconds of one."""
    with tasks(2, device="cpu") as crew:
        list(crew.each(stub, range(100)))
        this, began = psutil.Process(), time.perf_counter()
        before = this.memory_info().rss
        done = sum(1 for _ in crew.each(stub, range(count)))
        seconds = time.perf_counter() - began
        report(
            "scheduler",
            tasks=done,
            seconds=round(seconds, 1),
            ms_per_task=round(1000 * seconds / count, 3),
            grown_mb=round((this.memory_info().rss - before) / 1e6, 1),
        )
    return seconds / count


def main() -> None:
    """Measure and print."""
    options = parser(__doc__)
    options.add_argument("--patients", type=int, default=12, help="most patients; 0: the scheduler alone")
    options.add_argument("--evaluated", type=int, default=4, help="patients of the evaluation; 0: none")
    options.add_argument("--workers", type=int, nargs="*", default=[1, 2, 4], help="none: no detections")
    options.add_argument("--model", default="ce-vae1")
    options.add_argument(
        "--beside", type=Path, help="another checkout, whose evaluation is the baseline of ours"
    )
    options.add_argument("--models", default=NINE, help="models of that evaluation, with commas")
    options.add_argument("--folds", type=int, default=2, help="folds of that evaluation; 0: none")
    options.add_argument("--tasks", type=int, default=5000, help="tasks that do nothing; 0: none")
    arguments = options.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    lines, overhead = {}, None
    if arguments.patients:
        counts = sorted({max(1, arguments.patients * share // 6) for share in (1, 3, 6)})
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            write_cohort(folder / "phantoms", arguments.patients, seed=1)
            search(next((folder / "phantoms" / "train").iterdir()), arguments.model)
            for patient in sorted((folder / "phantoms" / "train").iterdir())[: arguments.evaluated]:
                (folder / "evaluated").mkdir(exist_ok=True)
                (folder / "evaluated" / patient.name).symlink_to(patient)
            if arguments.evaluated:
                evaluation(folder / "evaluated", arguments.model, folder)
                if arguments.beside:
                    beside(folder / "evaluated", arguments.models, arguments.folds, arguments.beside, folder)
            lines = fits(detections(folder / "phantoms", counts, arguments.workers, arguments.model, folder))
    if arguments.tasks:
        overhead = scheduler(arguments.tasks)
    for workers, (start, per_patient) in lines.items():
        report(
            "plan",
            patients=SCANS,
            workers=workers,
            hours=round((start + per_patient * SCANS) / 3600, 1),
            scheduler_share=None if overhead is None else round(overhead / per_patient, 4),
        )


if __name__ == "__main__":
    main()
