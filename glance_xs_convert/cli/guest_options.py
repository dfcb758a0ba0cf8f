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

"""The options on how to adapt a guest, of the commands that can."""

import argparse
import os

from glance_xs_convert.cli import common
from glance_xs_convert.guest import settings

_DEFAULTS = settings.Settings()


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options on how to adapt a guest."""
    parser.add_argument(
        '--properties', action='store_true',
        help='print nothing but the image properties with which the guest '
             'boots, as "openstack image set" takes them')
    group = parser.add_argument_group(
        'adapting', 'How to adapt the guest. The environment variables of '
                    'libguestfs count, too.')
    group.add_argument(
        '--max-time', metavar='SECONDS', type=common.whole_number,
        default=_DEFAULTS.max_time,
        help='the longest time for a guest; 0 for no limit (default: '
             f'{_DEFAULTS.max_time})')
    group.add_argument(
        '--start-timeout', metavar='SECONDS', type=common.positive,
        default=_DEFAULTS.start_timeout,
        help="the time in which libguestfs' virtual machine must start with "
             'KVM; after that it is tried without (default: '
             f'{_DEFAULTS.start_timeout})')
    group.add_argument(
        '--memory', metavar='MIB', type=common.positive,
        default=_DEFAULTS.memory,
        help="the memory of libguestfs' virtual machine (default: "
             f'{_DEFAULTS.memory})')
    group.add_argument(
        '--no-kvm', action='store_true', help='do not use KVM')
    group.add_argument(
        '--virtio-win', metavar='PATH',
        help='the drivers for Windows: the directory or the ISO image of '
             'virtio-win')
    group.add_argument(
        '--tool', metavar='PATH', default=settings.TOOL,
        help='virt-v2v-in-place, if it is not on the PATH')
    group.add_argument(
        '--inspector', metavar='PATH', default=settings.INSPECTOR,
        help='virt-inspector, if it is not on the PATH')


def settings_of(parsed_args: argparse.Namespace) -> settings.Settings:
    """Return how to adapt a guest."""
    chosen = settings.Settings(
        tool=parsed_args.tool, inspector=parsed_args.inspector,
        max_time=parsed_args.max_time,
        start_timeout=parsed_args.start_timeout, memory=parsed_args.memory,
        virtio_win=parsed_args.virtio_win,
        libguestfs={name: value for name, value in os.environ.items()
                    if name.startswith(settings.PREFIX)})
    return chosen.without_kvm() if parsed_args.no_kvm else chosen
