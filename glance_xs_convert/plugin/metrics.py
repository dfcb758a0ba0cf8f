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

"""Counters of what happens to imports on a host, for Prometheus.

All worker processes of a host add to one file, which node_exporter's textfile
collector reads. It is read and written again for each import, so that the
counters outlive the processes. Nothing that goes wrong here may disturb an
import.
"""

from collections.abc import Iterator
from collections.abc import Mapping
import contextlib
import fcntl
import os
from typing import Any

from oslo_config import cfg
from oslo_log import log as logging

from glance_xs_convert import exceptions
from glance_xs_convert import options

LOG = logging.getLogger(__name__)

CONF = cfg.CONF
CONF.register_opts(options.OPTS, group=options.GROUP)

#: A counter's name, and the kind of the error if it counts errors.
Key = tuple[str, str]

CONVERSIONS: Key = ('xs_convert_conversions', '')
ARCHIVE_BYTES: Key = ('xs_convert_archive_bytes', '')
DISK_BYTES: Key = ('xs_convert_disk_bytes', '')
WORKING_SECONDS: Key = ('xs_convert_working_seconds', '')
WAITING_SECONDS: Key = ('xs_convert_waiting_seconds', '')
_FAILURES = 'xs_convert_failures'

_HELP = {
    'xs_convert_conversions': 'Images that were converted.',
    'xs_convert_archive_bytes': 'Bytes of the images that were converted.',
    'xs_convert_disk_bytes': 'Bytes of the disks that came out, with holes.',
    'xs_convert_working_seconds': 'Time that imports had their turn, in '
                                  'seconds.',
    'xs_convert_waiting_seconds': 'Time that imports waited for their turn, '
                                  'in seconds.',
    _FAILURES: 'Imports that failed, by the kind of the error.',
}
_LABEL = 'kind'
#: The most bytes to read of a file that this module did not write.
_LONGEST = 1024 * 1024


def count_failure(error: exceptions.XsConvertError) -> None:
    """Count an import that failed."""
    add({(_FAILURES, error.kind): 1})


def add(counts: Mapping[Key, float]) -> None:
    """Add to the counters of this host, if a file for them is configured."""
    path = CONF[options.GROUP].metrics_file
    if not path:
        return
    try:
        _add(path, counts)
    except ImportError:
        LOG.error('Metrics cannot be written to %s, because prometheus_client '
                  'is not installed', path)
    except Exception:
        LOG.exception('Metrics cannot be written to %s', path)


def _add(path: str, counts: Mapping[Key, float]) -> None:
    import prometheus_client

    with _locked(path):
        values = _read(path)
        for key, count in counts.items():
            values[key] = values.get(key, 0.0) + count
        registry = prometheus_client.CollectorRegistry()
        registry.register(_Collector(values))
        prometheus_client.write_to_textfile(path, registry)


class _Collector:
    """Gives prometheus_client the values of all counters."""

    def __init__(self, values: Mapping[Key, float]) -> None:
        self._values = values

    def collect(self) -> Iterator[Any]:
        from prometheus_client import core

        for name, text in _HELP.items():
            labels = [_LABEL] if name == _FAILURES else []
            family = core.CounterMetricFamily(name, text, labels=labels)
            for (of, kind), value in sorted(self._values.items()):
                if of == name:
                    family.add_metric([kind] if labels else [], value)
            yield family


def _read(path: str) -> dict[Key, float]:
    """Read the values; a file that cannot be parsed has none."""
    from prometheus_client import parser

    try:
        with open(path, encoding='utf-8') as file:
            families = list(parser.text_string_to_metric_families(
                file.read(_LONGEST)))
    except FileNotFoundError:
        return dict.fromkeys(
            ((name, '') for name in _HELP if name != _FAILURES), 0.0)
    except ValueError:
        LOG.warning('%s is damaged: its counters start from 0', path)
        return {}
    return {(family.name, sample.labels.get(_LABEL, '')): sample.value
            for family in families for sample in family.samples
            if family.name in _HELP}


@contextlib.contextmanager
def _locked(path: str) -> Iterator[None]:
    """Keep other threads and processes from writing the counters."""
    descriptor = os.open(f'{path}.lock',
                         os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
