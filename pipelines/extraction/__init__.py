"""Read images of a data set, a folder or a file, and embed them."""
