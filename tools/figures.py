"""Figures of a model on patients with a lesion mask, beside the two free baselines. One JSON line per score.

python tools/figures.py ce-vae1 PATIENT [PATIENT …]

``oracle_dice_pooled`` is the best Dice that any single raw threshold gives, chosen on the very data shown (optimistic
by construction), over the voxels of the brain of all patients, without post-processing, at native resolution.
"""

from __future__ import annotations

import json
import sys
import warnings

import numpy as np

import napari_cead as cead
from napari_cead.atomic import strict
from napari_cead.detection import SCORES, run
from napari_cead.detection.postprocessing import postprocess
from napari_cead.detection.thresholds import ScoreHistograms
from napari_cead.metrics import PatientCounts, auroc, average_precision, averages


def main(model: str, paths: list[str]) -> None:
    warnings.simplefilter("ignore")
    detector = cead.load_model(model, device="cpu")
    made = [run(cead.load_patient(path, only=True), detector) for path in paths]
    suggestions = {item.score: item for item in detector.card.suggestions}
    for score in SCORES:
        histogram, values, truth, counts = ScoreHistograms.empty(), [], [], []
        suggestion = suggestions.get(score)
        for reconstruction in made:
            patient, brain = reconstruction.patient, reconstruction.stack.brain
            anomaly_map = reconstruction.anomaly_map(score)
            histogram += ScoreHistograms.of(anomaly_map, patient.lesion_mask, brain)
            values.append(anomaly_map[brain])
            truth.append(patient.lesion_mask[brain])
            if suggestion is not None:
                params = cead.PostprocessParams(**suggestion.params)
                mask = postprocess(anomaly_map, params, patient.spacing)
                counts.append(PatientCounts.of(mask, patient.lesion_mask, brain))
        threshold, oracle = histogram.best_threshold()
        scores, lesion = np.concatenate(values), np.concatenate(truth)
        line = {
            "model": model,
            "score": "intensity (baseline: raw FLAIR)" if score == "intensity" else score,
            "patients": len(made),
            "oracle_dice_pooled": oracle,
            "oracle_threshold": threshold,
            "auroc": auroc(scores, lesion),
            "auprc": average_precision(scores, lesion),
            "suggested": averages(counts).as_dict() if counts else None,
        }
        print(json.dumps(strict(line)), flush=True)
    empty = [
        PatientCounts.of(np.zeros(item.patient.shape, bool), item.patient.lesion_mask, item.stack.brain)
        for item in made
    ]
    print(json.dumps(strict({"score": "nothing (baseline)", **averages(empty).as_dict()})))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
