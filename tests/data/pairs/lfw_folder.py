"""A small folder in the layout of Labeled Faces in the Wild."""

from tests.data.pairs.listed_images import encoded_image

IDENTITIES = {"Ann": 3, "Bob_B": 2, "Eve": 1}
GOOD = ["2 1", "Ann 1 2", "Ann 1 Bob_B 2", "Bob_B 1 2", "Ann 3 Eve 1"]


def write_lfw(tmp_path, lines, suffix=".jpg", separator="\t"):
    """Write all images of `IDENTITIES` and a list of pairs with these lines."""
    for seed, (name, count) in enumerate(IDENTITIES.items()):
        (tmp_path / name).mkdir()
        for number in range(1, count + 1):
            image = encoded_image(10 * seed + number, suffix)
            (tmp_path / name / f"{name}_{number:04d}{suffix}").write_bytes(image)
    text = "\n".join(separator.join(line.split()) for line in lines)
    (tmp_path / "pairs.txt").write_text(text + "\n", encoding="utf-8")
    return tmp_path
