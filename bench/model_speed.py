"""How fast models train and imagine: beside a plain reference, in turns in one run; and on a GPU where there is one.

All train on the same batches of two seen frames and one to predict, 224x224 each: a canvas of 224x688 with bars of 8 pixels.
`same model` is the preset original-2025-10 with the reference's weights, in fp32: it must also learn the same.
`default` is the family toddle at the same sizes, with the default training, in the best precision of the machine.
"""

import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bench.reference_model import Reference, ReferenceTraining
from worldmodel.batch import Batch
from worldmodel.canvas import canvas
from worldmodel.learner import Learner, TrainConfig
from worldmodel.predictor import FramePredictor
from worldmodel.source import Arrays
from worldmodel.spec import ActionSpace, Camera, ModelSpec, model_spec

SIZE, BATCH, STEPS = 224, 8, 200
MOVE = ActionSpace(("move",), choices=((0.0,), (1.0,)))
CAMERAS = (Camera("top", SIZE, SIZE),)
SIZES = {"width": 256, "encoder_depth": 5, "heads": 4, "decoder_width": 128, "decoder_depth": 5, "decoder_heads": 4, "patch": 16}
PLAIN = {  # what the reference's training does, too
    "batch_size": BATCH, "optimizer": "adamw", "lr": 1e-4, "warmup_samples": 0, "decay_from_samples": 10**9, "weight_decay": 0.01,
    "betas": (0.9, 0.999), "grad_clip": 1e9, "boost": 0.0, "ema_decay": 0.0, "precision": "fp32",
}  # fmt: skip
TARGETS = {"default": 3.0, "same model": 1.0, "loading": 0.05, "first loss": 1e-5, "late loss": 0.01, 2: 1.5, 3: 1.9}
PEAK_BF16 = {"H100": 989e12, "H200": 989e12, "A100": 312e12}  # dense, by the data sheets
Say = Callable[[str], None]


def world(frames: int = 256, seed: int = 0) -> Arrays:
    """A bright disc that moves or stays, on a background with a texture, as a source of windows."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:SIZE, :SIZE]
    background = 60 + 40 * np.sin(x / 9.0) * np.cos(y / 13.0)
    actions = rng.integers(0, 2, frames)
    left = (np.cumsum(actions) * 9) % SIZE
    tops = np.repeat(rng.integers(20, SIZE - 20, frames // 16 + 1), 16)[:frames]
    near = (np.abs((x - left[:, None, None] + SIZE // 2) % SIZE - SIZE // 2) ** 2 + (y - tops[:, None, None]) ** 2) < 14**2
    pictures = np.where(near, 230.0, background).astype(np.uint8)
    colours = np.stack((pictures, pictures // 2 + 40, 255 - pictures), axis=-1)
    return Arrays({"top": colours}, actions[:, None].astype(np.float32), np.arange(frames) // 16, context=2)


def canvases(batch: Batch) -> np.ndarray[Any, Any]:
    """What the reference sees of a batch, uint8 [B, 224, 688, 3]."""
    return np.stack([canvas(frames, actions, MOVE) for frames, actions in zip(batch.frames["top"], batch.actions, strict=True)])


def training(say: Say, steps: int) -> dict[str, Any]:
    """Seconds of every step of each, and the losses of the two that should agree."""
    torch.manual_seed(0)
    reference = Reference(SIZE, 3 * SIZE + 16, 2 * SIZE + 16)
    plain = ReferenceTraining(reference, 1e-4, 0.01, (0.9, 0.999))
    same = Learner(model_spec(CAMERAS, MOVE, "original-2025-10"), TrainConfig(**PLAIN), "cpu")
    same.model.load_state_dict(reference.weights_for([name for name, _ in same.model.named_parameters()]), strict=True)
    default = Learner(model_spec(CAMERAS, MOVE, **SIZES), TrainConfig(batch_size=BATCH), "cpu")
    source, rng = world(), np.random.default_rng(1)
    ids = source.ids()
    seconds: dict[str, list[float]] = {"reference": [], "same model": [], "default": [], "loading": []}
    losses: dict[str, list[float]] = {"reference": [], "same model": []}

    def timed(name: str, act: Callable[[], Any]) -> Any:
        start = time.perf_counter()
        result = act()
        seconds[name].append(time.perf_counter() - start)
        return result

    for step in range(steps):
        batch = timed("loading", lambda: source.windows(rng.choice(ids, BATCH)))
        pictures = canvases(batch)
        turns: list[tuple[str, Callable[[], Any]]] = [
            ("reference", lambda p=pictures: plain.step(p)),
            ("same model", lambda b=batch: same.step(b)["loss"]),
            ("default", lambda b=batch: default.step(b)["loss"]),
        ]
        for name, act in turns[step % 3 :] + turns[: step % 3]:
            loss = timed(name, act)
            if name in losses:
                losses[name].append(loss)
    return {"seconds": seconds, "losses": losses, "precision": default.precision}


def _report_training(say: Say, found: dict[str, Any], steps: int) -> bool:
    seconds = {name: values[3:] for name, values in found["seconds"].items()}  # the first steps warm caches up
    say(f"\n| step, batch {BATCH}, {steps} in turns | ms | samples/s | times the reference | target |\n|---|---:|---:|---:|---:|")
    good = True
    for name in ("reference", "same model", "default"):
        ratio = statistics.median(r / s for r, s in zip(seconds["reference"], seconds[name], strict=True))
        middle = statistics.median(seconds[name])
        precision = found["precision"] if name == "default" else "fp32"
        target = TARGETS.get(name)
        good &= target is None or ratio >= target
        say(f"| {name}, {precision} | {middle * 1e3:.0f} | {BATCH / middle:.1f} | {ratio:.2f} | {target or ''} |")
    share = statistics.median(seconds["loading"]) / statistics.median(seconds["default"])
    say(f"\nLoading a batch takes {share:.2%} of the default's step (target: below {TARGETS['loading']:.0%}).")
    ours, theirs = (np.array(found["losses"][name]) for name in ("same model", "reference"))
    first = abs(ours[0] / theirs[0] - 1)
    late = slice(steps * 3 // 4, steps)
    apart = abs(ours[late].mean() / theirs[late].mean() - 1)
    say(f"First loss {ours[0]:.6f} beside {theirs[0]:.6f}: {first:.1e} apart (target: {TARGETS['first loss']:.0e}).")
    say(
        f"Mean loss of steps {late.start} to {steps}: {ours[late].mean():.6f} beside {theirs[late].mean():.6f}: "
        f"{apart:.3%} apart (target: {TARGETS['late loss']:.0%})."
    )
    return good and share < TARGETS["loading"] and first <= TARGETS["first loss"] and apart <= TARGETS["late loss"]


def imagining(turns: int) -> dict[str, dict[int, list[float]]]:
    """Seconds of `FramePredictor.predict` for 1, 2 and 3 actions, in turns; of the preset small and of the sizes above."""
    specs = {"small": model_spec(CAMERAS, MOVE), "sizes of the original": model_spec(CAMERAS, MOVE, **SIZES)}
    frames, past = world(8).frames["top"], np.zeros((1, 1), np.float32)
    found: dict[str, dict[int, list[float]]] = {}
    for name, spec in specs.items():
        predictor = _predictor(spec)
        times: dict[int, list[float]] = {1: [], 2: [], 3: []}
        for turn in range(turns + 3):
            for count, values in times.items():
                start = time.perf_counter()
                predictor.predict({"top": frames[:2]}, past, np.zeros((count, 1), np.float32))
                if turn >= 3:
                    values.append(time.perf_counter() - start)
        found[name] = times
    return found


def _predictor(spec: ModelSpec) -> FramePredictor:
    return FramePredictor(spec, Learner(spec, TrainConfig(), "cpu").ema_state(), "cpu")


def _report_imagining(say: Say, found: dict[str, dict[int, list[float]]]) -> bool:
    good = True
    say("\n| next frame, 224x224 | actions | ms | times one action | target |\n|---|---:|---:|---:|---:|")
    for name, times in found.items():
        for count, values in times.items():
            ratio = statistics.median(a / b for a, b in zip(values, times[1], strict=True))
            target = TARGETS.get(count)
            good &= target is None or ratio <= target
            say(f"| {name} | {count} | {statistics.median(values) * 1e3:.1f} | {ratio:.2f} | {target or ''} |")
    return good


def gpu(say: Say, steps: int = 30) -> list[dict[str, Any]]:
    """Samples/s, TFLOP/s and share of peak of two presets by batch size; nothing but a line where there is no GPU."""
    if not torch.cuda.is_available():
        say("\nNo GPU here: its table is left out.")
        return []
    from torch.utils.flop_counter import FlopCounterMode

    card = torch.cuda.get_device_name()
    peak = next((flops for name, flops in PEAK_BF16.items() if name in card), None)
    say(f"\n| {card}, bf16 | batch | samples/s | TFLOP/s | share of peak |\n|---|---:|---:|---:|---:|")
    source, rows = world(), []
    for preset in ("original-2025-10", "run7"):
        for size in (8, 64, 256):
            learner = Learner(model_spec(CAMERAS, MOVE, preset), TrainConfig(**{**PLAIN, "batch_size": size, "precision": "bf16"}), "cuda")
            batch = source.windows(np.random.default_rng(0).choice(source.ids(), size))
            with FlopCounterMode(display=False) as counter:
                learner.step(batch)
            for _ in range(3):
                learner.step(batch)
            torch.cuda.synchronize()
            start = time.perf_counter()
            for _ in range(steps):
                learner.step(batch)
            torch.cuda.synchronize()
            took = (time.perf_counter() - start) / steps
            speed = counter.get_total_flops() / took
            share = "" if peak is None else f"{speed / peak:.1%}"
            say(f"| {preset} | {size} | {size / took:.0f} | {speed / 1e12:.1f} | {share} |")
            rows.append({"preset": preset, "batch": size, "samples_per_s": size / took, "flops": speed, "card": card})
    return rows


def bench(say: Say, results: Path, quick: bool) -> bool:
    """Markdown tables and model_speed.json; whether every target was reached. `quick`: 24 steps, and no late loss to speak of."""
    steps = 24 if quick else STEPS
    trained = training(say, steps)
    good = _report_training(say, trained, steps)
    imagined = imagining(20 if quick else 100)
    good &= _report_imagining(say, imagined)
    results.mkdir(exist_ok=True)
    (results / "model_speed.json").write_text(json.dumps({"training": trained, "imagining": imagined, "gpu": gpu(say)}, indent=1))
    return good
