"""The Neighbor Transformer of Wang et al., CVPR 2022: tensors in, tensors out."""
