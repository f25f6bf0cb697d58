"""What all models have in common, and the one place that makes them.

    model = make_model(spec)
    memory = model.encode(seen, past)              # once per state
    answers = model.decode(memory, seen[:, -1], actions)     # once per action to imagine

Pictures are patches [N, P] in [0, 1] (worldmodel/patches.py); actions are encoded (`ActionSpace.encode`), NaN means unknown.
"""

from abc import abstractmethod

from torch import Tensor, nn

from worldmodel.familiar import Familiar
from worldmodel.inverse import Inverse
from worldmodel.patches import Patches
from worldmodel.spec import ModelSpec, SpecError


class Model(nn.Module):
    """Frames and actions in, the next frame out, all as patches."""

    inverse_head: Inverse | None

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        self.spec = spec
        self.patches = Patches(spec)
        self.familiar: Familiar | None = None

    @abstractmethod
    def encode(self, seen: Tensor, past: Tensor) -> Tensor:
        """Patches float [B, context, N, P] and encoded past actions [B, context - 1, E] -> what `decode` needs of them."""

    @abstractmethod
    def decode_members(self, memory: Tensor, last: Tensor, action: Tensor) -> Tensor:
        """Memory, last patches [B, N, P], encoded actions [B, A, E] -> each member's next patches, float32 [B, A, M, N, P]."""

    def decode(self, memory: Tensor, last: Tensor, action: Tensor) -> Tensor:
        """As `decode_members`, the mean of the members: float32 [B, A, N, P]."""
        members = self.decode_members(memory, last, action)
        return members[:, :, 0] if members.shape[2] == 1 else members.mean(dim=2)

    def forward(self, seen: Tensor, actions: Tensor) -> Tensor:
        """Patches [B, context, N, P] and encoded actions [B, context, E] -> next patches float32 [B, N, P]."""
        return self.decode(self.encode(seen, actions[:, :-1]), seen[:, -1], actions[:, -1:])[:, 0]

    def forward_members(self, seen: Tensor, actions: Tensor) -> Tensor:
        """As `forward`, each member for itself: float32 [B, M, N, P]."""
        return self.decode_members(self.encode(seen, actions[:, :-1]), seen[:, -1], actions[:, -1:])[:, 0]

    def forward_masked(self, seen: Tensor, actions: Tensor, target: Tensor, masked: Tensor) -> Tensor:
        """As `forward` with a part of the next frame seen: of target [B, N, P] the patches where masked [B, N] is False."""
        raise SpecError(f"the family {self.spec.family} always masks the whole next frame: leave mask_ratio at 1..1")

    def inverse(self, last: Tensor, following: Tensor) -> Tensor:
        """Two frames' patches [B, N, P] -> the action between them, float32 [B, E]: logits of choices, or encoded values.

        Raises SpecError when the spec has no inverse head.
        """
        if self.inverse_head is None:
            raise SpecError("this model has no inverse head: set inverse in the model's spec")
        answer: Tensor = self.inverse_head(last, following)
        return answer


def make_model(spec: ModelSpec) -> Model:
    """The network of this spec with random weights."""
    if spec.family == "toddle":
        from worldmodel.network import WorldModel

        return WorldModel(spec)
    from worldmodel.original.decoder_only import DecoderOnly
    from worldmodel.original.encoder_decoder import EncoderDecoder  # timm is slow to import, and only they need it

    return EncoderDecoder(spec) if spec.family == "encoder-decoder" else DecoderOnly(spec)
