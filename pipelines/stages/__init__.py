"""One file for each verb: artifacts in, artifacts out."""
