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

"""Manual recovery on a host where Glance may not be running.

The command line finds it by its entry point, because it needs Glance, which
the command line does not.
"""

from collections.abc import Iterator
from collections.abc import Sequence
import contextlib
import logging

from glance.common import config
from glance.common import wsgi_app
import glance_store
from oslo_config import cfg

from glance_xs_convert.plugin import claims
from glance_xs_convert.plugin import opts
from glance_xs_convert.plugin import recovery
from glance_xs_convert.plugin import tickets

CONF = cfg.CONF
CONF.register_opts(opts.OPTS, group=opts.GROUP)


class RecoveryFailed(Exception):
    """Some imports could not be examined or recovered."""


def recover(files: Sequence[str], directories: Sequence[str],
            default_files: Sequence[str], dry_run: bool,
            ) -> list[tuple[str, str, str]]:
    """Recover the imports whose process on this host is gone.

    :param files: Glance's configuration files, instead of the default ones
    :param directories: directories of such files, instead of the default ones
    :param default_files: the default configuration files
    :param dry_run: whether to change nothing
    :returns: for each import, the ID of the image, the ID of the task, and
              what remained to do
    :raises RecoveryFailed: there were errors, which are in the log
    """
    found: list[tuple[str, str, str]] = []

    def report(claim: claims.Claim | None, rest: recovery.Rest) -> None:
        found.append((claim.image_id if claim else '',
                      claim.task_id or '' if claim else '', rest.value))

    with _errors():
        _set_up([*(f'--config-file={path}' for path in files),
                 *(f'--config-dir={path}' for path in directories)],
                default_files)
    directory = CONF[opts.GROUP].lock_path
    try:
        went_well = recovery.recover(directory, dry_run=dry_run,
                                     report=report)
    except OSError as error:
        where = tickets.Box(directory, claims.SUFFIX).directory
        raise RecoveryFailed(
            f'the tickets in {where} cannot be used: '
            f'{error.strerror or error}; run this as the user that Glance '
            'runs as') from error
    if not went_well:
        raise RecoveryFailed('some imports could not be recovered')
    return found


@contextlib.contextmanager
def _errors() -> Iterator[None]:
    """Give errors of the set-up as one kind.

    glance_store tries all of its drivers, and has stevedore log those that
    are not installed: that is of no interest here.
    """
    log = logging.getLogger('stevedore')
    level = log.level
    log.setLevel(logging.CRITICAL)
    try:
        yield
    except (cfg.Error, glance_store.exceptions.BackendException,
            RuntimeError) as error:
        raise RecoveryFailed(' '.join(str(error).split())) from error
    finally:
        log.setLevel(level)


def _set_up(arguments: list[str], default_files: Sequence[str]) -> None:
    """Prepare configuration and stores, as Glance's API does.

    Source: ``init_app`` in ``common/wsgi_app.py``.
    """
    config.set_config_defaults()
    CONF(arguments, project='glance', prog='glance-api',
         default_config_files=list(default_files))
    if CONF.enabled_backends:
        reserved = wsgi_app.RESERVED_STORES
        glance_store.register_store_opts(CONF, reserved_stores=reserved)
        glance_store.create_multi_stores(CONF, reserved_stores=reserved)
    else:
        glance_store.register_opts(CONF)
        glance_store.create_stores(CONF)
