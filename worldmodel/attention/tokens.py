"""What the tokens of a model stand for, and where each lies on the canvas that people are shown.

The canvas is the frames that are seen, each followed by the bar of its action, and the frame to come; cameras lie one below
another. That is what the originals see; of the family toddle it is a drawing, which its tokens have a place in as well.
"""

from typing import Literal

import msgspec

from worldmodel.models import Model
from worldmodel.patches import grid
from worldmodel.spec import Camera, ModelSpec

BAR = 8  # pixels, where the model sees no bar: the drawing has one all the same

Stage = Literal["encoder", "decoder"]
Box = tuple[int, int, int, int]


class Token(msgspec.Struct, frozen=True):
    """One query or key.

    `frame` counts from 0, the frame to come is the context; an action or a bar follows the frame of this number. `row` and
    `column` count patches inside the camera's frame; -1 where there is none. `box` is top, left, bottom, right on the canvas
    in pixels; None of the class token, which has no place.
    """

    kind: Literal["patch", "action", "bar", "class"]
    frame: int
    camera: str = ""
    row: int = -1
    column: int = -1
    box: Box | None = None


class Layout:
    """Where frames and bars lie on the canvas of a spec."""

    def __init__(self, spec: ModelSpec) -> None:
        self.spec = spec
        self.separator = spec.separator or (spec.patch if spec.action_input == "separator" else BAR)
        self.slot = max(camera.width for camera in spec.cameras)
        self.tops = [sum(camera.height for camera in spec.cameras[:index]) for index in range(len(spec.cameras))]
        self.height = sum(camera.height for camera in spec.cameras)
        self.width = (spec.context + 1) * self.slot + spec.context * self.separator

    def left(self, frame: int) -> int:
        return frame * (self.slot + self.separator)

    def frame(self, number: int) -> list[Token]:
        """The patches of one frame, camera by camera, row by row."""
        found = []
        for camera, top in zip(self.spec.cameras, self.tops, strict=True):
            rows, columns = grid(camera, self.spec.patch)
            for row in range(rows):
                for column in range(columns):
                    found.append(Token("patch", number, camera.name, row, column, self._box(camera, top, row, column, self.left(number))))
        return found

    def action(self, frame: int) -> Token:
        """An action as one token: its place is all of the bar."""
        left = self.left(frame) + self.slot
        return Token("action", frame, box=(0, left, self.height, left + self.separator))

    def bars(self, frame: int) -> list[Token]:
        """The patches of a bar one patch wide, camera by camera."""
        found, left = [], self.left(frame) + self.slot
        for camera, top in zip(self.spec.cameras, self.tops, strict=True):
            for row in range(grid(camera, self.spec.patch)[0]):
                bottom = min(top + (row + 1) * self.spec.patch, top + camera.height)
                found.append(Token("bar", frame, camera.name, row, box=(top + row * self.spec.patch, left, bottom, left + self.separator)))
        return found

    def cut(self, first: int, last: int) -> list[Token]:
        """The canvas itself cut into patches, as the originals see it: its columns from `first` to before `last`, row by row."""
        side = self.spec.patch
        return [self._cut(row * side, column * side) for row in range(self.height // side) for column in range(first, last)]

    def _cut(self, y: int, x: int) -> Token:
        """Patches need not lie as the frames do: one is of the bar when half of it is."""
        side = self.spec.patch
        box = (y, x, y + side, x + side)
        index = max(place for place, top in enumerate(self.tops) if top <= y)
        camera, row = self.spec.cameras[index].name, (y - self.tops[index]) // side
        for frame in range(self.spec.context):
            begin = self.left(frame) + self.slot
            shared = min(x + side, begin + self.separator) - max(x, begin)
            if 2 * shared >= side or (shared > 0 and shared == self.separator):
                return Token("bar", frame, camera, row, box=box)
        frame = min((x + side // 2) // (self.slot + self.separator), self.spec.context)
        return Token("patch", frame, camera, row, max(0, x - self.left(frame)) // side, box)

    def _box(self, camera: Camera, top: int, row: int, column: int, left: int) -> Box:
        side = self.spec.patch
        bottom, right = min((row + 1) * side, camera.height), min((column + 1) * side, camera.width)
        return top + row * side, left + column * side, top + bottom, left + right


def tokens_of(model: Model, stage: Stage) -> tuple[list[Token], list[Token], slice]:
    """Queries and keys of a stage's blocks, and which rows of their attention the queries are.

    Of the decoder the queries are the patches to predict alone, whatever else it computes. Raises ValueError for a stage that
    the model has not.
    """
    spec, layout = model.spec, Layout(model.spec)
    if stage == "encoder" and not len(getattr(model, "encoder", ())):
        raise ValueError(f"a model of the family {spec.family} with {spec.encoder_depth} encoder layers has no encoder to look into")
    if spec.family == "toddle":
        seen, own = _seen(layout), _own(layout)
        if stage == "encoder":
            return seen, seen, slice(None)
        # at full length the masked ones come first; else what is read does
        keys = [*seen, *own] if spec.decoder == "queries" else [*own, *seen]
        return layout.frame(spec.context), keys, slice(0, model.patches.tokens)
    shown_columns = layout.left(spec.context) // spec.patch
    shown = [Token("class", -1), *layout.cut(0, shown_columns)]
    if stage == "encoder":
        return shown, shown, slice(None)
    slot = layout.cut(shown_columns, layout.width // spec.patch)
    return slot, [*shown, *slot], slice(len(shown), None)


def _seen(layout: Layout) -> list[Token]:
    spec = layout.spec
    found = [token for frame in range(spec.context) for token in layout.frame(frame)]
    if spec.action_input == "tokens":
        found += [layout.action(frame) for frame in range(spec.context - 1)]
    elif spec.action_input == "separator":
        found += [token for frame in range(spec.context - 1) for token in layout.bars(frame)]
    return found


def _own(layout: Layout) -> list[Token]:
    """What the decoder brings: the patches to predict and, where it sees bars, that of the action to imagine."""
    spec = layout.spec
    return [*layout.frame(spec.context), *(layout.bars(spec.context - 1) if spec.action_input == "separator" else [])]
