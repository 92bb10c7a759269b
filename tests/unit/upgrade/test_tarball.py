"""Malicious tarballs."""

import gzip
import io
import lzma
import tarfile

import pytest

from k3os.errors import UserError
from k3os.upgrade.offer import TarOffer


def header(kind: bytes, size: int) -> bytes:
    member = tarfile.TarInfo("x/k3os")
    member.type, member.size = kind, size
    return member.tobuf(tarfile.GNU_FORMAT)


@pytest.mark.parametrize("kind", [tarfile.XHDTYPE, tarfile.GNUTYPE_LONGNAME])
def test_a_header_that_says_it_is_huge_is_not_read(tmp_path, kind):
    """300 KB of gzip used to take 300 MB of memory."""
    data = io.BytesIO()
    with gzip.GzipFile(fileobj=data, mode="wb", mtime=0) as file:
        file.write(header(kind, 5 << 20) + bytes(6 << 20))
    (tmp_path / "x.tar.gz").write_bytes(data.getvalue())
    with pytest.raises(UserError, match="a header says that it has 52"):
        TarOffer(str(tmp_path / "x.tar.gz"), "x")


def test_no_other_compression_is_tried(tmp_path):
    """A header of 13 bytes can ask for a dictionary of 4 GiB."""
    (tmp_path / "x.tar.gz").write_bytes(lzma.compress(header(tarfile.REGTYPE, 0)))
    with pytest.raises(UserError, match="not a readable tarball"):
        TarOffer(str(tmp_path / "x.tar.gz"), "x")


def test_gzip_that_is_damaged_in_the_middle_is_no_bug(tmp_path):
    whole = bytearray(gzip.compress(header(tarfile.REGTYPE, 1 << 20) + bytes(2 << 20), mtime=0))
    whole[len(whole) // 2] ^= 0xFF
    (tmp_path / "x.tar.gz").write_bytes(whole)
    with pytest.raises(UserError, match=r"no tarball|holds no k3OS"):
        TarOffer(str(tmp_path / "x.tar.gz"), "x")
