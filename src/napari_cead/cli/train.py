"""The verb that trains."""

from __future__ import annotations

import os
import shlex
from contextlib import nullcontext
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import ParameterError
from .console import refuse, typed
from .evaluate import evaluate_models
from .options import AssumeHealthy, Device
from .runs import start_detached
from .training_options import fitting, settings_of
from .training_slices import prepared, stored_in
from .training_steps import Orders, finished, train_and_install, watched

if TYPE_CHECKING:
    from ..training import SliceStore


class Size(StrEnum):
    """Sizes of the designs."""

    PAPER = "paper"
    SMALL = "small"


class PresetName(StrEnum):
    """Presets of training settings."""

    PAPER = "paper"
    SMALL = "small"


class Codebook(StrEnum):
    """How a codebook learns."""

    LOSS = "loss"
    EMA = "ema"


class Placing(StrEnum):
    """Where slices lie while training."""

    AUTO = "auto"
    DEVICE = "device"
    LOADER = "loader"


def train(
    context: typer.Context,
    model: Annotated[
        str,
        typer.Argument(help="One of {designs}; several with commas, or all (the paper's eight)."),
    ],
    data: Annotated[
        Path,
        typer.Option(
            help="Slice store; or a folder of patients, which are prepared as the model (with --init-from: that "
            "one) wants them."
        ),
    ],
    out: Annotated[Path, typer.Option(help="Folder of the run (of the runs, for several models).")],
    preset: Annotated[
        PresetName | None,
        typer.Option(
            help="paper: its settings (of those with a recipe: full size) and, at the end, its evaluation; small: the "
            "recipe of the eight bundled designs."
        ),
    ] = None,
    size: Annotated[Size | None, typer.Option(help="Size of the network; paper if left out.")] = None,
    init_from: Annotated[str | None, typer.Option(help="Fine-tune this model (name or folder).")] = None,
    freeze_encoder: Annotated[
        bool, typer.Option("--freeze-encoder", help="Train the decoder alone.")
    ] = False,
    seed: Annotated[int | None, typer.Option(help="Of everything random; 0 if left out.")] = None,
    epochs: Annotated[int | None, typer.Option(help="Passes over the slices; 200 if left out.")] = None,
    batch_size: Annotated[
        int | None, typer.Option(help="Slices per update; 64 if left out{but:batch_size}.")
    ] = None,
    lr: Annotated[
        float | None,
        typer.Option(
            help="Learning rate; 1e-4 if left out{but:learning_rate}, a fifth of it with --init-from."
        ),
    ] = None,
    schedule: Annotated[str | None, typer.Option(help="constant, linear or one-cycle.")] = None,
    optimizer: Annotated[
        str | None, typer.Option(help="adam or adamw; adam if left out{but:optimizer}.")
    ] = None,
    augment: Annotated[
        bool | None,
        typer.Option(
            "--augment/--no-augment",
            help="Flips, small affine moves, brightness; on unless a preset says no.",
        ),
    ] = None,
    corruption: Annotated[
        str | None,
        typer.Option(
            help="What {of:corruption} learn to undo: {corruptions}, or a JSON file; squares if left "
            "out{but:corruption}."
        ),
    ] = None,
    loss: Annotated[
        str | None, typer.Option(help="Of {of:loss}: absolute or squared; squared if left out{but:loss}.")
    ] = None,
    bright_limit: Annotated[
        float | None,
        typer.Option(help="Of {of:bright_limit}: brighter spots than so many times the tissue do not count."),
    ] = None,
    emphasis: Annotated[
        float | None,
        typer.Option(help="Of {of:emphasis}: weight of corrupted pixels; 1{but:emphasis} if left out."),
    ] = None,
    small_emphasis: Annotated[
        float | None,
        typer.Option(
            help="Of {of:small_emphasis}: largest further weight of small corruptions; 1{but:small_emphasis} if "
            "left out."
        ),
    ] = None,
    lesion_weight: Annotated[
        float | None,
        typer.Option(
            help="Of {of:lesion_weight}: weight of where lesions are beside the repair; 1{but:lesion_weight} if "
            "left out."
        ),
    ] = None,
    balance: Annotated[
        str | None,
        typer.Option(
            help="slices: each once an epoch; folders: at random, each folder of patients equally often; slices if "
            "left out{but:balance}."
        ),
    ] = None,
    feature_maps: Annotated[
        str | None, typer.Option(help="Of {of:feature_maps}: channels of each level, with commas.")
    ] = None,
    working_size: Annotated[
        int | None,
        typer.Option(
            help="Of {of:working_size}: side in pixels to which slices are reduced inside; 0: never."
        ),
    ] = None,
    image_size: Annotated[
        int | None,
        typer.Option(
            help="Side of the slices in pixels; that of DATA, or what the model wants, if left out."
        ),
    ] = None,
    max_squares: Annotated[
        int | None, typer.Option(help="Most squares in an image; 1 if left out (the paper).")
    ] = None,
    squares_inside_brain: Annotated[
        bool, typer.Option("--squares-inside-brain", help="Keep squares inside the brain's bounding box.")
    ] = False,
    fill: Annotated[
        str | None, typer.Option(help="What squares hold: uniform (a random value) or zero.")
    ] = None,
    beta: Annotated[float | None, typer.Option(help="Weight of a VAE's divergence; 1 if left out.")] = None,
    commitment: Annotated[
        float | None, typer.Option(help="Weight of a VQ-VAE's commitment; 1 if left out.")
    ] = None,
    codebook: Annotated[
        Codebook | None, typer.Option(help="How a VQ-VAE's codebook learns; loss if left out.")
    ] = None,
    reset_dead_codes: Annotated[
        bool, typer.Option("--reset-dead-codes", help="Move codes that an epoch did not use.")
    ] = False,
    clip: Annotated[
        float | None, typer.Option(help="Largest norm of the gradient; any{but:clip} if left out.")
    ] = None,
    patience: Annotated[
        int | None, typer.Option(help="Stop after so many epochs without a smaller healthy validation loss.")
    ] = None,
    precision: Annotated[
        str | None, typer.Option(help="auto (bf16 where the device has it), 32 or bf16.")
    ] = None,
    compile: Annotated[bool, typer.Option("--compile", help="Compile the network (torch.compile).")] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the last checkpoint in OUT.")] = False,
    device: Device = "auto",
    devices: Annotated[int, typer.Option(min=1, help="Devices per machine.")] = 1,
    num_nodes: Annotated[int, typer.Option(min=1, help="Machines (start them with torchrun or SLURM).")] = 1,
    strategy: Annotated[str, typer.Option(help="Strategy of Lightning Fabric: auto, ddp, …")] = "auto",
    slices_on: Annotated[
        Placing, typer.Option(help="Where slices lie: on the device, or read as needed.")
    ] = Placing.AUTO,
    workers: Annotated[int, typer.Option(min=0, help="Reading processes of the loader.")] = 2,
    checkpoint_minutes: Annotated[
        float, typer.Option(min=0.01, help="Longest time between two checkpoints.")
    ] = 10.0,
    events: Annotated[
        Path | None,
        typer.Option(help="Append what happens to this file, too; OUT/events.jsonl always has it."),
    ] = None,
    name: Annotated[
        str | None, typer.Option(help="Name of the finished model; that of OUT if left out.")
    ] = None,
    half: Annotated[bool, typer.Option("--half", help="Store the weights in half precision.")] = False,
    keep_out: Annotated[
        bool, typer.Option("--no-install", help="Leave the model in OUT/model, out of the list of models.")
    ] = False,
    sequence: Annotated[
        str | None,
        typer.Option(help="Sequence to prepare, if DATA is a folder of patients; flair if left out."),
    ] = None,
    assume_healthy: AssumeHealthy = False,
    detach: Annotated[
        bool,
        typer.Option("--detach", help="Train in the background; follow it with: napari-cead runs tail OUT."),
    ] = False,
) -> None:
    """Train or fine-tune on healthy slices; ends with a model that can be used at once."""
    alone = model != "all" and "," not in model
    arguments = _absolute(list(context.obj or ()), data, out, init_from) if alone else []
    if detach and not arguments:
        raise ParameterError("--detach goes with one model", mend="train the models one by one")
    from ..models.specs import MODEL_NAMES, spec
    from ..training.described import read_corruption
    from ..training.engine import check_start
    from ..training.preprocessing import preprocessing_for, preprocessing_in
    from ..training.requests import Discarded, Paused
    from ..training.runs import RunFolder
    from ..training.session import undone_if_refused
    from ..training.settings import Hardware
    from ..zoo import check_name, find_model, find_models, load_card

    given: dict[str, Any] = {
        "size": size.value if size else None,
        "seed": seed,
        "epochs": epochs,
        "batch_size": batch_size,
        "learning_rate": lr,
        "schedule": schedule,
        "optimizer": optimizer,
        "corruption": read_corruption(
            corruption,
            squares=None if max_squares is None else (1, max_squares),
            inside_brain=squares_inside_brain or None,
            fill=fill,
        ),
        "loss": loss,
        "bright_limit": bright_limit,
        "emphasis": emphasis,
        "small_emphasis": small_emphasis,
        "lesion_weight": lesion_weight,
        "balance": balance,
        "feature_maps": feature_maps,
        "working_size": working_size,
        "image_size": image_size,
        "beta": beta,
        "commitment": commitment,
        "codebook_decay": 0.99 if codebook is Codebook.EMA else None,
        "reset_dead_codes": reset_dead_codes or None,
        "clip": clip,
        "patience": patience,
        "freeze_encoder": freeze_encoder or None,
        "precision": precision,
    }
    hardware = Hardware(
        device, devices, num_nodes, strategy, compile, slices_on.value, workers, checkpoint_minutes
    )
    names = list(MODEL_NAMES) if model == "all" else list(dict.fromkeys(model.split(",")))
    for each in names:
        spec(each)  # one that there is not is told before anything is looked for
    options = typed(context)
    fits = fitting(given, options, names)
    if "workers" in options and slices_on is Placing.DEVICE:
        refuse("--workers", "with --slices-on device: nothing is read while training")
    if "checkpoint_minutes" in options and devices * num_nodes > 1:
        refuse("--checkpoint-minutes", "on several devices, which write one at the end of an epoch")
    if len(names) > 1 and (init_from or name):
        raise ParameterError("--init-from and --name go with one model", mend="train the models one by one")
    if name:
        check_name(name)
        if name in find_models() and not keep_out and not resume:
            raise ParameterError(f"there is a model called {name} already", mend="choose another --name")
    resume = resume and (out.is_dir() or not out.parent.is_dir())  # else it has not begun
    base = None if init_from is None else load_card(find_model(init_from))
    stored = stored_in(data, sequence, assume_healthy)
    wanted = preprocessing_for(names, base) if stored is None else preprocessing_in(stored.settings)
    plans = []
    for each in names:
        run = out if len(names) == 1 else out / each
        before = run if resume else None
        size_of = wanted.image_size
        plans.append(settings_of(each, preset, base, fits[each], augment, codebook, size_of, before))
        begun = before is not None and RunFolder(before).exists()
        check_start(plans[-1], stored, init_from=init_from, hardware=hardware, resumed=begun)
    if detach:
        start_detached(out, [*arguments, "--resume"] if resume else arguments)
        return
    orders = Orders(init_from, resume, hardware, events, name, half, install=not keep_out)
    folders = []
    try:
        with watched(out, orders, arguments) if alone else nullcontext() as session:
            with nullcontext() if stored else undone_if_refused(out):
                store = stored or prepared(
                    data,
                    out,
                    wanted.model_copy(update={"image_size": plans[0].spec.image_size}),
                    sequence=sequence,
                    assume_healthy=assume_healthy,
                    resume=resume,
                    session=session,
                )
            for settings in plans:
                run = out if alone else out / settings.spec.name
                if resume and not alone and finished(settings, store, run, orders):
                    folders.append(run / "model")
                    continue
                with nullcontext(session) if alone else watched(run, orders) as own:
                    found = train_and_install(settings, store, run, orders, own)
                if found is None:  # this process only helped: the first one of the launcher's goes on
                    return
                folders.append(found)
    except Paused:
        again = out if alone else run
        typer.echo(f"{again}: paused; go on with: napari-cead runs resume {shlex.quote(str(again))}")
        return
    except Discarded:
        typer.echo(f"{out if alone else run}: stopped, to be discarded")
        return
    if preset is PresetName.PAPER:
        evaluate_models(
            _cohort_of(store),
            [str(folder) for folder in folders],
            out / "evaluation",
            split=store.path,
            device=device,
        )


def _absolute(arguments: list[str], data: Path, out: Path, init_from: str | None) -> list[str]:
    """Return the arguments of this call as they can be used from any folder; none if they are not known."""
    from ..training.launching import with_option

    if not arguments:
        return []
    paths: dict[str, str | Path | None] = {"data": data, "out": out, "init_from": init_from}
    for name, value in paths.items():
        if value is not None and (name != "init_from" or Path(value).is_dir()):
            arguments = with_option(arguments, name, Path(value).absolute())
    for flag in ("detach", "resume"):
        arguments = with_option(arguments, flag, False)
    return arguments


def _cohort_of(store: SliceStore) -> Path:
    """Return the folder that holds all patients of a store."""
    return Path(os.path.commonpath([patient.source for patient in store.patients]))
