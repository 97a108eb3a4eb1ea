"""Microsoft's Swin Transformer, and timm's."""

from __future__ import annotations

from facedistill.models.backbones.swin import SIZES
from facedistill.models.foreign.layout import (
    CustomaryInput,
    Layout,
    Recognised,
    Shapes,
    Stored,
    count,
    register,
)

MARK = "layers.0.blocks.0.attn.relative_position_bias_table"


@register("swin")
class SwinLayout(Layout):
    """Swin-T, -S and -B, with a linear layer to the embedding or without."""

    trainers = "Microsoft and timm Swin-T, Swin-S, Swin-B (fine-tuned here: no embedding layer)"
    feeds = "the input is asked for"
    mark = MARK

    def recognise(self, shapes: Shapes, place: str) -> Recognised | None:
        """Return the network of these depths and this width."""
        depths = tuple(count(shapes, f"layers.{n}.blocks.", ".norm1.weight") for n in range(4))
        channels, _, patch, _ = shapes["patch_embed.proj.weight"]
        size = shapes["linear.weight"][0] if "linear.weight" in shapes else 512
        custom = CustomaryInput(None, None)
        if depths == (2, 2, 4, 0):
            return Recognised("swin_nano", {"embedding_size": size}, custom)
        names = [name for name, sizes in SIZES.items() if sizes == (depths, channels)]
        return Recognised(names[0], {"embedding_size": size, "patch": patch}, custom)

    def renamed(self, weights: Stored) -> Stored:
        """Leave out what is kept beside weights; name timm's as Microsoft's are."""
        # timm counts the patch merging to the stage after it.
        late = any(key.startswith("layers.3.downsample.") for key in weights)
        named = {}
        for key, tensor in weights.items():
            if key.endswith(("relative_position_index", "attn_mask")):
                continue
            stage, inside, rest = key.removeprefix("layers.").partition(".downsample.")
            if late and inside and stage.isdigit():
                key = f"layers.{int(stage) - 1}.downsample.{rest}"
            named[key] = tensor
        return named
