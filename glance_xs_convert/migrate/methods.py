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

"""The methods of importing an archive into a new image.

Either the hosts of the cloud download the archive from their own region, or it
passes through the client. Which one a run uses can change once: if the hosts
cannot download from their region, the first image shows it.
"""

from collections.abc import Callable
import dataclasses
import io
import threading
import time
from typing import Any
from typing import Protocol

from glance_xs_convert.migrate import choices
from glance_xs_convert.migrate import cloud as cloud_
from glance_xs_convert.migrate import errors
from glance_xs_convert.migrate import remote
from glance_xs_convert import terms

#: The interval at which an uploading command confirms that it is still there,
#: in seconds.
BEAT = 15.0

_FILTERED = (
    'the log of glance-api has the reason; if it says that the URI does not '
    'pass filtering, add the port of the image endpoint to allowed_ports in '
    '[import_filtering_opts] on every host')


class Source(Protocol):
    """The archive of an image."""

    @property
    def image_id(self) -> str | None:
        """The ID of the image that stores the archive, if one does."""

    @property
    def size(self) -> int:
        """The size in bytes."""

    def open(self) -> io.RawIOBase:
        """Open the archive to read it once."""


@dataclasses.dataclass(frozen=True)
class StoredImage:
    """An archive that an active image stores."""

    cloud: cloud_.Cloud
    image_id: str
    size: int

    def open(self) -> io.RawIOBase:
        """Open the archive to read it while it is downloaded."""
        return remote.RemoteFile(self.cloud, self.image_id, self.size)


@dataclasses.dataclass(frozen=True)
class Download:
    """The hosts of the cloud download from their own region.

    :ivar region: region of the image service
    :ivar interface: interface of the endpoint that the hosts use
    """

    region: str
    interface: str
    name: str = terms.DOWNLOAD
    uploads: bool = False

    def request(self, source: Source) -> dict[str, str | None]:
        """Return the method and its arguments, as Glance expects them."""
        return {
            'name': self.name,
            'glance_region': self.region,
            'glance_image_id': source.image_id,
            'glance_service_interface': self.interface,
        }


@dataclasses.dataclass(frozen=True)
class Direct:
    """The archive is streamed through the client to the staging area."""

    name: str = terms.DIRECT
    uploads: bool = True

    def request(self, source: Source) -> dict[str, str | None]:
        """Return the method, as Glance expects it for staged data."""
        return {'name': self.name}


@dataclasses.dataclass(frozen=True)
class WebDownload:
    """The hosts of the cloud download the archive from its address."""

    url: str
    name: str = terms.WEB
    uploads: bool = False

    def request(self, source: Source) -> dict[str, str | None]:
        """Return the method and its argument, as Glance expects them."""
        return {'name': self.name, 'uri': self.url}


Method = Download | Direct | WebDownload


class Methods:
    """The method of a run, for all its images.

    :param first: method to begin with
    :param fallback: method to use if the first one does not work; None if
                     there is no other
    """

    def __init__(self, first: Method, fallback: Method | None = None) -> None:
        #: Called with a sentence for the operator.
        self.say: Callable[[str], None] = lambda sentence: None
        self._current = first
        self._fallback = fallback
        self._lock = threading.Lock()

    @property
    def current(self) -> Method:
        """The method for the next image."""
        with self._lock:
            return self._current

    def after_failure(self, method: Method, kind: str | None) -> Method:
        """Return the method for another attempt at an image.

        It is another method if no image was imported with this one yet, and
        Glance does not say what is wrong.

        :param kind: kind of the error, if Glance has told it
        """
        with self._lock:
            if (kind is None and method == self._current
                    and self._fallback is not None):
                return self._fallback
            return method if method == self._fallback else self._current

    def report_success(self, method: Method) -> None:
        """Note that a method has imported an image.

        If it is the other method, all further images are imported with it.
        """
        with self._lock:
            failed, fallback = self._current, self._fallback
            if method not in (failed, fallback):
                return
            self._fallback = None
            self._current = method
        if method != failed:
            self.say(f'{failed.name} does not work here, and Glance does not '
                     f'say why: {_FILTERED}. Continuing with {method.name}.')


def advice(method: Method, kind: str | None) -> str:
    """Return what an operator can do about an import that failed.

    :param kind: kind of the error, if Glance has told it
    """
    if kind is not None:
        return ''
    if isinstance(method, Download):
        return f' ({_FILTERED}; or use --method {terms.DIRECT})'
    return (' (the log of glance-api has the reason; the next run begins '
            'again with another ID, so that nothing that is left of this '
            'image in a store or a staging area is in its way)')


def choose(cloud: cloud_.Cloud, wanted: str, interface: str | None = None,
           ) -> Methods:
    """Return the method for this cloud.

    :param wanted: one of ``choices.METHODS``
    :param interface: interface of the endpoint that the hosts download from
    :raises CannotMigrate: the method is not enabled
    """
    enabled = cloud.imports.methods()
    region = cloud.region()
    direct = Direct() if terms.DIRECT in enabled else None
    if (wanted in (choices.AUTO, terms.DOWNLOAD)
            and terms.DOWNLOAD in enabled and region):
        return Methods(Download(region, interface or cloud.interface),
                       direct if wanted == choices.AUTO else None)
    if wanted == terms.DOWNLOAD and terms.DOWNLOAD in enabled:
        raise errors.CannotMigrate(
            'glance-download needs the name of the region: give it with '
            '--os-region-name')
    if wanted in (choices.AUTO, terms.DIRECT) and direct:
        return Methods(direct)
    either = f'{terms.DOWNLOAD} or {terms.DIRECT}'
    raise errors.CannotMigrate(
        'this cloud does not enable the import method '
        f'{either if wanted == choices.AUTO else wanted}; it enables '
        f'{", ".join(enabled) or "none"}')


class Upload(remote.OneWay):
    """An archive that reports, while it is read, that it is being uploaded.

    Once the last bytes have been handed over, Glance may complete the upload
    at any time. A request that changes the image at the same time could undo
    what Glance writes into its record. So there is no beat after that.

    :param source: the archive
    :param size: its size in bytes
    :param uploaded: called with the number of bytes uploaded
    :param beat: called every ``BEAT`` seconds
    """

    def __init__(self, source: io.RawIOBase, size: int,
                 uploaded: Callable[[int], None], beat: Callable[[], None],
                 ) -> None:
        super().__init__(source, size)
        self._size = size
        self._uploaded = uploaded
        self._beat = beat
        self._count = 0
        self._due = time.monotonic() + BEAT

    def readinto(self, buffer: Any) -> int:
        if time.monotonic() > self._due and self._count < self._size:
            self._beat()
            self._due = time.monotonic() + BEAT
        count = super().readinto(buffer)
        self._count += count
        self._uploaded(self._count)
        return count
