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

"""Coverage-guided fuzzing of the converter, with atheris (libFuzzer).

Three targets, each a module that can be run by itself with libFuzzer's own
arguments (``python -m tests.fuzz.headers -max_total_time=60 CORPUS``):

``structures``  an input is a VHD file: the forward reader with and without
                known structures, in reads of any size, and a bare VHD
``chains``      an input chooses the fields of a chain and of its archive,
                valid or not: the bytes of the disk, in any order of members,
                through one pass and through the survey
``headers``     an input is a tar archive: long names, pax records, sparse
                members; the members must be those the standard library sees

Inputs are changed field by field, with their checksums put right, so that
they get past the first check. What must hold for every input: nothing but an
``XsConvertError`` leaves ``convert``, no file is left after an error, the
disk has the leaf's size, and it takes neither long nor much memory.

``python -m tests.fuzz --seconds N`` runs the targets one after the other, N
seconds in all, starting from small seeds and from what earlier runs have
kept in ``--work``. It ends with status 1 if an input was found that breaks a
rule; the input is kept there, and ``python -m tests.fuzz.TARGET FILE`` runs
it again. Findings become tests in ``tests/unit/test_fuzz_findings.py``.
"""
