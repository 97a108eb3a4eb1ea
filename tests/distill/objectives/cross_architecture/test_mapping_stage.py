import copy

import pytest
import torch
from torch.nn import functional as F

from facedistill.core.errors import FacedistillError
from facedistill.distill.objectives.cross_architecture.mapping_stage import relation_error
from facedistill.distill.objectives.teacher_stage import StageOrigin, load_stage, save_stage
from facedistill.models.outputs import Outputs
from tests.distill.objectives.cross_architecture.urfm_by_hand import (
    CNN,
    TRANSFORMER,
    loss_by_hand,
    made,
    pixels,
)

FIRST = {"learns": "teacher_first", "mapping_lr": 0.01}
ORIGIN = StageOrigin("t" * 32, "the teacher", "f" * 32, "network", "same")


def outputs_of_teacher(images=6):
    tokens = pixels(TRANSFORMER, images)[0].tokens
    return Outputs(embedding=torch.randn(images, 8, dtype=torch.float64), tokens=tokens)


def test_relations_are_compared_pair_by_pair():
    features, embedding = torch.randn(4, 5).double(), torch.randn(4, 3).double()
    errors, squares = [], []
    for i in range(4):
        for j in range(4):
            if i != j:
                found = F.cosine_similarity(features[i], features[j], dim=0)
                wanted = F.cosine_similarity(embedding[i], embedding[j], dim=0)
                errors.append((found - wanted).square())
                squares.append(wanted.square())
    assert relation_error(features, embedding).item() == pytest.approx(
        (sum(errors) / sum(squares)).item()
    )
    assert relation_error(3 * embedding, embedding).item() == pytest.approx(0, abs=1e-12)


def test_the_loss_is_of_the_heads_answer_and_of_relations():
    stage = made(**FIRST, mapping_relations=0.5).teacher_stage().double()
    torch.nn.init.normal_(stage.pool)
    teacher = outputs_of_teacher()
    z = stage.mapping(teacher.tokens, "images").z
    answers = [
        stage.head.weight @ sum(stage.pool[c] * image[c] for c in range(4)) / 4 + stage.head.bias
        for image in z
    ]
    off = [
        1 - F.cosine_similarity(answer, f, dim=0)
        for answer, f in zip(answers, teacher.embedding, strict=True)
    ]
    loss, parts = stage(teacher, None)
    assert parts["embedding"].item() == pytest.approx((sum(off) / 6).item())
    centred = teacher.embedding - teacher.embedding.mean(dim=0)
    error = relation_error(z.flatten(1), centred)
    assert parts["relations"].item() == pytest.approx(error.item())
    assert loss.item() == pytest.approx((sum(off) / 6 + 0.5 * error).item())
    loss.backward()
    assert all(weight.grad is not None for weight in stage.parameters())


def test_a_stage_depends_on_its_own_seed_alone():
    torch.manual_seed(1)
    one = made(**FIRST).teacher_stage().state_dict()
    torch.manual_seed(2)
    before = torch.get_rng_state()
    objective = made(**FIRST)
    drawn = torch.get_rng_state()
    other = objective.teacher_stage().state_dict()
    assert torch.equal(torch.get_rng_state(), drawn)
    assert not torch.equal(before, drawn)
    assert all(torch.equal(one[name], weight) for name, weight in other.items())
    third = made(**FIRST, mapping_seed=1).teacher_stage().state_dict()
    assert not torch.equal(third["local.key.weight"], one["local.key.weight"])


@pytest.mark.parametrize("shared", [True, False])
def test_what_has_learned_stays_and_the_student_begins_there(shared):
    objective = made(**FIRST, shared=shared, shared_attention=shared)
    (student, of_student), (teacher, of_teacher) = pixels(CNN), pixels(TRANSFORMER)
    with pytest.raises(FacedistillError, match="has no mapping of the teacher yet"):
        objective(student, teacher, None)
    stage = objective.teacher_stage().double()
    for weight in stage.parameters():
        torch.nn.init.normal_(weight)
    objective.take_stage(stage)
    for own, learned in zip(objective.of_teacher, stage.mapping, strict=True):
        assert not any(weight.requires_grad for weight in own.parameters())
        for name, weight in learned.state_dict().items():
            assert torch.equal(own.state_dict()[name], weight)
    assert torch.equal(objective.student_centres.centres, stage.centres.centres)
    assert torch.equal(objective.student_attention.split.weight, stage.attention.split.weight)
    before = copy.deepcopy(objective.state_dict())
    loss, _ = objective(student, teacher, None)
    assert loss.item() == pytest.approx(
        sum(loss_by_hand(objective, of_student, of_teacher, "images"))
    )
    loss.backward()
    trained = {name for name, weight in objective.named_parameters() if weight.grad is not None}
    assert {name for name in trained if "teacher" in name} == set()
    own = {"student_local", "student_centres", "student_attention"}
    assert {name.split(".")[0] for name in trained} == ({"student_local"} if shared else own)
    assert all(torch.equal(before[k], v) for k, v in objective.state_dict().items())


def test_a_stage_teaches_what_is_mapped_to_tell_what_the_embedding_tells():
    """Tokens that say little of the embedding by their cosines come to say it."""
    stage = made(**FIRST, width=16, places=True).teacher_stage()
    generator = torch.Generator().manual_seed(0)
    shown = torch.randn(256, 8, generator=generator)
    mixing = torch.randn(8, 4, 5, generator=generator)
    noise = 3 * torch.randn(256, 4, 5, generator=generator)
    noise[..., :3] = 0
    teacher = Outputs(embedding=shown, tokens=torch.einsum("bi,inc->bnc", shown, mixing) + noise)
    before = relation_error(teacher.tokens.flatten(1), shown)
    optimizer = torch.optim.AdamW(stage.parameters(), lr=0.01)
    for _ in range(60):
        loss, parts = stage(teacher, None)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert parts["embedding"] < 0.5  # an answer that knows nothing is off by 1
    assert parts["relations"] < 0.5 * before


def test_a_stage_is_kept_in_a_file_of_its_teacher_and_options(tmp_path):
    path = tmp_path / "mapping.safetensors"
    stage = made(**FIRST).teacher_stage()
    save_stage(stage, path, ORIGIN, {"loss": 0.5})
    other = made(**FIRST).teacher_stage()
    for weight in other.parameters():
        torch.nn.init.zeros_(weight)
    assert load_stage(other, path, ORIGIN.teacher, "teacher") == {"loss": 0.5}
    for name, weight in stage.state_dict().items():
        assert torch.equal(other.state_dict()[name], weight)
    with pytest.raises(FacedistillError, match=r"mapping of teacher the teacher, whose .* of swin"):
        load_stage(other, path, "u" * 32, "swin")
    wider = made(**FIRST, width=8).teacher_stage()
    with pytest.raises(FacedistillError, match="with width: 4, and the recipe has 8: set it as"):
        load_stage(wider, path, ORIGIN.teacher, "teacher")
    content = bytearray(path.read_bytes())
    content[-5] ^= 1
    path.write_bytes(content)
    with pytest.raises(FacedistillError, match="is damaged: its weights or header"):
        load_stage(other, path, ORIGIN.teacher, "teacher")


def test_the_key_is_of_all_that_decides():
    def key(origin=ORIGIN, **options):
        return made(**{**FIRST, **options}).teacher_stage().key(origin)

    assert key() == key()
    others = [
        key(width=8),
        key(mapping_epochs=2.0),
        key(mapping_seed=1),
        key(mapping_relations=0.5),
        key(StageOrigin("u" * 32, "the teacher", "f" * 32, "network", "same")),
        key(StageOrigin("t" * 32, "the teacher", "f" * 32, "bank", "same")),
    ]
    assert len({key(), *others}) == 7


def test_lengths_out_of_range_are_refused():
    with pytest.raises(ValueError, match="a stage of 0 epochs"):
        made(**FIRST, mapping_epochs=0.0).teacher_stage()
