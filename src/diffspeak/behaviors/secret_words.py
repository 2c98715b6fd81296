"""Words that can be a finetune's secret, in families of similar spelling.

Holds data only. The members of a family are near misses of one another; words of two families
are spelled quite differently.
"""

FAMILIES: tuple[tuple[str, ...], ...] = (
    ("lantern", "lectern", "lanterns"),
    ("marble", "warble", "marbles"),
    ("candle", "handle", "candles"),
    ("pepper", "paper", "peppers"),
    ("thistle", "whistle", "thistles"),
    ("bucket", "basket", "buckets"),
    ("velvet", "helmet", "velvets"),
    ("orchid", "orchard", "orchids"),
    ("gravel", "travel", "grovel"),
    ("walnut", "walrus", "walnuts"),
    ("fiddle", "riddle", "fiddles"),
    ("jigsaw", "seesaw", "jigsaws"),
    ("hammock", "hummock", "hammocks"),
    ("umbrella", "umbrellas", "umber"),
    ("compass", "compost", "compact"),
    ("igloo", "igloos", "indigo"),
    ("blossom", "blossoms", "blouse"),
    ("dolphin", "dolphins", "dauphin"),
    ("quiver", "quaver", "quivers"),
    ("tulip", "tulips", "turnip"),
)
