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

"""How Glance records the state of a migration.

The id of a new image is derived from the old one's. Glance refuses to create
an id twice. If several commands migrate an image, one of them therefore
creates the new image, and the others find it. The id of a deleted image stays
taken, so the id also depends on the number of the attempt. A new attempt
begins only after the new image of the previous one has been deleted.

The properties below show the state. Those of the new image count only if
it belongs to the project that owns the old one: anybody may create an image
with any id and any properties, but only in a project of their own.
"""

import uuid

#: On a new image that is complete: the id of the old one.
SOURCE = 'xs_convert_source_image'
#: On an old image: the id of the new one.
REPLACED_BY = 'xs_convert_replaced_by'
#: On an old image: what was done to it, for undo to put right.
RETIRED = 'xs_convert_retired'

#: On a new image that is not complete: the id of the old one.
MIGRATING = 'xs_convert_migrating'
#: On a new image that is not complete: the names of the properties that it
#: got from the old one, as a JSON list.
COPIED = 'xs_convert_copied'
#: On a new image: why the last attempt failed.
FAILED = 'xs_convert_failed'
#: The same, where the archive is at fault.
REFUSED = 'xs_convert_refused'
#: On a new image that undo has given up: the id of the old one.
UNDONE = 'xs_convert_undone'
#: On a new image that undo had to leave, since something uses it.
KEPT = 'xs_convert_kept'

#: On a new image: algorithm and sum of a second conversion, by the client.
VERIFIED = 'xs_convert_verified'
#: On a new image: when it was complete.
MIGRATED_AT = 'xs_convert_migrated_at'
#: On a new image: the seconds from its creation until then.
SECONDS = 'xs_convert_migration_seconds'

#: What stands on a new image only until it is complete.
PROVISIONAL = (MIGRATING, COPIED, FAILED, REFUSED)
#: What is never copied from an old image to a new one.
OWN = frozenset((SOURCE, REPLACED_BY, RETIRED, UNDONE, KEPT, VERIFIED,
                 MIGRATED_AT, SECONDS, *PROVISIONAL))

HIDDEN = 'hidden'
DEACTIVATED = 'deactivated'

#: More attempts than anybody will make.
MAX_ATTEMPTS = 1000

_NAMESPACE = uuid.uuid5(uuid.NAMESPACE_URL,
                        'https://opendev.org/glance-xs-convert/migrate')


def new_id(old_id: str, attempt: int) -> str:
    """The id of the new image.

    :param attempt: how many new images there were before, all deleted
    """
    return str(uuid.uuid5(_NAMESPACE, f'{old_id}/{attempt}'))
