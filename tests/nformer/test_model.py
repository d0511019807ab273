import pytest
import torch
from helpers.dense import CHOICES, dense_nformer, rows_of, sharp
from torch.nn import functional

from pipelines.errors import BadInput
from pipelines.nformer.model import NFormer
from pipelines.nformer.released import nformer_from_released


def released(golden):
    state = {name[3:]: value for name, value in golden.items() if name.startswith("sd/")}
    return nformer_from_released(state)


def test_the_released_codes_evaluation(golden):
    model = released(golden)
    with torch.no_grad():
        _, features = model(golden["x"], landmarks=golden["landmarks"])
        embeddings = model.embed(features)
    assert (embeddings - golden["eval_out"]).abs().max() < 1e-4


def test_the_released_codes_neighbours_give_the_same(golden):
    model = released(golden)
    with torch.no_grad():
        _, features = model(
            golden["x"], landmarks=golden["landmarks"], neighbours=golden["topk_idx"]
        )
    assert (model.embed(features) - golden["eval_out"]).abs().max() < 1e-4


def test_the_released_codes_training_step(golden):
    model = released(golden).train()
    for block in model.blocks:
        block.dropout.p = 0.0
    x = golden["x"].clone().requires_grad_()
    logits, features = model(x, landmarks=golden["landmarks"])
    assert (logits - golden["train_score"]).abs().max() < 1e-4
    assert (features - golden["train_feat"]).abs().max() < 1e-4
    loss = (logits * golden["loss_ws"]).mean() + (features * golden["loss_wf"]).mean()
    loss = loss + 0.5 * logits.square().mean() + features[..., 0].pow(3).mean()
    assert loss.item() == pytest.approx(float(golden["train_loss"]), abs=1e-6)
    loss.backward()
    assert (model.bottleneck.running_var - golden["bn_running_var_after_train"]).abs().max() < 1e-5
    assert (
        model.bottleneck.running_mean - golden["bn_running_mean_after_train"]
    ).abs().max() < 1e-5
    theirs = {name[5:]: value for name, value in golden.items() if name.startswith("grad/")}
    ours = released_names(model)
    assert set(ours) == set(theirs)
    for name, gradient in theirs.items():
        assert (ours[name] - gradient).norm() / gradient.norm() < 1e-4, name
    assert (x.grad - golden["grad_x"]).norm() / golden["grad_x"].norm() < 1e-4


def released_names(model):
    """Our gradients under the released code's names and shapes."""
    found = {
        "bottleneck.weight": model.bottleneck.weight.grad,
        "classifier.weight": model.classifier.weight.grad,
    }
    for number, block in enumerate(model.blocks):
        attention, start = block.attention, f"h.{number}."
        parts = (attention.query, attention.key, attention.value)
        found[start + "attn.c_attn.w"] = torch.cat([part.weight.grad.T for part in parts], dim=1)
        found[start + "attn.c_attn.b"] = torch.cat([part.bias.grad for part in parts])
        for name, part in (
            ("attn.c_proj", attention.output),
            ("mlp.c_fc", block.feed.widen),
            ("mlp.c_proj", block.feed.narrow),
        ):
            found[f"{start}{name}.w"], found[f"{start}{name}.b"] = (
                part.weight.grad.T,
                part.bias.grad,
            )
        for name, part in (("ln_1", block.attention_norm), ("ln_2", block.feed_norm)):
            found[f"{start}{name}.g"], found[f"{start}{name}.b"] = part.weight.grad, part.bias.grad
    return found


@pytest.mark.parametrize("graph,mask,affinity", CHOICES)
def test_every_choice_equals_the_dense_computation_and_its_gradients(graph, mask, affinity):
    model = sharp(
        NFormer(
            dim=10,
            classes=3,
            layers=2,
            neighbours=5,
            landmarks=3,
            dropout=0.0,
            graph=graph,
            mask=mask,
            affinity=affinity,
        )
    ).double()
    rows = rows_of(37, 10).double()
    landmarks = torch.tensor([[3, 1, 20], [36, 0, 7]])
    weights = torch.randn(37, 10, generator=torch.Generator().manual_seed(2)).double()

    def outcome(run):
        x = rows.clone().requires_grad_()
        features = run(x)
        gradients = torch.autograd.grad((features * weights).sum(), [x, *model.blocks.parameters()])
        return [features, *gradients]

    sparse = outcome(lambda x: model(x, landmarks=landmarks)[1])
    dense = outcome(lambda x: dense_nformer(model, x, landmarks))
    for ours, theirs in zip(sparse, dense, strict=True):
        assert torch.allclose(ours, theirs, atol=1e-9, rtol=1e-7)


@pytest.mark.parametrize("count", [1, 2, 3, 8])
def test_sets_smaller_than_k(count):
    model = sharp(NFormer(dim=6, classes=2, layers=2, neighbours=20, landmarks=1)).double().eval()
    rows = rows_of(count, 6).double()
    landmarks = torch.zeros(2, 1, dtype=torch.int64)
    _, features = model(rows, landmarks=landmarks)
    assert torch.allclose(features, dense_nformer(model, rows, landmarks), atol=1e-9)


def test_rows_that_nobody_lists_keep_their_own_edge():
    """Nine rows in a bundle and one opposite: with k = 3 nobody lists it, and it reads itself."""
    model = sharp(NFormer(dim=4, classes=2, layers=1, neighbours=3, landmarks=2)).double().eval()
    rows = torch.zeros(10, 4, dtype=torch.float64)
    rows[:9, 0], rows[:9, 1], rows[9, 0] = 1.0, torch.linspace(0, 0.1, 9), -1.0
    rows = functional.normalize(rows)
    landmarks = torch.tensor([[0, 5]])
    _, features = model(rows, landmarks=landmarks)
    assert features.isfinite().all()
    alone = model.blocks[0]
    value = alone.attention.value(rows[9:])
    assert torch.allclose(features[9:], alone(rows[9:], alone.attention.output(value)))


def test_duplicates_are_refined_alike():
    model = sharp(NFormer(dim=6, classes=2, neighbours=4)).eval()
    rows = rows_of(12, 6).repeat_interleave(3, dim=0)
    _, features = model(rows, landmarks=torch.zeros(4, 1, dtype=torch.int64))
    assert features.isfinite().all()


def test_heads_need_not_divide_the_width():
    model = NFormer(dim=7, classes=2, heads=2).eval()
    logits, features = model(rows_of(30, 7))
    assert features.shape == (30, 7) and logits.shape == (30, 2)


def test_a_batch_of_sets_equals_each_set_alone():
    for graph in ("cosine", "affinity"):
        model = sharp(NFormer(dim=6, classes=2, neighbours=4, graph=graph)).eval()
        first, second = rows_of(20, 6, seed=1), rows_of(20, 6, seed=2)
        landmarks = torch.arange(20).view(4, 5)
        _, both = model(torch.stack([first, second]), landmarks=landmarks)
        for rows, features in ((first, both[0]), (second, both[1])):
            assert torch.allclose(model(rows, landmarks=landmarks)[1], features, atol=1e-5)


@pytest.mark.parametrize(
    "change,text",
    [
        ({"dim": 0}, "dim must be at least 1"),
        ({"layers": 0}, "layers must be at least 1"),
        ({"dropout": 1.0}, "dropout must be in"),
        ({"mask": "all"}, "known are reciprocal, topk, none"),
        ({"graph": "knn"}, "known are cosine, affinity"),
    ],
)
def test_a_wrong_setting_is_refused(change, text):
    with pytest.raises(BadInput, match=text):
        NFormer(**{"dim": 8, "classes": 2, **change})


def test_a_released_checkpoint_with_a_prefix_and_a_backbone(golden):
    state = {name[3:]: value for name, value in golden.items() if name.startswith("sd/")}
    prefixed = {f"nformer.{name}": value for name, value in state.items()}
    prefixed["backbone.conv1.weight"] = torch.zeros(3)
    plain, other = nformer_from_released(state), nformer_from_released(prefixed)
    for name, value in plain.state_dict().items():
        assert torch.equal(value, other.state_dict()[name])


def test_a_released_checkpoint_that_lacks_tensors_names_them(golden):
    state = {name[3:]: value for name, value in golden.items() if name.startswith("sd/")}
    del state["h.2.mlp.c_fc.w"]
    with pytest.raises(BadInput, match=r"missing blocks\.2\.feed\.widen\.weight"):
        nformer_from_released(state)
    with pytest.raises(BadInput, match="no NFormer of the released code's"):
        nformer_from_released({"conv1.weight": torch.zeros(1)})
