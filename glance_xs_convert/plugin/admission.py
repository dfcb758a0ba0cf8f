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
"""Checks before the conversion for what Glance would refuse after it.

Source: ``save`` of ``glance.db.ImageRepo`` for the size, ``glance.quota`` for
quotas, ``glance.api.property_protections`` for protected properties. Glance
does not compare the limits in Keystone with the size of a disk, only with that
of the archive, when the import is requested.
"""

from collections.abc import Collection
from collections.abc import Iterable
import dataclasses
import os
from typing import Any

from glance.api import common as api_common
from glance.common import exception as glance_exception
from glance.common import wsgi_app
from glance import db
from oslo_config import cfg
from oslo_log import log as logging

from glance_xs_convert import exceptions
from glance_xs_convert import options
from glance_xs_convert.plugin import image_record
from glance_xs_convert.plugin import staged_task
from glance_xs_convert import text

LOG = logging.getLogger(__name__)

CONF = cfg.CONF
CONF.register_opts(options.OPTS, group=options.GROUP)
for _option in ('image_property_quota', 'image_size_cap',
                'use_keystone_limits', 'user_storage_quota'):
    CONF.import_opt(_option, 'glance.common.config')
CONF.import_opt('property_protection_file', 'glance.common.property_utils')

#: The protected properties that have been logged, which is done once.
_logged: set[str] = set()


@dataclasses.dataclass(frozen=True)
class DiskBound:
    """The size of the largest disk that Glance would store.

    :ivar size: in bytes
    :ivar option: the option of Glance's that it comes from
    :ivar kind: class of the error if a disk is larger
    """

    size: int
    option: str
    kind: type[exceptions.XsConvertError]


def disk_bound(of: staged_task.Import) -> DiskBound:
    """Return the bound on the size of the disk, as it is now."""
    bound = DiskBound(CONF.image_size_cap, 'image_size_cap',
                      exceptions.DiskTooLarge)
    if CONF.use_keystone_limits:
        return bound
    left = api_common.get_remaining_quota(of.context, db.get_api(),
                                          image_id=of.image_id)
    if left is None or left >= bound.size:
        return bound
    return DiskBound(max(0, left), 'what is left of user_storage_quota',
                     exceptions.QuotaExceeded)


def check_stores(stores: Iterable[str]) -> None:
    """Check that no store is one of those that Glance needs for itself.

    :raises NotPermitted: one is; Glance itself would accept it
    """
    for store in stores:
        if store in wsgi_app.RESERVED_STORES:
            raise exceptions.NotPermitted(
                f"the store {store} is reserved for Glance's own use")


def check_room(staged: str) -> None:
    """Check that the staging area has any space left.

    How much the raw disk takes is not known before the conversion, which
    checks it layer by layer.

    :param staged: path of the archive
    :raises OutOfSpace: there is none
    """
    found = os.statvfs(os.path.dirname(staged))
    free = found.f_bavail if os.geteuid() else found.f_bfree
    if found.f_blocks and not free:
        raise exceptions.OutOfSpace(
            'there is no space left in the staging area')


def check_properties(image: Any, added: Collection[str],
                     remove: Iterable[str]) -> None:
    """Check that the image may have so many properties.

    :param image: Glance's record of the image
    :param added: names of properties that the conversion will add
    :param remove: patterns of the names of properties that it will remove
    :raises QuotaExceeded: Glance would refuse the record
    """
    quota = CONF.image_property_quota
    # Iterating over Glance's own mapping does not yield anything.
    kept = image_record.counted(dict(image.extra_properties), remove)
    new = set(added) - kept
    if new and len(kept) + len(new) > quota >= 0:
        raise exceptions.QuotaExceeded(
            f'the image has {text.count(len(kept), "property", "properties")},'
            f' and the conversion has to add {len(new)} to them, but '
            f'image_property_quota is {quota}: remove some, and import the '
            'image again')


def writable(of: staged_task.Import, names: Iterable[str]) -> set[str]:
    """Return those properties that property protection lets the user set.

    The others are logged once.
    """
    if not CONF.property_protection_file:
        return set(names)
    # This copy of the record is not saved.
    properties = of.image_repo.get(of.image_id).extra_properties
    found = set()
    for name in names:
        try:
            properties[name] = ''
        except glance_exception.Forbidden:
            if name not in _logged:
                _logged.add(name)
                LOG.warning('The property %s is not recorded for all images: '
                            'property_protection_file protects it', name)
        else:
            found.add(name)
    return found
