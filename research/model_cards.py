"""Write the cards of the bundled models, their pictures, and the table of results on phantoms.

python research/model_cards.py --work DIR --docs docs

reads the training runs and finished models (DIR/runs/NAME), what the trainings said (DIR/events/NAME.jsonl, if kept),
the slice store, and the evaluation (DIR/evaluation/results.json), and writes docs/models/NAME.md with its pictures,
docs/results-phantoms.md, and the table between markers in docs/models.md. Everything in them follows from the figures.
"""

from __future__ import annotations

import argparse
import csv
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cards.card import Finished, card_page
from cards.measures import measure
from cards.pictures import Examples, draw_examples, examples, loss_curve
from cards.results import Results
from cards.results_page import results_page, summary_lines
from cards.tables import between_markers
from napari_cead.atomic import make_folder, write_text
from napari_cead.errors import CeadError, ModelError, StoreError
from napari_cead.models.specs import MODEL_NAMES
from napari_cead.training import RunFolder, SliceStore
from napari_cead.zoo import Detector, load_model

MARKERS = "bundled"


def write_cards(
    work: Path, docs: Path, models: Sequence[str] = MODEL_NAMES, *, store: Path | None = None
) -> list[Path]:
    """Write the cards of some models, and the pages about all of them that were evaluated.

    Args:
        work: Folder of the recipe.
        docs: Folder of the documentation.
        models: Models to write cards of.
        store: The slice store; None: where the runs say it is.

    Returns:
        The files written.

    Raises:
        CeadError: If a model is not finished or was not evaluated as it is now, or the store is another one.
    """
    results = Results.read(work / "evaluation" / "results.json")
    for name in models:
        results.model(name)
    runs = {name: RunFolder(work / "runs" / name) for name in MODEL_NAMES if results.has(name)}
    slices = SliceStore.open(store or next(iter(runs.values())).plan().data)
    chosen, folder, written = examples(slices), make_folder(docs / "models"), []
    finished = []
    for name, run in runs.items():
        detector = load_model(run.model, "cpu")
        model = _finished(run, detector, work, slices, results)
        finished.append(model)
        if name in models:
            written += _write_card(model, detector, slices, results, chosen, folder)
    page, overview = docs / "results-phantoms.md", docs / "models.md"
    write_text(page, results_page(finished, results))
    try:
        text = between_markers(
            overview.read_text(encoding="utf-8"), MARKERS, summary_lines(finished, results)
        )
    except (OSError, ValueError) as error:
        raise CeadError(f"the table cannot be put there ({error})", file=overview) from error
    write_text(overview, text)
    return [*written, page, overview]


def _finished(
    run: RunFolder, detector: Detector, work: Path, store: SliceStore, results: Results
) -> Finished:
    """Read what a card is made of."""
    card, name = detector.card, detector.name
    if card.training.get("data_fingerprint") != store.fingerprint:
        raise StoreError(
            f"{name} was trained on another store",
            file=store.path,
            mend="give the store that it was trained on",
        )
    if results.model(name)["sha256"] != card.sha256:
        raise ModelError(
            "the evaluation is of other weights",
            file=run.model,
            mend="evaluate again (--only evaluate --again)",
        )
    with run.log.open(encoding="utf-8", newline="") as stream:
        log = [{key: float(value) for key, value in line.items() if value} for line in csv.DictReader(stream)]
    return Finished(
        card=card,
        size=sum(file.stat().st_size for file in run.model.iterdir()),
        log=log,
        start=_start(work / "events" / f"{name}.jsonl"),
        measures=measure(detector, store, work / "measures" / f"{name}.json"),
    )


def _start(file: Path) -> dict[str, Any]:
    """Return the last event that says that a training began."""
    found: dict[str, Any] = {}
    if file.is_file():
        for line in file.read_text(encoding="utf-8").splitlines():
            event = json.loads(line)
            if event.get("event") == "start":
                found = event
    return found


def _write_card(
    model: Finished,
    detector: Detector,
    store: SliceStore,
    results: Results,
    chosen: Examples,
    folder: Path,
) -> list[Path]:
    name, training, spec = model.name, model.card.training, model.card.spec
    curve, drawn, page = (folder / f"{name}{end}" for end in ("-loss.png", "-examples.jpg", ".md"))
    loss_curve(model.log, training["best_epoch"], spec.context_encoding, spec.codes, curve)
    draw_examples(detector, chosen, drawn)
    write_text(page, card_page(model, store, results, chosen.patient))
    return [curve, drawn, page]


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--work", type=Path, required=True, help="folder of research/train_bundled.py")
    parser.add_argument("--docs", type=Path, required=True, help="folder of the documentation")
    parser.add_argument("--store", type=Path, help="slice store; where the runs say it is if left out")
    parser.add_argument(
        "--models", help="models to write cards of, with commas; all evaluated ones if left out"
    )
    options = parser.parse_args()
    try:
        if options.models:
            models = options.models.split(",")
        else:
            results = Results.read(options.work / "evaluation" / "results.json")
            models = [name for name in MODEL_NAMES if results.has(name)]
        for file in write_cards(options.work, options.docs, models, store=options.store):
            print(file)
    except CeadError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
