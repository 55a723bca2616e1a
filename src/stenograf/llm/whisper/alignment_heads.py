"""Which cross-attention heads follow the sound, per original model size.

OpenAI published these with its models; a checkpoint fine-tuned from one keeps them, and older
checkpoints do not carry them.
"""

Heads = tuple[tuple[int, int], ...]
"""(decoder layer, head) pairs, from 0."""

ENGLISH_VOCABULARY = 51_864
MULTILINGUAL_VOCABULARY = 51_865
V3_VOCABULARY = 51_866


def _heads(layout: str) -> Heads:
    """`"2:2 3:0,4"` -> ((2, 2), (3, 0), (3, 4))."""
    return tuple(
        (int(layer), int(head))
        for layer, heads in (part.split(":") for part in layout.split())
        for head in heads.split(",")
    )


_BY_SHAPE: dict[tuple[int, int, int], Heads] = {
    # (decoder layers, heads, vocabulary)
    (4, 6, ENGLISH_VOCABULARY): _heads("1:0 2:0,5 3:0,1,2,3,4"),
    (4, 6, MULTILINGUAL_VOCABULARY): _heads("2:2 3:0,2,3,4,5"),
    (6, 8, ENGLISH_VOCABULARY): _heads("3:3 4:7 5:1,5,7"),
    (6, 8, MULTILINGUAL_VOCABULARY): _heads("3:1 4:2,3,7 5:1,2,4,6"),
    (12, 12, ENGLISH_VOCABULARY): _heads("6:6 7:0,3,8 8:2,5,7 9:0,4,8,10 10:0,1,2,3,6,11 11:2,4"),
    (12, 12, MULTILINGUAL_VOCABULARY): _heads("5:3,9 8:0,4,7,8 9:0,7,9 10:5"),
    (24, 16, ENGLISH_VOCABULARY): _heads(
        "11:4 14:1,12,14 15:4 16:0,4,9 17:12,14 18:7,10,15 20:0,3,9,14 21:12"
    ),
    (24, 16, MULTILINGUAL_VOCABULARY): _heads("13:15 15:4,15 16:1 20:0 23:4"),
    # large v1 has the same shape as v2, which nearly every fine-tune started from
    (32, 20, MULTILINGUAL_VOCABULARY): _heads(
        "10:12 13:17 16:11,12,13 17:15,16 18:4,11,19 19:11 21:2,3 22:3,9,12 23:5,7,13 25:5 "
        "26:1,12 27:15"
    ),
    (32, 20, V3_VOCABULARY): _heads("7:0 10:17 12:18 13:12 16:1 17:14 19:11 21:4 24:1 25:6"),
    (4, 20, V3_VOCABULARY): _heads("2:4,11 3:3,6,11,14"),
}


def alignment_heads(layers: int, heads: int, vocabulary: int) -> Heads:
    """The heads of the original model of this shape; for others, all of the upper half of layers.

    `layers` and `heads` are the decoder's, `vocabulary` is its number of tokens.
    """
    known = _BY_SHAPE.get((layers, heads, vocabulary))
    if known is not None:
        return known
    return tuple((layer, head) for layer in range(layers // 2, layers) for head in range(heads))
