"""Folders of trainings, written by hand: what a training leaves without training anything."""

from __future__ import annotations

import json

from napari_cead.runs.registry import runs_folder
from napari_cead.training import RunFolder

PLAN = {
    "schema_version": 1,
    "settings": {"spec": {"name": "vae1", "size": "small"}, "epochs": 40},
    "created": "2024-01-01",
}


def write_run(name: str, end: dict[str, object], epochs: int = 12):
    """Write the folder of a run that has done some epochs."""
    run = runs_folder() / name
    run.mkdir(parents=True)
    (run / "run.json").write_text(json.dumps(PLAN))
    made = [entry(number) for number in range(1, epochs + 1)]
    folder = RunFolder(run)
    folder.say("start", model="vae1", size="small", epochs=40, epoch=0)
    for each in made:
        folder.say("epoch", **each, epochs=40, best_epoch=each["epoch"], best_loss=each["validation_loss"])
    if end["event"] == "done":
        folder.say("installed", name=name)
    folder.say(**end)
    rows = [",".join(made[0]), *(",".join(map(str, each.values())) for each in made)]
    (run / "log.csv").write_text("\n".join(rows) + "\n")
    (run / "output.log").write_text("".join(f"epoch {number}/40\n" for number in range(1, epochs + 1)))
    return run


def entry(epoch: int) -> dict[str, float]:
    return {"epoch": epoch, "train_loss": 1400.0 - epoch, "validation_loss": 700.0 - epoch}
