"""What a model reads when it predicts: attention, captured from the pass that makes the prediction.

found = capture(predictor, {"front": history}, past_actions, action)     # weights [layers, heads, queries, keys]
patches = select("change", found)
picture = draw(found, patches, "lines")                                  # uint8 [H, W, 3]
numbers = statistics(found, patches)
"""

from worldmodel.attention.capture import Attention, capture
from worldmodel.attention.drawing import VIEWS, View, draw
from worldmodel.attention.numbers import How, join_heads, join_patches, metrics, statistics, strongest
from worldmodel.attention.selection import AttentionError, numbers_in, rows_of, select
from worldmodel.attention.tokens import Token

__all__ = [
    "VIEWS",
    "Attention",
    "AttentionError",
    "How",
    "Token",
    "View",
    "capture",
    "draw",
    "join_heads",
    "join_patches",
    "metrics",
    "numbers_in",
    "rows_of",
    "select",
    "statistics",
    "strongest",
]
