# Compares the losses and gradient norms of metrics.jsonl (the second file) with those of
# losses-124m.txt (the first): one line of figures, exit code 1 if any is too far off.
function value(key, line) {
  if (!match(line, "\"" key "\": ?[-0-9.e+]+")) return "nan"
  line = substr(line, RSTART, RLENGTH)
  sub(/^[^:]*: ?/, "", line)
  return line + 0
}
FNR == NR && /^#/ { next }
FNR == NR && $1 == "tolerance" { loss_allowed = $2; norm_allowed = $3; next }
FNR == NR && NF == 3 { loss[$1] = $2; norm[$1] = $3; ++expected; next }
FNR != NR && /"loss":/ {
  step = value("step", $0)
  if (!(step in loss)) next
  ++seen
  d = value("loss", $0) - loss[step]
  n = value("grad_norm", $0) / norm[step] - 1
  d = d < 0 ? -d : d
  n = n < 0 ? -n : n
  losses = losses (losses == "" ? "" : " ") sprintf("%.4f", value("loss", $0))
  # Said so, a NaN fails as well.
  if (!(d <= loss_allowed) || !(n <= norm_allowed)) bad = bad " " step
  if (!(d <= worst_loss)) worst_loss = d
  if (!(n <= worst_norm)) worst_norm = n
}
END {
  printf "losses %s; farthest from the CPU: loss %.2g (of %.2g), gradient norm %.2g %% (of %.2g %%)\n", losses, worst_loss,
    loss_allowed, 100 * worst_norm, 100 * norm_allowed
  if (seen != expected) printf "%d of %d steps are there\n", seen, expected
  if (bad != "") printf "too far off in step%s\n", bad
  exit seen != expected || bad != ""
}
