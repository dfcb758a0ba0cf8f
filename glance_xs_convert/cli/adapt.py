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

"""``glance-xs-convert adapt``."""

import argparse
from collections.abc import Callable
import shlex
import sys
from typing import Any
from typing import TYPE_CHECKING

from cliff import show

from glance_xs_convert.cli import common
from glance_xs_convert.cli import guest_options
from glance_xs_convert.worker import parent

if TYPE_CHECKING:
    from glance_xs_convert.guest import adapt as adapt_

_INTERVAL = 5.0


class Adapt(common.Command, show.ShowOne):
    """Adapt the guest on a raw disk to KVM, in place.

    virt-v2v-in-place does the work, in libguestfs' virtual machine. The disk
    stays as it was unless all goes well. If the command is killed while it
    writes the changes, run it once more: it finishes what it began.

    The fields are what was found in the guest and what was done. With the
    image properties below them, the guest boots.
    """

    def add_options(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument('disk', metavar='DISK', help='the raw disk')
        parser.add_argument(
            '--progress', action='store_true', default=None,
            help='show the progress even if standard error is not a terminal')
        guest_options.add_options(parser)

    def run(self, parsed_args: argparse.Namespace) -> int:
        if not parsed_args.properties:
            return int(super().run(parsed_args))
        print(as_arguments(_adapt(self, parsed_args)), file=self.app.stdout)
        return 0

    def take_action(self, parsed_args: argparse.Namespace,
                    ) -> tuple[tuple[str, ...], tuple[Any, ...]]:
        from glance_xs_convert.guest import properties

        found = _adapt(self, parsed_args)
        system = found.system
        fields = {
            'guest': system.name,
            'family': system.family,
            'distribution': system.distribution,
            'version': system.version,
            'architecture': system.architecture,
            'firmware': found.firmware,
            'virtio_disk': found.has_virtio_disk,
            'virtio_network': found.has_virtio_net,
            'guest_agent': system.has_agent,
            'adapted_by': found.tool,
            'kvm': found.used_kvm,
            'seconds': round(found.seconds, 1),
            'warnings': Lines(found.warnings),
            'properties': Pairs(properties.of_guest(found)),
        }
        return tuple(fields), tuple(fields.values())


class Lines(common.ListColumn):
    """Several sentences."""

    def human_readable(self) -> str:
        return '\n'.join(self._value)

    def machine_readable(self) -> list[str]:
        return list(self._value)


class Pairs(common.DictColumn):
    """Names and values."""

    def human_readable(self) -> str:
        return '\n'.join(f'{name}={value}'
                         for name, value in self._value.items())


def as_arguments(found: 'adapt_.Adapted') -> str:
    """Return a guest's properties as arguments of ``openstack image set``."""
    from glance_xs_convert.guest import properties

    return ' '.join(f'--property {shlex.quote(f"{name}={value}")}'
                    for name, value in properties.of_guest(found).items())


def _adapt(command: common.Command, parsed_args: argparse.Namespace,
           ) -> 'adapt_.Adapted':
    from glance_xs_convert.guest import in_place

    return in_place.adapt_disk(
        parsed_args.disk, guest_options.settings_of(parsed_args),
        python=parent.interpreter(sys.executable),
        on_progress=_shown(command, parsed_args.progress))


def _shown(command: common.Command, wanted: bool | None,
           ) -> Callable[['adapt_.Progress'], None]:
    """Return a function that shows the progress, if that is wanted."""
    stream = command.app.stderr
    if not (wanted or (wanted is None and stream.isatty())):
        return lambda reached: None
    last: dict[str, float] = {}

    def show_it(reached: 'adapt_.Progress') -> None:
        before = last.get(reached.stage)
        if before is None or reached.seconds - before >= _INTERVAL:
            last[reached.stage] = reached.seconds
            print(f'adapting the guest: {reached.stage}, '
                  f'{reached.seconds:.0f} seconds', file=stream, flush=True)

    return show_it
