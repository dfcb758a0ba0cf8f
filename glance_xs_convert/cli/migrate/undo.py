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

"""``glance-xs-convert migrate undo``."""

import argparse
from typing import Any

from glance_xs_convert.cli import common
from glance_xs_convert.cli.migrate import command
from glance_xs_convert import exceptions
from glance_xs_convert.migrate import choices
from glance_xs_convert.migrate import cloud as cloud_
from glance_xs_convert.migrate import errors
from glance_xs_convert.migrate import inventory
from glance_xs_convert.migrate import references
from glance_xs_convert.migrate import undo
from glance_xs_convert import text

_COLUMNS = ('id', 'name', 'new_id', 'undone', 'reason')


class Undo(command.ImagesCommand):
    """Restore old images, and delete the new ones.

    If something uses a new image, the command only hides it. If the command
    cannot see what uses the new images, it undoes nothing unless you choose
    with --if-unknown. After undo, you can migrate the images again. The exit
    status is 1 if the migration of an image could not be undone.
    """

    def add_options(self, parser: argparse.ArgumentParser) -> None:
        super().add_options(parser)
        parser.add_argument(
            '--yes', action='store_true',
            help='do not ask when no IMAGE is given')
        parser.add_argument(
            '--if-unknown', choices=choices.IF_UNKNOWN,
            help='what to do with the new images if Nova or Cinder does not '
                 'answer, so that the command cannot see whether they are '
                 'used: keep and hide them, or delete them (default: undo '
                 'nothing)')

    def take_action(self, parsed_args: argparse.Namespace) -> common.Listing:
        cloud = self.connect(parsed_args)
        rows = [row for row in command.inventory_of(cloud, parsed_args).rows()
                if row.new_id]
        if rows and not parsed_args.images and not command.has_consent(
                f'Undo the migration of {text.count(len(rows), "image")}?',
                parsed_args.yes):
            raise exceptions.XsConvertError(
                'nothing was done: undoing all needs your consent, or --yes')
        users = references.Users(
            cloud, {row.new_id: row.project for row in rows if row.new_id},
            True)
        if users.unseen and parsed_args.if_unknown is None:
            raise exceptions.XsConvertError(
                'nothing was undone: the command cannot see what uses the new '
                f'images ({"; ".join(users.unseen)}); try again, or choose '
                'with --if-unknown')
        blindly = parsed_args.if_unknown == choices.DELETE
        return _COLUMNS, [
            self._undo(cloud, row, users, blindly) for row in rows]

    def _undo(self, cloud: cloud_.Cloud, row: inventory.Row,
              users: references.Users, blindly: bool) -> tuple[Any, ...]:
        undone, reason = True, ''
        try:
            result = undo.undo(cloud, row, users, blindly)
            reason = result.note
            if result.kept:
                reason = ('the new image was hidden, not deleted: '
                          f'{result.kept}')
        except errors.MigrationError as error:
            undone, reason = False, str(error)
            self.status = 1
        return row.id, row.name, row.new_id, undone, reason
