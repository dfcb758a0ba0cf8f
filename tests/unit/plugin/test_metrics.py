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

"""Counting what happens to imports, for Prometheus."""

import builtins
import contextlib
import multiprocessing
import os
from unittest import mock

from glance_xs_convert import exceptions

from tests.unit.plugin import base

with contextlib.suppress(ImportError):
    from glance_xs_convert.plugin import metrics


class Metrics(base.GlanceCase):

    def setUp(self):
        super().setUp()
        directory = self.scratch / 'metrics'
        directory.mkdir()
        self.path = directory / 'xs_convert.prom'
        self.conf.config(group='xs_convert', metrics_file=str(self.path))

    def lines(self):
        return [line for line in self.path.read_text().splitlines()
                if not line.startswith('#')]

    def test_all_counters_are_there_from_the_first_time(self):
        metrics.add({metrics.CONVERSIONS: 1})
        self.assertEqual(
            ['xs_convert_conversions_total 1.0',
             'xs_convert_archive_bytes_total 0.0',
             'xs_convert_disk_bytes_total 0.0',
             'xs_convert_working_seconds_total 0.0',
             'xs_convert_waiting_seconds_total 0.0'], self.lines())
        self.assertIn('# TYPE xs_convert_conversions_total counter',
                      self.path.read_text())

    def test_counts_add_up(self):
        metrics.add({metrics.CONVERSIONS: 1, metrics.DISK_BYTES: 2 ** 41})
        for kind in (exceptions.NoVhd, exceptions.DamagedVhd,
                     exceptions.NoVhd):
            metrics.count_failure(kind('it is refused'))
        metrics.add({metrics.WAITING_SECONDS: 0.25,
                     metrics.DISK_BYTES: 512})
        lines = self.lines()
        for line in ('xs_convert_conversions_total 1.0',
                     'xs_convert_disk_bytes_total 2.199023256064e+12',
                     'xs_convert_waiting_seconds_total 0.25',
                     'xs_convert_failures_total{kind="DamagedVhd"} 1.0',
                     'xs_convert_failures_total{kind="NoVhd"} 2.0'):
            self.assertIn(line, lines)

    def test_processes_do_not_lose_counts(self):
        def work():
            for _ in range(10):
                metrics.add({metrics.CONVERSIONS: 1})

        fork = multiprocessing.get_context('fork')
        workers = [fork.Process(target=work) for _ in range(4)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        self.assertIn('xs_convert_conversions_total 40.0', self.lines())
        self.assertEqual(['xs_convert.prom', 'xs_convert.prom.lock'],
                         sorted(os.listdir(self.path.parent)))

    def test_damaged_file(self):
        self.path.write_text('xs_convert_conversions_total one\n')
        metrics.add({metrics.CONVERSIONS: 1})
        self.assertEqual(['xs_convert_conversions_total 1.0'], self.lines())

    def test_nothing_is_configured(self):
        self.conf.config(group='xs_convert', metrics_file=None)
        metrics.add({metrics.CONVERSIONS: 1})
        self.assertFalse(self.path.exists())

    def test_errors_disturb_nobody(self):
        self.conf.config(group='xs_convert',
                         metrics_file=str(self.scratch / 'no' / 'x.prom'))
        with self.assertLogs(metrics.LOG.logger, 'ERROR'):
            metrics.add({metrics.CONVERSIONS: 1})

    def test_without_the_library(self):
        def import_it(name, *arguments):
            if name.startswith('prometheus_client'):
                raise ImportError(name)
            return real(name, *arguments)

        real = builtins.__import__
        with (mock.patch.object(builtins, '__import__', import_it),
              self.assertLogs(metrics.LOG.logger, 'ERROR') as logged):
            metrics.add({metrics.CONVERSIONS: 1})
        self.assertIn('prometheus_client is not installed',
                      logged.output[0])
