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

"""Removing copies from stores that no image's record knows.

The drivers for files, Ceph and S3 remove a copy that they cannot finish,
unless their process is killed. In that case the next import of the image may
fail with "already exists". Glance itself leaves a copy if the image is deleted
while it copies. Source: ``add`` in ``_drivers/filesystem.py``, ``rbd.py`` and
``s3.py`` of glance_store. For other drivers, operators are told how to remove
what may be left.
"""

from collections.abc import Collection
from collections.abc import Iterator
import os
import shlex
from typing import Any
from typing import NamedTuple

from glance.common import crypt
from glance import db
from oslo_config import cfg

from glance_xs_convert.recovery import ceph
from glance_xs_convert.recovery import s3
from glance_xs_convert.recovery import staging
from glance_xs_convert import terms

CONF = cfg.CONF

#: The names of the drivers, several of which have two.
_FILE_DRIVERS = ('file', 'filesystem')
_CEPH_DRIVERS = ('rbd',)
_S3_DRIVERS = ('s3', 's3+http', 's3+https')
#: Drivers that only read.
_READERS = ('http', 'https')
#: By how much the clocks of hosts and storage may differ, in seconds.
_SKEW = 60.0
#: The group of options of a Glance without named stores.
_ONLY_STORE = 'glance_store'
#: The group of options that named stores do not set themselves. Source:
#: ``BackendGroupConfiguration`` in ``driver.py`` of glance_store.
_SHARED = 'backend_defaults'


class _Options:
    """The options of a store, as its driver reads them.

    :param group: name of the store's group
    """

    def __init__(self, group: str) -> None:
        self._group = group

    def __getattr__(self, name: str) -> Any:
        value = getattr(CONF[self._group], name)
        if value is None and self._group != _ONLY_STORE and _SHARED in CONF:
            value = getattr(CONF[_SHARED], name, None)
        return value


class StoreBusy(Exception):
    """A store has an interrupted copy that cannot be removed yet.

    :ivar sentence: what to do by hand if this lasts, without a full stop
    """

    def __init__(self, reason: str, sentence: str) -> None:
        super().__init__(reason)
        self.sentence = sentence


class Location(NamedTuple):
    """Where Glance has an image's data.

    :ivar url: the URL of the data
    :ivar store: name of the store, if Glance has recorded it
    """

    url: str
    store: str | None


def remove_unused_copy(store: str | None, image_id: str,
                       kept: Collection[Location], *, since: float,
                       was_copied: bool) -> str | None:
    """Remove what an import has stored unless it belongs to the image.

    Another Glance that has the same storage may have an image of the same ID.
    Its data is older than the import, and stays.

    :param store: name of the store, or None for Glance's only store
    :param kept: the data that belongs to the image, in any store
    :param since: when the import began, in seconds since the epoch
    :param was_copied: whether Glance may have begun to copy data to the store
    :returns: what has to be removed by hand, as a sentence without a full
              stop; None if there is nothing
    :raises StoreBusy: the data can only be removed later
    """
    group, driver = _group_and_driver(store)
    urls = [location.url for location in kept]
    since -= _SKEW
    if driver in _FILE_DRIVERS:
        return _remove_files(group, store, image_id, urls, since)
    if driver in _CEPH_DRIVERS:
        return _remove_from_ceph(group, store, image_id, urls, since)
    if not was_copied or driver in _READERS:
        return None
    if driver in _S3_DRIVERS:
        return _remove_from_s3(group, store, image_id, urls, since)
    if any(store is None or location.store in (store, None)
           for location in kept):
        return None
    return _by_hand(store, _command(group, driver, image_id))


def _group_and_driver(store: str | None) -> tuple[str, str | None]:
    """Return a store's group of options, and the name of its driver."""
    if store is None:
        return _ONLY_STORE, CONF.glance_store.default_store
    return store, (CONF.enabled_backends or {}).get(store)


def _by_hand(store: str | None, command: str) -> str:
    return (f'An incomplete copy of the image may be left in {_place(store)}; '
            f'an operator can remove it with: {command}')


def _perhaps_foreign(store: str | None, command: str) -> str:
    return ('Data with the ID of the image that the import did not write is '
            f'in {_place(store)}; unless it belongs to another image service, '
            f'an operator can remove it with: {command}')


def _place(store: str | None) -> str:
    return 'the store' if store is None else f'the store {store}'


def _command(group: str, driver: str | None, image_id: str) -> str:
    """Return the command that removes an image's data from a store.

    Source for the names in the stores: the drivers of glance_store.
    """
    if driver == 'cinder':
        return f'openstack volume delete image-{image_id}'
    options = _Options(group)
    if driver == 'swift':
        container = shlex.quote(str(options.swift_store_container))
        return f'swift delete --prefix {image_id} {container}'
    if driver == 'vmware':
        path = f'{options.vmware_store_image_dir}/{image_id}'
        return f'govc datastore.rm {shlex.quote(path)}'
    return f'rm {image_id} (in the storage behind the driver {driver})'


def _remove_files(group: str, store: str | None, image_id: str,
                  kept: Collection[str], since: float) -> str | None:
    older = []
    for directory in _directories(group):
        path = os.path.join(directory, image_id)
        if terms.FILE_SCHEME + path in kept:
            continue
        if _is_older(path, since):
            older.append(shlex.quote(path))
        else:
            staging.remove(path)
    if not older:
        return None
    return _perhaps_foreign(store, f'rm {" ".join(older)}')


def _is_older(path: str, since: float) -> bool:
    """Whether there is a file that was written before some time."""
    try:
        return not os.stat(path).st_mtime >= since
    except FileNotFoundError:
        return False


def _directories(group: str) -> Iterator[str]:
    """Yield the directories of a store of files."""
    options = _Options(group)
    if options.filesystem_store_datadirs:
        for entry in options.filesystem_store_datadirs:
            # A priority may follow after a colon.
            yield entry.rsplit(':', 1)[0].strip()
    elif options.filesystem_store_datadir:
        yield options.filesystem_store_datadir


def _remove_from_ceph(group: str, store: str | None, image_id: str,
                      kept: Collection[str], since: float) -> str | None:
    pool = ceph.Pool(_Options(group))
    if pool.has_location(image_id, kept):
        return None
    name = shlex.quote(f'{pool.name}/{image_id}')
    try:
        pool.remove_unused(image_id, since)
    except ceph.ImageInUse as error:
        raise StoreBusy(
            str(error), _by_hand(store, f'rbd rm {name}')) from error
    except ceph.ImageKept:
        return _perhaps_foreign(
            store, f'rbd snap unprotect {name}@snap; rbd snap purge {name} && '
            f'rbd rm {name}')
    except ceph.BindingsMissing:
        return _by_hand(store, f'rbd rm {name}')
    return None


def _remove_from_s3(group: str, store: str | None, image_id: str,
                    kept: Collection[str], since: float) -> str | None:
    name = str(_Options(group).s3_store_bucket)
    remove = f'aws s3 rm {shlex.quote(f"s3://{name}/{image_id}")}'
    try:
        bucket = s3.Bucket(store)
    except s3.DriverMissing:
        return None if kept else _by_hand(store, remove)
    sentences = []
    try:
        bucket.remove_object(image_id, kept, since)
    except s3.ObjectKept:
        sentences.append(_perhaps_foreign(store, remove))
    except s3.RequestRefused:
        sentences.append(_by_hand(store, remove))
    try:
        bucket.abort_uploads(image_id, since)
    except s3.RequestRefused:
        sentences.append(
            f'Parts of an incomplete copy may take up space in {_place(store)}'
            '; an operator can list them with: aws s3api '
            f'list-multipart-uploads --bucket {shlex.quote(name)} '
            f'--prefix {image_id}')
    return '. '.join(sentences) or None


def to_be_deleted(context: Any, image_id: str) -> list[Location]:
    """Return the data of an image that Glance's scrubber will delete.

    With ``delayed_delete``, it does so some time later. If the data were
    removed now, the scrubber would delete what another import stores there.

    :param context: that of an administrator
    """
    image = db.get_api().image_get(context, image_id, force_show_deleted=True)
    key = CONF.metadata_encryption_key
    return [
        Location(crypt.urlsafe_decrypt(key, location['url']) if key
                 else location['url'], location['metadata'].get('store'))
        for location in image['locations']
        if location['status'] == 'pending_delete']


def remove_locations(context: Any, image_id: str, *, pending: bool) -> None:
    """Remove locations of an image from Glance's database.

    When Glance copies to several stores in parallel, it makes pending
    locations and does not show them anywhere. It also keeps the location of
    data that it tried to delete but did not find. Source: ``async_/flows/``
    ``parallel_api_image_import.py`` and ``common/store_utils.py``.

    :param context: context of an administrator
    :param pending: whether to remove only pending locations
    """
    api = db.get_api()
    for location in api.image_get(context, image_id)['locations']:
        if not pending or location['status'] in ('pending', 'uploading'):
            api.image_location_delete(context, image_id, location['id'],
                                      'deleted')
