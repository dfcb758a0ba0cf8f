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

"""What stores keep of copies that were cut off.

A store's driver removes a file that it cannot finish, unless its process is
killed. The next import of the image would then meet "already exists". Source:
``add`` in ``_drivers/filesystem.py`` of glance_store; the other drivers of
OpenStack's are treated of in the documentation.
"""

from collections.abc import Collection
from collections.abc import Iterator
import os
from typing import Any

from glance import db
from oslo_config import cfg

from glance_xs_convert.plugin import staging

CONF = cfg.CONF

#: The names of the driver that keeps images in files named by their ids.
_FILE_DRIVERS = ('file', 'filesystem')
_FILE_SCHEME = 'file://'
#: Where the options of a Glance without named stores are.
_ONLY_STORE = 'glance_store'


def remove_cut(store: str | None, image_id: str, kept: Collection[str],
               ) -> None:
    """Remove what a store has of an image that has no data there.

    :param store: the store's name; None where Glance has but one
    :param kept: the URLs of the data that the image has
    """
    for directory in _directories(store):
        path = os.path.join(directory, image_id)
        if _FILE_SCHEME + path not in kept:
            staging.remove(path)


def _directories(store: str | None) -> Iterator[str]:
    """Where a store has its files; nowhere if it is of another kind."""
    if store is None:
        group, driver = _ONLY_STORE, CONF.glance_store.default_store
    else:
        group, driver = store, (CONF.enabled_backends or {}).get(store)
    if driver in _FILE_DRIVERS:
        options = CONF[group]
        if options.filesystem_store_datadirs:
            for entry in options.filesystem_store_datadirs:
                # A priority may come behind a colon.
                yield entry.rsplit(':', 1)[0].strip()
        elif options.filesystem_store_datadir:
            yield options.filesystem_store_datadir


def remove_locations(context: Any, image_id: str, *, pending: bool) -> None:
    """Remove locations of an image from Glance's database.

    Glance makes pending ones when it copies to several stores in parallel,
    and shows them nowhere; and it keeps those of data that it could not
    find when it deleted it. Source: ``async_/flows/``
    ``parallel_api_image_import.py`` and ``common/store_utils.py``.

    :param context: that of an administrator
    :param pending: whether to remove none but the pending ones
    """
    api = db.get_api()
    for location in api.image_get(context, image_id)['locations']:
        if not pending or location['status'] in ('pending', 'uploading'):
            api.image_location_delete(context, image_id, location['id'],
                                      'deleted')
