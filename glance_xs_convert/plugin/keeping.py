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

"""Keeping track of this plugin's imports, in Glance and by hand."""

from collections.abc import Sequence
import os

from glance import housekeeping
from oslo_config import cfg

from glance_xs_convert import options
from glance_xs_convert.recovery import host
from glance_xs_convert.recovery import keeper as keepers
from glance_xs_convert.recovery import places

CONF = cfg.CONF
CONF.register_opts(options.OPTS, group=options.GROUP)


def tickets() -> str:
    """Return the directory of the tickets of this Glance on this host."""
    group = CONF[options.GROUP]
    return places.of_this_glance(
        options.lock_path(group, housekeeping.staging_store_path()),
        is_local=bool(group.lock_path))


#: The keeper of the imports of this process.
keeper = keepers.Keeper(tickets)
os.register_at_fork(after_in_child=keeper.forget)


def recover(files: Sequence[str], directories: Sequence[str],
            default_files: Sequence[str], dry_run: bool,
            ) -> list[tuple[str, str, str]]:
    """Recover the imports whose process on this host is gone.

    Entry point of ``glance-xs-convert recover``, which does not need Glance
    otherwise. See :func:`.host.recover`.
    """
    return host.recover(files, directories, default_files, dry_run, tickets)
