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

Targets, each a module that can be run by itself with libFuzzer's own
arguments (``python -m tests.fuzz.headers -max_total_time=60 CORPUS``):

``structures``  an input is a VHD file: the forward reader with and without
                known structures, in reads of any size, and a bare VHD
``headers``     an input is a tar archive: long names, pax records, sparse
                members; the members must be those the standard library sees
``compressed``  an input is gzip data: what is unpacked must be what the
                standard library unpacks
``roads``       an input is an archive of VHDs: in any order, plain or
                gzipped, in one pass or by a survey, whole or in pieces, from
                a file or a pipe, the disk is the same, or is refused
``exports``     an input is a XenServer export: the disk is the one that
                XenServer's own rules give
``chains``      an input chooses the fields of a chain and of its archive,
                valid or not: the bytes of the disk are those of the model
``packages``  an input chooses the machines and disks of an OVF package, and
              damage to its descriptor: the disk is one of the model's
``messages``  see ``messages``

Inputs are changed field by field, with their checksums put right, so that
they get past the first check. What must hold for every input is in ``rules``:
nothing but an ``XsConvertError`` with a printable message leaves ``convert``,
the disk has the leaf's size, a check says what a conversion does, and neither
takes long or much memory. The converter reads from memory and writes to a
file in memory, without its helper thread.

``python -m tests.fuzz --seconds N`` runs the targets one after the other, N
seconds in all, starting from small seeds and from what earlier runs have
kept in ``--work``. It ends with status 1 if an input was found that breaks a
rule; the input is kept there, and ``python -m tests.fuzz.engine TARGET FILE``
runs it again. Findings become tests in
``tests/unit/converter/test_fuzz_findings.py``.
"""
