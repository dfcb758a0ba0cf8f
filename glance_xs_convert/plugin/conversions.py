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
"""The conversions of ``xs_convert`` in imports that are under way.

Another plugin must not rely on the image's properties for that, because
everybody can set them. Glance hands the same object to all plugins of an
import, and that is how they find each other.
"""

from typing import Any
import weakref

from glance_xs_convert.recovery import records

_undo: 'weakref.WeakKeyDictionary[Any, records.RecordChange]'
_undo = weakref.WeakKeyDictionary()


def note(action_wrapper: Any, undo: records.RecordChange) -> None:
    """Note that the image of an import was converted.

    :param action_wrapper: Glance's ImportActionWrapper for the import
    :param undo: the change that undoes the conversion in the record
    """
    _undo[action_wrapper] = undo


def undo_of(action_wrapper: Any) -> records.RecordChange | None:
    """Return what undoes the conversion; None if there was none."""
    return _undo.get(action_wrapper)
