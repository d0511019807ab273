"""nformer train-backbone, nformer extract, nformer train-nformer, nformer train"""

from pathlib import Path
from typing import Annotated, Any

import typer

from pipelines.config import BackboneConfig, ExtractConfig, NFormerConfig

from .. import options
from ..console import TerminalProgress
from ..following import after_embeddings, after_nformer, command_line, with_recipe

BACKBONE, EXTRACT, NFORMER = BackboneConfig(), ExtractConfig(), NFormerConfig()


@options.reading
def train_backbone(
    ctx: typer.Context,
    datasets: options.Datasets,
    root: options.Roots = options.DEFAULT_ROOTS,
    run: options.Run = options.DEFAULT_RUN,
    recipe: options.Recipe = None,
    arch: options.TrainedArch = BACKBONE.arch,
    weights: options.InitialWeights = BACKBONE.weights,
    epochs: Annotated[int, typer.Option(help="Passes over the images.")] = BACKBONE.epochs,
    batch: Annotated[int, typer.Option(help="Images a step.")] = BACKBONE.batch,
    lr: Annotated[float, typer.Option(help="Learning rate.")] = BACKBONE.lr,
    height: options.Height = BACKBONE.height,
    width: options.Width = BACKBONE.width,
    eval_every: Annotated[
        int, typer.Option(help="Epochs between test evaluations; 0: never.")
    ] = BACKBONE.eval_every,
    workers: options.Workers = BACKBONE.workers,
    compile: Annotated[bool, typer.Option("--compile", help="Use torch.compile.")] = False,
    on_bad_image: options.OnBadImage = BACKBONE.on_bad_image,
    settings: options.Settings = None,
    device: options.Device = "auto",
    seed: options.Seed = BACKBONE.seed,
    overwrite: options.Overwrite = False,
    log: options.Log = "",
    **reader: Any,
) -> None:
    """Train the backbone on one data set or several.

    Several data sets are one: no two share an identity or a camera. Give --root once for all, or
    once for each in their order.

    Reads: the data sets' folders (their training images).

    Writes: backbone.pt and lines of train.jsonl in the run's folder. An interrupted training goes
    on from its last epoch.

    Example: nformer train-backbone market1501 --root ~/data --run runs/market
    """
    from pipelines import Run
    from pipelines.stages.early import dataset_to_train_on, wants_tensorboard

    wants_tensorboard(log)
    config, progress = options.config_of(ctx, "backbone"), TerminalProgress()
    opened = Run(run)
    data = dataset_to_train_on(
        datasets,
        roots=root,
        config=config,
        options=options.reader_options(ctx),
        progress=progress,
    )
    from pipelines import train_backbone

    path = train_backbone(
        opened,
        data,
        root=data.root,
        config=config,
        device=device,
        overwrite=overwrite,
        progress=progress,
        log=log,
    )
    policy = config.on_bad_image
    again = () if policy == EXTRACT.on_bad_image else ("--on-bad-image", policy)
    following = command_line("extract", *with_recipe(ctx, "extract"), *again, run=run)
    progress.message(f"{path}; next: {following}")


@options.reading
def train(
    ctx: typer.Context,
    datasets: options.Datasets,
    root: options.Roots = options.DEFAULT_ROOTS,
    run: options.Run = options.DEFAULT_RUN,
    recipe: options.Recipe = "paper",
    arch: options.TrainedArch = BACKBONE.arch,
    weights: options.InitialWeights = BACKBONE.weights,
    epochs: Annotated[int, typer.Option(help="Epochs of each, in turn.")] = BACKBONE.epochs,
    height: options.Height = BACKBONE.height,
    width: options.Width = BACKBONE.width,
    workers: options.Workers = BACKBONE.workers,
    on_bad_image: options.OnBadImage = BACKBONE.on_bad_image,
    settings: options.Settings = None,
    device: options.Device = "auto",
    seed: options.Seed = BACKBONE.seed,
    overwrite: options.Overwrite = False,
    log: options.Log = "",
    **reader: Any,
) -> None:
    """Train backbone and NFormer in turn, as the paper does.

    An epoch of the backbone, then one of NFormer on what the frozen backbone makes of the training
    images, and so on. --set backbone.KEY= and --set nformer.KEY= change the settings of one; --set
    KEY= those of both that have it.

    Reads: the data set's folder.

    Writes: backbone.pt, embeddings.h5, nformer.pt and lines of train.jsonl in the run's folder. An
    interrupted training goes on from its last epoch.

    Example: nformer train market1501 --root ~/data --run runs/paper
    """
    from pipelines import Run
    from pipelines.stages.early import dataset_to_train_on, in_turn, wants_tensorboard

    wants_tensorboard(log)
    backbone = options.config_of(ctx, "backbone", beside="nformer")
    nformer = options.config_of(ctx, "nformer", beside="backbone")
    opened, progress = Run(run), TerminalProgress()
    data = dataset_to_train_on(
        datasets,
        roots=root,
        config=backbone,
        options=options.reader_options(ctx),
        progress=progress,
    )
    in_turn(nformer, backbone, images=len(data.split("train")))
    from pipelines.stages.train import train

    path = train(
        opened,
        data,
        root=data.root,
        backbone=backbone,
        nformer=nformer,
        device=device,
        overwrite=overwrite,
        progress=progress,
        log=log,
    )
    protocol = ("--protocol", "paper")
    progress.message(f"{path}; next: {command_line('evaluate', *protocol, run=run)}")


@options.reading
def extract(
    ctx: typer.Context,
    run: options.Run = options.DEFAULT_RUN,
    dataset: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Another data set than the backbone was trained on."),
    ] = None,
    root: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Where the images lie now, if they were moved."),
    ] = None,
    arch: options.Arch = None,
    weights: options.Weights = None,
    onnx: options.Onnx = None,
    recipe: options.Recipe = None,
    batch: Annotated[int, typer.Option(help="Images a step.")] = EXTRACT.batch,
    flip: Annotated[
        bool, typer.Option("--flip", help="Average each image with its mirror.")
    ] = EXTRACT.flip,
    workers: options.Workers = EXTRACT.workers,
    on_bad_image: options.OnBadImage = EXTRACT.on_bad_image,
    settings: options.Settings = None,
    device: options.Device = "auto",
    seed: options.Seed = 0,
    overwrite: options.Overwrite = False,
    **reader: Any,
) -> None:
    """Embed every image with the trained or another network.

    Reads: backbone.pt, and the images of the data set it was trained on; with --arch and --weights,
    or --onnx, a network that was not trained here, and the images of --dataset at --root.

    Writes: embeddings.h5 (train, query and gallery; 256 numbers an image, or as many as the other
    network gives). Nothing is drawn at random, so --seed changes nothing. An interrupted extraction
    goes on where it stopped.

    Example: nformer extract --run runs/market --flip
    """
    from pipelines import Run
    from pipelines.stages.early import dataset_to_embed, network_given

    config, progress = options.config_of(ctx, "extract"), TerminalProgress()
    opened = Run(run)
    data = dataset_to_embed(
        opened,
        network_given(arch=arch, weights=weights, onnx=onnx),
        dataset=dataset,
        root=root,
        config=config,
        options=options.reader_options(ctx),
        progress=progress,
    )
    from pipelines import extract

    path = extract(
        opened,
        dataset=data,
        config=config,
        device=device,
        overwrite=overwrite,
        progress=progress,
        arch=arch,
        weights=weights,
        onnx=onnx,
    )
    progress.message(f"{path}; next: {after_embeddings(ctx, opened)}")


def number_or_auto(value: str | int) -> int:
    """Return a number of 1 or more, or 0 for "auto"."""
    text = str(value).strip().lower()
    if text == "auto" or value == NFORMER.neighbours == 0:
        return 0
    if not text.isdecimal() or int(text) < 1:
        raise typer.BadParameter(f"{value!r} is neither a number of 1 or more nor auto")
    return int(text)


def train_nformer(
    ctx: typer.Context,
    run: options.Run = options.DEFAULT_RUN,
    recipe: options.Recipe = None,
    batch: Annotated[int, typer.Option(help="Embeddings a step.")] = NFORMER.batch,
    closed_form: Annotated[
        bool,
        typer.Option(
            "--closed-form/--no-closed-form",
            "--prior/--no-prior",
            help="Start from a closed form (centring, whitening, sums over neighbours) chosen on "
            "held-out identities, or train NFormer alone.",
        ),
    ] = NFORMER.closed_form,
    camera_aware: Annotated[
        str,
        typer.Option(
            metavar="auto|on|off",
            help="Whether the closed form may, must or must not use camera ids.",
        ),
    ] = NFORMER.camera_aware,
    neighbours: Annotated[
        int,
        typer.Option(
            parser=number_or_auto,
            metavar="K|auto",
            show_default="auto",
            help="Nearest neighbours k that an embedding reads; auto: chosen by cross-validation "
            "(without a closed form: 20).",
        ),
    ] = NFORMER.neighbours,
    landmarks: Annotated[int, typer.Option(help="Landmark agents l.")] = NFORMER.landmarks,
    layers: Annotated[int, typer.Option(help="Transformer blocks.")] = NFORMER.layers,
    heads: Annotated[int, typer.Option(help="Attention heads.")] = NFORMER.heads,
    graph: Annotated[
        str,
        typer.Option(metavar="cosine|affinity", help="What neighbours are found by (Eq. 6)."),
    ] = NFORMER.graph,
    mask: Annotated[
        str,
        typer.Option(metavar="reciprocal|topk|none", help="Which edges attention keeps (Eq. 7)."),
    ] = NFORMER.mask,
    affinity: Annotated[
        str,
        typer.Option(
            metavar="landmarks|exact", help="Affinities by landmark agents, or from all pairs."
        ),
    ] = NFORMER.affinity,
    sampler: Annotated[
        str,
        typer.Option(
            metavar="identity|neighbourhood",
            help="What a batch holds: images of drawn identities, or neighbourhoods.",
        ),
    ] = NFORMER.sampler,
    steps: Annotated[
        int,
        typer.Option(
            parser=number_or_auto,
            metavar="N|auto",
            show_default="auto",
            help="Training steps; auto: as many as take about a minute, at most 400 (without a "
            "closed form: 400).",
        ),
    ] = NFORMER.steps,
    lr: Annotated[float, typer.Option(help="Learning rate.")] = NFORMER.lr,
    held_out: Annotated[
        float, typer.Option(help="Share of identities kept for validation.")
    ] = NFORMER.held_out,
    settings: options.Settings = None,
    device: options.Device = "auto",
    seed: options.Seed = NFORMER.seed,
    overwrite: options.Overwrite = False,
    log: options.Log = "",
) -> None:
    """Train NFormer on the cached embeddings.

    It starts from a closed form (centring, whitening, sums over neighbours) chosen by
    cross-validation over the training identities. What NFormer learns beyond it is kept if it
    raises the mAP of held-out identities. Recipes paper and released train NFormer alone.

    Reads: embeddings.h5 (its train split).

    Writes: nformer.pt, and lines of train.jsonl. An interrupted training goes on.

    Example: nformer train-nformer --run runs/market --neighbours 20
    """
    from pipelines import Run

    config, progress, opened = options.config_of(ctx, "nformer"), TerminalProgress(), Run(run)
    opened.require_manifest("embeddings.h5")
    from pipelines.stages.early import wants_tensorboard

    wants_tensorboard(log)
    from pipelines import train_nformer

    path = train_nformer(
        opened, config=config, device=device, overwrite=overwrite, progress=progress, log=log
    )
    progress.message(f"{path}; next: {after_nformer(ctx, opened)}")
