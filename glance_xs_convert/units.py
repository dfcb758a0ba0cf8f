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

"""Units of sizes, in bytes, for those who cannot have oslo.utils."""

MIB = 1024 ** 2
GIB = 1024 ** 3

#: The unit of ``st_blocks``, whatever the file system's block size.
STAT_BLOCK = 512
