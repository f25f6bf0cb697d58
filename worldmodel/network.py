"""The canvas model on tokens: encode what is seen, decode what is masked.

The canvas is history frames, the actions between them, and a masked next frame. The mask never changes,
so it is a slice: only the patches of the history are encoded, and only the patches of the next frame are
decoded, by queries that read the encoded tokens and one another. Each action is a token of its own.

Positions are rotary in two dimensions and count patches inside a frame; all frames share them and a learned
embedding tells the frames apart. "The same place one frame earlier" is then the same rotation everywhere,
which the dot world learns from a tenth of the samples that absolute positions need.

The head starts at zero: an untrained model copies the last frame. What its numbers mean is in answers.py.

The spec can ask for other ways; docs/models.md says what each is.
"""

from typing import cast

import torch
from torch import Tensor, nn

from worldmodel.answers import Answer
from worldmodel.bars import Bars
from worldmodel.blocks import Block
from worldmodel.ensemble import Members
from worldmodel.familiar import Familiar
from worldmodel.inverse import Inverse
from worldmodel.models import Model
from worldmodel.places import Places, bar_places
from worldmodel.spec import ModelSpec


class WorldModel(Model):
    """The family toddle."""

    bar_camera: Tensor

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__(spec)
        width, pixels = spec.width, self.patches.pixels
        decoder_width, decoder_heads = spec.decoder_size
        condition = width if spec.action_input == "adaln" else 0
        memory = width if spec.decoder == "queries" else 0
        self.embed = nn.Linear(pixels, width)
        if spec.action_input != "separator":
            self.action = nn.Linear(spec.actions.encoded_size, width)
            self.unknown_action = nn.Parameter(torch.randn(width) * 0.02)
        self.frame_time = nn.Parameter(torch.randn(spec.context, width) * 0.02)
        self.action_time = nn.Parameter(torch.randn(spec.context, width) * 0.02)
        self.camera = nn.Parameter(torch.randn(len(spec.cameras), width) * 0.02)
        self.query = nn.Parameter(torch.randn(decoder_width) * 0.02)
        self.encoder = nn.ModuleList(Block(width, spec.heads, spec.mlp_ratio, condition_width=condition) for _ in range(spec.encoder_depth))
        self.encoder_norm = nn.LayerNorm(width)
        self.start = nn.Linear(width, decoder_width)
        self.decoder = nn.ModuleList(
            Block(decoder_width, decoder_heads, spec.mlp_ratio, memory, condition) for _ in range(spec.decoder_depth)
        )
        self.decoder_norm = nn.LayerNorm(decoder_width)
        self.answer = Answer(spec.target, self.patches)
        self.head = nn.Linear(decoder_width, self.answer.size)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)
        widens = decoder_width != width and spec.action_input != "adaln"
        self.tell = nn.Linear(width, decoder_width) if widens else nn.Identity()
        self.members = Members(decoder_width, self.answer.size, spec.ensemble) if spec.ensemble > 1 else None
        self.familiar = Familiar(self.patches) if spec.ensemble > 1 else None
        self.inverse_head = Inverse(spec, self.patches) if spec.inverse else None
        self._place()

    def _place(self) -> None:
        """Say where every token lies: of the frames seen, then of the past actions; and of the frame to come and its action."""
        spec, frame = self.spec, self.patches.positions
        bar, camera = bar_places(self.patches)
        between = {"tokens": frame.new_zeros(1, 2), "adaln": frame[:0], "separator": bar}[spec.action_input]
        seen = torch.cat((frame.repeat(spec.context, 1), between.repeat(spec.context - 1, 1)))
        own = torch.cat((frame, bar)) if spec.action_input == "separator" else frame
        scale = frame.amax(dim=0).clamp(min=1.0)
        self.encoder_places = Places(spec, seen, spec.width, spec.heads, scale)
        self.memory_places = Places(spec, seen, *spec.decoder_size, scale)
        self.own_places = Places(spec, own, *spec.decoder_size, scale)
        self.bars = Bars(spec.actions)
        self.register_buffer("bar_camera", camera, persistent=False)

    def embed_actions(self, actions: Tensor) -> Tensor:
        """Encoded actions [..., E], NaN rows unknown -> [..., width]."""
        known = ~actions.isnan().any(dim=-1, keepdim=True)
        return torch.where(known, self.action(actions.nan_to_num()), self.unknown_action)

    def embed_bars(self, actions: Tensor) -> Tensor:
        """Encoded actions [..., E] -> the patches of their bars as tokens [..., L, width]."""
        side, parts = self.spec.patch, []
        for rows, _ in self.patches.grids:
            column = self.bars(actions, rows * side).unflatten(-2, (rows, side, 1))
            parts.append(column.expand(*column.shape[:-2], side, 3).flatten(-3))
        tokens: Tensor = self.embed(torch.cat(parts, dim=-2)) + self.camera[self.bar_camera]
        return tokens

    def encode(self, seen: Tensor, past: Tensor) -> Tensor:
        """See `Model`; the memory is [B, M, width]."""
        place = self.camera[self.patches.camera_index]
        x = (self.embed(seen) + self.frame_time[:, None] + place).flatten(1, 2)
        condition = None
        if self.spec.action_input == "separator":
            x = torch.cat((x, (self.embed_bars(past) + self.action_time[:-1, None]).flatten(1, 2)), dim=1)
        elif self.spec.action_input == "tokens":
            x = torch.cat((x, self.embed_actions(past) + self.action_time[:-1]), dim=1)
        else:
            condition = (self.embed_actions(past) + self.action_time[:-1]).sum(dim=1)
        x = self.encoder_places.add(x)
        table = self.encoder_places.rotation(self._dtype(x))
        for block in _blocks(self.encoder):
            x = block(x, table, None, condition)
        encoded: Tensor = self.encoder_norm(x)
        return encoded

    def decode_members(self, memory: Tensor, last: Tensor, action: Tensor) -> Tensor:
        """See `Model`."""
        options, tokens = action.shape[1], self.patches.tokens
        queries = self.spec.decoder == "queries"
        if queries:  # each query starts from what was seen at its place
            newest = (self.spec.context - 1) * tokens
            x = self.start(memory[:, newest : newest + tokens]) + self.query
        else:
            x = self.query.expand(len(memory), tokens, -1)
        x, condition = self._tell(x, action)
        x = self.own_places.add(x)
        x = self._read(x, memory, condition, options) if queries else self._read_all(x, memory, condition, options)
        features = self.decoder_norm(x[:, :tokens])
        said: Tensor = self.head(features)[:, None]
        if self.members is not None:
            said = said + self.members(features)
        answer: Tensor = self.answer(said.float().reshape(-1, options, *said.shape[1:]), last)
        return answer

    def _tell(self, x: Tensor, action: Tensor) -> tuple[Tensor, Tensor | None]:
        """Queries [B, N, width] and encoded actions [B, A, E] -> tokens that know the action [B * A, L, width], and a condition."""
        shape = (-1, action.shape[1], -1, -1)
        if self.spec.action_input == "separator":
            bars = self.tell(self.embed_bars(action) + self.action_time[-1])
            return torch.cat((x[:, None].expand(shape), bars), dim=2).flatten(0, 1), None
        told = self.embed_actions(action) + self.action_time[-1]
        if self.spec.action_input == "adaln":
            return x[:, None].expand(shape).flatten(0, 1), told.flatten(0, 1)
        return (x[:, None] + self.tell(told)[:, :, None]).flatten(0, 1), None

    def _read(self, x: Tensor, memory: Tensor, condition: Tensor | None, options: int) -> Tensor:
        """Decode the masked tokens only: they read the memory [B, M, width] and one another."""
        dtype = self._dtype(x)
        seen, own = self.memory_places.rotation(dtype), self.own_places.rotation(dtype)
        for block in _blocks(self.decoder):
            k, v = block.read(memory, seen)
            if options > 1:
                k, v = k.repeat_interleave(options, dim=0), v.repeat_interleave(options, dim=0)
            x = block(x, own, (k, v), condition)
        return x

    def _read_all(self, x: Tensor, memory: Tensor, condition: Tensor | None, options: int) -> Tensor:
        """Decode at full length: masked tokens first, then those seen."""
        shown = self.memory_places.add(self.start(memory)).repeat_interleave(options, dim=0)
        dtype = self._dtype(x)
        tables = self.own_places.rotation(dtype), self.memory_places.rotation(dtype)
        table = None if tables[0] is None or tables[1] is None else _joined(tables[0], tables[1])
        x = torch.cat((x, shown), dim=1)
        for block in _blocks(self.decoder):
            x = block(x, table, None, condition)
        return x

    @staticmethod
    def _dtype(x: Tensor) -> torch.dtype:
        kind = x.device.type
        return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else x.dtype


def _joined(first: tuple[Tensor, Tensor], second: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    return torch.cat((first[0], second[0])), torch.cat((first[1], second[1]))


def _blocks(modules: nn.ModuleList) -> list[Block]:
    return cast(list[Block], list(modules))
