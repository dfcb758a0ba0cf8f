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


"""One pass over an image, which turns its layers into a disk."""

from glance_xs_convert import conversion_progress
from glance_xs_convert.converter.disk import file as disk_file
from glance_xs_convert.converter.disk import raw_disk
from glance_xs_convert.converter import layers
from glance_xs_convert import image_limits


def run(image: layers.Image, file: disk_file.DiskFile,
        progress: conversion_progress.Progress,
        limits: image_limits.Limits) -> None:
    """Read an image to its end and write its disk.

    :param file: the file that the disk is written to
    :param progress: is kept up to date
    :param limits: bounds on the image
    :raises NotInOrder: a survey is needed first
    :raises DiskTooLarge: the disk is larger than allowed; nothing of the leaf
                          has been written
    :raises XsConvertError: the image is refused, or the disk cannot be
                            written
    """
    disk = raw_disk.RawDisk(file)
    progress.layers = 0
    progress.disk_size = None
    for rank, layer in image.layers():
        progress.layer = layer.name
        progress.layers += 1
        if rank == 0:
            layers.check_disk(layer.size, layer.name, limits)
            progress.disk_size = layer.size
        elif layer.size > limits.largest_disk and (
                rank < 0 or progress.disk_size is None):
            # The disk is probably too large as well; only the leaf tells.
            raise layers.NotInOrder(layer.name)
        disk.begin_layer(rank, layer.size, layer.has_parent)
        disk.check_room(layer.blocks())
        for extent in layer.extents():
            disk.write(extent, layer.data)
            progress.bytes_written = file.bytes_written
        disk.end_layer()
    progress.layer = None
    progress.disk_size = image.size
    file.set_size(image.size)
