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

It needs Glance and its configuration, but no process of it.
"""

from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Sequence
import contextlib
import logging
import time

from glance.common import config
from glance.common import wsgi_app
import glance_store
from oslo_config import cfg

from glance_xs_convert.recovery import interrupted
from glance_xs_convert import text

CONF = cfg.CONF

#: The longest time to wait for stores, in seconds. Ceph considers a client
#: that was killed to be alive for 30 s.
_PATIENCE = 45.0
_INTERVAL = 1.0


class RecoveryFailed(Exception):
    """Some imports could not be examined or recovered."""


def recover(files: Sequence[str], directories: Sequence[str],
            default_files: Sequence[str], dry_run: bool,
            tickets: Callable[[], str]) -> list[tuple[str, str, str]]:
    """Recover the imports whose process on this host is gone.

    :param files: Glance's configuration files, instead of the default ones
    :param directories: directories of such files, instead of the default ones
    :param default_files: the default configuration files
    :param dry_run: whether to change nothing
    :param tickets: function that returns the directory of the tickets, once
                    the configuration is known
    :returns: for each import, the ID of the image, the ID of the task, and
              what remained to do
    :raises RecoveryFailed: there were errors, which are in the log
    """
    with _errors():
        _set_up([*(f'--config-file={path}' for path in files),
                 *(f'--config-dir={path}' for path in directories)],
                default_files)
    found: dict[str, interrupted.Found] = {}
    recovery = interrupted.Recovery(tickets)
    try:
        went_well = _recover(recovery, dry_run, found.__setitem__)
    except OSError as error:
        raise RecoveryFailed(
            f'the tickets in {tickets()} cannot be used: '
            f'{error.strerror or error}; run this as the user that Glance '
            'runs as') from error
    if not went_well:
        raise RecoveryFailed('some imports could not be recovered')
    return [(each.image_id, each.task_id, each.result)
            for each in found.values()]


def _recover(recovery: interrupted.Recovery, dry_run: bool,
             report: interrupted.Report) -> bool:
    """Recover imports, and wait a little for those that have to wait."""
    deadline = time.monotonic() + _PATIENCE
    went_well = recovery.recover(dry_run=dry_run, report=report)
    while recovery.is_waiting and time.monotonic() < deadline:
        time.sleep(_INTERVAL)
        went_well &= recovery.recover(report=report)
    return went_well


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
        raise RecoveryFailed(text.one_line(error)) from error
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
