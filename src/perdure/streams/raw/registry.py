"""Every data set by name: its raw files as they were published, and where they are served."""

from __future__ import annotations

from typing import Literal, NamedTuple

Form = Literal["gzip", "archive", "pictures"]
MAX_SIZE = 1 << 28
"""Bytes that are read of a file whose size is not known."""


class DataError(RuntimeError):
    """A data file is missing, damaged or not the one it should be; the message says what to do."""


class RawFile(NamedTuple):
    """A raw file as it was published."""

    name: str
    """File name, without the `.gz` of the form `"gzip"`."""
    sha256: str
    """Digest of the content that counts, in hexadecimal."""
    form: Form = "gzip"
    """Which content counts. `"gzip"`: the uncompressed one, so that differently compressed copies are equal;
    `"archive"`: the file itself; `"pictures"`: names and pixels of the pictures in a zip archive, so that
    differently packed copies are equal."""
    size: int = MAX_SIZE
    """Bytes of the content that counts, or an upper bound; of `"pictures"`, of the archive. No more is read."""
    packed_size: int | None = None
    """Bytes of the file at the mirrors, or an upper bound; None if it is `size`. No more is downloaded."""

    @property
    def download_limit(self) -> int:
        """Largest number of bytes that a download may have."""
        return self.size if self.packed_size is None else self.packed_size

    @property
    def file_limit(self) -> int:
        """Largest number of bytes that the file on disk may have, however it is compressed."""
        # What cannot be compressed grows by five bytes in 32,768, and by its header and trailer.
        return self.size + self.size // 1000 + 1024 if self.form == "gzip" else self.size

    @property
    def published_name(self) -> str:
        """File name at the mirrors."""
        return f"{self.name}.gz" if self.form == "gzip" else self.name


class DataSet(NamedTuple):
    """A data set: its raw files and the places to download them from."""

    name: str
    files: tuple[RawFile, ...]
    mirrors: tuple[str, ...]
    """Folders on the web that hold the files, tried in turn."""
    one_suffices: bool = False
    """Does each of the files hold all the data?"""


MNIST = DataSet(
    name="mnist",
    files=(
        RawFile(
            "train-images-idx3-ubyte",
            "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
            size=47_040_016,
            packed_size=9_912_422,
        ),
        RawFile(
            "train-labels-idx1-ubyte",
            "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
            size=60_008,
            packed_size=28_881,
        ),
        RawFile(
            "t10k-images-idx3-ubyte",
            "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
            size=7_840_016,
            packed_size=1_648_877,
        ),
        RawFile(
            "t10k-labels-idx1-ubyte",
            "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
            size=10_008,
            packed_size=4_542,
        ),
    ),
    mirrors=(
        "https://ossci-datasets.s3.amazonaws.com/mnist/",
        "https://storage.googleapis.com/cvdf-datasets/mnist/",
    ),
)
_ZIP_SIZE = 1 << 26
"""Bytes of an archive of Omniglot on disk, an upper bound: room for copies that are packed less tightly."""
_ZIP_PACKED_SIZE = 1 << 24
"""Bytes of an archive of Omniglot at the mirror, an upper bound: both have less than 10 MB."""
OMNIGLOT = DataSet(
    name="omniglot",
    files=(
        RawFile(
            "images_background.zip",
            "379fc2885cb49038d7254d6391f92fc938b5a48858f884f35cc76c2c333e861b",
            "pictures",
            _ZIP_SIZE,
            _ZIP_PACKED_SIZE,
        ),
        RawFile(
            "images_evaluation.zip",
            "2c47ef59616adfa3dc3b043476047da66d29ee3af593cb508516d6d7811a1cfc",
            "pictures",
            _ZIP_SIZE,
            _ZIP_PACKED_SIZE,
        ),
    ),
    mirrors=("https://raw.githubusercontent.com/brendenlake/omniglot/master/python/",),
)
CIFAR100 = DataSet(
    name="cifar100",
    files=(
        RawFile(
            "cifar-100-binary.tar.gz",
            "58a81ae192c23a4be8b1804d68e518ed807d710a4eb253b1f2a199162a40d8ec",
            "archive",
            168_513_733,
        ),
        RawFile(
            "cifar-100-python.tar.gz",
            "85cd44d02ba6437773c5bbd22e183051d648de2e7d6b014e1ef29b855ba677a7",
            "archive",
            169_001_437,
        ),
    ),
    mirrors=("https://www.cs.toronto.edu/~kriz/",),
    one_suffices=True,
)
DIGITS = DataSet(name="digits", files=(), mirrors=())
"""Comes with the package."""
DATA_SETS = {"mnist": MNIST, "omniglot": OMNIGLOT, "cifar100": CIFAR100, "digits": DIGITS}
