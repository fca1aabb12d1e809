"""Images of any corpus -> records of image files, classes, captions.

data.packing.images.packer        images of any corpus below -> records
data.packing.images.options       its options
data.packing.images.corpus        `ImageCorpus`: where images come from; splits that a corpus brings along
data.packing.images.folder        folders of images
data.packing.images.arrays        rows of arrays as images
data.packing.images.array_files   the files that hold them: idx, .npz, .npy, .csv
data.packing.images.font          colour bitmap fonts
"""

__all__ = ["array_files", "arrays", "corpus", "folder", "font", "options", "packer"]
