// gda tokenize: text to a Megatron indexed dataset.
#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <csignal>
#include <memory>
#include <nlohmann/json.hpp>

#include "cli/commands.h"
#include "cli/corpus_report.h"
#include "cli/options.h"
#include "cli/output.h"
#include "gda/core/log.h"
#include "gda/core/text.h"
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
  bool force = false;
  CorpusTokenizerOptions corpus;
};

std::atomic<bool> stop_requested{false};
static_assert(std::atomic<bool>::is_always_lock_free, "set by a signal handler");

// A second signal ends what does not listen: the opening of a pipe that nobody writes to.
void request_stop(int signal) {
  stop_requested = true;
  std::signal(signal, SIG_DFL);
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
  if (progress.total_bytes == 0) {
    log::info("tokenize: {:.1f} MB  {}  {}  {:.1f} MB/s",
              static_cast<double>(progress.text_bytes) / kMegabyte,
              counted(progress.documents, "document"), counted(progress.tokens, "token"),
              bytes_per_second(progress) / kMegabyte);
    return;
  }
  const double share = static_cast<double>(progress.bytes_on_disk) /
                       static_cast<double>(std::max<std::int64_t>(progress.total_bytes, 1));
  log::info("tokenize: {:3.0f} %  {:.1f} MB  {} documents  {} tokens  {:.1f} MB/s  {} left",
            100 * share, static_cast<double>(progress.text_bytes) / kMegabyte, progress.documents,
            progress.tokens, bytes_per_second(progress) / kMegabyte,
            clock_text(share > 0 ? progress.seconds * (1 - share) / share : 0));
}

void print_summary(const TokenizeOptions& options, const Corpus& corpus, const CorpusProgress& done,
                   std::int64_t vocab_size) {
  const double tokens_per_byte = static_cast<double>(done.tokens) /
                                 static_cast<double>(std::max<std::int64_t>(done.text_bytes, 1));
  if (options.json) {
    nlohmann::ordered_json json{{"output", options.corpus.output}};
    add_corpus(json, corpus, done.doubts);
    json["documents"] = done.documents;
    json["tokens"] = done.tokens;
    json["bytes"] = done.text_bytes;
    json["tokens_per_byte"] = tokens_per_byte;
    json["vocab_size"] = vocab_size;
    json["seconds"] = done.seconds;
    print_json(json);
    return;
  }
  fmt::print(
      "{0}.bin and {0}.idx: {1}, {2} from {3:.1f} MB of text ({4:.3f} tokens a "
      "byte) in {5} ({6:.1f} MB/s)\n",
      options.corpus.output, counted(done.documents, "document"), counted(done.tokens, "token"),
      static_cast<double>(done.text_bytes) / kMegabyte, tokens_per_byte, clock_text(done.seconds),
      bytes_per_second(done) / kMegabyte);
  if (done.documents == 1) {
    fmt::print(
        "one document: a run validates on its last tokens; --format text-line makes a document of "
        "every line\n");
  }
  print_corpus(corpus, done.doubts);
}

int run_tokenize(TokenizeOptions& options) {
  const auto tokenizer = open_tokenizer(options.tokenizer);
  const Corpus corpus = find_corpus(options.inputs, options.format);
  options.corpus.files = corpus.files;
  const std::string& prefix = options.corpus.output;
  const auto lock = claim_output(prefix, {prefix + ".bin", prefix + ".idx"}, options.force);
  options.corpus.stop = &stop_requested;
  std::signal(SIGINT, request_stop);
  std::signal(SIGTERM, request_stop);
  double last = 0;
  const CorpusProgress done =
      tokenize_corpus(*tokenizer, options.corpus,
                      [&](const CorpusProgress& progress) { print_progress(progress, last); });
  print_summary(options, corpus, done, tokenizer->vocab_size());
  return 0;
}

}  // namespace

void add_tokenize(CLI::App& app, Action& action) {
  CLI::App* tokenize =
      app.add_subcommand("tokenize", "Turn text into a token dataset (Megatron .bin and .idx)");
  const auto options = std::make_shared<TokenizeOptions>();
  add_texts(*tokenize, "--input", options->inputs,
            "files, folders (their texts in the order of names), - for standard input; each "
            "plain text or JSON lines, told by its content, perhaps in gzip")
      ->type_name("PATH")
      ->required();
  add_path(*tokenize, "--tokenizer", options->tokenizer, "SentencePiece model")->required();
  add_path(*tokenize, "--output", options->corpus.output, "prefix of the .bin and .idx")
      ->required();
  tokenize
      ->add_option("--format", options->format,
                   "what a document is: text-file (a file), text-line (a line), jsonl (the text of "
                   "a JSON object a line), auto (jsonl where the content is that, else text-file)")
      ->check(one_of({"auto", "text-file", "text-line", "jsonl"}))
      ->capture_default_str();
  tokenize
      ->add_option("--key", options->corpus.jsonl.key,
                   "key of the text in JSON lines, or path of keys: doc.text, /doc/text")
      ->capture_default_str();
  tokenize->add_flag("--skip-bad-lines", options->corpus.jsonl.skip_bad_lines,
                     "skip and count JSON lines without a text instead of stopping");
  tokenize->add_option("--threads", options->corpus.threads, "encoding threads; 0: one a core")
      ->check(at_least(0))
      ->capture_default_str();
  tokenize->add_flag("--json", options->json, "print the summary as JSON");
  add_force_option(*tokenize, options->force);
  tokenize->footer(
      "Each document ends with the tokenizer's end-of-document token. Memory does not grow with "
      "the\n"
      "input; documents over 1 MiB are encoded in pieces, lines of JSON may have up to 256 MiB.\n"
      "The summary lists the files read, those left out and why, and lines skipped.\n"
      "Example: gda tokenize --input wiki.jsonl.gz --tokenizer tokens/en-ko.model --output "
      "tokens/wiki");
  tokenize->callback([options, &action] { action = [options] { return run_tokenize(*options); }; });
}

}  // namespace gda::cli
