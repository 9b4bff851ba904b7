// gda tokenize: text to a Megatron indexed dataset.
#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <csignal>
#include <memory>
#include <nlohmann/json.hpp>

#include "cli/commands.h"
#include "gda/core/log.h"
#include "gda/data/corpus_tokenizer.h"

namespace gda::cli {
namespace {

constexpr double kMegabyte = 1e6;
constexpr double kSecondsBetweenLines = 5;

struct TokenizeOptions {
  std::vector<std::string> inputs;
  std::string format = "auto";
  std::string tokenizer;
  bool json = false;
  CorpusTokenizerOptions corpus;
};

std::atomic<bool> stop_requested{false};
static_assert(std::atomic<bool>::is_always_lock_free, "set by a signal handler");

void request_stop(int /*signal*/) {
  stop_requested = true;
}

std::string clock_text(double seconds) {
  const auto whole = std::llround(seconds);
  return whole >= 3600 ? fmt::format("{}:{:02}:{:02}", whole / 3600, whole / 60 % 60, whole % 60)
                       : fmt::format("{}:{:02}", whole / 60, whole % 60);
}

double bytes_per_second(const CorpusProgress& progress) {
  return static_cast<double>(progress.text_bytes) / std::max(progress.seconds, 1e-9);
}

// A line every few seconds, so that a log file stays readable.
void print_progress(const CorpusProgress& progress, double& last) {
  if (progress.seconds - last < kSecondsBetweenLines) return;
  last = progress.seconds;
  const double share = static_cast<double>(progress.bytes_on_disk) /
                       static_cast<double>(std::max<std::int64_t>(progress.total_bytes, 1));
  log::info("tokenize: {:3.0f} %  {:.1f} MB  {} documents  {} tokens  {:.1f} MB/s  {} left",
            100 * share, static_cast<double>(progress.text_bytes) / kMegabyte, progress.documents,
            progress.tokens, bytes_per_second(progress) / kMegabyte,
            clock_text(share > 0 ? progress.seconds * (1 - share) / share : 0));
}

void print_summary(const TokenizeOptions& options, const CorpusProgress& done,
                   std::int64_t vocab_size) {
  const double tokens_per_byte = static_cast<double>(done.tokens) /
                                 static_cast<double>(std::max<std::int64_t>(done.text_bytes, 1));
  if (options.json) {
    const nlohmann::ordered_json json{
        {"output", options.corpus.output}, {"files", options.corpus.files.size()},
        {"documents", done.documents},     {"tokens", done.tokens},
        {"bytes", done.text_bytes},        {"tokens_per_byte", tokens_per_byte},
        {"vocab_size", vocab_size},        {"skipped_lines", done.skipped_lines},
        {"seconds", done.seconds}};
    fmt::print("{}\n", json.dump());
    return;
  }
  fmt::print(
      "{0}.bin and {0}.idx: {1} documents, {2} tokens from {3:.1f} MB of text ({4:.3f} tokens a "
      "byte) in {5} ({6:.1f} MB/s)\n",
      options.corpus.output, done.documents, done.tokens,
      static_cast<double>(done.text_bytes) / kMegabyte, tokens_per_byte, clock_text(done.seconds),
      bytes_per_second(done) / kMegabyte);
  if (done.skipped_lines > 0) fmt::print("{} bad lines skipped\n", done.skipped_lines);
}

int run_tokenize(TokenizeOptions& options) {
  const auto tokenizer = open_tokenizer(options.tokenizer);
  options.corpus.files = find_corpus_files(options.inputs, options.format);
  options.corpus.stop = &stop_requested;
  std::signal(SIGINT, request_stop);
  std::signal(SIGTERM, request_stop);
  double last = 0;
  const CorpusProgress done =
      tokenize_corpus(*tokenizer, options.corpus,
                      [&](const CorpusProgress& progress) { print_progress(progress, last); });
  print_summary(options, done, tokenizer->vocab_size());
  return 0;
}

}  // namespace

void add_tokenize(CLI::App& app, Action& action) {
  CLI::App* tokenize =
      app.add_subcommand("tokenize", "Turn text into a token dataset (Megatron .bin and .idx)");
  const auto options = std::make_shared<TokenizeOptions>();
  tokenize
      ->add_option("--input", options->inputs,
                   "files, or folders whose .txt, .text, .md, .jsonl and .ndjson are taken in the "
                   "order of their names; each may be .gz")
      ->required();
  tokenize->add_option("--tokenizer", options->tokenizer, "SentencePiece model")->required();
  tokenize->add_option("--output", options->corpus.output, "prefix of the .bin and .idx")
      ->required();
  tokenize
      ->add_option("--format", options->format,
                   "what a document is: text-file (a file), text-line (a line), jsonl (the text of "
                   "a JSON object a line), auto (jsonl for .jsonl and .ndjson, else text-file)")
      ->capture_default_str();
  tokenize->add_option("--key", options->corpus.jsonl.key, "key of the text in JSON lines")
      ->capture_default_str();
  tokenize->add_flag("--skip-bad-lines", options->corpus.jsonl.skip_bad_lines,
                     "skip and count JSON lines without a text instead of stopping");
  tokenize->add_option("--threads", options->corpus.threads, "encoding threads; 0: one a core")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  tokenize->add_flag("--json", options->json, "print the summary as JSON");
  tokenize->footer(
      "Each document ends with the tokenizer's end-of-document token. Memory does not grow with "
      "the\n"
      "input; documents over 1 MiB are encoded in pieces, lines of JSON may have up to 256 MiB.\n"
      "Example:\n"
      "  gda tokenize --input wiki.jsonl.gz --tokenizer tokens/en-ko.model --output tokens/wiki");
  tokenize->callback([options, &action] { action = [options] { return run_tokenize(*options); }; });
}

}  // namespace gda::cli
