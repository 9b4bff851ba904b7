#include "gda/data/tokenizer_training.h"

#include <sentencepiece_trainer.h>

#include <algorithm>
#include <queue>
#include <thread>
#include <unordered_map>
#include <utility>

#include "gda/core/error.h"
#include "gda/core/file.h"
#include "gda/core/philox.h"

namespace gda {
namespace {

// unk, bos, eos, end of document, and a piece for each byte.
constexpr std::int64_t kReservedPieces = 4 + 256;
// Longer lines are cut before a space; the trainer counts words, so the cut loses nothing.
constexpr std::size_t kLongestLine = 4096;

// A uniform sample of lines of bounded size: each line draws a number, the lowest stay.
class LineSample {
 public:
  LineSample(std::uint64_t seed, std::int64_t most_bytes)
      : random_(seed, RandomPurpose::tokenizer_sample), most_bytes_(most_bytes) {}

  void add(std::string_view line) {
    const std::uint64_t draw = random_.bits(count_++);
    if (bytes_ + size_of(line) > most_bytes_ && !heap_.empty() && draw >= heap_.top().draw) return;
    heap_.push({draw, std::string(line)});
    bytes_ += size_of(line);
    while (bytes_ > most_bytes_ && heap_.size() > 1) {
      bytes_ -= size_of(heap_.top().text);
      heap_.pop();
    }
  }

  std::int64_t bytes() const { return bytes_; }

  std::vector<std::string> take() {
    std::vector<std::string> lines;
    lines.reserve(heap_.size());
    for (; !heap_.empty(); heap_.pop()) lines.push_back(heap_.top().text);
    return lines;
  }

 private:
  struct Line {
    std::uint64_t draw;
    std::string text;
    bool operator<(const Line& other) const { return draw < other.draw; }
  };
  static std::int64_t size_of(std::string_view line) {
    return static_cast<std::int64_t>(line.size());
  }

  Philox random_;
  std::int64_t most_bytes_;
  std::int64_t bytes_ = 0;
  std::uint64_t count_ = 0;
  std::priority_queue<Line> heap_;
};

void add_lines(std::string_view text, LineSample& sample) {
  while (!text.empty()) {
    std::size_t size = std::min(text.find('\n'), text.size());
    const bool has_newline = size < text.size();
    bool is_cut = false;
    if (size > kLongestLine) {
      const std::size_t space = text.find(' ', kLongestLine);
      is_cut = space < size;
      size = std::min(space, size);
    }
    if (size > 0) sample.add(text.substr(0, size));
    text.remove_prefix(size + (has_newline && !is_cut ? 1 : 0));
  }
}

class LineIterator final : public sentencepiece::SentenceIterator {
 public:
  explicit LineIterator(const std::vector<std::string>& lines) : lines_(lines) {}
  bool done() const override { return at_ == lines_.size(); }
  void Next() override { ++at_; }
  const std::string& value() const override { return lines_[at_]; }
  sentencepiece::util::Status status() const override { return {}; }

 private:
  const std::vector<std::string>& lines_;
  std::size_t at_ = 0;
};

std::unordered_map<std::string, std::string> trainer_arguments(
    const TokenizerTrainingOptions& options, std::size_t longest_line) {
  const unsigned cores = std::max(1U, std::thread::hardware_concurrency());
  return {
      {"model_type", "bpe"},
      {"vocab_size", std::to_string(options.vocab_size)},
      {"character_coverage", fmt::format("{}", options.character_coverage)},
      {"byte_fallback", "true"},
      {"split_digits", "true"},
      {"normalization_rule_name", "identity"},
      {"remove_extra_whitespaces", "false"},
      {"add_dummy_prefix", "false"},
      {"allow_whitespace_only_pieces", "true"},
      {"control_symbols", "<|endoftext|>"},
      {"max_sentence_length", std::to_string(longest_line + 1)},
      {"num_threads",
       std::to_string(options.threads > 0 ? options.threads : static_cast<int>(cores))},
      // Its progress is not ours; errors come back as a status.
      {"minloglevel", "3"},
  };
}

}  // namespace

TokenizerTrainingSummary train_tokenizer(const TokenizerTrainingOptions& options,
                                         const std::filesystem::path& output) {
  require<ConfigError>(options.vocab_size > kReservedPieces,
                       "vocab-size: expected more than {} (4 special tokens and 256 bytes), found "
                       "{}",
                       kReservedPieces, options.vocab_size);
  require<ConfigError>(options.sample_bytes > 0, "sample-mb: expected a positive number");
  require<ConfigError>(options.character_coverage > 0 && options.character_coverage <= 1,
                       "character-coverage: expected a number in (0, 1], found {}",
                       options.character_coverage);
  if (!output.parent_path().empty()) make_directories(output.parent_path());
  // Found out now rather than after the training.
  const std::filesystem::path probe = temporary_beside(output);
  write_text_file_atomically(probe, "");
  std::filesystem::remove(probe);

  TokenizerTrainingSummary summary;
  LineSample sample(options.seed, options.sample_bytes);
  CorpusReader reader(options.files);
  TextChunk chunk;
  while (reader.next(chunk)) {
    summary.bytes += static_cast<std::int64_t>(chunk.text.size());
    summary.doubts.add(for_each_document(chunk, options.files[chunk.file], options.jsonl,
                                         [&](const DocumentPiece& piece) {
                                           add_lines(piece.text, sample);
                                           summary.documents += piece.ends ? 1 : 0;
                                         }));
  }
  summary.sampled_bytes = sample.bytes();
  const std::vector<std::string> lines = sample.take();
  summary.sampled_lines = static_cast<std::int64_t>(lines.size());
  require<FormatError>(!lines.empty(), "no text in the input to train a tokenizer on");
  std::size_t longest = 0;
  for (const auto& line : lines) longest = std::max(longest, line.size());

  LineIterator iterator(lines);
  std::string model;
  const auto status = sentencepiece::SentencePieceTrainer::Train(
      trainer_arguments(options, longest), &iterator, &model);
  require<ConfigError>(status.ok(),
                       "SentencePiece cannot train {} pieces on {} bytes of text: {}: give more "
                       "text or a smaller --vocab-size",
                       options.vocab_size, summary.sampled_bytes, status.ToString());
  write_text_file_atomically(output, model);
  return summary;
}

}  // namespace gda
