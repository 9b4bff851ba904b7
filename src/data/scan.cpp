#include "data/scan.h"

#include <chrono>
#include <nlohmann/json.hpp>

#include "gda/core/log.h"
#include "gda/dist/agreement.h"

namespace gda {
namespace {

using Clock = ScanProgress::Clock;
using Json = nlohmann::json;

constexpr std::chrono::seconds kRound{1};
constexpr std::chrono::seconds kBetweenLines{5};

struct ScanUnit {
  std::size_t dataset = 0;
  std::int64_t block = 0;
};

// The units of all datasets, of which each rank takes every size()-th.
class SharedScan {
 public:
  SharedScan(std::span<const TokenDataset* const> datasets, Communicator& group,
             ScanProgress& progress)
      : datasets_(datasets), group_(group), progress_(progress) {
    for (std::size_t i = 0; i < datasets.size(); ++i) {
      const std::int64_t blocks = blocks_of(*datasets[i]);
      for (std::int64_t block = 0; block < blocks; ++block) units_.push_back({i, block});
      summaries_.emplace_back(static_cast<std::size_t>(blocks));
    }
    next_ = static_cast<std::size_t>(group.rank());
  }

  void run() {
    do {
      together(group_, "", [this] { work_for_a_round(); });
      tell(group_.all_reduce(done_, Reduction::sum));
    } while (group_.any(next_ < units_.size()));
    progress_.done += static_cast<std::int64_t>(units_.size());
    exchange();
  }

  const std::vector<BlockSummary>& summaries(std::size_t dataset) const {
    return summaries_[dataset];
  }

 private:
  void work_for_a_round() {
    const Clock::time_point end = Clock::now() + kRound;
    const auto ranks = static_cast<std::size_t>(group_.size());
    for (; next_ < units_.size() && Clock::now() < end; next_ += ranks) {
      const auto [dataset, block] = units_[next_];
      const BlockSummary summary = summarize_block(*datasets_[dataset], block);
      found_.push_back({dataset, block, summary.hash, summary.documents, summary.smallest_id,
                        summary.largest_id});
      ++done_;
    }
  }

  void tell(std::int64_t done) {
    done += progress_.done;
    const Clock::time_point now = Clock::now();
    if (now - progress_.last_line < kBetweenLines || done == progress_.blocks) return;
    progress_.last_line = now;
    const double share = static_cast<double>(done) / static_cast<double>(progress_.blocks);
    const double seconds = std::chrono::duration<double>(now - progress_.begin).count();
    log::info("reading the data: {:3.0f} %, {:.0f} s left", 100 * share,
              seconds * (1 - share) / std::max(share, 1e-9));
  }

  void exchange() {
    for (const std::string& text : gather_texts(group_, found_.dump())) {
      for (const Json& entry : Json::parse(text)) {
        const auto block = entry[1].get<std::size_t>();
        summaries_[entry[0].get<std::size_t>()][block] = {
            .hash = entry[2].get<std::string>(),
            .documents = entry[3].get<std::int64_t>(),
            .smallest_id = entry[4].get<std::int64_t>(),
            .largest_id = entry[5].get<std::int64_t>()};
      }
    }
  }

  std::span<const TokenDataset* const> datasets_;
  Communicator& group_;
  ScanProgress& progress_;
  std::vector<ScanUnit> units_;
  std::size_t next_ = 0;  // of this rank
  std::int64_t done_ = 0;
  Json found_ = Json::array();
  std::vector<std::vector<BlockSummary>> summaries_;
};

}  // namespace

std::int64_t blocks_of(const TokenDataset& dataset) {
  return (dataset.size() + kBlockTokens - 1) / kBlockTokens;
}

BlockSummary summarize_block(const TokenDataset& dataset, std::int64_t block) {
  constexpr std::int64_t kChunk = std::int64_t{1} << 16;
  const std::int64_t begin = block * kBlockTokens;
  const std::int64_t end = std::min(begin + kBlockTokens, dataset.size());
  BlockSummarizer summarizer;
  std::vector<std::int64_t> ids(static_cast<std::size_t>(std::min(kChunk, end - begin)));
  for (std::int64_t at = begin; at < end; at += kChunk) {
    const auto part = std::span(ids).first(static_cast<std::size_t>(std::min(kChunk, end - at)));
    dataset.read_ids(at, part);
    summarizer.add<std::int64_t>(part);
  }
  std::vector<std::int64_t> starts;
  dataset.append_document_starts(begin, end, starts);
  summarizer.start_documents(starts);
  return summarizer.finish();
}

std::vector<DatasetIdentity> scan(std::span<const TokenDataset* const> datasets,
                                  Communicator& group, ScanProgress& progress) {
  SharedScan shared(datasets, group, progress);
  shared.run();
  std::vector<DatasetIdentity> identities;
  for (std::size_t i = 0; i < datasets.size(); ++i) {
    identities.push_back(identity_of(datasets[i]->size(), shared.summaries(i)));
  }
  return identities;
}

}  // namespace gda
