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

"""Removing what an import has left in a pool of Ceph.

The driver of glance_store creates an image named after the ID of Glance's
image, writes the data, and makes and protects the image's snapshot last. An
image without a snapshot is therefore incomplete. Source: ``add`` in
``_drivers/rbd.py``.

Glance records the location of the data only after that. If its process is
killed before, or the image is deleted meanwhile, a complete image is left
that nobody knows. It is removed if it was created since the import began, so
that it cannot be anybody else's.

Ceph itself takes several steps to create an image: a process that is killed
between them leaves a name that is taken, for an image that is not found.
"""

from collections.abc import Collection
from collections.abc import Iterator
import contextlib
import datetime
from typing import Any
from typing import Protocol
import urllib.parse

try:
    import rados
    import rbd
except ImportError:
    rados = rbd = None

_SCHEME = 'rbd://'
#: The snapshot that the driver makes.
_SNAPSHOT = 'snap'
#: The time limits of librados, in seconds, unless the store sets its own.
_TIMEOUT = 30
_TIMEOUT_OPTIONS = ('rados_mon_op_timeout', 'rados_osd_op_timeout',
                    'client_mount_timeout')


class Settings(Protocol):
    """The options of a store with the driver ``rbd``."""

    rbd_store_ceph_conf: str
    rbd_store_user: str | None
    rbd_store_pool: str
    rados_connect_timeout: int


class BindingsMissing(Exception):
    """Python's modules for Ceph are not installed."""


class ImageInUse(Exception):
    """A client has the image open, or had it open less than 30 s ago."""


class ImageKept(Exception):
    """The image is complete, and may be somebody else's."""


class Pool:
    """A store's pool.

    :param settings: the store's options
    :ivar name: the pool's name
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.name = settings.rbd_store_pool

    def has_location(self, image_id: str, urls: Collection[str]) -> bool:
        """Whether one of an image's locations is the image in this pool.

        :param urls: the URLs of the locations
        """
        return any(self._is_location(image_id, url) for url in urls)

    def _is_location(self, image_id: str, url: str) -> bool:
        if not url.startswith(_SCHEME):
            return False
        parts = [urllib.parse.unquote(part)
                 for part in url.removeprefix(_SCHEME).split('/')]
        # An old location has the name alone.
        return (parts == [image_id]
                or parts[1:3] == [self.name, image_id])

    def remove_unused(self, image_id: str, since: float) -> None:
        """Remove an image that is not data of Glance's image.

        :param since: when the import began, in seconds since the epoch; a
                      complete image that is older is kept
        :raises BindingsMissing: Python's modules for Ceph are not installed
        :raises ImageInUse: a client has the image open
        :raises ImageKept: the image is older, a clone, or has clones or
                           further snapshots
        """
        if rbd is None:
            raise BindingsMissing
        in_use = ImageInUse(
            f'a client has the image {image_id} in the pool {self.name} open')
        try:
            with self._open() as ioctx:
                # An image that was being created or removed cannot be opened,
                # but its name is taken, and it can be removed.
                with contextlib.suppress(rbd.ImageNotFound):
                    with rbd.Image(ioctx, image_id, read_only=True) as image:
                        is_complete = _is_complete(image, since)
                        if next(iter(image.watchers_list()), None) is not None:
                            raise in_use
                    if is_complete:
                        _remove_snapshot(ioctx, image_id)
                with contextlib.suppress(rbd.ImageNotFound):
                    rbd.RBD().remove(ioctx, image_id)
        except rbd.ImageBusy as error:
            raise in_use from error
        except rbd.ImageHasSnapshots as error:
            raise ImageKept from error

    @contextlib.contextmanager
    def _open(self) -> Iterator[Any]:
        """Connect to the cluster as the store does, and open the pool."""
        settings = self._settings
        client = rados.Rados(conffile=settings.rbd_store_ceph_conf,
                             rados_id=settings.rbd_store_user)
        timeout = settings.rados_connect_timeout
        for option in _TIMEOUT_OPTIONS:
            client.conf_set(option, str(timeout if timeout >= 0
                                        else _TIMEOUT))
        try:
            client.connect()
            with client.open_ioctx(self.name) as ioctx:
                yield ioctx
        finally:
            client.shutdown()


def _is_complete(image: Any, since: float) -> bool:
    """Whether an import that began then has completed an image.

    :raises ImageKept: it may be somebody else's
    """
    snapshots = [snapshot['name'] for snapshot in image.list_snaps()]
    if _has_parent(image):
        raise ImageKept
    if snapshots and (snapshots != [_SNAPSHOT]
                      or not _creation_time(image) >= since):
        raise ImageKept
    return bool(snapshots)


def _creation_time(image: Any) -> float:
    """Return when an image was created, in seconds since the epoch."""
    created: datetime.datetime = image.create_timestamp()
    if created.tzinfo is None:
        # Ceph's module means UTC.
        created = created.replace(tzinfo=datetime.timezone.utc)
    return created.timestamp()


def _remove_snapshot(ioctx: Any, image_id: str) -> None:
    """Remove the snapshot of an image that nobody uses.

    :raises ImageKept: somebody does
    """
    with rbd.Image(ioctx, image_id, _SNAPSHOT, read_only=True) as snapshot:
        if next(iter(snapshot.list_children()), None) is not None:
            raise ImageKept
    with rbd.Image(ioctx, image_id) as image:
        if image.is_protected_snap(_SNAPSHOT):
            image.unprotect_snap(_SNAPSHOT)
        image.remove_snap(_SNAPSHOT)


def _has_parent(image: Any) -> bool:
    """Whether the image is a clone, which Glance's driver never makes."""
    try:
        image.parent_info()
    except rbd.ImageNotFound:
        return False
    return True
