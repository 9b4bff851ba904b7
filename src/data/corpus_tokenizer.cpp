#include "gda/data/corpus_tokenizer.h"

#include <chrono>
#include <condition_variable>
#include <deque>
#include <exception>
#include <map>
#include <mutex>
#include <thread>
#include <utility>

#include "gda/core/error.h"
#include "gda/data/token_writer.h"

namespace gda {
namespace {

struct EncodedChunk {
  std::vector<std::int32_t> ids;
  std::vector<std::size_t> ends;  // where in ids documents end
  std::int64_t text_bytes = 0;
  std::int64_t bytes_on_disk = 0;  // read up to the end of this chunk
  CorpusDoubts doubts{};
};

// The reader, the encoders and what passes between them.
class EncodingPipeline {
 public:
  EncodingPipeline(const Tokenizer& tokenizer, const CorpusTokenizerOptions& options)
      : tokenizer_(tokenizer), options_(options), reader_(options.files, &cancelled_) {
    const unsigned cores = std::max(1U, std::thread::hardware_concurrency());
    const auto encoders = options.threads > 0 ? static_cast<unsigned>(options.threads) : cores;
    most_bytes_ = (2 * encoders + 1) * CorpusReader::kChunkBytes;
    threads_.emplace_back([this] { guard([this] { read(); }); });
    for (unsigned i = 0; i < encoders; ++i) {
      threads_.emplace_back([this] { guard([this] { encode(); }); });
    }
  }

  ~EncodingPipeline() {
    cancel(nullptr);
    for (auto& thread : threads_) thread.join();
  }
  EncodingPipeline(const EncodingPipeline&) = delete;
  EncodingPipeline& operator=(const EncodingPipeline&) = delete;

  // The next chunk in order; false at the end. Rethrows what a thread threw.
  bool next(EncodedChunk& chunk) {
    std::unique_lock lock(mutex_);
    while (true) {
      changed_.wait_for(lock, std::chrono::milliseconds(200), [this] {
        return error_ || done_.contains(written_) || (all_read_ && written_ == read_);
      });
      if (error_) std::rethrow_exception(error_);
      if (options_.stop != nullptr && *options_.stop) throw Error("stopped; nothing was written");
      if (const auto found = done_.find(written_); found != done_.end()) {
        chunk = std::move(found->second);
        done_.erase(found);
        ++written_;
        bytes_in_flight_ -= static_cast<std::size_t>(chunk.text_bytes);
        changed_.notify_all();
        return true;
      }
      if (all_read_ && written_ == read_) return false;
    }
  }

 private:
  struct Waiting {
    std::int64_t number = 0;
    std::int64_t bytes_on_disk = 0;
    TextChunk text;
  };

  template <class F>
  void guard(F&& f) {
    try {
      f();
    } catch (...) {
      cancel(std::current_exception());
    }
  }

  void cancel(std::exception_ptr error) {
    const std::lock_guard lock(mutex_);
    if (!error_) error_ = std::move(error);
    cancelled_ = true;
    changed_.notify_all();
  }

  void read() {
    TextChunk chunk;
    while (reader_.next(chunk)) {
      std::unique_lock lock(mutex_);
      // One chunk that is larger than the limit goes through alone.
      changed_.wait(lock, [&] {
        return cancelled_ || bytes_in_flight_ == 0 ||
               bytes_in_flight_ + chunk.text.size() <= most_bytes_;
      });
      if (cancelled_) return;
      bytes_in_flight_ += chunk.text.size();
      waiting_.push_back({read_++, reader_.bytes_on_disk(), std::move(chunk)});
      chunk = {};
      changed_.notify_all();
    }
    const std::lock_guard lock(mutex_);
    all_read_ = true;
    changed_.notify_all();
  }

  void encode() {
    while (true) {
      std::unique_lock lock(mutex_);
      changed_.wait(lock, [&] { return cancelled_ || !waiting_.empty() || all_read_; });
      if (cancelled_ || waiting_.empty()) return;
      const Waiting work = std::move(waiting_.front());
      waiting_.pop_front();
      lock.unlock();
      EncodedChunk encoded = encode(work.text);
      encoded.bytes_on_disk = work.bytes_on_disk;
      lock.lock();
      done_.emplace(work.number, std::move(encoded));
      changed_.notify_all();
    }
  }

  EncodedChunk encode(const TextChunk& chunk) const {
    EncodedChunk encoded;
    encoded.text_bytes = static_cast<std::int64_t>(chunk.text.size());
    encoded.doubts = for_each_document(
        chunk, options_.files[chunk.file], options_.jsonl, [&](const DocumentPiece& piece) {
          tokenizer_.encode(piece.text, encoded.ids, piece.continues);
          if (!piece.ends) return;
          encoded.ids.push_back(tokenizer_.eod_id());
          encoded.ends.push_back(encoded.ids.size());
        });
    return encoded;
  }

  const Tokenizer& tokenizer_;
  const CorpusTokenizerOptions& options_;
  CorpusReader reader_;  // of the reading thread
  std::size_t most_bytes_ = 0;

  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Waiting> waiting_;
  std::map<std::int64_t, EncodedChunk> done_;
  std::size_t bytes_in_flight_ = 0;
  std::int64_t read_ = 0;
  std::int64_t written_ = 0;
  bool all_read_ = false;
  std::atomic<bool> cancelled_ = false;  // read without the lock by reader_
  std::exception_ptr error_;
  std::vector<std::thread> threads_;
};

void write_chunk(const EncodedChunk& chunk, TokenDatasetWriter& writer) {
  std::size_t begin = 0;
  for (const std::size_t end : chunk.ends) {
    writer.append(std::span(chunk.ids).subspan(begin, end - begin));
    writer.end_document();
    begin = end;
  }
  writer.append(std::span(chunk.ids).subspan(begin));
}

}  // namespace

CorpusProgress tokenize_corpus(const Tokenizer& tokenizer, const CorpusTokenizerOptions& options,
                               const std::function<void(const CorpusProgress&)>& report) {
  require<ConfigError>(tokenizer.eod_id() >= 0,
                       "the tokenizer has no token that could end a document: neither "
                       "<|endoftext|> nor eos");
  const auto begin = std::chrono::steady_clock::now();
  TokenDatasetWriter writer(options.output, tokenizer.vocab_size(), tokenizer.identity());
  CorpusProgress progress;
  bool has_stream = false;
  for (const auto& file : options.files) {
    progress.total_bytes += file.bytes;
    has_stream = has_stream || file.is_stream;
  }
  if (has_stream) progress.total_bytes = 0;
  {
    EncodingPipeline pipeline(tokenizer, options);
    EncodedChunk chunk;
    while (pipeline.next(chunk)) {
      write_chunk(chunk, writer);
      progress.bytes_on_disk = chunk.bytes_on_disk;
      progress.text_bytes += chunk.text_bytes;
      progress.doubts.add(chunk.doubts);
      progress.documents = writer.documents();
      progress.tokens = writer.tokens();
      progress.seconds =
          std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
      report(progress);
    }
  }
  require<FormatError>(writer.tokens() > 0, "no text in the input: nothing was written");
  writer.finish();
  if (!has_stream) progress.bytes_on_disk = progress.total_bytes;
  progress.documents = writer.documents();
  progress.seconds =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  return progress;
}

}  // namespace gda
