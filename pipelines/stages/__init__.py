"""One file for each arrow of the data's way: artifacts in, artifacts out."""
