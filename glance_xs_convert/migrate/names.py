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

"""The IDs of new images, and the names of the properties of a migration.

The ID of a new image is derived from the old one's, and Glance creates an
image of a given ID only once. If several commands migrate an image, one of
them creates the new image, and the others find it. The ID of a deleted image
stays taken, and anybody may create an image with any ID in a project of their
own. So the ID also depends on the number of the attempt: where an ID is taken,
the next one is used.

What an image is to a migration follows from its ID and its project alone. The
properties only annotate it, because every user can write them, and Nova and
Cinder copy them to snapshots: see :mod:`.annotations`.
"""

import hashlib
import re
import uuid

from glance_xs_convert import terms

#: On a new image that is complete: the ID of the old one.
SOURCE = 'xs_convert_source_image'
#: On an old image: the ID of the new one.
REPLACED_BY = 'xs_convert_replaced_by'
#: On an old image: what was done to it, for undo to put right.
RETIRED = 'xs_convert_retired'

#: On a new image that is not complete: the ID of the old one.
MIGRATING = 'xs_convert_migrating'
#: On a new image that is not complete: the names of the properties that it
#: got from the old one, as a JSON list.
COPIED = 'xs_convert_copied'
#: On a new image whose archive a command uploads: who does, and how often that
#: command has said that it is still there.
UPLOADING = 'xs_convert_uploading'
#: On a new image: why the last attempt failed.
FAILED = 'xs_convert_failed'
#: The same, where the archive is at fault.
REFUSED = 'xs_convert_refused'
#: On a new image that undo has withdrawn: the ID of the old one.
UNDONE = 'xs_convert_undone'
#: On a new image that undo could not delete, since something uses it.
KEPT = 'xs_convert_kept'

#: On a new image: algorithm and sum of a second conversion, by the client.
VERIFIED = 'xs_convert_verified'
#: On a new image: when it was complete.
MIGRATED_AT = 'xs_convert_migrated_at'
#: On a new image: the seconds from its creation until then.
SECONDS = 'xs_convert_migration_seconds'

#: The properties that xs_adapt sets for the guest's devices.
DEVICES = ('hw_disk_bus', 'hw_vif_model', 'hw_firmware_type',
           'hw_machine_type', 'hw_qemu_guest_agent', 'os_type', 'os_distro',
           'os_version')

#: The properties that a new image has only until it is complete.
PROVISIONAL = (MIGRATING, COPIED, UPLOADING, FAILED, REFUSED)
#: What is never copied from an old image to a new one.
OWN = frozenset((SOURCE, REPLACED_BY, RETIRED, UNDONE, KEPT, VERIFIED,
                 MIGRATED_AT, SECONDS, terms.ADAPTED_BY,
                 terms.NOT_ADAPTED, terms.DISK_SHA512,
                 *PROVISIONAL))

#: The words of ``RETIRED``. The last one means that the old image is to be
#: hidden once the members of the new one have accepted it.
HIDDEN = 'hidden'
DEACTIVATED = 'deactivated'
AWAITING = 'awaiting_members'

#: More attempts than anybody will make.
MAX_ATTEMPTS = 1000

_ID = re.compile(r'[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}')
_NAMESPACE = uuid.uuid5(uuid.NAMESPACE_URL,
                        'https://opendev.org/glance-xs-convert/migrate')
#: The index of the character that tells how a UUID was made, and the character
#: of those that are derived from a name (RFC 9562).
_VERSION_AT = 14
_DERIVED = '5'
#: How many bytes at the beginning of such a UUID are those of a SHA-1.
_UNCHANGED = 6


def is_id(value: object) -> bool:
    """Whether a value is the ID of an image: a UUID in the usual form."""
    return isinstance(value, str) and _ID.fullmatch(value) is not None


def new_id(old_id: str, attempt: int) -> str:
    """Return the ID of a new image.

    :param attempt: the number of the attempt, from 0
    """
    return str(uuid.uuid5(_NAMESPACE, f'{old_id}/{attempt}'))


def attempt_of(old_id: str, image_id: str) -> int | None:
    """Return the attempt whose new image has an ID.

    This is fast, since images that claim to be new ones can be many.

    :returns: None if the ID was not derived from that of the old image
    """
    if (image_id[_VERSION_AT:_VERSION_AT + 1] != _DERIVED
            or not is_id(image_id)):
        return None
    wanted = uuid.UUID(image_id).bytes[:_UNCHANGED]
    stem = hashlib.sha1(_NAMESPACE.bytes + f'{old_id}/'.encode(),
                        usedforsecurity=False)
    for attempt in range(MAX_ATTEMPTS):
        digest = stem.copy()
        digest.update(b'%d' % attempt)
        if (digest.digest()[:_UNCHANGED] == wanted
                and new_id(old_id, attempt) == image_id):
            return attempt
    return None
