"""What the two models of the original have in common: canvas, class and mask token, timm's blocks."""

from abc import abstractmethod

import torch
from timm.models.vision_transformer import Block
from torch import Tensor, nn

from worldmodel.inverse import Inverse
from worldmodel.models import Model
from worldmodel.original.canvas import Canvas
from worldmodel.spec import ModelSpec


def blocks(width: int, heads: int, depth: int, mlp_ratio: int) -> nn.ModuleList:
    """Pre-norm blocks with biases, as the original took them from timm."""
    return nn.ModuleList(Block(width, heads, mlp_ratio=mlp_ratio, qkv_bias=True) for _ in range(depth))


class Original(Model):
    """A model of the canvas. The bar of the action to imagine is a part of what is seen, so all is computed for each action."""

    positions: Tensor

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__(spec)
        self.canvas = Canvas(spec, self.patches)
        self.embed = nn.Linear(self.patches.pixels, spec.width)
        self.class_token = nn.Parameter(torch.zeros(1, 1, spec.width))
        self.mask_token = nn.Parameter(torch.zeros(1, 1, spec.decoder_size[0]))
        self.register_buffer("positions", self.canvas.places(spec.width), persistent=False)

    def start(self) -> None:
        """Random weights as in the MAE paper; at the end, so that the inverse head comes after the rest."""
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                nn.init.zeros_(module.bias)
        nn.init.normal_(self.class_token, std=0.02)
        nn.init.normal_(self.mask_token, std=0.02)
        self.inverse_head = Inverse(self.spec, self.patches) if self.spec.inverse else None

    def encode(self, seen: Tensor, past: Tensor) -> Tensor:
        """See `Model`; the memory is the canvas up to the last bar, pixels [B, H, W, 3]."""
        return self.canvas.draw(seen, past)

    def decode_members(self, memory: Tensor, last: Tensor, action: Tensor) -> Tensor:
        """See `Model`."""
        options = action.shape[1]
        shown = self.canvas.cut(memory.repeat_interleave(options, dim=0), action.flatten(0, 1))
        answer = self.fill(shown).float()
        return answer.reshape(-1, options, 1, *answer.shape[1:])

    def forward_masked(self, seen: Tensor, actions: Tensor, target: Tensor, masked: Tensor) -> Tensor:
        """See `Model`."""
        shown = self.canvas.cut(self.encode(seen, actions[:, :-1]), actions[:, -1])
        return self.fill_holes(torch.cat((shown, target), dim=1), masked).float()

    @abstractmethod
    def fill(self, shown: Tensor) -> Tensor:
        """The patches left of the slot [B, shown, P] -> those of the slot [B, N, P]."""

    @abstractmethod
    def fill_holes(self, patches: Tensor, masked: Tensor) -> Tensor:
        """The patches of the whole canvas [B, shown + N, P], of which those masked [B, N] of the slot are hidden -> [B, N, P]."""
