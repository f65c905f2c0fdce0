# SPDX-License-Identifier: MIT OR Apache-2.0
# from.sh FOLDER SCRIPT [ARG ...]: runs a script that takes its modules from
# /workshop/FOLDER.
FROM=$1
shift
script=$1
shift
. "/workshop/$script" "$@"
