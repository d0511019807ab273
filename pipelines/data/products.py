"""Products, birds, cars and clothes: every image of the test is a query, but for In-shop's."""

from pathlib import Path

from ..errors import BadInput, blaming
from ..probe import require_readable
from .entry import counts
from .layouts import Found, Layout, Splits, below, laid_out, lines_of, whole
from .samples import Sample


def _products(home: Path, _: str) -> Found:
    """Stanford Online Products (Oh Song et al., CVPR 2016): Ebay_train.txt, Ebay_test.txt."""
    splits: Splits = {}
    for split, name in (("train", "Ebay_train.txt"), ("gallery", "Ebay_test.txt")):
        splits[split] = [
            Sample(below(path, where), whole(product, where))
            for where, (_, product, _, path) in lines_of(home / name, fields=4, header=1)
        ]
    return Found(splits)


def _birds(home: Path, _: str) -> Found:
    """CUB-200-2011 (Wah et al., 2011): classes 1 to 100 to train on, the others to test."""
    labels = {
        number: whole(label, where)
        for where, (number, label) in lines_of(home / "image_class_labels.txt", fields=2)
    }
    splits: Splits = {"train": [], "gallery": []}
    for where, (number, path) in lines_of(home / "images.txt", fields=2):
        if number not in labels:
            raise BadInput(f"{where}: image {number} has no line in image_class_labels.txt")
        split = "train" if labels[number] <= 100 else "gallery"
        splits[split].append(Sample(f"images/{below(path, where)}", labels[number]))
    return Found(splits)


def _cars(home: Path, _: str) -> Found:
    """Cars-196 (Krause et al., 2013): cars_annos.mat; classes 1 to 98 to train on."""
    from scipy.io import loadmat

    path = home / "cars_annos.mat"
    require_readable(path, "mat")
    splits: Splits = {"train": [], "gallery": []}
    with blaming(path, saying="is not the file of Cars-196's annotations"):
        for entry in loadmat(str(path), squeeze_me=True)["annotations"].ravel():
            label, name = int(entry["class"]), below(str(entry["relative_im_path"]), str(path))
            splits["train" if label <= 98 else "gallery"].append(Sample(name, label))
    return Found(splits)


def _clothes(home: Path, _: str) -> Found:
    """In-shop Clothes Retrieval (Liu et al., CVPR 2016): a line of image, item and split."""
    path = home / "Eval/list_eval_partition.txt"
    splits: Splits = {"train": [], "query": [], "gallery": []}
    for where, (name, item, split) in lines_of(path, fields=3, header=2):
        if split not in splits:
            raise BadInput(f"{where}: the split is {split!r}; wanted train, query or gallery")
        splits[split].append(Sample(below(name, where), whole(item, where)))
    return Found(splits)


ENTRIES = (
    laid_out(
        Layout(
            ("Stanford_Online_Products", "online_products", "sop"),
            ("Ebay_train.txt", "Ebay_test.txt"),
            _products,
        ),
        name="sop",
        title="Stanford Online Products",
        url="https://cvgl.stanford.edu/projects/lifted_struct/",
        licence="research use",
        state="available",
        counts=counts((59551, 11318, 0), (60502, 11316, 0), (60502, 11316, 0)),
        source="Oh Song et al., CVPR 2016; as in dataset/sop.py of github.com/euwern/proxynca_pp",
        rules="retrieval",
    ),
    laid_out(
        Layout(
            ("CUB_200_2011", "cub200", "cub"),
            ("images.txt", "image_class_labels.txt", "images"),
            _birds,
        ),
        name="cub200",
        title="CUB-200-2011 (birds)",
        url="https://www.vision.caltech.edu/datasets/cub_200_2011/",
        licence="non-commercial research and education",
        state="available",
        counts=counts((5864, 100, 0), (5924, 100, 0), (5924, 100, 0)),
        source="Wah et al., 2011; docs/datasets.md of pytorch-metric-learning",
        rules="cub200",
    ),
    laid_out(
        Layout(
            ("In-shop", "inshop", "In-shop Clothes Retrieval Benchmark"),
            ("img", "Eval/list_eval_partition.txt"),
            _clothes,
        ),
        name="inshop",
        title="In-shop Clothes Retrieval (DeepFashion)",
        url="https://mmlab.ie.cuhk.edu.hk/projects/DeepFashion/InShopRetrieval.html",
        licence="non-commercial research, by request",
        state="by request",
        counts=counts((25882, 3997, 0), (14218, 3985, 0), (12612, 3985, 0)),
        source="Liu et al., CVPR 2016; as in dataset/inshop.py of github.com/euwern/proxynca_pp",
        rules="inshop",
    ),
    laid_out(
        Layout(("cars196", "cars", "car"), ("cars_annos.mat", "car_ims"), _cars),
        name="cars196",
        title="Cars-196",
        licence="non-commercial research",
        state="its authors' page is gone; copies are kept by others",
        counts=counts((8054, 98, 0), (8131, 98, 0), (8131, 98, 0)),
        source="Krause et al., 2013; docs/datasets.md of pytorch-metric-learning",
        rules="cub200",
    ),
)
