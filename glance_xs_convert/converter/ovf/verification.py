# Licensed under the Apache License, Version 2.0 (the "License"); you may
# not use this file except in compliance with the License. You may obtain
# a copy of the License at
#
#      http://www.apache.org/licenses/LICENSE-2.0
#
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the
# License for the specific language governing permissions and limitations
# under the License.

"""Comparing the files of an OVF package with the checksums in its manifest.

The manifest may come before the files, between them, or after them.
"""

from collections.abc import Iterator
from collections.abc import Sequence

from glance_xs_convert.converter.containers import member
from glance_xs_convert.converter.ovf import manifest
from glance_xs_convert.converter.streams import digest
from glance_xs_convert.converter.streams import forward
from glance_xs_convert import exceptions
from glance_xs_convert import text


class Verification:
    """The checksums of a package's files, one file after the other.

    :ivar directory: the directory of the package in the archive, with a slash
                     at its end, or empty
    """

    def __init__(self) -> None:
        self.directory = ''
        self._digest = digest.Digest()
        self._manifest: manifest.Manifest | None = None
        self._found: dict[str, dict[str, str]] = {}

    def close(self) -> None:
        """End the thread that computes the checksums."""
        self._digest.close()

    @property
    def has_manifest(self) -> bool:
        return self._manifest is not None

    @property
    def notes(self) -> list[str]:
        """Sentences on the lines of the manifest that say nothing."""
        return self._manifest.notes if self._manifest else []

    def begin_descriptor(self, data: forward.Reader, size: int) -> 'Hashed':
        """Return a reader of the descriptor, which has every checksum."""
        return Hashed(data, size, self._digest, list(manifest.ALGORITHMS))

    def begin(self, path: str, data: forward.Reader, size: int) -> 'Hashed':
        """Return a reader of a file that computes its checksums.

        :param path: path of the file in the archive
        :param size: its size in bytes
        """
        if self._manifest is None:
            algorithms = list(manifest.LIKELY)
        else:
            wanted = self._wanted(path)
            algorithms = [wanted.algorithm] if wanted else []
        return Hashed(data, size, self._digest, algorithms)

    def end(self, path: str, name: str, hashed: 'Hashed') -> None:
        """Verify a file that has been read, unless the manifest is to come.

        :param name: its path, in a form that is safe to show
        :raises WrongDigest: its checksum is wrong
        """
        self._found[path] = hashed.sums()
        self._verify(path, name)

    def read_manifest(self, document: bytes, name: str) -> None:
        """Read the manifest, and verify the files that came before it.

        :param name: its name, in a form that is safe to show
        :raises DamagedPackage: there is another one
        :raises WrongDigest: a checksum is wrong
        """
        if self._manifest is not None:
            raise exceptions.DamagedPackage(
                'the archive holds two manifests', member=name)
        self._manifest = manifest.parse(document, name)
        for path in self._found:
            self._verify(path, text.printable(path))

    def unverified(self) -> list[str]:
        """Return the paths of the files that the manifest does not cover."""
        return [path for path, sums in self._found.items()
                if not self._is_verified(path, sums)]

    def _is_verified(self, path: str, sums: dict[str, str]) -> bool:
        wanted = self._wanted(path)
        return wanted is not None and wanted.algorithm in sums

    def _wanted(self, path: str) -> manifest.Sum | None:
        if self._manifest is None:
            return None
        return self._manifest.sum_of(path.removeprefix(self.directory))

    def _verify(self, path: str, name: str) -> None:
        found = self._found[path]
        wanted = self._wanted(path)
        if wanted is None or wanted.algorithm not in found:
            return
        digits = found[wanted.algorithm]
        if digits != wanted.digits:
            raise exceptions.WrongDigest(
                f'the file has the {wanted.algorithm.upper()} checksum '
                f'{digits}, but the manifest says {wanted.digits}',
                member=name)


class Hashed(forward.PieceReader):
    """A Reader of a member that computes its checksums.

    :param data: the member's bytes
    :param size: their number
    :param sums: computes the checksums
    :param algorithms: those to compute
    :ivar tail: the last bytes read
    """

    def __init__(self, data: forward.Reader, size: int,
                 sums: digest.Digest, algorithms: Sequence[str]) -> None:
        self.position = 0
        self.tail = b''
        self._data = data
        self._size = size
        self._sums = sums
        sums.restart(*algorithms)

    def pieces(self, size: int) -> Iterator[forward.Piece]:
        for buffer, start, end in self._data.pieces(size):
            self._sums.update(memoryview(buffer)[start:end])
            self.position += end - start
            last = max(start, end - member.END_SIZE)
            self.tail = (self.tail + buffer[last:end])[-member.END_SIZE:]
            yield buffer, start, end

    def read_rest(self) -> None:
        """Read the member to its end."""
        self.skip(self._size - self.position)

    def sums(self) -> dict[str, str]:
        """Return the checksums by the names of their algorithms."""
        return self._sums.hexdigests()
