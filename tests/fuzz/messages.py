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

"""An input is what a converter's process writes to its parent."""

from collections import abc
import dataclasses
import json
import logging
import os
import random
import tempfile
import typing
from unittest import mock

from glance_xs_convert.cli import tables
from glance_xs_convert import conversion_progress
from glance_xs_convert import exceptions
from glance_xs_convert import image_limits
from glance_xs_convert import results
from glance_xs_convert.worker import parent
from glance_xs_convert.worker import process
from glance_xs_convert.worker import protocol

from tests.fuzz import rules

#: Bytes of the archive and of the raw disk.
SOURCE = 1000
DISK = 4096
LIMITS = image_limits.Limits(max_virtual_size=2 * DISK, max_chain_length=8)

#: A pipe holds so much before its writer has to wait.
_MOST = 60_000
_LONGEST = 20_000

_VALUES: tuple[typing.Any, ...] = (
    None, True, False, 0, 1, -1, 8, 9, SOURCE, SOURCE + 1, DISK, DISK + 512,
    2 ** 63 - 1, 2 ** 63, -2 ** 70, 10 ** 400, 0.5, 1e400, float('nan'), '',
    '0' * 64, '0' * 63, 'F' * 64, '0.vhd', 'a\nb', '\x1b[2J', '\ud800',
    '\U0001f600', 'x' * 3000, 'NoVhd', 'SystemExit', '__doc__',
    'XsConvertError', 'bios', 'GPT', [], {}, ['a'], ['a'] * 17, [[]],
    {'name': 'x'})

_LAYER = {'name': './0.vhd', 'disk_type': 'dynamic', 'current_size': DISK,
          'allocated_size': DISK, 'file_size': 99, 'creator': 'tap 1.3',
          'unique_id': '0a1b2c3d-0000-4000-8000-0123456789ab',
          'parent_unique_id': None, 'is_hidden': False}
_GUEST = {'name': 'web', 'product': 'XenServer', 'version': '8',
          'memory': 2 ** 30, 'cpus': 2, 'firmware': 'uefi',
          'boot_mode': 'HVM', 'bootloader': None}
_DISK = {'ref': 'Ref:9', 'name': 'system', 'size': DISK, 'device': 'xvda',
         'position': '0', 'bootable': True, 'machine': ''}
_SECTORS = {'partition_table': 'MBR', 'has_efi_system_partition': False,
            'has_boot_code': True}

_MEMBERS = {'notes': ['one order'], 'ignored': [
    {'name': 'notes.txt', 'size': 23}]}

_MESSAGES: tuple[dict[str, dict[str, typing.Any]], ...] = (
    {'confined': {'means': ['Landlock'], 'missing': ['seccomp: none']}},
    {'progress': {'source_size': SOURCE, 'source_read': 7, 'layers': 1,
                  'layer': '0.vhd', 'disk_size': DISK,
                  'bytes_written': 512}},
    {'result': {'virtual_size': DISK, 'layers': [_LAYER, _LAYER],
                'allocated': DISK, 'source_size': SOURCE,
                'source_sha256': '0' * 64, 'guest': None, 'disk': None,
                **_MEMBERS}},
    {'result': {'virtual_size': DISK, 'layers': [], 'allocated': 0,
                'source_size': SOURCE, 'source_sha256': '0' * 64,
                'guest': _GUEST, 'disk': _DISK, **_MEMBERS}},
    {'result': {'virtual_size': DISK, 'layers': [_LAYER],
                'source_size': SOURCE, 'allocated': DISK, 'room': DISK,
                'first_sectors': _SECTORS, 'disk_map': None, 'guest': None,
                'disk': None, **_MEMBERS}},
    {'result': {'disks': [{'virtual_size': DISK, 'stored': 7,
                           'first_sectors': _SECTORS, 'disk': _DISK}],
                'layers': [], 'guest': _GUEST, 'other_guests': [_GUEST],
                **_MEMBERS}},
    {'result': {'files': False, 'network': False, 'programs': True,
                'processes': False}},
    {'error': {'kind': 'NoVhd', 'reason': 'there is none',
               'member': None, 'offset': None}},
)


class _Process:
    """A process that has ended."""

    def wait(self, timeout: float) -> int:
        return 0


class Child(process.Child):
    """A child whose words are known."""

    words = b''

    def __init__(self, python: str, job: protocol.Job) -> None:
        pipes = [os.pipe() for _ in range(3)]
        os.write(pipes[1][1], self.words)
        self._started = 0.0
        self._heard = self._errors_size = 0
        self._errors = bytearray()
        self._stdin = open(pipes[0][1], 'wb', buffering=0)
        self._stdout = open(pipes[1][0], 'rb', buffering=0)
        self._stderr = open(pipes[2][0], 'rb', buffering=0)
        for descriptor in (pipes[0][0], pipes[1][1], pipes[2][1]):
            os.close(descriptor)
        self._process = typing.cast(typing.Any, _Process())


def sown() -> abc.Iterator[bytes]:
    for message in _MESSAGES:
        yield json.dumps(message).encode() + b'\n'
    yield b''.join(json.dumps(message).encode() + b'\n'
                   for message in _MESSAGES)


def _changed(message: typing.Any, rng: random.Random) -> typing.Any:
    """A message with one thing changed, at any depth."""
    if isinstance(message, list) and message and rng.randrange(6):
        return [_changed(message[0], rng), *message[1:]]
    if not isinstance(message, dict) or not message or rng.randrange(6) == 0:
        return rng.choice(_VALUES)
    changed = dict(message)
    name = rng.choice(list(changed))
    kind = rng.randrange(8)
    if kind == 0:
        del changed[name]
    elif kind == 1:
        changed[rng.choice(('', 'more', 'guest', 'disk'))] = (
            rng.choice(_VALUES))
    else:
        changed[name] = _changed(changed[name], rng)
    return changed


def mutate(data: bytes, max_size: int, seed: int) -> bytes:
    """The custom mutator: change messages, their order, or some bytes."""
    rng = random.Random(seed)
    kind = rng.randrange(4)
    if kind == 0 and data:
        changed = bytearray(data)
        changed[rng.randrange(len(changed))] = rng.randrange(256)
        return bytes(changed[:max_size])
    lines = data.splitlines(keepends=True)
    message: typing.Any = rng.choice(_MESSAGES)
    for _ in range(rng.choice((0, 1, 1, 2))):
        message = _changed(message, rng)
    line = json.dumps(message).encode() + b'\n'
    if rng.randrange(10) == 0:
        line = rng.choice((
            b'{"progress":' * 2000, b'[' * 15_000, b'9' * 15_000,
            b'x' * _LONGEST, b'\n' * 500, b'{"a":1,"a":2}\n', b'\xff\n'))
    lines.insert(rng.randrange(len(lines) + 1), line)
    if kind == 1:
        rng.shuffle(lines)
    return b''.join(lines)[:max_size]


def test_one_input(data: bytes) -> None:
    logging.disable()
    Child.words = data[:_MOST]
    with (mock.patch.object(process, 'Child', Child),
          tempfile.TemporaryFile() as source,
          tempfile.TemporaryFile() as target):
        source.truncate(SOURCE)
        target.truncate(DISK)
        request = protocol.Request(LIMITS, digest=True)
        for work in (
                lambda: parent.convert(
                    source.fileno(), target.fileno(), request, python='',
                    on_progress=_check_progress),
                lambda: parent.check(
                    source.fileno(), request, python='',
                    on_progress=_check_progress),
                lambda: parent.inspect(
                    source.fileno(), request, python='',
                    on_progress=_check_progress),
                lambda: parent.probe(request, python='')):
            try:
                _check(work())
            except exceptions.XsConvertError as error:
                _check_text(str(error))


def _check_progress(latest: conversion_progress.Progress) -> None:
    if latest.fraction is not None and not 0 <= latest.fraction <= 1:
        raise rules.Broken('an impossible fraction')
    if latest.layers > LIMITS.max_chain_length:
        raise rules.Broken('too many layers')
    _check_text(latest.layer or '')


def _check(result: typing.Any) -> None:
    if isinstance(result, results.ConversionResult):
        if result.virtual_size != DISK:
            raise rules.Broken('the disk has another size')
        if len(result.source_sha256) != 64:
            raise rules.Broken('there is no digest')
    if isinstance(result, (results.ConversionResult, results.CheckResult)):
        if not 0 <= result.virtual_size <= LIMITS.max_virtual_size:
            raise rules.Broken('the disk is too large')
        if not 0 <= result.source_size <= SOURCE:
            raise rules.Broken('the archive is larger than its file')
    if (not isinstance(result, protocol.Findings)
            and len(result.layers) > LIMITS.max_chain_length):
        raise rules.Broken('there are too many layers')
    if isinstance(result, results.Inspection):
        tables.of_image(
            result.layers, result.disks,
            [*filter(None, [result.guest]), *result.other_guests])
    _check_values(dataclasses.asdict(result))


def _check_values(value: typing.Any) -> None:
    """Check the texts and the numbers at any depth."""
    if isinstance(value, str):
        _check_text(value)
    elif isinstance(value, int) and not 0 <= value < 2 ** 63:
        raise rules.Broken('an impossible number')
    elif isinstance(value, (dict, list)):
        for one in value.values() if isinstance(value, dict) else value:
            _check_values(one)


def _check_text(text: str) -> None:
    if not text.isprintable() or len(text) > _LONGEST:
        raise rules.Broken('a text is not fit to be shown')
