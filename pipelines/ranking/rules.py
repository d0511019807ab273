"""Who may be compared with whom: the rules by which a data set's users evaluate, as data."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

import numpy as np

from ..embeddings import Embeddings
from ..errors import BadInput
from ..seeding import numpy_generator

AUTO = "auto"  # the data set's usual rules
USUAL = ("mAP", "mINP", "rank1", "rank5", "rank10")


@dataclass(frozen=True)
class Skip:
    """Which gallery items are left out for a query: those that all of this is true of.

    same:    labels in which both agree: pid, camid, name, or a column of the embeddings.
    other:   labels in which they differ. One that is not known (-1) neither agrees nor differs.
    cameras: the query's camera and the gallery item's; None: any.
    """

    same: tuple[str, ...] = ()
    other: tuple[str, ...] = ()
    cameras: tuple[int, int] | None = None


@dataclass(frozen=True, kw_only=True)
class Rules:
    """How queries and gallery are compared, and what is counted.

    title:   for tables.   source: where the rules are published.
    skips:   a gallery item is left out for a query where one of these holds.
    cameras: of the gallery: items of others are no part of it; empty: all are.
    shots:   images of each group that a gallery is drawn of; 0: the whole gallery.
    group:   the labels that make a group: an identity, or an identity in a camera.
    half:    only half of the queries' identities take part in a draw; gallery items of the other
             half are left out, those of identities that no query has stay.
    draws:   how many galleries are drawn, each with its own result; figures are their means.
    cmc:     what CMC counts: images; identities (the first image of each counts, the others do
             not); drawn (for each query `draws` lists of one image of each identity).
    figures: the usual ones, in the order of a table.
    """

    name: str
    title: str
    source: str
    skips: tuple[Skip, ...] = ()
    cameras: tuple[int, ...] = ()
    shots: int = 0
    group: tuple[str, ...] = ("pid",)
    half: bool = False
    draws: int = 1
    cmc: Literal["images", "identities", "drawn"] = "images"
    figures: tuple[str, ...] = USUAL

    @property
    def skips_itself(self) -> bool:
        """Whether a query may stand in the gallery: it does not find itself there."""
        return Skip(("name",)) in self.skips

    @property
    def selects(self) -> bool:
        """Whether something else than the whole gallery is searched."""
        return bool(self.shots or self.cameras or self.half)

    @property
    def open_set(self) -> bool:
        """Whether queries of identities that the gallery does not hold count too."""
        return "BAKS" in self.figures

    def whole(self) -> "Rules":
        """Return the rules for a gallery that is drawn already."""
        draws = self.draws if self.cmc == "drawn" else 1
        return replace(self, shots=0, cameras=(), half=False, draws=draws)

    def labels(self) -> set[str]:
        """Return the labels that items must have, beside identities, cameras and names."""
        named = {label for skip in self.skips for label in (*skip.same, *skip.other)}
        return (named | set(self.group)) - {"pid", "camid", "name"}


MARKET1501 = Rules(
    name="market1501",
    title="the query's person in its own camera is skipped",
    source="Zheng et al., ICCV 2015",
    skips=(Skip(("pid", "camid")),),
)
RETRIEVAL = Rules(
    name="retrieval",
    title="every image is a query; it does not find itself",
    source="Oh Song et al., CVPR 2016; MAP@R: Musgrave et al., ECCV 2020",
    skips=(Skip(("name",)),),
    figures=("recall@1", "recall@10", "recall@100", "recall@1000", "MAP@R"),
)
SINGLE_SHOT = Rules(
    name="single-shot",
    title="a gallery of one image a person, drawn 10 times",
    source="Gray, Brennan and Tao, PETS 2007 (VIPeR), where there is but one",
    skips=(Skip(("pid", "camid")),),
    shots=1,
    draws=10,
    figures=("rank1", "rank5", "rank10", "rank20", "mAP"),
)
CLOTHES = Rules(
    name="cloth-changing",
    title="the query's person in its own camera or in the same clothes is skipped",
    source="Qian et al., ACCV 2020; as in the code of Gu et al., CVPR 2022",
    skips=(Skip(("pid", "camid")), Skip(("pid", "clothes"))),
)
SYSU = Rules(
    name="sysu-mm01",
    title="all cameras, one image a person and camera, 10 draws; CMC of persons",
    source="Wu et al., ICCV 2017 (cameras 2 and 3 stand in one place); as in the code of Ye et al.",
    skips=(Skip(cameras=(3, 2)),),
    cameras=(1, 2, 4, 5),
    shots=1,
    group=("pid", "camid"),
    draws=10,
    cmc="identities",
    figures=("rank1", "rank10", "rank20", "mAP", "mINP"),
)
WILDLIFE = Rules(
    name="wildlife",
    title="nothing is skipped but the query itself; accuracy of the nearest",
    source="Čermák et al., WACV 2024 (WildlifeDatasets)",
    skips=(Skip(("name",)),),
    figures=("accuracy", "balanced accuracy", "mAP", "rank5"),
)
RULES: dict[str, Rules] = {
    rules.name: rules
    for rules in (
        MARKET1501,
        replace(
            MARKET1501,
            name="everything",
            title="nothing is skipped",
            source="no publication: for sets without cameras whose queries are no gallery items",
            skips=(),
        ),
        replace(
            MARKET1501,
            name="cuhk03-single-shot",
            title="as market1501; CMC of one image a person, drawn 10 times for each query",
            source="Li et al., CVPR 2014; drawn as in torchreid's eval_cuhk03",
            draws=10,
            cmc="drawn",
        ),
        RETRIEVAL,
        replace(
            RETRIEVAL,
            name="cub200",
            figures=("recall@1", "recall@2", "recall@4", "recall@8", "MAP@R"),
        ),
        replace(
            RETRIEVAL,
            name="inshop",
            title="clothes of a shop; nothing but the query itself is skipped",
            source="Liu et al., CVPR 2016 (DeepFashion)",
            figures=("recall@1", "recall@10", "recall@20", "recall@30", "MAP@R"),
        ),
        Rules(
            name="vehicleid",
            title="a gallery of one image a vehicle, drawn 10 times; all others are queries",
            source="Liu et al., CVPR 2016 (Deep Relative Distance Learning)",
            skips=(Skip(("name",)),),
            shots=1,
            draws=10,
            figures=("mAP", "rank1", "rank5"),
        ),
        SINGLE_SHOT,
        replace(
            SINGLE_SHOT,
            name="halves",
            title="half of the persons and a gallery of one image each, drawn 10 times",
            source="Gray, Brennan and Tao, PETS 2007 (VIPeR): ten random halves",
            half=True,
        ),
        CLOTHES,
        replace(
            CLOTHES,
            name="same-clothes",
            title="the query's person in its own camera or in other clothes is skipped",
            source="as in the code of Gu et al., CVPR 2022",
            skips=(Skip(("pid", "camid")), Skip(("pid",), ("clothes",))),
        ),
        replace(
            SINGLE_SHOT,
            name="prcc",
            source="Yang, Wu and Zheng, TPAMI 2021; the code of Gu et al. takes the whole gallery",
            figures=("rank1", "rank10", "rank20", "mAP"),
        ),
        SYSU,
        replace(
            SYSU,
            name="sysu-mm01-multi",
            title="all cameras, ten images a person and camera, 10 draws; CMC of persons",
            shots=10,
        ),
        replace(
            SYSU,
            name="sysu-mm01-indoor",
            title="indoor cameras, one image a person and camera, 10 draws; CMC of persons",
            cameras=(1, 2),
        ),
        replace(
            SYSU,
            name="sysu-mm01-indoor-multi",
            title="indoor cameras, ten images a person and camera, 10 draws; CMC of persons",
            cameras=(1, 2),
            shots=10,
        ),
        WILDLIFE,
        replace(
            WILDLIFE,
            name="wildlife-open",
            title="as wildlife; animals that the gallery does not hold are to be named new",
            source="AnimalCLEF 2025 (Adam et al., CLEF 2025): BAKS, BAUS, their geometric mean",
            figures=("BAKS", "BAUS", "BAKS-BAUS", "accuracy", "balanced accuracy"),
        ),
    )
}


class Selection(NamedTuple):
    """Rows of a query and a gallery set that are compared with each other."""

    query: np.ndarray
    gallery: np.ndarray


def rules_named(rules: "str | Rules") -> Rules:
    """Return rules by name; BadInput, with the list, where there are none of that name."""
    if isinstance(rules, Rules):
        return rules
    if rules not in RULES:
        raise BadInput(f"--rules {rules}: unknown; known are {AUTO}, {', '.join(RULES)}")
    return RULES[rules]


def require_labels(rules: Rules, query: Embeddings, *, gallery: Embeddings) -> None:
    """Raise BadInput where rules ask for labels that the items do not have."""
    for what, items in (("queries", query), ("gallery", gallery)):
        for label in sorted(rules.labels()):
            if label not in items.columns:
                found = ", ".join(items.columns) or "none"
                raise BadInput(
                    f"rules {rules.name} go by {label}, which the {what} have no column of "
                    f"(columns: {found}); add it, or take other rules: --rules"
                )
        cameras = bool(rules.cameras) or any(skip.cameras for skip in rules.skips)
        if (cameras or "camid" in rules.group) and not items.has_cameras:
            raise BadInput(
                f"rules {rules.name} go by cameras, and the {what} have none; import them with "
                "their cameras, or take other rules: --rules"
            )


def selections(
    rules: Rules, query: Embeddings, *, gallery: Embeddings, seed: int = 0
) -> list[Selection]:
    """Return the rows of each gallery that the rules draw, and of the queries that it is asked.

    Junk is never drawn. A query that stands in a drawn gallery is no query of it.
    """
    queries = np.arange(len(query))
    if not rules.selects:
        return [Selection(queries, np.arange(len(gallery)))]
    rows = np.flatnonzero(gallery.pids >= 0)
    if rules.cameras:
        rows = rows[np.isin(gallery.camids[rows], rules.cameras)]
        if not len(rows):
            listed = ", ".join(map(str, rules.cameras))
            raise BadInput(f"rules {rules.name}: the gallery has no item of the cameras {listed}")
    return list(_drawn(rules, query, gallery=gallery, rows=rows, seed=seed))


def _drawn(
    rules: Rules, query: Embeddings, *, gallery: Embeddings, rows: np.ndarray, seed: int
) -> Iterator[Selection]:
    labels = {"pid": gallery.pids, "camid": gallery.camids, **gallery.columns}
    keys = np.stack([labels[label][rows] for label in rules.group], axis=1)
    groups = np.unique(keys, axis=0, return_inverse=True)[1].reshape(-1)
    for draw in range(rules.draws):
        asking, places = np.arange(len(query)), np.arange(len(rows))
        if rules.half:
            out = _half(query.pids, random=numpy_generator(seed, "half of the identities", draw))
            asking = asking[~np.isin(query.pids, out)]
            places = places[~np.isin(gallery.pids[rows], out)]
        if rules.shots:
            random = numpy_generator(seed, "drawn gallery", draw)
            places = places[_first_of_each(groups[places], rules.shots, random=random)]
        chosen = np.sort(rows[places])
        if rules.skips_itself:
            there = {gallery.names[row] for row in chosen.tolist()}
            asking = asking[np.array([name not in there for name in query.names], bool)]
        yield Selection(asking, chosen)


def _half(pids: np.ndarray, *, random: np.random.Generator) -> np.ndarray:
    """Return the half of the identities that is left out: the smaller one."""
    people = np.unique(pids[pids >= 0])
    return random.permutation(people)[: len(people) // 2]


def _first_of_each(groups: np.ndarray, count: int, *, random: np.random.Generator) -> np.ndarray:
    """Return `count` members of each group [N], or all of a smaller one, drawn without order."""
    shuffled = random.permutation(len(groups))
    order = shuffled[np.argsort(groups[shuffled], kind="stable")]
    starts = np.flatnonzero(np.diff(groups[order], prepend=-1))
    place = np.arange(len(order)) - np.repeat(starts, np.diff(starts, append=len(order)))
    return order[place < count]
