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

"""``glance-xs-convert migrate list``."""

import argparse

from glance_xs_convert.cli import common
from glance_xs_convert.cli.migrate import command
from glance_xs_convert.migrate import choices
from glance_xs_convert.migrate import inventory


class List(command.ImagesCommand):
    """List the XenServer images of a cloud, and the state of each.

    The command changes nothing. It first shows whether the cloud can convert
    images, as far as its API tells. The exit status is 1 if the cloud cannot,
    or if the migration of an image has failed.
    """

    def take_action(self, parsed_args: argparse.Namespace) -> common.Listing:
        cloud = self.connect(parsed_args)
        rows = inventory.with_members(
            cloud, command.inventory_of(cloud, parsed_args).rows())
        able = self.say_findings(cloud, rows, choices.AUTO)
        if not able or any(row.state == inventory.FAILED for row in rows):
            self.status = 1
        return command.table(rows)
