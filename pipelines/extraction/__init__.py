"""Where pictures come from and which network embeds them: the data set's, a folder's, a file's."""
