"""Exact search with torch, in blocks of rows: for tensors on a GPU, or where FAISS cannot go."""

from typing import Any

import torch
from torch import Tensor

from ..embeddings import as_numpy, require_finite, row_blocks
from .checked import unit_rows

BLOCK = 1 << 28  # similarities held at once: 1 GiB


def on_device(query: Any, gallery: Any, *, k: int, where: Any) -> tuple[Any, Any]:
    """Search on a torch device in blocks of rows; the results stay there for tensors.

    Equal similarities stand in the gallery's order, save where they straddle the end of a list.
    """
    device = torch.device(str(where))
    rows = unit_tensor(query, device, what="embeddings" if gallery is None else "query")
    others = rows if gallery is None else unit_tensor(gallery, device, what="gallery")
    similarity = torch.empty(len(rows), k, device=device)
    index = torch.empty(len(rows), k, device=device, dtype=torch.int64)
    for block in row_blocks(len(rows), max(1, BLOCK // max(1, len(others)))):
        products = rows[block] @ others.T  # [B, d] x [d, G] -> [B, G]
        if gallery is None:
            own = torch.arange(len(products), device=device)
            itself = products[own, own + block.start].clone()
            products[own, own + block.start] = torch.inf  # first, whatever its duplicates
        found, columns = products.topk(k, dim=1)
        columns, order = columns.sort(dim=1)
        found, again = found.gather(1, order).sort(dim=1, descending=True, stable=True)
        similarity[block], index[block] = found, columns.gather(1, again)
        if gallery is None:
            similarity[block, 0] = itself
    if not hasattr(query, "detach"):
        return similarity.cpu().numpy(), index.cpu().numpy()
    return similarity, index


def least_on_device(features: Any, where: Any) -> Any:
    """Return each row's smallest cosine with any row of its set, [N] numpy, found on a device."""
    rows = unit_tensor(features, torch.device(str(where)), what="embeddings")
    blocks = row_blocks(len(rows), max(1, BLOCK // max(1, len(rows))))
    parts = [(rows[block] @ rows.T).amin(dim=1) for block in blocks]
    return torch.cat(parts).cpu().numpy()


def unit_tensor(features: Any, device: torch.device, *, what: str) -> Tensor:
    """Return [N, d] features as float32 rows of length 1 on the device."""
    if not hasattr(features, "detach"):
        return torch.from_numpy(unit_rows(features, what)).to(device)
    rows = features.detach().to(device, torch.float32)
    if not bool(torch.isfinite(rows).all()):
        require_finite(as_numpy(rows), what)
    return torch.nn.functional.normalize(rows, eps=1e-30)
