# Checks the layout of C++ and CUDA files, given as arguments from the root of the repository.
# Prints one line a finding: path:line: message.

# The arrows of docs/architecture.md: what each part may include besides itself.
BEGIN {
  below["core"] = ""
  below["config"] = "core"
  below["ops"] = "config core"
  below["dist"] = "config core"
  below["model"] = "ops dist config core"
  below["optim"] = "model ops dist config core"
  below["report"] = "model ops dist config core"
  below["tokenizer"] = "config core"
  below["data"] = "tokenizer model ops dist config core"
  below["checkpoint"] = "model ops dist config core"
  below["growth"] = "checkpoint model ops dist config core"
  below["eval"] = "data tokenizer model ops dist config core"
  below["train"] = "growth checkpoint data tokenizer eval optim report model ops dist config core"
  below["cli"] = "train growth checkpoint data tokenizer eval optim report model ops dist config core"
  # Implementations of ops, and of dist on GPUs: nothing includes them, they include the contracts.
  below["kernels"] = "ops dist core"
  for (part in below) {
    count = split(below[part], names, " ")
    for (i = 1; i <= count; ++i) allowed[part, names[i]] = 1
    allowed[part, part] = 1
  }
  max_lines = 400
}

function report(message) { printf "%s:%d: %s\n", FILENAME, FNR, message }

FNR == 1 {
  if (previous != "" && lines > max_lines)
    printf "%s:%d: %d lines; split files by concept before %d\n", previous, lines, lines, max_lines
  previous = FILENAME
  split(FILENAME, path, "/")
  top = path[1]
  is_public = top == "include"
  part = is_public ? path[3] : top == "src" ? path[2] : top == "kernels" ? top : ""
  if (part != "" && !(part in below))
    report("\"" part "\" is not a part of the program; see docs/architecture.md")
}
{ lines = FNR }

/^[ \t]*#[ \t]*include[ \t]*"/ {
  target = $0
  sub(/^[^"]*"/, "", target)
  sub(/".*$/, "", target)
  split(target, into, "/")
  to = into[1] == "gda" ? into[2] : into[1]
  if (top != "kernels" && (to == "kernels" || to == "cpu" || to == "cuda" || to == "missing"))
    report("includes " target ": nothing outside kernels/ includes a kernel")
  else if (part != "" && (to in below) && to != "kernels" && !((part, to) in allowed))
    report("includes " target ": " part " must not depend on " to)
  if (is_public && into[1] != "gda")
    report("includes " target ": a public header includes only <...> and \"gda/...\"")
}

is_public && /^[ \t]*#[ \t]*include[ \t]*</ {
  if ($0 ~ /<(cuda|cublas|nccl|nvtx|mpi|nlohmann|yaml-cpp|dnnl|oneapi|omp\.|google|sentencepiece|pcre2|zlib|xxhash|CLI|spdlog)/)
    report("a public header includes no header of CUDA, NCCL, MPI, JSON, YAML or another library")
}

top != "kernels" && /^[ \t]*#[ \t]*(if|ifdef|ifndef|elif)[ \t(].*(CUDA|NCCL|HIP|DNNL|AVX|_OPENMP)/ {
  report("a condition on the backend; backends are chosen by linking, in kernels/ only")
}

END {
  if (lines > max_lines)
    printf "%s:%d: %d lines; split files by concept before %d\n", previous, lines, lines, max_lines
}
