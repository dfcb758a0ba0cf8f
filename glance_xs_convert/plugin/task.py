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

"""The image-import plugin, as Glance calls it.

Source for a plugin's arguments and duties: Glance,
``async_/flows/api_image_import.py`` and ``plugins/image_conversion.py``.
"""

import dataclasses
import os
from typing import Any

from oslo_config import cfg
from oslo_log import log as logging
from oslo_utils import units
from taskflow.patterns import linear_flow

from glance_xs_convert import conversion_progress
from glance_xs_convert import exceptions
from glance_xs_convert import options
from glance_xs_convert.plugin import admission
from glance_xs_convert.plugin import conversions
from glance_xs_convert.plugin import image_record
from glance_xs_convert.plugin import keeping
from glance_xs_convert.plugin import metrics
from glance_xs_convert.plugin import selection
from glance_xs_convert.plugin import staged_task
from glance_xs_convert.recovery import staging
from glance_xs_convert import results
from glance_xs_convert import terms
from glance_xs_convert import text
from glance_xs_convert.worker import parent
from glance_xs_convert.worker import protocol

LOG = logging.getLogger(__name__)

CONF = cfg.CONF
CONF.register_opts(options.OPTS, group=options.GROUP)

#: The processor time for any archive, and for each of its MiB, in seconds: a
#: hundred times what a genuine one needs.
_CPU_TIME = 20
_CPU_TIME_PER_MIB = 10
#: The elapsed time for any archive, and for each of its MiB, in seconds.
#: Compressed data expands to 1032 times its size, and a GiB, at most, so this
#: is enough to write 4 MiB in a second.
_TIME = 600
_TIME_PER_MIB = 300


class ConvertXenServerImage(staged_task.StagedImageTask):
    """Replaces a staged XenServer image by its raw disk."""

    failure = 'The XenServer image cannot be converted'
    waiting = 'Waiting to be converted'
    not_stored = 'The XenServer image was converted, but it was not stored'

    def concerns(self, image: Any) -> bool:
        return selection.is_selected(image.disk_format, image.container_format)

    def leave(self) -> None:
        try:
            keeping.keeper.give_up(self.of.task_id)
        except Exception:
            # It is not this image's fault.
            LOG.exception('Cannot release the ticket of image %s',
                          self.of.image_id)

    def work(self, image: Any, staged: str) -> None:
        staging.remove_raw(staged)
        check_signature(image)
        admission.check_stores(self.of.stores)
        admission.check_room(staged)
        writable = self._writable_properties()
        admission.check_properties(
            image, writable.intersection(image_record.PROVENANCE),
            CONF[options.GROUP].remove_properties)
        raw = staging.raw_path(staged, self.of.task_id)
        with self.turn(image):
            outcome = self._convert(image, staged, raw)
        self._replace(staged, raw, outcome, writable)
        LOG.info('Converted image %(image)s: %(layers)s, %(size)s',
                 {'image': self.of.image_id,
                  'layers': text.count(outcome.layer_count, 'layer'),
                  'size': text.exact_size(outcome.virtual_size)})
        metrics.add({metrics.CONVERSIONS: 1,
                     metrics.ARCHIVE_BYTES: outcome.source_size,
                     metrics.DISK_BYTES: outcome.virtual_size})

    def _writable_properties(self) -> set[str]:
        """Return the names of the properties that may be recorded."""
        found = admission.writable(self.of, [image_record.FIRMWARE])
        if CONF[options.GROUP].record_provenance:
            provenance = {*image_record.PROVENANCE, *image_record.GUEST}
            writable = admission.writable(self.of, sorted(provenance))
            # A part of them would be misleading.
            if writable == provenance:
                found |= provenance
        return found

    def _convert(self, image: Any, staged: str, raw: str,
                 ) -> results.ConversionResult:
        """Convert the image.

        :param staged: path of the archive
        :param raw: path of the raw disk
        """
        group = CONF[options.GROUP]
        size = _size(staged)
        bound = admission.disk_bound(self.of)
        request = protocol.Request(
            dataclasses.replace(
                options.limits_of(group), max_disk_size=bound.size,
                disk_limit=bound.option),
            disk=image_record.wanted_disk(image), digest=True,
            max_memory=group.max_memory * units.Mi,
            max_cpu_time=_processor_time(group.max_cpu_time, size),
            max_time=_elapsed_time(group.max_time, size),
            sandbox=group.sandbox, niceness=group.niceness)
        try:
            return parent.convert_file(
                staged, raw, request,
                python=parent.interpreter(CONF.wsgi.python_interpreter),
                on_progress=self._tell_progress,
                progress_timeout=group.progress_timeout)
        except exceptions.DiskTooLarge as error:
            raise bound.kind(error.reason, member=error.member) from error

    def _tell_progress(self, reached: conversion_progress.Progress) -> None:
        message = 'Converting the XenServer image'
        if reached.fraction is not None:
            message += f': {reached.fraction:.0%}'
        if reached.layer is not None:
            message += f', layer {reached.layers} ({reached.layer})'
        self.tell(message)

    def _replace(self, staged: str, raw: str,
                 outcome: results.ConversionResult, writable: set[str],
                 ) -> None:
        """Replace the archive by the raw disk.

        :param writable: names of the properties that may be set
        :raises ConverterStopped: the change that undoes this cannot be
                                  recorded
        """
        group = CONF[options.GROUP]
        with self.of.action_wrapper as action:
            change = image_record.conversion(
                action, outcome, remove=group.remove_properties,
                writable=writable, quota=CONF.image_property_quota)
            self.undo = change.inverse(action)
            self.record_undo(self.undo)
            change.apply(action)
            os.replace(raw, staged)
        conversions.note(self.of.action_wrapper, self.undo)
        self.messages.tell_now(
            'Converted the XenServer image: '
            f'{text.count(outcome.layer_count, "layer")}, '
            f'{text.exact_size(outcome.virtual_size)}'
            f'{_warning(outcome.guest)}')


def _size(staged: str) -> int:
    """Return the size of the staged data, in bytes.

    :raises UnreadableSource: there is none
    """
    try:
        return os.path.getsize(staged)
    except OSError as error:
        raise exceptions.UnreadableSource(
            f'the staged data of the image cannot be read: {error.strerror}'
        ) from error


def _processor_time(limit: int, archive_size: int) -> int:
    """Return the processor time for an archive in seconds; 0 for no limit.

    :param limit: limit for the largest archives
    :param archive_size: size of the archive, in bytes
    """
    return min(limit, _CPU_TIME + _CPU_TIME_PER_MIB * archive_size // units.Mi)


def _elapsed_time(limit: int, archive_size: int) -> int:
    """Return the time that a conversion may take, like its processor time."""
    return min(limit, _TIME + _TIME_PER_MIB * archive_size // units.Mi)


def _warning(guest: results.Guest | None) -> str:
    """Return a warning about the guest, to append to a message."""
    if guest is None or not guest.is_paravirtualized:
        return ''
    return ('. Warning: the guest was paravirtualized. To boot under KVM, '
            'it needs its own boot loader and a kernel that supports KVM')


def check_signature(image: Any) -> None:
    """Refuse an image with a signature, which Glance would verify later.

    :raises SignedImage: the image has a signature
    """
    # Iterating over Glance's own mapping does not yield anything.
    if any(name.startswith(terms.SIGNATURE_PREFIX)
           for name in dict(image.extra_properties)):
        raise exceptions.SignedImage(
            "the image is signed, and the archive's signature does not "
            'apply to the converted disk: import it without its '
            'img_signature properties')


def get_flow(**kwargs: Any) -> linear_flow.Flow:
    """Return the flow that Glance adds to an import."""
    return staged_task.flow(ConvertXenServerImage, 'XSConvert', _claim, kwargs)


def _claim(of: staged_task.Import) -> None:
    """Claim the import, so that it can be recovered if Glance stops."""
    image = of.image_repo.get(of.image_id)
    # The format of a glance-download is not known before it begins.
    if of.method == terms.DOWNLOAD or selection.is_selected(
            image.disk_format, image.container_format):
        staged_task.claim(of)
    else:
        keeping.keeper.give_up(of.task_id)
    keeping.keeper.start()
