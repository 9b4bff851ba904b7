# Of ncu's raw page as CSV (gpu__time_duration.sum, in ns) the time of each kernel in a step: all of them over
# the number of steps, which end with updates. A line a kernel, the longest first.
/^"/ {
  line = substr($0, 2, length($0) - 2)
  n = split(line, field, "\",\"")
  if (!time_at) {
    for (i = 1; i <= n; ++i) {
      if (field[i] == "Kernel Name") name_at = i
      if (field[i] == "gpu__time_duration.sum") time_at = i
    }
    next
  }
  name = field[name_at]
  time = field[time_at]
  gsub(/,/, "", time)
  if (time !~ /^[0-9.]+$/) next  # the line of units
  updating = name ~ /(^|::)update(_regions)?([<(]|$)/
  if (updating && !was_updating) ++steps
  was_updating = updating
  gsub(/gda::cuda::|<unnamed>::|\(anonymous namespace\)::|void /, "", name)
  sub(/\(.*/, "", name)
  total[name] += time
  ++count[name]
}
END {
  if (!steps) exit 1
  for (name in total) {
    printf "%.0f us in %g of %s\n", total[name] / steps / 1e3, count[name] / steps, substr(name, 1, 90) | "sort -rn"
  }
}
