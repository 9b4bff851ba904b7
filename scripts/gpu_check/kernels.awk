# Of ncu's raw page as CSV (gpu__time_duration.sum, in ns) the time of each kernel in the last step: what
# comes after the last update of the step before. A line a kernel, the longest first.
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
  if (after_update && !updating) {
    split("", total)
    split("", count)
  }
  after_update = updating
  gsub(/gda::cuda::|<unnamed>::|\(anonymous namespace\)::|void /, "", name)
  sub(/\(.*/, "", name)
  total[name] += time
  ++count[name]
  sum_seen = 1
}
END {
  if (!sum_seen) exit 1
  for (name in total) printf "%.0f us in %d of %s\n", total[name] / 1e3, count[name], substr(name, 1, 90) | "sort -rn"
}
