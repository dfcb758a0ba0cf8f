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

"""Removing interrupted copies from stores.

A store's driver removes a file that it cannot finish, unless its process is
killed. In that case the next import of the image would fail with "already
exists". Source: ``add`` in ``_drivers/filesystem.py`` of glance_store. The
documentation covers OpenStack's other drivers.
"""

from collections.abc import Collection
from collections.abc import Iterator
import os
from typing import Any

from glance.common import crypt
from glance import db
from oslo_config import cfg

from glance_xs_convert.plugin import staging

CONF = cfg.CONF

#: The names of the driver that keeps images in files named after their IDs.
_FILE_DRIVERS = ('file', 'filesystem')
_FILE_SCHEME = 'file://'
#: The group of options of a Glance without named stores.
_ONLY_STORE = 'glance_store'


def remove_cut(store: str | None, image_id: str, kept: Collection[str],
               ) -> None:
    """Remove a store's data of an image unless it belongs to the image.

    :param store: name of the store, or None for Glance's only store
    :param kept: URLs of the data that belongs to the image
    """
    for directory in _directories(store):
        path = os.path.join(directory, image_id)
        if _FILE_SCHEME + path not in kept:
            staging.remove(path)


def _directories(store: str | None) -> Iterator[str]:
    """Yield a store's directories; none if it is of another kind."""
    if store is None:
        group, driver = _ONLY_STORE, CONF.glance_store.default_store
    else:
        group, driver = store, (CONF.enabled_backends or {}).get(store)
    if driver in _FILE_DRIVERS:
        options = CONF[group]
        if options.filesystem_store_datadirs:
            for entry in options.filesystem_store_datadirs:
                # A priority may follow after a colon.
                yield entry.rsplit(':', 1)[0].strip()
        elif options.filesystem_store_datadir:
            yield options.filesystem_store_datadir


def urls_to_be_deleted(context: Any, image_id: str) -> list[str]:
    """The URLs of an image's data that Glance's scrubber will delete.

    With ``delayed_delete`` it does so some time later: were the data removed
    before, the scrubber would delete what another import puts there.

    :param context: that of an administrator
    """
    image = db.get_api().image_get(context, image_id, force_show_deleted=True)
    key = CONF.metadata_encryption_key
    return [crypt.urlsafe_decrypt(key, location['url']) if key
            else location['url'] for location in image['locations']
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
