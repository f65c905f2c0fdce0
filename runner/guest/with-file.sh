# SPDX-License-Identifier: MIT OR Apache-2.0
# with-file.sh FILE SCRIPT [ARG ...]: runs a script that loads FILE.ko wherever
# it would load MODULE.ko.
FILE=$1
shift
script=$1
shift
. "/workshop/$script" "$@"
