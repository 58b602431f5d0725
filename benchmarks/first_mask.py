"""From napari's empty window to the first mask of a volume of 182 x 218 x 182 voxels, in seconds of CPU.

Needs a display; without one: ``xvfb-run -a -s "-screen 0 1600x1000x24" python benchmarks/first_mask.py``.

Each line is of a fresh process with a window of its own, which is open before the clock starts. CPU time of the whole
process, all threads together: what else the computer does hardly counts.

* ``ours``: the Explore dock is opened, the patient given to it, Run pressed. ``dock_s`` is what opening the dock costs
  the thread of the window, which cannot draw meanwhile; ``first_s`` the time until the slice on screen has its mask,
  ``shown_s`` until the layer of it is there (the run goes on meanwhile, and its time counts), ``whole_s`` until the
  volume has its mask; all from before the dock, with PyTorch not imported yet (cold), and once more for another
  patient (warm).
* ``baseline``: the same volume by the plain loop, one slice after the other through the network as PyTorch builds it,
  in the same window without a dock: ``import torch``, loading the model, the loop, map and mask.

``first_within_targets`` compares ``dock_s`` and ``first_s`` with the targets, ``whole_within_targets`` ``dock_s`` and
``whole_s``.

How smoothly the window runs meanwhile, of a cold run, a warm one and one that is cancelled; in another process, because
measuring it takes time, too: a timer of 10 ms ticks in the window, and ``window_ms`` is the most that the window's own
thread computed between two ticks, drawing included (with the software's OpenGL that is most of it); ``over_33`` and
``over_50`` are how many of the ``ticks`` came after more than so many milliseconds. ``held_ms`` (Linux) is the longest
time that a third thread could not run while the run's thread computed: what that does without giving the interpreter
away. Ticks are counted until the window rests. The time of ``ours`` includes what the window draws, that of the
baseline nothing, so that ``ratio`` is what a user pays for seeing the slices arrive.

A run makes three layers and a colour bar, each in a turn of the event loop of its own, and these are its long turns.
``napari_layer_ms`` is the longest turn when napari makes the same by itself in the same window (``viewer.add_image``,
``add_labels``), of the first time and a second one; ``napari_over_33`` how many such turns it has.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import threading
import time
import warnings
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

SHAPE = (182, 218, 182)
COLD_TARGET_S, WARM_TARGET_S, DOCK_TARGET_S = 8.0, 3.0, 0.3
PATIENCE_S = 600.0


def volume(other: bool = False) -> Any:
    """Return the synthetic sample patient cut to the shape; ``other`` is brighter by a hair, so that no cache helps."""
    from napari_cead import load_patient, resources
    from napari_cead.patients import Patient

    whole = load_patient(resources.sample_patient()).volume()
    places = [max(0, (have - want) // 2) for have, want in zip(whole.shape, SHAPE, strict=True)]
    cut = whole[tuple(slice(at, at + want) for at, want in zip(places, SHAPE, strict=True))]
    result = np.zeros(SHAPE, np.float32)
    result[tuple(slice(0, side) for side in cut.shape)] = cut * (1.001 if other else 1.0)
    return Patient.from_arrays({"flair": result}, spacing=(1.0, 1.0, 1.0), name="volume")


def until(condition: Any) -> None:
    from napari_cead.widgets.explore.launch import wait_until

    if not wait_until(condition, PATIENCE_S):
        raise SystemExit("error: the window did not get there in time")


class Ticks:
    """How much the window's thread computes between two ticks of a timer, and how long a run holds others up."""

    def __init__(self) -> None:
        from qtpy.QtCore import QTimer

        self._between: list[float] = []
        self._held, self._beating = 0.0, True
        self._last = time.thread_time()
        self._timer = QTimer(interval=10)
        self._timer.timeout.connect(self._tick)
        self._timer.start()
        self._beat = threading.Thread(target=self._measure_held, daemon=True)
        self._beat.start()

    def _tick(self) -> None:
        now = time.thread_time()
        self._between.append(1000 * (now - self._last))
        self._last = now

    def _measure_held(self) -> None:
        last, computed = time.perf_counter(), dict[int, float]()
        while self._beating:
            time.sleep(0.002)
            now, so_far = time.perf_counter(), _computed()
            most = max((spent - computed.get(one, spent) for one, spent in so_far.items()), default=0.0)
            self._held = max(self._held, min(now - last, most))
            last, computed = now, so_far

    def stop(self) -> dict[str, float]:
        self._timer.stop()
        self._beating = False
        self._beat.join()
        found: dict[str, float] = {"window_ms": max(self._between), "ticks": len(self._between)}
        found |= {f"over_{limit}": sum(each > limit for each in self._between) for limit in (33, 50)}
        return found | ({"held_ms": 1000 * self._held} if sys.platform == "linux" else {})


def _computed() -> dict[int, float]:
    """Return the seconds of CPU that each of the package's threads has computed; on Linux alone."""
    found = {}
    for thread in threading.enumerate():
        if thread.name.startswith("napari-cead") and sys.platform == "linux":
            with suppress(OSError):  # it has ended meanwhile
                text = Path(f"/proc/self/task/{thread.native_id}/schedstat").read_text()
                found[thread.native_id] = int(text.split()[0]) / 1e9
    return found


def rest(dock: Any, seconds: float = 0.5) -> None:
    """Let the window do what is left to do."""
    until(lambda: not dock.busy)
    end = time.perf_counter() + seconds
    until(lambda: time.perf_counter() > end)


def ours(smoothness: bool = False) -> dict[str, Any]:
    """Measure what the two runs cost or, with a third one that is cancelled, how smoothly the window runs."""
    import napari

    from napari_cead.contributions.layers import tag_of

    viewer = napari.Viewer()
    until(lambda: True)
    patients = volume(), volume(other=True)
    first: list[float] = []
    shown: list[float] = []
    start, thread = time.process_time(), time.thread_time()
    _, dock = viewer.window.add_plugin_dock_widget("napari-cead", "Explore anomalies")
    found: dict[str, Any] = {"dock_s": time.thread_time() - thread}
    smooth: dict[str, Any] = {}

    def added(event: Any) -> None:
        tag = tag_of(event.value)
        if tag is not None and tag.role == "detected mask":
            shown.append(time.process_time())

    viewer.layers.events.inserted.connect(added)
    dock.session.slices_arrived.connect(lambda *_: first.append(time.process_time()))
    for name, patient in zip(("cold", "warm"), patients, strict=True):
        if name == "warm":
            start = time.process_time()
        dock.use_patient(patient)
        rest(dock)
        first.clear()
        shown.clear()
        ticks = Ticks() if smoothness else None
        dock.run.native.click()
        until(lambda: dock.session.analysis is not None and not dock.running)
        found |= {f"{name}_first_s": first[0] - start, f"{name}_whole_s": time.process_time() - start}
        found[f"{name}_shown_s"] = shown[0] - start
        rest(dock)
        if ticks is not None:
            smooth |= {f"{name}_{key}": value for key, value in ticks.stop().items()}
    if smoothness:
        dock.use_patient(volume())
        rest(dock)
        ticks = Ticks()
        dock.run.native.click()
        until(lambda: dock.session.streaming is not None)
        dock.cancel.native.click()
        rest(dock)
        smooth |= {f"cancel_{key}": value for key, value in ticks.stop().items()}
    viewer.close()
    return smooth if smoothness else found


def smoothness() -> dict[str, Any]:
    return ours(smoothness=True)


def layers() -> dict[str, Any]:
    """Measure what napari takes for layers as a run has them, made by itself in a window with the dock and a scan."""
    import napari

    from napari_cead.widgets.canvas.canvas_notes import show_color_bar

    viewer = napari.Viewer()
    _, dock = viewer.window.add_plugin_dock_widget("napari-cead", "Explore anomalies")
    dock.use_patient(volume())
    rest(dock)
    found: dict[str, Any] = {}
    array, mask = np.random.default_rng(0).random(SHAPE, np.float32), np.ones(SHAPE, np.uint8)
    limits: dict[str, Any] = {"contrast_limits": (0.0, 1.0), "blending": "translucent", "opacity": 0.8}
    turns = {
        "image": lambda: viewer.add_image(array, **limits),
        "labels": lambda: viewer.add_labels(mask),
        "bar": lambda: show_color_bar(viewer.layers[-2]),
        "hidden_image": lambda: viewer.add_image(array, visible=False, **limits),
    }
    for name in ("cold", "warm"):
        over = 0
        for part, turn in turns.items():
            ticks = Ticks()
            turn()
            rest(dock, 0.3)
            measured = ticks.stop()
            found[f"{name}_napari_{part}_ms"] = measured["window_ms"]
            over += int(measured["over_33"])
        found[f"{name}_napari_layer_ms"] = max(found[f"{name}_napari_{part}_ms"] for part in turns)
        found[f"{name}_napari_over_33"] = over
        del viewer.layers[-3:]
        rest(dock)
    viewer.close()
    return found


def baseline() -> dict[str, Any]:
    import napari

    viewer = napari.Viewer()
    until(lambda: True)
    patients = volume(), volume(other=True)
    found: dict[str, Any] = {}
    for name, patient in zip(("cold", "warm"), patients, strict=True):
        start = time.process_time()
        import torch

        from napari_cead import PostprocessParams, load_model, postprocess
        from napari_cead.detection.pipeline import Reconstruction
        from napari_cead.models import build
        from napari_cead.slices import slice_stack

        if name == "cold":
            detector = load_model("ce-unet", "cpu")
            network = build(detector.card.spec).eval()
            network.load_state_dict(detector.module.state_dict())
        wants = detector.card.preprocessing
        stack = slice_stack(
            patient, scaling=wants.intensity, model_spacing=wants.spacing, size=wants.image_size
        )
        slices, lesion = np.zeros_like(stack.images), np.zeros_like(stack.images)
        with torch.no_grad():
            for z, image in enumerate(stack.images):
                made = network(torch.from_numpy(image)[None, None], sample=False)
                inside = image != 0
                slices[z] = made.reconstruction[0, 0].numpy() * inside
                lesion[z] = made.lesion_logit.sigmoid()[0, 0].numpy() * inside
        whole = Reconstruction(
            patient, stack, slices, model="ce-unet", sha256=detector.sha256, device="cpu",
            ingredients={"lesion": lesion}, tails=detector.card.tails,
        )  # fmt: skip
        anomaly_map = whole.anomaly_map("fused")
        postprocess(anomaly_map, PostprocessParams(), patient.spacing, stack.brain)
        found[f"{name}_whole_s"] = time.process_time() - start
    viewer.close()
    return found


def child(kind: str) -> dict[str, Any]:
    command = [sys.executable, __file__, "--child", kind]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    if ended.returncode:
        raise SystemExit(ended.stderr[-3000:])
    found: dict[str, Any] = json.loads(ended.stdout.strip().splitlines()[-1])
    return found


CHILDREN = {"ours": ours, "smoothness": smoothness, "layers": layers, "baseline": baseline}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--child", choices=tuple(CHILDREN), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if sys.platform == "linux" and not any(os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY")):
        raise SystemExit("error: there is no display: run it under xvfb-run")
    if arguments.child:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            print(json.dumps(CHILDREN[arguments.child]()), flush=True)
        return
    runs = [[child(kind) for kind in CHILDREN] for _ in range(arguments.repeats)]
    best, smooth, bare, plain = (
        {key: min(one[key] for one in found) for key in found[0]} for found in zip(*runs, strict=True)
    )
    line = {
        "what": f"first mask of {' x '.join(map(str, SHAPE))} voxels, CPU seconds",
        **{key: round(value, 3) for key, value in best.items()},
        **{key: round(value, 3) for key, value in smooth.items()},
        **{key: round(value, 3) for key, value in bare.items()},
        **{f"baseline_{key}": round(value, 3) for key, value in plain.items()},
        "cold_ratio": round(plain["cold_whole_s"] / best["cold_whole_s"], 2),
        "warm_ratio": round(plain["warm_whole_s"] / best["warm_whole_s"], 2),
        **{
            f"{part}_within_targets": best["dock_s"] <= DOCK_TARGET_S
            and best[f"cold_{part}_s"] <= COLD_TARGET_S
            and best[f"warm_{part}_s"] <= WARM_TARGET_S
            for part in ("first", "whole")
        },
        "cores": os.cpu_count(),
    }
    print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
