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

"""Rows of an inventory."""

from glance_xs_convert.migrate import annotations
from glance_xs_convert.migrate import inventory
from glance_xs_convert.migrate import names

NEW = inventory.Listed(
    id='n', name='new', owner='p', size=4096, status='active',
    created_at='2026-01-01T00:00:00Z', attempt=0, replacement=None,
    is_candidate=False, is_selected=True, is_hidden=False,
    is_protected=False, is_shared=False,
    obstacle='', hash_algo='sha512', hash_value='ab' * 64,
    notes=annotations.Annotations(
        verified='sha512:' + 'ab' * 64, migrated_at='2026-01-01T00:00:00Z',
        seconds=75))


def rows():
    """Images in several states."""
    return [
        inventory.Row('a', '<b>&', 'p', 1024, 'done', 'n', new=NEW,
                      retired=frozenset((names.HIDDEN,))),
        inventory.Row('b', 'gone', 'p', None, 'done', 'm', new=NEW,
                      old_is_gone=True, reason='deleted'),
        inventory.Row('c', 'c', 'p', 1, 'waiting'),
        inventory.Row('d', 'd', 'p', 1, 'done', 'o', new=NEW,
                      retired=frozenset((names.AWAITING,)))]
