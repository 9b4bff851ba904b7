#!/bin/sh
# own_session.sh COMMAND...: runs an mpirun whose sessions are in a folder that no other uses meanwhile. Open MPI
# keeps those of all of a user's in one, which an mpirun that ends removes while another that begins is making its own
# in it. A folder is locked until the mpirun has ended, and is used again.
set -eu
folders=${TMPDIR:-/tmp}/gda-mpirun.$(id -u)
mkdir -p "$folders"
n=1
while exec 9> "$folders/$n.lock" && ! flock --nonblock 9; do n=$((n + 1)); done
mkdir -p "$folders/$n"
export OMPI_MCA_orte_tmpdir_base="$folders/$n"
exec "$@"
