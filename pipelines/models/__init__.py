"""Tensors in, tensors out: the backbone, NFormer, and their losses. No file is opened here."""
