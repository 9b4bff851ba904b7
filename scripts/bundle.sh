#!/usr/bin/env bash
# Puts a built program and the shared libraries that a bare node lacks into one folder that can lie
# anywhere: gda, Open MPI's mpirun with what it loads, the configurations and the launch scripts.
#
#   scripts/bundle.sh                        build/cpu  -> build/bundle-cpu/
#   scripts/bundle.sh --preset cuda          build/cuda -> build/bundle-cuda/
#   scripts/bundle.sh --to DIR               another folder, which must not be there yet
#   scripts/bundle.sh --tar FILE.tar.gz      also as one file
#   scripts/bundle.sh --with PROGRAM         one more program, such as a test; may be repeated
#   scripts/bundle.sh --data FILE            also this file, into share/
#
# There run bin/gda, or bin/mpirun -np 8 bin/gda; bin/check-libraries says what is missing. What stays outside: the C library (that of the
# machine it was built on, or newer), the GPU's driver, and CUDA's own libraries (cuBLASLt, NCCL),
# which are looked for in GDA_CUDA_LIBRARIES, CUDA_HOME, /usr/local/cuda, /opt and the nvidia packages of
# Python, also of the python3 on the PATH.
# Open MPI comes with TCP and shared memory; for other networks use the cluster's own.
set -euo pipefail
cd "$(dirname "$0")/.."

usage_error() {
  printf 'bundle.sh: error: %s\n' "$1" >&2
  exit 2
}

preset=cpu
to=
tar=
programs=()
data=()
while (($# > 0)); do
  case $1 in
    --preset | --to | --tar | --with | --data)
      (($# > 1)) || usage_error "$1 needs a value"
      ;;&
    --preset)
      preset=$2
      shift
      ;;
    --to)
      to=$2
      shift
      ;;
    --tar)
      tar=$2
      shift
      ;;
    --with)
      programs+=("$2")
      shift
      ;;
    --data)
      [[ -r $2 ]] || usage_error "$2 is not there"
      data+=("$2")
      shift
      ;;
    -h | --help)
      sed -n '2,16s/^# \{0,1\}//p' scripts/bundle.sh
      exit 0
      ;;
    *)
      usage_error "unknown option $1; known: --preset, --to, --tar, --with, --data, --help"
      ;;
  esac
  shift
done
to=${to:-build/bundle-$preset}
programs=("build/$preset/gda" "${programs[@]}")
for program in "${programs[@]}"; do
  [[ -x $program ]] || usage_error "$program is not there; build it: scripts/build.sh --preset $preset"
done
[[ ! -e $to ]] || usage_error "$to is there already; remove it, or choose another folder with --to"

# What every machine with a C library or a GPU has of its own.
is_outside() {
  case ${1##*/} in
    ld-linux* | libc.so* | libm.so* | libdl.so* | libpthread.so* | librt.so* | libresolv.so*) ;;
    libcuda.so* | libcudart.so* | libcublas* | libnccl.so*) ;;
    *) return 1 ;;
  esac
}

copy_libraries_of() {
  local library
  while read -r library; do
    if is_outside "$library" || [[ -e $to/lib/${library##*/} ]]; then continue; fi
    install -m 755 -D -s "$library" "$to/lib/${library##*/}"
  done < <(ldd "$1" | awk '$2 == "=>" && $3 ~ /^\// { print $3 }')
}

# add_program FILE [NAME]
add_program() {
  local name=${2:-${1##*/}}
  install -m 755 -D -s "$1" "$to/libexec/$name"
  copy_libraries_of "$1"
  mkdir -p "$to/bin"
  ln -sf run "$to/bin/$name"
}

# Open MPI's plugins for one machine, TCP and Slurm; the others would bring libraries of networks.
add_open_mpi() {
  local plugins plugin pmix
  add_program "$(readlink -f "$(command -v mpirun)")" mpirun
  add_program "$(readlink -f "$(command -v orted)")" orted
  plugins=$(ompi_info --parsable --path pkglibdir | cut -d: -f3)
  for plugin in "$plugins"/mca_*.so; do
    case ${plugin##*/} in
      *ucx* | *ofi* | *psm* | *openib* | *flux* | *jsm* | *gridengine* | *romio*) continue ;;
      mca_spml* | mca_sshmem* | mca_scoll* | mca_memheap* | mca_atomic*) continue ;;
    esac
    install -m 644 -D -s "$plugin" "$to/lib/openmpi/${plugin##*/}"
    copy_libraries_of "$plugin"
  done
  mkdir -p "$to/share"
  cp -rL "$(ompi_info --parsable --path pkgdatadir | cut -d: -f3)" "$to/share/openmpi"
  pmix=$(ldd "$plugins/mca_pmix_ext3x.so" 2> /dev/null | awk '$1 ~ /^libpmix/ { print $3; exit }')
  # Debian keeps PMIx's plugins in a folder of its own beside the library.
  pmix=$(dirname "$(readlink -f "${pmix:-/}")")
  for plugin in "$pmix"/pmix/*.so "$pmix"/lib/pmix/*.so "$pmix"/pmix2/lib/pmix/*.so; do
    [[ -e $plugin ]] || continue
    install -m 644 -D -s "$plugin" "$to/lib/pmix/${plugin##*/}"
    copy_libraries_of "$plugin"
  done
}

for program in "${programs[@]}"; do add_program "$program"; done
add_open_mpi
cp -r configs LICENSE "$to/"
mkdir -p "$to/scripts"
[[ ! -d scripts/launch ]] || cp -r scripts/launch "$to/scripts/"
((${#data[@]} == 0)) || cp "${data[@]}" "$to/share/"
cat > "$to/bin/run" << 'RUN'
#!/bin/sh
# Runs the program of this link's name with the libraries beside it.
set -e
name=${0##*/}
self=$0
case $self in */*) ;; *) self=$(command -v "$self") ;; esac
root=$(cd "$(dirname "$self")/.." && pwd)
# CUDA's libraries, where there are any.
places="${GDA_CUDA_LIBRARIES:-} ${CUDA_HOME:-/usr/local/cuda}/lib64 ${CUDA_HOME:-/usr/local/cuda}/lib /opt/*/lib
  /usr/lib/python3*/site-packages/nvidia/*/lib /usr/local/lib/python3*/*-packages/nvidia/*/lib
  /opt/*/lib/python3*/site-packages/nvidia/*/lib /opt/*/.venv/lib/python3*/site-packages/nvidia/*/lib"
needed='@NEEDED@'
missing=$needed
use() {
  for folder in "$@"; do
    for library in $missing; do
      [ -e "$folder/$library" ] || continue
      LD_LIBRARY_PATH=${LD_LIBRARY_PATH:+$LD_LIBRARY_PATH:}$folder
      rest=
      for other in $missing; do [ "$other" = "$library" ] || rest="$rest $other"; done
      missing=$rest
    done
  done
}
# shellcheck disable=SC2086
use $places
if [ -n "$missing" ]; then
  packages=$(python3 -c 'import sysconfig; print(sysconfig.get_path("purelib"))' 2> /dev/null || true)
  if [ -n "$packages" ]; then
    places="$places $packages/nvidia/*/lib"
    use "$packages"/nvidia/*/lib
  fi
fi
export LD_LIBRARY_PATH="$root/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"
if [ "$name" = check-libraries ]; then
  missing=$(for program in "$root"/libexec/*; do ldd "$program" 2>&1; done | grep -E 'not found|not a dynamic' | sort -u)
  [ -n "$missing" ] || exit 0
  printf 'missing for the programs of %s:\n%s\nlooked for in LD_LIBRARY_PATH=%s and\n' "$root" "$missing" "$LD_LIBRARY_PATH"
  # shellcheck disable=SC2086
  printf '  %s\n' $places
  exit 1
fi
# A cluster's own mpirun starts gda with its own Open MPI.
if [ "$name" = mpirun ] || [ -z "${OMPI_COMM_WORLD_SIZE:-}${PMIX_RANK:-}${SLURM_PROCID:-}" ]; then
  export OPAL_PREFIX="$root" OPAL_BINDIR="$root/bin" OPAL_LIBDIR="$root/lib" \
    OPAL_PKGLIBDIR="$root/lib/openmpi" OPAL_PKGDATADIR="$root/share/openmpi" \
    PMIX_PREFIX="$root" PMIX_LIBDIR="$root/lib" PMIX_PKGLIBDIR="$root/lib/pmix" \
    OMPI_MCA_mca_base_component_show_load_errors=0
  # mpirun wants a way to other hosts even where it needs none.
  command -v ssh > /dev/null || command -v rsh > /dev/null || export OMPI_MCA_plm_rsh_agent=/bin/sh
fi
exec "$root/libexec/$name" "$@"
RUN
# CUDA's own libraries that these programs name.
needed=$(for program in "$to"/libexec/*; do ldd "$program"; done | awk '/lib(cublas|cudart|nccl)/ { print $1 }' | sort -u | tr '\n' ' ')
sed -i "s/@NEEDED@/${needed% }/" "$to/bin/run"
chmod 755 "$to/bin/run"
ln -s run "$to/bin/check-libraries"
size=$(du -sm "$to" | cut -f1)
printf 'bundle.sh: %s: %s programs, %s libraries, %d MiB\n' "$to" \
  "$(find "$to/libexec" -type f | wc -l)" "$(find "$to/lib" -type f | wc -l)" "$size"
if [[ -n $tar ]]; then
  tar -czf "$tar" -C "$(dirname "$to")" "$(basename "$to")"
  printf 'bundle.sh: %s: %d MiB\n' "$tar" "$(du -m "$tar" | cut -f1)"
fi
