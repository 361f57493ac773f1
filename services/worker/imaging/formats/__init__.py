"""A reader for each format.

A reader parses the structure of a file itself: the size, the layout of the pixels, the metadata
that changes how they look. It refuses layouts that ``layouts`` does not list. Pillow then gets a
file without metadata, so that any error of Pillow is one of the pixels.
"""
