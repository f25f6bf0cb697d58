"""Are these weights what they say they are? Asked before anything is made of them. Pure, without torch."""

import hashlib

import msgspec

from protocol import messages as m
from worldmodel.spec import ModelSpec


class WeightsRefused(ValueError):
    """Weights that are not used; `reason` is a short fixed word, fit for counting."""

    def __init__(self, reason: str, text: str) -> None:
        super().__init__(text)
        self.reason = reason


def check(message: m.Message, newest: tuple[str, int] | None) -> tuple[ModelSpec, bytes]:
    """The spec and the bytes of a weights message; `newest` is the run and version of its source that came last."""
    body: m.Weights = message.body
    if newest is not None and message.envelope.run == newest[0] and body.version <= newest[1]:
        raise WeightsRefused("weights_old", f"version {newest[1]} of the same run came before")
    array = message.arrays.get("safetensors")
    if array is None:
        raise WeightsRefused("weights_hash", "they bring no tensors")
    data = array.tobytes()
    if hashlib.sha256(data).hexdigest() != body.sha256:
        raise WeightsRefused("weights_hash", "their bytes do not match their hash")
    try:
        spec = msgspec.convert(body.spec, ModelSpec)
    except ValueError as error:
        raise WeightsRefused("weights_spec", f"their spec is none: {error}") from None
    if spec.hash != body.spec_hash:
        raise WeightsRefused("weights_spec", f"they name spec {body.spec_hash[:12]} and bring {spec.hash[:12]}")
    return spec, data
