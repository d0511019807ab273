"""Files between stages: the run folder, manifests, and what each kind of file holds."""
