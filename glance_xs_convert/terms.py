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
"""Names in Glance that several rooms use, written once.

Those at the end are the properties by which users tell this package what they
want for an image, and by which it records what it has done.
"""

#: The import methods.
DIRECT = 'glance-direct'
DOWNLOAD = 'glance-download'
WEB = 'web-download'

#: What the URI of a file begins with.
FILE_SCHEME = 'file://'

#: The image properties that name the task that has locked the image, and the
#: host whose staging area has its data.
LOCK = 'os_glance_import_task'
STAGE_HOST = 'os_glance_stage_host'
#: What the names of Glance's own properties begin with, and those of the
#: properties with a signature.
RESERVED_PREFIX = 'os_glance_'
SIGNATURE_PREFIX = 'img_signature'

#: The choice of a disk, and the wish to have the guest adapted to KVM.
DISK = 'xs_convert_disk'
ADAPT = 'xs_adapt'
#: The size of the archive, in bytes.
ARCHIVE_SIZE = 'xs_convert_archive_size'
#: The tool that has adapted the guest, or else why none has, and the SHA-512
#: of the disk before that.
ADAPTED_BY = 'xs_convert_adapted_by'
NOT_ADAPTED = 'xs_convert_not_adapted'
DISK_SHA512 = 'xs_convert_disk_sha512'
