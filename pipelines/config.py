"""Every setting of every stage, each default once."""

import dataclasses
from dataclasses import dataclass
from typing import Any, Literal

from .errors import BadInput


@dataclass(frozen=True, kw_only=True)
class BackboneConfig:
    """`nformer train-backbone` (paper, section 4.2)."""

    arch: str = "resnet50"  # any torchvision classification network that ends in pooled features
    weights: str = "imagenet"  # "imagenet", "none", or a path to a state dict
    last_stage: Literal["dilated", "stride1", "stride2"] = "dilated"  # ResNets only; paper: dilated
    dim: int = 256
    height: int = 256
    width: int = 128
    epochs: int = 160
    batch: int = 128  # images a step: P identities × `instances`
    instances: int = 4  # K images of each identity
    optimizer: Literal["sgd", "adam"] = "sgd"
    lr: float = 3e-4
    momentum: float = 0.9
    weight_decay: float = 5e-4
    schedule: Literal["multistep", "cosine", "constant"] = "multistep"
    milestones: tuple[int, ...] = (40, 70)
    gamma: float = 0.1
    warmup_epochs: int = 10
    warmup_factor: float = 0.01
    label_smoothing: float = 0.1
    triplet_margin: float = 0.3
    triplet_weight: float = 1.0
    triplet_over: Literal["all", "process"] = "all"  # under torchrun: whose images it compares
    center_weight: float = 5e-4
    center_lr: float = 0.5
    clip: float = 0.0  # largest gradient norm; 0: no clipping
    flip: float = 0.5  # probability of a mirrored image
    pad: int = 0  # pixels of border before a random crop
    erase: float = 0.0  # probability of random erasing
    eval_every: int = 0  # epochs between evaluations on the test split; 0: never
    amp: Literal["auto", "off", "bf16", "fp16"] = "auto"
    compile: bool = False
    workers: int = -1  # decoding threads; -1: one a core, at most 16
    on_bad_image: Literal["fail", "skip"] = "fail"
    seed: int = 0


@dataclass(frozen=True, kw_only=True)
class ExtractConfig:
    """`nformer extract`."""

    batch: int = 64
    flip: bool = False  # average the embeddings of the image and of its mirror
    # Of networks that were not trained here; "own", 0 and () are the network's own.
    preset: str = "own"  # take all of these from a published network
    height: int = 0
    width: int = 0
    resize: Literal["own", "bilinear", "bicubic", "lanczos", "nearest"] = "own"
    fit: Literal["own", "stretch", "crop", "pad"] = "own"
    crop: float = 0.0  # the input as a share of the resized image, whose centre is cut out
    channels: Literal["own", "rgb", "bgr"] = "own"
    scale: int = 0  # the value of white, 1 or 255
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    feature: str = "own"  # which of the network's features: before or after the neck, …
    l2: bool = False  # scale every embedding to length 1
    amp: Literal["auto", "off", "bf16", "fp16"] = "auto"
    workers: int = -1
    on_bad_image: Literal["fail", "skip"] = "fail"


@dataclass(frozen=True, kw_only=True)
class PackConfig:
    """`nformer pack`."""

    height: int = BackboneConfig.height
    width: int = BackboneConfig.width
    workers: int = -1
    on_bad_image: Literal["fail", "skip"] = "fail"


@dataclass(frozen=True, kw_only=True)
class NFormerConfig:
    """`nformer train-nformer` (paper, sections 3.2 to 3.4)."""

    closed_form: bool = True  # start from a closed form chosen on held-out identities
    camera_aware: Literal["auto", "on", "off"] = (
        "auto"  # whether the closed form may use camera ids
    )
    layers: int = 4
    heads: int = 2
    neighbours: int = (
        0  # k of the reciprocal neighbour softmax; 0: chosen, 20 without a closed form
    )
    landmarks: int = 5  # l of the landmark agent attention
    landmark_choice: Literal["random", "kmeans", "farthest"] = "random"
    graph: Literal["cosine", "affinity"] = "cosine"
    mask: Literal["reciprocal", "topk", "none"] = "reciprocal"
    affinity: Literal["landmarks", "exact"] = "landmarks"
    dropout: float = 0.1
    batch: int = 2048  # embeddings a step
    sampler: Literal["neighbourhood", "identity"] = "identity"
    instances: int = 16  # K embeddings of each identity in an identity batch
    steps: int = 0  # 0: 400; on a closed form as many as take about a minute, at most 400
    optimizer: Literal["sgd", "adam"] = "adam"
    lr: float = 3.5e-4
    momentum: float = 0.9
    weight_decay: float = 5e-4
    schedule: Literal["multistep", "cosine", "constant"] = "cosine"
    milestones: tuple[int, ...] = ()
    gamma: float = 0.1
    warmup_steps: int = 20
    warmup_factor: float = 0.01
    label_smoothing: float = 0.1
    triplet_margin: float = 0.3
    triplet_weight: float = 1.0
    center_weight: float = 5e-4
    center_lr: float = 0.5
    clip: float = 0.0
    held_out: float = 0.15  # share of the training identities kept for validation
    eval_every: int = 25  # steps between held-out checks
    amp: Literal["auto", "off", "bf16"] = "auto"  # how linear layers multiply in training
    seed: int = 0

    def settled(self) -> "NFormerConfig":
        """Return the config with what was left open decided as for a plain NFormer."""
        return dataclasses.replace(self, neighbours=self.neighbours or 20, steps=self.steps or 400)


@dataclass(frozen=True, kw_only=True)
class EvaluateConfig:
    """`nformer evaluate`."""

    protocol: Literal["isolated", "joint", "paper"] = "isolated"
    rules: str = "auto"  # whom a query is compared with, by name; "auto": the data set's usual
    rerank: tuple[str, ...] = ()  # "kr", …
    refine: tuple[str, ...] = ("nformer",)  # "auto": what held-out training identities recommend
    camera_aware: Literal["auto", "on", "off"] = "auto"  # whether NFormer may use camera ids here
    neighbours: int = 0  # 0: as the model was trained
    assume: Literal["auto", "same", "foreign"] = "auto"  # whether the gallery is like training
    landmarks: Literal["random", "kmeans", "farthest"] = "random"
    landmark_draws: int = 1
    average_draws: bool = False
    k1: int = 20
    k2: int = 6
    weight: float = 0.3
    max_rank: int = 50
    top: int = 100  # list length kept in ranking.h5
    every: bool = False  # every refiner and re-ranking there is (--all)
    search: Literal[  # how neighbours are found
        "auto", "exact", "numpy", "torch", "faiss", "ivf", "hnsw", "ivfpq", "cagra"
    ] = "auto"
    open_set: bool = False  # true positive rates at false positive rates of 0.1 % and 1 %
    single_shot: int = 0  # draws of a gallery with one image an identity (CUHK03); 0: none
    seed: int = 0


@dataclass(frozen=True, kw_only=True)
class ClusterConfig:
    """`nformer cluster`."""

    method: Literal["agglomerative", "components", "hdbscan", "leiden", "infomap"] = "agglomerative"
    neighbours: int = 32  # of each row in the graph
    embeddings: Literal["auto", "plain", "refined"] = "auto"  # auto: by held-out identities
    search: Literal[  # how neighbours are found
        "auto", "exact", "numpy", "torch", "faiss", "ivf", "hnsw", "ivfpq", "cagra"
    ] = "auto"
    seed: int = 0


def require_papers_model(protocol: str, *, kind: str) -> None:
    """Raise BadInput where the paper's protocol is asked of a model that is no plain NFormer.

    kind: what the model is, as its manifest has it.
    """
    if protocol == "paper" and "closed form" in kind:
        raise BadInput(
            f"protocol paper is that of the paper's NFormer; this model is of another kind "
            f"({kind}). Train one with train-nformer --recipe paper or --no-closed-form, or take "
            "the protocol isolated or joint"
        )


SECTIONS: dict[str, type] = {
    "backbone": BackboneConfig,
    "extract": ExtractConfig,
    "pack": PackConfig,
    "nformer": NFormerConfig,
    "evaluate": EvaluateConfig,
    "cluster": ClusterConfig,
}


OF_COMMANDS = {"train-backbone": "backbone", "train-nformer": "nformer"}  # of another name


def section_of(stage: str) -> str:
    """Return the section of a stage's settings, from its own name or the command's.

    Raises:
        BadInput: no stage has such settings.
    """
    section = OF_COMMANDS.get(stage, stage)
    if section not in SECTIONS:
        raise BadInput(f"{stage} is no stage with settings; known are {', '.join(SECTIONS)}")
    return section


def as_table(config: Any) -> dict[str, Any]:
    """Return a config as a JSON-able table, as manifests record it."""
    table = dataclasses.asdict(config)
    return {key: list(value) if isinstance(value, tuple) else value for key, value in table.items()}
