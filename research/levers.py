"""What each lever does alone, without training: on validation patients; some together, on the test patients.

Data: `soop_axial` of DATA, the folder in NAPARI_CEAD_DATA (docs/explanation/data.md lays it out): 544 axial FLAIR
slices with an outlined stroke, one patient each, of which 109 are for validation (`lever_parts/scans.py` has the
rule), and `patient26`, a volume with multiple sclerosis, whose Dice is under the best threshold for itself (oracle:
optimistic). Models: folders under --models, trained on `soop_axial/lesion_free`, and the bundled `ce-unet`.

    python research/levers.py --models FOLDER --table levers.md > levers.jsonl

One JSON line per measurement:

- ``plain``: the residual of every model, and raw FLAIR.
- ``alone``: one lever, on the best two of --models, on `ce-unet`, and on raw FLAIR. Differences are to ``plain`` of
  the same model, with 95 % bootstrap intervals over patients.
- ``ensemble``: all models of --models as one. Differences are to ``plain`` of the best of them.
- ``together``: levers chosen one after the other by ``dice_pooled`` on the validation patients.
- ``test``: what was chosen, and what is plain, on the other 435 patients. Thresholds are those of the validation
  patients. Differences are to raw FLAIR, and to raw FLAIR with the levers chosen for it.

``dice_pooled``: Dice over the voxels of all patients, without post-processing; each of five folds of the patients
has the threshold that is best for the other four. ``auprc``: area under the precision-recall curve (average
precision) over the voxels of all brains.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch

from lever_parts.figures import Figures, figures, interval, oracle, quick
from lever_parts.maps import RAW, Bench, Setting, linear
from lever_parts.plan import ENSEMBLES, HOPELESS, SIGNED, SMOOTHING, Lever, levers, together
from lever_parts.scans import Scans, read, split
from lever_parts.standards import Standard
from lever_parts.tables import markdown
from napari_cead.metrics import average_precision
from napari_cead.zoo import Detector, load_model

BESIDE = "ce-unet"
BEST = 2
PLAIN = Setting()


class Study:
    """The measurements.

    Args:
        validation: Validation patients.
        patient: The patient of the second column, None if there is none.
        eight: Names of the models of the ensembles.
    """

    def __init__(self, validation: Bench, patient: Bench | None, eight: tuple[str, ...]) -> None:
        self.validation, self.patient, self.eight = validation, patient, eight
        self.lines: list[dict[str, Any]] = []
        self.plain: dict[str, Figures] = {}
        self.worth: dict[tuple[str, str], float] = {}

    def say(self, part: str, **values: Any) -> None:
        line = {"benchmark": "levers", "part": part, **values}
        self.lines.append(line)
        print(json.dumps(line, ensure_ascii=False), flush=True)

    def measured(
        self, model: str, setting: Setting, against: Figures | None
    ) -> tuple[Figures, dict[str, Any]]:
        found = figures(self.validation.map(model, setting), self.validation.scans)
        line = {"patients": len(self.validation.scans), **described(found, against)}
        if self.patient is not None:
            maps, scans = self.patient.map(model, setting), self.patient.scans
            line["patient26_dice_oracle"] = round(oracle(maps, scans), 4)
            line["patient26_auprc"] = round(average_precision(maps, scans.lesion, scans.brain), 4)
        return found, line

    def all_plain(self) -> None:
        for model in (RAW, *self.validation.models):
            self.plain[model], line = self.measured(model, PLAIN, None)
            self.say("plain", model=model, **line)

    def best(self) -> list[str]:
        return sorted(self.eight, key=lambda name: -self.plain[name].dice)[:BEST]

    def levers(self, model: str) -> list[Lever]:
        if model == RAW:
            return levers(model, "", "", False)
        detector = self.validation.models[model]
        card = detector.card
        return levers(model, card.spec.family, card.preprocessing.intensity, bool(detector.statistics))

    def alone(self, model: str) -> None:
        for lever in self.levers(model):
            found, line = self.measured(model, lever.on(PLAIN), self.plain[model])
            self.worth[model, lever.name] = found.dice
            self.say("alone", model=model, group=lever.group, lever=lever.name, **line)

    def ensemble(self, best: str) -> None:
        for score in ("residual", "positive-residual", "squared"):
            for lever in ENSEMBLES:
                for extra in (None, SMOOTHING[0], SMOOTHING[1], SIGNED[1]):
                    if extra is not None and lever is not ENSEMBLES[0]:
                        continue
                    setting = lever.on(Setting(score=score))
                    setting = setting if extra is None else extra.on(setting)
                    _, line = self.measured(best, setting, self.plain[best])
                    name = f"{lever.name}, `{score}`" + (f", {extra.name}" if extra else "")
                    self.say("ensemble", models=list(self.eight), against=best, lever=name, **line)

    def together(self, model: str) -> tuple[Setting, list[str]]:
        start, scans = self.plain[model].dice, self.validation.scans
        hopeful = [one for one in self.levers(model) if self.worth[model, one.name] > start - HOPELESS]
        if model in self.eight and len(self.eight) > 1:
            hopeful += ENSEMBLES
        steps = together(lambda setting: quick(self.validation.map(model, setting), scans), hopeful, start)
        for number, (lever, setting, _) in enumerate(steps, 1):
            _, line = self.measured(model, setting, self.plain[model])
            self.say("together", model=model, step=number, lever=lever.name, **line)
        return (steps[-1][1] if steps else PLAIN), [lever.name for lever, *_ in steps]

    def test(self, bench: Bench, chosen: dict[str, tuple[Setting, list[str]]]) -> None:
        plain: Figures | None = None
        raw: Figures | None = None
        for model, (setting, names) in chosen.items():
            rows = [("plain", PLAIN, ["plain"])]
            if model != RAW:
                score = self.validation.models[model].card.suggestions[0].score
                rows.append(("suggested", Setting(score=score), [f"suggested score `{score}`"]))
            if names:
                rows.append(("together", setting, names))
            for which, one, levers_of in rows:
                threshold = figures(self.validation.map(model, one), self.validation.scans).threshold
                found = figures(bench.map(model, one), bench.scans, threshold)
                line = described(found, plain)
                plain = plain or found
                if model == RAW:
                    raw = found
                elif raw is not None:
                    line |= gain(found, raw, "_to_raw_with_levers")
                self.say(
                    "test", model=model, which=which, levers=levers_of, patients=len(bench.scans), **line
                )


def described(found: Figures, against: Figures | None) -> dict[str, Any]:
    """Return figures as JSON values, with what they gain."""
    line: dict[str, Any] = {
        "dice_pooled": round(found.dice, 4),
        "dice_pooled_interval": rounded(interval(found.dice_draws)),
        "auprc": round(found.auprc, 4),
        "auprc_interval": rounded(interval(found.auprc_draws)),
        "threshold": round(found.threshold, 5),
    }
    return line if against is None else line | gain(found, against)


def gain(found: Figures, against: Figures, suffix: str = "") -> dict[str, Any]:
    """Return the differences and their intervals."""
    return {
        f"dice_pooled_difference{suffix}": round(found.dice - against.dice, 4),
        f"dice_pooled_difference{suffix}_interval": rounded(interval(found.dice_draws - against.dice_draws)),
        f"auprc_difference{suffix}": round(found.auprc - against.auprc, 4),
        f"auprc_difference{suffix}_interval": rounded(interval(found.auprc_draws - against.auprc_draws)),
    }


def rounded(values: Sequence[float]) -> list[float]:
    return [round(value, 4) for value in values]


def model_folders(folder: Path) -> Iterator[tuple[str, Path]]:
    """Find ``NAME`` or ``NAME/model`` under a folder."""
    for place in sorted(folder.iterdir()):
        for inner in (place, place / "model"):
            if (inner / "model.json").is_file():
                yield place.name, inner


def pack() -> Path:
    place = Path(os.environ.get("NAPARI_CEAD_DATA", "DATA"))
    if not (place / "soop_axial").is_dir():
        raise SystemExit(
            f"error: {place}: there is no soop_axial; name the folder that research/lay_out.py makes in "
            "NAPARI_CEAD_DATA"
        )
    return place


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--models", type=Path, required=True, help="folder of models trained on lesion_free")
    parser.add_argument("--table", type=Path, help="write the tables there, as Markdown")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    began, data = time.process_time(), pack()

    found = dict(model_folders(arguments.models))
    if len(found) < BEST:
        raise SystemExit(f"error: {arguments.models} holds {len(found)} models, {BEST} are needed")
    models: dict[str, Detector] = {name: load_model(folder, "cpu") for name, folder in found.items()}
    eight = tuple(models)
    models[BESIDE] = load_model(BESIDE, "cpu")

    files = {file.stem: file for file in sorted((data / "soop_axial/lesion/flair").glob("*.png"))}
    chosen_names, other_names = split(list(files))
    healthy = read(sorted((data / "soop_axial/lesion_free/flair").glob("*.png")))
    standards = {
        scaling: Standard.of([linear(scan, scaling) for scan in healthy.each])
        for scaling in ("volume-percentile", "volume-tissue")
    }

    def bench(scans: Scans) -> Bench:
        return Bench(scans, models, standards, eight)

    patient = data / "patient26"
    study = Study(
        bench(read([files[name] for name in chosen_names])),
        bench(read([patient])) if patient.is_dir() else None,
        eight,
    )
    study.all_plain()
    best = study.best()
    for model in (RAW, *best, BESIDE):
        study.alone(model)
    study.ensemble(best[0])
    chosen = {model: study.together(model) for model in (RAW, *best, BESIDE)}
    study.test(bench(read([files[name] for name in other_names])), chosen)
    if arguments.table is not None:
        arguments.table.write_text(markdown(study.lines), encoding="utf-8")
    print(f"{time.process_time() - began:.0f} CPU seconds", file=sys.stderr)


if __name__ == "__main__":
    main()
