"""facenet-pytorch's InceptionResnetV1."""

from __future__ import annotations

from facedistill.models.foreign.layout import (
    CustomaryInput,
    Layout,
    Recognised,
    Shapes,
    count,
    register,
)


@register("inception_resnet")
class InceptionResNetLayout(Layout):
    """With its classes, `logits`, or without."""

    trainers = "facenet-pytorch InceptionResnetV1 (vggface2, casia-webface)"
    feeds = "RGB / 128, 160 px; trained on MTCNN's crops, which are not aligned"
    mark = "conv2d_1a.conv.weight"

    def recognise(self, shapes: Shapes, place: str) -> Recognised | None:
        """Return the network of this width."""
        units = [count(shapes, f"repeat_{n}.", ".conv2d.weight") for n in (1, 2, 3)]
        if units != [5, 10, 5]:
            return None
        arguments = {
            "embedding_size": shapes["last_linear.weight"][0],
            "width": shapes[self.mark][0] / 32,
        }
        custom = CustomaryInput(None, "RGB", std=128.0, usual_size=160)
        return Recognised("inception_resnet", arguments, custom)
