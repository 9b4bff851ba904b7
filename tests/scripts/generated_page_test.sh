#!/usr/bin/env bash
# generated_page_test.sh PAGE GDA ARGUMENTS...: what the program prints is what the page of the repository holds.
set -euo pipefail
cd "$(dirname "$0")/../.."
page=$1 program=$2
shift 2
"$program" "$@" | diff -u --label "$page" --label "gda $*" "$page" - && exit
printf '\n%s is not what the program says. Write it anew:\n  build/cpu/gda %s > %s\n' "$page" "$*" "$page"
exit 1
