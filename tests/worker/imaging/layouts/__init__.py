"""Files of every supported layout, written here, with the pixels that they stand for."""
