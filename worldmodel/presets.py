"""Models with a name: what a preset says of the spec, and of the training. docs/models.md tells where the values come from.

Every value may be overridden by a setting of its own. Plain data: no torch.
"""

from typing import Any

_ORIGINAL = {
    "patch": 16,
    "context": 2,
    "mlp_ratio": 4,
    "positions": "original",
    "action_input": "separator",
    "target": "full",
    "decoder": "full",
}
_ORIGINAL_TRAIN = {
    "optimizer": "adamw",
    "weight_decay": 0.01,
    "betas": (0.9, 0.999),
    "grad_clip": 0.0,
    "ema_decay": 0.0,
    "precision": "fp32",
    "mask_ratio": (1.0, 1.0),
}

PRESETS: dict[str, dict[str, dict[str, Any]]] = {
    "small": {"spec": {"target": "flow", "width": 192, "encoder_depth": 2, "decoder_depth": 2, "heads": 4}, "train": {}},
    "large": {"spec": {"target": "flow", "width": 256, "encoder_depth": 5, "decoder_depth": 5, "heads": 8}, "train": {"lr": 1e-3}},
    "original-2025-10": {
        "spec": {
            **_ORIGINAL,
            "family": "encoder-decoder",
            "separator": 8,
            "width": 256,
            "encoder_depth": 5,
            "heads": 4,
            "decoder_width": 128,
            "decoder_depth": 5,
            "decoder_heads": 4,
        },
        "train": {
            **_ORIGINAL_TRAIN,
            "batch_size": 1,
            "lr": 1e-4,
            "schedule": "cosine",
            "warmup_samples": 600,
            "total_samples": 100_000,
            "lr_min_ratio": 0.01,
            "loss": {"capped-focal": 1.0},
            "focal_alpha": 0.5,
            "focal_beta": 10.0,
            "sampling": {"recent": 1.0},
        },
    },
    "original-2026-02": {
        "spec": {
            **_ORIGINAL,
            "family": "encoder-decoder",
            "separator": 16,
            "width": 256,
            "encoder_depth": 5,
            "heads": 4,
            "decoder_width": 256,
            "decoder_depth": 5,
            "decoder_heads": 4,
        },
        "train": {
            **_ORIGINAL_TRAIN,
            "batch_size": 8,
            "lr": 2e-4,
            "schedule": "cosine",
            "warmup_samples": 1000,
            "total_samples": 100_000,
            "lr_min_ratio": 0.001,
            "loss": {"hybrid": 1.0},
            "focal_alpha": 0.1,
            "focal_beta": 5.0,
            "sampling": {"loss-weighted": 1.0},
        },
    },
    "run7": {
        "spec": {
            **_ORIGINAL,
            "family": "decoder-only",
            "separator": 32,
            "width": 256,
            "encoder_depth": 0,
            "decoder_depth": 12,
            "heads": 8,
        },
        "train": {
            **_ORIGINAL_TRAIN,
            "batch_size": 8,
            "lr": 3e-4,
            "schedule": "plateau",
            "warmup_samples": 0,
            "lr_min_ratio": 0.001,
            "loss": {"mse": 1.0, "perceptual": 0.01},
            "sampling": {"loss-weighted": 1.0},
        },
    },
}
